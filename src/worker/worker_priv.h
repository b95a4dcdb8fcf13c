/*
 * The worker's own header: what its files share. main.c holds the process together, volumes.c opens
 * the stores, tickets.c lets sessions in, sessions.c keeps and ends them, deliver.c takes mail,
 * readers.c asks the readers, admin.c answers the administrator.
 */
#pragma once
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include <bsd/sys/tree.h>

#include "ipc/child.h"
#include "mailbox/mailbox.h"
#include "store/store.h"
#include "worker/session.h"

enum {
    WORKER_VOLUMES_MAX = 256,
    WORKER_TICKET_S = 30,       /* between auth's word and the door's handover */
    WORKER_TICKETS_MAX = 10000, /* nobody logs in so fast */
    WORKER_BUSY_MAX = 10000,    /* checks in work beyond which doors are told to come again */
    WORKER_READER_S = 20,       /* a reader that takes longer is stuck */
    WORKER_SEARCHES = 8,        /* that have messages in memory at a time */
};

struct volume {
    SLIST_ENTRY(volume) next;
    uint32_t number;
    char *directory;
    struct store *store; /* NULL: could not be opened; trouble says why */
    struct error trouble;
    bool reported;
    char said[201]; /* the trouble that master knows of */
};

struct ticket;
struct session;
struct delivery;
struct request;

RB_HEAD(ticket_tree, ticket);
RB_HEAD(session_tree, session);
RB_HEAD(delivery_tree, delivery);
RB_HEAD(request_tree, request);

struct worker {
    struct child *child;
    struct mailbox_env *env;
    SLIST_HEAD(, volume) volumes;
    const char *directories[WORKER_VOLUMES_MAX + 1];
    struct event report; /* looks now and then if master must hear something */

    struct ticket_tree tickets;
    TAILQ_HEAD(ticket_list, ticket) ticket_order; /* oldest first */
    size_t ticket_count;
    struct event ticket_timer;

    struct session_host host;
    struct session_tree sessions;
    size_t session_count;
    bool creating, ended_early;

    struct delivery_tree deliveries; /* not yet given to the mailbox layer */
    size_t rcpts_waiting;            /* in them */
    size_t busy;                     /* deliveries, checks and purges in the mailbox layer */

    struct request_tree requests;                    /* to readers */
    TAILQ_HEAD(request_list, request) request_order; /* oldest first */
    uint64_t next_request, sent;
    size_t request_count;
    struct event request_timer;
    bool finished;
};

/* ---- volumes.c ----------------------------------------------------------------------------- */

void volumes_init(struct worker *worker);
void volumes_add(struct worker *worker, const struct ipc_volume *message);
void volumes_open(struct worker *worker);
void volumes_close(struct worker *worker);
struct store *volumes_store(void *arg, uint32_t volume); /* of mailbox_options */
/* There is no room for size more bytes on that volume, or nothing can be written to it. */
enum ipc_delivery_result volumes_room(struct worker *worker, uint32_t volume, uint64_t size);

/* ---- tickets.c ----------------------------------------------------------------------------- */

void tickets_init(struct worker *worker);
void tickets_finish(struct worker *worker);
void tickets_add(struct worker *worker, const struct ipc_ticket *message);
/* Those of an account that may not log in any more. */
void tickets_revoke(struct worker *worker, struct id account);
void tickets_handover(struct worker *worker, uint32_t door, struct ipc_handover *message);

/* ---- sessions.c ---------------------------------------------------------------------------- */

struct session_facts { /* of a ticket and its handover */
    struct mailbox_account_ref account;
    const char *name, *client;
    uint64_t conn;
    enum ipc_protocol protocol;
    bool secure;
};

void sessions_init(struct worker *worker);
void sessions_finish(struct worker *worker); /* none is left */
/* Takes the socket out of the handover. */
void sessions_begin(struct worker *worker, const struct session_facts *facts,
                    struct ipc_handover *handover);
void sessions_end_account(struct worker *worker, struct id account, const char *text);
void sessions_end_all(struct worker *worker);
void sessions_status(struct worker *worker, struct buf *json);
/* A JSON array: who, from where, how long, doing and waiting for what. */
void sessions_list(struct worker *worker, size_t most, struct buf *json);

/* ---- deliver.c ----------------------------------------------------------------------------- */

void deliver_rcpt(struct worker *worker, uint32_t door, const struct ipc_deliver_rcpt *message);
void deliver_message(struct worker *worker, uint32_t door, struct ipc_deliver *message);
void deliver_short(struct worker *worker, uint32_t door, const struct ipc_deliver_short *message);
void deliver_check(struct worker *worker, uint32_t door, const struct ipc_rcpt_check *message);
void deliver_purge(struct worker *worker, const struct ipc_purge *message);
void deliver_door_down(struct worker *worker, uint32_t door);
void deliver_finish(struct worker *worker);

/* ---- readers.c ----------------------------------------------------------------------------- */

void readers_init(struct worker *worker);
void readers_finish(struct worker *worker);
/* Of mailbox_options. */
void readers_summarize(void *arg, int fd, struct slice bytes, mailbox_summarized *summarized,
                       void *done_arg);
/* Of session_host. */
void readers_search(void *arg, const struct session_search *search, session_found *found,
                    void *found_arg);
void readers_summary(struct worker *worker, uint32_t reader, const struct ipc_summary *message);
void readers_found(struct worker *worker, uint32_t reader, const struct ipc_found *message);
void readers_up(struct worker *worker);
void readers_down(struct worker *worker, uint32_t reader);

/* ---- admin.c ------------------------------------------------------------------------------- */

void admin_status(void *state, struct buf *json);
bool admin_verb(void *state, uint64_t request, struct slice verb, struct slice json);

/* ---- main.c -------------------------------------------------------------------------------- */

/* Something has ended: closes all and leaves when we drain and nothing is left. */
void worker_settle(struct worker *worker);
