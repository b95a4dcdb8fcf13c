/* Base64 by RFC 4648 4: what SASL exchanges are wrapped in (RFC 4422 via IMAP, POP3, SMTP). */
#pragma once
#include <stdbool.h>

#include "base/buf.h"

/* With padding, without line breaks. */
void base64_encode(struct slice bytes, struct buf *out);
/* Strict: padding as it must be, no other characters, no stray bits (RFC 4648 3.5). On false, out
 * keeps what stood in it before. */
bool base64_decode(struct slice text, struct buf *out);
