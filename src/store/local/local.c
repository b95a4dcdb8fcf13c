/*
 * The local engine as store.h knows it: opening, closing, figures, and what happens when the volume
 * has to stop. The parts are described in local_priv.h.
 */
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/keep.h"
#include "store/local/scrub.h"

enum {
    CRASHES_TO_LOOK = 2,    /* so many lives without a clean end: the index is walked first */
    CRASHES_TO_REBUILD = 3, /* that did not end either */
    SETTLED_S = 60,         /* a life so long counts as a good one */
    BLOB_OPENS_SHIFT = 40,  /* of an id: opens of the volume above, a count below */
};

void local_trouble(struct local *local, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(local->stats.trouble, sizeof(local->stats.trouble), format, args);
    va_end(args);
    log_error("store_trouble", "volume=%s reason=%s", id_text(local->volume.uuid).text,
              log_value(slice_str(local->stats.trouble)).text);
}

void local_freeze(struct local *local, struct id partition)
{
    if (local_is_frozen(local, partition))
        return;
    local->frozen_partitions = mem_grow(local->frozen_partitions, local->frozen_count + 1,
                                        sizeof(*local->frozen_partitions));
    local->frozen_partitions[local->frozen_count++].partition = partition;
}

bool local_is_frozen(const struct local *local, struct id partition)
{
    for (size_t i = 0; i < local->frozen_count; i++)
        if (id_equal(local->frozen_partitions[i].partition, partition) ||
            id_is_zero(local->frozen_partitions[i].partition))
            return true;
    return false;
}

static uint64_t local_blob_new(struct store *store)
{
    return ++local_of(store)->blob_last;
}

static struct id local_uuid(const struct store *store)
{
    return ((const struct local *)(const void *)store)->volume.uuid;
}

static uint64_t local_epoch(const struct store *store)
{
    return ((const struct local *)(const void *)store)->volume.epoch;
}

static void local_stats(const struct store *store, struct store_stats *stats)
{
    struct local *local = (struct local *)(uintptr_t)store;
    struct segment *segment;
    *stats = local->stats;
    stats->read_only = local->state == LOCAL_DOWN;
    stats->checksum_failures = atomic_load(&local->checksum_failures);
    stats->free_bytes = atomic_load(&local->free_bytes);
    if (local->state == LOCAL_RECOVERING)
        return;
    stats->lsn_submitted = local->lsn;
    stats->lsn_durable = local->tail.lsn;
    stats->lsn_checkpoint = local->checkpoint.lsn;
    stats->overlay_operations = local->active.count + local->dirty_count;
    stats->overlay_bytes = local->active.bytes;
    stats->frozen_partitions = local->frozen_count;
    RB_FOREACH (segment, segments, &local->segments) {
        stats->segments++;
        stats->segment_bytes += segment->size;
        stats->live_bytes += segment->live;
    }
}

/* ---- stopping and recovering --------------------------------------------------------------- */

static struct local *of_recovery(struct job *job)
{
    return (struct local *)(void *)((char *)job - offsetof(struct local, recovery));
}

static void recovery_work(struct job *job, unsigned thread)
{
    struct local *local = of_recovery(job);
    local->recovery_error = (struct error){0};
    log_finish(local, false);
    local->recovery_ok = recover(local, local->recovery_rebuild, &local->recovery_error);
}

static void recovery_done(struct post_item *item)
{
    struct local *local =
        (struct local *)(void *)((char *)item - offsetof(struct local, recovery.done));
    atomic_store(&local->stopping, false);
    if (local->recovery_ok) {
        local->state = LOCAL_SERVING;
        local->stats.trouble[0] = '\0';
        log_start(local, &local->tail);
        log_warn("store_recovered", "volume=%s lsn=%llu", id_text(local->volume.uuid).text,
                 (unsigned long long)local->tail.lsn);
    } else {
        local->state = LOCAL_DOWN;
        local_trouble(local, "the volume is down: %s", local->recovery_error.text);
    }
    local_answer(&local->unanswered);
    checkpoint_consider(local, false);
}

void local_recover_when_quiet(struct local *local)
{
    if (local->state != LOCAL_RECOVERING || local->recovery_started || local->jobs_out > 0)
        return;
    local->recovery_started = true;
    local->recovery = (struct job){.work = recovery_work, .done.run = recovery_done};
    pool_submit(local->housekeeper, &local->recovery);
}

void local_stop_and_recover(struct local *local, bool rebuild)
{
    if (local->state == LOCAL_RECOVERING && !local->recovery_started)
        local->recovery_rebuild = local->recovery_rebuild || rebuild;
    if (local->state != LOCAL_SERVING && local->state != LOCAL_CLOSING)
        return;
    local_take_all(local, STORE_UNKNOWN, STORE_UNKNOWN, &local->unanswered);
    if (local->state == LOCAL_CLOSING) {
        local->state = LOCAL_DOWN; /* the next open recovers */
        local_answer(&local->unanswered);
        return;
    }
    local->state = LOCAL_RECOVERING;
    local->recovery_rebuild = rebuild;
    local->recovery_started = false;
    atomic_store(&local->stopping, true);
    event_del(local->checkpoint_timer);
    local_recover_when_quiet(local);
}

/* ---- opening ------------------------------------------------------------------------------- */

static void set_defaults(struct store_local_options *options)
{
    static const struct store_local_options defaults = {.segment_size = 64 << 20,
                                                        .checkpoint_operations = 4000,
                                                        .checkpoint_bytes = 32 << 20,
                                                        .checkpoint_ms = 2000,
                                                        .snapshot_operations = 200000,
                                                        .journal_keep_s = 7 * 86400,
                                                        .compact_percent = 50,
                                                        .reader_threads = 2};
#define DEFAULT(name)                                                                              \
    if (options->name == 0)                                                                        \
    options->name = defaults.name
    DEFAULT(segment_size);
    DEFAULT(checkpoint_operations);
    DEFAULT(checkpoint_bytes);
    DEFAULT(checkpoint_ms);
    DEFAULT(snapshot_operations);
    DEFAULT(journal_keep_s);
    DEFAULT(compact_percent);
    DEFAULT(reader_threads);
#undef DEFAULT
    if (options->reader_threads > 16)
        options->reader_threads = 16;
}

static void init(struct local *local, struct event_base *base)
{
    local->base = base;
    layer_init(&local->active);
    RB_INIT(&local->segments);
    RB_INIT(&local->blobs);
    RB_INIT(&local->partitions);
    TAILQ_INIT(&local->clean_blobs);
    TAILQ_INIT(&local->dirty_blobs);
    TAILQ_INIT(&local->blocked);
    TAILQ_INIT(&local->hooks);
    TAILQ_INIT(&local->unanswered);
    local->volume = (struct volume){.directory = -1, .segments = -1, .lock = -1};
    local->reader_txns = mem_array(local->options.reader_threads, sizeof(MDB_txn *));
}

/* Two lives in a row that did not end well may have died of the index: a walk through it finds a
 * bad page, or dies of it too, and then it is rebuilt without looking. */
static bool must_rebuild(struct local *local, uint32_t crashes)
{
    uint64_t bad;
    struct error error;
    if (crashes >= CRASHES_TO_REBUILD)
        return true;
    if (crashes < CRASHES_TO_LOOK)
        return false;
    if (!index_open(&local->index, local->volume.path, &error))
        return true;
    bool good = index_walk(&local->index, &bad);
    if (good && bad > 0)
        log_error("store_values_damaged", "volume=%s count=%llu", id_text(local->volume.uuid).text,
                  (unsigned long long)bad);
    if (!good) {
        index_close(&local->index);
        return true;
    }
    local->volume.unclean = 1;
    (void)volume_save(&local->volume, NULL); /* or the next crash costs a rebuild, no more */
    return false;
}

static bool begin_life(struct local *local, bool *rebuild, struct error *error)
{
    struct volume *volume = &local->volume;
    uint32_t crashes = volume->unclean;
    volume->opens++;
    volume->unclean++;
    local->blob_last = volume->opens << BLOB_OPENS_SHIFT;
    if (!volume_save(volume, error))
        return false;
    *rebuild = must_rebuild(local, crashes);
    return true;
}

static void settled(struct job *job, unsigned thread)
{
    struct local *local = (struct local *)(void *)((char *)job - offsetof(struct local, settle));
    struct volume volume = local->volume;
    volume.unclean = 0;
    (void)volume_save(&volume, NULL);
}

static void on_settled(int fd, short what, void *arg)
{
    struct local *local = arg;
    if (local->state != LOCAL_SERVING)
        return;
    local->settle = (struct job){.work = settled};
    pool_submit(local->housekeeper, &local->settle);
}

static void start(struct local *local)
{
    const struct timeval after = {.tv_sec = SETTLED_S};
    local->posts = post_create(local->base);
    local->index_thread = pool_create("store-index", 1, local->posts);
    local->readers = pool_create("store-read", local->options.reader_threads, local->posts);
    local->helper = pool_create("store-help", 1, local->posts);
    local->housekeeper = pool_create("store-house", 1, local->posts);
    local->checker = pool_create("store-check", 1, local->posts);
    local->checkpoint_timer = event_new(local->base, -1, 0, checkpoint_on_timer, local);
    local->settled_timer = event_new(local->base, -1, 0, on_settled, local);
    ASSERT(local->checkpoint_timer != NULL && local->settled_timer != NULL);
    event_add(local->settled_timer, &after);
    supply_look(local);
    log_start(local, &local->tail);
    local->state = LOCAL_SERVING;
    local->keeper = keeper_create(local);
    local->scrub = scrub_create(local);
    checkpoint_consider(local, false);
}

static void destroy(struct local *local)
{
    struct segment *segment;
    struct partition *partition;
    pool_destroy(&local->housekeeper);
    pool_destroy(&local->checker);
    pool_destroy(&local->helper);
    pool_destroy(&local->readers);
    pool_destroy(&local->index_thread);
    checkpoint_abandon(local);
    for (uint32_t i = 0; i < local->options.reader_threads; i++)
        if (local->reader_txns[i] != NULL)
            mdb_txn_abort(local->reader_txns[i]);
    if (local->index.env != NULL)
        index_close(&local->index);
    if (local->checkpoint_timer != NULL)
        event_free(local->checkpoint_timer);
    if (local->settled_timer != NULL)
        event_free(local->settled_timer);
    post_destroy(&local->posts);
    layer_finish(&local->active);
    local_blobs_clear(local);
    while ((segment = RB_ROOT(&local->segments)) != NULL) {
        RB_REMOVE(segments, &local->segments, segment);
        segment_drop(&segment);
    }
    while ((partition = RB_ROOT(&local->partitions)) != NULL)
        partition_forget(partition);
    volume_close(&local->volume);
    free(local->frozen_partitions);
    free(local->reader_txns);
    free(local);
}

/* ---- closing ------------------------------------------------------------------------------- */

static bool is_busy(const struct local *local)
{
    return local->in_flight_count > 0 || local->jobs_out > 0 || local->state == LOCAL_RECOVERING;
}

static void drain(struct local *local)
{
    if (local->state == LOCAL_SERVING)
        local->state = LOCAL_CLOSING;
    atomic_store(&local->stopping, true);
    post_run(local->posts);
    while (is_busy(local)) {
        post_wait(local->posts);
        if (local->state == LOCAL_SERVING) { /* it has recovered meanwhile */
            local->state = LOCAL_CLOSING;
            atomic_store(&local->stopping, true);
        }
    }
    /* A last checkpoint, so that the next open has nothing to go through. */
    checkpoint_consider(local, true);
    while (local->committing)
        post_wait(local->posts);
    post_run(local->posts);
}

static void local_close(struct store *store)
{
    struct local *local = local_of(store);
    drain(local);
    log_finish(local, true);
    pool_destroy(&local->housekeeper);
    pool_destroy(&local->checker);
    bool clean = local->state == LOCAL_CLOSING && local->frozen == NULL &&
                 local->active.count == 0 && local->dirty_count == 0;
    if (clean) {
        local->volume.unclean = 0;
        (void)volume_save(&local->volume, NULL);
    }
    post_run(local->posts);
    keeper_destroy(&local->keeper);
    scrub_destroy(&local->scrub);
    destroy(local);
}

static const struct store_methods methods = {
    .name = "local",
    .blob_new = local_blob_new,
    .submit = local_submit,
    .get = local_get,
    .scan = local_scan,
    .read = local_read,
    .uuid = local_uuid,
    .epoch = local_epoch,
    .quiesce = local_quiesce,
    .resume = local_resume,
    .stats = local_stats,
    .check = local_check,
    .close = local_close,
};

bool store_local_open(struct event_base *base, const char *directory,
                      const struct store_local_options *options, struct store **store,
                      struct error *error)
{
    struct local *local = MEM_NEW(struct local);
    bool rebuild;
    local->store.methods = &methods;
    local->options = *options;
    set_defaults(&local->options);
    init(local, base);
    if (!volume_open(&local->volume, directory, options->create, true, error) ||
        !begin_life(local, &rebuild, error) || !recover(local, rebuild, error)) {
        destroy(local);
        return false;
    }
    if (rebuild) {
        local->volume.unclean = 1; /* this index is new: what it dies of next is another thing */
        (void)volume_save(&local->volume, NULL);
    }
    start(local);
    *store = &local->store;
    return true;
}
