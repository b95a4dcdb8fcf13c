/*
 * What comes back from the log: a tick that is durable is applied to memory as a whole, then its
 * completions run, in order. One that was not written is taken back; after one of which nobody
 * knows, the volume stops and recovers.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

static void place_blob(struct local *local, struct txn *txn, struct blob *blob)
{
    for (size_t i = 0; i < txn->batch->blob_count; i++) {
        if (txn->batch->blobs[i].blob != blob->id)
            continue;
        blob->place = txn->places[i];
        blob->verified = true; /* the checksum was made from these very bytes */
        struct segment *segment = local_segment(local, blob->place.segment);
        ASSERT(segment != NULL);
        segment->bodies += blob->place.size;
    }
}

static void apply(struct local *local, struct txn *txn)
{
    layer_absorb(&local->active, &txn->layer);
    for (size_t i = 0; i < txn->blob_count; i++) {
        struct txn_blob *effect = &txn->blobs[i];
        if (effect->created)
            place_blob(local, txn, effect->blob);
        local_blob_count(local, effect->blob, effect->delta);
        effect->blob->pins--;
    }
    txn->blob_count = 0;
}

static void open_segment(struct local *local, struct segment *segment)
{
    struct segment *before;
    RB_FOREACH (before, segments, &local->segments)
        before->writing = false;
    segment->writing = true;
    local_segment_add(local, segment);
}

static void not_written(struct local *local, enum store_result result)
{
    struct txn_list taken = TAILQ_HEAD_INITIALIZER(taken);
    local_take_all(local, result, STORE_UNAVAILABLE, &taken);
    local->lsn = local->tail.lsn;
    log_resume(local);
    local_answer(&taken);
}

static void answer(struct local *local, struct txn_queue *txns)
{
    struct txn *txn;
    while ((txn = STAILQ_FIRST(txns)) != NULL) {
        struct partition *partition = txn->partition;
        STAILQ_REMOVE_HEAD(txns, in_log);
        TAILQ_REMOVE(&partition->in_flight, txn, in_partition);
        partition->in_flight_count--;
        txn_answer(txn, STORE_OK);
        partition_turn(partition);
    }
}

void tick_done(struct post_item *item)
{
    struct tick *tick = (struct tick *)(void *)item;
    struct local *local = tick->local;
    struct txn *txn;
    if (local->state != LOCAL_SERVING && local->state != LOCAL_CLOSING) {
        segment_drop(&tick->opened); /* its batches were taken; recovery finds what was written */
        free(tick);
        return;
    }
    if (tick->opened != NULL)
        open_segment(local, tick->opened);
    if (tick->result != STORE_OK) {
        local_trouble(local, "the log cannot be written: %s", strerror(tick->error));
        if (tick->result == STORE_UNKNOWN)
            local_stop_and_recover(local, false);
        else
            not_written(local, tick->result);
        free(tick);
        return;
    }
    STAILQ_FOREACH (txn, &tick->txns, in_log) {
        apply(local, txn);
        local->stats.batches++;
    }
    local->tail = tick->end;
    local->log_bytes += tick->bytes;
    local->stats.bytes_written += tick->bytes;
    local->stats.ticks++;
    local->stats.syncs++;
    answer(local, &tick->txns);
    free(tick);
    checkpoint_consider(local, false);
    local_unblock(local);
}
