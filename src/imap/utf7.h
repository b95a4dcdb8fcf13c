/* Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3) to and from UTF-8. */
#pragma once
#include <stdbool.h>

#include "base/buf.h"

/* Strict: false for 8-bit, controls, broken or unneeded or not shortest encodings, surrogates that
 * make no pair, and NUL. On false, out keeps what stood in it before. */
bool utf7_decode(struct slice utf7, struct buf *utf8);
/* utf8 must be valid (asserted). */
void utf7_encode(struct slice utf8, struct buf *utf7);
