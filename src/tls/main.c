/*
 * The process: doors hand over sockets (tls_start), get back the clear end and what is known of the
 * connection, and are out of the path. Handshakes in work are kept by door and its number, so that
 * a door can cancel, and those of a door that died are given up; an established connection belongs
 * to nobody but its two ends.
 */
#include <bsd/sys/tree.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "ipc/child.h"
#include "tls/tls.h"

struct handshake {
    RB_ENTRY(handshake) entry;
    struct tls *tls;
    uint32_t door;
    uint64_t conn;
    char client[65];
    struct pump *pump;
};

RB_HEAD(handshakes, handshake);

struct tls {
    struct child *child;
    struct pump_owner owner;
    SSL_CTX *context; /* NULL until the first certificate */
    struct handshakes handshakes;
    size_t pumps; /* in any state */
};

static int compare(const struct handshake *a, const struct handshake *b)
{
    if (a->door != b->door)
        return a->door < b->door ? -1 : 1;
    return a->conn < b->conn ? -1 : a->conn > b->conn;
}

RB_PROTOTYPE(handshakes, handshake, entry, compare)
RB_GENERATE(handshakes, handshake, entry, compare)

static void pump_gone(struct tls *tls)
{
    tls->pumps--;
    child_tidy(tls->child);
    if (child_draining(tls->child) && tls->pumps == 0)
        child_finish(tls->child);
}

static void forget(struct handshake *handshake)
{
    RB_REMOVE(handshakes, &handshake->tls->handshakes, handshake);
    child_tidy(handshake->tls->child); /* done or not, OpenSSL gives back the buffers of it */
    free(handshake);
}

/* ---- what a connection tells --------------------------------------------------------------- */

static void on_established(struct pump *pump, void *arg, const struct tls_facts *facts, int clear)
{
    struct handshake *handshake = arg;
    struct tls *tls = handshake->tls;
    struct ipc_channel *door = child_peer(tls->child, IPC_DOOR, handshake->door);
    struct slice exporter =
        facts->has_exporter ? slice_make(facts->exporter, sizeof(facts->exporter)) : SLICE_NONE;
    counter_add(COUNTER_tls_handshakes, 1);
    counter_add(COUNTER_tls_connections, 1);
    if (door != NULL)
        ipc_send_tls_established(
            door, &(struct ipc_tls_established){.conn = handshake->conn,
                                                .version = slice_sub(facts->version, 0, 16),
                                                .cipher = slice_sub(facts->cipher, 0, 64),
                                                .sni = slice_sub(facts->sni, 0, 256),
                                                .exporter = exporter,
                                                .clear = clear});
    fd_close(&clear);
    forget(handshake);
}

static void on_failed(struct pump *pump, void *arg, const char *reason)
{
    struct handshake *handshake = arg;
    struct tls *tls = handshake->tls;
    struct ipc_channel *door = child_peer(tls->child, IPC_DOOR, handshake->door);
    counter_add(COUNTER_tls_failed, 1);
    log_info("tls_fail", "rip=%s reason=%s", log_value(slice_str(handshake->client)).text,
             log_value(slice_str(reason)).text);
    if (door != NULL)
        ipc_send_tls_failed(
            door, &(struct ipc_tls_failed){.conn = handshake->conn, .reason = slice_str(reason)});
    forget(handshake);
    pump_gone(tls);
}

/* arg is the handshake, which is gone; there is one tls in the process. */
static struct tls *the_tls;

static void on_ended(struct pump *pump, void *arg)
{
    counter_add(COUNTER_tls_connections, -1);
    pump_gone(the_tls);
}

/* ---- what others say ----------------------------------------------------------------------- */

static void on_start(void *context, struct ipc_channel *channel, struct ipc_tls_start *m)
{
    struct tls *tls = context;
    struct handshake *handshake = MEM_NEW(struct handshake);
    handshake->tls = tls;
    handshake->door = ipc_peer_index(channel);
    handshake->conn = m->conn;
    snprintf(handshake->client, sizeof(handshake->client), "%.*s", SLICE_PRINT(m->client));
    if (tls->context == NULL || RB_INSERT(handshakes, &tls->handshakes, handshake) != NULL) {
        ipc_send_tls_failed(
            channel,
            &(struct ipc_tls_failed){
                .conn = m->conn,
                .reason = slice_str(tls->context == NULL ? "no certificate" : "number in use")});
        free(handshake);
        return;
    }
    tls->pumps++;
    handshake->pump = pump_create(&tls->owner, handshake, tls->context, m->socket,
                                  (unsigned)child_settings(tls->child)->timeout_login);
    m->socket = -1;
}

static void cancel(struct handshake *handshake)
{
    struct tls *tls = handshake->tls;
    pump_cancel(&handshake->pump);
    forget(handshake);
    pump_gone(tls);
}

static void on_cancel(void *context, struct ipc_channel *channel, struct ipc_tls_cancel *m)
{
    struct tls *tls = context;
    struct handshake key = {.door = ipc_peer_index(channel), .conn = m->conn};
    struct handshake *handshake = RB_FIND(handshakes, &tls->handshakes, &key);
    if (handshake != NULL) /* else it was established meanwhile; the door closes the clear end */
        cancel(handshake);
}

static void peer_down(void *state, enum ipc_role role, uint32_t index)
{
    struct tls *tls = state;
    struct handshake *handshake, *next;
    if (role != IPC_DOOR)
        return;
    for (handshake = RB_MIN(handshakes, &tls->handshakes); handshake != NULL; handshake = next) {
        next = RB_NEXT(handshakes, &tls->handshakes, handshake);
        if (handshake->door == index)
            cancel(handshake);
    }
}

static void on_certificate(void *context, struct ipc_channel *channel, struct ipc_certificate *m)
{
    struct tls *tls = context;
    struct error error = {""};
    SSL_CTX *fresh = tls_context_create(m->chain, m->key, &error);
    if (fresh == NULL) {
        log_error("certificate_refused", "reason=%s", log_value(slice_str(error.text)).text);
        return;
    }
    SSL_CTX_free(tls->context); /* connections made with it keep it alive */
    tls->context = fresh;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void *create(struct child *child)
{
    struct tls *tls = MEM_NEW(struct tls);
    the_tls = tls;
    tls->child = child;
    tls->owner = (struct pump_owner){.base = child_base(child),
                                     .established = on_established,
                                     .failed = on_failed,
                                     .ended = on_ended};
    RB_INIT(&tls->handshakes);
    OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS,
                     NULL); /* reads openssl.cnf: before the sandbox */
    return tls;
}

static void drain(void *state)
{
    struct tls *tls = state;
    tls->owner.draining = true;
    if (tls->pumps == 0)
        child_finish(tls->child);
}

static void status(void *state, struct buf *json)
{
    const struct tls *tls = state;
    buf_printf(json, ",\"connections\":%zu", tls->pumps);
}

static const struct ipc_handlers handlers = {
    .tls_start = on_start, .tls_cancel = on_cancel, .certificate = on_certificate};

/* A socket pair for each connection, and shutdown() of its ends. No file, no new network socket. */
static const struct sandbox_profile profile = {"tls", SANDBOX_SOCKETPAIR | SANDBOX_SOCKET_OPTIONS};

static const struct child_program program = {
    .name = "tls",
    .role = IPC_TLS,
    .profile = &profile,
    .handlers = &handlers,
    .create = create,
    .peer_down = peer_down,
    .drain = drain,
    .status = status,
};

int main(int count, char **values)
{
    if (count > 1 && strcmp(values[1], "check") == 0)
        return tls_certificate_check();
    if (count > 1 && strcmp(values[1], "make") == 0)
        return tls_certificate_make();
    return child_main(&program);
}
