/*
 * A session from the handover to its end: the socket, the turns of the loop, the timeouts. It reads
 * what there is, lets command.c work as long as a turn may last, and sends what has been queued.
 *
 * Back-pressure: nothing is read while 64 KiB of commands wait, no command is begun or goes on
 * while more than limit_output waits for the client. An idle session holds no buffers.
 *
 * Ending: imap_end() only marks; whoever is at the bottom of the stack (end_turn) takes it down, so
 * that no command finds its session freed under it. Words that the socket does not take at once
 * are given timeout_stall.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "imap/capability.h"
#include "imap/imap_priv.h"
#include "io/fd.h"

enum { INPUT_MAX = 64 * 1024, TURN_US = 1000, FEW = 4096 };

/* ---- output -------------------------------------------------------------------------------- */

struct evbuffer *imap_out(struct imap_session *session)
{
    if (session->out == NULL)
        session->out = evbuffer_new();
    return session->out;
}

static size_t waiting(const struct imap_session *session)
{
    return session->out == NULL ? 0 : evbuffer_get_length(session->out);
}

bool imap_output_full(const struct imap_session *session)
{
    return waiting(session) > session->host->settings->limit_output;
}

bool imap_turn_over(const struct imap_session *session)
{
    return clock_monotonic_us() >= session->turn_ends;
}

static struct timeval seconds(uint64_t s)
{
    return (struct timeval){.tv_sec = (time_t)s};
}

/* Sends what the socket takes. */
static void send_output(struct imap_session *session)
{
    while (waiting(session) > 0) {
        int sent = session->reason != NULL ? fd_write_last(session->fd, session->out)
                                           : evbuffer_write(session->out, session->fd);
        if (sent <= 0) {
            if (sent < 0 && errno != EAGAIN && errno != EINTR) {
                evbuffer_drain(session->out, waiting(session));
                imap_end(session, "disconnect");
            }
            break;
        }
        session->bytes_out += (uint64_t)sent;
    }
    if (waiting(session) == 0 && session->out != NULL) {
        evbuffer_free(session->out);
        session->out = NULL;
    }
}

/* ---- the end ------------------------------------------------------------------------------- */

void imap_end(struct imap_session *session, const char *reason)
{
    if (session->reason == NULL)
        session->reason = reason;
}

static void let_go_of_mail(struct imap_session *session)
{
    imap_command_drop(session);
    imap_close_view(session);
    mailbox_account_release(&session->account);
}

static void destroy(struct imap_session *session)
{
    const struct session_host *host = session->host;
    log_info("session_end",
             "protocol=imap account=%s rip=%s id=%s reason=%s in=%llu out=%llu commands=%llu",
             log_value(slice_str(session->login_name)).text,
             log_value(slice_str(session->client)).text, session->id, session->reason,
             (unsigned long long)session->bytes_in, (unsigned long long)session->bytes_out,
             (unsigned long long)session->commands);
    event_free(session->read_event);
    event_free(session->write_event);
    event_free(session->work_event);
    close(session->fd);
    if (session->in != NULL)
        evbuffer_free(session->in);
    if (session->out != NULL)
        evbuffer_free(session->out);
    imap_reader_finish(&session->reader);
    arena_finish(&session->arena);
    uidset_finish(&session->saved);
    free(session->login_tag);
    free(session->login_name);
    free(session->client);
    host->ended(host->arg, session, session->reason);
    free(session);
}

static bool may_linger(const char *reason)
{
    return strcmp(reason, "logout") == 0 || strcmp(reason, "protocol") == 0 ||
           strcmp(reason, "disconnect") == 0;
}

/* ---- turns --------------------------------------------------------------------------------- */

/* A client that has sent a part of a command may be waiting for our kernel's delayed ACK before it
 * sends the rest (Nagle: imaplib's CRLF behind a literal): 40 ms per APPEND. Without TLS only;
 * there the descriptor is no TCP socket and this does nothing. */
static void acknowledge(struct imap_session *session)
{
    int on = 1;
    if (!imap_reader_empty(&session->reader))
        setsockopt(session->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

/* A few words that a command has said before it waits go with its next ones: that is one call and
 * one packet less for SELECT. The answer to a command that has ended waits for no other. */
static bool keeps_words(const struct imap_session *session)
{
    return session->reason == NULL && session->work.asked && !session->work.woken &&
           !session->work.behind && waiting(session) < FEW;
}

/* After everything that may have changed something. The session may be gone behind it. */
static void end_turn(struct imap_session *session)
{
    if (!keeps_words(session))
        send_output(session);
    if (session->reason != NULL) {
        let_go_of_mail(session);
        event_del(session->read_event);
        event_del(session->work_event);
        if (waiting(session) == 0 || !may_linger(session->reason)) {
            destroy(session);
            return;
        }
    }
    struct timeval stall = seconds(session->host->settings->timeout_stall);
    if (waiting(session) > 0 && !keeps_words(session))
        event_add(session->write_event, &stall);
    else
        event_del(session->write_event);
    if (session->reason != NULL)
        return;
    if (session->full && waiting(session) <= session->host->settings->limit_output / 2) {
        session->full = false; /* the socket took it at once: no event will come */
        event_active(session->work_event, EV_TIMEOUT, 1);
    }
    acknowledge(session);
    size_t held = session->in == NULL ? 0 : evbuffer_get_length(session->in);
    struct timeval idle = seconds(session->host->settings->timeout_imap);
    if (session->eof || held >= INPUT_MAX)
        event_del(session->read_event);
    else if (!event_pending(session->read_event, EV_READ, NULL))
        event_add(session->read_event, &idle);
}

/* Gives the reader what has come, up to its next event; false: there is none. */
static bool feed(struct imap_session *session, enum imap_reader_event *event)
{
    *event = IMAP_READER_MORE;
    while (session->in != NULL && *event == IMAP_READER_MORE) {
        size_t size = evbuffer_get_contiguous_space(session->in);
        struct slice in = slice_make(evbuffer_pullup(session->in, (ev_ssize_t)size), size);
        *event = imap_reader_feed(&session->reader, &in);
        evbuffer_drain(session->in, size - in.size);
        if (evbuffer_get_length(session->in) == 0) {
            evbuffer_free(session->in);
            session->in = NULL;
        }
    }
    return *event != IMAP_READER_MORE;
}

/* One piece of work; false: nothing more can be done in this turn. */
static bool work(struct imap_session *session)
{
    enum imap_reader_event event;
    if (session->work.command != NULL) {
        enum imap_step step = imap_command_run(session);
        if (step == IMAP_DONE)
            return true;
        if (step == IMAP_MORE)
            event_active(session->work_event, EV_TIMEOUT, 1);
        if (step == IMAP_CLOSE)
            imap_end(session, "broken");
        session->full = step == IMAP_WAIT_OUTPUT;
        if (step != IMAP_WAIT_INPUT)
            return false;
        if (!feed(session, &event)) {
            if (session->eof)
                imap_end(session, "disconnect");
            return false;
        }
        imap_command_line(session, event);
        return true;
    }
    session->full = imap_output_full(session);
    if (session->full)
        return false;
    if (imap_turn_over(session)) {
        event_active(session->work_event, EV_TIMEOUT, 1);
        return false;
    }
    if (feed(session, &event)) {
        imap_command_event(session, event);
        return true;
    }
    if (session->eof)
        imap_end(session, "disconnect");
    return false;
}

static void turn(struct imap_session *session)
{
    if (session->running)
        return;
    session->running = true;
    session->turn_ends = clock_monotonic_us() + TURN_US;
    while (session->ready && session->reason == NULL && work(session))
        ;
    session->running = false;
    end_turn(session);
}

void imap_wake(struct imap_session *session)
{
    session->work.woken = true;
    turn(session);
}

/* ---- events -------------------------------------------------------------------------------- */

static void on_idle(struct imap_session *session)
{
    const struct imap_work *work = &session->work;
    struct timeval idle = seconds(session->host->settings->timeout_imap);
    if (work->command != NULL && (work->command->flags & IMAP_TAKES_LINE) == 0) {
        event_add(session->read_event, &idle);
        return;
    }
    imap_printf(session, "* BYE Nothing was heard for too long.\r\n"); /* RFC 3501 5.4 */
    imap_end(session, "idle");
    end_turn(session);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    static uint8_t scratch[INPUT_MAX]; /* of the loop's one thread */
    struct imap_session *session = arg;
    if ((what & EV_TIMEOUT) != 0) {
        on_idle(session);
        return;
    }
    ssize_t size = read(fd, scratch, sizeof(scratch));
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < 0) {
        imap_end(session, "disconnect");
    } else if (size == 0) {
        session->eof = true; /* what it asked for before is still answered */
    } else {
        if (session->in == NULL)
            session->in = evbuffer_new();
        evbuffer_add(session->in, scratch, (size_t)size);
        session->bytes_in += (uint64_t)size;
    }
    turn(session);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    struct imap_session *session = arg;
    if ((what & EV_TIMEOUT) != 0) {
        evbuffer_drain(session->out, waiting(session));
        imap_end(session, "stall");
        end_turn(session);
        return;
    }
    send_output(session);
    if (waiting(session) <= session->host->settings->limit_output / 2)
        turn(session);
    else
        end_turn(session);
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
    turn(arg);
}

static void on_account(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    struct imap_session *session = arg;
    if (result == MAILBOX_OK) {
        imap_printf(session, "%s OK [CAPABILITY " IMAP_CAPABILITY_AFTER "] Logged in.\r\n",
                    session->login_tag);
        session->ready = true;
    } else {
        const char *text = mailbox_result_text(result);
        imap_printf(session, "%s NO [UNAVAILABLE] %s\r\n* BYE Please try again later.\r\n",
                    session->login_tag, *text == 0 ? "The account cannot be opened." : text);
        imap_end(session, "broken");
    }
    turn(session);
}

/* ---- what the worker calls ----------------------------------------------------------------- */

static void *imap_session_create(const struct session_host *host, const struct session_start *start)
{
    struct imap_session *session = MEM_NEW(struct imap_session);
    session->host = host;
    session->fd = start->fd;
    session->login_tag = slice_strdup(start->tag);
    session->login_name = slice_strdup(start->name);
    session->client = slice_strdup(start->client);
    memcpy(session->id, start->id, sizeof(session->id));
    session->id[sizeof(session->id) - 1] = 0;
    session->secure = start->secure;
    imap_reader_init(&session->reader, host->settings->limit_line);
    arena_init(&session->arena);
    if (start->readahead.size > 0) {
        session->in = evbuffer_new();
        evbuffer_add(session->in, start->readahead.data, start->readahead.size);
        session->bytes_in = start->readahead.size;
    }
    session->read_event =
        event_new(host->base, session->fd, EV_READ | EV_PERSIST, on_read, session);
    session->write_event =
        event_new(host->base, session->fd, EV_WRITE | EV_PERSIST, on_write, session);
    session->work_event = event_new(host->base, -1, 0, on_work, session);
    session->account = mailbox_account_open(host->mailboxes, &start->account, on_account, session);
    end_turn(session);
    return session;
}

static void imap_session_farewell(void *opaque, const char *text, const char *reason)
{
    struct imap_session *session = opaque;
    if (session->reason == NULL)
        imap_printf(session, "* BYE %s\r\n", text);
    imap_end(session, reason);
    end_turn(session);
}

static void imap_session_describe(void *opaque, char *text, size_t size)
{
    const struct imap_session *session = opaque;
    const struct imap_work *work = &session->work;
    struct mailbox_info info = {0};
    if (session->selected)
        mailbox_view_info(session->view, &info);
    snprintf(text, size, "%s%s%s%s%s%.*s", work->uid ? "UID " : "",
             work->command == NULL ? (session->ready ? "waits for a command" : "opens the account")
                                   : work->command->name,
             work->command == NULL || work->wait == NULL ? "" : " waits for ",
             work->command == NULL || work->wait == NULL ? "" : work->wait,
             session->selected ? " in " : "", SLICE_PRINT(info.name));
}

const struct session_protocol imap_session = {
    .name = "imap",
    .refusal = "* BYE [UNAVAILABLE] Too many connections; please try again later.\r\n",
    .create = imap_session_create,
    .farewell = imap_session_farewell,
    .describe = imap_session_describe,
};
