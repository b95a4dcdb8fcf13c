/*
 * A checkpoint as one transaction of LMDB: the frozen layer, the changed blobs, live bytes, and the
 * position of the log that goes with them. It must be one: recovery repeats patches and counts of
 * references from that position on, and half of them would be applied twice.
 */
#include <errno.h>

#include "base/assert.h"
#include "base/fault.h"
#include "store/local/local_priv.h"

enum {
    DIRTY_PAGES_MAX = 131072, /* LMDB 0.9.24 leaks when a transaction has more */
    PAGE = 4096,
};

/* An entry dirties a leaf and, seldom alone, a page above it; a large value pages of its own. */
static size_t dirty_pages(const struct checkpoint *checkpoint)
{
    return 2 * (checkpoint->layer->count + checkpoint->blob_count) +
           checkpoint->layer->bytes / PAGE;
}

static int write_layer(struct index *index, MDB_txn *txn, struct layer *layer)
{
    struct layer_range *range;
    struct layer_entry *entry;
    size_t deleted = 0;
    int code = 0;
    RB_FOREACH (range, layer_ranges, &layer->ranges) {
        code = index_del_range(index, txn, range->partition, layer_range_from(range),
                               layer_range_to(range), &deleted);
        if (code != 0)
            return code;
    }
    RB_FOREACH (entry, layer_entries, &layer->entries) {
        code = entry->value == NULL ? index_del(index, txn, entry->partition, layer_key(entry))
                                    : index_put(index, txn, entry->partition, layer_key(entry),
                                                value_slice(entry->value));
        if (code != 0)
            return code;
    }
    return 0;
}

static int write_all(struct index *index, MDB_txn *txn, const struct checkpoint *checkpoint)
{
    int code = write_layer(index, txn, checkpoint->layer);
    for (size_t i = 0; i < checkpoint->blob_count && code == 0; i++)
        code = index_put_blob(index, txn, checkpoint->blobs[i].blob, &checkpoint->blobs[i].record);
    for (size_t i = 0; i < checkpoint->live_count && code == 0; i++)
        code = index_put_live(index, txn, checkpoint->live[i].generation, checkpoint->live[i].live);
    return code != 0 ? code : index_put_position(index, txn, &checkpoint->position);
}

static int try_commit(struct index *index, struct checkpoint *checkpoint)
{
    MDB_txn *txn;
    pthread_rwlock_rdlock(&index->resize);
    int code = fault_hit("store.index.write");
    if (code == 0)
        code = mdb_txn_begin(index->env, NULL, 0, &txn);
    if (code == 0) {
        checkpoint->index_txn = mdb_txn_id(txn);
        code = write_all(index, txn, checkpoint);
        if (code == 0)
            code = fault_hit("store.index.commit");
        if (code == 0)
            code = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    pthread_rwlock_unlock(&index->resize);
    return code;
}

static int grow(struct index *index)
{
    MDB_envinfo info;
    pthread_rwlock_wrlock(&index->resize);
    int code = mdb_env_info(index->env, &info);
    if (code == 0)
        code = mdb_env_set_mapsize(index->env, info.me_mapsize * 2);
    pthread_rwlock_unlock(&index->resize);
    return code;
}

int index_commit(struct index *index, struct checkpoint *checkpoint)
{
    ASSERT(dirty_pages(checkpoint) < DIRTY_PAGES_MAX);
    int code = try_commit(index, checkpoint);
    while (code == MDB_MAP_FULL) {
        if ((code = grow(index)) == 0)
            code = try_commit(index, checkpoint);
    }
    if (code == 0)
        fault_hit("store.index.committed");
    return code;
}
