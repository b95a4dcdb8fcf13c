/*
 * A set of 32-bit numbers (UIDs or sequence numbers) as sorted, disjoint, non-adjacent ranges.
 * "*" is resolved by whoever parses, before it comes here.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct uidset_range {
    uint32_t first, last; /* both belong to it; first <= last */
};

struct uidset {
    struct uidset_range *ranges;
    size_t count, room;
};

void uidset_init(struct uidset *set);
void uidset_finish(struct uidset *set);
void uidset_clear(struct uidset *set);
/* In any order; amortised constant time when ascending. first and last may be swapped. */
void uidset_add(struct uidset *set, uint32_t first, uint32_t last);
void uidset_add_set(struct uidset *set, const struct uidset *other);
void uidset_cut(struct uidset *set, uint32_t from); /* that number and all above go */
/* What is in both. */
void uidset_common(const struct uidset *a, const struct uidset *b, struct uidset *common);
bool uidset_has(const struct uidset *set, uint32_t number);
uint64_t uidset_count(const struct uidset *set); /* numbers, not ranges */
/* The smallest member >= number; false when there is none. */
bool uidset_next(const struct uidset *set, uint32_t number, uint32_t *next);
/* "1:3,7" (RFC 3501 sequence-set); nothing for the empty set. */
void uidset_print(const struct uidset *set, struct buf *out);
