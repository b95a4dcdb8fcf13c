/*
 * Login: the door carries SASL's messages between protocol and auth, and after success passes the
 * connection to the worker that auth named. Auth has sent the worker a ticket by then; what the
 * door says of an account would not be believed.
 */
#include <event2/buffer.h>
#include <string.h>

#include "base/mem.h"
#include "door/door_priv.h"
#include "io/fd.h"

static struct ipc_channel *auth_of(const struct door_conn *conn)
{
    return child_peer(conn->door->child, IPC_AUTH, 0);
}

/* Answered from the loop, as auth itself would be. */
static void unavailable(struct door_conn *conn)
{
    conn->auth_away = true;
    conn_kick(conn);
}

void login_away(struct door_conn *conn)
{
    conn->auth_away = false;
    if (conn->wait == WAIT_AUTH) {
        conn->wait = WAIT_NOTHING;
        conn->protocol->auth_failed(conn->state, IPC_AUTH_UNAVAILABLE);
    }
}

void door_conn_authenticate(struct door_conn *conn, struct slice mechanism, struct slice initial)
{
    door_conn_authenticate_for(conn, slice_str(conn->client), conn->tls, mechanism, initial);
}

void door_conn_authenticate_for(struct door_conn *conn, struct slice client, bool secure,
                                struct slice mechanism, struct slice initial)
{
    struct ipc_channel *auth = auth_of(conn);
    struct ipc_auth_start start = {
        .conn = conn->id,
        .protocol = (uint32_t)conn->protocol->protocol,
        .secure = secure,
        .client = client,
        .exporter = slice_make(conn->exporter, conn->exporter_size),
        .mechanism = mechanism.size > 32 ? SLICE_LITERAL("?") : mechanism,
        .has_initial = initial.data != NULL,
        .initial = initial,
    };
    conn->wait = WAIT_AUTH;
    conn->exchange = auth != NULL && ipc_send_auth_start(auth, &start);
    if (!conn->exchange) {
        unavailable(conn);
    }
}

void door_conn_auth_response(struct door_conn *conn, struct slice data)
{
    struct ipc_auth_response response = {.conn = conn->id, .data = data};
    conn->wait = WAIT_AUTH;
    /* Without an exchange: auth has died since its challenge, and a new one knows of nothing. */
    if (!conn->exchange || !ipc_send_auth_response(auth_of(conn), &response)) {
        unavailable(conn);
    }
}

void door_conn_auth_cancel(struct door_conn *conn)
{
    conn->wait = WAIT_AUTH;
    if (!conn->exchange ||
        !ipc_send_auth_cancel(auth_of(conn), &(struct ipc_auth_cancel){.conn = conn->id})) {
        unavailable(conn);
    }
}

void login_cancel(struct door_conn *conn)
{
    conn->wait = WAIT_NOTHING;
    conn->exchange = false;
    ipc_send_auth_cancel(auth_of(conn), &(struct ipc_auth_cancel){.conn = conn->id});
}

void login_auth_down(struct door *door)
{
    struct door_conn *conn;
    RB_FOREACH (conn, conn_tree, &door->conns) {
        conn->exchange = false;
        if (conn->wait == WAIT_AUTH) {
            unavailable(conn);
        }
    }
}

void login_challenge(struct door *door, const struct ipc_auth_challenge *message)
{
    struct door_conn *conn = conn_find(door, message->conn);
    if (conn != NULL && conn->wait == WAIT_AUTH && conn->phase == CONN_TALK) {
        conn->protocol->challenge(conn->state, message->data);
    }
}

void login_done(struct door *door, const struct ipc_auth_done *message)
{
    struct door_conn *conn = conn_find(door, message->conn);
    if (conn == NULL || conn->wait != WAIT_AUTH || conn->phase != CONN_TALK) {
        return;
    }
    conn->wait = WAIT_NOTHING;
    conn->exchange = false;
    if (message->result != IPC_AUTH_OK) {
        conn->protocol->auth_failed(conn->state, message->result <= IPC_AUTH_CANCELLED
                                                     ? (enum ipc_auth_result)message->result
                                                     : IPC_AUTH_UNAVAILABLE);
        return;
    }
    if (conn->protocol->verified != NULL) {
        conn->protocol->verified(conn->state, message->final);
        return;
    }
    if (child_peer(door->child, IPC_WORKER, message->worker) == NULL) {
        conn->protocol->auth_failed(conn->state, IPC_AUTH_UNAVAILABLE);
        return;
    }
    conn->worker = message->worker;
    buf_clear(&conn->final);
    buf_add_slice(&conn->final, message->final);
    conn->phase = CONN_LEAVING;
    conn_kick(conn);
}

void login_hand_over(struct door_conn *conn)
{
    struct ipc_channel *worker = child_peer(conn->door->child, IPC_WORKER, conn->worker);
    if (worker == NULL) { /* it died in this very moment: the protocol can still say so */
        conn->phase = CONN_TALK;
        conn->protocol->auth_failed(conn->state, IPC_AUTH_UNAVAILABLE);
        return;
    }
    struct ipc_handover handover = {
        .conn = conn->id,
        .protocol = (uint32_t)conn->protocol->protocol,
        .final = buf_slice(&conn->final),
        .socket = conn->fd,
    };
    if (conn->input != NULL) {
        handover.readahead =
            slice_make(evbuffer_pullup(conn->input, -1), evbuffer_get_length(conn->input));
    }
    conn->protocol->logged_in(conn->state, &handover.tag);
    conn_detach(conn);
    if (ipc_send_handover(worker, &handover)) {
        conn_leave(conn);
    } else {
        conn_end(conn, "worker_unavailable");
    }
}
