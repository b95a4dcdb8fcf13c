/*
 * See fake_door.h. A connection has one pending answer at most, like a real one; it is run when
 * the protocol has said DOOR_WAIT.
 */
#include "door/fake_door.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "io/fd.h"

enum pending { NOTHING, STARTTLS, AUTH, LOOKUP, DELIVER };

struct door_conn {
    struct fake_door *fake;
    const struct door_protocol *protocol;
    void *state;
    struct evbuffer *input;
    enum pending pending;
    bool resumed;

    struct buf mechanism, response;
    bool has_response, test_challenged, cancelled;

    struct door_rcpt rcpt;
    enum ipc_delivery_result room;
    void (*found)(void *, const struct door_rcpt *, enum ipc_delivery_result);

    int fd;
    struct buf message; /* when there is no fd */
    uint64_t size;
    struct door_delivery *deliveries;
    size_t count;
    void (*done)(void *, size_t, enum ipc_delivery_result);
};

void fake_door_init(struct fake_door *fake)
{
    *fake = (struct fake_door){
        .client = "192.0.2.7", .mechanisms = "PLAIN LOGIN TEST", .tls_available = true};
#define N(name, value, least, most, reload, text) fake->settings.name = value;
#define T(name, value, reload, text)
#define C(name, value, words, reload, text)
    SETTINGS(N, T, C)
#undef N
#undef T
#undef C
}

void fake_door_open(struct fake_door *fake, const struct door_protocol *protocol)
{
    struct door_conn *conn = MEM_NEW(struct door_conn);
    conn->fake = fake;
    conn->protocol = protocol;
    conn->input = evbuffer_new();
    conn->fd = -1;
    fake->conn = conn;
    fake->closed = fake->handed_over = fake->injected = fake->after_starttls = false;
    conn->state = protocol->open(conn);
}

static void close_state(struct door_conn *conn)
{
    if (conn->state != NULL) {
        conn->protocol->close(conn->state);
        conn->state = NULL;
    }
}

void fake_door_close(struct fake_door *fake)
{
    struct door_conn *conn = fake->conn;
    if (conn == NULL) {
        return;
    }
    close_state(conn);
    ASSERT(fake->charged == 0);
    evbuffer_free(conn->input);
    buf_finish(&conn->mechanism);
    buf_finish(&conn->response);
    fd_close(&conn->fd);
    buf_finish(&conn->message);
    free(conn->deliveries);
    free(conn);
    fake->conn = NULL;
}

void fake_door_finish(struct fake_door *fake)
{
    fake_door_close(fake);
    for (size_t i = 0; i < fake->delivery_count; i++) {
        buf_finish(&fake->deliveries[i].prefix);
        buf_finish(&fake->deliveries[i].message);
    }
    buf_finish(&fake->output);
    buf_finish(&fake->tag);
    buf_finish(&fake->readahead);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void run_starttls(struct door_conn *conn)
{
    struct fake_door *fake = conn->fake;
    if (evbuffer_get_length(conn->input) > 0) {
        fake->injected = fake->closed = true;
        return;
    }
    close_state(conn);
    fake->secure = fake->after_starttls = true;
    conn->state = conn->protocol->open(conn);
    conn->resumed = true;
}

static void hand_over(struct door_conn *conn)
{
    struct fake_door *fake = conn->fake;
    struct slice tag = SLICE_NONE;
    conn->protocol->logged_in(conn->state, &tag);
    buf_clear(&fake->tag);
    buf_add_slice(&fake->tag, tag);
    size_t size = evbuffer_get_length(conn->input);
    buf_clear(&fake->readahead);
    buf_add(&fake->readahead, evbuffer_pullup(conn->input, -1), size);
    evbuffer_drain(conn->input, size);
    fake->handed_over = true;
    close_state(conn);
}

static void login_good(struct door_conn *conn)
{
    if (conn->protocol->verified != NULL)
        conn->protocol->verified(conn->state, SLICE_LITERAL("alice"));
    else
        hand_over(conn);
}

static void run_auth(struct door_conn *conn)
{
    static const char good[] = "\0alice\0secret";
    static const char busy[] = "\0busy\0";
    struct slice mechanism = buf_slice(&conn->mechanism), response = buf_slice(&conn->response);
    if (conn->cancelled) {
        conn->protocol->auth_failed(conn->state, IPC_AUTH_CANCELLED);
    } else if (slice_equal_nocase_str(mechanism, "TEST")) {
        if (!conn->test_challenged) {
            conn->test_challenged = true;
            conn->protocol->challenge(conn->state, SLICE_LITERAL("hello"));
        } else if (slice_equal_str(response, "world")) {
            login_good(conn);
        } else {
            conn->protocol->auth_failed(conn->state, IPC_AUTH_BAD_MESSAGE);
        }
    } else if (!slice_equal_nocase_str(mechanism, "PLAIN")) {
        conn->protocol->auth_failed(conn->state, IPC_AUTH_NO_MECHANISM);
    } else if (!conn->has_response) {
        conn->protocol->challenge(conn->state, SLICE_NONE);
    } else if (slice_equal(response, slice_make(good, sizeof(good) - 1))) {
        login_good(conn);
    } else if (slice_starts(response, slice_make(busy, sizeof(busy) - 1))) {
        conn->protocol->auth_failed(conn->state, IPC_AUTH_UNAVAILABLE);
    } else {
        conn->protocol->auth_failed(conn->state, IPC_AUTH_BAD_SECRET);
    }
}

static void run_deliver(struct door_conn *conn)
{
    struct fake_door *fake = conn->fake;
    struct buf bytes = {0};
    if (conn->fd >= 0) {
        ASSERT(fd_memory_verify(conn->fd, conn->size));
        ASSERT(fd_pread_all(conn->fd, buf_extend(&bytes, conn->size), conn->size, 0));
        fd_close(&conn->fd);
    } else {
        ASSERT(conn->size <= IPC_SHORT);
        bytes = conn->message;
        conn->message = (struct buf){0};
    }
    struct door_delivery *deliveries = conn->deliveries;
    conn->deliveries = NULL;
    size_t count = conn->count;
    /* Backwards: answers must not depend on the order in which workers report. */
    for (size_t i = count; i-- > 0;) {
        struct slice name = slice_str(deliveries[i].rcpt->name);
        enum ipc_delivery_result result = IPC_DELIVERY_OK;
        if (slice_starts(name, SLICE_LITERAL("lateful"))) {
            result = IPC_DELIVERY_NOSPACE;
        } else if (slice_starts(name, SLICE_LITERAL("late"))) {
            result = IPC_DELIVERY_UNAVAILABLE;
        } else {
            ASSERT(fake->delivery_count < FAKE_DELIVERIES);
            struct fake_delivery *kept = &fake->deliveries[fake->delivery_count++];
            snprintf(kept->account, sizeof(kept->account), "%.*s", SLICE_PRINT(name));
            snprintf(kept->mailbox, sizeof(kept->mailbox), "%s", deliveries[i].rcpt->detail);
            buf_add_slice(&kept->prefix, deliveries[i].prefix);
            buf_add_slice(&kept->message, buf_slice(&bytes));
        }
        conn->done(conn->state, i, result);
    }
    free(deliveries);
    buf_finish(&bytes);
}

static void run_pending(struct door_conn *conn)
{
    enum pending pending = conn->pending;
    conn->pending = NOTHING;
    switch (pending) {
    case NOTHING:
        break;
    case STARTTLS:
        run_starttls(conn);
        break;
    case AUTH:
        run_auth(conn);
        break;
    case LOOKUP:
        conn->found(conn->state, &conn->rcpt, conn->room);
        break;
    case DELIVER:
        run_deliver(conn);
        break;
    }
}

static bool over(const struct fake_door *fake)
{
    return fake->closed || fake->handed_over;
}

void fake_door_feed(struct fake_door *fake, struct slice bytes)
{
    struct door_conn *conn = fake->conn;
    if (over(fake)) {
        return;
    }
    evbuffer_add(conn->input, bytes.data, bytes.size);
    while (!over(fake)) {
        enum door_step step = conn->protocol->input(conn->state, conn->input);
        if (step == DOOR_MORE) {
            return;
        }
        fake->closed = step == DOOR_CLOSE;
        if (step == DOOR_WAIT) {
            conn->resumed = false;
            while (!conn->resumed && !over(fake)) {
                ASSERT(conn->pending != NOTHING); /* else it would wait for ever */
                run_pending(conn);
            }
        }
    }
}

void fake_door_farewell(struct fake_door *fake, const char *reason)
{
    fake->conn->protocol->farewell(fake->conn->state, reason);
    fake->closed = true;
}

/* ---- what protocols call --------------------------------------------------------------------- */

void door_conn_write(struct door_conn *conn, const void *bytes, size_t size)
{
    buf_add(&conn->fake->output, bytes, size);
}

void door_conn_printf(struct door_conn *conn, const char *format, ...)
{
    char text[8192];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    ASSERT(size >= 0 && (size_t)size < sizeof(text));
    buf_add(&conn->fake->output, text, (size_t)size);
}

void door_conn_resume(struct door_conn *conn)
{
    conn->resumed = true;
}

bool door_conn_secure(const struct door_conn *conn)
{
    return conn->fake->secure;
}

bool door_conn_can_starttls(const struct door_conn *conn)
{
    return conn->fake->tls_available && !conn->fake->secure;
}

bool door_conn_after_starttls(const struct door_conn *conn)
{
    return conn->fake->after_starttls;
}

const char *door_conn_client(const struct door_conn *conn)
{
    return conn->fake->client;
}

const char *door_conn_mechanisms(const struct door_conn *conn)
{
    return conn->fake->mechanisms;
}

const struct settings *door_settings(const struct door_conn *conn)
{
    return &conn->fake->settings;
}

const char *door_hostname(const struct door_conn *conn)
{
    return "mail.example.org";
}

const char *door_session_id(const struct door_conn *conn)
{
    return "s1";
}

struct event_base *door_base(const struct door_conn *conn)
{
    return NULL;
}

bool door_conn_charge(struct door_conn *conn, uint64_t bytes)
{
    if (conn->fake->spool_full) {
        return false;
    }
    conn->fake->charged += bytes;
    return true;
}

void door_conn_uncharge(struct door_conn *conn, uint64_t bytes)
{
    ASSERT(conn->fake->charged >= bytes);
    conn->fake->charged -= bytes;
}

void door_conn_starttls(struct door_conn *conn)
{
    conn->pending = STARTTLS;
}

static void set_response(struct door_conn *conn, struct slice data)
{
    conn->pending = AUTH;
    conn->has_response = data.data != NULL;
    buf_clear(&conn->response);
    buf_add_slice(&conn->response, data);
}

void door_conn_authenticate(struct door_conn *conn, struct slice mechanism, struct slice initial)
{
    buf_clear(&conn->mechanism);
    buf_add_slice(&conn->mechanism, mechanism);
    conn->cancelled = conn->test_challenged = false;
    set_response(conn, initial);
}

void door_conn_authenticate_for(struct door_conn *conn, struct slice client, bool secure,
                                struct slice mechanism, struct slice initial)
{
    ASSERT(client.size > 0);
    door_conn_authenticate(conn, mechanism, initial);
}

void door_conn_auth_response(struct door_conn *conn, struct slice data)
{
    set_response(conn, data.data == NULL ? SLICE_LITERAL("") : data);
}

void door_conn_auth_cancel(struct door_conn *conn)
{
    conn->cancelled = true;
    conn->pending = AUTH;
}

void door_conn_lookup(struct door_conn *conn, struct slice address, uint64_t size,
                      void (*found)(void *state, const struct door_rcpt *rcpt,
                                    enum ipc_delivery_result room))
{
    static const char *const known[] = {"alice", "bob",  "postmaster", "josé",
                                        "late",  "full", "lateful",    "damaged"};
    struct slice domain = address, detail;
    struct slice local = slice_split(&domain, '@');
    detail = local;
    struct slice user = slice_split(&detail, '+');
    conn->rcpt = (struct door_rcpt){.result = IPC_RCPT_UNKNOWN};
    conn->room = IPC_DELIVERY_OK;
    conn->found = found;
    conn->pending = LOOKUP;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (slice_equal_str(user, known[i])) {
            conn->rcpt.result = IPC_RCPT_OK;
            conn->rcpt.account.bytes[0] = (uint8_t)(i + 1);
        }
    }
    if (slice_equal_str(user, "disabled")) {
        conn->rcpt.result = IPC_RCPT_DISABLED;
    } else if (slice_equal_str(user, "busy")) {
        conn->rcpt.result = IPC_RCPT_UNAVAILABLE;
    } else if (slice_equal_str(user, "full")) {
        conn->room = IPC_DELIVERY_OVER_QUOTA;
    } else if (slice_equal_str(user, "damaged")) {
        conn->room = IPC_DELIVERY_DAMAGED;
    }
    snprintf(conn->rcpt.name, sizeof(conn->rcpt.name), "%.*s@%.*s", SLICE_PRINT(user),
             SLICE_PRINT(domain));
    snprintf(conn->rcpt.detail, sizeof(conn->rcpt.detail), "%.*s", SLICE_PRINT(detail));
}

void door_conn_deliver(struct door_conn *conn, const struct door_message *message,
                       const struct door_delivery *deliveries, size_t count,
                       void (*done)(void *state, size_t delivery, enum ipc_delivery_result result))
{
    conn->fd = message->fd;
    if (message->fd < 0) {
        buf_add(&conn->message, message->data, (size_t)message->size);
    }
    conn->size = message->size;
    conn->deliveries = mem_dup(deliveries, count * sizeof(*deliveries));
    conn->count = count;
    conn->done = done;
    conn->pending = DELIVER;
}
