/*
 * The administrator's verbs in a child: requests that come in parts are joined (bounded), common
 * verbs answered here, others by the program. Answers go to control; when it is gone they go
 * nowhere.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/child_priv.h"

enum {
    REQUEST_MAX = 4 * 1024 * 1024, /* an import of accounts is the longest */
    PARTS_MAX = 64,                /* requests in parts at the same time */
};

void child_answer(struct child *child, uint64_t request, bool ok, bool more, struct slice json)
{
    struct ipc_channel *control = child_peer(child, IPC_CONTROL, 0);
    if (control == NULL)
        return;
    do {
        struct slice part = slice_sub(json, 0, IPC_CHUNK);
        json = slice_sub(json, part.size, json.size);
        ipc_send_admin_reply(control, &(struct ipc_admin_reply){.request = request,
                                                                .ok = ok,
                                                                .more = more || json.size > 0,
                                                                .json = part});
    } while (json.size > 0);
}

void child_answer_error(struct child *child, uint64_t request, const char *format, ...)
{
    char text[512];
    struct buf json = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_add_str(&json, "{\"error\":");
    buf_json_string(&json, slice_str(text));
    buf_add_str(&json, "}");
    child_answer(child, request, false, false, buf_slice(&json));
    buf_finish(&json);
}

static void answer_status(struct child *child, uint64_t request)
{
    struct buf json = {0};
    buf_printf(&json, "{\"process\":\"%s\",\"index\":%u,\"pid\":%d,\"sandbox_missing\":",
               child->program->name, child->index, (int)getpid());
    buf_json_string(&json, slice_str(sandbox_missing()));
    if (child->draining)
        buf_add_str(&json, ",\"draining\":true");
    if (child->program->status != NULL)
        child->program->status(child->state, &json);
    buf_add_str(&json, "}");
    child_answer(child, request, true, false, buf_slice(&json));
    buf_finish(&json);
}

static void answer_metrics(struct child *child, uint64_t request)
{
    struct buf json = {0};
    counter_write(&json);
    child_answer(child, request, true, false, buf_slice(&json));
    buf_finish(&json);
}

static bool answer_probe(struct child *child, uint64_t request, struct slice verb)
{
    struct buf json = {0};
    if (!slice_equal_str(verb, "sandbox-probe"))
        return false;
    buf_add_str(&json, "{\"open\":");
    buf_json_string(&json, slice_str(sandbox_probe()));
    buf_add_str(&json, "}");
    child_answer(child, request, true, false, buf_slice(&json));
    buf_finish(&json);
    return true;
}

static void carry_out(struct child *child, uint64_t request, struct slice verb, struct slice json)
{
    const struct child_program *program = child->program;
    if (slice_equal_str(verb, "status"))
        answer_status(child, request);
    else if (slice_equal_str(verb, "metrics"))
        answer_metrics(child, request);
    else if (!answer_probe(child, request, verb) &&
             (program->verb == NULL || !program->verb(child->state, request, verb, json)))
        child_answer_error(child, request, "%s knows no verb \"%.*s\"", program->name,
                           SLICE_PRINT(verb));
}

static struct child_request *find_request(struct child *child, uint64_t number, size_t *count)
{
    struct child_request *request;
    *count = 0;
    STAILQ_FOREACH (request, &child->requests, next) {
        ++*count;
        if (request->number == number)
            return request;
    }
    return NULL;
}

static void forget(struct child *child, struct child_request *request)
{
    STAILQ_REMOVE(&child->requests, request, child_request, next);
    buf_finish(&request->json);
    free(request);
}

void child_admin_request(void *context, struct ipc_channel *channel, struct ipc_admin_request *m)
{
    struct child *child = child_this();
    size_t count;
    struct child_request *request = find_request(child, m->request, &count);
    if (request == NULL && m->more == 0) {
        carry_out(child, m->request, m->verb, m->json);
        return;
    }
    if (request == NULL && count >= PARTS_MAX) { /* left over from a control that crashed */
        forget(child, STAILQ_FIRST(&child->requests));
    }
    if (request == NULL) {
        request = MEM_NEW(struct child_request);
        request->number = m->request;
        STAILQ_INSERT_TAIL(&child->requests, request, next);
    }
    if (request->json.size + m->json.size > REQUEST_MAX) {
        forget(child, request);
        child_answer_error(child, m->request, "the request is longer than %d bytes", REQUEST_MAX);
        return;
    }
    buf_add_slice(&request->json, m->json);
    if (m->more != 0)
        return;
    carry_out(child, m->request, m->verb, buf_slice(&request->json));
    forget(child, request);
}
