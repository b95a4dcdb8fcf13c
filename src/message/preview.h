/* The first words of a message, for lists of messages (RFC 8970). */
#pragma once
#include "base/arena.h"
#include "message/summary.h"

enum { PREVIEW_CHARACTERS = 200 };

/*
 * At most PREVIEW_CHARACTERS of the first text/plain part (or, when that gives nothing, text/html)
 * that is no attachment: decoded, in UTF-8, without markup, with single spaces between words. Looks
 * at a bounded number of bytes. Empty when there is no such text. Lies in the arena.
 */
struct slice preview_make(struct slice bytes, const struct summary *summary, struct arena *arena);
