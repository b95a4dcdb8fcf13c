/*
 * /healthz (200 "ok" while every process is up, else 503 with what is missing) and /metrics, by
 * libevent's evhttp. Loopback unless configured otherwise; nothing secret is said here.
 */
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "control/control.h"

enum { BODY_MAX = 1024, HEADERS_MAX = 8192, SECONDS = 10 };

/* evhttp frees a request when its connection closes before the answer: then it is NULL. */
struct waiting {
    struct evhttp_request *request;
};

static void reply(struct evhttp_request *request, int code, const char *reason, const char *type,
                  struct slice body)
{
    struct evbuffer *out = evbuffer_new();
    evbuffer_add(out, body.data, body.size);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
    evhttp_send_reply(request, code, reason, out);
    evbuffer_free(out);
}

static void on_gone(struct evhttp_connection *connection, void *arg)
{
    struct waiting *waiting = arg;
    waiting->request = NULL;
}

static void metrics_ready(void *arg, struct slice text)
{
    struct waiting *waiting = arg;
    if (waiting->request != NULL) {
        evhttp_connection_set_closecb(evhttp_request_get_connection(waiting->request), NULL, NULL);
        reply(waiting->request, 200, "OK", "text/plain; version=0.0.4", text);
    }
    free(waiting);
}

static void on_metrics(struct evhttp_request *request, void *arg)
{
    struct waiting *waiting = MEM_NEW(struct waiting);
    waiting->request = request;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_gone, waiting);
    gather_metrics(arg, metrics_ready, waiting);
}

static void on_health(struct evhttp_request *request, void *arg)
{
    if (control_healthy(arg))
        reply(request, 200, "OK", "text/plain", slice_str("ok\n"));
    else
        reply(request, 503, "Service Unavailable", "text/plain",
              slice_str("a process is down; see restante status\n"));
}

static void on_other(struct evhttp_request *request, void *arg)
{
    reply(request, 404, "Not Found", "text/plain", slice_str("/healthz, /metrics\n"));
}

bool http_listen(struct control *control, int fd, struct error *error)
{
    if (control->http == NULL) {
        control->http = evhttp_new(child_base(control->child));
        if (control->http == NULL)
            return error_set(error, "HTTP: out of memory");
        evhttp_set_allowed_methods(control->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
        evhttp_set_max_body_size(control->http, BODY_MAX);
        evhttp_set_max_headers_size(control->http, HEADERS_MAX);
        evhttp_set_timeout(control->http, SECONDS);
        evhttp_set_cb(control->http, "/metrics", on_metrics, control);
        evhttp_set_cb(control->http, "/healthz", on_health, control);
        evhttp_set_gencb(control->http, on_other, control);
    }
    if (evhttp_accept_socket(control->http, fd) != 0)
        return error_errno(error, "HTTP: listening");
    return true;
}
