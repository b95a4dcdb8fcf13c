/*
 * restante-reader: looks at strangers' messages. It gets a message, in the packet or as sealed
 * memory, from a worker and answers with its summary (message/summary.h), or a batch of them and
 * says in which of them a text is (message/match.h). It keeps nothing between two messages, and
 * holds nothing that a message could be after: no files, no sockets but those to its workers, no
 * secrets.
 *
 * What it gives up is the profile below: all of it. A message that breaks it in spite of all ends
 * this process; master starts another, and the worker stores that message without a summary.
 */
#include <sys/mman.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "ipc/child.h"
#include "message/decode.h"
#include "message/match.h"
#include "message/parse.h"

static const struct sandbox_profile profile = {.process = "reader", .allow = 0};

struct reader {
    struct fold *fold;
    uint64_t messages, bytes, searches, refused, us;
};

/* False when the memory is not what it is said to be. Give it back by unmap(). */
static bool map(int fd, uint64_t size, void **bytes)
{
    *bytes = NULL;
    if (size == 0)
        return true;
    if (size > SIZE_MAX / 2 || !fd_memory_verify(fd, size))
        return false;
    /* The seals are what makes mapping safe: nobody can shorten it under us. */
    void *at = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (at == MAP_FAILED)
        return false;
    *bytes = at;
    return true;
}

static void unmap(void *bytes, uint64_t size)
{
    if (bytes != NULL)
        munmap(bytes, (size_t)size);
}

static void summarize(struct reader *reader, struct slice bytes, struct buf *packed)
{
    struct arena arena = {0};
    struct summary summary;
    struct buf folded = {0};
    parse_message(bytes, &arena, &summary);
    if (match_fold(reader->fold, &summary, &folded))
        summary.folded = folded.size > 0 ? buf_slice(&folded) : SLICE_LITERAL("");
    summary_encode(&summary, packed);
    buf_finish(&folded);
    arena_finish(&arena);
    reader->bytes += bytes.size;
}

static void on_summarize(void *context, struct ipc_channel *channel, struct ipc_summarize *message)
{
    struct reader *reader = context;
    struct buf packed = {0};
    uint64_t start = clock_monotonic_us();
    void *bytes;
    reader->messages++;
    if (map(message->message, message->size, &bytes)) {
        summarize(reader, slice_make(bytes, (size_t)message->size), &packed);
        unmap(bytes, message->size);
    } else {
        reader->refused++;
        log_warn("reader_refused", "size=%llu worker=%u", (unsigned long long)message->size,
                 ipc_peer_index(channel));
    }
    reader->us += clock_monotonic_us() - start;
    ipc_send_summary(
        channel, &(struct ipc_summary){.request = message->request, .packed = buf_slice(&packed)});
    buf_finish(&packed);
}

static void on_summarize_short(void *context, struct ipc_channel *channel,
                               struct ipc_summarize_short *message)
{
    struct reader *reader = context;
    struct buf packed = {0};
    uint64_t start = clock_monotonic_us();
    reader->messages++;
    summarize(reader, message->message, &packed);
    reader->us += clock_monotonic_us() - start;
    ipc_send_summary(
        channel, &(struct ipc_summary){.request = message->request, .packed = buf_slice(&packed)});
    buf_finish(&packed);
}

static enum ipc_search_result search(struct reader *reader, const struct ipc_search *message,
                                     struct buf *bits)
{
    enum match_problem problem;
    void *batch;
    struct match *match = match_create(reader->fold, message->charset, message->needles, &problem);
    if (match == NULL)
        return problem == MATCH_PROBLEM_CHARSET ? IPC_SEARCH_BAD_CHARSET : IPC_SEARCH_FAILED;
    bool good =
        message->records <= NEEDLE_BATCH_MAX && map(message->messages, message->size, &batch);
    if (good) {
        good = match_batch(match, slice_make(batch, (size_t)message->size), message->records, bits);
        unmap(batch, message->size);
    }
    match_destroy(&match);
    return good ? IPC_SEARCH_OK : IPC_SEARCH_FAILED;
}

static void on_search(void *context, struct ipc_channel *channel, struct ipc_search *message)
{
    struct reader *reader = context;
    struct buf bits = {0};
    uint64_t start = clock_monotonic_us();
    enum ipc_search_result result = search(reader, message, &bits);
    reader->searches++;
    if (result == IPC_SEARCH_FAILED) {
        buf_clear(&bits);
        reader->refused++;
        log_warn("reader_refused", "search=1 size=%llu worker=%u",
                 (unsigned long long)message->size, ipc_peer_index(channel));
    }
    reader->us += clock_monotonic_us() - start;
    ipc_send_found(channel, &(struct ipc_found){.request = message->request,
                                                .result = result,
                                                .bits = buf_slice(&bits)});
    buf_finish(&bits);
}

static void *create(struct child *child)
{
    (void)child;
    return MEM_NEW(struct reader);
}

static bool warm_up(void *state, struct sandbox_options *options, struct error *error)
{
    struct reader *reader = state;
    (void)options;
    reader->fold = fold_create();
    return (decode_warm_up() && reader->fold != NULL) ||
           error_set(error, "ICU cannot be used; is libicu installed whole?");
}

static void status(void *state, struct buf *json)
{
    const struct reader *reader = state;
    buf_printf(json,
               ",\"messages\":%llu,\"bytes\":%llu,\"searches\":%llu,\"refused\":%llu,\"us\":%llu",
               (unsigned long long)reader->messages, (unsigned long long)reader->bytes,
               (unsigned long long)reader->searches, (unsigned long long)reader->refused,
               (unsigned long long)reader->us);
}

int main(void)
{
    static const struct ipc_handlers handlers = {
        .summarize = on_summarize, .summarize_short = on_summarize_short, .search = on_search};
    static const struct child_program program = {
        .name = "reader",
        .role = IPC_READER,
        .profile = &profile,
        .handlers = &handlers,
        .create = create,
        .warm_up = warm_up,
        .status = status,
    };
    return child_main(&program);
}
