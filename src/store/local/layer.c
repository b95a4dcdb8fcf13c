/*
 * Layers: red-black trees of entries and of ranges, ordered by partition and key. Answers for the
 * meaning of "put, delete, delete a range" on top of each other; knows nothing of batches, of the
 * index or of threads (layer.h says who may touch what).
 */
#include "store/local/layer.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

static int compare(struct id partition_a, struct slice a, struct id partition_b, struct slice b)
{
    int order = id_compare(partition_a, partition_b);
    return order != 0 ? order : slice_compare(a, b);
}

static int layer_entry_compare(struct layer_entry *a, struct layer_entry *b)
{
    return compare(a->partition, layer_key(a), b->partition, layer_key(b));
}

static int layer_range_compare(struct layer_range *a, struct layer_range *b)
{
    return compare(a->partition, layer_range_from(a), b->partition, layer_range_from(b));
}

RB_GENERATE(layer_entries, layer_entry, tree, layer_entry_compare)
RB_GENERATE(layer_ranges, layer_range, tree, layer_range_compare)

struct value *value_create(struct slice bytes)
{
    struct value *value = mem_alloc(sizeof(*value) + bytes.size);
    atomic_init(&value->refs, 1);
    value->size = (uint32_t)bytes.size;
    if (bytes.size > 0)
        memcpy(value->bytes, bytes.data, bytes.size);
    return value;
}

struct value *value_patch(const struct value *value, uint32_t offset, struct slice bytes)
{
    if (offset > value->size || bytes.size > value->size - offset)
        return NULL;
    struct value *patched = value_create(value_slice(value));
    if (bytes.size > 0)
        memcpy(patched->bytes + offset, bytes.data, bytes.size);
    return patched;
}

struct value *value_hold(struct value *value)
{
    atomic_fetch_add_explicit(&value->refs, 1, memory_order_relaxed);
    return value;
}

void value_drop(struct value **value)
{
    if (*value != NULL && atomic_fetch_sub(&(*value)->refs, 1) == 1)
        free(*value);
    *value = NULL;
}

void layer_init(struct layer *layer)
{
    *layer = (struct layer){0};
    RB_INIT(&layer->entries);
    RB_INIT(&layer->ranges);
}

static size_t entry_bytes(const struct layer_entry *entry)
{
    return sizeof(*entry) + entry->key_size +
           (entry->value == NULL ? 0 : sizeof(*entry->value) + entry->value->size);
}

static size_t range_bytes(const struct layer_range *range)
{
    return sizeof(*range) + range->from_size + range->to_size;
}

static void account(struct layer *layer, size_t bytes, bool added)
{
    layer->count += added ? (size_t)1 : (size_t)-1;
    layer->bytes += added ? bytes : -bytes;
}

static void remove_entry(struct layer *layer, struct layer_entry *entry)
{
    RB_REMOVE(layer_entries, &layer->entries, entry);
    account(layer, entry_bytes(entry), false);
}

static void free_entry(struct layer_entry *entry)
{
    value_drop(&entry->value);
    free(entry);
}

static void remove_range(struct layer *layer, struct layer_range *range)
{
    RB_REMOVE(layer_ranges, &layer->ranges, range);
    account(layer, range_bytes(range), false);
}

void layer_finish(struct layer *layer)
{
    struct layer_entry *entry;
    struct layer_range *range;
    while ((entry = RB_ROOT(&layer->entries)) != NULL) {
        remove_entry(layer, entry);
        free_entry(entry);
    }
    while ((range = RB_ROOT(&layer->ranges)) != NULL) {
        remove_range(layer, range);
        free(range);
    }
}

/* Keys to search with: the trees compare whole entries. */
struct probe {
    _Alignas(struct layer_entry) uint8_t room[sizeof(struct layer_entry) + UINT8_MAX];
};

static struct layer_entry *probe_make(struct probe *probe, struct id partition, struct slice key)
{
    struct layer_entry *entry = (struct layer_entry *)(void *)probe->room;
    ASSERT(key.size <= UINT8_MAX);
    entry->partition = partition;
    entry->key_size = (uint8_t)key.size;
    if (key.size > 0)
        memcpy(entry->key, key.data, key.size);
    return entry;
}

/* A key one longer than may be stored is asked for when a scan goes on behind the longest key. */
static struct slice searchable(struct slice key)
{
    return slice_sub(key, 0, UINT8_MAX);
}

struct layer_entry *layer_from(struct layer *layer, struct id partition, struct slice key)
{
    struct probe search;
    struct layer_entry *found =
        RB_NFIND(layer_entries, &layer->entries, probe_make(&search, partition, searchable(key)));
    if (found != NULL && id_equal(found->partition, partition) &&
        slice_compare(layer_key(found), key) < 0)
        found = RB_NEXT(layer_entries, &layer->entries, found);
    return found != NULL && id_equal(found->partition, partition) ? found : NULL;
}

struct layer_entry *layer_next(struct layer_entry *entry)
{
    struct layer_entry *next = RB_NEXT(layer_entries, NULL, entry);
    return next != NULL && id_equal(next->partition, entry->partition) ? next : NULL;
}

/* The last range of the partition that begins at or before the key, or NULL. */
static struct layer_range *range_before(struct layer *layer, struct id partition, struct slice key)
{
    struct layer_range *at = RB_ROOT(&layer->ranges), *best = NULL;
    while (at != NULL) {
        if (compare(at->partition, layer_range_from(at), partition, key) <= 0) {
            best = at;
            at = RB_RIGHT(at, tree);
        } else {
            at = RB_LEFT(at, tree);
        }
    }
    return best != NULL && id_equal(best->partition, partition) ? best : NULL;
}

bool layer_covers(struct layer *layer, struct id partition, struct slice key)
{
    struct layer_range *range = range_before(layer, partition, key);
    return range != NULL && slice_compare(key, layer_range_to(range)) < 0;
}

enum layer_found layer_find(struct layer *layer, struct id partition, struct slice key,
                            struct value **value)
{
    struct probe search;
    struct layer_entry *entry = NULL;
    if (!RB_EMPTY(&layer->entries))
        entry = RB_FIND(layer_entries, &layer->entries, probe_make(&search, partition, key));
    if (value != NULL)
        *value = entry == NULL ? NULL : entry->value;
    if (entry != NULL)
        return entry->value == NULL ? LAYER_ABSENT : LAYER_VALUE;
    return layer_covers(layer, partition, key) ? LAYER_ABSENT : LAYER_UNKNOWN;
}

static void insert_entry(struct layer *layer, struct layer_entry *entry)
{
    struct layer_entry *there = RB_INSERT(layer_entries, &layer->entries, entry);
    if (there != NULL) {
        remove_entry(layer, there);
        free_entry(there);
        RB_INSERT(layer_entries, &layer->entries, entry);
    }
    account(layer, entry_bytes(entry), true);
}

void layer_put(struct layer *layer, struct id partition, struct slice key, struct value *value)
{
    ASSERT(key.size <= UINT8_MAX);
    struct layer_entry *entry = mem_alloc(sizeof(*entry) + key.size);
    entry->partition = partition;
    entry->value = value;
    entry->key_size = (uint8_t)key.size;
    memcpy(entry->key, key.data, key.size);
    insert_entry(layer, entry);
}

static struct layer_range *make_range(struct id partition, struct slice from, struct slice to)
{
    struct layer_range *range = mem_alloc(sizeof(*range) + from.size + to.size);
    range->partition = partition;
    range->from_size = (uint16_t)from.size;
    range->to_size = (uint16_t)to.size;
    if (from.size > 0)
        memcpy(range->bytes, from.data, from.size);
    if (to.size > 0)
        memcpy(range->bytes + from.size, to.data, to.size);
    return range;
}

/* Joins made with a range that touches it, if there is one. */
static bool join(struct layer *layer, struct layer_range **made)
{
    struct slice from = layer_range_from(*made), to = layer_range_to(*made);
    struct layer_range *other = range_before(layer, (*made)->partition, to);
    if (other == NULL || slice_compare(layer_range_to(other), from) < 0)
        return false;
    struct slice other_from = layer_range_from(other), other_to = layer_range_to(other);
    struct layer_range *joined =
        make_range((*made)->partition, slice_compare(other_from, from) < 0 ? other_from : from,
                   slice_compare(other_to, to) > 0 ? other_to : to);
    remove_range(layer, other);
    free(other);
    free(*made);
    *made = joined;
    return true;
}

void layer_del_range(struct layer *layer, struct id partition, struct slice from, struct slice to)
{
    if (slice_compare(from, to) >= 0)
        return;
    struct layer_entry *entry = layer_from(layer, partition, from), *next;
    for (; entry != NULL && slice_compare(layer_key(entry), to) < 0; entry = next) {
        next = layer_next(entry);
        remove_entry(layer, entry);
        free_entry(entry);
    }
    struct layer_range *made = make_range(partition, from, to);
    while (join(layer, &made)) {
    }
    RB_INSERT(layer_ranges, &layer->ranges, made);
    account(layer, range_bytes(made), true);
}

void layer_absorb(struct layer *into, struct layer *from)
{
    struct layer_range *range;
    struct layer_entry *entry;
    while ((range = RB_MIN(layer_ranges, &from->ranges)) != NULL) {
        layer_del_range(into, range->partition, layer_range_from(range), layer_range_to(range));
        remove_range(from, range);
        free(range);
    }
    while ((entry = RB_ROOT(&from->entries)) != NULL) {
        remove_entry(from, entry);
        insert_entry(into, entry);
    }
}
