/*
 * Going through the log after the checkpoint, frame by frame, and judging what is wrong by rule 3.
 * `proven` is the highest LSN that any frame knows to have been durable. Up to it every batch must
 * be there: one that is not is damage, its partition is frozen (COMMIT frames repeat whose batches
 * a tick holds), all others go on. Behind it lies the one tick that may be torn: its whole batches
 * count up to the first thing that is wrong, the rest was never answered. Where something valid
 * stands behind that first thing nobody can be sure of the last, and the epoch grows.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

static void name_damage(struct replay *replay, struct segment *segment, uint64_t offset,
                        const char *what)
{
    uint8_t name[8];
    MDB_txn *txn;
    local_trouble(replay->local, "%s in segments/%s at %llu: run restante check", what,
                  segment_name(segment->generation).text, (unsigned long long)offset);
    if (segment->damaged)
        return;
    segment->damaged = true;
    bytes_put_be64(name, segment->generation);
    if (mdb_txn_begin(replay->local->index.env, NULL, 0, &txn) != 0)
        return;
    if (index_put_mark(&replay->local->index, txn, "damaged", slice_make(name, 8)) == 0)
        (void)mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
}

/* The mark and the epoch are durable before anything that comes later can be. */
void replay_freeze(struct replay *replay, struct id partition)
{
    struct local *local = replay->local;
    MDB_txn *txn;
    if (local_is_frozen(local, partition))
        return;
    log_error("store_partition_frozen", "volume=%s account=%s", id_text(local->volume.uuid).text,
              id_is_zero(partition) ? "all" : id_text(partition).text);
    local_freeze(local, partition);
    local->volume.epoch++;
    bool marked = volume_save(&local->volume, replay->error) &&
                  mdb_txn_begin(local->index.env, NULL, 0, &txn) == 0;
    if (marked && index_put_mark(&local->index, txn, "frozen",
                                 slice_make(partition.bytes, sizeof(partition.bytes))) != 0) {
        mdb_txn_abort(txn);
        marked = false;
    }
    if (!marked || mdb_txn_commit(txn) != 0)
        replay->failed = true;
}

static void miss(struct replay *replay, uint64_t from, uint64_t to)
{
    for (uint64_t lsn = from; lsn <= to; lsn++) {
        if (replay->missing_count == LOCAL_OVERLAY_COUNT) {
            replay_freeze(replay, (struct id){0}); /* so many: no use in naming them */
            return;
        }
        if (replay->missing_count == replay->missing_room) {
            replay->missing_room = replay->missing_room == 0 ? 16 : replay->missing_room * 2;
            replay->missing =
                mem_grow(replay->missing, replay->missing_room, sizeof(*replay->missing));
        }
        replay->missing[replay->missing_count++] = lsn;
    }
}

/* ---- bodies -------------------------------------------------------------------------------- */

static bool in_tail(const struct replay *replay, uint64_t lsn)
{
    return lsn > replay->proven;
}

static void tail_frame(struct replay *replay, const struct scanned *found)
{
    struct frame frame = found->frame;
    frame.generation = replay->generation;
    frame.durable = replay->proven;
    frame_encode(&frame, buf_extend(&replay->tail, FRAME_HEADER));
    buf_add_slice(&replay->tail, found->payload);
    memset(buf_extend(&replay->tail, frame_padding(frame.size)), 0, frame_padding(frame.size));
}

static uint64_t tail_offset(const struct replay *replay)
{
    return frame_total(FRAME_SEGMENT_PAYLOAD) + replay->tail.size;
}

static void replay_body(struct replay *replay, const struct scanned *found, bool whole,
                        struct segment *segment)
{
    const struct frame *frame = &found->frame;
    if (replay->bodies_lsn != frame->lsn) {
        replay->body_count = 0;
        replay->tail.size = replay->tail_whole;
    }
    replay->bodies_lsn = frame->lsn;
    if (replay->body_count == replay->body_room) {
        replay->body_room = replay->body_room == 0 ? 4 : replay->body_room * 2;
        replay->bodies = mem_grow(replay->bodies, replay->body_room, sizeof(*replay->bodies));
    }
    struct replay_body *body = &replay->bodies[replay->body_count++];
    *body = (struct replay_body){.blob = frame->blob, .whole = whole};
    body->place = (struct place){.segment = segment->generation,
                                 .offset = found->at + FRAME_HEADER,
                                 .size = frame->size,
                                 .raw_size = frame->raw_size,
                                 .crc = frame->crc,
                                 .codec = frame->codec};
    if (!in_tail(replay, frame->lsn))
        return;
    body->place.segment = replay->generation;
    body->place.offset = tail_offset(replay) + FRAME_HEADER;
    tail_frame(replay, found);
}

/* Every new blob of the batch has its body. */
static bool bodies_whole(const struct replay *replay, uint64_t lsn, struct slice packed)
{
    struct store_ops ops = store_ops_make(packed);
    struct store_op op;
    while (store_ops_next(&ops, &op)) {
        bool there = op.kind != STORE_OP_BLOB;
        for (size_t i = 0; i < replay->body_count && replay->bodies_lsn == lsn; i++)
            there = there || (replay->bodies[i].blob == op.blob && replay->bodies[i].whole);
        if (!there)
            return false;
    }
    return true;
}

/* ---- batches and ticks --------------------------------------------------------------------- */

static void stop(struct replay *replay, bool doubtful)
{
    replay->stopped = true;
    replay->doubtful = replay->doubtful || doubtful;
    replay->tail.size = replay->tail_whole;
}

/* False: what is missing belongs to the torn tail, this frame does not count. */
static bool reach(struct replay *replay, uint64_t lsn)
{
    if (lsn == replay->last + 1)
        return true;
    if (in_tail(replay, lsn - 1)) {
        if (!in_tail(replay, replay->last + 1))
            miss(replay, replay->last + 1, replay->proven);
        stop(replay, true);
        return false;
    }
    miss(replay, replay->last + 1, lsn - 1);
    return true;
}

static void replay_batch(struct replay *replay, const struct scanned *found,
                         enum scan_outcome outcome, struct segment *segment)
{
    const struct frame *frame = &found->frame;
    bool tail = in_tail(replay, frame->lsn);
    if (tail && fault_hit("control.unproven") != 0)
        stop(replay, false);
    if (replay->stopped || !reach(replay, frame->lsn))
        return;
    if (outcome != SCAN_FRAME || !store_ops_valid(found->payload)) {
        if (tail) {
            stop(replay, false);
            return;
        }
        replay_freeze(replay, frame->partition);
    } else {
        if (replay->bodies_lsn != frame->lsn) {
            replay->body_count = 0;
            replay->tail.size = replay->tail_whole;
        }
        bool whole = bodies_whole(replay, frame->lsn, found->payload);
        if (tail && !whole) {
            stop(replay, true);
            return;
        }
        if (!whole)
            name_damage(replay, segment, found->at, "a damaged body");
        if (!replay_apply(replay, frame->partition, found->payload))
            replay_freeze(replay, frame->partition);
    }
    replay->last = frame->lsn;
    if (replay->suspect != NULL)
        name_damage(replay, replay->suspect, replay->suspect_at, "a damaged frame");
    replay->suspect = NULL;
    if (tail) {
        tail_frame(replay, found);
        replay->tail_whole = replay->tail.size;
        buf_add(&replay->partitions, frame->partition.bytes, sizeof(frame->partition.bytes));
    }
}

static void resolve(struct replay *replay, const struct frame_commit *commit)
{
    for (size_t i = 0; i < replay->missing_count; i++) {
        uint64_t at = replay->missing[i] - commit->first;
        bool known = replay->missing[i] >= commit->first && at < commit->count;
        replay_freeze(replay,
                      known ? frame_commit_partition(commit, (uint32_t)at) : (struct id){0});
    }
    replay->missing_count = 0;
}

static void replay_commit(struct replay *replay, const struct scanned *found)
{
    struct frame_commit commit;
    uint64_t lsn = found->frame.lsn;
    if (!frame_commit_decode(found->payload, &commit) || lsn < replay->last)
        return;
    if (lsn > replay->last && !reach(replay, lsn + 1))
        return;
    replay->last = lsn;
    resolve(replay, &commit);
}

/*
 * Where all that is proven has been met, no frame at all is either the torn tail, or the COMMIT of
 * the last proven tick, or the head of a segment: the next batch tells. When it is whole and the
 * very next one, nothing of it can have stood here.
 */
static void bad_bytes(struct replay *replay, const struct scanned *found, enum scan_outcome outcome,
                      struct segment *segment)
{
    if (fault_hit("control.truncate") != 0) {
        stop(replay, false);
        replay->proven = replay->last;
    } else if (replay->last < replay->proven) {
        name_damage(replay, segment, found->at, "a damaged frame");
    } else if (outcome == SCAN_PAYLOAD) {
        stop(replay, false);
    } else if (replay->suspect == NULL) {
        replay->suspect = segment;
        replay->suspect_at = found->at;
    }
}

/* What only the log thread's last tick before a crash can be is told apart from what was durable by
 * the LSN alone; frames that the index has already are passed over. */
void replay_frame(struct replay *replay, const struct scanned *found, enum scan_outcome outcome,
                  struct segment *segment)
{
    const struct frame *frame = &found->frame;
    if (replay->stopped) {
        replay->doubtful = replay->doubtful || outcome == SCAN_FRAME;
        return;
    }
    if (outcome == SCAN_BAD) {
        bad_bytes(replay, found, outcome, segment);
        return;
    }
    if (outcome == SCAN_PAYLOAD && frame->lsn > replay->last) {
        bad_bytes(replay, found, outcome, segment);
        if (replay->stopped)
            return;
    }
    if (frame->type == FRAME_COMMIT && outcome == SCAN_FRAME)
        replay_commit(replay, found);
    else if (frame->type == FRAME_BODY && frame->lsn > replay->last)
        replay_body(replay, found, outcome == SCAN_FRAME, segment);
    else if (frame->type == FRAME_OPS && frame->lsn > replay->last)
        replay_batch(replay, found, outcome, segment);
    if (!replay->stopped && replay->tail.size == 0 && frame->type != FRAME_BODY)
        replay->end = (struct position){replay->last, segment->generation, found->next};
}

void replay_end(struct replay *replay)
{
    if (replay->last < replay->proven)
        miss(replay, replay->last + 1, replay->proven);
    if (replay->missing_count > 0)
        replay_freeze(replay, (struct id){0});
    if (replay->last < replay->proven)
        replay->last = replay->proven;
    replay->missing_count = 0;
    replay->doubtful = replay->doubtful || replay->suspect != NULL;
    replay->tail.size = replay->tail_whole;
}

void replay_finish(struct replay *replay)
{
    if (replay->txn != NULL)
        mdb_txn_abort(replay->txn);
    free(replay->bodies);
    free(replay->missing);
    buf_finish(&replay->tail);
    buf_finish(&replay->partitions);
}
