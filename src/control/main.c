/*
 * The process: it holds two kinds of listening sockets and a channel to everybody, and forwards.
 * Who can use the Unix socket is the server's owner or root already, so nothing here is a secret;
 * HTTP strangers can reach at most http_request.c in a process that has no file.
 */
#include <unistd.h>

#include "base/mem.h"
#include "control/control.h"

static void on_listener(void *context, struct ipc_channel *channel, struct ipc_listener *m)
{
    struct control *control = context;
    if (control->pending_count == PENDING_MAX)
        return;
    control->pending[control->pending_count].fd = m->socket;
    control->pending[control->pending_count++].internal = m->internal != 0;
    m->socket = -1;
}

/* Nobody is heard before the sandbox stands. */
static bool begin(void *state, struct error *error)
{
    struct control *control = state;
    for (size_t i = 0; i < control->pending_count; i++) {
        int fd = control->pending[i].fd;
        if (control->pending[i].internal ? !clients_listen(control, fd, error)
                                         : !http_listen(control, fd, error))
            return false;
    }
    return true;
}

static void on_reply(void *context, struct ipc_channel *channel, struct ipc_admin_reply *m)
{
    requests_reply(context, channel, m);
}

/* Routes are for who looks them up; control asks all workers. */
static void on_route(void *context, struct ipc_channel *channel, struct ipc_route *m)
{
}

static void peer_down(void *state, enum ipc_role role, uint32_t index)
{
    requests_peer_down(state, role, index);
}

bool control_healthy(struct control *control)
{
    static const enum ipc_role roles[] = {IPC_AUTH, IPC_WORKER, IPC_DOOR, IPC_TLS, IPC_READER};
    for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
        uint32_t limit = child_peer_limit(control->child, roles[i]);
        if (limit == 0)
            return false;
        for (uint32_t index = 0; index < limit; index++)
            if (child_peer(control->child, roles[i], index) == NULL)
                return false;
    }
    return true;
}

static void *create(struct child *child)
{
    struct control *control = MEM_NEW(struct control);
    control->child = child;
    control->owner = geteuid();
    TAILQ_INIT(&control->requests);
    TAILQ_INIT(&control->clients);
    TAILQ_INIT(&control->http);
    return control;
}

static const struct ipc_handlers handlers = {
    .listener = on_listener, .admin_reply = on_reply, .route = on_route};

static const struct sandbox_profile profile = {"control", SANDBOX_ACCEPT | SANDBOX_SOCKET_OPTIONS};

static const struct child_program program = {
    .name = "control",
    .role = IPC_CONTROL,
    .profile = &profile,
    .handlers = &handlers,
    .create = create,
    .begin = begin,
    .peer_down = peer_down,
};

int main(void)
{
    return child_main(&program);
}
