/*
 * The sessions of this worker: begun from a handover, shown to the administrator, ended when they
 * say so, when their account is revoked, or when all ends. The line that logs its end is the
 * session's own (event=session_end): it knows what it did.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "imap/turns.h"
#include "io/fd.h"
#include "move/session.h"
#include "worker/worker_priv.h"

struct session {
    RB_ENTRY(session) by_handle;
    void *handle; /* the protocol's own */
    const struct session_protocol *protocol;
    struct id account;
    uint64_t started_us;
    bool secure;
    char id[24];
    char name[321], client[65];
};

static int session_compare(const struct session *a, const struct session *b)
{
    return (uintptr_t)a->handle < (uintptr_t)b->handle   ? -1
           : (uintptr_t)a->handle > (uintptr_t)b->handle ? 1
                                                         : 0;
}
RB_GENERATE_INTERNAL(session_tree, session, by_handle, session_compare,
                     __attribute__((unused)) static)

static void on_ended(void *arg, void *handle, const char *reason)
{
    struct worker *worker = arg;
    struct session wanted = {.handle = handle};
    struct session *session = RB_FIND(session_tree, &worker->sessions, &wanted);
    if (session == NULL) { /* ends before create() has returned it */
        worker->ended_early = worker->creating;
        return;
    }
    RB_REMOVE(session_tree, &worker->sessions, session);
    free(session);
    worker->session_count--;
    counter_add(COUNTER_sessions, -1);
    child_tidy(worker->child);
    worker_settle(worker);
}

void sessions_init(struct worker *worker)
{
    RB_INIT(&worker->sessions);
    worker->host = (struct session_host){
        .base = child_base(worker->child),
        .settings = child_settings(worker->child),
        .ended = on_ended,
        .search = readers_search,
        .searching = imap_turns_create(child_base(worker->child), WORKER_SEARCHES),
        .arg = worker,
    };
}

void sessions_finish(struct worker *worker)
{
    imap_turns_destroy(&worker->host.searching);
}

static void refuse(const struct session_facts *facts, const struct session_protocol *protocol,
                   int fd)
{
    (void)!send(fd, protocol->refusal, strlen(protocol->refusal), MSG_DONTWAIT | MSG_NOSIGNAL);
    counter_add(COUNTER_connections_refused, 1);
    log_warn("session_refused", "account=%s rip=%s limit=connections",
             log_value(slice_str(facts->name)).text, facts->client);
}

void sessions_begin(struct worker *worker, const struct session_facts *facts,
                    struct ipc_handover *handover)
{
    const struct session_protocol *protocol = facts->protocol == IPC_POP3   ? &pop3_session
                                              : facts->protocol == IPC_MOVE ? &move_session
                                                                            : &imap_session;
    if (worker->session_count >= child_settings(worker->child)->limit_connections ||
        child_draining(worker->child)) {
        refuse(facts, protocol, handover->socket);
        return; /* the descriptor is closed behind us */
    }
    struct session *session = MEM_NEW(struct session);
    session->protocol = protocol;
    session->account = facts->account.id;
    session->started_us = clock_monotonic_us();
    session->secure = facts->secure;
    snprintf(session->id, sizeof(session->id), "%016" PRIx64, facts->conn);
    snprintf(session->name, sizeof(session->name), "%s", facts->name);
    snprintf(session->client, sizeof(session->client), "%s", facts->client);
    struct session_start start = {.fd = handover->socket,
                                  .account = facts->account,
                                  .name = slice_str(session->name),
                                  .client = slice_str(session->client),
                                  .tag = handover->tag,
                                  .final = handover->final,
                                  .readahead = handover->readahead,
                                  .secure = facts->secure};
    handover->socket = -1;
    memcpy(start.id, session->id, sizeof(start.id));
    fd_set_nonblock(start.fd);
    worker->creating = true;
    worker->ended_early = false;
    session->handle = session->protocol->create(&worker->host, &start);
    worker->creating = false;
    if (worker->ended_early) {
        free(session);
        return;
    }
    RB_INSERT(session_tree, &worker->sessions, session);
    worker->session_count++;
    child_tidy(worker->child); /* of what its login, and those beside it, held for a moment */
    counter_add(COUNTER_sessions, 1);
}

void sessions_end_account(struct worker *worker, struct id account, const char *text)
{
    struct session *session, *next;
    RB_FOREACH_SAFE (session, session_tree, &worker->sessions, next) {
        if (id_equal(session->account, account)) {
            session->protocol->farewell(session->handle, text, "revoked");
        }
    }
}

void sessions_end_all(struct worker *worker)
{
    struct session *session, *next;
    RB_FOREACH_SAFE (session, session_tree, &worker->sessions, next) {
        session->protocol->farewell(session->handle, "Server shutting down", "shutdown");
    }
}

void sessions_status(struct worker *worker, struct buf *json)
{
    size_t pop3 = 0, move = 0;
    struct session *session;
    RB_FOREACH (session, session_tree, &worker->sessions) {
        pop3 += session->protocol == &pop3_session;
        move += session->protocol == &move_session;
    }
    buf_printf(json, ",\"sessions\":%zu,\"imap\":%zu,\"pop3\":%zu,\"move\":%zu",
               worker->session_count, worker->session_count - pop3 - move, pop3, move);
}

void sessions_list(struct worker *worker, size_t most, struct buf *json)
{
    struct session *session;
    const char *comma = "";
    buf_add_str(json, "[");
    RB_FOREACH (session, session_tree, &worker->sessions) {
        if (most-- == 0) {
            break;
        }
        char text[256] = "";
        session->protocol->describe(session->handle, text, sizeof(text));
        buf_printf(json, "%s{\"id\":\"%s\",\"protocol\":\"%s\",\"secure\":%s,\"seconds\":%" PRIu64,
                   comma, session->id, session->protocol->name, session->secure ? "true" : "false",
                   (clock_monotonic_us() - session->started_us) / 1000000);
        buf_add_str(json, ",\"account\":");
        child_json_string(json, slice_str(session->name));
        buf_add_str(json, ",\"client\":");
        child_json_string(json, slice_str(session->client));
        buf_add_str(json, ",\"state\":");
        child_json_string(json, slice_str(text));
        buf_add_str(json, "}");
        comma = ",";
    }
    buf_add_str(json, "]");
}
