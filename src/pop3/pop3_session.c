/*
 * A POP3 session in its worker (RFC 1939): bytes in, one command at a time, bytes out, time, and
 * the end. Commands may come in a heap (RFC 2449 6.6); each is finished before the next is read.
 *
 * A command that is not done says so with its step (pop3_priv.h); pop3_run() is the only place that
 * goes on, and the only one, with the handlers of events, where a session ends.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "pop3/pop3_priv.h"

enum { ROUND = 50 }; /* commands before other sessions get their turn */

void pop3_write(struct pop3 *s, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    evbuffer_add_vprintf(s->output, format, list);
    va_end(list);
}

enum pop3_step pop3_trouble(struct pop3 *s, enum mailbox_result result)
{
    switch (result) {
    case MAILBOX_BROKEN:
        s->reason = "broken";
        return POP3_BREAK;
    case MAILBOX_CORRUPT:
        pop3_write(s, "-ERR [SYS/PERM] This is damaged; the administrator has been told\r\n");
        return POP3_NEXT;
    case MAILBOX_NO_SUCH:
    case MAILBOX_EXPUNGED:
        pop3_write(s, "-ERR The message is gone\r\n");
        return POP3_NEXT;
    default:
        pop3_write(s, "-ERR [SYS/TEMP] Please try again later\r\n");
        return POP3_NEXT;
    }
}

/* ---- the end ------------------------------------------------------------------------------- */

void pop3_end(struct pop3 *s, const char *reason)
{
    const struct session_host *host = s->host;
    log_info("session_end",
             "protocol=pop3 account=%s rip=%s id=%s reason=%s in=%" PRIu64 " out=%" PRIu64
             " commands=%" PRIu64 " seconds=%.3f",
             log_value(slice_str(s->name)).text, s->client, s->id, reason, s->bytes_in,
             s->bytes_out, s->commands, (double)(clock_monotonic_us() - s->begun_us) / 1e6);
    maildrop_close(s);
    event_del(&s->readable);
    event_del(&s->timer);
    event_del(&s->kick);
    if (s->writable != NULL) {
        event_free(s->writable);
    }
    evbuffer_free(s->input);
    evbuffer_free(s->output);
    fd_close(&s->fd);
    host->ended(host->arg, s, reason);
    free(s);
}

/* ---- time ---------------------------------------------------------------------------------- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct pop3 *s = arg;
    const struct settings *settings = s->host->settings;
    bool stalled = evbuffer_get_length(s->output) > 0;
    uint64_t now = clock_monotonic_us();
    uint64_t due = stalled ? s->taken_us + settings->timeout_stall * 1000000
                           : s->heard_us + settings->timeout_pop3 * 1000000;
    if (s->step == POP3_WAIT) {
        due = now + 60000000; /* the store answers */
    }
    if (now >= due) {
        /* RFC 1939 3: closed without a word, and nothing is deleted. */
        pop3_end(s, stalled ? "stall" : "idle");
        return;
    }
    uint64_t wait = due - now + 1000;
    const struct timeval after = {.tv_sec = (time_t)(wait / 1000000),
                                  .tv_usec = (suseconds_t)(wait % 1000000)};
    event_add(&s->timer, &after);
}

static void timer_within(struct pop3 *s, uint64_t seconds)
{
    const struct timeval after = {.tv_sec = (time_t)seconds};
    event_add(&s->timer, &after);
}

/* ---- bytes --------------------------------------------------------------------------------- */

static void kick(struct pop3 *s)
{
    event_active(&s->kick, EV_TIMEOUT, 0);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    kick(arg);
}

/* False: the session has ended. */
static bool flush(struct pop3 *s)
{
    while (evbuffer_get_length(s->output) > 0) {
        int sent = s->step == POP3_CLOSE ? fd_write_last(s->fd, s->output)
                                         : evbuffer_write(s->output, s->fd);
        if (sent > 0) {
            s->taken_us = clock_monotonic_us();
            s->bytes_out += (uint64_t)sent;
        } else if (errno == EAGAIN) {
            if (s->writable == NULL) {
                s->writable = event_new(s->host->base, s->fd, EV_WRITE, on_writable, s);
                ASSERT(s->writable != NULL);
                s->taken_us = clock_monotonic_us();
            }
            event_add(s->writable, NULL);
            timer_within(s, s->host->settings->timeout_stall);
            return true;
        } else if (errno != EINTR) {
            pop3_end(s, "disconnect");
            return false;
        }
    }
    return true;
}

/* One line off the input, without its end. False: there is none yet. */
static bool next_line(struct pop3 *s, char line[POP3_COMMAND_MAX], size_t *size, bool *too_long)
{
    size_t length = evbuffer_get_length(s->input);
    struct evbuffer_ptr end = evbuffer_search_eol(s->input, NULL, NULL, EVBUFFER_EOL_LF);
    bool ended = end.pos >= 0, answered = s->skipping;
    *size = ended ? (size_t)end.pos : length;
    *too_long = false;
    if (s->skipping || *size > POP3_COMMAND_MAX) { /* answered at once: perhaps it has no end */
        s->skipping = !ended;
        *too_long = !answered;
        evbuffer_drain(s->input, ended ? *size + 1 : *size);
        return !answered || (ended && next_line(s, line, size, too_long));
    }
    if (!ended) {
        return false;
    }
    evbuffer_remove(s->input, line, *size);
    evbuffer_drain(s->input, 1);
    if (*size > 0 && line[*size - 1] == '\r') {
        *size -= 1;
    }
    return true;
}

static void want_input(struct pop3 *s, bool wanted)
{
    if (wanted && !s->reading) {
        event_add(&s->readable, NULL);
    } else if (!wanted && s->reading) {
        event_del(&s->readable);
    }
    s->reading = wanted;
}

/* ---- commands ------------------------------------------------------------------------------ */

/* Runs one command. False: there is none yet. */
static bool run_one(struct pop3 *s)
{
    char line[POP3_COMMAND_MAX];
    size_t size = 0;
    bool too_long;
    s->command = s->wait = NULL;
    if (!next_line(s, line, &size, &too_long)) {
        return false;
    }
    s->heard_us = clock_monotonic_us();
    counter_add(COUNTER_commands, 1);
    s->commands++;
    s->step =
        too_long ? pop3_bad(s, "-ERR Line too long") : pop3_command(s, slice_make(line, size));
    return true;
}

static void pop3_run(struct pop3 *s)
{
    bool hungry = false;
    for (int i = 0; i < ROUND; i++) {
        if (evbuffer_get_length(s->output) >= POP3_OUTPUT) {
            break;
        }
        if (s->step == POP3_MORE) {
            s->step = s->more(s);
        } else if (s->step == POP3_NEXT && !run_one(s)) {
            hungry = true;
            break;
        }
        if (s->step != POP3_MORE && s->step != POP3_NEXT) {
            break;
        }
    }
    if (s->step == POP3_BREAK) {
        pop3_end(s, s->reason != NULL ? s->reason : "broken");
        return;
    }
    if (!flush(s)) {
        return;
    }
    bool empty = evbuffer_get_length(s->output) == 0;
    if (!empty) {
        s->wait = s->wait == NULL ? "client" : s->wait;
    } else if (s->step == POP3_CLOSE) {
        pop3_end(s, s->reason != NULL ? s->reason : "protocol");
        return;
    } else if (hungry && s->eof) {
        pop3_end(s, "disconnect");
        return;
    } else if (!hungry && s->step != POP3_WAIT) {
        kick(s); /* the round is over, the work is not */
    }
    want_input(s, hungry && empty);
    if (hungry) {
        pop3_ahead_fill(s);
    }
}

void pop3_continue(struct pop3 *s, enum pop3_step step)
{
    s->step = step;
    if (step != POP3_WAIT) {
        s->wait = NULL;
        kick(s);
    }
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
    pop3_run(arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct pop3 *s = arg;
    uint8_t bytes[16 * 1024];
    ssize_t size = recv(fd, bytes, sizeof(bytes), 0);
    if (size < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            pop3_end(s, "disconnect");
        }
        return;
    }
    if (size == 0) {
        s->eof = true;
    }
    s->bytes_in += (uint64_t)size;
    evbuffer_add(s->input, bytes, (size_t)size);
    pop3_run(s);
}

/* ---- to the worker ------------------------------------------------------------------------- */

static void *create(const struct session_host *host, const struct session_start *start)
{
    struct pop3 *s = MEM_NEW(struct pop3);
    s->host = host;
    s->fd = start->fd;
    s->ref = start->account;
    s->step = POP3_WAIT;
    s->input = evbuffer_new();
    s->output = evbuffer_new();
    ASSERT(s->input != NULL && s->output != NULL);
    evbuffer_add(s->input, start->readahead.data, start->readahead.size);
    s->heard_us = s->taken_us = s->begun_us = clock_monotonic_us();
    s->bytes_in = start->readahead.size;
    memcpy(s->id, start->id, sizeof(s->id));
    snprintf(s->name, sizeof(s->name), "%.*s", SLICE_PRINT(start->name));
    snprintf(s->client, sizeof(s->client), "%.*s", SLICE_PRINT(start->client));
    event_assign(&s->readable, host->base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
    event_assign(&s->timer, host->base, -1, 0, on_timer, s);
    event_assign(&s->kick, host->base, -1, 0, on_kick, s);
    timer_within(s, host->settings->timeout_pop3);
    maildrop_open(s);
    return s;
}

static void farewell(void *session, const char *text, const char *reason)
{
    struct pop3 *s = session;
    (void)text;
    /* Outside a command POP3 has no word for it; inside one it would stand in a message. */
    evbuffer_write(s->output, s->fd);
    pop3_end(s, reason);
}

static void describe(void *session, char *text, size_t size)
{
    const struct pop3 *s = session;
    if (s->command == NULL) {
        snprintf(text, size, "idle, %u messages", s->count);
    } else {
        snprintf(text, size, "%s, waits for %s", s->command,
                 s->wait != NULL ? s->wait : "its turn");
    }
}

const struct session_protocol pop3_session = {
    .name = "pop3",
    .refusal = "-ERR [SYS/TEMP] Too many connections; please try again later\r\n",
    .create = create,
    .farewell = farewell,
    .describe = describe,
};
