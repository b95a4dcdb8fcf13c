/*
 * A batch from store_submit() to its completion, and the order of a partition: batches wait, are
 * judged one after the other, go to the log, come back with their tick. One that fails waits for
 * those before it, then takes those behind it along. All on the loop.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

static int partition_compare(struct partition *a, struct partition *b)
{
    return id_compare(a->id, b->id);
}

RB_GENERATE(partitions, partition, tree, partition_compare)

static void on_settle(struct post_item *item);

static struct partition *partition_get(struct local *local, struct id id)
{
    struct partition search = {.id = id};
    struct partition *partition = RB_FIND(partitions, &local->partitions, &search);
    if (partition != NULL)
        return partition;
    partition = MEM_NEW(struct partition);
    partition->id = id;
    partition->local = local;
    partition->settle.run = on_settle;
    TAILQ_INIT(&partition->waiting);
    TAILQ_INIT(&partition->in_flight);
    STAILQ_INIT(&partition->quiets);
    RB_INSERT(partitions, &local->partitions, partition);
    return partition;
}

static void settle_soon(struct partition *partition)
{
    if (partition->settling)
        return;
    partition->settling = true;
    post_again(partition->local->posts, &partition->settle);
}

static void block(struct partition *partition)
{
    if (partition->blocked)
        return;
    partition->blocked = true;
    TAILQ_INSERT_TAIL(&partition->local->blocked, partition, in_blocked);
}

static void unblock(struct partition *partition)
{
    if (partition->blocked)
        TAILQ_REMOVE(&partition->local->blocked, partition, in_blocked);
    partition->blocked = false;
}

/* Each goes on in a turn of its own, so that no call reaches deep into others. */
void local_unblock(struct local *local)
{
    struct partition *partition;
    while ((partition = TAILQ_FIRST(&local->blocked)) != NULL) {
        unblock(partition);
        settle_soon(partition);
    }
}

/* ---- submitting ---------------------------------------------------------------------------- */

static uint64_t weigh(const struct store_batch *batch)
{
    uint64_t bytes = batch->ops.size + FRAME_HEADER;
    for (size_t i = 0; i < batch->blob_count; i++)
        bytes += frame_total(batch->blobs[i].bytes.size);
    return bytes;
}

/* What is known before it is judged. */
static enum store_result refuse(struct local *local, const struct txn *txn)
{
    if (txn->partition->fenced)
        return STORE_FENCED;
    if (local->state != LOCAL_SERVING && local->state != LOCAL_CLOSING)
        return STORE_UNAVAILABLE;
    if (local->in_flight_bytes > 0 && local->in_flight_bytes + txn->bytes > LOCAL_IN_FLIGHT_BYTES)
        return STORE_UNAVAILABLE;
    if (atomic_load(&local->space_low) && txn->batch->blob_count > 0)
        return STORE_NOSPACE;
    if (atomic_load(&local->space_gone) && local->in_flight_bytes + txn->bytes > log_room(local))
        return STORE_NOSPACE;
    return STORE_OK;
}

static struct blob *blob_of(struct local *local, uint64_t id)
{
    struct blob *blob = local_blob(local, id);
    return blob != NULL ? blob : local_blob_add(local, id);
}

/* Blobs are shared by partitions: what a batch does to them comes before what those submitted later
 * do, also in other partitions. */
static void claim_blobs(struct local *local, struct txn *txn)
{
    struct store_ops ops = store_batch_ops(txn->batch);
    struct store_op op;
    while (store_ops_next(&ops, &op))
        txn->claim_count += op.blob != 0;
    if (txn->claim_count == 0)
        return;
    txn->claims = mem_array(txn->claim_count, sizeof(*txn->claims));
    struct claim *claim = txn->claims;
    ops = store_batch_ops(txn->batch);
    while (store_ops_next(&ops, &op)) {
        if (op.blob == 0)
            continue;
        *claim = (struct claim){.txn = txn, .blob = blob_of(local, op.blob)};
        TAILQ_INSERT_TAIL(&claim->blob->claims, claim, next);
        claim++;
    }
}

/* It has been judged, or will not be. */
static void release_claims(struct local *local, struct txn *txn)
{
    for (size_t i = 0; i < txn->claim_count; i++) {
        struct blob *blob = txn->claims[i].blob;
        TAILQ_REMOVE(&blob->claims, &txn->claims[i], next);
        local_blob_settle(local, blob);
    }
    if (txn->claim_count > 0 && !TAILQ_EMPTY(&local->blocked))
        local_unblock(local);
    free(txn->claims);
    txn->claims = NULL;
    txn->claim_count = 0;
}

void local_submit(struct store *store, struct store_batch *batch, store_done *done, void *arg)
{
    struct local *local = local_of(store);
    struct txn *txn = MEM_NEW(struct txn);
    ASSERT(batch->operations <= STORE_BATCH_OPERATIONS_MAX &&
           batch->bytes <= STORE_BATCH_BYTES_MAX);
    txn->partition = partition_get(local, batch->partition);
    txn->batch = batch;
    txn->done = done;
    txn->arg = arg;
    txn->order = ++local->order;
    txn->bytes = weigh(batch);
    layer_init(&txn->layer);
    txn->preset = refuse(local, txn);
    if (txn->preset == STORE_OK)
        claim_blobs(local, txn);
    if (txn->preset == STORE_NOSPACE)
        supply_look(local);
    local->in_flight_bytes += txn->bytes;
    local->in_flight_count++;
    TAILQ_INSERT_TAIL(&txn->partition->waiting, txn, in_partition);
    partition_go(txn->partition);
}

/* ---- judging in order ---------------------------------------------------------------------- */

static void accept(struct local *local, struct txn *txn)
{
    struct partition *partition = txn->partition;
    for (size_t i = 0; i < txn->blob_count; i++) {
        struct blob *blob = txn->blobs[i].blob;
        blob->pins++;
        blob->known = true;
        blob->next += txn->blobs[i].delta;
    }
    TAILQ_REMOVE(&partition->waiting, txn, in_partition);
    TAILQ_INSERT_TAIL(&partition->in_flight, txn, in_partition);
    partition->in_flight_count++;
    txn->lsn = ++local->lsn;
    if (txn->batch->blob_count > 0)
        txn->places = mem_array(txn->batch->blob_count, sizeof(*txn->places));
    local->judged_operations += txn->batch->operations;
    local->judged_bytes += txn->batch->bytes;
    release_claims(local, txn);
    log_submit(local, txn);
}

static bool has_room(struct local *local)
{
    return local->active.count + local->dirty_count + local->judged_operations <
               LOCAL_OVERLAY_COUNT &&
           local->active.bytes + local->judged_bytes < LOCAL_OVERLAY_BYTES;
}

static void fail(struct partition *partition, struct txn *txn)
{
    partition->failing = true;
    release_claims(partition->local, txn);
    if (TAILQ_EMPTY(&partition->in_flight))
        settle_soon(partition);
}

void partition_go(struct partition *partition)
{
    struct txn *txn;
    while ((txn = TAILQ_FIRST(&partition->waiting)) != NULL) {
        if (partition->failing || txn->loading ||
            partition->in_flight_count >= LOCAL_PARTITION_IN_FLIGHT)
            return;
        if (!has_room(partition->local) && txn->preset == STORE_OK) {
            if (!partition->local->checkpoint_failing) {
                block(partition);
                checkpoint_consider(partition->local, true);
                return;
            }
            txn->preset = STORE_NOSPACE;
        }
        switch (judge(txn)) {
        case JUDGED_GOOD:
            accept(partition->local, txn);
            break;
        case JUDGED_WAIT:
            if (!txn->loading)
                block(partition);
            return;
        case JUDGED_FAILED:
            fail(partition, txn);
            return;
        }
    }
}

/* ---- answering ----------------------------------------------------------------------------- */

void txn_withdraw(struct txn *txn)
{
    struct local *local = txn->partition->local;
    for (size_t i = 0; i < txn->blob_count; i++) {
        struct blob *blob = txn->blobs[i].blob;
        blob->pins--;
        blob->next -= txn->blobs[i].delta;
        local_blob_settle(local, blob);
    }
    txn->blob_count = 0;
}

void txn_answer(struct txn *txn, enum store_result result)
{
    struct local *local = txn->partition->local;
    local->in_flight_bytes -= txn->bytes;
    local->in_flight_count--;
    if (txn->lsn != 0) {
        local->judged_operations -= txn->batch->operations;
        local->judged_bytes -= txn->batch->bytes;
    }
    layer_finish(&txn->layer);
    free(txn->blobs);
    free(txn->places);
    txn->blobs = NULL;
    txn->places = NULL;
    store_batch_destroy(&txn->batch);
    txn->done(txn->arg, result);
    if (txn->loading)
        txn->orphan = true;
    else
        free(txn);
}

static enum store_result taken_along(const struct txn *txn)
{
    return txn->preset == STORE_FENCED ? STORE_FENCED : STORE_UNAVAILABLE;
}

/* The first waiting one has failed and nothing is before it. */
static void answer_failed(struct partition *partition)
{
    struct txn_list all = TAILQ_HEAD_INITIALIZER(all);
    struct txn *txn = TAILQ_FIRST(&partition->waiting);
    TAILQ_CONCAT(&all, &partition->waiting, in_partition);
    partition->failing = false;
    TAILQ_REMOVE(&all, txn, in_partition);
    struct txn *behind;
    TAILQ_FOREACH (behind, &all, in_partition)
        release_claims(partition->local, behind);
    txn_answer(txn, txn->result);
    while ((txn = TAILQ_FIRST(&all)) != NULL) {
        TAILQ_REMOVE(&all, txn, in_partition);
        txn_answer(txn, taken_along(txn));
    }
}

static void run_quiet(struct post_item *item)
{
    struct quiet *quiet = (struct quiet *)(void *)((char *)item - offsetof(struct quiet, item));
    quiet->quiet(quiet->arg);
    free(quiet);
}

void partition_forget(struct partition *partition)
{
    unblock(partition);
    RB_REMOVE(partitions, &partition->local->partitions, partition);
    free(partition);
}

static void idle(struct partition *partition)
{
    struct quiet *quiet;
    if (partition->busy > 0 || !TAILQ_EMPTY(&partition->waiting) ||
        !TAILQ_EMPTY(&partition->in_flight))
        return;
    while ((quiet = STAILQ_FIRST(&partition->quiets)) != NULL) {
        STAILQ_REMOVE_HEAD(&partition->quiets, next);
        quiet->item.run = run_quiet;
        post_again(partition->local->posts, &quiet->item);
    }
    if (partition->fenced || partition->settling)
        return;
    partition_forget(partition);
}

void partition_turn(struct partition *partition)
{
    partition->busy++;
    if (partition->failing && TAILQ_EMPTY(&partition->in_flight))
        answer_failed(partition);
    partition_go(partition);
    partition->busy--;
    idle(partition);
}

static void on_settle(struct post_item *item)
{
    struct partition *partition =
        (struct partition *)(void *)((char *)item - offsetof(struct partition, settle));
    partition->settling = false;
    partition_turn(partition);
}

/* ---- quiesce ------------------------------------------------------------------------------- */

void local_quiesce(struct store *store, struct id id, void (*quiet)(void *arg), void *arg)
{
    struct partition *partition = partition_get(local_of(store), id);
    struct quiet *made = MEM_NEW(struct quiet);
    made->quiet = quiet;
    made->arg = arg;
    partition->fenced = true;
    STAILQ_INSERT_TAIL(&partition->quiets, made, next);
    settle_soon(partition);
}

void local_resume(struct store *store, struct id id)
{
    struct partition *partition = partition_get(local_of(store), id);
    partition->fenced = false;
    idle(partition);
}

/* ---- all at once --------------------------------------------------------------------------- */

static void take(struct partition *partition, enum store_result first, enum store_result rest,
                 struct txn_list *taken)
{
    struct txn *txn;
    if (TAILQ_EMPTY(&partition->in_flight))
        rest = STORE_UNAVAILABLE;
    while ((txn = TAILQ_LAST(&partition->in_flight, txn_list)) != NULL) {
        /* From the last to the first, as counts of references were made. */
        TAILQ_REMOVE(&partition->in_flight, txn, in_partition);
        txn_withdraw(txn);
        TAILQ_INSERT_HEAD(&partition->waiting, txn, in_partition);
        txn->result = TAILQ_EMPTY(&partition->in_flight) ? first : rest;
    }
    TAILQ_FOREACH (txn, &partition->waiting, in_partition) {
        release_claims(partition->local, txn);
        partition->busy++; /* it must be there for the answer */
        if (txn->lsn == 0)
            txn->result = txn->preset == STORE_FENCED ? STORE_FENCED : rest;
    }
    TAILQ_CONCAT(taken, &partition->waiting, in_partition);
    partition->in_flight_count = 0;
    partition->failing = false;
    unblock(partition);
}

void local_take_all(struct local *local, enum store_result first, enum store_result rest,
                    struct txn_list *taken)
{
    struct partition *partition;
    RB_FOREACH (partition, partitions, &local->partitions)
        take(partition, first, rest, taken);
}

void local_answer(struct txn_list *taken)
{
    struct txn *txn;
    while ((txn = TAILQ_FIRST(taken)) != NULL) {
        struct partition *partition = txn->partition;
        TAILQ_REMOVE(taken, txn, in_partition);
        txn_answer(txn, txn->result);
        partition->busy--;
        settle_soon(partition); /* it is quiet, or goes on */
    }
}
