/*
 * The Unix socket of `restante`: one JSON object on a line asks, JSON values on lines answer, and
 * the server closes. Who may: root, and who runs the server (the kernel says who the peer is).
 * doc/control.md lists the verbs; here is only where each goes.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "control/control.h"
#include "io/fd.h"

enum {
    CLIENTS_MAX = 64,
    LINE_MAX_BYTES = 8 * 1024 * 1024, /* an import of accounts */
    REQUEST_S = 3600,                 /* a check of a large store */
    TICKET_S = 30,
    IDLE_S = 60, /* until the request has come */
};

struct client {
    TAILQ_ENTRY(client) next;
    struct control *control;
    struct bufferevent *stream;
    struct request *request;
    unsigned gathering; /* an answer will come for which this must still be here */
    uint64_t conn;      /* of the ticket that auth is asked for; 0: none */
    bool handed;        /* the socket is a worker's now */
    bool ended;
};

static void destroy(struct client *client)
{
    client->ended = true;
    request_cancel(&client->request);
    if (client->stream != NULL)
        bufferevent_free(client->stream);
    client->stream = NULL;
    if (client->gathering > 0)
        return;
    TAILQ_REMOVE(&client->control->clients, client, next);
    client->control->client_count--;
    free(client);
}

static void on_written(struct bufferevent *stream, void *arg)
{
    destroy(arg);
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    destroy(arg);
}

/* What is queued goes out, then it closes. */
static void close_when_written(struct client *client)
{
    if (evbuffer_get_length(bufferevent_get_output(client->stream)) == 0) {
        destroy(client);
        return;
    }
    bufferevent_setcb(client->stream, NULL, on_written, on_event, client);
    bufferevent_enable(client->stream, EV_WRITE);
}

static void write_line(struct client *client, struct slice text)
{
    bufferevent_write(client->stream, text.data, text.size);
    bufferevent_write(client->stream, "\n", 1);
}

static void refuse(struct client *client, const char *text)
{
    struct buf json = {0};
    buf_add_str(&json, "{\"error\":");
    buf_json_string(&json, slice_str(text));
    buf_add_str(&json, "}");
    write_line(client, buf_slice(&json));
    buf_finish(&json);
    close_when_written(client);
}

static void on_answer(void *arg, enum ipc_role role, uint32_t index, bool ok, bool more,
                      struct slice json)
{
    struct client *client = arg;
    write_line(client, json);
}

static void on_done(void *arg, unsigned missing)
{
    struct client *client = arg;
    client->request = NULL;
    if (missing > 0)
        refuse(client, "a process that should answer is down; see the log");
    else
        close_when_written(client);
}

static void on_gathered(void *arg, struct slice text)
{
    struct client *client = arg;
    client->gathering--;
    if (client->ended) {
        destroy(client);
        return;
    }
    write_line(client, text);
    close_when_written(client);
}

static const struct request_calls calls = {on_answer, on_done};

/* ---- move: the connection itself goes to the worker that owns the account ----------------------
 */

/* The program has read nothing and sent nothing yet: it waits for this line. */
static bool hand_over(struct client *client, uint32_t index, struct slice json)
{
    int fd = bufferevent_getfd(client->stream);
    struct ipc_channel *worker = child_peer(client->control->child, IPC_WORKER, index);
    struct buf line = {0};
    if (worker == NULL)
        return false;
    buf_add_slice(&line, json);
    buf_u8(&line, '\n');
    ssize_t sent = send(fd, line.data, line.size, MSG_NOSIGNAL);
    bool good = sent == (ssize_t)line.size;
    buf_finish(&line);
    return good &&
           ipc_send_handover(worker, &(struct ipc_handover){
                                         .conn = client->conn, .protocol = IPC_MOVE, .socket = fd});
}

static void on_ticket(void *arg, enum ipc_role role, uint32_t index, bool ok, bool more,
                      struct slice json)
{
    struct client *client = arg;
    json_t *object = json_loadb((const char *)json.data, json.size, 0, NULL);
    const json_t *worker = json_object_get(object, "worker");
    if (!ok)
        write_line(client, json);
    else if (json_is_integer(worker))
        client->handed = hand_over(client, (uint32_t)json_integer_value(worker), json);
    json_decref(object);
    if (ok && !client->handed)
        write_line(client, SLICE_LITERAL("{\"error\":\"the process that holds this account's mail "
                                         "is not up; try again\"}"));
}

static const struct request_calls move_calls = {on_ticket, on_done};

/* {"verb":"move","name":ACCOUNT}: the answer is a line, then src/move/wire.h with the worker. */
static void move(struct client *client, const json_t *object)
{
    json_t *ask = json_pack("{s:O,s:I}", "name", json_object_get(object, "name"), "conn",
                            (json_int_t)++client->control->next_conn);
    char *text = ask == NULL ? NULL : json_dumps(ask, JSON_COMPACT);
    json_decref(ask);
    if (text == NULL) {
        refuse(client, "the request needs the name of an account");
        return;
    }
    client->conn = client->control->next_conn;
    client->gathering++; /* done may run inside */
    struct request *request =
        request_create_one(client->control, IPC_AUTH, 0, SLICE_LITERAL("account-ticket"),
                           slice_str(text), TICKET_S, &move_calls, client);
    client->gathering--;
    free(text);
    if (client->ended)
        destroy(client);
    else
        client->request = request;
}

/* Where a verb goes. A verb of all workers is answered by each, on its own line. */
static const struct {
    const char *prefix;
    unsigned roles;
} routes[] = {
    {"account-", IPC_AUTH}, {"reload", IPC_MASTER},   {"check", IPC_WORKER},
    {"store-", IPC_WORKER}, {"session-", IPC_WORKER},
};

static const unsigned all_roles =
    IPC_MASTER | IPC_AUTH | IPC_WORKER | IPC_DOOR | IPC_TLS | IPC_READER;

static unsigned roles_of(struct slice verb)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++)
        if (slice_starts(verb, slice_str(routes[i].prefix)))
            return routes[i].roles;
    return 0;
}

/* "to":"worker","index":0 sends any verb to one process: for tests and for those who look closer.
 */
static unsigned role_named(const char *name)
{
    for (unsigned role = IPC_MASTER; role < IPC_ANY_ROLE; role *= 2)
        if (strcmp(name, ipc_role_name((enum ipc_role)role)) == 0)
            return role & all_roles;
    return 0;
}

static bool probe_self(struct client *client, const json_t *object, struct slice verb)
{
    const char *to = json_string_value(json_object_get(object, "to"));
    struct buf json = {0};
    if (to == NULL || strcmp(to, "control") != 0 || !slice_equal_str(verb, "sandbox-probe"))
        return false;
    buf_add_str(&json, "{\"open\":");
    buf_json_string(&json, slice_str(sandbox_probe()));
    buf_add_str(&json, "}");
    write_line(client, buf_slice(&json));
    buf_finish(&json);
    close_when_written(client);
    return true;
}

static void forward(struct client *client, const json_t *object, struct slice verb,
                    struct slice line)
{
    struct control *control = client->control;
    const char *to = json_string_value(json_object_get(object, "to"));
    unsigned roles = to != NULL ? role_named(to) : roles_of(verb);
    const json_t *index = json_object_get(object, "index");
    struct request *request;
    if (probe_self(client, object, verb))
        return;
    if (roles == 0) {
        refuse(client, "there is no such verb; see doc/control.md");
        return;
    }
    client->gathering++; /* done may run inside */
    if (json_is_integer(index))
        request =
            request_create_one(control, (enum ipc_role)roles, (uint32_t)json_integer_value(index),
                               verb, line, REQUEST_S, &calls, client);
    else
        request = request_create(control, roles, verb, line, REQUEST_S, &calls, client);
    client->gathering--;
    if (client->ended)
        destroy(client);
    else
        client->request = request;
}

static void handle(struct client *client, struct slice line)
{
    json_t *object = json_loadb((const char *)line.data, line.size, 0, NULL);
    const char *verb = json_string_value(json_object_get(object, "verb"));
    bool directed = json_object_get(object, "to") != NULL;
    bufferevent_disable(client->stream, EV_READ);
    bufferevent_set_timeouts(client->stream, NULL, NULL);
    if (verb == NULL || strlen(verb) > 40) {
        refuse(client, "one JSON object on a line, with a \"verb\"");
    } else if (!directed && strcmp(verb, "status") == 0) {
        client->gathering++;
        gather_status(client->control, on_gathered, client);
    } else if (!directed && strcmp(verb, "metrics") == 0) {
        client->gathering++;
        gather_metrics(client->control, on_gathered, client);
    } else if (!directed && strcmp(verb, "move") == 0) {
        move(client, object);
    } else {
        forward(client, object, slice_str(verb), line);
    }
    json_decref(object);
}

static void on_input(struct bufferevent *stream, void *arg)
{
    struct client *client = arg;
    size_t size;
    char *line = evbuffer_readln(bufferevent_get_input(stream), &size, EVBUFFER_EOL_LF);
    if (line != NULL)
        handle(client, slice_make(line, size));
    else if (evbuffer_get_length(bufferevent_get_input(stream)) > LINE_MAX_BYTES)
        refuse(client, "the request is too long");
    free(line);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int size, void *arg)
{
    struct control *control = arg;
    struct timeval idle = {.tv_sec = IDLE_S};
    struct ucred peer;
    socklen_t peer_size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) != 0 ||
        (peer.uid != 0 && peer.uid != control->owner) || control->client_count == CLIENTS_MAX) {
        log_warn("control_refused", "uid=%u clients=%zu", (unsigned)peer.uid,
                 control->client_count);
        close(fd);
        return;
    }
    struct client *client = MEM_NEW(struct client);
    client->control = control;
    client->stream = bufferevent_socket_new(child_base(control->child), fd, BEV_OPT_CLOSE_ON_FREE);
    TAILQ_INSERT_TAIL(&control->clients, client, next);
    control->client_count++;
    bufferevent_setcb(client->stream, on_input, NULL, on_event, client);
    bufferevent_set_timeouts(client->stream, &idle, NULL);
    bufferevent_enable(client->stream, EV_READ | EV_WRITE);
}

bool clients_listen(struct control *control, int fd, struct error *error)
{
    if (evconnlistener_new(child_base(control->child), on_accept, control, LEV_OPT_CLOSE_ON_FREE, 0,
                           fd) == NULL)
        return error_errno(error, "control socket");
    return true;
}

size_t clients_count(const struct control *control)
{
    return control->client_count;
}
