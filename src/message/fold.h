/*
 * Texts made comparable without regard to case: i;unicode-casemap (RFC 5051) and what it forgets.
 * Every character is put into title case, decomposed as far as it goes (NFKD) and then folded, so
 * that "STRASSE" finds "stra\u00dfe", a ligature its letters and a composed letter its parts; it
 * is coarser than RFC 5051: what that holds for equal is equal here. A run of white space and
 * control characters (line ends too) is one space: texts are wrapped anywhere. Characters nobody
 * sees (soft hyphens, joiners) are left out.
 */
#pragma once
#include "base/buf.h"
#include "base/slice.h"

struct fold; /* the memory of what characters become */

/* NULL when ICU cannot be used. Loads what ICU loads lazily: create it before the sandbox. */
struct fold *fold_create(void);
void fold_destroy(struct fold **fold);

/* A text that is folded in pieces: begin with {0}. */
struct fold_state {
    bool space; /* the last that was put out was one */
};

/* Appends to out, which is valid UTF-8. Bytes that are no UTF-8 become U+FFFD. A piece must not end
 * inside a character. */
void fold_text(struct fold *fold, struct fold_state *state, struct slice utf8, struct buf *out);
void fold_character(struct fold *fold, struct fold_state *state, uint32_t c, struct buf *out);
