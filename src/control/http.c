/*
 * /healthz (200 "ok" while every process is up, else 503 with what is missing) and /metrics.
 * Loopback unless configured otherwise; nothing secret is said here. One request on a connection,
 * all of it within SECONDS; when there are too many, who has been here longest makes room, so that
 * those who hold connections keep nobody else out.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/control.h"
#include "control/http_request.h"

enum { HEAD_MAX = 8192, SECONDS = 10 };

struct http_client {
    TAILQ_ENTRY(http_client) next;
    struct control *control;
    struct bufferevent *stream; /* NULL: gone, but its metrics are still being gathered */
    struct event *deadline;
    bool body;      /* is wanted, not only its size */
    bool gathering; /* an answer will come for which this must still be here */
};

static void destroy(struct http_client *client)
{
    if (client->stream != NULL) {
        bufferevent_free(client->stream);
        event_free(client->deadline);
        TAILQ_REMOVE(&client->control->http, client, next);
        client->control->http_count--;
    }
    client->stream = NULL;
    if (!client->gathering)
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

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    destroy(arg);
}

/* Read and forgotten: a close with bytes unread would take the answer away from the client. */
static void on_more(struct bufferevent *stream, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(stream);
    evbuffer_drain(input, evbuffer_get_length(input));
}

static void reply(struct http_client *client, const char *status, struct slice text)
{
    struct evbuffer *out = bufferevent_get_output(client->stream);
    evbuffer_add_printf(out,
                        "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\n"
                        "Content-Length: %zu\r\nConnection: close\r\n%s\r\n",
                        status, text.size,
                        status[0] == '4' && status[2] == '5' ? "Allow: GET, HEAD\r\n" : "");
    if (client->body)
        evbuffer_add(out, text.data, text.size);
    bufferevent_setcb(client->stream, on_more, on_written, on_event, client);
}

static void on_metrics(void *arg, struct slice text)
{
    struct http_client *client = arg;
    client->gathering = false;
    if (client->stream == NULL)
        destroy(client);
    else
        reply(client, "200 OK", text);
}

static void answer(struct http_client *client, enum http_asked asked)
{
    switch (asked) {
    case HTTP_METRICS:
        bufferevent_setcb(client->stream, on_more, NULL, on_event, client);
        client->gathering = true;
        gather_metrics(client->control, on_metrics, client);
        return;
    case HTTP_HEALTH:
        if (control_healthy(client->control))
            reply(client, "200 OK", SLICE_LITERAL("ok\n"));
        else
            reply(client, "503 Service Unavailable",
                  SLICE_LITERAL("a process is down; see restante status\n"));
        return;
    case HTTP_ELSEWHERE:
        reply(client, "404 Not Found", SLICE_LITERAL("/healthz, /metrics\n"));
        return;
    case HTTP_OTHER_METHOD:
        reply(client, "405 Method Not Allowed", SLICE_LITERAL("GET or HEAD\n"));
        return;
    case HTTP_MALFORMED:
        break;
    }
    reply(client, "400 Bad Request", SLICE_LITERAL("this is no request of HTTP/1.1\n"));
}

static void on_input(struct bufferevent *stream, void *arg)
{
    struct http_client *client = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t size = evbuffer_get_length(input);
    if (size > HEAD_MAX)
        size = HEAD_MAX;
    const uint8_t *bytes = evbuffer_pullup(input, (ev_ssize_t)size);
    size_t head = http_head_size(slice_make(bytes, size));
    if (head == 0 && size < HEAD_MAX)
        return;
    enum http_asked asked = http_request_read(slice_make(bytes, head), &client->body);
    on_more(stream, NULL);
    answer(client, asked);
}

static void make_room(struct control *control)
{
    counter_add(COUNTER_connections_refused, 1);
    log_warn("connection_refused", "protocol=http limit=%d", HTTP_CLIENTS_MAX);
    destroy(TAILQ_FIRST(&control->http));
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int size, void *arg)
{
    static const struct timeval seconds = {.tv_sec = SECONDS};
    struct control *control = arg;
    struct event_base *base = child_base(control->child);
    if (control->http_count == HTTP_CLIENTS_MAX)
        make_room(control);
    struct http_client *client = MEM_NEW(struct http_client);
    client->control = control;
    client->stream = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    client->deadline = event_new(base, -1, 0, on_deadline, client);
    event_add(client->deadline, &seconds);
    TAILQ_INSERT_TAIL(&control->http, client, next);
    control->http_count++;
    bufferevent_setcb(client->stream, on_input, NULL, on_event, client);
    bufferevent_setwatermark(client->stream, EV_READ, 0, HEAD_MAX);
    bufferevent_enable(client->stream, EV_READ | EV_WRITE);
}

bool http_listen(struct control *control, int fd, struct error *error)
{
    if (evconnlistener_new(child_base(control->child), on_accept, control, LEV_OPT_CLOSE_ON_FREE, 0,
                           fd) == NULL)
        return error_errno(error, "HTTP: listening");
    return true;
}
