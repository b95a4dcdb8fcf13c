/*
 * What LMTP asks of others: who a recipient is (auth), if there is room (its worker), and to keep a
 * message (the workers of all its recipients). Whoever dies before it answered has answered
 * UNAVAILABLE: the sender repeats, and what was kept already is known by its bytes.
 *
 * A connection asks one thing at a time, so lookups carry its id. Deliveries have ids of their own:
 * a worker that was slow must not be taken for answering the next one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "door/door_priv.h"
#include "io/fd.h"

struct lookup {
    void (*found)(void *state, const struct door_rcpt *rcpt, enum ipc_delivery_result room);
    struct door_rcpt rcpt;
    uint64_t size;
};

struct part { /* one recipient */
    uint32_t worker, place;
    bool answered;
};

struct delivery {
    RB_ENTRY(delivery) by_id;
    uint64_t id;
    struct door_conn *conn;
    void (*done)(void *state, size_t delivery, enum ipc_delivery_result result);
    size_t count, left;
    struct part parts[];
};

int delivery_compare(const struct delivery *a, const struct delivery *b)
{
    return a->id < b->id ? -1 : a->id > b->id;
}
RB_GENERATE(delivery_tree, delivery, by_id, delivery_compare)

static void copy_text(char *text, size_t size, struct slice from)
{
    snprintf(text, size, "%.*s", SLICE_PRINT(from));
}

/* ---- lookups ------------------------------------------------------------------------------- */

static void answer_lookup(struct door_conn *conn, enum ipc_delivery_result room)
{
    struct lookup *lookup = conn->lookup;
    conn->lookup = NULL;
    conn->wait = WAIT_NOTHING;
    lookup->found(conn->state, &lookup->rcpt, room);
    free(lookup);
}

static void fail_later(struct door_conn *conn)
{
    conn->undeliverable = true;
    conn_kick(conn);
}

void door_conn_lookup(struct door_conn *conn, struct slice address, uint64_t size,
                      void (*found)(void *state, const struct door_rcpt *rcpt,
                                    enum ipc_delivery_result room))
{
    ASSERT(conn->lookup == NULL);
    struct ipc_channel *auth = child_peer(conn->door->child, IPC_AUTH, 0);
    struct ipc_rcpt_lookup message = {.request = conn->id, .address = address};
    conn->lookup = MEM_NEW(struct lookup);
    conn->lookup->found = found;
    conn->lookup->size = size;
    conn->lookup->rcpt.result = IPC_RCPT_UNAVAILABLE;
    conn->wait = WAIT_LOOKUP;
    if (auth == NULL || !ipc_send_rcpt_lookup(auth, &message)) {
        fail_later(conn);
    }
}

void delivery_found(struct door *door, const struct ipc_rcpt_found *message)
{
    struct door_conn *conn = conn_find(door, message->request);
    if (conn == NULL || conn->wait != WAIT_LOOKUP || conn->undeliverable) {
        return;
    }
    struct door_rcpt *rcpt = &conn->lookup->rcpt;
    rcpt->result = message->result <= IPC_RCPT_UNAVAILABLE ? (enum ipc_rcpt_result)message->result
                                                           : IPC_RCPT_UNAVAILABLE;
    rcpt->account = message->account;
    rcpt->volume = message->volume;
    rcpt->worker = message->worker;
    rcpt->quota = message->quota;
    copy_text(rcpt->name, sizeof(rcpt->name), message->name);
    copy_text(rcpt->detail, sizeof(rcpt->detail), message->detail);
    struct ipc_channel *worker = child_peer(door->child, IPC_WORKER, rcpt->worker);
    struct ipc_rcpt_check check = {.request = conn->id,
                                   .account = rcpt->account,
                                   .volume = rcpt->volume,
                                   .quota = rcpt->quota,
                                   .size = conn->lookup->size};
    conn->wait = WAIT_ROOM;
    conn->worker = rcpt->worker;
    if (rcpt->result != IPC_RCPT_OK) {
        answer_lookup(conn, IPC_DELIVERY_OK);
    } else if (worker == NULL || !ipc_send_rcpt_check(worker, &check)) {
        answer_lookup(conn, IPC_DELIVERY_UNAVAILABLE);
    }
}

/* What a worker says may be any number. */
static enum ipc_delivery_result known_result(uint32_t result)
{
    return result <= IPC_DELIVERY_DAMAGED ? (enum ipc_delivery_result)result
                                          : IPC_DELIVERY_UNAVAILABLE;
}

void delivery_checked(struct door *door, uint32_t worker, const struct ipc_rcpt_checked *message)
{
    struct door_conn *conn = conn_find(door, message->request);
    if (conn != NULL && conn->wait == WAIT_ROOM && conn->worker == worker) {
        answer_lookup(conn, known_result(message->result));
    }
}

/* ---- deliveries ---------------------------------------------------------------------------- */

/* Answers for that worker what it has not answered. */
static void fail_parts(struct delivery *delivery, uint32_t worker)
{
    struct door_conn *conn = delivery->conn;
    for (size_t i = 0; i < delivery->count && delivery->left > 0; i++) {
        struct part *part = &delivery->parts[i];
        if (!part->answered && part->worker == worker) {
            part->answered = true;
            delivery->left--;
            delivery->done(conn->state, i, IPC_DELIVERY_UNAVAILABLE);
        }
    }
}

static void free_when_answered(struct delivery *delivery)
{
    if (delivery->left == 0) {
        delivery->conn->delivery = NULL;
        RB_REMOVE(delivery_tree, &delivery->conn->door->deliveries, delivery);
        free(delivery);
    }
}

/* A worker that reads slowly gets a descriptor: too much in the queue would end the channel. */
static bool send_message(struct ipc_channel *worker, uint64_t id, const struct door_message *bytes)
{
    int made = -1;
    if (bytes->fd < 0 && ipc_backlog(worker) > IPC_BACKLOG) {
        made = fd_memory_of("message", bytes->data, (size_t)bytes->size);
    }
    struct ipc_deliver message = {
        .delivery = id, .size = bytes->size, .message = made >= 0 ? made : bytes->fd};
    struct ipc_deliver_short small = {.delivery = id,
                                      .message = slice_make(bytes->data, (size_t)bytes->size)};
    bool sent = message.message >= 0 ? ipc_send_deliver(worker, &message)
                                     : ipc_send_deliver_short(worker, &small);
    fd_close(&made);
    return sent;
}

/* Sends one worker its recipients, then the message. */
static bool send_to(struct door *door, struct delivery *delivery, uint32_t index,
                    const struct door_message *bytes, const struct door_delivery *rcpts)
{
    struct ipc_channel *worker = child_peer(door->child, IPC_WORKER, index);
    uint32_t place = 0;
    for (size_t i = 0; worker != NULL && i < delivery->count; i++) {
        const struct door_rcpt *to = rcpts[i].rcpt;
        if (to->worker != index) {
            continue;
        }
        struct ipc_deliver_rcpt message = {.delivery = delivery->id,
                                           .account = to->account,
                                           .volume = to->volume,
                                           .quota = to->quota,
                                           .mailbox = slice_str(to->detail),
                                           .prefix = rcpts[i].prefix};
        delivery->parts[i].place = place++;
        if (!ipc_send_deliver_rcpt(worker, &message)) {
            return false;
        }
    }
    return worker != NULL && send_message(worker, delivery->id, bytes);
}

void door_conn_deliver(struct door_conn *conn, const struct door_message *message,
                       const struct door_delivery *deliveries, size_t count,
                       void (*done)(void *state, size_t delivery, enum ipc_delivery_result result))
{
    struct door *door = conn->door;
    struct delivery *delivery = mem_zalloc(sizeof(*delivery) + count * sizeof(delivery->parts[0]));
    ASSERT(conn->delivery == NULL && count > 0);
    *delivery = (struct delivery){
        .id = door->next_delivery++, .conn = conn, .done = done, .count = count, .left = count};
    conn->delivery = delivery;
    conn->wait = WAIT_DELIVERY;
    RB_INSERT(delivery_tree, &door->deliveries, delivery);
    for (size_t i = 0; i < count; i++) {
        delivery->parts[i].worker = deliveries[i].rcpt->worker;
    }
    for (size_t i = 0; i < count; i++) {
        bool sent_before = false;
        uint32_t worker = delivery->parts[i].worker;
        for (size_t j = 0; j < i && !sent_before; j++) {
            sent_before = delivery->parts[j].worker == worker;
        }
        if (!sent_before && !send_to(door, delivery, worker, message, deliveries)) {
            fail_later(conn);
        }
    }
    int fd = message->fd;
    fd_close(&fd);
}

void delivery_delivered(struct door *door, uint32_t worker, const struct ipc_delivered *message)
{
    struct delivery wanted = {.id = message->delivery};
    struct delivery *delivery = RB_FIND(delivery_tree, &door->deliveries, &wanted);
    for (size_t i = 0; delivery != NULL && i < delivery->count; i++) {
        struct part *part = &delivery->parts[i];
        if (part->worker == worker && part->place == message->rcpt && !part->answered) {
            part->answered = true;
            delivery->left--;
            delivery->done(delivery->conn->state, i, known_result(message->result));
            free_when_answered(delivery);
            return;
        }
    }
}

/* ---- ends ---------------------------------------------------------------------------------- */

/* A worker that cannot be asked is one whose channel is missing or about to be reported closed. */
void delivery_late(struct door_conn *conn)
{
    conn->undeliverable = false;
    if (conn->wait == WAIT_LOOKUP) {
        answer_lookup(conn, IPC_DELIVERY_OK);
        return;
    }
    struct delivery *delivery = conn->delivery;
    for (size_t i = 0; delivery != NULL && i < delivery->count && delivery->left > 0; i++) {
        uint32_t worker = delivery->parts[i].worker;
        if (child_peer(conn->door->child, IPC_WORKER, worker) == NULL) {
            fail_parts(delivery, worker);
        }
    }
    if (delivery != NULL) {
        free_when_answered(delivery);
    }
}

void delivery_auth_down(struct door *door)
{
    struct door_conn *conn;
    RB_FOREACH (conn, conn_tree, &door->conns) {
        if (conn->wait == WAIT_LOOKUP) {
            fail_later(conn);
        }
    }
}

void delivery_worker_down(struct door *door, uint32_t index)
{
    struct door_conn *conn;
    RB_FOREACH (conn, conn_tree, &door->conns) {
        if (conn->wait == WAIT_ROOM && conn->worker == index) {
            answer_lookup(conn, IPC_DELIVERY_UNAVAILABLE);
        }
    }
    struct delivery *delivery, *next;
    RB_FOREACH_SAFE (delivery, delivery_tree, &door->deliveries, next) {
        fail_parts(delivery, index);
        free_when_answered(delivery);
    }
}

void delivery_drop(struct door_conn *conn)
{
    free(conn->lookup);
    conn->lookup = NULL;
    if (conn->delivery != NULL) {
        RB_REMOVE(delivery_tree, &conn->door->deliveries, conn->delivery);
        free(conn->delivery);
        conn->delivery = NULL;
    }
}
