/*
 * restante-reader: looks at strangers' messages. It gets a message as sealed memory from a worker
 * and answers with its summary (message/summary.h). It keeps nothing between two messages, and
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
#include "message/parse.h"

static const struct sandbox_profile profile = {.process = "reader", .allow = 0};

struct reader {
    uint64_t messages, bytes, refused, us;
};

/* Parses what is in the sealed memory; false when it is not what it is said to be. */
static bool summarize(int fd, uint64_t size, struct buf *packed)
{
    struct arena arena = {0};
    struct summary summary;
    void *bytes = NULL;
    if (size > 0) {
        if (size > SIZE_MAX / 2 || !fd_memory_verify(fd, size))
            return false;
        /* The seals are what makes mapping safe: nobody can shorten it under us. */
        bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (bytes == MAP_FAILED)
            return false;
    }
    parse_message(slice_make(bytes, (size_t)size), &arena, &summary);
    summary_encode(&summary, packed);
    if (bytes != NULL)
        munmap(bytes, (size_t)size);
    arena_finish(&arena);
    return true;
}

static void on_summarize(void *context, struct ipc_channel *channel, struct ipc_summarize *message)
{
    struct reader *reader = context;
    struct buf packed = {0};
    uint64_t start = clock_monotonic_us();
    reader->messages++;
    if (summarize(message->message, message->size, &packed)) {
        reader->bytes += message->size;
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

static void *create(struct child *child)
{
    (void)child;
    return MEM_NEW(struct reader);
}

static bool warm_up(void *state, struct sandbox_options *options, struct error *error)
{
    (void)state;
    (void)options;
    return decode_warm_up() || error_set(error, "ICU cannot be used; is libicu installed whole?");
}

static void status(void *state, struct buf *json)
{
    const struct reader *reader = state;
    buf_printf(json, ",\"messages\":%llu,\"bytes\":%llu,\"refused\":%llu,\"us\":%llu",
               (unsigned long long)reader->messages, (unsigned long long)reader->bytes,
               (unsigned long long)reader->refused, (unsigned long long)reader->us);
}

int main(void)
{
    static const struct ipc_handlers handlers = {.summarize = on_summarize};
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
