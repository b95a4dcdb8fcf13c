/*
 * A verb on its way: sent to some processes, answers joined from their parts and given to who
 * asked. A process that dies, or says nothing for too long, is counted as missing; nobody waits for
 * ever.
 */
#include <event2/event.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "control/control.h"

enum { ANSWER_MAX = 64 * 1024 * 1024 };

struct expected {
    TAILQ_ENTRY(expected) next;
    enum ipc_role role;
    uint32_t index;
    struct buf json; /* parts so far */
};

struct request {
    TAILQ_ENTRY(request) next;
    struct control *control;
    uint64_t number;
    const struct request_calls *calls;
    void *arg;
    TAILQ_HEAD(, expected) expected;
    struct event *timer;
    unsigned missing;
    bool cancelled; /* inside a callback */
    unsigned held;
};

static const enum ipc_role roles_in_order[] = {IPC_MASTER, IPC_AUTH, IPC_WORKER,
                                               IPC_DOOR,   IPC_TLS,  IPC_READER};

static void drop_expected(struct request *request, struct expected *expected)
{
    TAILQ_REMOVE(&request->expected, expected, next);
    buf_finish(&expected->json);
    free(expected);
}

static void destroy(struct request *request)
{
    if (request->held > 0) {
        request->cancelled = true;
        return;
    }
    while (!TAILQ_EMPTY(&request->expected))
        drop_expected(request, TAILQ_FIRST(&request->expected));
    TAILQ_REMOVE(&request->control->requests, request, next);
    event_free(request->timer);
    free(request);
}

/* True when it has ended. */
static bool finish_if_done(struct request *request)
{
    if (request->cancelled) {
        destroy(request);
        return true;
    }
    if (!TAILQ_EMPTY(&request->expected))
        return false;
    request->held++;
    request->calls->done(request->arg, request->missing);
    request->held--;
    destroy(request);
    return true;
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct request *request = arg;
    while (!TAILQ_EMPTY(&request->expected)) {
        request->missing++;
        drop_expected(request, TAILQ_FIRST(&request->expected));
    }
    finish_if_done(request);
}

static struct ipc_channel *channel_of(struct control *control, enum ipc_role role, uint32_t index)
{
    return role == IPC_MASTER ? child_master(control->child)
                              : child_peer(control->child, role, index);
}

static void send_to(struct request *request, enum ipc_role role, uint32_t index, struct slice verb,
                    struct slice json)
{
    struct ipc_channel *channel = channel_of(request->control, role, index);
    if (channel == NULL) {
        request->missing++;
        return;
    }
    struct expected *expected = MEM_NEW(struct expected);
    expected->role = role;
    expected->index = index;
    TAILQ_INSERT_TAIL(&request->expected, expected, next);
    do {
        struct slice part = slice_sub(json, 0, IPC_CHUNK);
        json = slice_sub(json, part.size, json.size);
        ipc_send_admin_request(channel, &(struct ipc_admin_request){.request = request->number,
                                                                    .verb = verb,
                                                                    .more = json.size > 0,
                                                                    .json = part});
    } while (json.size > 0);
}

static struct request *create(struct control *control, unsigned seconds,
                              const struct request_calls *calls, void *arg)
{
    struct timeval limit = {.tv_sec = seconds};
    struct request *request = MEM_NEW(struct request);
    request->control = control;
    request->number = ++control->next_request;
    request->calls = calls;
    request->arg = arg;
    TAILQ_INIT(&request->expected);
    request->timer = evtimer_new(child_base(control->child), on_timeout, request);
    ASSERT(request->timer != NULL);
    event_add(request->timer, &limit);
    TAILQ_INSERT_TAIL(&control->requests, request, next);
    return request;
}

struct request *request_create(struct control *control, unsigned roles, struct slice verb,
                               struct slice json, unsigned seconds,
                               const struct request_calls *calls, void *arg)
{
    struct request *request = create(control, seconds, calls, arg);
    for (size_t i = 0; i < sizeof(roles_in_order) / sizeof(*roles_in_order); i++) {
        enum ipc_role role = roles_in_order[i];
        uint32_t limit = role == IPC_MASTER ? 1 : child_peer_limit(control->child, role);
        if ((roles & role) == 0)
            continue;
        for (uint32_t index = 0; index < limit; index++)
            send_to(request, role, index, verb, json);
    }
    return finish_if_done(request) ? NULL : request;
}

struct request *request_create_one(struct control *control, enum ipc_role role, uint32_t index,
                                   struct slice verb, struct slice json, unsigned seconds,
                                   const struct request_calls *calls, void *arg)
{
    struct request *request = create(control, seconds, calls, arg);
    send_to(request, role, index, verb, json);
    return finish_if_done(request) ? NULL : request;
}

void request_cancel(struct request **request)
{
    if (*request != NULL)
        destroy(*request);
    *request = NULL;
}

static struct expected *find(struct control *control, uint64_t number, enum ipc_role role,
                             uint32_t index, struct request **request)
{
    struct expected *expected;
    TAILQ_FOREACH (*request, &control->requests, next)
        if ((*request)->number == number)
            TAILQ_FOREACH (expected, &(*request)->expected, next)
                if (expected->role == role && expected->index == index)
                    return expected;
    return NULL;
}

/* Whether a text is a whole JSON value is not looked at here: a process that says "more" with less
 * than a full chunk has said one value and will say another. */
void requests_reply(struct control *control, struct ipc_channel *channel,
                    const struct ipc_admin_reply *m)
{
    struct request *request;
    enum ipc_role role = ipc_peer_role(channel);
    uint32_t index = ipc_peer_index(channel);
    struct expected *expected = find(control, m->request, role, index, &request);
    if (expected == NULL) /* cancelled or timed out */
        return;
    if (expected->json.size + m->json.size <= ANSWER_MAX)
        buf_add_slice(&expected->json, m->json);
    bool part = m->more != 0 && m->json.size == IPC_CHUNK;
    if (part)
        return;
    request->held++;
    request->calls->answer(request->arg, role, index, m->ok != 0, m->more != 0,
                           buf_slice(&expected->json));
    request->held--;
    buf_clear(&expected->json);
    if (m->more == 0)
        drop_expected(request, expected);
    finish_if_done(request);
}

void requests_peer_down(struct control *control, enum ipc_role role, uint32_t index)
{
    struct request *request, *next;
    for (request = TAILQ_FIRST(&control->requests); request != NULL; request = next) {
        struct request *same;
        next = TAILQ_NEXT(request, next);
        struct expected *expected = find(control, request->number, role, index, &same);
        if (expected == NULL)
            continue;
        drop_expected(request, expected);
        request->missing++;
        finish_if_done(request);
    }
}
