/*
 * One text from the answers of all processes. The JSON of each is parsed again, here, by jansson:
 * a broken worker may then spoil its own part of a status, not the whole.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/mem.h"
#include "control/control.h"

enum { SECONDS = 5 };

struct gather {
    struct control *control;
    gather_done *done;
    void *arg;
    json_t *answers; /* [{"process":...,"index":...,...}] */
};

static const unsigned everybody =
    IPC_MASTER | IPC_AUTH | IPC_WORKER | IPC_DOOR | IPC_TLS | IPC_READER;

static void on_answer(void *arg, enum ipc_role role, uint32_t index, bool ok, bool more,
                      struct slice json)
{
    struct gather *gather = arg;
    json_t *value = json_loadb((const char *)json.data, json.size, 0, NULL);
    if (!json_is_object(value)) {
        json_decref(value);
        value = json_pack("{s:s}", "error", "the answer was not JSON");
    }
    json_object_set_new(value, "process", json_string(ipc_role_name(role)));
    json_object_set_new(value, "index", json_integer(index));
    json_array_append_new(gather->answers, value);
}

static void finish(struct gather *gather, struct slice text)
{
    gather->done(gather->arg, text);
    json_decref(gather->answers);
    free(gather);
}

/* Control's own line stands among the others. */
static void add_self(struct gather *gather, bool metrics)
{
    struct buf json = {0};
    if (metrics)
        counter_write(&json);
    else
        buf_printf(&json, "{\"pid\":%d,\"sandbox_missing\":\"%s\",\"clients\":%zu}", (int)getpid(),
                   sandbox_missing(), clients_count(gather->control));
    on_answer(gather, IPC_CONTROL, 0, true, false, buf_slice(&json));
    buf_finish(&json);
}

static void status_done(void *arg, unsigned missing)
{
    struct gather *gather = arg;
    add_self(gather, false);
    json_t *all = json_pack("{s:O,s:i}", "processes", gather->answers, "missing", (int)missing);
    char *text = json_dumps(all, JSON_COMPACT);
    finish(gather, slice_str(text == NULL ? "{}" : text));
    free(text);
    json_decref(all);
}

static void write_counter(struct buf *out, json_t *answers, enum counter counter)
{
    size_t i;
    json_t *answer;
    const char *name = counter_name(counter);
    buf_printf(out, "# HELP restante_%s %s\n# TYPE restante_%s %s\n", name, counter_help(counter),
               name, counter_kind(counter));
    json_array_foreach (answers, i, answer) {
        json_t *value = json_object_get(answer, name);
        if (json_is_integer(value))
            buf_printf(out,
                       "restante_%s{process=\"%s\",index=\"%" JSON_INTEGER_FORMAT
                       "\"} %" JSON_INTEGER_FORMAT "\n",
                       name, json_string_value(json_object_get(answer, "process")),
                       json_integer_value(json_object_get(answer, "index")),
                       json_integer_value(value));
    }
}

static void metrics_done(void *arg, unsigned missing)
{
    struct gather *gather = arg;
    struct buf out = {0};
    add_self(gather, true);
    for (int i = 0; i < COUNTER_COUNT; i++)
        write_counter(&out, gather->answers, (enum counter)i);
    buf_printf(&out,
               "# HELP restante_processes_missing Processes that did not answer\n"
               "# TYPE restante_processes_missing gauge\nrestante_processes_missing %u\n",
               missing);
    finish(gather, buf_slice(&out));
    buf_finish(&out);
}

static void start(struct control *control, const char *verb, const struct request_calls *calls,
                  gather_done *done, void *arg)
{
    struct gather *gather = MEM_NEW(struct gather);
    gather->control = control;
    gather->done = done;
    gather->arg = arg;
    gather->answers = json_array();
    request_create(control, everybody, slice_str(verb), slice_str("{}"), SECONDS, calls, gather);
}

void gather_status(struct control *control, gather_done *done, void *arg)
{
    static const struct request_calls calls = {on_answer, status_done};
    start(control, "status", &calls, done, arg);
}

void gather_metrics(struct control *control, gather_done *done, void *arg)
{
    static const struct request_calls calls = {on_answer, metrics_done};
    start(control, "metrics", &calls, done, arg);
}
