/*
 * Sets of numbers as sorted ranges in one array. Ranges are kept disjoint and non-adjacent at every
 * step, so that two equal sets have equal arrays, and printing is a loop. Ascending additions touch
 * only the last range; others pay a move of the ranges behind.
 */
#include "mailbox/uidset.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void uidset_init(struct uidset *set)
{
    *set = (struct uidset){0};
}

void uidset_finish(struct uidset *set)
{
    free(set->ranges);
    *set = (struct uidset){0};
}

void uidset_clear(struct uidset *set)
{
    set->count = 0;
}

/* Index of the first range that ends at or behind number; count when there is none. */
static size_t range_from(const struct uidset *set, uint32_t number)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->ranges[middle].last < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void range_insert(struct uidset *set, size_t at, struct uidset_range range)
{
    if (set->count == set->room) {
        set->room = set->room == 0 ? 4 : set->room * 2;
        set->ranges = mem_grow(set->ranges, set->room, sizeof(*set->ranges));
    }
    memmove(set->ranges + at + 1, set->ranges + at, (set->count - at) * sizeof(*set->ranges));
    set->ranges[at] = range;
    set->count++;
}

void uidset_add(struct uidset *set, uint32_t first, uint32_t last)
{
    if (first > last) {
        uint32_t swap = first;
        first = last;
        last = swap;
    }
    /* The first range that overlaps or touches: it ends at first - 1 or later. */
    size_t from = set->count;
    if (set->count > 0 && (first == 0 || set->ranges[set->count - 1].last >= first - 1))
        from = range_from(set, first == 0 ? 0 : first - 1);
    size_t to = from;
    while (to < set->count && (last == UINT32_MAX || set->ranges[to].first <= last + 1)) {
        if (set->ranges[to].first < first)
            first = set->ranges[to].first;
        if (set->ranges[to].last > last)
            last = set->ranges[to].last;
        to++;
    }
    if (from == to) {
        range_insert(set, from, (struct uidset_range){first, last});
        return;
    }
    set->ranges[from] = (struct uidset_range){first, last};
    memmove(set->ranges + from + 1, set->ranges + to, (set->count - to) * sizeof(*set->ranges));
    set->count -= to - from - 1;
}

void uidset_add_set(struct uidset *set, const struct uidset *other)
{
    for (size_t i = 0; i < other->count; i++)
        uidset_add(set, other->ranges[i].first, other->ranges[i].last);
}

void uidset_cut(struct uidset *set, uint32_t from)
{
    set->count = range_from(set, from) < set->count ? range_from(set, from) + 1 : set->count;
    if (set->count == 0)
        return;
    struct uidset_range *last = &set->ranges[set->count - 1];
    if (last->first >= from)
        set->count--;
    else if (last->last >= from)
        last->last = from - 1;
}

void uidset_common(const struct uidset *a, const struct uidset *b, struct uidset *common)
{
    for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
        const struct uidset_range *x = &a->ranges[i], *y = &b->ranges[j];
        uint32_t first = x->first > y->first ? x->first : y->first;
        uint32_t last = x->last < y->last ? x->last : y->last;
        if (first <= last)
            uidset_add(common, first, last);
        if (x->last < y->last)
            i++;
        else
            j++;
    }
}

bool uidset_has(const struct uidset *set, uint32_t number)
{
    size_t at = range_from(set, number);
    return at < set->count && set->ranges[at].first <= number;
}

uint64_t uidset_count(const struct uidset *set)
{
    uint64_t count = 0;
    for (size_t i = 0; i < set->count; i++)
        count += (uint64_t)set->ranges[i].last - set->ranges[i].first + 1;
    return count;
}

bool uidset_next(const struct uidset *set, uint32_t number, uint32_t *next)
{
    size_t at = range_from(set, number);
    if (at == set->count)
        return false;
    *next = set->ranges[at].first > number ? set->ranges[at].first : number;
    return true;
}

void uidset_print(const struct uidset *set, struct buf *out)
{
    for (size_t i = 0; i < set->count; i++) {
        struct uidset_range range = set->ranges[i];
        buf_printf(out, "%s%u", i == 0 ? "" : ",", range.first);
        if (range.last != range.first)
            buf_printf(out, ":%u", range.last);
    }
}
