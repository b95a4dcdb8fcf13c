/*
 * One channel: a SOCK_SEQPACKET socket, what waits to be sent, and the rules of the table applied
 * to what comes in. Answers for: order, bounds, who may say what, and that no descriptor leaks
 * whatever the peer does. Does not know what any message means.
 *
 * What is sent during one turn of the loop is gathered and leaves as one packet at the end of the
 * turn: a busy process sends, and wakes its peer, once for all that it has to say. A message with
 * descriptors leaves at once, with what was gathered before it, so that they need not be held.
 *
 * Handlers may close any channel, so every path that calls one holds the channel (`held`) and frees
 * it afterwards if it was closed meanwhile. A channel that fails while somebody sends on it tells
 * its owner from the loop, never from within the send.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "ipc/ipc_priv.h"

enum {
    ROUND = 64,       /* packets handled before other descriptors get their turn */
    AGAIN_US = 10000, /* after ENOBUFS, ETOOMANYREFS: nothing tells when it is over */
};

struct packet {
    STAILQ_ENTRY(packet) next;
    int fds[FD_PASS_MAX];
    int fd_count;
    size_t size;
    uint8_t bytes[];
};

struct waiting { /* of ipc_when_flushed */
    STAILQ_ENTRY(waiting) next;
    void (*flushed)(void *arg);
    void *arg;
};

struct ipc_channel {
    int fd;
    enum ipc_role self, peer;
    uint32_t peer_index;
    const struct ipc_handlers *handlers;
    void *context;
    struct event *readable, *writable, *retry, *fails;
    struct buf gathered; /* messages of this turn: each its size as u32, then itself */
    struct event *send;  /* active while there is something gathered, or somebody waits for it */
    STAILQ_HEAD(, packet) queue;
    size_t queued_bytes, queued_packets;
    STAILQ_HEAD(, waiting) waiting;
    unsigned held; /* calls on the stack that will look at it again */
    bool closed;   /* by ipc_close: free when no longer held */
    bool mute;     /* the peer takes nothing more; what it had said is still read */
    bool failed;   /* nothing is sent or received any more; closed handler is due or was called */
    uint8_t seen[(IPC_TYPE_COUNT + 7) / 8]; /* ONCE messages that came */
};

static bool send_gathered(struct ipc_channel *channel, const int *fds, int fd_count);

/* ---- ends ---------------------------------------------------------------------------------- */

static void drop_queue(struct ipc_channel *channel)
{
    while (!STAILQ_EMPTY(&channel->queue)) {
        struct packet *packet = STAILQ_FIRST(&channel->queue);
        STAILQ_REMOVE_HEAD(&channel->queue, next);
        for (int i = 0; i < packet->fd_count; i++)
            fd_close(&packet->fds[i]);
        free(packet);
    }
    channel->queued_bytes = 0;
    channel->queued_packets = 0;
}

/* Whoever is told may send more, or close the channel. */
static void tell_waiting(struct ipc_channel *channel)
{
    while (!STAILQ_EMPTY(&channel->waiting) && (channel->closed || ipc_flushed(channel))) {
        struct waiting *waiting = STAILQ_FIRST(&channel->waiting);
        STAILQ_REMOVE_HEAD(&channel->waiting, next);
        waiting->flushed(waiting->arg);
        free(waiting);
    }
}

static void release(struct ipc_channel *channel)
{
    if (--channel->held > 0 || !channel->closed)
        return;
    event_free(channel->readable);
    event_free(channel->writable);
    event_free(channel->send);
    event_free(channel->retry);
    event_free(channel->fails);
    free(channel);
}

static void stop(struct ipc_channel *channel)
{
    channel->failed = true;
    event_del(channel->readable);
    event_del(channel->writable);
    event_del(channel->retry);
    event_del(channel->send);
    buf_finish(&channel->gathered);
    drop_queue(channel);
    fd_close(&channel->fd);
}

void ipc_close(struct ipc_channel **holder)
{
    struct ipc_channel *channel = *holder;
    *holder = NULL;
    if (channel == NULL || channel->closed)
        return;
    channel->closed = true;
    channel->held++;
    send_gathered(channel, NULL, 0); /* as if each had been sent when it was said */
    stop(channel);
    event_del(channel->fails);
    tell_waiting(channel);
    release(channel);
}

static void on_fails(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_channel *channel = arg;
    channel->held++;
    channel->handlers->closed(channel->context, channel);
    release(channel);
}

/* The closed handler runs from the loop. */
static void fail(struct ipc_channel *channel)
{
    if (channel->failed)
        return;
    stop(channel);
    event_active(channel->fails, EV_TIMEOUT, 0);
}

static void fail_with(struct ipc_channel *channel, const char *reason, const char *message)
{
    counter_add(COUNTER_ipc_broken, !channel->failed);
    if (!channel->failed)
        log_error("ipc_broken", "peer=%s%u reason=%s message=%s", ipc_role_name(channel->peer),
                  channel->peer_index, reason, message);
    fail(channel);
}

/* ---- sending ------------------------------------------------------------------------------- */

/* 1 sent, 0 not now, -1 the peer is gone: reading goes on until its end is met, so that its last
 * words are heard. */
static int try_send(struct ipc_channel *channel, const void *bytes, size_t size, const int *fds,
                    int fd_count)
{
    static const struct timeval again = {.tv_usec = AGAIN_US};
    if (fd_send(channel->fd, bytes, size, fds, fd_count) >= 0)
        return 1;
    switch (errno) {
    case EAGAIN:
        event_add(channel->writable, NULL);
        return 0;
    case ENOBUFS:
    case ENOMEM:
    case ETOOMANYREFS:
        event_add(channel->retry, &again);
        return 0;
    default:
        channel->mute = true;
        buf_clear(&channel->gathered);
        return -1;
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_channel *channel = arg;
    while (!STAILQ_EMPTY(&channel->queue)) {
        struct packet *packet = STAILQ_FIRST(&channel->queue);
        int sent = try_send(channel, packet->bytes, packet->size, packet->fds, packet->fd_count);
        if (sent < 0)
            drop_queue(channel);
        if (sent <= 0)
            return;
        STAILQ_REMOVE_HEAD(&channel->queue, next);
        channel->queued_bytes -= packet->size;
        channel->queued_packets--;
        for (int i = 0; i < packet->fd_count; i++)
            fd_close(&packet->fds[i]);
        free(packet);
    }
    channel->held++;
    tell_waiting(channel);
    release(channel);
}

static bool enqueue(struct ipc_channel *channel, struct slice bytes, const int *fds, int fd_count)
{
    if (channel->queued_bytes + bytes.size > IPC_QUEUE_BYTES ||
        channel->queued_packets >= IPC_QUEUE_PACKETS) {
        fail_with(channel, "queue_full", "many");
        return false;
    }
    struct packet *packet = mem_alloc(sizeof(*packet) + bytes.size);
    packet->size = bytes.size;
    packet->fd_count = 0;
    memcpy(packet->bytes, bytes.data, bytes.size);
    STAILQ_INSERT_TAIL(&channel->queue, packet, next);
    channel->queued_bytes += bytes.size;
    channel->queued_packets++;
    for (int i = 0; i < fd_count; i++) {
        int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (copy < 0) {
            fail_with(channel, "no_descriptors", "many");
            return false;
        }
        packet->fds[packet->fd_count++] = copy;
    }
    return true;
}

static bool send_packet(struct ipc_channel *channel, struct slice bytes, const int *fds,
                        int fd_count)
{
    int sent = 0;
    if (STAILQ_EMPTY(&channel->queue))
        sent = try_send(channel, bytes.data, bytes.size, fds, fd_count);
    return sent > 0 || (sent == 0 && enqueue(channel, bytes, fds, fd_count));
}

/* The descriptors are those of the last message. */
static bool send_gathered(struct ipc_channel *channel, const int *fds, int fd_count)
{
    enum { KEPT = 16384 }; /* memory that a quiet channel may hold */
    struct buf gathered = channel->gathered;
    if (gathered.size == 0)
        return true;
    channel->gathered = (struct buf){0};
    bool good = send_packet(channel, buf_slice(&gathered), fds, fd_count);
    if (channel->failed || gathered.room > KEPT) {
        buf_finish(&gathered);
    } else {
        buf_clear(&gathered);
        channel->gathered = gathered;
    }
    return good;
}

static void on_send(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_channel *channel = arg;
    channel->held++;
    send_gathered(channel, NULL, 0);
    if (!channel->failed)
        tell_waiting(channel);
    release(channel);
}

/* A packet that has become too long leaves without its last message, which begins at `last`. */
static bool make_room(struct ipc_channel *channel, size_t last)
{
    struct buf *gathered = &channel->gathered;
    if (gathered->size <= IPC_PACKET_MAX)
        return true;
    struct slice full = slice_make(gathered->data, last);
    ASSERT(last > 0);
    if (!send_packet(channel, full, NULL, 0))
        return false;
    gathered->size -= last;
    memmove(gathered->data, gathered->data + last, gathered->size);
    return true;
}

static bool send_message(struct ipc_channel *channel, enum ipc_type type,
                         const union ipc_message *message)
{
    const struct ipc_row *row = ipc_row(type);
    struct buf *gathered = &channel->gathered;
    int fds[FD_PASS_MAX];
    int fd_count = 0;
    ASSERT((row->from & channel->self) != 0 && (row->to & channel->peer) != 0);
    if (channel->failed || channel->mute)
        return false;
    size_t begin = gathered->size;
    buf_u32(gathered, 0);
    ipc_encode(type, message, gathered, fds, &fd_count);
    size_t size = gathered->size - begin;
    ASSERT(size <= IPC_PACKET_MAX);
    bytes_put_le32(gathered->data + begin, (uint32_t)(size - IPC_SIZE));
    if (begin == 0)
        event_active(channel->send, EV_TIMEOUT, 0);
    if (!make_room(channel, begin))
        return false;
    return fd_count == 0 || send_gathered(channel, fds, fd_count);
}

#define F(kind, name, limit)
#define M(name_, from, to, often, fields)                                                          \
    bool ipc_send_##name_(struct ipc_channel *channel, const struct ipc_##name_ *message)          \
    {                                                                                              \
        union ipc_message any;                                                                     \
        any.name_ = *message;                                                                      \
        return send_message(channel, IPC_TYPE_##name_, &any);                                      \
    }
IPC_MESSAGES(M)
#undef M
#undef F

bool ipc_flushed(const struct ipc_channel *channel)
{
    return STAILQ_EMPTY(&channel->queue) && channel->gathered.size == 0;
}

size_t ipc_backlog(const struct ipc_channel *channel)
{
    return channel->queued_bytes;
}

void ipc_when_flushed(struct ipc_channel *channel, void (*flushed)(void *arg), void *arg)
{
    if (ipc_flushed(channel)) {
        flushed(arg);
        return;
    }
    struct waiting *waiting = MEM_NEW(struct waiting);
    waiting->flushed = flushed;
    waiting->arg = arg;
    STAILQ_INSERT_TAIL(&channel->waiting, waiting, next);
}

void ipc_flush(struct ipc_channel *channel, int ms)
{
    uint64_t deadline = clock_monotonic_us() + (uint64_t)ms * 1000;
    channel->held++; /* those who wait for it may close it */
    send_gathered(channel, NULL, 0);
    while (!ipc_flushed(channel)) {
        uint64_t now = clock_monotonic_us();
        struct pollfd ready = {.fd = channel->fd, .events = POLLOUT};
        if (now >= deadline || poll(&ready, 1, (int)((deadline - now) / 1000) + 1) <= 0)
            break;
        on_writable(channel->fd, EV_WRITE, channel);
    }
    release(channel);
}

/* ---- receiving ----------------------------------------------------------------------------- */

/* What was left in the fields belongs to nobody: the handler sets what it takes to -1. */
static void dispatch(struct ipc_channel *channel, enum ipc_type type, union ipc_message *message)
{
    switch (type) {
#define CLOSE_u32(field)
#define CLOSE_u64(field)
#define CLOSE_id(field)
#define CLOSE_bytes(field)
#define CLOSE_text(field)
#define CLOSE_fd(field) fd_close(&(field));
#define F(kind, name, limit) CLOSE_##kind(m->name)
#define M(name_, from, to, often, fields)                                                          \
    case IPC_TYPE_##name_: {                                                                       \
        struct ipc_##name_ *m = &message->name_;                                                   \
        if (channel->handlers->name_ != NULL)                                                      \
            channel->handlers->name_(channel->context, channel, m);                                \
        else                                                                                       \
            fail_with(channel, "unexpected", ipc_type_name(type));                                 \
        fields(void) m;                                                                            \
        break;                                                                                     \
    }
        IPC_MESSAGES(M)
#undef M
#undef F
    case IPC_TYPE_NONE:
    case IPC_TYPE_COUNT:
        break;
    }
}

static const char *refusal(struct ipc_channel *channel, enum ipc_type type)
{
    const struct ipc_row *row = ipc_row(type);
    uint8_t bit = (uint8_t)(1u << (type % 8));
    if ((row->from & channel->peer) == 0)
        return "wrong_sender";
    if ((row->to & channel->self) == 0)
        return "wrong_receiver";
    if (row->once && (channel->seen[type / 8] & bit) != 0)
        return "twice";
    channel->seen[type / 8] |= bit;
    return NULL;
}

/* One message of a packet, with the descriptors that are left of it; takes its own off. NULL, or
 * what is wrong with it. */
static const char *take_message(struct ipc_channel *channel, struct cursor *packet, int *fds,
                                int *fd_count, enum ipc_type *type)
{
    union ipc_message message;
    struct slice bytes = cursor_packed(packet);
    int own = ipc_descriptors(bytes);
    if (packet->failed || own > *fd_count || !ipc_decode(bytes, fds, own, type, &message))
        return "malformed";
    if (packet->rest.size == 0 && own < *fd_count)
        return "malformed"; /* whose is the rest? */
    const char *reason = refusal(channel, *type);
    if (reason != NULL)
        return reason;
    *fd_count -= own;
    memmove(fds, fds + own, sizeof(*fds) * (size_t)*fd_count);
    dispatch(channel, *type, &message);
    return NULL;
}

/* One packet. False when there is none or the channel has ended. */
static bool receive_one(struct ipc_channel *channel, uint8_t *bytes)
{
    int fds[FD_PASS_MAX];
    int fd_count;
    ssize_t got = fd_receive(channel->fd, bytes, IPC_PACKET_MAX, fds, &fd_count);
    if (got < 0 && errno == ECONNRESET) /* said once, before what the peer had sent */
        got = fd_receive(channel->fd, bytes, IPC_PACKET_MAX, fds, &fd_count);
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got < 0 && errno == EMFILE) { /* as base/mem.h does: begin anew, with the channels whole */
        log_error("out_of_descriptors", "peer=%s%u", ipc_role_name(channel->peer),
                  channel->peer_index);
        abort();
    }
    if (got < 0 && errno == EMSGSIZE)
        fail_with(channel, "too_large", "unknown");
    if (got <= 0) {
        fail(channel);
        return false;
    }
    struct cursor packet = cursor_make(slice_make(bytes, (size_t)got));
    while (packet.rest.size > 0 && !channel->failed) {
        enum ipc_type type = IPC_TYPE_NONE;
        const char *reason = take_message(channel, &packet, fds, &fd_count, &type);
        if (reason != NULL)
            fail_with(channel, reason, ipc_type_name(type));
    }
    while (fd_count > 0)
        fd_close(&fds[--fd_count]);
    return !channel->failed;
}

static void receive(struct ipc_channel *channel, int rounds)
{
    /* Slices of a message point into it; a handler that drains another channel needs a second. */
    static uint8_t shared[IPC_PACKET_MAX];
    static bool taken;
    bool mine = !taken;
    uint8_t *bytes = mine ? shared : mem_alloc(IPC_PACKET_MAX);
    taken = true;
    channel->held++;
    for (int i = 0; (rounds < 0 || i < rounds) && !channel->failed; i++)
        if (!receive_one(channel, bytes))
            break;
    release(channel);
    if (mine)
        taken = false;
    else
        free(bytes);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    receive(arg, ROUND);
}

void ipc_drain(struct ipc_channel *channel)
{
    if (!channel->failed)
        receive(channel, -1);
}

/* ---- life ---------------------------------------------------------------------------------- */

struct ipc_channel *ipc_open(struct event_base *base, int fd, enum ipc_role self,
                             enum ipc_role peer, uint32_t peer_index,
                             const struct ipc_handlers *handlers, void *context)
{
    struct ipc_channel *channel = MEM_NEW(struct ipc_channel);
    channel->fd = fd;
    channel->self = self;
    channel->peer = peer;
    channel->peer_index = peer_index;
    channel->handlers = handlers;
    channel->context = context;
    STAILQ_INIT(&channel->queue);
    STAILQ_INIT(&channel->waiting);
    ASSERT(fd_set_nonblock(fd));
    channel->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, channel);
    channel->writable = event_new(base, fd, EV_WRITE, on_writable, channel);
    channel->send = event_new(base, -1, 0, on_send, channel);
    channel->retry = event_new(base, -1, 0, on_writable, channel);
    channel->fails = event_new(base, -1, 0, on_fails, channel);
    ASSERT(channel->readable != NULL && channel->writable != NULL && channel->retry != NULL &&
           channel->send != NULL && channel->fails != NULL);
    ASSERT(event_add(channel->readable, NULL) == 0);
    return channel;
}

enum ipc_role ipc_peer_role(const struct ipc_channel *channel)
{
    return channel->peer;
}

uint32_t ipc_peer_index(const struct ipc_channel *channel)
{
    return channel->peer_index;
}
