/*
 * The door as a process: what it gets from the others and hands to its parts, what it gives up, and
 * its end. The place to see what a door can hear and do.
 */
#include "door/door.h"

#include <stdio.h>
#include <unistd.h>

#include "base/id.h"
#include "base/mem.h"
#include "door/door_priv.h"

static void on_listener(void *context, struct ipc_channel *channel, struct ipc_listener *message)
{
    if (message->protocol <= IPC_LMTP || message->protocol == IPC_SASL) {
        door_listener_add(context, message);
    }
}

static void on_tls_established(void *context, struct ipc_channel *channel,
                               struct ipc_tls_established *message)
{
    starttls_established(context, ipc_peer_index(channel), message);
}

static void on_tls_failed(void *context, struct ipc_channel *channel,
                          struct ipc_tls_failed *message)
{
    starttls_failed(context, ipc_peer_index(channel), message);
}

static void on_auth_challenge(void *context, struct ipc_channel *channel,
                              struct ipc_auth_challenge *message)
{
    login_challenge(context, message);
}

static void on_auth_done(void *context, struct ipc_channel *channel, struct ipc_auth_done *message)
{
    login_done(context, message);
}

static void on_auth_mechanisms(void *context, struct ipc_channel *channel,
                               struct ipc_auth_mechanisms *message)
{
    struct door *door = context;
    struct slice rest = message->secure;
    size_t used = 0;
    snprintf(door->mechanisms_secure, sizeof(door->mechanisms_secure), "%.*s",
             SLICE_PRINT(message->secure));
    snprintf(door->mechanisms_clear, sizeof(door->mechanisms_clear), "%.*s",
             SLICE_PRINT(message->clear));
    door->mechanisms_local[0] = '\0';
    while (rest.size > 0) {
        struct slice word = slice_split(&rest, ' ');
        bool binds = word.size > 5 && slice_equal_str(slice_sub(word, word.size - 5, 5), "-PLUS");
        if (!binds) { /* there is no channel to bind to */
            used += (size_t)snprintf(door->mechanisms_local + used,
                                     sizeof(door->mechanisms_local) - used, "%s%.*s",
                                     used > 0 ? " " : "", SLICE_PRINT(word));
        }
    }
    /* A greeting says who may log in how: none before auth has said it. Clients wait in the
     * kernel's queue meanwhile. */
    if (!door->listening) {
        door_listeners_begin(door);
    }
    door->listening = true;
}

static void on_rcpt_found(void *context, struct ipc_channel *channel,
                          struct ipc_rcpt_found *message)
{
    delivery_found(context, message);
}

static void on_rcpt_checked(void *context, struct ipc_channel *channel,
                            struct ipc_rcpt_checked *message)
{
    delivery_checked(context, ipc_peer_index(channel), message);
}

static void on_delivered(void *context, struct ipc_channel *channel, struct ipc_delivered *message)
{
    delivery_delivered(context, ipc_peer_index(channel), message);
}

static const struct ipc_handlers handlers = {
    .listener = on_listener,
    .tls_established = on_tls_established,
    .tls_failed = on_tls_failed,
    .auth_challenge = on_auth_challenge,
    .auth_done = on_auth_done,
    .auth_mechanisms = on_auth_mechanisms,
    .rcpt_found = on_rcpt_found,
    .rcpt_checked = on_rcpt_checked,
    .delivered = on_delivered,
};

static void *create(struct child *child)
{
    struct door *door = MEM_NEW(struct door);
    door->child = child;
    SLIST_INIT(&door->listeners);
    RB_INIT(&door->conns);
    RB_INIT(&door->addresses);
    RB_INIT(&door->deliveries);
    TAILQ_INIT(&door->kicked);
    event_assign(&door->kick, child_base(child), -1, 0, door_kicked, door);
    /* Never those of a door that was here before: somebody may still speak of its connections. */
    id_random_bytes(&door->next_id, sizeof(door->next_id));
    id_random_bytes(&door->next_delivery, sizeof(door->next_delivery));
    if (gethostname(door->hostname, sizeof(door->hostname) - 1) != 0 || door->hostname[0] == '\0') {
        snprintf(door->hostname, sizeof(door->hostname), "localhost");
    }
    return door;
}

static void peer_down(void *state, enum ipc_role role, uint32_t index)
{
    switch (role) {
    case IPC_TLS:
        starttls_peer_down(state, index);
        break;
    case IPC_AUTH:
        login_auth_down(state);
        delivery_auth_down(state);
        break;
    case IPC_WORKER:
        delivery_worker_down(state, index);
        break;
    default:
        break;
    }
}

/* Those who wait for a delivery get its answer first; see conn_run(). */
static void drain(void *state)
{
    struct door *door = state;
    struct door_conn *conn, *next;
    door->draining = true;
    door_listeners_close(door);
    RB_FOREACH_SAFE (conn, conn_tree, &door->conns, next) {
        if (conn->phase == CONN_HANDSHAKE) {
            conn_end(conn, "shutdown");
        } else {
            conn_kick(conn);
        }
    }
    if (door->connections == 0) {
        child_finish(door->child);
    }
}

static void status(void *state, struct buf *json)
{
    const struct door *door = state;
    uint64_t counts[IPC_SASL + 1] = {0}, waiting = 0;
    struct door_conn *conn;
    struct conn_tree *conns = &((struct door *)state)->conns;
    RB_FOREACH (conn, conn_tree, conns) {
        counts[conn->protocol->protocol]++;
        waiting += conn->waiting;
    }
    buf_printf(json,
               ",\"connections\":%llu,\"imap\":%llu,\"pop3\":%llu,\"lmtp\":%llu,\"auth\":%llu,"
               "\"waiting\":%llu,"
               "\"spool_bytes\":%llu",
               (unsigned long long)door->connections, (unsigned long long)counts[IPC_IMAP],
               (unsigned long long)counts[IPC_POP3], (unsigned long long)counts[IPC_LMTP],
               (unsigned long long)counts[IPC_SASL], (unsigned long long)waiting,
               (unsigned long long)door->charged);
}

/*
 * What a broken door keeps: the sockets of those who are not logged in. No files, no new sockets,
 * no other process.
 */
static const struct sandbox_profile profile = {
    .process = "door",
    .allow = SANDBOX_ACCEPT | SANDBOX_MEMFD | SANDBOX_SOCKET_OPTIONS,
};

int main(void)
{
    static const struct child_program program = {
        .name = "door",
        .role = IPC_DOOR,
        .profile = &profile,
        .handlers = &handlers,
        .create = create,
        .peer_down = peer_down,
        .drain = drain,
        .status = status,
    };
    return child_main(&program);
}
