/*
 * TLS, from the first byte or after STARTTLS, is the tls process's work: it gets the socket and
 * gives back a clear-text one with the facts. Nothing that came in clear text behind STARTTLS is
 * ever read as if it had come through TLS (RFC 9051 11.1, RFC 3207 6): the connection ends.
 */
#include <event2/buffer.h>

#include "base/log.h"
#include "door/door_priv.h"
#include "io/fd.h"

bool starttls_available(const struct door *door)
{
    for (uint32_t i = 0; i < child_peer_limit(door->child, IPC_TLS); i++) {
        if (child_peer(door->child, IPC_TLS, i) != NULL) {
            return true;
        }
    }
    return false;
}

void door_conn_starttls(struct door_conn *conn)
{
    conn->phase = CONN_STARTTLS;
}

void starttls_pass(struct door_conn *conn)
{
    struct ipc_channel *tls = child_peer_next(conn->door->child, IPC_TLS);
    if (conn->input != NULL && evbuffer_get_length(conn->input) > 0) {
        conn_end(conn, "starttls_injection");
        return;
    }
    if (tls == NULL) {
        conn_end(conn, "tls_unavailable");
        return;
    }
    conn_detach(conn);
    struct ipc_tls_start start = {
        .conn = conn->id, .client = slice_str(conn->client), .socket = conn->fd};
    bool sent = ipc_send_tls_start(tls, &start);
    fd_close(&conn->fd);
    if (!sent) {
        conn_end(conn, "tls_unavailable");
        return;
    }
    conn->tls_index = ipc_peer_index(tls);
    conn->after_starttls = conn->state != NULL;
    conn->phase = CONN_HANDSHAKE;
}

void starttls_cancel(struct door_conn *conn)
{
    struct ipc_channel *tls = child_peer(conn->door->child, IPC_TLS, conn->tls_index);
    if (tls != NULL) {
        ipc_send_tls_cancel(tls, &(struct ipc_tls_cancel){.conn = conn->id});
    }
}

void starttls_established(struct door *door, uint32_t index, struct ipc_tls_established *message)
{
    struct door_conn *conn = conn_find(door, message->conn);
    if (conn == NULL || conn->phase != CONN_HANDSHAKE || conn->tls_index != index ||
        !fd_is_stream(message->clear)) {
        return; /* it ended meanwhile; the descriptor is closed behind us */
    }
    int fd = message->clear;
    message->clear = -1;
    fd_set_nonblock(fd);
    conn->tls = true;
    conn->exporter_size = message->exporter.size;
    memcpy(conn->exporter, message->exporter.data, message->exporter.size);
    log_debug("tls", "version=%s cipher=%s id=%s", log_value(message->version).text,
              log_value(message->cipher).text, conn->session);
    conn_attach(conn, fd);
    conn_begin(conn);
}

static void failed(struct door_conn *conn, const char *reason)
{
    conn->phase = CONN_CLOSING; /* tls knows it already: nothing to cancel */
    conn_end(conn, reason);
}

void starttls_failed(struct door *door, uint32_t index, const struct ipc_tls_failed *message)
{
    struct door_conn *conn = conn_find(door, message->conn);
    if (conn != NULL && conn->phase == CONN_HANDSHAKE && conn->tls_index == index) {
        log_info("tls_failed", "rip=%s reason=%s id=%s", conn->client,
                 log_value(message->reason).text, conn->session);
        failed(conn, "tls_failed");
    }
}

void starttls_peer_down(struct door *door, uint32_t index)
{
    struct door_conn *conn, *next;
    RB_FOREACH_SAFE (conn, conn_tree, &door->conns, next) {
        if (conn->phase == CONN_HANDSHAKE && conn->tls_index == index) {
            failed(conn, "tls_unavailable");
        }
    }
}
