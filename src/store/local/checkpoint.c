/*
 * Checkpoints: the active layer is frozen as it is after some tick, the index thread writes it with
 * the position of the log that belongs to it, then it is dropped. Meanwhile reads look into both.
 * Only when the disk is full is a checkpoint tried again; any other failure means that nobody knows
 * what LMDB holds, and the index is rebuilt.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

struct checkpoint_job {
    struct job job; /* first */
    struct local *local;
    struct layer layer;
    struct checkpoint checkpoint;
    int code;
};

/* ---- on the index thread ------------------------------------------------------------------- */

static void commit(struct job *job, unsigned thread)
{
    struct checkpoint_job *work = (struct checkpoint_job *)(void *)job;
    work->code = index_commit(&work->local->index, &work->checkpoint);
    supply_look(work->local);
}

/* Freeing some ten thousand entries is no work for the loop. */
static void dispose(struct job *job, unsigned thread)
{
    struct checkpoint_job *work = (struct checkpoint_job *)(void *)job;
    layer_finish(&work->layer);
    free(work->checkpoint.blobs);
    free(work->checkpoint.live);
    free(work);
}

/* ---- on the loop --------------------------------------------------------------------------- */

static void wake_in(struct local *local, uint32_t ms)
{
    struct timeval in = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    if (!event_pending(local->checkpoint_timer, EV_TIMEOUT, NULL))
        event_add(local->checkpoint_timer, &in);
}

static void dropped(struct local *local, struct checkpoint_job *work)
{
    struct checkpoint_hook *hook, *next;
    local->frozen = NULL;
    local->checkpoint = work->checkpoint.position;
    local->index_txn = work->checkpoint.index_txn;
    if (local->checkpoint_failing)
        local->stats.trouble[0] = '\0';
    local->checkpoint_failing = false;
    local->stats.checkpoints++;
    local_blobs_thaw(local, work->checkpoint.blobs, work->checkpoint.blob_count);
    local->checkpoint_job = NULL;
    work->job = (struct job){.work = dispose};
    pool_submit(local->index_thread, &work->job);
    TAILQ_FOREACH_SAFE (hook, &local->hooks, next, next)
        hook->done(hook, local);
    local_unblock(local);
}

/* LMDB says EIO of a short write, which is how a disk becomes full. Nothing of the transaction
 * counts then, as with ENOSPC. */
static bool is_full(const struct local *local, int code)
{
    return code == ENOSPC || code == EDQUOT || (code == EIO && atomic_load(&local->space_low));
}

static void on_committed(struct post_item *item)
{
    struct checkpoint_job *work =
        (struct checkpoint_job *)(void *)((char *)item - offsetof(struct checkpoint_job, job.done));
    struct local *local = work->local;
    local->jobs_out--;
    local->committing = false;
    if (work->code == 0) {
        dropped(local, work);
    } else if (is_full(local, work->code)) {
        local_trouble(local, "the index cannot be written: %s", strerror(work->code));
        local->checkpoint_failing = true;
        local_unblock(local);
        wake_in(local, 1000);
        local_recover_when_quiet(local);
        return;
    } else {
        local_trouble(local, "the index cannot be written: %s", mdb_strerror(work->code));
        local_stop_and_recover(local, true);
    }
    local_recover_when_quiet(local);
    checkpoint_consider(local, false);
}

static void submit(struct local *local)
{
    local->jobs_out++;
    local->committing = true;
    local->checkpoint_job->job.work = commit;
    local->checkpoint_job->job.done.run = on_committed;
    pool_submit(local->index_thread, &local->checkpoint_job->job);
}

static void freeze(struct local *local)
{
    struct checkpoint_job *work = MEM_NEW(struct checkpoint_job);
    struct checkpoint *checkpoint = &work->checkpoint;
    struct segment *segment;
    size_t segments = 0;
    work->local = local;
    work->layer = local->active;
    layer_init(&local->active);
    local->frozen = checkpoint->layer = &work->layer;
    checkpoint->blob_count = local_blobs_freeze(local, &checkpoint->blobs);
    RB_FOREACH (segment, segments, &local->segments)
        segments++;
    checkpoint->live = mem_array(segments + 1, sizeof(*checkpoint->live));
    RB_FOREACH (segment, segments, &local->segments) {
        if (segment->live != segment->live_indexed)
            checkpoint->live[checkpoint->live_count++] =
                (struct live_change){segment->generation, segment->live};
        segment->live_indexed = segment->live;
    }
    checkpoint->position = local->tail;
    local->log_bytes = 0;
    local->checkpoint_due = false;
    event_del(local->checkpoint_timer);
    local->checkpoint_job = work;
    submit(local);
}

void checkpoint_consider(struct local *local, bool now)
{
    size_t count = local->active.count + local->dirty_count;
    if (local->state != LOCAL_SERVING && local->state != LOCAL_CLOSING)
        return;
    if (local->frozen != NULL || count == 0)
        return;
    if (now || local->checkpoint_due || count >= local->options.checkpoint_operations ||
        local->active.bytes + local->log_bytes >= local->options.checkpoint_bytes)
        freeze(local);
    else
        wake_in(local, local->options.checkpoint_ms);
}

void checkpoint_on_timer(int fd, short what, void *arg)
{
    struct local *local = arg;
    local->checkpoint_due = true;
    if (local->checkpoint_failing && local->frozen != NULL && !local->committing)
        submit(local);
    else
        checkpoint_consider(local, false);
}

void checkpoint_abandon(struct local *local)
{
    if (local->checkpoint_job != NULL)
        dispose(&local->checkpoint_job->job, 0);
    local->checkpoint_job = NULL;
    local->frozen = NULL;
}
