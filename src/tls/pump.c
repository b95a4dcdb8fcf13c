/*
 * One connection: a TLS socket on one side, one end of a socket pair on the other, two directions
 * that know nothing of each other but the SSL object.
 *
 *   in:  SSL_read -> write to clear      out: read from clear -> SSL_write
 *
 * Back-pressure: a direction reads only when it holds nothing. What the far side did not take
 * (at most one record) is kept until it does; an idle connection holds no buffer at all.
 *
 * Ends: the client's close becomes a shutdown of clear, and out goes on until the session closes
 * its side. The session's close becomes close_notify and a shutdown of the TCP side; then what the
 * client still sends is read and dropped for some seconds, since closing with unread input would
 * send a reset that can overtake our last bytes.
 */
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "io/fd.h"
#include "tls/tls.h"

enum {
    RECORD = 16384,
    ROUNDS = 8, /* records in one go, before other connections get their turn */
    LINGER_S = 5,
    LINGER_DRAIN_S = 1,
    LOGIN_RECORDS = 4, /* a client's first, which are answered one by one */
};

struct held { /* what the far side did not take */
    uint8_t *bytes;
    size_t size, sent;
};

struct pump {
    struct pump_owner *owner;
    void *arg;
    SSL *ssl;
    int net, clear;
    struct event net_read, net_write, clear_read, clear_write, timer;
    struct held in, out;
    bool open;              /* the handshake is done */
    bool in_wants_write;    /* SSL_read or the handshake waits for room in the socket */
    bool out_wants_read;    /* SSL_write waits for input */
    bool in_done, out_done; /* nothing more will go that way */
    bool dead;              /* SSL object must not be used any more */
    uint8_t greeted;        /* records of the client, up to LOGIN_RECORDS */
};

/* One at a time is in use: the loop is single-threaded and nothing here calls back in between. */
static uint8_t record[RECORD];

static void destroy(struct pump *pump)
{
    event_del(&pump->net_read);
    event_del(&pump->net_write);
    event_del(&pump->timer);
    if (pump->clear >= 0) {
        event_del(&pump->clear_read);
        event_del(&pump->clear_write);
    }
    SSL_free(pump->ssl);
    ERR_clear_error();
    fd_close(&pump->net);
    fd_close(&pump->clear);
    free(pump->in.bytes);
    free(pump->out.bytes);
    free(pump);
}

static void hold(struct held *held, const uint8_t *bytes, size_t size)
{
    held->bytes = mem_dup(bytes, size);
    held->size = size;
    held->sent = 0;
}

static void let_go(struct held *held)
{
    free(held->bytes);
    *held = (struct held){0};
}

static void want(struct event *event, bool wanted)
{
    bool pending = event_pending(event, EV_READ | EV_WRITE, NULL) != 0;
    if (wanted && !pending)
        event_add(event, NULL);
    else if (!wanted && pending)
        event_del(event);
}

/* ---- in ------------------------------------------------------------------------------------ */

static void in_ends(struct pump *pump)
{
    pump->in_done = true;
    let_go(&pump->in);
    shutdown(pump->clear, SHUT_WR);
}

/* True when all of it went. */
static bool in_flush(struct pump *pump)
{
    struct held *held = &pump->in;
    while (held->sent < held->size) {
        ssize_t wrote = send(pump->clear, held->bytes + held->sent, held->size - held->sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN)
            return false;
        if (wrote < 0) { /* the session has closed: drop what the client still says */
            let_go(held);
            return true;
        }
        held->sent += (size_t)wrote;
    }
    let_go(held);
    return true;
}

static void in_write(struct pump *pump, size_t size)
{
    ssize_t wrote = send(pump->clear, record, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (wrote < 0 && errno != EAGAIN && errno != EINTR)
        return;
    size_t sent = wrote < 0 ? 0 : (size_t)wrote;
    if (sent < size)
        hold(&pump->in, record + sent, size - sent);
}

/* A client that sends a command in two writes holds the second back until the first is
 * acknowledged (Nagle), and nothing of ours will go out before the second is there. Not so while it
 * logs in: our answer acknowledges, and a packet for each line would be for nothing. */
static void acknowledge(struct pump *pump)
{
    const int on = 1;
    if (pump->greeted < LOGIN_RECORDS)
        pump->greeted++;
    else
        setsockopt(pump->net, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

static void in_move(struct pump *pump)
{
    pump->in_wants_write = false;
    if (pump->in_done || (pump->in.bytes != NULL && !in_flush(pump)))
        return;
    for (int i = 0; i < ROUNDS && pump->in.bytes == NULL; i++) {
        size_t size = 0;
        if (pump->dead) {
            in_ends(pump);
            return;
        }
        ERR_clear_error();
        if (SSL_read_ex(pump->ssl, record, sizeof(record), &size) == 1) {
            in_write(pump, size);
            if (size == sizeof(record) || SSL_has_pending(pump->ssl) || pump->in.bytes != NULL)
                continue;
            acknowledge(pump); /* most likely there is no more: the loop tells when there is */
            return;
        }
        switch (SSL_get_error(pump->ssl, 0)) {
        case SSL_ERROR_WANT_READ:
            return;
        case SSL_ERROR_WANT_WRITE:
            pump->in_wants_write = true;
            return;
        case SSL_ERROR_ZERO_RETURN:
            in_ends(pump);
            return;
        default:
            pump->dead = true;
        }
    }
    if (!pump->in_done && pump->in.bytes == NULL) /* more may lie inside the SSL object */
        event_active(&pump->net_read, EV_READ, 0);
}

/* ---- out ----------------------------------------------------------------------------------- */

static void out_ends(struct pump *pump)
{
    struct timeval linger = {.tv_sec = pump->owner->draining ? LINGER_DRAIN_S : LINGER_S};
    pump->out_done = true;
    let_go(&pump->out);
    if (!pump->dead)
        SSL_shutdown(pump->ssl);
    shutdown(pump->net, SHUT_WR);
    event_add(&pump->timer, &linger);
}

/* Number of bytes taken; 0: not now, or dead. */
static size_t out_write(struct pump *pump, const uint8_t *bytes, size_t size)
{
    size_t sent = 0;
    pump->out_wants_read = false;
    ERR_clear_error();
    if (SSL_write_ex(pump->ssl, bytes, size, &sent) == 1)
        return sent;
    switch (SSL_get_error(pump->ssl, 0)) {
    case SSL_ERROR_WANT_WRITE:
        break;
    case SSL_ERROR_WANT_READ:
        pump->out_wants_read = true;
        break;
    default:
        pump->dead = true;
    }
    return 0;
}

static bool out_flush(struct pump *pump)
{
    struct held *held = &pump->out;
    while (held->sent < held->size) {
        size_t sent = out_write(pump, held->bytes + held->sent, held->size - held->sent);
        if (sent == 0)
            return false;
        held->sent += sent;
    }
    let_go(held);
    return true;
}

static void out_move(struct pump *pump)
{
    if (pump->out_done)
        return;
    for (int i = 0; i < ROUNDS && !pump->dead; i++) {
        if (pump->out.bytes != NULL && !out_flush(pump))
            break;
        ssize_t got = recv(pump->clear, record, sizeof(record), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            out_ends(pump);
            return;
        }
        size_t sent = out_write(pump, record, (size_t)got);
        if (sent < (size_t)got && !pump->dead)
            hold(&pump->out, record + sent, (size_t)got - sent);
        else if ((size_t)got < sizeof(record))
            break;
    }
    if (pump->dead)
        out_ends(pump);
}

/* ---- both ---------------------------------------------------------------------------------- */

static void arrange(struct pump *pump)
{
    bool in_reads = !pump->in_done && pump->in.bytes == NULL;
    bool out_holds = pump->out.bytes != NULL;
    want(&pump->net_read, in_reads || (out_holds && pump->out_wants_read));
    want(&pump->net_write,
         (in_reads && pump->in_wants_write) || (out_holds && !pump->out_wants_read));
    want(&pump->clear_write, pump->in.bytes != NULL);
    want(&pump->clear_read, !pump->out_done && !out_holds);
}

/* After either direction has moved. The pump may be gone behind it. */
static void settle(struct pump *pump)
{
    if (pump->dead && !pump->in_done && pump->in.bytes == NULL)
        in_ends(pump);
    if (pump->in_done && pump->out_done) {
        pump->owner->ended(pump, pump->arg);
        destroy(pump);
        return;
    }
    arrange(pump);
}

static void shake_hands(struct pump *pump);

static void on_net(evutil_socket_t fd, short what, void *arg)
{
    struct pump *pump = arg;
    if (!pump->open) {
        shake_hands(pump);
        return;
    }
    in_move(pump);
    if (pump->out.bytes != NULL || pump->dead)
        out_move(pump);
    settle(pump);
}

static void on_clear(evutil_socket_t fd, short what, void *arg)
{
    struct pump *pump = arg;
    if (pump->in.bytes != NULL)
        in_move(pump);
    out_move(pump);
    settle(pump);
}

/* ---- handshake ----------------------------------------------------------------------------- */

/* RFC 9266 2: label EXPORTER-Channel-Binding, a zero-length context, 32 bytes; with TLS 1.2 only
 * under extended master secret (RFC 9266 4.2). */
static void export_binding(SSL *ssl, struct tls_facts *facts)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    static const unsigned char none[1];
    if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
        return;
    facts->has_exporter = SSL_export_keying_material(ssl, facts->exporter, sizeof(facts->exporter),
                                                     label, sizeof(label) - 1, none, 0, 1) == 1;
}

static void established(struct pump *pump)
{
    int pair[2];
    struct event_base *base = pump->owner->base;
    struct tls_facts facts = {
        .version = slice_str(SSL_get_version(pump->ssl)),
        .cipher = slice_str(SSL_get_cipher_name(pump->ssl)),
        .sni = slice_str(SSL_get_servername(pump->ssl, TLSEXT_NAMETYPE_host_name)),
    };
    event_del(&pump->timer);
    if (!fd_socketpair(SOCK_STREAM, pair)) {
        pump->owner->failed(pump, pump->arg, "no descriptors");
        destroy(pump);
        return;
    }
    export_binding(pump->ssl, &facts);
    pump->open = true;
    pump->clear = pair[0];
    event_assign(&pump->clear_read, base, pump->clear, EV_READ | EV_PERSIST, on_clear, pump);
    event_assign(&pump->clear_write, base, pump->clear, EV_WRITE | EV_PERSIST, on_clear, pump);
    pump->owner->established(pump, pump->arg, &facts, pair[1]);
    if (SSL_has_pending(pump->ssl)) /* the client's first words came with its last record */
        in_move(pump);
    settle(pump);
}

static void shake_hands(struct pump *pump)
{
    char text[160];
    ERR_clear_error();
    int done = SSL_accept(pump->ssl);
    if (done == 1) {
        established(pump);
        return;
    }
    int reason = SSL_get_error(pump->ssl, done);
    want(&pump->net_read, reason == SSL_ERROR_WANT_READ);
    want(&pump->net_write, reason == SSL_ERROR_WANT_WRITE);
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        return;
    if (reason == SSL_ERROR_SSL)
        tls_error_text(text, sizeof(text));
    else
        snprintf(text, sizeof(text), "disconnect");
    pump->owner->failed(pump, pump->arg, text);
    destroy(pump);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct pump *pump = arg;
    if (pump->open)
        pump->owner->ended(pump, pump->arg);
    else
        pump->owner->failed(pump, pump->arg, "timeout");
    destroy(pump);
}

struct pump *pump_create(struct pump_owner *owner, void *arg, SSL_CTX *context, int net,
                         unsigned seconds)
{
    struct timeval limit = {.tv_sec = seconds};
    struct pump *pump = MEM_NEW(struct pump);
    pump->owner = owner;
    pump->arg = arg;
    pump->net = net;
    pump->clear = -1;
    pump->ssl = SSL_new(context);
    ASSERT(pump->ssl != NULL && SSL_set_fd(pump->ssl, net) == 1);
    fd_set_nonblock(net);
    event_assign(&pump->net_read, owner->base, net, EV_READ | EV_PERSIST, on_net, pump);
    event_assign(&pump->net_write, owner->base, net, EV_WRITE | EV_PERSIST, on_net, pump);
    event_assign(&pump->timer, owner->base, -1, 0, on_timer, pump);
    event_add(&pump->timer, &limit);
    event_add(&pump->net_read, NULL);
    return pump;
}

void pump_cancel(struct pump **pump)
{
    if (*pump != NULL) {
        ASSERT(!(*pump)->open);
        destroy(*pump);
    }
    *pump = NULL;
}
