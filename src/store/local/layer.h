/*
 * Keys and values in memory, in order, on top of the index: what a batch changes, what is durable
 * but not yet in the index (active), what the index thread is writing (frozen). A key of a layer is
 * there with a full value, known to be absent, or unknown: then the layer below is asked. Ranges
 * stand for "all keys here are absent, except those that the layer has".
 *
 * One thread changes a layer; a frozen one is only read, by any thread. Values are shared between
 * layers and threads by counted references.
 */
#pragma once
#include <bsd/sys/tree.h>
#include <stdatomic.h>

#include "base/id.h"
#include "base/slice.h"

struct value {
    atomic_uint refs;
    uint32_t size;
    uint8_t bytes[];
};

struct value *value_create(struct slice bytes); /* one reference */
/* A copy with bytes written over the part from offset on; NULL when it is too short for that. */
struct value *value_patch(const struct value *value, uint32_t offset, struct slice bytes);
struct value *value_hold(struct value *value);
void value_drop(struct value **value); /* accepts NULL */
static inline struct slice value_slice(const struct value *value)
{
    return slice_make(value->bytes, value->size);
}

struct layer_entry {
    RB_ENTRY(layer_entry) tree;
    struct id partition;
    struct value *value; /* NULL: known to be absent */
    uint8_t key_size;
    uint8_t key[];
};

struct layer_range {
    RB_ENTRY(layer_range) tree;
    struct id partition;
    uint16_t from_size, to_size;
    uint8_t bytes[]; /* from, to */
};

RB_HEAD(layer_entries, layer_entry);
RB_HEAD(layer_ranges, layer_range);

struct layer {
    struct layer_entries entries;
    struct layer_ranges ranges; /* of one partition: disjoint */
    size_t count;               /* entries and ranges */
    size_t bytes;               /* of memory, about */
};

enum layer_found { LAYER_UNKNOWN, LAYER_ABSENT, LAYER_VALUE };

void layer_init(struct layer *layer);
void layer_finish(struct layer *layer);
/* value is not held: valid as long as the layer is not changed. May be NULL when not wanted. */
enum layer_found layer_find(struct layer *layer, struct id partition, struct slice key,
                            struct value **value);
/* Takes the reference; NULL: the key is absent. */
void layer_put(struct layer *layer, struct id partition, struct slice key, struct value *value);
void layer_del_range(struct layer *layer, struct id partition, struct slice from, struct slice to);
/* Moves all that `from` has on top of `into`; `from` is empty then. */
void layer_absorb(struct layer *into, struct layer *from);
/* The first entry of the partition with that key or a later one, or NULL. */
struct layer_entry *layer_from(struct layer *layer, struct id partition, struct slice key);
struct layer_entry *layer_next(struct layer_entry *entry); /* of the same partition, or NULL */
bool layer_covers(struct layer *layer, struct id partition, struct slice key); /* by a range */

static inline struct slice layer_key(const struct layer_entry *entry)
{
    return slice_make(entry->key, entry->key_size);
}
static inline struct slice layer_range_from(const struct layer_range *range)
{
    return slice_make(range->bytes, range->from_size);
}
static inline struct slice layer_range_to(const struct layer_range *range)
{
    return slice_make(range->bytes + range->from_size, range->to_size);
}
RB_PROTOTYPE(layer_entries, layer_entry, tree, layer_entry_compare)
RB_PROTOTYPE(layer_ranges, layer_range, tree, layer_range_compare)
