/*
 * The public functions of store.h, each a call through the engine's table, with the checks that
 * hold for every engine: the limits of a batch, of keys, of a page.
 */
#include "base/assert.h"
#include "store/store_priv.h"

const char *store_result_text(enum store_result result)
{
    static const char *const texts[] = {
#define X(name, text, session) [STORE_##name] = text,
        STORE_RESULTS(X)
#undef X
    };
    ASSERT((size_t)result < sizeof(texts) / sizeof(*texts));
    return texts[result];
}

uint64_t store_blob_new(struct store *store)
{
    return store->methods->blob_new(store);
}

void store_submit(struct store *store, struct store_batch *batch, store_done *done, void *arg)
{
    ASSERT(batch->operations <= STORE_BATCH_OPERATIONS_MAX);
    ASSERT(batch->bytes <= STORE_BATCH_BYTES_MAX);
    store->methods->submit(store, batch, done, arg);
}

void store_get(struct store *store, struct id partition, struct slice key, store_got *got,
               void *arg)
{
    ASSERT(key.size >= 1 && key.size <= STORE_KEY_MAX);
    store->methods->get(store, partition, key, got, arg);
}

void store_scan(struct store *store, struct id partition, struct slice from, struct slice to,
                size_t most, store_scanned *scanned, void *arg)
{
    ASSERT(from.size <= STORE_SCAN_KEY_MAX && to.size <= STORE_SCAN_KEY_MAX && most >= 1);
    store->methods->scan(store, partition, from, to, most, scanned, arg);
}

void store_read(struct store *store, uint64_t blob, uint64_t offset, uint64_t size,
                store_read_done *done, void *arg)
{
    store->methods->read(store, blob, offset, size, done, arg);
}

struct id store_uuid(const struct store *store)
{
    return store->methods->uuid(store);
}

uint64_t store_epoch(const struct store *store)
{
    return store->methods->epoch(store);
}

void store_quiesce(struct store *store, struct id partition, void (*quiet)(void *arg), void *arg)
{
    store->methods->quiesce(store, partition, quiet, arg);
}

void store_resume(struct store *store, struct id partition)
{
    store->methods->resume(store, partition);
}

void store_stats(const struct store *store, struct store_stats *stats)
{
    *stats = (struct store_stats){0};
    store->methods->stats(store, stats);
}

void store_check(struct store *store, const struct store_check_options *options,
                 void (*done)(void *arg), void *arg)
{
    store->methods->check(store, options, done, arg);
}

void store_close(struct store **store)
{
    if (*store == NULL)
        return;
    (*store)->methods->close(*store);
    *store = NULL;
}
