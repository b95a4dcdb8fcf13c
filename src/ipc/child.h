/*
 * What all children of master share, so that the main of each is a table: the channel to master on
 * descriptor 3, the order of a start, the peers, the administrator's verbs, the end.
 *
 *   create()                               before anything is known
 *   setup                                  settings, index and uid are known from here on
 *   volume, listener, certificate, route   to the handlers of the program, as they come
 *   start -> warm_up()                     open and load what the sandbox will refuse
 *            sandbox_enter(), one thread
 *            begin()                       threads, listening
 *            ready, the loop               channels to peers are read from here on
 *   drain -> drain()                       stop in order, then child_finish()
 *
 * A child ends when its channel to master closes, whatever it is doing. SIGINT, SIGTERM and SIGHUP
 * are master's to handle and are ignored here.
 */
#pragma once
#include "base/error.h"
#include "config/settings.h"
#include "ipc/ipc.h"
#include "sandbox/sandbox.h"

struct event_base;
struct child;

struct child_program {
    const char *name; /* "worker": in log lines with its index behind */
    enum ipc_role role;
    const struct sandbox_profile *profile;
    /* What this program receives itself. setup, settings, peer, start, drain, admin_request and
     * closed are set by child.c and must be NULL here. The context is what create() gave. */
    const struct ipc_handlers *handlers;

    /* Never fails, never NULL. */
    void *(*create)(struct child *child);
    /* Before the sandbox, and as root where we are root: warm up libraries; what it makes in the
     * file system would be root's, so a store is opened in begin(). Fills options->directories
     * (which must live as long as the process) where the profile has SANDBOX_FILES. False ends the
     * process. May be NULL. */
    bool (*warm_up)(void *state, struct sandbox_options *options, struct error *error);
    /* In the sandbox, as who we shall be: open stores, start threads, listen. False ends the
     * process. May be NULL. */
    bool (*begin)(void *state, struct error *error);
    /* The settings changed in place. May be NULL. */
    void (*reloaded)(void *state);
    /* A channel to another process is there (child_peer finds it), or has gone. May be NULL. */
    void (*peer_up)(void *state, struct ipc_channel *peer);
    void (*peer_down)(void *state, enum ipc_role role, uint32_t index);
    /* Finish, then call child_finish(). NULL: child_finish() at once. */
    void (*drain)(void *state);
    /* Adds members to the answer of verb "status", each with a comma before: ,"sessions":3
     * May be NULL. */
    void (*status)(void *state, struct buf *json);
    /* Another verb. False: there is no such verb here. True: child_answer() was or will be called.
     * json: valid during the call. May be NULL. */
    bool (*verb)(void *state, uint64_t request, struct slice verb, struct slice json);
};

/* The whole main: returns what main returns. */
int child_main(const struct child_program *program);

/* In begin(): what it began ends later (a database is loading). No peer is read, and master is not
 * told, until child_ready(). */
void child_hold(struct child *child);
void child_ready(struct child *child);

struct event_base *child_base(struct child *child);
const struct settings *child_settings(struct child *child); /* changes in place at a reload */
uint32_t child_index(struct child *child);
uid_t child_uid(struct child *child); /* who it becomes in the sandbox; 0: stays who it is */
bool child_draining(struct child *child);
struct ipc_channel *child_master(struct child *child);

/* NULL while there is none: it has not started yet, has crashed, or there is no such process. */
struct ipc_channel *child_peer(struct child *child, enum ipc_role role, uint32_t index);
/* One more than the highest index met of that role: for walking with child_peer. */
uint32_t child_peer_limit(struct child *child, enum ipc_role role);
/* In turn, among those there are; NULL: none. */
struct ipc_channel *child_peer_next(struct child *child, enum ipc_role role);

/* json is cut into as many messages as needed. more: another child_answer() follows for this
 * request (a list in parts; each part is a whole JSON value on its own line). ok false: json is
 * {"error":"text for the administrator"}. */
void child_answer(struct child *child, uint64_t request, bool ok, bool more, struct slice json);
/* The common failure. */
void child_answer_error(struct child *child, uint64_t request, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define child_json_string buf_json_string

/* Something that many may have has ended (a connection, a handshake): in a moment the memory of all
 * that did goes back to the kernel. */
void child_tidy(struct child *child);

/* Leaves the loop: exit status 0 with what is queued to peers sent. */
void child_finish(struct child *child);
