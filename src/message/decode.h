/*
 * From what stands in a message to UTF-8: transfer encodings (RFC 2045 6), character sets (ICU),
 * and encoded texts in headers (RFC 2047, 2231). Everything is accepted: what cannot be decoded is
 * kept as well as it can be shown. Output is always valid UTF-8 (but for the transfer encodings).
 * All functions append to out; costs are linear and the output is at most four times the input.
 */
#pragma once
#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* Loads what ICU loads lazily; before the sandbox. False when ICU cannot be used at all. */
bool decode_warm_up(void);

/* False, and nothing appended, when nobody knows the character set. Malformed bytes become U+FFFD.
 * Labels mean what mail programs mean by them (iso-8859-1 is windows-1252, as in the WHATWG
 * Encoding standard). */
bool decode_charset(struct slice charset, struct slice bytes, struct buf *out);

/* Text of that character set, unlabelled where that is empty or unknown; points into bytes, when
 * they are UTF-8 as they stand, or into room, which must be empty. */
struct slice decode_text(struct slice charset, struct slice bytes, struct buf *room);

/* For bytes without (known) character set: UTF-8 when they are valid, else windows-1252. */
void decode_unlabelled(struct slice bytes, struct buf *out);

void decode_base64(struct slice text, struct buf *out);           /* skips what is no base64 */
void decode_quoted_printable(struct slice text, struct buf *out); /* keeps what is none */
/* By the name of a Content-Transfer-Encoding. False, and nothing appended, when the body stands for
 * itself: 7bit, 8bit, binary, and all that nobody knows. */
bool decode_transfer(struct slice encoding, struct slice body, struct buf *out);

/* An unstructured header text with encoded words, unfolded. */
void decode_header(struct slice text, struct buf *out);
/* A parameter as summaries have it: a name ending in "*" has charset'language'%xx as its value. */
void decode_parameter(struct slice name, struct slice value, struct buf *out);
