/*
 * Strangers' messages are looked at by readers, never here. A message goes out as sealed memory, or
 * in the packet when it is short; its summary comes back and is checked in every offset before it
 * is believed; or a batch of them goes out with what is looked for, and as many bits come back. A
 * reader that dies over a message, or is stuck, gets its requests moved to another one, once. What
 * then has no summary is stored without, and what could not be searched is not found: nothing else
 * depends on a parser.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "message/needle.h"
#include "message/summary.h"
#include "worker/worker_priv.h"

enum { DEATHS_MAX = 2 };
#define NO_READER UINT32_MAX

struct request {
    RB_ENTRY(request) by_id;
    TAILQ_ENTRY(request) order;
    uint64_t id, size, until_us;
    int fd;               /* the asker's, as are: */
    const uint8_t *bytes; /* of a message, until it is summarized */
    uint32_t reader, deaths;
    uint64_t sent;                  /* place among all that were sent */
    mailbox_summarized *summarized; /* NULL: a search */
    session_found *found;
    void *arg;
    uint32_t records;
    size_t bits; /* bytes of the answer */
    char *charset;
    struct buf needles;
};

static int request_compare(const struct request *a, const struct request *b)
{
    return a->id < b->id ? -1 : a->id > b->id;
}
RB_GENERATE_INTERNAL(request_tree, request, by_id, request_compare, __attribute__((unused)) static)

static void answer_summary(struct request *request, struct slice packed)
{
    counter_add(packed.size > 0 ? COUNTER_summaries : COUNTER_summaries_failed, 1);
    request->summarized(request->arg, packed);
}

static void take_off(struct worker *worker, struct request *request)
{
    RB_REMOVE(request_tree, &worker->requests, request);
    TAILQ_REMOVE(&worker->request_order, request, order);
    worker->request_count--;
}

static void release(struct request *request)
{
    buf_finish(&request->needles);
    free(request->charset);
    free(request);
}

static void fail(struct worker *worker, struct request *request, const char *reason)
{
    bool search = request->summarized == NULL;
    log_warn(search ? "search_failed" : "summary_failed", "reason=%s size=%llu", reason,
             (unsigned long long)request->size);
    take_off(worker, request);
    if (search)
        request->found(request->arg, IPC_SEARCH_FAILED, SLICE_NONE);
    else
        answer_summary(request, SLICE_NONE);
    release(request);
}

/* A reader that is slow gets a descriptor: too much in the queue would end the channel. */
static bool send_message(struct ipc_channel *reader, const struct request *request)
{
    struct slice bytes = slice_make(request->bytes, (size_t)request->size);
    bool small = bytes.size <= IPC_SHORT;
    int made = -1;
    if (small && ipc_backlog(reader) > IPC_BACKLOG)
        made = fd_memory_of("message", bytes.data, bytes.size);
    struct ipc_summarize message = {
        .request = request->id, .size = request->size, .message = small ? made : request->fd};
    bool sent =
        small && made < 0
            ? ipc_send_summarize_short(
                  reader, &(struct ipc_summarize_short){.request = request->id, .message = bytes})
            : ipc_send_summarize(reader, &message);
    fd_close(&made);
    return sent;
}

static bool send_to(struct ipc_channel *reader, const struct request *request)
{
    if (request->summarized != NULL)
        return send_message(reader, request);
    return ipc_send_search(reader, &(struct ipc_search){.request = request->id,
                                                        .records = request->records,
                                                        .size = request->size,
                                                        .charset = slice_str(request->charset),
                                                        .needles = buf_slice(&request->needles),
                                                        .messages = request->fd});
}

/* To the next reader there is; without one it waits for it until its time is over. */
static void pass_on(struct worker *worker, struct request *request)
{
    struct ipc_channel *reader = child_peer_next(worker->child, IPC_READER);
    request->reader = NO_READER;
    if (reader != NULL && send_to(reader, request)) {
        request->reader = ipc_peer_index(reader);
        request->sent = worker->sent++;
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval after = {.tv_sec = 1};
    struct worker *worker = arg;
    struct request *oldest;
    uint64_t now = clock_monotonic_us();
    while ((oldest = TAILQ_FIRST(&worker->request_order)) != NULL && oldest->until_us <= now) {
        fail(worker, oldest, "timeout");
    }
    if (oldest != NULL) {
        event_add(&worker->request_timer, &after);
    }
}

void readers_init(struct worker *worker)
{
    RB_INIT(&worker->requests);
    TAILQ_INIT(&worker->request_order);
    event_assign(&worker->request_timer, child_base(worker->child), -1, 0, on_timer, worker);
}

void readers_finish(struct worker *worker)
{
    struct request *request;
    event_del(&worker->request_timer);
    /* Searches of sessions that are gone. */
    while ((request = TAILQ_FIRST(&worker->request_order)) != NULL) {
        fail(worker, request, "shutdown");
    }
}

/* Takes the request. */
static void ask(struct worker *worker, struct request *request)
{
    request->id = worker->next_request++;
    request->until_us = clock_monotonic_us() + WORKER_READER_S * 1000000ull;
    RB_INSERT(request_tree, &worker->requests, request);
    TAILQ_INSERT_TAIL(&worker->request_order, request, order);
    worker->request_count++;
    pass_on(worker, request);
    if (!event_pending(&worker->request_timer, EV_TIMEOUT, NULL)) {
        static const struct timeval after = {.tv_sec = 1};
        event_add(&worker->request_timer, &after);
    }
}

void readers_summarize(void *arg, int fd, struct slice bytes, mailbox_summarized *summarized,
                       void *done_arg)
{
    struct request *request = MEM_NEW(struct request);
    ASSERT(fd >= 0 || bytes.size <= IPC_SHORT);
    *request = (struct request){.size = bytes.size,
                                .bytes = bytes.data,
                                .fd = fd,
                                .summarized = summarized,
                                .arg = done_arg};
    ask(arg, request);
}

void readers_search(void *arg, const struct session_search *search, session_found *found,
                    void *found_arg)
{
    struct request *request = MEM_NEW(struct request);
    *request = (struct request){
        .size = search->size,
        .fd = search->fd,
        .found = found,
        .arg = found_arg,
        .records = search->records,
        .bits = search->records * needle_bits_size(search->needle_count),
        .charset = slice_strdup(search->charset),
    };
    buf_add_slice(&request->needles, search->needles);
    ask(arg, request);
}

/* NULL: it comes too late. */
static struct request *find(struct worker *worker, uint32_t reader, uint64_t id)
{
    struct request wanted = {.id = id};
    struct request *request = RB_FIND(request_tree, &worker->requests, &wanted);
    return request == NULL || request->reader != reader ? NULL : request;
}

void readers_summary(struct worker *worker, uint32_t reader, const struct ipc_summary *message)
{
    struct request *request = find(worker, reader, message->request);
    if (request == NULL || request->summarized == NULL) {
        return;
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
    take_off(worker, request);
    answer_summary(request, packed);
    release(request);
}

void readers_found(struct worker *worker, uint32_t reader, const struct ipc_found *message)
{
    struct request *request = find(worker, reader, message->request);
    if (request == NULL || request->summarized != NULL) {
        return;
    }
    bool whole = message->bits.size == request->bits || request->records == 0;
    bool good =
        message->result == IPC_SEARCH_BAD_CHARSET || (message->result == IPC_SEARCH_OK && whole);
    if (!good) {
        fail(worker, request, "malformed");
        return;
    }
    take_off(worker, request);
    request->found(request->arg, message->result, message->bits);
    release(request);
}

void readers_up(struct worker *worker)
{
    struct request *request;
    TAILQ_FOREACH (request, &worker->request_order, order) {
        if (request->reader == NO_READER) {
            pass_on(worker, request);
        }
    }
}

/* A reader takes one request after another: the first that was sent is the one it died of. */
static struct request *first_sent(struct worker *worker, uint32_t reader)
{
    struct request *first = NULL, *request;
    TAILQ_FOREACH (request, &worker->request_order, order) {
        if (request->reader == reader && (first == NULL || request->sent < first->sent)) {
            first = request;
        }
    }
    return first;
}

void readers_down(struct worker *worker, uint32_t reader)
{
    struct request *request = first_sent(worker, reader);
    if (request != NULL && ++request->deaths == DEATHS_MAX) {
        fail(worker, request, "reader_died");
    }
    TAILQ_FOREACH (request, &worker->request_order, order) {
        if (request->reader == reader) {
            pass_on(worker, request);
        }
    }
}
