/*
 * One connection: bytes in, the protocol's steps, bytes out, time, and the end.
 *
 * Nothing here frees a connection while a protocol's function runs: those only queue bytes and set
 * marks; the connection is run again, from the loop, by its kick. So conn_run() and the handlers of
 * events are the only places where one ends.
 *
 * An idle connection holds no buffer: input is read into the door's own and copied as far as it was
 * not consumed; empty buffers are freed.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "authsocket/auth_door.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "door/door_priv.h"
#include "io/fd.h"

static int conn_compare(const struct door_conn *a, const struct door_conn *b)
{
    return a->id < b->id ? -1 : a->id > b->id;
}
RB_GENERATE(conn_tree, door_conn, by_id, conn_compare)

static const struct settings *settings_of(const struct door_conn *conn)
{
    return child_settings(conn->door->child);
}

/* ---- time ---------------------------------------------------------------------------------- */

/* The answer that is waited for comes soon and goes out with what is queued (RFC 2920 3.2): one
 * packet to a client that sent its commands in a heap. */
static bool holds_back(const struct door_conn *conn)
{
    return conn->phase == CONN_TALK && (conn->wait == WAIT_LOOKUP || conn->wait == WAIT_ROOM);
}

/* When it is to end as things are, or 0 for never; *reason and *text say why. */
static uint64_t deadline(const struct door_conn *conn, const char **reason, const char **text)
{
    const struct settings *settings = settings_of(conn);
    uint64_t output_s = conn->phase == CONN_CLOSING ? DOOR_LAST_WORD_S : settings->timeout_stall;
    if (conn->output != NULL && !holds_back(conn)) {
        *reason = "stall";
        *text = NULL;
        return conn->output_us + output_s * 1000000;
    }
    *reason = "timeout";
    *text = "Timeout";
    if (conn->protocol->protocol < IPC_LMTP || conn->phase == CONN_HANDSHAKE) {
        return conn->started_us + settings->timeout_login * 1000000;
    }
    if (conn->waiting) {
        return 0; /* whoever is asked answers or dies */
    }
    return conn->progress_us + settings->timeout_lmtp * 1000000;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct door_conn *conn = arg;
    const char *reason, *text;
    uint64_t due = deadline(conn, &reason, &text);
    uint64_t now = clock_monotonic_us();
    if (due != 0 && now >= due) {
        if (text == NULL || conn->phase != CONN_TALK) {
            conn_end(conn, reason);
            return;
        }
        conn_farewell(conn, text, reason);
        return;
    }
    /* Never later than it could have to end: progress moves the deadline only away. */
    uint64_t wait = due == 0 ? 60000000 : due - now + 1000;
    const struct timeval after = {.tv_sec = (time_t)(wait / 1000000),
                                  .tv_usec = (suseconds_t)(wait % 1000000)};
    event_add(&conn->timer, &after);
}

static void timer_within(struct door_conn *conn, time_t seconds)
{
    const struct timeval after = {.tv_sec = seconds};
    event_add(&conn->timer, &after);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what, void *arg);

void conn_attach(struct door_conn *conn, int fd)
{
    conn->fd = fd;
    event_assign(&conn->readable, child_base(conn->door->child), fd, EV_READ | EV_PERSIST,
                 on_readable, conn);
}

void conn_detach(struct door_conn *conn)
{
    if (conn->fd < 0) {
        return;
    }
    event_del(&conn->readable);
    conn->reading = false;
    if (conn->writable != NULL) {
        event_free(conn->writable);
        conn->writable = NULL;
    }
}

static const struct door_protocol *protocol_of(enum ipc_protocol protocol)
{
    return protocol == IPC_IMAP   ? &imap_door
           : protocol == IPC_POP3 ? &pop3_door
           : protocol == IPC_SASL ? &auth_door
                                  : &lmtp_door;
}

void conn_create(struct door *door, const struct door_listener *listener, int fd,
                 const char *client, struct address_count *counted)
{
    struct door_conn *conn = MEM_NEW(struct door_conn);
    conn->door = door;
    conn->id = door->next_id++;
    conn->protocol = protocol_of(listener->protocol);
    conn->internal = listener->internal;
    conn->counted = counted;
    conn->local = counted == NULL;
    conn->started_us = conn->progress_us = clock_monotonic_us();
    snprintf(conn->client, sizeof(conn->client), "%s", client);
    snprintf(conn->session, sizeof(conn->session), "%016" PRIx64, conn->id);
    event_assign(&conn->timer, child_base(door->child), -1, 0, on_timer, conn);
    RB_INSERT(conn_tree, &door->conns, conn);
    door->connections++;
    counter_add(COUNTER_connections, 1);
    counter_add(COUNTER_sessions, 1);
    const struct settings *settings = settings_of(conn);
    timer_within(conn, (time_t)(conn->protocol->protocol >= IPC_LMTP && !listener->tls
                                    ? settings->timeout_lmtp
                                    : settings->timeout_login));
    conn_attach(conn, fd);
    if (listener->tls) {
        starttls_pass(conn);
    } else {
        conn_begin(conn);
    }
}

struct door_conn *conn_find(struct door *door, uint64_t id)
{
    struct door_conn wanted = {.id = id};
    return RB_FIND(conn_tree, &door->conns, &wanted);
}

static void drop_state(struct door_conn *conn)
{
    if (conn->state != NULL) {
        conn->protocol->close(conn->state);
        conn->state = NULL;
    }
}

void conn_leave(struct door_conn *conn)
{
    struct door *door = conn->door;
    drop_state(conn);
    delivery_drop(conn);
    conn_detach(conn);
    fd_close(&conn->fd);
    event_del(&conn->timer);
    if (conn->is_kicked) {
        TAILQ_REMOVE(&door->kicked, conn, kicked);
    }
    RB_REMOVE(conn_tree, &door->conns, conn);
    door->connections--;
    door->charged -= conn->charged;
    counter_add(COUNTER_sessions, -1);
    door_address_release(door, &conn->counted);
    if (conn->input != NULL) {
        evbuffer_free(conn->input);
    }
    if (conn->output != NULL) {
        evbuffer_free(conn->output);
    }
    mem_wipe(conn->final.data, conn->final.size);
    buf_finish(&conn->final);
    free(conn);
    child_tidy(door->child);
    if (door->draining && door->connections == 0) {
        child_finish(door->child);
    }
}

/* What the kernel still holds would turn our last word into a reset at the client. */
static void discard_input(struct door_conn *conn)
{
    for (int i = 0; conn->fd >= 0 && i < 4; i++) {
        if (recv(conn->fd, conn->door->bytes, sizeof(conn->door->bytes), MSG_DONTWAIT) <= 0) {
            break;
        }
    }
}

void conn_end(struct door_conn *conn, const char *reason)
{
    if (conn->phase == CONN_HANDSHAKE) {
        starttls_cancel(conn);
    }
    if (conn->exchange) {
        login_cancel(conn);
    }
    discard_input(conn);
    log_info("connection_end",
             "protocol=%s rip=%s reason=%s secure=%d in=%" PRIu64 " out=%" PRIu64
             " seconds=%.3f id=%s",
             conn->protocol->name, conn->client, reason, conn->tls, conn->bytes_in, conn->bytes_out,
             (double)(clock_monotonic_us() - conn->started_us) / 1e6, conn->session);
    conn_leave(conn);
}

/* ---- out ----------------------------------------------------------------------------------- */

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    conn_kick(arg);
}

/* False: the connection has ended. */
static bool flush(struct door_conn *conn)
{
    while (conn->output != NULL) {
        int sent = conn->phase == CONN_CLOSING ? fd_write_last(conn->fd, conn->output)
                                               : evbuffer_write(conn->output, conn->fd);
        if (sent > 0) {
            conn->bytes_out += (uint64_t)sent;
            conn->output_us = conn->progress_us = clock_monotonic_us();
        } else if (errno != EAGAIN && errno != EINTR) {
            conn_end(conn, "disconnect");
            return false;
        }
        if (evbuffer_get_length(conn->output) == 0) {
            evbuffer_free(conn->output);
            conn->output = NULL;
        } else if (sent <= 0) {
            break;
        }
    }
    if (conn->output != NULL) {
        if (conn->writable == NULL) {
            conn->writable =
                event_new(child_base(conn->door->child), conn->fd, EV_WRITE, on_writable, conn);
            ASSERT(conn->writable != NULL);
        }
        event_add(conn->writable, NULL);
        timer_within(conn, 1); /* the stall is short where a last word is said */
    }
    return true;
}

/* What follows once nothing is queued any more. */
static void proceed(struct door_conn *conn)
{
    switch (conn->phase) {
    case CONN_HANDSHAKE:
    case CONN_TALK:
        break;
    case CONN_STARTTLS:
        starttls_pass(conn);
        break;
    case CONN_LEAVING:
        login_hand_over(conn);
        break;
    case CONN_CLOSING:
        conn_end(conn, conn->reason != NULL ? conn->reason : "closed");
        break;
    }
}

/* ---- steps --------------------------------------------------------------------------------- */

/* Who waits for an answer seldom gets input meanwhile: the socket stays watched, and only when
 * something does come is it left alone (on_readable). Saves two system calls at each wait. */
static void want_input(struct door_conn *conn, bool wanted)
{
    conn->wants_input = wanted;
    if (wanted && !conn->reading) {
        event_add(&conn->readable, NULL);
        conn->reading = true;
    }
}

/* Runs the protocol on what was read. True: it wants more input. */
static bool steps(struct door_conn *conn)
{
    for (int i = 0; i < DOOR_ROUND; i++) {
        if (conn->output != NULL && evbuffer_get_length(conn->output) > DOOR_OUTPUT_MAX) {
            return false; /* goes on when the client has read */
        }
        if (conn->input == NULL) {
            return true;
        }
        switch (conn->protocol->input(conn->state, conn->input)) {
        case DOOR_MORE:
            return true;
        case DOOR_AGAIN:
            conn->progress_us = clock_monotonic_us();
            break;
        case DOOR_WAIT:
            /* The go-ahead of STARTTLS leaves even while we wait. */
            conn->waiting = true;
            return false;
        case DOOR_CLOSE:
            conn->phase = CONN_CLOSING;
            return false;
        }
        if (evbuffer_get_length(conn->input) == 0) {
            evbuffer_free(conn->input);
            conn->input = NULL;
        }
    }
    conn_kick(conn);
    return false;
}

static void conn_run(struct door_conn *conn)
{
    bool more = false;
    if (conn->auth_away) {
        login_away(conn);
    }
    if (conn->undeliverable) {
        delivery_late(conn);
    }
    if (conn->phase == CONN_TALK && !conn->waiting) {
        more = steps(conn);
    }
    if (conn->door->draining && conn->phase == CONN_TALK && conn->wait != WAIT_DELIVERY) {
        conn_farewell(conn, "Shutting down", "shutdown");
        return;
    }
    if (more && conn->eof) {
        conn->reason = "disconnect";
        conn->phase = CONN_CLOSING;
        more = false;
    }
    if (conn->phase == CONN_HANDSHAKE || (!holds_back(conn) && !flush(conn))) {
        return;
    }
    want_input(conn, more);
    if (conn->output == NULL) {
        proceed(conn);
    }
}

void conn_kick(struct door_conn *conn)
{
    struct door *door = conn->door;
    if (conn->is_kicked) {
        return;
    }
    conn->is_kicked = true;
    TAILQ_INSERT_TAIL(&door->kicked, conn, kicked);
    event_active(&door->kick, EV_TIMEOUT, 0);
}

void door_kicked(evutil_socket_t fd, short what, void *arg)
{
    struct door *door = arg;
    struct door_conn *last = TAILQ_LAST(&door->kicked, door_conn_list);
    while (last != NULL) {
        struct door_conn *conn = TAILQ_FIRST(&door->kicked);
        bool was_last = conn == last;
        TAILQ_REMOVE(&door->kicked, conn, kicked);
        conn->is_kicked = false;
        conn_run(conn);
        if (was_last) {
            break; /* those kicked meanwhile have their turn after the sockets */
        }
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct door_conn *conn = arg;
    if (!conn->wants_input) {
        event_del(&conn->readable);
        conn->reading = false;
        return;
    }
    size_t room = conn->protocol->protocol == IPC_LMTP ? DOOR_INPUT_LMTP : DOOR_INPUT;
    ssize_t size = recv(fd, conn->door->bytes, room, 0);
    if (size < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            conn_end(conn, "disconnect");
        }
        return;
    }
    if (size == 0) {
        conn->eof = true;
    } else {
        conn->bytes_in += (uint64_t)size;
        if (conn->input == NULL) {
            conn->input = evbuffer_new();
            ASSERT(conn->input != NULL);
        }
        evbuffer_add(conn->input, conn->door->bytes, (size_t)size);
    }
    conn_run(conn);
}

void conn_begin(struct door_conn *conn)
{
    conn->phase = CONN_TALK;
    conn->wait = WAIT_NOTHING;
    conn->waiting = false;
    drop_state(conn);
    conn->state = conn->protocol->open(conn);
    conn_kick(conn);
}

void conn_farewell(struct door_conn *conn, const char *text, const char *reason)
{
    conn->reason = reason;
    if (conn->phase == CONN_TALK && conn->state != NULL) {
        conn->protocol->farewell(conn->state, text);
    }
    conn->phase = CONN_CLOSING;
    if (conn->exchange) {
        login_cancel(conn);
    }
    conn->output_us = clock_monotonic_us();
    conn_kick(conn);
}

/* ---- what protocols ask -------------------------------------------------------------------- */

void door_conn_write(struct door_conn *conn, const void *bytes, size_t size)
{
    if (size == 0) {
        return;
    }
    if (conn->output == NULL) {
        conn->output = evbuffer_new();
        ASSERT(conn->output != NULL);
        conn->output_us = clock_monotonic_us();
    }
    ASSERT(evbuffer_add(conn->output, bytes, size) == 0);
}

void door_conn_printf(struct door_conn *conn, const char *format, ...)
{
    struct buf text = {0};
    char small[512];
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int size = vsnprintf(small, sizeof(small), format, list);
    ASSERT(size >= 0);
    if ((size_t)size < sizeof(small)) {
        door_conn_write(conn, small, (size_t)size);
    } else {
        char *large = (char *)buf_extend(&text, (size_t)size + 1);
        vsnprintf(large, (size_t)size + 1, format, again);
        door_conn_write(conn, large, (size_t)size);
        buf_finish(&text);
    }
    va_end(again);
    va_end(list);
}

void door_conn_resume(struct door_conn *conn)
{
    conn->waiting = false;
    conn->wait = WAIT_NOTHING;
    conn->progress_us = clock_monotonic_us();
    conn_kick(conn);
}

bool door_conn_secure(const struct door_conn *conn)
{
    return conn->tls;
}

bool door_conn_can_starttls(const struct door_conn *conn)
{
    return !conn->tls && starttls_available(conn->door);
}

bool door_conn_after_starttls(const struct door_conn *conn)
{
    return conn->after_starttls;
}

const char *door_conn_client(const struct door_conn *conn)
{
    return conn->client;
}

const char *door_conn_mechanisms(const struct door_conn *conn)
{
    const struct door *door = conn->door;
    return conn->tls     ? door->mechanisms_secure
           : conn->local ? door->mechanisms_local
                         : door->mechanisms_clear;
}

const struct settings *door_settings(const struct door_conn *conn)
{
    return settings_of(conn);
}

const char *door_hostname(const struct door_conn *conn)
{
    return conn->door->hostname;
}

const char *door_session_id(const struct door_conn *conn)
{
    return conn->session;
}

struct event_base *door_base(const struct door_conn *conn)
{
    return child_base(conn->door->child);
}

bool door_conn_charge(struct door_conn *conn, uint64_t bytes)
{
    /* Several messages of the largest size at the same time, many of the usual. */
    uint64_t most = settings_of(conn)->message_size * 4;
    if (conn->door->charged + bytes > (most > (256u << 20) ? most : (256u << 20))) {
        return false;
    }
    conn->charged += bytes;
    conn->door->charged += bytes;
    return true;
}

void door_conn_uncharge(struct door_conn *conn, uint64_t bytes)
{
    ASSERT(bytes <= conn->charged);
    conn->charged -= bytes;
    conn->door->charged -= bytes;
}
