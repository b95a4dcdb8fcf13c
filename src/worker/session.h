/*
 * A logged-in session inside its worker: what imap/ and pop3/ get from it and give to it. The
 * worker knows no protocol; it creates sessions from handovers, counts them, shows them in
 * `restante status`, and ends them.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "config/settings.h"
#include "ipc/messages.h"
#include "mailbox/mailbox.h"

struct event_base;
struct imap_turns;

/* A batch of messages in which a reader looks for needles: message/needle.h. */
struct session_search {
    struct slice charset; /* of the needles' texts; empty: UTF-8, or what they look like */
    struct slice needles; /* packed */
    size_t needle_count;
    int fd; /* sealed memory with so many records in size bytes; 0: see found */
    uint64_t size;
    uint32_t records;
};
/* bits: exactly those asked for, or none when the result is not OK; of no records: what should be
 * the needles, folded and packed. Valid during the call. */
typedef void session_found(void *arg, enum ipc_search_result result, struct slice bits);

struct session_host {
    struct event_base *base;
    struct mailbox_env *mailboxes;
    const struct settings *settings; /* changes in place at a reload */
    /* The session is gone: called once, from the loop or from within create's failure; the worker
     * forgets it. reason is a stable word for the log: logout, disconnect, idle, stall, protocol,
     * broken, shutdown, revoked. */
    void (*ended)(void *arg, void *session, const char *reason);
    /* Copies what it needs but for fd, which stays the caller's and open until found has run: once,
     * later, whatever becomes of the session. */
    void (*search)(void *arg, const struct session_search *search, session_found *found,
                   void *found_arg);
    struct imap_turns *searching; /* imap/turns.h */
    void *arg;
};

struct session_start { /* slices are valid during create */
    int fd;            /* clear text, non-blocking; taken */
    struct mailbox_account_ref account;
    struct slice name;      /* of the account, for log lines */
    struct slice client;    /* address */
    struct slice tag;       /* of the login command, for IMAP; it is answered by the session */
    struct slice final;     /* SCRAM's last word, to be sent with the OK */
    struct slice readahead; /* came behind the login command: handled first */
    bool secure;
    char id[24]; /* of the session, for "id=" in log lines */
};

struct session_protocol {
    const char *name;
    /* Never NULL: an account that cannot be opened is answered by the session, which then ends. */
    void *(*create)(const struct session_host *host, const struct session_start *start);
    /* Says its last word (* BYE text / nothing for POP3 outside a command), then ends. */
    void (*farewell)(void *session, const char *text, const char *reason);
    /* What a client is told for whom there is no room; it is logged in, but there is no session. */
    const char *refusal;
    /* Fills one line for `restante status`: command in work, what it waits for, mailbox. */
    void (*describe)(void *session, char *text, size_t size);
};

extern const struct session_protocol imap_session;
extern const struct session_protocol pop3_session;
