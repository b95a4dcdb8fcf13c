/* UTF-8 by RFC 3629: no overlong forms, no surrogates, at most U+10FFFF. */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

/* Bytes of the character that s begins with (1 to 4), 0 when it is none (or s is empty). */
size_t utf8_length(struct slice s);
/* The character s begins with and its length; 0 length when it is none. */
size_t utf8_decode(struct slice s, uint32_t *character);
/* Writes 1 to 4 bytes to out; character must be a valid scalar value. */
size_t utf8_encode(uint32_t character, uint8_t out[4]);
bool utf8_valid(struct slice s);
