/*
 * Judging one batch: does every EXPECT, PATCH, ADDREF and UNREF hold against everything submitted
 * before, and what does the batch come to? Its effect is built beside everything else (txn->layer,
 * txn->blobs) and touches nothing shared until all of it is good. What neither the batches on their
 * way nor the overlay know is asked from the index, all keys of the batch at once; then the batch
 * is judged again from the start.
 *
 * PATCH becomes the whole value here, so that the layers know only whole values; the log keeps the
 * few bytes.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

struct judging {
    struct txn *txn;
    struct local *local;
    struct load *load; /* what is missing */
    bool blocked;      /* on a blob of a batch that is not judged itself */
};

static bool asked_already(const struct load *load, const struct load_item *wanted)
{
    for (size_t i = 0; i < load->count; i++) {
        const struct load_item *item = &load->items[i];
        if (item->kind == wanted->kind && item->blob == wanted->blob &&
            slice_equal(item->key, wanted->key))
            return true;
    }
    return false;
}

static void ask(const struct txn *txn, struct load *load, const struct load_item *item)
{
    if (item->kind == LOAD_KEY)
        load_key(load, txn->partition->id, item->key);
    else
        load_blob(load, item->blob);
}

/* With all that was asked before: an answer is good for one judging only. */
static struct load *load_again(struct txn *txn)
{
    struct load *load = load_create(txn->partition->local, txn_loaded, txn);
    for (size_t i = 0; txn->brought != NULL && i < txn->brought->count; i++)
        ask(txn, load, &txn->brought->items[i]);
    return load;
}

static void need(struct judging *judging, enum load_kind kind, struct slice key, uint64_t blob)
{
    struct load_item wanted = {.kind = kind, .key = key, .blob = blob};
    if (judging->load == NULL)
        judging->load = load_again(judging->txn);
    if (!asked_already(judging->load, &wanted))
        ask(judging->txn, judging->load, &wanted);
}

/* ---- keys ---------------------------------------------------------------------------------- */

static const struct load_item *brought(const struct txn *txn, enum load_kind kind, struct slice key,
                                       uint64_t blob)
{
    for (size_t i = 0; txn->brought != NULL && i < txn->brought->count; i++) {
        const struct load_item *item = &txn->brought->items[i];
        if (item->kind == kind && item->blob == blob && slice_equal(item->key, key))
            return item;
    }
    return NULL;
}

enum looked { LOOKED_VALUE, LOOKED_ABSENT, LOOKED_MISSING, LOOKED_CORRUPT, LOOKED_FAILED };

static enum looked look_in_memory(struct judging *judging, struct slice key, struct value **value)
{
    struct local *local = judging->local;
    struct txn *txn = judging->txn;
    struct id partition = txn->partition->id;
    enum layer_found found = layer_find(&txn->layer, partition, key, value);
    struct txn *before = TAILQ_LAST(&txn->partition->in_flight, txn_list);
    for (; before != NULL && found == LAYER_UNKNOWN;
         before = TAILQ_PREV(before, txn_list, in_partition))
        found = layer_find(&before->layer, partition, key, value);
    if (found == LAYER_UNKNOWN)
        found = layer_find(&local->active, partition, key, value);
    if (found == LAYER_UNKNOWN && local->frozen != NULL)
        found = layer_find(local->frozen, partition, key, value);
    return found == LAYER_VALUE    ? LOOKED_VALUE
           : found == LAYER_ABSENT ? LOOKED_ABSENT
                                   : LOOKED_MISSING;
}

static enum looked look(struct judging *judging, struct slice key, struct value **value)
{
    enum looked looked = look_in_memory(judging, key, value);
    if (looked != LOOKED_MISSING)
        return looked;
    const struct load_item *item = brought(judging->txn, LOAD_KEY, key, 0);
    if (item == NULL) {
        need(judging, LOAD_KEY, key, 0);
        return LOOKED_MISSING;
    }
    *value = item->value;
    switch (item->found) {
    case INDEX_FOUND:
        return LOOKED_VALUE;
    case INDEX_ABSENT:
        return LOOKED_ABSENT;
    case INDEX_CORRUPT:
        return LOOKED_CORRUPT;
    case INDEX_FAILED:
        break;
    }
    return LOOKED_FAILED;
}

/* What an operation that needs a value answers when there is none to judge by. MISSING is good
 * for now: the batch is judged again. */
static enum store_result without_value(enum looked looked)
{
    switch (looked) {
    case LOOKED_CORRUPT:
        return STORE_CORRUPT;
    case LOOKED_FAILED:
        return STORE_UNAVAILABLE;
    case LOOKED_ABSENT:
        return STORE_CONFLICT;
    case LOOKED_MISSING:
    case LOOKED_VALUE:
        break;
    }
    return STORE_OK;
}

static enum store_result expect_equal(struct judging *judging, const struct store_op *op)
{
    struct value *value;
    enum looked looked = look(judging, op->key, &value);
    if (looked != LOOKED_VALUE)
        return without_value(looked);
    return slice_equal(value_slice(value), op->value) ? STORE_OK : STORE_CONFLICT;
}

static enum store_result expect_absent(struct judging *judging, const struct store_op *op)
{
    struct value *value;
    enum looked looked = look(judging, op->key, &value);
    if (looked == LOOKED_ABSENT)
        return STORE_OK;
    return looked == LOOKED_VALUE ? STORE_CONFLICT : without_value(looked);
}

static enum store_result patch(struct judging *judging, const struct store_op *op)
{
    struct value *value;
    enum looked looked = look(judging, op->key, &value);
    if (looked != LOOKED_VALUE)
        return without_value(looked);
    struct value *patched = value_patch(value, op->offset, op->value);
    if (patched == NULL)
        return STORE_CONFLICT;
    layer_put(&judging->txn->layer, judging->txn->partition->id, op->key, patched);
    return STORE_OK;
}

/* ---- blobs --------------------------------------------------------------------------------- */

static struct txn_blob *effect_on(struct txn *txn, struct blob *blob)
{
    for (size_t i = 0; i < txn->blob_count; i++)
        if (txn->blobs[i].blob == blob)
            return &txn->blobs[i];
    txn->blobs = mem_grow(txn->blobs, txn->blob_count + 1, sizeof(*txn->blobs));
    struct txn_blob *effect = &txn->blobs[txn->blob_count++];
    *effect = (struct txn_blob){.blob = blob};
    return effect;
}

/* One submitted before counts on it and is not judged. As all wait only for earlier ones, nothing
 * waits in a circle. */
static bool is_behind(struct judging *judging, const struct blob *blob)
{
    bool behind = TAILQ_FIRST(&blob->claims)->txn != judging->txn;
    judging->blocked = judging->blocked || behind;
    return behind;
}

static bool creates(const struct txn *txn, const struct blob *blob)
{
    for (size_t i = 0; i < txn->blob_count; i++)
        if (txn->blobs[i].blob == blob)
            return txn->blobs[i].created;
    return false;
}

static enum store_result new_blob(struct judging *judging, const struct store_op *op)
{
    struct blob *blob = local_blob(judging->local, op->blob);
    if (is_behind(judging, blob))
        return STORE_OK;
    if (blob->known)
        return STORE_CONFLICT; /* the id of another one */
    struct txn_blob *effect = effect_on(judging->txn, blob);
    effect->created = true;
    effect->delta++;
    return STORE_OK;
}

static enum store_result count_blob(struct judging *judging, const struct store_op *op)
{
    struct txn *txn = judging->txn;
    struct blob *blob = local_blob(judging->local, op->blob);
    if (is_behind(judging, blob))
        return STORE_OK;
    if (!blob->known && !creates(txn, blob)) {
        const struct load_item *item = brought(txn, LOAD_BLOB, SLICE_NONE, op->blob);
        if (item == NULL)
            need(judging, LOAD_BLOB, SLICE_NONE, op->blob);
        return item == NULL                   ? STORE_OK
               : item->found == INDEX_CORRUPT ? STORE_CORRUPT
               : item->found == INDEX_FAILED  ? STORE_UNAVAILABLE
                                              : STORE_CONFLICT;
    }
    struct txn_blob *effect = effect_on(txn, blob);
    if (blob->next + effect->delta <= 0)
        return STORE_CONFLICT;
    effect->delta += op->kind == STORE_OP_ADDREF ? 1 : -1;
    return STORE_OK;
}

/* ---- the batch ----------------------------------------------------------------------------- */

static enum store_result apply(struct judging *judging, const struct store_op *op)
{
    struct layer *layer = &judging->txn->layer;
    struct id partition = judging->txn->partition->id;
    switch (op->kind) {
    case STORE_OP_PUT:
        layer_put(layer, partition, op->key, value_create(op->value));
        return STORE_OK;
    case STORE_OP_DEL:
        layer_put(layer, partition, op->key, NULL);
        return STORE_OK;
    case STORE_OP_DEL_RANGE:
        layer_del_range(layer, partition, op->key, op->value);
        return STORE_OK;
    case STORE_OP_PATCH:
        return patch(judging, op);
    case STORE_OP_EXPECT_EQUAL:
        return expect_equal(judging, op);
    case STORE_OP_EXPECT_ABSENT:
        return expect_absent(judging, op);
    case STORE_OP_BLOB:
        return new_blob(judging, op);
    case STORE_OP_ADDREF:
    case STORE_OP_UNREF:
        return count_blob(judging, op);
    }
    return STORE_CONFLICT;
}

static void forget_effect(struct txn *txn)
{
    layer_finish(&txn->layer);
    txn->blob_count = 0;
}

void txn_loaded(struct load *load, bool ok)
{
    struct txn *txn = load->arg;
    struct partition *partition = txn->partition;
    txn->loading = false;
    if (txn->orphan) {
        load_destroy(&load);
        free(txn);
        return;
    }
    if (!ok)
        txn->preset = STORE_UNAVAILABLE;
    txn->brought = load;
    partition_go(partition);
    if (TAILQ_FIRST(&partition->waiting) == txn)
        txn->brought = NULL; /* not its turn after all (no room): it will ask again */
    load_destroy(&load);
}

enum judged judge(struct txn *txn)
{
    struct judging judging = {.txn = txn, .local = txn->partition->local};
    struct store_ops ops = store_batch_ops(txn->batch);
    struct store_op op;
    enum store_result result = txn->preset;
    if (result == STORE_OK && local_is_frozen(judging.local, txn->partition->id))
        result = STORE_CORRUPT;
    forget_effect(txn);
    while (result == STORE_OK && store_ops_next(&ops, &op))
        result = apply(&judging, &op);
    ASSERT(!ops.failed);
    txn->brought = NULL;
    if (judging.load != NULL) {
        forget_effect(txn);
        txn->loading = true;
        load_start(judging.load);
        return JUDGED_WAIT;
    }
    if (result == STORE_OK && !judging.blocked)
        return JUDGED_GOOD;
    forget_effect(txn);
    txn->result = result;
    return result == STORE_OK ? JUDGED_WAIT : JUDGED_FAILED;
}
