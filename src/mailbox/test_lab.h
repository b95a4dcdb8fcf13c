/*
 * What the tests of this folder share: an environment over a store in memory (or in a directory),
 * calls that run the loop until they are answered, and a session's model that only knows what its
 * view tells.
 */
#pragma once
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mailbox/mailbox_priv.h"
#include "store/mem/mem.h"

struct lab {
    struct event_base *base;
    struct store *store;
    struct store_mem_image *image;
    struct mailbox_env *env;
    struct mailbox_options options;
    struct mailbox_account_ref ref;
    struct mailbox_account *account;
    char directory[160]; /* of the local engine; "": mem */
};

extern struct store_local_options lab_local; /* of the local engine */

void lab_init(struct lab *lab);
/* On the local engine in that directory, which lab_finish() removes. */
void lab_init_at(struct lab *lab, const char *directory, struct id account);
void lab_finish(struct lab *lab);
/* Ends the environment; crash: the store too, as by kill -9. Then everything is opened again, but
 * no account. */
void lab_restart(struct lab *lab, bool crash);
void lab_turn(struct lab *lab);
void lab_settle(struct lab *lab); /* turns until nothing moves (mem) */

struct answer { /* of whatever was asked */
    bool done;
    unsigned times;
    enum mailbox_result result;
    bool duplicate;
    struct mailbox_view *view;
    struct uidset uids, target;
    uint32_t uidvalidity;
    struct buf bytes;
    unsigned messages;
};
void lab_wait(struct lab *lab, struct answer *answer);
void answer_finish(struct answer *answer);

enum mailbox_result lab_account(struct lab *lab); /* opens lab->ref as lab->account */
struct mailbox_view *lab_view(struct lab *lab, const char *name); /* must be OK */
int lab_memfd(const char *text);
void on_done(void *arg, enum mailbox_result result);
void on_append(void *arg, enum mailbox_result result, const struct mailbox_appended *appended);
void on_store(void *arg, enum mailbox_result result, const struct uidset *modified);
void on_copy(void *arg, enum mailbox_result result, const struct mailbox_copied *copied);
void on_read(void *arg, enum mailbox_result result, struct evbuffer *bytes);
void on_view(void *arg, enum mailbox_result result, struct mailbox_view *view);
void on_delivered(void *arg, size_t recipient, enum mailbox_result result, bool duplicate);

/* count small messages in one APPEND; does not wait. */
void lab_append_start(struct lab *lab, const char *name, unsigned count, struct answer *answer);
enum mailbox_result lab_append(struct lab *lab, const char *name, unsigned count);
enum mailbox_result lab_deliver(struct lab *lab, const char *text, bool *duplicate);
enum mailbox_result lab_store(struct lab *lab, struct mailbox_view *view, uint32_t first,
                              uint32_t last, enum mailbox_store_mode mode, uint32_t flags);
enum mailbox_result lab_expunge(struct lab *lab, struct mailbox_view *view, uint32_t first,
                                uint32_t last);
enum mailbox_result lab_copy(struct lab *lab, struct mailbox_view *view, uint32_t first,
                             uint32_t last, const char *target, bool move);
struct mailbox_info lab_info(struct lab *lab, const char *name); /* messages 0 when not there */
/* The whole message; asserts OK. */
void lab_read(struct lab *lab, struct mailbox_view *view, uint32_t uid, struct buf *out);

/* A session that believes only what it is told. */
struct session {
    struct mailbox_view *view;
    uint32_t *uids, *flags; /* by sequence number - 1; uid 0: not asked yet */
    uint32_t count;
    unsigned notified;
};
void session_begin(struct session *session, struct mailbox_view *view);
void session_poll(struct session *session, bool expunges);
void session_check(struct session *session); /* against what the view says */
void session_finish(struct session *session);

/* Everything that must hold of what is stored: opens all mailboxes fresh and recounts. */
void lab_recount(struct lab *lab);
