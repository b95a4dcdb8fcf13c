/*
 * What the files of mailbox/ share. README.md has the rules; in short:
 *
 *   account   one per account id and worker, shared by all handles; `durable` is what the store has
 *             acknowledged and what everybody is shown, `submitted` is what the next batch is
 *             prepared on top of
 *   box       a mailbox: its record, durable and submitted
 *   contents  the entries of a box in memory, with the logs that views read; durable only
 *   op        one request that changes something; ops of an account prepare one after the other
 *   change    one batch on its way, and what it does to memory when it is durable
 */
#pragma once
#include <bsd/sys/tree.h>
#include <sys/queue.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "mailbox/codec.h"
#include "mailbox/mailbox.h"
#include "store/store.h"

enum {
    OP_TRIES_MAX = 10,
    OP_BATCHES_PER_TURN = 8,
    CHANGE_ENTRIES_MAX = 310, /* keeps a batch below the limits of store.h, its log below 4,080 */
    MOVE_ENTRIES_MAX = 150,   /* the same with two mailboxes */
    LOG_MAX = 1000000,        /* entries of a log; a view further behind is cut off */
    ACCOUNT_IDLE_S = 60,
    DELIVERY_KEPT_S = 24 * 3600,
    CHANGES_KEPT = 100000,
    MESSAGE_PREFIX_MAX = 2048,
    KEYWORD_SIZE_MAX = 200,
    KEYWORDS_MAX = 100000,
    KEYWORDS_UNWRITTEN_MAX = 300, /* new keywords, and sets, that one batch has to write */
};

static const uint32_t UID_MAX = 0xfffe0000; /* beyond it a mailbox takes no more */

struct change;
struct contents;
struct effect;
struct box;

/* ---- env.c: requests, later calls, timers --------------------------------------------------- */

/* Whoever may be called off: what asked for it cancels all of its own when it goes. */
TAILQ_HEAD(requests, request);
struct request {
    TAILQ_ENTRY(request) link;
    struct requests *owner; /* NULL: nobody is waiting any more */
};
void request_attach(struct request *request, struct requests *owner);
/* True when somebody is still waiting; the callback may then be called, once. */
bool request_detach(struct request *request);
void requests_cancel(struct requests *owner);

struct task {
    TAILQ_ENTRY(task) link;
    void (*run)(void *arg);
    void *arg;
    bool queued;
};
TAILQ_HEAD(tasks, task);
/* Runs it in a later turn of the loop. */
void env_defer(struct mailbox_env *env, struct task *task);
void env_undefer(struct mailbox_env *env, struct task *task);

RB_HEAD(accounts, account);
TAILQ_HEAD(contents_list, contents);
TAILQ_HEAD(views, mailbox_view);

struct mailbox_env {
    struct mailbox_options options;
    struct accounts accounts; /* that can be opened; broken ones are not here */
    unsigned account_count;   /* all */
    bool destroyed;
    struct tasks tasks;
    struct event *task_event, *timer;
    struct contents_list idle; /* contents nobody uses, longest unused first */
    uint64_t idle_bytes;
    struct views due; /* views to be notified in this turn */
    struct requests requests;
    uint64_t view_number;
};
/* Forgets accounts that nobody holds and that were last used before. */
void env_sweep(struct mailbox_env *env, uint64_t before_us);
void env_shrink(struct mailbox_env *env); /* down to memory_budget */
void env_account_gone(struct mailbox_env *env);

/* ---- ops: op.c ------------------------------------------------------------------------------ */

enum op_step {
    OP_MORE,     /* call prepare again: there is more to submit */
    OP_WAIT,     /* op_resume() comes later */
    OP_PREPARED, /* all is submitted; or op->outcome says why not */
};

enum { OP_RETRY = -1 }; /* outcome: prepare it again, on what is durable now */

TAILQ_HEAD(ops, op);
struct op {
    struct request request;
    TAILQ_ENTRY(op) link; /* in the account's queue, or among the followers of a change */
    struct account *account;
    const struct op_kind *kind;
    struct task task;
    struct arena arena;
    int outcome; /* enum mailbox_result or OP_RETRY */
    unsigned tries, submitted, completed;
    bool prepared, waiting, conflicted;
    uint32_t cursor, confirmed; /* UIDs below confirmed are done and durable */
};

struct op_kind {
    const char *name;
    enum op_step (*prepare)(struct op *op);
    void (*restart)(struct op *op); /* before prepare, each time; may be NULL */
    void (*applied)(struct op *op, struct change *change); /* a batch became durable; may be NULL */
    /* Calls back when wanted, gives back what the op holds but for struct op itself. */
    void (*finish)(struct op *op, enum mailbox_result result, bool wanted);
};

/* size: of the struct that begins with struct op; cleared. */
void *op_create(size_t size, const struct op_kind *kind, struct account *account,
                struct requests *owner);
void op_enqueue(struct op *op);
void op_enqueue_first(struct op *op);
void op_resume(struct op *op);
void op_completed(struct op *op, struct change *change, int outcome);
enum op_step op_fail(struct op *op, enum mailbox_result result); /* for return in prepare */
void account_run(struct account *account);
void account_fail_ops(struct account *account); /* it broke: all that wait end as BROKEN */

/* ---- the account: account.c, mend.c --------------------------------------------------------- */

struct subscription {
    TAILQ_ENTRY(subscription) link; /* in the order of names */
    bool durable, submitted;
    struct slice name; /* behind the struct */
};
TAILQ_HEAD(subscriptions, subscription);

struct keyword {
    RB_ENTRY(keyword) node;
    uint32_t id;
    struct slice text; /* its bytes stand behind it */
};
RB_HEAD(keyword_tree, keyword);

struct keyword_set {
    RB_ENTRY(keyword_set) node;
    uint32_t id;
    uint32_t *ids; /* ascending */
    struct slice *texts;
    size_t count;
};
RB_HEAD(keyword_set_tree, keyword_set);

struct keywords {
    struct keyword **list; /* by id */
    struct keyword_tree by_text;
    uint32_t count, written, durable;
    struct keyword_set **sets; /* by id - 1 */
    struct keyword_set_tree by_ids;
    uint32_t set_count, set_written, set_durable;
};

struct name { /* its bytes stand behind it */
    SLIST_ENTRY(name) link;
};

enum account_state { ACCOUNT_LOADING, ACCOUNT_READY, ACCOUNT_BROKEN };

enum repeats_state {
    REPEATS_UNKNOWN,
    REPEATS_READING, /* from the store */
    REPEATS_KNOWN,
    REPEATS_MANY, /* too many to hold, or they could not be read */
};
struct repeats { /* see repeats.c */
    enum repeats_state state;
    bool reading;
    uint32_t deliveries;
    uint32_t *prints; /* hash table; 0: free */
    size_t count, room;
};

struct account {
    RB_ENTRY(account) node;
    struct mailbox_env *env;
    struct id id;
    uint64_t quota;
    struct store *store;
    enum account_state state;
    bool listed, exists; /* in env->accounts; its record is durable */
    unsigned holds;
    uint64_t idle_since_us;
    struct account_record durable, submitted;
    struct box **boxes; /* ascending id; deleted ones too until housekeeping is done */
    size_t box_count, box_room;
    struct subscriptions subscriptions;
    struct keywords keywords;
    SLIST_HEAD(, name) names; /* every leaf name that a record had */
    struct box **list;        /* durable, live, in the order of names; NULL: to be made */
    size_t list_count;
    struct requests openers;
    /* the pipeline */
    struct ops queue;
    struct op *running;
    bool in_run, mending, housekeeping;
    struct task run_task;
    TAILQ_HEAD(changes, change) changes; /* on their way, oldest first */
    uint64_t generation;                 /* grows with each rollback */
    uint64_t housekeeping_due_us;
    struct repeats repeats;
};
int account_compare(const struct account *a, const struct account *b);
RB_PROTOTYPE(accounts, account, node, account_compare)

struct mailbox_account { /* a handle */
    struct account *account;
    struct requests requests;
    struct request opening; /* owned by account->openers */
    mailbox_account_opened *opened;
    void *arg;
    struct task task;
};
struct mailbox_account *account_handle(struct account *account); /* one of an open account */

void account_hold(struct account *account);
void account_drop(struct account *account); /* gives a hold back; frees a broken one */
void account_free(struct account *account);
void account_break(struct account *account, const char *why);
void account_opened(struct account *account, enum mailbox_result result); /* by the mend op */
struct slice account_name(struct account *account, struct slice leaf);    /* lives as the account */
/* Creates the account, buries what was never published, goes forward after a restore. */
void account_mend(struct account *account, bool opening);
enum mailbox_result account_load_item(struct account *account, struct slice key,
                                      struct slice value);

/* ---- mailboxes: tree.c, list.c, name.c ------------------------------------------------------ */

RB_HEAD(pending, effect);
struct box {
    uint32_t id;
    bool exists; /* its record is durable */
    struct account *account;
    struct box_record durable, submitted;
    struct pending pending; /* entries changed by what is on its way: the newest effect of each */
    struct contents *contents;
    char *full; /* durable name; NULL when not in account->list */
    size_t full_size;
    bool children, subscribed;
};

struct box *box_add(struct account *account, uint32_t id);
void box_remove(struct box *box);
struct box *box_by_id(struct account *account, uint32_t id);
/* By normalised name, among what was submitted; NULL when there is none. */
struct box *box_lookup(struct account *account, struct slice name);
struct box *box_find_durable(struct account *account, struct slice name); /* the same, durable */
/* A new mailbox in this change. */
struct box *box_make(struct change *change, uint32_t parent, struct slice leaf, uint32_t special);
/* Added, not subscribed, when it is not there. */
struct subscription *subscription_get(struct account *account, struct slice name);
void box_info(struct box *box, struct mailbox_info *info);
void list_build(struct account *account);
void list_drop(struct account *account);
/* Normalised (NFC, INBOX in capitals) into the arena; false: cannot be a name. */
bool name_normalise(struct slice name, struct arena *arena, struct slice *out);
struct slice name_first(struct slice *rest); /* takes the first level off */

/* ---- changes: change.c ---------------------------------------------------------------------- */

enum effect_kind { EFFECT_ADD, EFFECT_FLAGS, EFFECT_EXPUNGE };
struct effect {
    TAILQ_ENTRY(effect) link;
    RB_ENTRY(effect) node;
    enum effect_kind kind;
    bool pending; /* in box->pending */
    struct box *box;
    struct mailbox_entry entry; /* as it is afterwards */
    uint32_t page, slot, source;
    uint64_t by; /* number of the view that is not told, 0: none */
};
TAILQ_HEAD(effects, effect);
int effect_compare(const struct effect *a, const struct effect *b);
RB_PROTOTYPE(pending, effect, node, effect_compare)

struct change_box {
    struct box *box;
    struct box_record after;
    bool gone;
};
struct change_subscription {
    struct subscription *subscription;
    bool value;
};

struct change {
    TAILQ_ENTRY(change) link;
    struct account *account;
    struct op *op;
    struct ops followers;
    struct store_batch *batch;
    uint64_t generation, modseq;
    uint32_t now, entries, cursor;
    struct account_record after;
    uint32_t keywords, keyword_sets;
    struct effects effects;
    struct change_box *boxes;
    size_t box_count;
    struct change_subscription *subscriptions;
    size_t subscription_count;
    struct buf log;
    bool delivers;
    uint8_t delivery[16];
    /* entries that stand together are patched together */
    uint32_t run_box, run_page, run_slot;
    struct buf run;
};

struct change *change_begin(struct op *op);
void change_drop(struct change *change); /* one that is not submitted */
void change_submit(struct change *change);
void change_touch(struct change *change, struct box *box); /* its record is written, MODSEQ grows */
void change_record(struct change *change, struct box *box); /* its record is written */
void change_gone(struct change *change, struct box *box);   /* its record is removed */
void change_subscribe(struct change *change, struct subscription *subscription, bool value);
void change_entry(struct change *change, uint32_t box, uint32_t page, uint32_t slot,
                  const struct mailbox_entry *entry, uint32_t expunged);
struct effect *change_effect(struct change *change, struct box *box, enum effect_kind kind,
                             const struct mailbox_entry *entry, uint32_t page, uint32_t slot);
void change_note(struct change *change, uint32_t box, enum codec_change kind, uint32_t uid);
void effect_free(struct effect *effect);
/* The entry as the next batch finds it; false: not there, or on its way out. */
bool box_entry(struct box *box, struct contents *contents, uint32_t uid,
               struct mailbox_entry *entry, uint32_t *page, uint32_t *slot);
void box_count_flags(struct box *box, uint32_t old_flags, uint32_t new_flags);
/* Takes a message out of mailbox and quota in this change. grace: keep it restorable. */
void change_expunge(struct change *change, struct box *box, const struct mailbox_entry *entry,
                    uint32_t page, uint32_t slot, bool grace);

/* New entries of a mailbox, in one batch or several: publish shows them all at once. */
struct appender {
    struct box *box;
    uint32_t uid, first;
    bool imports; /* brings its UIDs */
    struct effects effects;
    uint32_t messages, unseen, deleted;
    uint64_t size;
};
enum mailbox_result appender_begin(struct appender *appender, struct box *box, uint64_t count);
/* The same with the UIDs that messages bring: before each appender_add() the caller sets uid. */
enum mailbox_result appender_begin_import(struct appender *appender, struct box *box,
                                          uint32_t first, uint32_t last);
/* Fills uid, modseq and save_date of the entry. source: a UID for the effect. */
void appender_add(struct appender *appender, struct change *change, struct mailbox_entry *entry,
                  uint32_t source);
void appender_hold(struct appender *appender, struct change *change);
void appender_publish(struct appender *appender, struct change *change);
void appender_finish(struct appender *appender);

/* ---- keywords.c ----------------------------------------------------------------------------- */

/* Ids of the texts, ascending, without repetition; unknown ones are added, or left out when not
 * create. False: a limit. */
bool keywords_ids(struct account *account, const struct slice *texts, size_t count, bool create,
                  uint32_t *ids, size_t *id_count);
/* The set that base becomes; UINT32_MAX: a limit. */
uint32_t keywords_combine(struct account *account, uint32_t base, enum mailbox_store_mode mode,
                          const uint32_t *ids, size_t count);
void keywords_put(struct account *account, struct store_batch *batch); /* the unwritten ones */
void keywords_rollback(struct account *account);
void keywords_finish(struct account *account);
bool keywords_load(struct account *account, struct slice key, struct slice value);
bool keywords_load_set(struct account *account, struct slice key, struct slice value);
void flags_copy(struct arena *arena, const struct mailbox_flags *from, struct mailbox_flags *to);

/* ---- contents: contents.c, load.c ----------------------------------------------------------- */

struct chunk { /* a page, without what is expunged */
    uint32_t page;
    uint32_t count, room;
    struct mailbox_entry *entries; /* ascending UIDs */
    uint8_t *slots;
};

struct logged_change {
    uint32_t uid;
    uint64_t by;
};

enum contents_state { CONTENTS_LOADING, CONTENTS_LOADED, CONTENTS_DELETED, CONTENTS_BROKEN };

struct contents {
    TAILQ_ENTRY(contents) link; /* in env->idle when idle */
    struct account *account;
    struct box *box; /* NULL once detached */
    enum contents_state state;
    unsigned users; /* views, ops, the load */
    bool idle;
    uint64_t bytes;
    struct chunk *chunks; /* none is empty */
    size_t chunk_count, chunk_room;
    uint32_t *starts; /* live entries before each chunk */
    size_t starts_valid, starts_room;
    size_t last_found; /* the chunk that was asked for last, or any number */
    struct views views;
    struct mailbox_entry *expunged; /* log: position base + index */
    size_t expunged_count, expunged_room;
    uint64_t expunged_base;
    struct logged_change *changed;
    size_t changed_count, changed_room;
    uint64_t changed_base;
    uint8_t *keyword_bits;
    uint32_t keyword_room;
    struct slice *keyword_texts;
    size_t keyword_count;
    struct effects late; /* became durable while loading */
};

struct contents *contents_use(struct box *box); /* makes and loads it when it is not there */
void contents_unuse(struct contents *contents); /* accepts NULL */
/* OK; or why its messages cannot be changed: NO_SUCH (deleted), BROKEN. */
enum mailbox_result contents_changeable(const struct contents *contents);
void contents_free(struct contents *contents);
void contents_detach(struct contents *contents, enum contents_state state);
void contents_apply(struct contents *contents, const struct effect *effect);
/* Puts an entry in its place; nothing when the UID is there already. */
void contents_insert(struct contents *contents, const struct mailbox_entry *entry, uint32_t page,
                     uint32_t slot);
bool contents_remove(struct contents *contents, uint32_t uid);
struct mailbox_entry *contents_find(struct contents *contents, uint32_t uid, uint32_t *page,
                                    uint32_t *slot);
/* The first entry with at least this uid; NULL: none. */
struct mailbox_entry *contents_next(struct contents *contents, uint32_t uid);
uint32_t contents_rank(struct contents *contents, uint32_t uid); /* entries below uid */
struct mailbox_entry *contents_at(struct contents *contents, uint32_t rank);
void contents_keywords(struct contents *contents, uint32_t set);
void contents_trim(struct contents *contents);
void contents_load(struct contents *contents);
void contents_apply_late(struct contents *contents);

/* ---- views: view.c -------------------------------------------------------------------------- */

struct untold {
    uint32_t uid, offset; /* of its place in the log from expunged_at */
};

struct mailbox_view {
    struct request request; /* of the opening, owned by the account handle */
    TAILQ_ENTRY(mailbox_view) link, due_link;
    struct account *account;
    struct contents *contents;
    struct requests requests;
    uint64_t number;
    uint32_t told; /* UIDs from here on have not been told */
    enum mailbox_view_state state;
    bool read_only, opening, notified, due;
    uint64_t expunged_at, changed_at; /* places in the logs */
    struct untold *untold;            /* by uid; NULL while up to date */
    uint32_t untold_count;
    void (*changed)(void *arg);
    void *changed_arg;
    mailbox_view_opened *opened;
    void *opened_arg;
    struct task task;
    enum mailbox_result open_result;
    struct email_cache *cache;
};

void views_loaded(struct contents *contents, enum mailbox_result result);
void views_check(struct contents *contents); /* puts those with something to tell on env->due */
void views_set_state(struct contents *contents, enum mailbox_view_state state);
void views_notify(struct mailbox_env *env);
/* The entry, told, untold-expunged or not; NULL when the view does not have it. */
const struct mailbox_entry *view_entry(struct mailbox_view *view, uint32_t uid);
void email_cache_free(struct email_cache **cache);

/* ---- bytes that come in: incoming.c --------------------------------------------------------- */

struct incoming {
    struct mailbox_env *env;
    int references; /* counted atomically: the store lets go on its own threads */
    const uint8_t *bytes;
    void *map; /* NULL: bytes are behind this struct */
    size_t size;
    bool identified; /* has a Message-ID field; hash is set */
    uint8_t hash[16];
    struct buf summary;
    void (*ready)(void *arg);
    void *arg;
    struct task task;
};
/* NULL when the descriptor cannot be mapped. ready is called later, once, with the summary there.
 */
struct incoming *incoming_create(struct mailbox_env *env, const struct mailbox_bytes *from,
                                 bool identify, void (*ready)(void *arg), void *arg);
void incoming_release(void *incoming);
struct store_bytes incoming_bytes(struct incoming *incoming);
bool incoming_has_message_id(struct slice bytes);

/* ---- repeats.c ------------------------------------------------------------------------------ */

enum repeat { REPEAT_NO, REPEAT_PERHAPS, REPEAT_LIKELY };
/* NO: no record of a delivery with that hash is stored or on its way, for certain. */
enum repeat repeats_ask(struct account *account, const uint8_t hash[16]);
/* Such a record is about to be submitted. */
void repeats_enter(struct account *account, const uint8_t hash[16]);
/* Frees what it holds; when asked again, it looks again. */
void repeats_forget(struct account *account);

/* ---- append.c ------------------------------------------------------------------------------- */

struct arrival {
    struct incoming *incoming;
    struct slice prefix, uidl;
    uint32_t pop3_order;
    struct mailbox_flags flags;
    uint64_t date_us;
    int32_t zone_minutes;
    uint32_t uid; /* 0: the next */
};
/* Email, summary and entry of one message; blob: 0 makes a new one, else it is shared. Gives the
 * blob; 0 when a limit of keywords is met (nothing is done then). */
uint64_t arrival_store(struct change *change, struct appender *appender,
                       const struct arrival *arrival, uint64_t blob);
bool account_has_room(const struct account *account, uint64_t bytes);

/* ---- housekeeping.c ------------------------------------------------------------------------- */

/* One round over the account; not when it is at it already. done may be NULL. */
void housekeeping_start(struct account *account, void (*done)(void *arg), void *arg);
/* vanished.c: the change log holds everything above this MODSEQ, as of what is durable. */
uint64_t changes_reach(const struct account *account);
enum mailbox_result read_result(enum store_result result); /* of a read, for a session */
