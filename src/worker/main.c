/*
 * restante-worker: owns volumes and everything that happens to the accounts on them: sessions after
 * login, deliveries, housekeeping. All in one loop, without locks; the disk is touched by the
 * store's threads. It knows no TLS, no password and no protocol before login.
 *
 * What a broken worker keeps: its volumes' directories and the sockets of its sessions. No other
 * file, no network, no other process.
 */
#include <stdlib.h>

#include "base/id.h"
#include "base/mem.h"
#include "worker/worker_priv.h"

static const struct sandbox_profile profile = {
    .process = "worker",
    .allow = SANDBOX_FILES | SANDBOX_THREADS | SANDBOX_MEMFD | SANDBOX_SOCKET_OPTIONS,
};

/* ---- messages ------------------------------------------------------------------------------ */

static void on_volume(void *context, struct ipc_channel *channel, struct ipc_volume *message)
{
    volumes_add(context, message);
}

static void on_ticket(void *context, struct ipc_channel *channel, struct ipc_ticket *message)
{
    tickets_add(context, message);
}

static void on_handover(void *context, struct ipc_channel *channel, struct ipc_handover *message)
{
    bool control = ipc_peer_role(channel) == IPC_CONTROL;
    tickets_handover(context, control ? IPC_TICKET_CONTROL : ipc_peer_index(channel), message);
}

static void on_end_sessions(void *context, struct ipc_channel *channel,
                            struct ipc_end_sessions *message)
{
    char *reason = slice_strdup(message->reason);
    tickets_revoke(context, message->account); /* proven of what no longer holds */
    sessions_end_account(context, message->account, reason);
    free(reason);
}

static void on_rcpt_check(void *context, struct ipc_channel *channel,
                          struct ipc_rcpt_check *message)
{
    deliver_check(context, ipc_peer_index(channel), message);
}

static void on_deliver_rcpt(void *context, struct ipc_channel *channel,
                            struct ipc_deliver_rcpt *message)
{
    deliver_rcpt(context, ipc_peer_index(channel), message);
}

static void on_deliver(void *context, struct ipc_channel *channel, struct ipc_deliver *message)
{
    deliver_message(context, ipc_peer_index(channel), message);
}

static void on_deliver_short(void *context, struct ipc_channel *channel,
                             struct ipc_deliver_short *message)
{
    deliver_short(context, ipc_peer_index(channel), message);
}

static void on_summary(void *context, struct ipc_channel *channel, struct ipc_summary *message)
{
    readers_summary(context, ipc_peer_index(channel), message);
}

static void on_found(void *context, struct ipc_channel *channel, struct ipc_found *message)
{
    readers_found(context, ipc_peer_index(channel), message);
}

static void on_purge(void *context, struct ipc_channel *channel, struct ipc_purge *message)
{
    deliver_purge(context, message);
}

static const struct ipc_handlers handlers = {
    .volume = on_volume,
    .ticket = on_ticket,
    .handover = on_handover,
    .end_sessions = on_end_sessions,
    .rcpt_check = on_rcpt_check,
    .deliver_rcpt = on_deliver_rcpt,
    .deliver = on_deliver,
    .deliver_short = on_deliver_short,
    .summary = on_summary,
    .found = on_found,
    .purge = on_purge,
};

/* ---- life ---------------------------------------------------------------------------------- */

static void *create(struct child *child)
{
    struct worker *worker = MEM_NEW(struct worker);
    worker->child = child;
    RB_INIT(&worker->deliveries);
    /* Never those of a worker that was here before: a reader may still speak of its messages. */
    id_random_bytes(&worker->next_request, sizeof(worker->next_request));
    volumes_init(worker);
    tickets_init(worker);
    sessions_init(worker);
    readers_init(worker);
    return worker;
}

static bool warm_up(void *state, struct sandbox_options *options, struct error *error)
{
    struct worker *worker = state;
    options->directories = worker->directories;
    return true;
}

static bool begin(void *state, struct error *error)
{
    struct worker *worker = state;
    const struct settings *settings = child_settings(worker->child);
    struct mailbox_options options = {
        .base = child_base(worker->child),
        .volume = volumes_store,
        .summarize = readers_summarize,
        .arg = worker,
        .grace_s = (uint32_t)settings->store_grace,
        .mailboxes_max = (uint32_t)settings->limit_mailboxes,
    };
    volumes_open(worker);
    worker->env = mailbox_env_create(&options);
    worker->host.mailboxes = worker->env;
    return true;
}

static void peer_up(void *state, struct ipc_channel *peer)
{
    if (ipc_peer_role(peer) == IPC_READER) {
        readers_up(state);
    }
}

static void peer_down(void *state, enum ipc_role role, uint32_t index)
{
    if (role == IPC_READER) {
        readers_down(state, index);
    } else if (role == IPC_DOOR) {
        deliver_door_down(state, index);
    }
}

static void on_settled(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    deliver_finish(worker);
    tickets_finish(worker);
    readers_finish(worker);
    sessions_finish(worker);
    mailbox_env_destroy(&worker->env);
    volumes_close(worker);
    child_finish(worker->child);
}

void worker_settle(struct worker *worker)
{
    static const struct timeval now = {0};
    if (!child_draining(worker->child) || worker->finished || worker->session_count > 0 ||
        worker->busy > 0) {
        return;
    }
    worker->finished = true;
    /* From the loop: whoever has just ended may still be on the stack. */
    event_base_once(child_base(worker->child), -1, EV_TIMEOUT, on_settled, worker, &now);
}

static void drain(void *state)
{
    sessions_end_all(state);
    worker_settle(state);
}

int main(void)
{
    static const struct child_program program = {
        .name = "worker",
        .role = IPC_WORKER,
        .profile = &profile,
        .handlers = &handlers,
        .create = create,
        .warm_up = warm_up,
        .begin = begin,
        .peer_up = peer_up,
        .peer_down = peer_down,
        .drain = drain,
        .status = admin_status,
        .verb = admin_verb,
    };
    return child_main(&program);
}
