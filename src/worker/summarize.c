/*
 * Strangers' messages are looked at by readers, never here: a message goes out as sealed memory,
 * its summary comes back and is checked in every offset before it is believed. A reader that dies
 * over a message, or is stuck, gets its requests moved to another one, once; what then has no
 * summary is stored without: delivery does not depend on a parser.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "message/summary.h"
#include "worker/worker_priv.h"

enum { TRIES = 2 };
#define NO_READER UINT32_MAX

struct request {
    RB_ENTRY(request) by_id;
    TAILQ_ENTRY(request) order;
    uint64_t id, size, until_us;
    int fd; /* the asker's */
    uint32_t reader, tries;
    mailbox_summarized *summarized;
    void *arg;
};

static int request_compare(const struct request *a, const struct request *b)
{
    return a->id < b->id ? -1 : a->id > b->id;
}
RB_GENERATE_INTERNAL(request_tree, request, by_id, request_compare, __attribute__((unused)) static)

static void answer(struct worker *worker, struct request *request, struct slice packed)
{
    mailbox_summarized *summarized = request->summarized;
    void *arg = request->arg;
    RB_REMOVE(request_tree, &worker->requests, request);
    TAILQ_REMOVE(&worker->request_order, request, order);
    worker->request_count--;
    free(request);
    counter_add(packed.size > 0 ? COUNTER_summaries : COUNTER_summaries_failed, 1);
    summarized(arg, packed);
}

/* To the next reader there is; without one it waits for it until its time is over. */
static void pass_on(struct worker *worker, struct request *request)
{
    struct ipc_channel *reader = child_peer_next(worker->child, IPC_READER);
    struct ipc_summarize message = {
        .request = request->id, .size = request->size, .message = request->fd};
    request->reader = NO_READER;
    if (reader != NULL && ipc_send_summarize(reader, &message)) {
        request->reader = ipc_peer_index(reader);
        request->tries++;
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval after = {.tv_sec = 1};
    struct worker *worker = arg;
    struct request *oldest;
    uint64_t now = clock_monotonic_us();
    while ((oldest = TAILQ_FIRST(&worker->request_order)) != NULL && oldest->until_us <= now) {
        log_warn("summary_failed", "reason=timeout size=%llu", (unsigned long long)oldest->size);
        answer(worker, oldest, SLICE_NONE);
    }
    if (oldest != NULL) {
        event_add(&worker->request_timer, &after);
    }
}

void summarize_init(struct worker *worker)
{
    RB_INIT(&worker->requests);
    TAILQ_INIT(&worker->request_order);
    event_assign(&worker->request_timer, child_base(worker->child), -1, 0, on_timer, worker);
}

void summarize_finish(struct worker *worker)
{
    event_del(&worker->request_timer);
}

void summarize(void *arg, int fd, uint64_t size, mailbox_summarized *summarized, void *done_arg)
{
    struct worker *worker = arg;
    struct request *request = MEM_NEW(struct request);
    *request = (struct request){
        .id = worker->next_request++,
        .size = size,
        .fd = fd,
        .until_us = clock_monotonic_us() + WORKER_SUMMARY_S * 1000000ull,
        .summarized = summarized,
        .arg = done_arg,
    };
    RB_INSERT(request_tree, &worker->requests, request);
    TAILQ_INSERT_TAIL(&worker->request_order, request, order);
    worker->request_count++;
    pass_on(worker, request);
    if (!event_pending(&worker->request_timer, EV_TIMEOUT, NULL)) {
        static const struct timeval after = {.tv_sec = 1};
        event_add(&worker->request_timer, &after);
    }
}

void summarize_answer(struct worker *worker, uint32_t reader, const struct ipc_summary *message)
{
    struct request wanted = {.id = message->request};
    struct request *request = RB_FIND(request_tree, &worker->requests, &wanted);
    if (request == NULL || request->reader != reader) {
        return; /* too late */
    }
    struct slice packed = message->packed;
    if (packed.size > 0) {
        struct arena arena;
        struct summary summary;
        arena_init(&arena);
        if (!summary_decode(packed, request->size, &arena, &summary)) {
            log_error("summary_failed", "reason=malformed reader=%u", reader);
            packed = SLICE_NONE;
        }
        arena_finish(&arena);
    }
    answer(worker, request, packed);
}

void summarize_reader_up(struct worker *worker)
{
    struct request *request;
    TAILQ_FOREACH (request, &worker->request_order, order) {
        if (request->reader == NO_READER) {
            pass_on(worker, request);
        }
    }
}

void summarize_reader_down(struct worker *worker, uint32_t reader)
{
    struct request *request, *next;
    /* Only the first was in its hands; but which that was is not known: all have one try more. */
    for (request = TAILQ_FIRST(&worker->request_order); request != NULL; request = next) {
        next = TAILQ_NEXT(request, order);
        if (request->reader != reader) {
            continue;
        }
        if (request->tries < TRIES) {
            pass_on(worker, request);
        } else {
            log_warn("summary_failed", "reason=reader_died size=%llu",
                     (unsigned long long)request->size);
            answer(worker, request, SLICE_NONE);
        }
    }
}
