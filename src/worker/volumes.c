/*
 * The volumes this worker owns. One that cannot be opened does not keep the others from serving:
 * master hears why, its accounts are "unavailable" to everybody who asks.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/worker_priv.h"

enum { REPORT_S = 10, ROOM_SPARE = 64 << 20 };

/* To master, when it is news. */
static void report(struct worker *worker, struct volume *volume)
{
    struct ipc_channel *master = child_master(worker->child);
    struct ipc_volume_state message = {.volume = volume->number,
                                       .trouble = slice_str(volume->trouble.text)};
    struct store_stats stats = {0};
    if (volume->store != NULL) {
        store_stats(volume->store, &stats);
        message.uuid = store_uuid(volume->store);
        message.free_bytes = stats.free_bytes;
        message.trouble = slice_str(stats.trouble);
    }
    message.trouble = slice_sub(message.trouble, 0, 200);
    bool changed = !volume->reported || !slice_equal_str(message.trouble, volume->said);
    if (master != NULL && changed) {
        volume->reported = true;
        snprintf(volume->said, sizeof(volume->said), "%.*s", SLICE_PRINT(message.trouble));
        ipc_send_volume_state(master, &message);
    }
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval after = {.tv_sec = REPORT_S};
    struct worker *worker = arg;
    struct volume *volume;
    SLIST_FOREACH(volume, &worker->volumes, next)
    {
        report(worker, volume);
    }
    event_add(&worker->report, &after);
}

void volumes_init(struct worker *worker)
{
    SLIST_INIT(&worker->volumes);
    event_assign(&worker->report, child_base(worker->child), -1, 0, on_report, worker);
}

void volumes_add(struct worker *worker, const struct ipc_volume *message)
{
    struct volume *volume;
    size_t count = 0;
    SLIST_FOREACH(volume, &worker->volumes, next)
    {
        if (volume->number == message->volume) {
            return;
        }
        count++;
    }
    if (count == WORKER_VOLUMES_MAX) {
        return;
    }
    volume = MEM_NEW(struct volume);
    volume->number = message->volume;
    volume->directory = slice_strdup(message->directory);
    worker->directories[count] = volume->directory;
    SLIST_INSERT_HEAD(&worker->volumes, volume, next);
}

void volumes_open(struct worker *worker)
{
    const struct settings *settings = child_settings(worker->child);
    struct store_local_options options = {
        .segment_size = settings->store_segment_size,
        .checkpoint_operations = (uint32_t)settings->store_checkpoint_operations,
        .checkpoint_ms = (uint32_t)settings->store_checkpoint_ms,
        .snapshot_operations = (uint32_t)settings->store_snapshot_operations,
        .journal_keep_s = (uint32_t)settings->store_journal_keep,
        .scrub_s = (uint32_t)settings->store_scrub,
        .create = true,
    };
    struct volume *volume;
    SLIST_FOREACH(volume, &worker->volumes, next)
    {
        if (!store_local_open(child_base(worker->child), volume->directory, &options,
                              &volume->store, &volume->trouble)) {
            volume->store = NULL;
            log_error("volume_failed", "volume=%u reason=\"%s\"", volume->number,
                      volume->trouble.text);
        }
    }
    on_report(-1, 0, worker);
}

void volumes_close(struct worker *worker)
{
    event_del(&worker->report);
    while (!SLIST_EMPTY(&worker->volumes)) {
        struct volume *volume = SLIST_FIRST(&worker->volumes);
        SLIST_REMOVE_HEAD(&worker->volumes, next);
        store_close(&volume->store);
        free(volume->directory);
        free(volume);
    }
}

struct store *volumes_store(void *arg, uint32_t number)
{
    struct worker *worker = arg;
    struct volume *volume;
    SLIST_FOREACH(volume, &worker->volumes, next)
    {
        if (volume->number == number) {
            return volume->store;
        }
    }
    return NULL;
}

enum ipc_delivery_result volumes_room(struct worker *worker, uint32_t volume, uint64_t size)
{
    struct store *store = volumes_store(worker, volume);
    struct store_stats stats;
    if (store == NULL) {
        return IPC_DELIVERY_UNAVAILABLE;
    }
    store_stats(store, &stats);
    if (stats.read_only) {
        return IPC_DELIVERY_UNAVAILABLE;
    }
    bool room = stats.free_bytes >= ROOM_SPARE && size <= stats.free_bytes - ROOM_SPARE;
    return room ? IPC_DELIVERY_OK : IPC_DELIVERY_NOSPACE;
}
