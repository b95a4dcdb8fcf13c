/*
 * Asking the index from the loop: keys and blobs, several in one read transaction on a reader.
 * What comes back is true below the layers only if no checkpoint has dropped a layer since the
 * transaction began: what the layer had would be in neither. Such a load is done again, which
 * happens about once per checkpoint.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

struct load *load_create(struct local *local, void (*loaded)(struct load *load, bool ok), void *arg)
{
    struct load *load = MEM_NEW(struct load);
    load->local = local;
    load->loaded = loaded;
    load->arg = arg;
    return load;
}

static struct load_item *add(struct load *load)
{
    if (load->count == load->room) {
        load->room = load->room == 0 ? 4 : load->room * 2;
        load->items = mem_grow(load->items, load->room, sizeof(*load->items));
    }
    struct load_item *item = &load->items[load->count++];
    *item = (struct load_item){0};
    return item;
}

void load_key(struct load *load, struct id partition, struct slice key)
{
    struct load_item *item = add(load);
    item->kind = LOAD_KEY;
    item->partition = partition;
    item->key = slice_make(mem_dup(key.data, key.size), key.size);
}

void load_blob(struct load *load, uint64_t blob)
{
    struct load_item *item = add(load);
    item->kind = LOAD_BLOB;
    item->blob = blob;
}

static void forget_found(struct load *load)
{
    for (size_t i = 0; i < load->count; i++)
        value_drop(&load->items[i].value);
}

void load_destroy(struct load **load)
{
    if (*load == NULL)
        return;
    forget_found(*load);
    for (size_t i = 0; i < (*load)->count; i++) {
        struct load_item *item = &(*load)->items[i];
        struct blob *blob = item->kind == LOAD_BLOB ? local_blob((*load)->local, item->blob) : NULL;
        free((void *)(uintptr_t)item->key.data);
        if (blob != NULL)
            local_blob_settle((*load)->local, blob);
    }
    free((*load)->items);
    free(*load);
    *load = NULL;
}

/* ---- on a reader --------------------------------------------------------------------------- */

MDB_txn *reader_begin(struct local *local, unsigned thread)
{
    MDB_txn **txn = &local->reader_txns[thread];
    pthread_rwlock_rdlock(&local->index.resize);
    int code =
        *txn == NULL ? mdb_txn_begin(local->index.env, NULL, MDB_RDONLY, txn) : mdb_txn_renew(*txn);
    if (code == 0)
        return *txn;
    if (*txn != NULL)
        mdb_txn_abort(*txn);
    *txn = NULL;
    pthread_rwlock_unlock(&local->index.resize);
    return NULL;
}

void reader_end(struct local *local, unsigned thread)
{
    mdb_txn_reset(local->reader_txns[thread]);
    pthread_rwlock_unlock(&local->index.resize);
}

static void ask(struct local *local, MDB_txn *txn, struct load_item *item)
{
    struct slice value;
    if (item->kind == LOAD_BLOB) {
        item->found = index_get_blob(&local->index, txn, item->blob, &item->record);
    } else {
        item->found = index_get(&local->index, txn, item->partition, item->key, &value);
        if (item->found == INDEX_FOUND)
            item->value = value_create(value);
    }
    if (item->found == INDEX_CORRUPT)
        atomic_fetch_add(&local->checksum_failures, 1);
}

static void work(struct job *job, unsigned thread)
{
    struct load *load = (struct load *)(void *)job;
    struct local *local = load->local;
    load->failed = true;
    for (size_t i = 0; i < load->count; i++)
        load->items[i].found = INDEX_FAILED;
    MDB_txn *txn = reader_begin(local, thread);
    if (txn == NULL)
        return;
    load->failed = false;
    load->seen = mdb_txn_id(txn);
    for (size_t i = 0; i < load->count; i++)
        ask(local, txn, &load->items[i]);
    reader_end(local, thread);
}

/* ---- back on the loop ---------------------------------------------------------------------- */

static void on_done(struct post_item *item)
{
    struct load *load = (struct load *)(void *)((char *)item - offsetof(struct load, job.done));
    struct local *local = load->local;
    bool ok = local->state == LOCAL_SERVING || local->state == LOCAL_CLOSING;
    local->jobs_out--;
    if (ok && !load->failed && load->seen < local->index_txn) {
        forget_found(load);
        load_start(load);
        return;
    }
    for (size_t i = 0; i < load->count; i++)
        if (ok && load->items[i].kind == LOAD_BLOB && load->items[i].found == INDEX_FOUND)
            local_blob_loaded(local, load->items[i].blob, &load->items[i].record);
    load->loaded(load, ok);
    local_recover_when_quiet(local);
}

void load_start(struct load *load)
{
    load->local->jobs_out++;
    load->job.work = work;
    load->job.done.run = on_done;
    pool_submit(load->local->readers, &load->job);
}
