/* Test support: what must be true of every summary, checked in the plainest way. Shared by unit
 * tests, the corpus test and the fuzz target. */
#pragma once
#include "message/summary.h"

/* NULL when the summary that parse_message() made of bytes is sound, else what is wrong. */
const char *invariants_of_summary(struct slice bytes, const struct summary *summary);

/* Packs and unpacks it: NULL when that works and gives the same (where nothing had to be cut). */
const char *invariants_of_packing(const struct summary *summary);

/* Both, for bytes that are parsed here. */
const char *invariants_of_message(struct slice bytes);
