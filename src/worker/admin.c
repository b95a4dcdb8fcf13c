/*
 * What the administrator may ask of a worker, beside status and metrics that every process has:
 *   sessions  {}                 -> [{id, protocol, account, client, secure, seconds, state}...]
 *   check     {"volume": N?}     -> one {volume, findings: [{severity, file, offset, account,
 * text}]} per volume, while it serves
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "worker/worker_priv.h"

enum { STATUS_SESSIONS = 200 }; /* shown by status; session-list shows all */

void admin_status(void *state, struct buf *json)
{
    struct worker *worker = state;
    const char *comma = "";
    struct volume *volume;
    sessions_status(worker, json);
    buf_printf(json, ",\"deliveries\":%zu,\"summaries_waiting\":%zu,\"tickets\":%zu,\"volumes\":[",
               worker->busy, worker->request_count, worker->ticket_count);
    SLIST_FOREACH(volume, &worker->volumes, next)
    {
        struct store_stats stats = {0};
        if (volume->store != NULL) {
            store_stats(volume->store, &stats);
        }
        buf_printf(json,
                   "%s{\"volume\":%u,\"open\":%s,\"read_only\":%s,\"lsn\":%" PRIu64
                   ",\"checkpoint\":%" PRIu64 ",\"segments\":%" PRIu64 ",\"bytes\":%" PRIu64
                   ",\"live_bytes\":%" PRIu64 ",\"free_bytes\":%" PRIu64 ",\"syncs\":%" PRIu64
                   ",\"batches\":%" PRIu64 ",\"checksum_failures\":%" PRIu64
                   ",\"scrub_bytes\":%" PRIu64 ",\"scrub_rounds\":%" PRIu64
                   ",\"scrub_damages\":%" PRIu64 ",\"frozen\":%" PRIu64 ",\"trouble\":",
                   comma, volume->number, volume->store != NULL ? "true" : "false",
                   stats.read_only ? "true" : "false", stats.lsn_durable, stats.lsn_checkpoint,
                   stats.segments, stats.segment_bytes, stats.live_bytes, stats.free_bytes,
                   stats.syncs, stats.batches, stats.checksum_failures, stats.scrub_bytes,
                   stats.scrub_rounds, stats.scrub_damages, stats.frozen_partitions);
        child_json_string(json,
                          slice_str(volume->store != NULL ? stats.trouble : volume->trouble.text));
        buf_add_str(json, "}");
        comma = ",";
    }
    buf_add_str(json, "],\"clients\":");
    sessions_list(worker, STATUS_SESSIONS, json);
}

/* ---- check --------------------------------------------------------------------------------- */

struct check {
    struct worker *worker;
    uint64_t request;
    size_t left; /* volumes that are still being looked at, and one while they are begun */
};

struct volume_check {
    struct check *check;
    uint32_t volume;
    struct buf json;
    bool any;
};

static void settle(struct check *check)
{
    if (--check->left == 0) {
        child_answer(check->worker->child, check->request, true, false,
                     SLICE_LITERAL("{\"done\":true}"));
        free(check);
    }
}

static void on_finding(void *arg, const struct store_finding *finding)
{
    struct volume_check *one = arg;
    buf_printf(&one->json, "%s{\"severity\":%d,\"offset\":%" PRIu64 ",\"account\":\"%s\",\"file\":",
               one->any ? "," : "", finding->severity, finding->offset,
               id_is_zero(finding->partition) ? "" : id_text(finding->partition).text);
    child_json_string(&one->json, slice_str(finding->file));
    buf_add_str(&one->json, ",\"text\":");
    child_json_string(&one->json, slice_str(finding->text));
    buf_add_str(&one->json, "}");
    one->any = true;
}

static void on_checked(void *arg)
{
    struct volume_check *one = arg;
    struct check *check = one->check;
    struct worker *worker = check->worker;
    buf_add_str(&one->json, "]}");
    child_answer(worker->child, check->request, true, true, buf_slice(&one->json));
    buf_finish(&one->json);
    free(one);
    settle(check);
    worker->busy--;
    worker_settle(worker);
}

static void begin_check(struct worker *worker, uint64_t request)
{
    struct check *check = MEM_NEW(struct check);
    struct volume *volume;
    *check = (struct check){.worker = worker, .request = request, .left = 1};
    SLIST_FOREACH(volume, &worker->volumes, next)
    {
        struct volume_check *one = MEM_NEW(struct volume_check);
        one->check = check;
        one->volume = volume->number;
        buf_printf(&one->json, "{\"volume\":%u,\"findings\":[", volume->number);
        check->left++;
        worker->busy++;
        if (volume->store != NULL) {
            struct store_check_options options = {.report = on_finding, .arg = one};
            store_check(volume->store, &options, on_checked, one);
        } else {
            on_finding(one, &(struct store_finding){
                                .severity = 2, .file = "", .text = volume->trouble.text});
            on_checked(one);
        }
    }
    settle(check);
}

bool admin_verb(void *state, uint64_t request, struct slice verb, struct slice json)
{
    struct worker *worker = state;
    if (slice_equal_str(verb, "session-list")) {
        struct buf list = {0};
        sessions_list(worker, SIZE_MAX, &list);
        child_answer(worker->child, request, true, false, buf_slice(&list));
        buf_finish(&list);
        return true;
    }
    if (slice_equal_str(verb, "check")) {
        begin_check(worker, request);
        return true;
    }
    return false;
}
