/*
 * What control asks of master: status (processes, listeners, volumes), metrics, reload. Requests
 * are short; one that comes in parts is not for us.
 */
#include <unistd.h>

#include "base/buf.h"
#include "base/counter.h"
#include "master/master.h"

static const char *state_name(const struct process *process)
{
    switch (process->state) {
    case PROCESS_DOWN:
        return "down";
    case PROCESS_STARTING:
        return "starting";
    case PROCESS_READY:
        return "ready";
    case PROCESS_GONE:
        break;
    }
    return "gone";
}

static void write_status(const struct master *master, struct buf *json)
{
    const struct process *process;
    const char *comma = "";
    buf_printf(json, "{\"process\":\"master\",\"index\":0,\"pid\":%d,\"version\":\"%s\",\"data\":",
               (int)getpid(), RESTANTE_VERSION);
    buf_json_string(json, slice_str(master->data.path));
    buf_printf(json, ",\"volumes\":%u,\"certificate\":", master->data.volumes);
    buf_json_string(json, slice_str(master->fingerprint));
    buf_add_str(json, ",\"listeners\":[");
    for (size_t i = 0; i < master->listener_count; i++) {
        const struct listener *listener = &master->listeners[i];
        if (listener->internal)
            continue;
        buf_printf(json, "%s{\"name\":\"%s\",\"address\":", comma, listener->address.name);
        buf_json_string(json, slice_str(address_text(&listener->address).text));
        buf_add_str(json, "}");
        comma = ",";
    }
    comma = "";
    buf_add_str(json, "],\"processes\":[");
    TAILQ_FOREACH (process, &master->processes, next) {
        buf_printf(json, "%s{\"process\":\"%s\",\"index\":%u,\"pid\":%d,\"state\":\"%s\",", comma,
                   ipc_role_name(process->role), process->index, process->pid, state_name(process));
        buf_printf(json, "\"restarts\":%u}", process->restarts);
        comma = ",";
    }
    buf_add_str(json, "]}");
}

void master_admin_request(void *context, struct ipc_channel *channel,
                          struct ipc_admin_request *message)
{
    struct master *master = context;
    struct buf json = {0};
    bool ok = message->more == 0;
    if (ok && slice_equal_str(message->verb, "status"))
        write_status(master, &json);
    else if (ok && slice_equal_str(message->verb, "metrics"))
        counter_write(&json);
    else if (ok && slice_equal_str(message->verb, "reload")) {
        master_reload(master);
        buf_add_str(&json, "{}");
    } else {
        ok = false;
        buf_add_str(&json, "{\"error\":\"master knows status, metrics and reload\"}");
    }
    struct slice rest = buf_slice(&json);
    while (rest.size > 0) {
        struct slice part = slice_sub(rest, 0, IPC_CHUNK);
        rest = slice_sub(rest, part.size, rest.size);
        ipc_send_admin_reply(channel, &(struct ipc_admin_reply){.request = message->request,
                                                                .ok = ok,
                                                                .more = rest.size > 0,
                                                                .json = part});
    }
    buf_finish(&json);
}
