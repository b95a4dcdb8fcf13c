/*
 * A session begins when two say so: auth, with a ticket that names the account, and the door, with
 * the connection. The ticket is used once and lives for seconds. auth sent it before it told the
 * door, so when a handover finds none, what auth has already said is read first; if there is none
 * even then, somebody made the login up: the connection is closed and counted. So is one that is
 * no stream socket (what a door hands over may be anything) and one for another protocol.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "worker/worker_priv.h"

struct ticket {
    RB_ENTRY(ticket) by_key;
    TAILQ_ENTRY(ticket) order;
    uint32_t door;
    uint64_t conn;
    struct mailbox_account_ref account;
    enum ipc_protocol protocol;
    bool secure;
    uint64_t until_us;
    char name[321], client[65];
};

static int ticket_compare(const struct ticket *a, const struct ticket *b)
{
    if (a->door != b->door) {
        return a->door < b->door ? -1 : 1;
    }
    return a->conn < b->conn ? -1 : a->conn > b->conn;
}
RB_GENERATE_INTERNAL(ticket_tree, ticket, by_key, ticket_compare, __attribute__((unused)) static)

static void drop(struct worker *worker, struct ticket *ticket)
{
    RB_REMOVE(ticket_tree, &worker->tickets, ticket);
    TAILQ_REMOVE(&worker->ticket_order, ticket, order);
    worker->ticket_count--;
    free(ticket);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval after = {.tv_sec = 5};
    struct worker *worker = arg;
    struct ticket *oldest;
    uint64_t now = clock_monotonic_us();
    while ((oldest = TAILQ_FIRST(&worker->ticket_order)) != NULL && oldest->until_us <= now) {
        drop(worker, oldest);
    }
    if (oldest != NULL) {
        event_add(&worker->ticket_timer, &after);
    }
}

void tickets_init(struct worker *worker)
{
    RB_INIT(&worker->tickets);
    TAILQ_INIT(&worker->ticket_order);
    event_assign(&worker->ticket_timer, child_base(worker->child), -1, 0, on_timer, worker);
}

void tickets_finish(struct worker *worker)
{
    while (!TAILQ_EMPTY(&worker->ticket_order)) {
        drop(worker, TAILQ_FIRST(&worker->ticket_order));
    }
    event_del(&worker->ticket_timer);
}

void tickets_revoke(struct worker *worker, struct id account)
{
    struct ticket *ticket, *next;
    for (ticket = TAILQ_FIRST(&worker->ticket_order); ticket != NULL; ticket = next) {
        next = TAILQ_NEXT(ticket, order);
        if (id_equal(ticket->account.id, account)) {
            drop(worker, ticket);
        }
    }
}

static struct ticket *find(struct worker *worker, uint32_t door, uint64_t conn)
{
    struct ticket wanted = {.door = door, .conn = conn};
    return RB_FIND(ticket_tree, &worker->tickets, &wanted);
}

void tickets_add(struct worker *worker, const struct ipc_ticket *message)
{
    struct ticket *ticket = find(worker, message->door, message->conn);
    if (ticket != NULL) {
        drop(worker, ticket);
    }
    if (worker->ticket_count == WORKER_TICKETS_MAX) {
        drop(worker, TAILQ_FIRST(&worker->ticket_order));
    }
    ticket = MEM_NEW(struct ticket);
    ticket->door = message->door;
    ticket->conn = message->conn;
    ticket->account = (struct mailbox_account_ref){
        .id = message->account, .volume = message->volume, .quota = message->quota};
    ticket->protocol = (enum ipc_protocol)message->protocol;
    ticket->secure = message->secure != 0;
    ticket->until_us = clock_monotonic_us() + WORKER_TICKET_S * 1000000ull;
    snprintf(ticket->name, sizeof(ticket->name), "%.*s", SLICE_PRINT(message->name));
    snprintf(ticket->client, sizeof(ticket->client), "%.*s", SLICE_PRINT(message->client));
    RB_INSERT(ticket_tree, &worker->tickets, ticket);
    TAILQ_INSERT_TAIL(&worker->ticket_order, ticket, order);
    worker->ticket_count++;
    if (!event_pending(&worker->ticket_timer, EV_TIMEOUT, NULL)) {
        on_timer(-1, 0, worker);
    }
}

void tickets_handover(struct worker *worker, uint32_t door, struct ipc_handover *message)
{
    struct ticket *ticket = find(worker, door, message->conn);
    if (ticket == NULL) {
        struct ipc_channel *auth = child_peer(worker->child, IPC_AUTH, 0);
        if (auth != NULL) {
            ipc_drain(auth);
            ticket = find(worker, door, message->conn);
        }
    }
    struct ticket used = {0};
    bool known =
        door == IPC_TICKET_CONTROL ? message->protocol == IPC_MOVE : message->protocol <= IPC_POP3;
    bool good = known && ticket != NULL && ticket->until_us > clock_monotonic_us() &&
                (uint32_t)ticket->protocol == message->protocol && fd_is_stream(message->socket);
    if (ticket != NULL) {
        used = *ticket;
        drop(worker, ticket);
    }
    if (!good) {
        counter_add(COUNTER_tickets_missing, 1);
        log_warn("ticket_missing", "door=%u conn=%016llx", door, (unsigned long long)message->conn);
        return; /* the descriptor is closed behind us */
    }
    struct session_facts facts = {.account = used.account,
                                  .name = used.name,
                                  .client = used.client,
                                  .conn = used.conn,
                                  .protocol = used.protocol,
                                  .secure = used.secure};
    sessions_begin(worker, &facts, message);
}
