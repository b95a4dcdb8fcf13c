/*
 * A session after login, for the files of this folder: its state, what a command's file gives to
 * the table in command.c, and how it answers.
 *
 * One command is in work at a time, the next is taken from the input when it is done; so all
 * pipelining rules (RFC 3501 5.5) hold by construction: nothing runs beside a command that counts
 * messages. A command is a check() that reads its arguments and touches nothing, and a proceed()
 * that is called until it says IMAP_DONE: at first, after IMAP_MORE (in a later turn of the loop
 * when it has used its share), and when what it waits for has come.
 */
#pragma once
#include <event2/buffer.h>
#include <event2/event.h>

#include "base/arena.h"
#include "imap/arguments.h"
#include "imap/reader.h"
#include "worker/session.h"

struct imap_session;
struct imap_command;

enum imap_step {
    IMAP_DONE,        /* answered by imap_reply(), or "OK ... completed." */
    IMAP_MORE,        /* has more to do and is not waiting */
    IMAP_WAIT_STORE,  /* an answer of the mailbox layer calls imap_wake() */
    IMAP_WAIT_OUTPUT, /* until the client has taken most of what is queued */
    IMAP_WAIT_INPUT,  /* for a line, or for news (IDLE) */
    IMAP_CLOSE,       /* imap_end() was called, or is to be with reason "broken" */
};

enum imap_state { IMAP_AUTHENTICATED = 1, IMAP_SELECTED = 2 };

enum imap_command_flag {
    IMAP_HAS_UID_FORM = 1,
    IMAP_ONLY_UID_FORM = 2, /* the row is for "UID name" alone */
    IMAP_KEEPS_NUMBERS = 4, /* no EXPUNGE may be told at its end, but in the UID form (7.4.1) */
    IMAP_TAKES_LINE = 8,    /* the next line goes to it, not to the table */
    IMAP_SPOOLS = 16,       /* its literals may go to a file: asked by announced() */
    IMAP_KEEPS_ALWAYS = 64, /* also in the UID form (RFC 7162 3.2.10.2: UID SEARCH 1:5) */
    IMAP_SAYS_MODSEQ = 32,  /* the new HIGHESTMODSEQ when it expunged (RFC 7162 3.2.7, 3.2.9) */
};

/* A row of the table. */
struct imap_command {
    const char *name;
    uint8_t states; /* bits of enum imap_state */
    uint8_t flags;
    size_t size; /* of the command's own struct: arguments first, then progress; cleared */
    /* Fills the struct, from behind the name to the end of the text. NULL: takes none. */
    bool (*check)(struct imap_parser *parser, bool uid, void *own);
    enum imap_step (*proceed)(struct imap_session *session, void *own);
    void (*finish)(void *own); /* gives back what is not in the arena; may be NULL */
};

extern const struct imap_command *const imap_commands[];

/* The command in work. */
struct imap_work {
    const struct imap_command *command; /* NULL: none */
    struct slice tag;
    bool uid;
    void *own;
    struct slice line;          /* IMAP_TAKES_LINE: the line, data NULL while there is none */
    const char *reply;          /* without the tag and the line end */
    const char *wait;           /* what it waits for, in words */
    bool asked, woken;          /* a request is on its way; its answer has come */
    bool behind;                /* what commands before it said is still queued */
    bool expunged;              /* an expunge was told while it was in work */
    enum mailbox_result result; /* of the answer waited for, by imap_mailbox_done */
};

struct imap_spool; /* append_spool.c */

struct imap_session {
    const struct session_host *host;
    int fd;
    struct event *read_event, *write_event, *work_event;
    struct evbuffer *in, *out; /* NULL while empty */
    struct imap_reader reader;
    struct arena arena; /* of the command in work */
    struct imap_work work;
    struct imap_spool *spool; /* the messages of an APPEND on their way in; NULL: none */

    struct mailbox_account *account;
    struct mailbox_view *view; /* NULL: nothing selected, or not yet */
    bool selected;             /* the view is open and told */
    char *login_tag, *login_name, *client;
    char id[24];
    bool secure, ready;      /* ready: the account is open */
    struct uidset saved;     /* UIDs that "$" stands for (RFC 5182) */
    size_t keywords_told;    /* of the view, in FLAGS */
    bool condstore, qresync; /* enabled (RFC 7162 3.1, 3.2.3); qresync has condstore */
    bool utf8;               /* enabled (RFC 6855), */
    bool rev2;               /* or as a part of IMAP4rev2 (RFC 9051) */
    bool modseq_held;        /* the last HIGHESTMODSEQ told was a lower one */
    bool eof, running;
    bool full;          /* work has stopped until the client takes what is queued */
    const char *reason; /* why it ends; NULL while it lives */
    uint64_t turn_ends; /* monotonic: when proceed() should give the loop back */
    uint64_t bad;
    uint64_t bytes_in, bytes_out, commands;
};

/* ---- session.c ----------------------------------------------------------------------------- */

/* What was waited for has come: goes on with the command, or with the next. */
void imap_wake(struct imap_session *session);
/* Ends the session: after this, proceed() returns IMAP_CLOSE at once. reason as in
 * worker/session.h. What is queued is sent if the socket takes it. */
void imap_end(struct imap_session *session, const char *reason);
bool imap_output_full(const struct imap_session *session);
/* The share of this turn is used up: return IMAP_MORE. */
bool imap_turn_over(const struct imap_session *session);

/* ---- command.c ----------------------------------------------------------------------------- */

/* The reader has an event, and no command is in work. */
void imap_command_event(struct imap_session *session, enum imap_reader_event event);
/* The same for a command that takes lines. */
void imap_command_line(struct imap_session *session, enum imap_reader_event event);
/* Calls proceed() until it waits or is done. */
enum imap_step imap_command_run(struct imap_session *session);
void imap_command_drop(struct imap_session *session); /* without an answer */

/* ---- respond.c ----------------------------------------------------------------------------- */

struct evbuffer *imap_out(struct imap_session *session);
void imap_printf(struct imap_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void imap_put(struct imap_session *session, struct slice bytes);
/* The tagged answer of the command in work, without tag and line end: "OK [READ-ONLY] Done." */
void imap_reply(struct imap_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));
/* The same for a result that is not OK: "NO [code] text". BROKEN ends the session. Returns what
 * proceed() is to return. */
enum imap_step imap_reply_result(struct imap_session *session, enum mailbox_result result);
/* A target that is not there: NO [TRYCREATE] (RFC 3501 6.3.11, 6.4.7). */
enum imap_step imap_reply_target(struct imap_session *session, enum mailbox_result result);

void imap_put_string(struct buf *out, struct slice string); /* NIL, quoted or literal */
void imap_put_mailbox(struct imap_session *session, struct slice name);
void imap_put_flags(struct buf *out, struct mailbox_account *account,
                    const struct mailbox_entry *entry);
void imap_put_set(struct evbuffer *out, const struct uidset *set);
/* "FLAGS (...)" of the mailbox; with star: as PERMANENTFLAGS. */
void imap_put_flags_known(struct imap_session *session, bool star);

/* ---- tell.c -------------------------------------------------------------------------------- */

/* Everything the view has to tell; expunges as allowed. False: the mailbox is gone, and the
 * session has ended. */
bool imap_tell(struct imap_session *session, bool expunges, bool with_uid);

/* "* n EXISTS". */
void imap_put_exists(struct imap_session *session, uint32_t count);
/* "* n FETCH (...)" of a change: with UID and MODSEQ where CONDSTORE is on. */
void imap_put_change(struct imap_session *session, uint32_t sequence,
                     const struct mailbox_entry *entry, bool uid, bool flags);
void imap_put_vanished(struct imap_session *session, const struct uidset *uids, bool earlier);
/* "* OK [HIGHESTMODSEQ n] text" of the selected mailbox. */
void imap_put_highest(struct imap_session *session, const char *text);
/* By a CONDSTORE enabling command (RFC 7162 3.1); says HIGHESTMODSEQ the first time. */
void imap_enable_condstore(struct imap_session *session);
/* A mailbox_vanished_done whose arg is the session: tells them as EARLIER, wakes. */
void imap_vanished_done(void *arg, enum mailbox_result result, const struct uidset *uids);

/* ---- cmd_list.c ----------------------------------------------------------------------------- */

/* "* LIST" of one mailbox, as SELECT and CREATE have it in IMAP4rev2; given: the name as the client
 * wrote it, which is told as OLDNAME when it is another one (RFC 9051 6.3.9.7). */
void imap_put_list(struct imap_session *session, const struct mailbox_info *info,
                   struct slice given);

/* ---- cmd_select.c ------------------------------------------------------------------------------
 */

void imap_close_view(struct imap_session *session);

/* ---- sets.c -------------------------------------------------------------------------------- */

/* The messages of a set as sequence numbers. False: a number is beyond the mailbox (mostly BAD);
 * those that are there are in sequences even so. */
bool imap_set_sequences(struct imap_session *session, const struct imap_set *set, bool uid,
                        struct uidset *sequences);
/* UIDs as a client knows them, whether they are there or not; "*" is everything above. */
void imap_set_known(struct imap_session *session, const struct imap_set *set, struct uidset *uids);
/* Their UIDs. */
void imap_set_uids(struct imap_session *session, const struct uidset *sequences,
                   struct uidset *uids);

/* A mailbox_done whose arg is the session: keeps the result, wakes. */
void imap_mailbox_done(void *arg, enum mailbox_result result);
/* Returned by proceed() after a request: says what for. */
enum imap_step imap_wait_store(struct imap_session *session, const char *what);

/* ---- append_spool.c ------------------------------------------------------------------------ */

/* The text so far, whose parser stands behind the command's name, ends with the announcement of a
 * literal. True when APPEND would have it as a message: then it goes to the spool, or *refusal is
 * the answer to give instead. */
bool imap_spool_announced(struct imap_session *session, struct imap_parser *parser,
                          const char **refusal);
/* The message being read is whole. Accepts NULL. */
void imap_spool_seal(struct imap_spool *spool);
/* The i-th message, the spool's; false: it could not be kept. */
bool imap_spool_message(const struct imap_spool *spool, size_t i, struct mailbox_bytes *bytes);
void imap_spool_destroy(struct imap_spool **spool);
