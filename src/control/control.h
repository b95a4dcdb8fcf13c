/*
 * The control process: the administrator's Unix socket, /metrics and /healthz. It holds no mail and
 * no secret; it forwards. Files: main.c (the process, the peers), clients.c (the Unix socket),
 * requests.c (a verb on its way to one or many processes), gather.c (status, metrics: joined
 * answers), http.c and http_request.c.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "ipc/child.h"

enum { PENDING_MAX = 64, HTTP_CLIENTS_MAX = 64 };

struct control;
struct request;
struct client;

/* ---- requests.c ---------------------------------------------------------------------------- */

struct request_calls {
    /* A whole JSON text of one process; more: it will say more (a list in parts). role and index:
     * who said it. Not called for a process that died before it answered. */
    void (*answer)(void *arg, enum ipc_role role, uint32_t index, bool ok, bool more,
                   struct slice json);
    /* All have answered, died, or timed out; the request is gone behind this call. missing: how
     * many did not answer. */
    void (*done)(void *arg, unsigned missing);
};

/* Sends verb and json to every living process of roles (IPC_MASTER among them). done may run
 * inside, when there is none. */
struct request *request_create(struct control *control, unsigned roles, struct slice verb,
                               struct slice json, unsigned seconds,
                               const struct request_calls *calls, void *arg);
/* To one. False: it is not there. */
struct request *request_create_one(struct control *control, enum ipc_role role, uint32_t index,
                                   struct slice verb, struct slice json, unsigned seconds,
                                   const struct request_calls *calls, void *arg);
/* Nobody waits any more; no callback runs. */
void request_cancel(struct request **request);
void requests_reply(struct control *control, struct ipc_channel *channel,
                    const struct ipc_admin_reply *m);
void requests_peer_down(struct control *control, enum ipc_role role, uint32_t index);

/* ---- gather.c ------------------------------------------------------------------------------ */

typedef void gather_done(void *arg, struct slice text);

/* One JSON object: {"processes":[...one object for each...],"missing":N}. */
void gather_status(struct control *control, gather_done *done, void *arg);
/* Prometheus text format 0.0.4. */
void gather_metrics(struct control *control, gather_done *done, void *arg);

/* ---- clients.c ----------------------------------------------------------------------------- */

bool clients_listen(struct control *control, int fd, struct error *error); /* takes fd */
size_t clients_count(const struct control *control);

/* ---- http.c -------------------------------------------------------------------------------- */

bool http_listen(struct control *control, int fd, struct error *error); /* takes fd */

/* ---- main.c -------------------------------------------------------------------------------- */

TAILQ_HEAD(request_list, request);
TAILQ_HEAD(client_list, client);
TAILQ_HEAD(http_list, http_client);

struct control {
    struct child *child;
    struct request_list requests;
    struct client_list clients;
    size_t client_count;
    uint64_t next_request, next_conn;
    struct http_list http; /* oldest first */
    size_t http_count;
    struct {
        int fd;
        bool internal;
    } pending[PENDING_MAX]; /* listening sockets, until the sandbox stands */
    size_t pending_count;
    uid_t owner; /* who started the server: may use the socket, beside root */
};

/* Number of processes that are up, of those ever met; for /healthz. */
bool control_healthy(struct control *control);
