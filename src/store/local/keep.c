/*
 * When housekeeping is done and what the loop does about it. After a checkpoint a round is planned
 * here: segments behind the checkpoint go into the journal, a snapshot is made when enough batches
 * have come, segments below their share of live bytes are compacted, emptied ones are removed. The
 * work runs on the housekeeper (keep_files.c, compact.c); one round at a time.
 *
 * What must hold, or mail is lost:
 *  - A file goes only when nothing in it counts as of a checkpoint that was *begun* after it became
 *    so: a checkpoint on its way at that moment does not have it yet.
 *  - A log segment goes only when its batches are in the journal, synced.
 *  - A cold segment does not go between its making and the moves into it, which wait for the index
 *    and may do so for several checkpoints.
 */
#include "store/local/keep.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/local/compact.h"
#include "store/local/snapshot.h"

enum { VICTIMS_MAX = 16 };

/* A segment without live bytes that waits for its checkpoint. */
struct emptied {
    TAILQ_ENTRY(emptied) entry;
    uint64_t generation;
    unsigned checkpoints; /* that must still come */
};

struct round {
    struct job job;
    struct keeper *keeper;
    struct segment **segments; /* log segments up to the checkpoint, ascending; held */
    size_t count;
    struct segment *victims[VICTIMS_MAX]; /* held */
    uint64_t journaled;
    bool snapshot;
    uint64_t snapshot_lsn;
    struct compaction compaction;
    struct error journal_error, snapshot_error, compact_error;
};

struct keeper {
    struct local *local;
    struct checkpoint_hook hook;
    struct round *round; /* NULL: none is on its way */
    uint64_t journaled;  /* log segments up to this generation are in the journal */
    uint64_t snapshot_lsn;
    TAILQ_HEAD(, emptied) emptied;
};

/* ---- what goes ----------------------------------------------------------------------------- */

static bool may_go(const struct keeper *keeper, const struct segment *segment)
{
    const struct local *local = keeper->local;
    if (segment->writing || segment->filling || segment->damaged ||
        segment->generation >= local->checkpoint.generation)
        return false;
    return segment->kind == SEGMENT_COLD || segment->generation <= keeper->journaled;
}

static bool is_waiting(const struct keeper *keeper, uint64_t generation)
{
    const struct emptied *emptied;
    TAILQ_FOREACH (emptied, &keeper->emptied, entry)
        if (emptied->generation == generation)
            return true;
    return false;
}

static void note_emptied(struct keeper *keeper)
{
    struct segment *segment;
    RB_FOREACH (segment, segments, &keeper->local->segments) {
        if (segment->live > 0 || !may_go(keeper, segment) ||
            is_waiting(keeper, segment->generation))
            continue;
        struct emptied *emptied = MEM_NEW(struct emptied);
        emptied->generation = segment->generation;
        emptied->checkpoints = keeper->local->frozen != NULL ? 2 : 1;
        TAILQ_INSERT_TAIL(&keeper->emptied, emptied, entry);
    }
}

static void remove_emptied(struct keeper *keeper)
{
    struct local *local = keeper->local;
    struct emptied *emptied, *next;
    for (emptied = TAILQ_FIRST(&keeper->emptied); emptied != NULL; emptied = next) {
        next = TAILQ_NEXT(emptied, entry);
        if (--emptied->checkpoints > 0)
            continue;
        struct segment *segment = local_segment(local, emptied->generation);
        if (segment != NULL && segment->live == 0 && may_go(keeper, segment) &&
            !local_segment_remove(local, emptied->generation))
            log_warn("segment_remove_failed", "segment=%s", segment_name(emptied->generation).text);
        TAILQ_REMOVE(&keeper->emptied, emptied, entry);
        free(emptied);
    }
}

/* ---- planning a round ---------------------------------------------------------------------- */

static void plan_journal(struct round *round)
{
    struct local *local = round->keeper->local;
    struct segment *segment;
    RB_FOREACH (segment, segments, &local->segments) {
        if (segment->kind != SEGMENT_LOG || segment->generation > local->checkpoint.generation)
            continue;
        round->segments = mem_grow(round->segments, round->count + 1, sizeof(*round->segments));
        round->segments[round->count++] = segment_hold(segment);
    }
    round->journaled = round->keeper->journaled;
}

/* The emptiest ones below the share, as many as fit into one new segment. */
static void plan_compaction(struct round *round)
{
    struct keeper *keeper = round->keeper;
    struct local *local = keeper->local;
    struct compaction *compaction = &round->compaction;
    uint64_t bytes = 0;
    while (compaction->victim_count < VICTIMS_MAX) {
        struct segment *segment, *best = NULL;
        RB_FOREACH (segment, segments, &local->segments) {
            bool taken = false;
            for (size_t i = 0; i < compaction->victim_count; i++)
                taken = taken || round->victims[i] == segment;
            if (taken || segment->live == 0 || !may_go(keeper, segment) ||
                segment->live * 100 >= segment->size * local->options.compact_percent)
                continue;
            if (best == NULL || segment->live * best->size < best->live * segment->size)
                best = segment;
        }
        if (best == NULL || (bytes > 0 && bytes + best->live > local->options.segment_size))
            break;
        bytes += best->live;
        round->victims[compaction->victim_count++] = segment_hold(best);
    }
    /* One small segment copied into another one of its size frees nothing. */
    if (compaction->victim_count == 1 && round->victims[0]->kind == SEGMENT_COLD &&
        bytes * 2 > round->victims[0]->size) {
        segment_drop(&round->victims[0]);
        compaction->victim_count = 0;
    }
    compaction->local = local;
    compaction->victims = round->victims;
    compaction->lsn = local->checkpoint.lsn;
}

static bool anything_to_do(const struct round *round)
{
    size_t count = round->count;
    bool journal = count >= 2 && round->segments[count - 2]->generation > round->journaled;
    return journal || round->snapshot || round->compaction.victim_count > 0;
}

static void destroy_round(struct round *round)
{
    for (size_t i = 0; i < round->count; i++)
        segment_drop(&round->segments[i]);
    for (size_t i = 0; i < round->compaction.victim_count; i++)
        segment_drop(&round->victims[i]);
    free(round->segments);
    free(round->compaction.moves);
    round->keeper->round = NULL;
    free(round);
}

/* ---- the round itself ---------------------------------------------------------------------- */

static void work(struct job *job, unsigned thread)
{
    struct round *round = (struct round *)(void *)job;
    struct local *local = round->keeper->local;
    keep_journal(local, round->segments, round->count, &round->journaled, &round->journal_error);
    if (round->snapshot && !atomic_load(&local->stopping))
        round->snapshot = keep_snapshot(local, &round->snapshot_lsn, &round->snapshot_error);
    if (round->compaction.victim_count > 0 && !atomic_load(&local->stopping))
        compact(&round->compaction, &round->compact_error);
}

#define TROUBLE "housekeeping: "

/* Said once, until it is something else or over. */
static void tell(struct local *local, const struct round *round)
{
    const struct error *error = round->journal_error.text[0] != '\0'    ? &round->journal_error
                                : round->snapshot_error.text[0] != '\0' ? &round->snapshot_error
                                                                        : &round->compact_error;
    char *trouble = local->stats.trouble;
    size_t ours = strlen(TROUBLE);
    bool said = strncmp(trouble, TROUBLE, ours) == 0;
    if (atomic_load(&local->stopping))
        return;
    if (error->text[0] == '\0' && said)
        trouble[0] = '\0';
    else if (error->text[0] != '\0' && (!said || strncmp(trouble + ours, error->text, 64) != 0))
        local_trouble(local, TROUBLE "%s", error->text);
}

static void on_moved(void *arg, size_t moved)
{
    struct round *round = arg;
    struct keeper *keeper = round->keeper;
    struct segment *cold = local_segment(keeper->local, round->compaction.moves[0].to.segment);
    if (cold != NULL) /* another one of that name, when the volume has recovered meanwhile */
        cold->filling = false;
    log_debug("compacted", "bodies=%zu", moved);
    destroy_round(round);
    if (keeper->local->state != LOCAL_SERVING)
        return;
    keeper->local->stats.compactions++;
    note_emptied(keeper);
    checkpoint_consider(keeper->local, true);
}

static void take_results(struct round *round)
{
    struct keeper *keeper = round->keeper;
    struct local *local = keeper->local;
    keeper->journaled = round->journaled;
    if (round->snapshot) {
        keeper->snapshot_lsn = round->snapshot_lsn;
        local->stats.snapshots++;
    }
    tell(local, round);
    struct segment *damaged = local_segment(local, round->compaction.damaged);
    if (damaged != NULL) {
        damaged->damaged = true;
        atomic_fetch_add(&local->checksum_failures, 1);
        local_trouble(local, "segment %s has a damaged body; it is kept; run restante check",
                      segment_name(damaged->generation).text);
    }
}

static void on_done(struct post_item *item)
{
    struct round *round = (struct round *)(void *)((char *)item - offsetof(struct round, job.done));
    struct keeper *keeper = round->keeper;
    struct local *local = keeper->local;
    struct compaction *compaction = &round->compaction;
    local->jobs_out--;
    take_results(round);
    if (compaction->cold != NULL && local->state == LOCAL_SERVING) {
        compaction->cold->filling = true;
        local_segment_add(local, compaction->cold);
        local_blobs_moved(local, compaction->moves, compaction->move_count, on_moved, round);
        return;
    }
    segment_drop(&compaction->cold); /* without references to it: the next open removes it */
    destroy_round(round);
    if (local->state == LOCAL_SERVING)
        note_emptied(keeper);
    local_recover_when_quiet(local);
}

static void consider(struct keeper *keeper)
{
    struct local *local = keeper->local;
    if (keeper->round != NULL || local->state != LOCAL_SERVING || atomic_load(&local->stopping))
        return;
    struct round *round = MEM_NEW(struct round);
    keeper->round = round;
    round->keeper = keeper;
    round->snapshot =
        local->checkpoint.lsn >= keeper->snapshot_lsn + local->options.snapshot_operations;
    plan_journal(round);
    plan_compaction(round);
    if (!anything_to_do(round)) {
        destroy_round(round);
        return;
    }
    round->job.work = work;
    round->job.done.run = on_done;
    local->jobs_out++;
    pool_submit(local->housekeeper, &round->job);
}

static void on_checkpoint(struct checkpoint_hook *hook, struct local *local)
{
    struct keeper *keeper = (struct keeper *)(void *)((char *)hook - offsetof(struct keeper, hook));
    remove_emptied(keeper);
    note_emptied(keeper);
    consider(keeper);
}

/* ---- begin and end ------------------------------------------------------------------------- */

struct keeper *keeper_create(struct local *local)
{
    struct keeper *keeper = MEM_NEW(struct keeper);
    uint64_t *lsns;
    size_t count;
    keeper->local = local;
    keeper->hook.done = on_checkpoint;
    TAILQ_INIT(&keeper->emptied);
    TAILQ_INSERT_TAIL(&local->hooks, &keeper->hook, next);
    if (snapshot_list(local->volume.path, &lsns, &count) && count > 0)
        keeper->snapshot_lsn = lsns[count - 1];
    free(lsns);
    return keeper;
}

void keeper_destroy(struct keeper **keeper)
{
    if (*keeper == NULL)
        return;
    struct emptied *emptied;
    while ((emptied = TAILQ_FIRST(&(*keeper)->emptied)) != NULL) {
        TAILQ_REMOVE(&(*keeper)->emptied, emptied, entry);
        free(emptied);
    }
    if ((*keeper)->round != NULL)
        destroy_round((*keeper)->round);
    TAILQ_REMOVE(&(*keeper)->local->hooks, &(*keeper)->hook, next);
    free(*keeper);
    *keeper = NULL;
}
