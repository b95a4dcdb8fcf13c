/*
 * One logged batch on the overlay, during recovery: no loop, no threads, the index is asked
 * directly. What was judged before it was logged is not judged again: where a PATCH or a count of
 * references finds nothing to work on, something before it is damaged.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

bool replay_begin_txn(struct replay *replay)
{
    if (replay->txn == NULL &&
        mdb_txn_begin(replay->local->index.env, NULL, MDB_RDONLY, &replay->txn) != 0)
        replay->failed = true;
    return !replay->failed;
}

/* A reference, or NULL. */
static struct value *find(struct replay *replay, struct id partition, struct slice key)
{
    struct value *value;
    struct slice bytes;
    enum layer_found found = layer_find(&replay->local->active, partition, key, &value);
    if (found == LAYER_VALUE)
        return value_hold(value);
    if (found == LAYER_ABSENT || !replay_begin_txn(replay))
        return NULL;
    switch (index_get(&replay->local->index, replay->txn, partition, key, &bytes)) {
    case INDEX_FOUND:
        return value_create(bytes);
    case INDEX_FAILED:
        replay->failed = true;
        break;
    case INDEX_ABSENT:
    case INDEX_CORRUPT:
        break;
    }
    return NULL;
}

static bool apply_patch(struct replay *replay, struct id partition, const struct store_op *op)
{
    struct value *value = find(replay, partition, op->key);
    struct value *patched = value == NULL ? NULL : value_patch(value, op->offset, op->value);
    value_drop(&value);
    if (patched != NULL)
        layer_put(&replay->local->active, partition, op->key, patched);
    return patched != NULL;
}

static struct blob *find_blob(struct replay *replay, uint64_t id)
{
    struct blob_record record;
    struct blob *blob = local_blob(replay->local, id);
    if (blob != NULL || !replay_begin_txn(replay))
        return blob;
    enum index_found found = index_get_blob(&replay->local->index, replay->txn, id, &record);
    replay->failed = replay->failed || found == INDEX_FAILED;
    return found == INDEX_FOUND ? local_blob_loaded(replay->local, id, &record) : NULL;
}

static void count(struct replay *replay, struct blob *blob, int64_t delta)
{
    local_blob_count(replay->local, blob, delta);
    blob->next = blob->refs;
}

/* A new blob whose body is lost has no place: it is there, and its reads are CORRUPT. */
static void apply_blob(struct replay *replay, const struct store_op *op)
{
    struct blob *blob = local_blob(replay->local, op->blob);
    if (blob == NULL)
        blob = local_blob_add(replay->local, op->blob);
    blob->known = true;
    blob->place = (struct place){.raw_size = (uint32_t)op->size};
    for (size_t i = 0; i < replay->body_count; i++)
        if (replay->bodies[i].blob == op->blob)
            blob->place = replay->bodies[i].place;
    count(replay, blob, 1);
}

static bool apply_count(struct replay *replay, const struct store_op *op)
{
    struct blob *blob = find_blob(replay, op->blob);
    if (blob == NULL || (blob->refs == 0 && op->kind == STORE_OP_UNREF))
        return false;
    count(replay, blob, op->kind == STORE_OP_ADDREF ? 1 : -1);
    return true;
}

static bool apply_op(struct replay *replay, struct id partition, const struct store_op *op)
{
    struct layer *layer = &replay->local->active;
    switch (op->kind) {
    case STORE_OP_PUT:
        layer_put(layer, partition, op->key, value_create(op->value));
        return true;
    case STORE_OP_DEL:
        layer_put(layer, partition, op->key, NULL);
        return true;
    case STORE_OP_DEL_RANGE:
        layer_del_range(layer, partition, op->key, op->value);
        return true;
    case STORE_OP_PATCH:
        return apply_patch(replay, partition, op);
    case STORE_OP_EXPECT_EQUAL:
    case STORE_OP_EXPECT_ABSENT:
        return true;
    case STORE_OP_BLOB:
        apply_blob(replay, op);
        return true;
    case STORE_OP_ADDREF:
    case STORE_OP_UNREF:
        return apply_count(replay, op);
    }
    return false;
}

bool replay_apply(struct replay *replay, struct id partition, struct slice packed)
{
    struct store_ops ops = store_ops_make(packed);
    struct store_op op;
    bool good = true;
    while (store_ops_next(&ops, &op))
        good = apply_op(replay, partition, &op) && good;
    return good;
}
