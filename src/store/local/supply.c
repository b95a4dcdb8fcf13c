/*
 * Segments ahead of need, made by the helper, so that the log changes over to one that is there,
 * full of zeros and durable with its name. Also the eye on free space: a full disk is to be an
 * answer (NOSPACE) before it is a failed write. Below the reserve new bodies are refused while
 * flags, expunges and what else makes room still pass.
 */
#include <errno.h>
#include <sys/statvfs.h>

#include "base/fault.h"
#include "store/local/local_priv.h"

enum { RESERVE = 32 << 20 }; /* and two segments */

uint64_t local_next_generation(struct local *local)
{
    return atomic_fetch_add(&local->generation, 1) + 1;
}

void supply_look(struct local *local)
{
    struct statvfs fs;
    if (fstatvfs(local->volume.directory, &fs) != 0)
        return;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    uint64_t reserve = 2 * local->options.segment_size + RESERVE;
    bool low = fault_hit("store.space") != 0 || free_bytes < reserve;
    atomic_store(&local->free_bytes, free_bytes);
    atomic_store(&local->space_low, low);
    if (!low)
        atomic_store(&local->space_gone, false);
}

static struct log *log_of(struct job *job)
{
    return (struct log *)(void *)((char *)job - offsetof(struct log, supply));
}

static void work(struct job *job, unsigned thread)
{
    struct log *log = log_of(job);
    struct local *local = log->local;
    pthread_mutex_lock(&log->mutex);
    uint64_t size = log->supply_size;
    pthread_mutex_unlock(&log->mutex);
    struct segment *made =
        segment_create(&local->volume, local_next_generation(local), size, false);
    int why = errno;
    supply_look(local);
    pthread_mutex_lock(&log->mutex);
    log->next = made;
    log->next_error = made == NULL ? why : 0;
    if (made == NULL && (why == ENOSPC || why == EDQUOT)) {
        atomic_store(&local->space_low, true);
        atomic_store(&local->space_gone, true);
    }
    log->wanted = false;
    pthread_cond_broadcast(&log->changed);
    pthread_mutex_unlock(&log->mutex);
}

void supply_want(struct log *log, uint64_t size)
{
    uint64_t usual = log->local->options.segment_size;
    if (log->wanted || log->next != NULL)
        return;
    log->wanted = true;
    log->next_error = 0;
    log->supply_size = size > usual ? size : usual;
    log->supply = (struct job){.work = work};
    pool_submit(log->local->helper, &log->supply);
}

/* One that is too small for a large batch goes: generations must be used in their order. */
static void discard(struct log *log)
{
    segment_remove_file(&log->local->volume, log->next->generation);
    segment_drop(&log->next);
}

struct segment *supply_take(struct log *log, uint64_t size)
{
    pthread_mutex_lock(&log->mutex);
    log->next_error = 0; /* an earlier failure is no reason not to try now */
    for (;;) {
        if (log->next != NULL && log->next->size >= size)
            break;
        if (log->next != NULL)
            discard(log);
        if (log->next_error != 0)
            break;
        supply_want(log, size);
        pthread_cond_wait(&log->changed, &log->mutex);
    }
    struct segment *taken = log->next;
    int why = log->next_error;
    log->next = NULL;
    pthread_mutex_unlock(&log->mutex);
    errno = why;
    return taken;
}

void supply_finish(struct log *log)
{
    pthread_mutex_lock(&log->mutex);
    while (log->wanted)
        pthread_cond_wait(&log->changed, &log->mutex);
    if (log->next != NULL)
        discard(log);
    pthread_mutex_unlock(&log->mutex);
}
