/*
 * POP3 after login, for the files of pop3/ alone: pop3_session.c moves bytes and time, maildrop.c
 * opens and locks what is shown, pop3_commands.c has the table of commands, retr.c sends messages,
 * ahead.c has the next ones ready.
 */
#pragma once
#include <event2/event.h>
#include <event2/event_struct.h>

#include <bsd/sys/tree.h>

#include "base/buf.h"
#include "pop3/pop3.h"
#include "pop3/stuff.h"
#include "worker/session.h"

enum {
    POP3_COMMAND_MAX = 1024,  /* RFC 2449 4: 255 octets; some room for the odd client */
    POP3_CHUNK = 128 * 1024,  /* of a message, read at a time */
    POP3_OUTPUT = 128 * 1024, /* what may wait for the client before a command pauses */
    POP3_PAGE = 1000,         /* messages loaded at a time */
    POP3_QUIET_S = 60,        /* see maildrop_lock() */
};

enum pop3_step {
    POP3_NEXT,  /* the next command */
    POP3_MORE,  /* call s->more when the output has room */
    POP3_WAIT,  /* the mailbox will call back */
    POP3_CLOSE, /* send what is queued, then end for s->reason */
    POP3_BREAK, /* end now, without a word: what was begun cannot be finished */
};

struct pop3_message { /* number - 1 is its place */
    uint32_t uid;
    uint32_t uidl; /* offset in uidls; UINT32_MAX: the default */
    uint64_t size;
    uint32_t order; /* see mailbox_message */
    bool deleted;
};

struct pop3 {
    RB_ENTRY(pop3) by_account; /* of those that hold the lock */
    bool locked;
    const struct session_host *host;
    struct mailbox_account_ref ref;
    struct mailbox_account *account;
    struct mailbox_view *view;

    /* For the log line of its end. */
    char id[24], name[321], client[65];
    uint64_t bytes_in, bytes_out, commands, begun_us;

    struct pop3_message *messages;
    uint32_t count, room;
    bool ordered;     /* a message has an order */
    uint32_t loading; /* sequence number of the next to load */
    uint32_t uidvalidity;
    struct buf uidls; /* NUL-terminated, those that are not the default */

    int fd;
    struct event readable, timer, kick;
    struct event *writable;
    struct evbuffer *input, *output;
    bool reading, eof, skipping;
    uint64_t heard_us, taken_us; /* the client said something; it took something */

    const char *command; /* in work; NULL: none */
    const char *wait;    /* for what, in words */
    enum pop3_step step;
    enum pop3_step (*more)(struct pop3 *s);
    const char *reason;
    unsigned bad;

    uint32_t number; /* of the message or the list entry in work */
    uint64_t offset;
    bool begun, top;
    struct pop3_stuff stuff;
    struct pop3_top lines;
    struct pop3_ahead *ahead; /* NULL until a message was retrieved */
};

/* ---- pop3_session.c ------------------------------------------------------------------------ */

void pop3_write(struct pop3 *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* From a callback of the mailbox: goes on with that step. */
void pop3_continue(struct pop3 *s, enum pop3_step step);
/* Frees it. */
void pop3_end(struct pop3 *s, const char *reason);
/* -ERR with the code for it; BROKEN: closes without a word (RFC 3206, RFC 2449 8). */
enum pop3_step pop3_trouble(struct pop3 *s, enum mailbox_result result);

/* ---- maildrop.c ---------------------------------------------------------------------------- */

void maildrop_open(struct pop3 *s);
void maildrop_close(struct pop3 *s);
/* "%08x%08x" or what it brought along; buffer for the former. */
const char *maildrop_uidl(const struct pop3 *s, const struct pop3_message *message,
                          char buffer[20]);

/* ---- pop3_commands.c, retr.c --------------------------------------------------------------- */

enum pop3_step pop3_command(struct pop3 *s, struct slice line);
enum pop3_step pop3_bad(struct pop3 *s, const char *text);
/* NULL: there is none such, or it is deleted. */
struct pop3_message *pop3_message(struct pop3 *s, uint32_t number);
enum pop3_step pop3_retr(struct pop3 *s, uint32_t number);
enum pop3_step pop3_top(struct pop3 *s, uint32_t number, uint32_t lines);

/* ---- ahead.c ------------------------------------------------------------------------------- */

/* For RETR: the first POP3_CHUNK bytes of that message, or all if it has less; the caller's. NULL:
 * they are to be read. */
struct evbuffer *pop3_ahead_take(struct pop3 *s, uint32_t number);
/* Reads what the client will probably ask for next, if it reads one message after the other. */
void pop3_ahead_fill(struct pop3 *s);
/* Behind mailbox_view_close(): no read comes back any more. */
void pop3_ahead_finish(struct pop3 *s);
