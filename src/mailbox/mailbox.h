/*
 * Mailboxes as sessions and deliveries use them: asynchronous, over store.h, one loop per worker,
 * no locks. Two implementations are foreseen: this one, and a proxy to the worker that owns another
 * user's account; callers see no difference.
 *
 * Callbacks run exactly once, on the loop, later than the call. Whoever gives a callback an arg
 * that may die earlier cancels through the view or account: after mailbox_view_close() or
 * mailbox_account_release() no callback of requests made through that handle runs any more (the
 * change itself, once submitted, goes on).
 *
 * What is told is durable. All state that the accessors show, and every event a view tells, has
 * been acknowledged by the store before.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/slice.h"
#include "mailbox/uidset.h"

struct event_base;
struct evbuffer;
struct store;
struct mailbox_env;
struct mailbox_account;
struct mailbox_view;

/* MAILBOX_RESULT(name, IMAP response code or "", text for the client) */
#define MAILBOX_RESULTS(X)                                                                         \
    X(OK, "", "Done.")                                                                             \
    X(NO_SUCH, "NONEXISTENT", "There is no such mailbox.")                                         \
    X(EXISTS, "ALREADYEXISTS", "There is such a mailbox already.")                                 \
    X(BAD_NAME, "CANNOT", "That mailbox name cannot be used.")                                     \
    X(HAS_CHILDREN, "HASCHILDREN", "That mailbox has mailboxes below it.")                         \
    X(CANNOT, "CANNOT", "That cannot be done with this mailbox.")                                  \
    X(READ_ONLY, "READ-ONLY", "The mailbox was opened read-only.")                                 \
    X(OVER_QUOTA, "OVERQUOTA", "The account has no room left.")                                    \
    X(LIMIT, "LIMIT", "A limit of the server is reached.")                                         \
    X(EXPUNGED, "EXPUNGEISSUED", "Some of the messages are no longer there.")                      \
    X(UNAVAILABLE, "UNAVAILABLE", "The server is busy; please try again.")                         \
    X(NOSPACE, "UNAVAILABLE", "The server is out of space; please try again later.")               \
    X(CORRUPT, "SERVERBUG", "A part of this mailbox is damaged; the administrator has been told.") \
    X(BROKEN, "UNAVAILABLE", "")

/* BROKEN: close the connection without an answer (store: FENCED, UNKNOWN). */
enum mailbox_result {
#define X(name, code, text) MAILBOX_##name,
    MAILBOX_RESULTS(X)
#undef X
};

const char *mailbox_result_code(enum mailbox_result result);
const char *mailbox_result_text(enum mailbox_result result);

/* ---- the environment of a worker ----------------------------------------------------------- */

/* summary: packed as in message/summary.h, already checked against size; empty: could not be read.
 * Valid during the call. */
typedef void mailbox_summarized(void *arg, struct slice summary);

struct mailbox_options {
    struct event_base *base;
    /* The store of a volume, or NULL when this worker does not own it. */
    struct store *(*volume)(void *arg, uint32_t volume);
    /* Has a reader look at bytes in wire form. fd is sealed memory of them, -1 when the caller of
     * the mailbox had none. Both stay as they are until summarized runs. */
    void (*summarize)(void *arg, int fd, struct slice bytes, mailbox_summarized *summarized,
                      void *done_arg);
    void *arg;
    uint64_t memory_budget; /* bytes of mailboxes that no session has open; 0: 64 MiB */
    uint32_t grace_s;       /* expunged messages stay restorable this long */
    uint64_t changes_kept;  /* MODSEQs that the change log reaches back; 0: 100,000 */
    uint32_t mailboxes_max; /* per account */
    uint32_t keywords_max;  /* per account, over all time, and as many combinations; 0: 100,000 */
};

struct mailbox_env *mailbox_env_create(const struct mailbox_options *options);
/* All accounts must be released before. Accepts NULL. */
void mailbox_env_destroy(struct mailbox_env **env);

/* ---- accounts ------------------------------------------------------------------------------ */

struct mailbox_account_ref {
    struct id id;
    uint32_t volume;
    uint64_t quota; /* bytes of mail; 0: none */
};

/*
 * Loads the account, or makes it with INBOX, Drafts, Sent, Trash, Junk, Archive (special use, RFC
 * 6154; subscribed) when it is new. All holders in this worker share one. The handle is the
 * caller's own: each open needs its release.
 */
typedef void mailbox_account_opened(void *arg, enum mailbox_result result,
                                    struct mailbox_account *account);
/* Returns the handle at once, so that an open can be called off by releasing it. */
struct mailbox_account *mailbox_account_open(struct mailbox_env *env,
                                             const struct mailbox_account_ref *ref,
                                             mailbox_account_opened *opened, void *arg);
void mailbox_account_release(struct mailbox_account **account);

struct mailbox_usage {
    uint64_t bytes, messages; /* without expunged ones */
    uint64_t quota;
};
void mailbox_account_usage(struct mailbox_account *account, struct mailbox_usage *usage);

/* Wipes every record and blob reference of an account that nobody has open (resumable). */
typedef void mailbox_done(void *arg, enum mailbox_result result);
void mailbox_account_purge(struct mailbox_env *env, const struct mailbox_account_ref *ref,
                           mailbox_done *done, void *arg);

/* ---- the mailboxes of an account ----------------------------------------------------------- */

enum { MAILBOX_SEPARATOR = '/', MAILBOX_NAME_MAX = 1000, MAILBOX_DEPTH_MAX = 50 };

enum mailbox_special { /* bits; RFC 6154 */
                       MAILBOX_SPECIAL_DRAFTS = 1,
                       MAILBOX_SPECIAL_SENT = 2,
                       MAILBOX_SPECIAL_TRASH = 4,
                       MAILBOX_SPECIAL_JUNK = 8,
                       MAILBOX_SPECIAL_ARCHIVE = 16,
                       MAILBOX_SPECIAL_FLAGGED = 32,
                       MAILBOX_SPECIAL_ALL = 64,
};

struct mailbox_info {
    struct slice name; /* full, UTF-8 NFC, '/' between levels; valid until the next loop turn */
    struct id object;  /* MAILBOXID (RFC 8474): stays through renames */
    uint32_t uidvalidity, uidnext;
    uint32_t import_next; /* see mailbox_adopt(); 0: nothing was imported with UIDs */
    uint64_t modseq;      /* HIGHESTMODSEQ */
    uint32_t messages, unseen, deleted;
    uint64_t size; /* sum of RFC822.SIZE */
    uint32_t special;
    bool subscribed, selectable, children;
};

/* In the order of names, INBOX first. The visitor changes nothing. */
void mailbox_list(struct mailbox_account *account,
                  void (*visit)(void *arg, const struct mailbox_info *info), void *arg);
/* Subscribed names, whether they exist or not (RFC 3501 6.3.6). */
void mailbox_list_subscriptions(struct mailbox_account *account,
                                void (*visit)(void *arg, struct slice name), void *arg);
/* INBOX in any case is the same; names are compared after normalisation. */
bool mailbox_find(struct mailbox_account *account, struct slice name, struct mailbox_info *info);

/* OK, EXISTS, BAD_NAME, LIMIT and trouble. Missing parents are made. */
void mailbox_create(struct mailbox_account *account, struct slice name, uint32_t special,
                    mailbox_done *done, void *arg);
/* OK, NO_SUCH, CANNOT (INBOX). With children: the mailbox stays as a name that cannot be selected
 * (RFC 3501 6.3.4); deleting that again is HAS_CHILDREN. */
void mailbox_delete(struct mailbox_account *account, struct slice name, mailbox_done *done,
                    void *arg);
/* Children move with it. INBOX: its messages move to the new mailbox (RFC 3501 6.3.5). */
void mailbox_rename(struct mailbox_account *account, struct slice from, struct slice to,
                    mailbox_done *done, void *arg);
void mailbox_subscribe(struct mailbox_account *account, struct slice name, bool subscribed,
                       mailbox_done *done, void *arg);

/* ---- messages ------------------------------------------------------------------------------ */

enum mailbox_flag { /* bits */
                    MAILBOX_SEEN = 1,
                    MAILBOX_ANSWERED = 2,
                    MAILBOX_FLAGGED = 4,
                    MAILBOX_DELETED = 8,
                    MAILBOX_DRAFT = 16,
};

/* Flags as a client gives them. Keywords keep the spelling of their first use in the account and
 * are compared without case. */
struct mailbox_flags {
    uint32_t system; /* bits of enum mailbox_flag */
    const struct slice *keywords;
    size_t keyword_count;
};

/* What a mailbox holds of a message: always in memory while a view is open. */
struct mailbox_entry {
    uint32_t uid;
    uint32_t email;       /* EMAILID within the account */
    uint32_t flags;       /* bits of enum mailbox_flag */
    uint32_t keyword_set; /* see mailbox_keywords() */
    uint64_t modseq;
    uint32_t save_date;
    uint32_t size; /* RFC822.SIZE */
};

/* The keywords of a set, in a stable order; valid as long as the account handle. */
size_t mailbox_keywords(struct mailbox_account *account, uint32_t keyword_set,
                        const struct slice **keywords);
/* All keywords that any message of the mailbox carries or carried, for FLAGS (RFC 3501 7.2.6). */
size_t mailbox_view_keywords(struct mailbox_view *view, const struct slice **keywords);

/* A message that comes in, in wire form. */
struct mailbox_bytes {
    int fd;           /* sealed memory of that size, the caller's; -1: data, for a short one */
    const void *data; /* copied before the call returns; at most IPC_SHORT bytes */
    uint64_t size;
};

struct mailbox_source {
    struct mailbox_bytes bytes;
    struct slice prefix; /* at most 2 KB, CRLF lines, ahead of the bytes; may be empty */
    struct mailbox_flags flags;
    uint64_t date_us;     /* INTERNALDATE, since 1970; 0: now */
    int32_t zone_minutes; /* of INTERNALDATE as the client gave it; kept */
    struct slice uidl;    /* a UIDL it brings along; empty: the default */
    uint32_t pop3_order;  /* see mailbox_message */
    uint32_t uid;         /* a UID it brings along, see mailbox_adopt(); 0: the next */
};

struct mailbox_appended {
    uint32_t uidvalidity;
    struct uidset uids; /* in the order of the sources */
};
typedef void mailbox_append_done(void *arg, enum mailbox_result result,
                                 const struct mailbox_appended *appended);
/* All or none (RFC 3502). Copies what it needs of the sources before it returns, but for
 * descriptors. CANNOT: UIDs that only some bring, that do not ascend, or are below UIDNEXT. */
void mailbox_append(struct mailbox_account *account, struct slice name,
                    const struct mailbox_source *sources, size_t count, mailbox_append_done *done,
                    void *arg);

/*
 * Makes the mailbox the heir of one on another server: it takes over that UIDVALIDITY, and the UIDs
 * below uidnext are kept for mailbox_append() of messages that bring theirs; whatever else comes in
 * meanwhile goes behind them. mailbox_info's import_next is the first UID that no import has
 * brought; UIDs between it and UIDNEXT were lost to mail that came between two imports. finished:
 * nothing more will be brought below uidnext, which becomes UIDNEXT unless that is higher.
 * OK, NO_SUCH; CANNOT: another UIDVALIDITY, and there is or has been mail in it.
 */
void mailbox_adopt(struct mailbox_account *account, struct slice name, uint32_t uidvalidity,
                   uint32_t uidnext, bool finished, mailbox_done *done, void *arg);

/* ---- delivery ------------------------------------------------------------------------------ */

struct mailbox_recipient {
    struct mailbox_account_ref account;
    struct slice prefix;  /* Return-Path, Delivered-To, Received of this delivery */
    struct slice mailbox; /* name; empty or not there: INBOX */
};

/* duplicate: the same bytes came before, within a day; OK and nothing stored. */
typedef void mailbox_delivered(void *arg, size_t recipient, enum mailbox_result result,
                               bool duplicate);
/*
 * One message to many accounts of volumes this worker owns; the bytes are stored once per volume.
 * Answers each recipient by itself. A message with a Message-ID field whose same bytes (without
 * the prefix) were delivered to the same account within 24 hours is answered again, not stored.
 * Copies what it needs before it returns, but for a descriptor: it stays open until all are
 * answered.
 */
void mailbox_deliver(struct mailbox_env *env, const struct mailbox_bytes *bytes,
                     const struct mailbox_recipient *recipients, size_t count,
                     mailbox_delivered *delivered, void *arg);

/* ---- a session's view of one mailbox ------------------------------------------------------- */

typedef void mailbox_view_opened(void *arg, enum mailbox_result result, struct mailbox_view *view);
/* Returns the handle at once; it may be used after opened ran with OK. Close it in any case. */
struct mailbox_view *mailbox_view_open(struct mailbox_account *account, struct slice name,
                                       bool read_only, mailbox_view_opened *opened, void *arg);
void mailbox_view_close(struct mailbox_view **view);

/* Called (once until the next poll) when there is something to tell, in the loop turn in which it
 * became durable; also when the mailbox was deleted or the account broke. */
void mailbox_view_notify(struct mailbox_view *view, void (*changed)(void *arg), void *arg);

enum mailbox_view_state { MAILBOX_VIEW_LIVE, MAILBOX_VIEW_DELETED, MAILBOX_VIEW_BROKEN };
enum mailbox_view_state mailbox_view_state(const struct mailbox_view *view);

/* As of now; name and counters of the mailbox itself, not of what was told. */
void mailbox_view_info(const struct mailbox_view *view, struct mailbox_info *info);
bool mailbox_view_read_only(const struct mailbox_view *view);

/*
 * Sequence numbers, 1 to count: what this session has been told, untold expunged messages included
 * (they stay readable), untold new ones not.
 */
uint32_t mailbox_view_count(const struct mailbox_view *view);
/* Valid until the next loop turn. */
const struct mailbox_entry *mailbox_view_at(const struct mailbox_view *view, uint32_t sequence);
/* 0 when the session has not been told of such a message. */
uint32_t mailbox_view_sequence(const struct mailbox_view *view, uint32_t uid);
/* Sequence number of the first message with at least that uid; count + 1 when there is none. */
uint32_t mailbox_view_sequence_from(const struct mailbox_view *view, uint32_t uid);
/* True when the message was expunged and this session has not been told. */
bool mailbox_view_expunged(const struct mailbox_view *view, uint32_t sequence);

/* What to tell. expunge comes first (sequence as of then), then flags, then exists. */
struct mailbox_teller {
    void (*expunge)(void *arg, uint32_t sequence, uint32_t uid);
    void (*flags)(void *arg, uint32_t sequence, const struct mailbox_entry *entry);
    void (*exists)(void *arg, uint32_t count);
};
/* Tells what became durable since the last poll. Without expunges they wait (RFC 3501 7.4.1);
 * flags of messages that are expunged are not told. */
void mailbox_view_poll(struct mailbox_view *view, bool expunges,
                       const struct mailbox_teller *teller, void *arg);
bool mailbox_view_pending(const struct mailbox_view *view); /* anything a poll would tell */

/* ---- resynchronising (RFC 7162) ------------------------------------------------------------ */

/* The MODSEQ a client may remember now: that of the mailbox, or, while expunges have not been told,
 * the one before the first of them (RFC 7162 3.2). 0: the mailbox is gone. */
uint64_t mailbox_view_modseq(const struct mailbox_view *view);
/* What a MODSEQ that a client remembers is worth: itself, or 0 when it may be of a future that a
 * restore took back. To be asked before entries are compared with it. */
uint64_t mailbox_view_since(const struct mailbox_view *view, uint64_t modseq);

/* uids: in known, not in the view, and expunged later than since; the view's untold ones will be
 * told and are not among them. Valid during the call. */
typedef void mailbox_vanished_done(void *arg, enum mailbox_result result,
                                   const struct uidset *uids);
/*
 * known: UIDs to be looked at; NULL: all that were ever told. When since is older than the change
 * log, or is not to be trusted, all UIDs of known that are not there are given (RFC 7162 3.2.6).
 */
void mailbox_vanished(struct mailbox_view *view, uint64_t since, const struct uidset *known,
                      mailbox_vanished_done *done, void *arg);
/* mailbox_vanished() will answer from the log; else the client's own numbers can narrow `known`. */
bool mailbox_vanished_logged(const struct mailbox_view *view, uint64_t since);

/* ---- reading ------------------------------------------------------------------------------- */

/* FOLDED goes without SUMMARY, of which it is a part. */
enum mailbox_need { MAILBOX_NEED_EMAIL = 1, MAILBOX_NEED_SUMMARY = 2, MAILBOX_NEED_FOLDED = 4 };

/* Where the bytes of a message are: its prefix, and behind it a blob. */
struct mailbox_place {
    uint64_t blob, blob_size;
    struct slice prefix;
};

/* All of a message but its bytes; valid during the callback, copy what you keep. */
struct mailbox_message {
    uint32_t uid;
    enum mailbox_result result; /* of this message: OK or CORRUPT */
    uint64_t size;              /* RFC822.SIZE: prefix + blob, exactly the bytes read gives */
    uint64_t date_us;           /* INTERNALDATE */
    int32_t zone_minutes;
    struct slice uidl;    /* as POP3 shows it: stored, or the default "%08x%08x" */
    uint32_t pop3_order;  /* it brought along: POP3 numbers these first, by it; 0: none, by UID */
    uint32_t prefix_size; /* summary offsets count from the end of the prefix */
    struct mailbox_place place;
    struct slice summary; /* packed; empty: one opaque part (message/summary.h) */
    struct slice folded;  /* of it; data NULL: none */
};
typedef void mailbox_loaded(void *arg, enum mailbox_result result,
                            const struct mailbox_message *messages, size_t count);
/* At most 1,000 uids a call, ascending. Uids that the view does not have are left out. */
void mailbox_load(struct mailbox_view *view, const uint32_t *uids, size_t count, uint32_t need,
                  mailbox_loaded *loaded, void *arg);

/* Part of a message (prefix and blob as one run of bytes), clipped to its size. bytes: as in
 * store.h. At most 1 MiB a call. */
typedef void mailbox_read_done(void *arg, enum mailbox_result result, struct evbuffer *bytes);
void mailbox_read(struct mailbox_view *view, uint32_t uid, uint64_t offset, uint64_t size,
                  mailbox_read_done *done, void *arg);
/* The same for a message that was loaded, without looking again where it is. The prefix must stay
 * during the call only. */
void mailbox_read_loaded(struct mailbox_view *view, const struct mailbox_place *place,
                         uint64_t offset, uint64_t size, mailbox_read_done *done, void *arg);

/* ---- changing ------------------------------------------------------------------------------ */

enum mailbox_store_mode { MAILBOX_STORE_SET, MAILBOX_STORE_ADD, MAILBOX_STORE_REMOVE };

struct mailbox_store {
    enum mailbox_store_mode mode;
    struct mailbox_flags flags;
    bool silent; /* this view is not told its own changes (but others') */
    bool conditional;
    uint64_t unchanged_since; /* with conditional: messages changed later are left alone */
};
/* modified: UIDs left alone because of unchanged_since (RFC 7162 3.1.3). Valid during the call. */
typedef void mailbox_store_done(void *arg, enum mailbox_result result,
                                const struct uidset *modified);
/* UIDs that are not there are passed over. The changes come through mailbox_view_poll(), which has
 * them when done runs. */
void mailbox_store(struct mailbox_view *view, const struct uidset *uids,
                   const struct mailbox_store *change, mailbox_store_done *done, void *arg);

/* Those of uids that carry \Deleted (RFC 4315); uids NULL: all that carry it. */
void mailbox_expunge(struct mailbox_view *view, const struct uidset *uids, mailbox_done *done,
                     void *arg);
/* Whatever flags they carry: POP3's QUIT. */
void mailbox_remove(struct mailbox_view *view, const struct uidset *uids, mailbox_done *done,
                    void *arg);

struct mailbox_copied {
    uint32_t uidvalidity;         /* of the target */
    struct uidset source, target; /* pair by pair in ascending order (RFC 4315 COPYUID) */
};
typedef void mailbox_copy_done(void *arg, enum mailbox_result result,
                               const struct mailbox_copied *copied);
/* OK, NO_SUCH (target), OVER_QUOTA and trouble; all or none. Flags and dates go along. With move
 * each message is in the source or in the target, never in both or none (RFC 6851 3.3); a large
 * move that fails half-way has moved those in `copied`, whatever the result says. */
void mailbox_copy(struct mailbox_view *view, const struct uidset *uids, struct slice target,
                  bool move, mailbox_copy_done *done, void *arg);
