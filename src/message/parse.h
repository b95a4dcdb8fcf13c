/*
 * The message parser: bytes in, struct summary out (message/summary.h). One pass over the bytes; no
 * I/O, no memory but the arena, and it never fails: what is no MIME is text, what is too much is
 * one opaque part. RFC 5322, 2045, 2046, 2183, 2231, 6532; what real mail does beside them is in
 * doc/real-mail.md.
 *
 * Runs in readers, tools and tests; no process that holds mail or secrets links it.
 *
 * Limits: SUMMARY_DEPTH_MAX and SUMMARY_PARTS_MAX; no further part is begun when the arena has
 * grown by PARSE_MEMORY_MAX (one header adds at most some MB); of each header the first
 * PARSE_HEADER_MAX bytes and PARSE_FIELDS_MAX fields are looked at (its size is right whatever it
 * is); those of address.h, content.h and lexer.h.
 */
#pragma once
#include "base/arena.h"
#include "message/summary.h"

enum {
    PARSE_HEADER_MAX = 1 << 20,
    PARSE_FIELDS_MAX = 10000,
    PARSE_REFERENCES_MAX = 1000,
    PARSE_MEMORY_MAX = 32 << 20,
};

/* bytes: in wire form (CRLF), or with LF. The summary points into bytes and the arena. */
void parse_message(struct slice bytes, struct arena *arena, struct summary *summary);
