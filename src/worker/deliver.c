/*
 * Mail from the doors into mailboxes: who gets it, then the message; one answer per recipient, when
 * it is durable or known not to be. Also the question before it, "is there room?", and the wiping
 * of an account that is gone.
 *
 * A door that dies leaves its deliveries running: they are answered to nobody, and when the sender
 * repeats, the mailbox layer knows the message.
 */
#include <stdlib.h>

#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "worker/worker_priv.h"

enum { RCPTS_MAX = 200000 }; /* collected for all doors: a broken one must not fill our memory */

struct rcpt {
    struct mailbox_account_ref account;
    struct slice prefix, mailbox; /* ours */
};

struct delivery {
    RB_ENTRY(delivery) by_key;
    struct worker *worker;
    uint32_t door;
    uint64_t id;
    int fd;
    struct rcpt *rcpts;
    size_t count, room, left;
    size_t dropped; /* recipients beyond RCPTS_MAX */
};

static int delivery_compare(const struct delivery *a, const struct delivery *b)
{
    if (a->door != b->door) {
        return a->door < b->door ? -1 : 1;
    }
    return a->id < b->id ? -1 : a->id > b->id;
}
RB_GENERATE_INTERNAL(delivery_tree, delivery, by_key, delivery_compare,
                     __attribute__((unused)) static)

static enum ipc_delivery_result delivery_result(enum mailbox_result result)
{
    switch (result) {
    case MAILBOX_OK:
        return IPC_DELIVERY_OK;
    case MAILBOX_OVER_QUOTA:
        return IPC_DELIVERY_OVER_QUOTA;
    case MAILBOX_NOSPACE:
        return IPC_DELIVERY_NOSPACE;
    case MAILBOX_CORRUPT:
        return IPC_DELIVERY_DAMAGED;
    default:
        return IPC_DELIVERY_UNAVAILABLE;
    }
}

static void delivery_free(struct delivery *delivery)
{
    for (size_t i = 0; i < delivery->count; i++) {
        free((void *)(uintptr_t)delivery->rcpts[i].prefix.data);
        free((void *)(uintptr_t)delivery->rcpts[i].mailbox.data);
    }
    free(delivery->rcpts);
    fd_close(&delivery->fd);
    free(delivery);
}

static struct slice keep(struct slice bytes)
{
    return bytes.size == 0 ? SLICE_NONE : slice_make(mem_dup(bytes.data, bytes.size), bytes.size);
}

void deliver_rcpt(struct worker *worker, uint32_t door, const struct ipc_deliver_rcpt *message)
{
    struct delivery wanted = {.door = door, .id = message->delivery};
    struct delivery *delivery = RB_FIND(delivery_tree, &worker->deliveries, &wanted);
    if (delivery == NULL) {
        delivery = MEM_NEW(struct delivery);
        delivery->worker = worker;
        delivery->door = door;
        delivery->id = message->delivery;
        delivery->fd = -1;
        RB_INSERT(delivery_tree, &worker->deliveries, delivery);
    }
    if (worker->rcpts_waiting >= RCPTS_MAX || delivery->dropped > 0) {
        delivery->dropped++; /* the whole delivery is refused when it comes */
        return;
    }
    if (delivery->count == delivery->room) {
        delivery->room = delivery->room == 0 ? 1 : delivery->room * 2;
        delivery->rcpts = mem_grow(delivery->rcpts, delivery->room, sizeof(*delivery->rcpts));
    }
    delivery->rcpts[delivery->count++] = (struct rcpt){
        .account = {.id = message->account, .volume = message->volume, .quota = message->quota},
        .prefix = keep(message->prefix),
        .mailbox = keep(message->mailbox),
    };
    worker->rcpts_waiting++;
}

static void take_out(struct worker *worker, struct delivery *delivery)
{
    RB_REMOVE(delivery_tree, &worker->deliveries, delivery);
    worker->rcpts_waiting -= delivery->count;
}

static void tell(struct delivery *delivery, size_t rcpt, enum ipc_delivery_result result)
{
    struct ipc_channel *door = child_peer(delivery->worker->child, IPC_DOOR, delivery->door);
    struct ipc_delivered message = {
        .delivery = delivery->id, .rcpt = (uint32_t)rcpt, .result = (uint32_t)result};
    if (door != NULL) {
        ipc_send_delivered(door, &message);
    }
}

static void on_delivered(void *arg, size_t recipient, enum mailbox_result result, bool duplicate)
{
    struct delivery *delivery = arg;
    struct worker *worker = delivery->worker;
    tell(delivery, recipient, delivery_result(result));
    counter_add(result != MAILBOX_OK ? COUNTER_delivery_failed
                : duplicate          ? COUNTER_delivered_again
                                     : COUNTER_delivered,
                1);
    if (--delivery->left == 0) {
        delivery_free(delivery);
        worker->busy--;
        worker_settle(worker);
    }
}

static void refuse(struct delivery *delivery)
{
    size_t count = delivery->count + delivery->dropped;
    for (size_t i = 0; i < count; i++) {
        tell(delivery, i, IPC_DELIVERY_UNAVAILABLE);
    }
    counter_add(COUNTER_delivery_failed, (int64_t)count);
    delivery_free(delivery);
}

/* The delivery that now has its message: no longer among those that wait for one. NULL: unknown. */
static struct delivery *begin(struct worker *worker, uint32_t door, uint64_t id)
{
    struct delivery wanted = {.door = door, .id = id};
    struct delivery *delivery = RB_FIND(delivery_tree, &worker->deliveries, &wanted);
    if (delivery == NULL) {
        return NULL;
    }
    take_out(worker, delivery);
    delivery->left = delivery->count;
    return delivery;
}

static void proceed(struct delivery *delivery, const struct mailbox_bytes *bytes)
{
    struct worker *worker = delivery->worker;
    if (worker->finished || delivery->dropped > 0) {
        refuse(delivery);
        return;
    }
    struct mailbox_recipient *recipients = mem_array(delivery->count, sizeof(*recipients));
    for (size_t i = 0; i < delivery->count; i++) {
        recipients[i] = (struct mailbox_recipient){.account = delivery->rcpts[i].account,
                                                   .prefix = delivery->rcpts[i].prefix,
                                                   .mailbox = delivery->rcpts[i].mailbox};
    }
    worker->busy++;
    mailbox_deliver(worker->env, bytes, recipients, delivery->count, on_delivered, delivery);
    free(recipients);
}

void deliver_message(struct worker *worker, uint32_t door, struct ipc_deliver *message)
{
    struct delivery *delivery = begin(worker, door, message->delivery);
    if (delivery == NULL) {
        return;
    }
    delivery->fd = message->message;
    message->message = -1;
    if (message->size > STORE_BLOB_MAX || !fd_memory_verify(delivery->fd, message->size)) {
        log_error("delivery_refused", "door=%u size=%llu", door, (unsigned long long)message->size);
        refuse(delivery);
        return;
    }
    proceed(delivery, &(struct mailbox_bytes){.fd = delivery->fd, .size = message->size});
}

void deliver_short(struct worker *worker, uint32_t door, const struct ipc_deliver_short *message)
{
    struct delivery *delivery = begin(worker, door, message->delivery);
    if (delivery != NULL) {
        proceed(delivery, &(struct mailbox_bytes){.fd = -1,
                                                  .data = message->message.data,
                                                  .size = message->message.size});
    }
}

void deliver_door_down(struct worker *worker, uint32_t door)
{
    struct delivery *delivery, *next;
    RB_FOREACH_SAFE (delivery, delivery_tree, &worker->deliveries, next) {
        if (delivery->door == door) {
            take_out(worker, delivery);
            delivery_free(delivery);
        }
    }
}

void deliver_finish(struct worker *worker)
{
    struct delivery *delivery, *next;
    RB_FOREACH_SAFE (delivery, delivery_tree, &worker->deliveries, next) {
        take_out(worker, delivery);
        delivery_free(delivery);
    }
}

/* ---- is there room? ------------------------------------------------------------------------ */

struct check {
    struct worker *worker;
    struct mailbox_account *account;
    uint32_t door, volume;
    uint64_t request, size;
};

static void answer_check(struct worker *worker, uint32_t index, uint64_t request,
                         enum ipc_delivery_result result)
{
    struct ipc_channel *door = child_peer(worker->child, IPC_DOOR, index);
    struct ipc_rcpt_checked message = {.request = request, .result = (uint32_t)result};
    if (door != NULL) {
        ipc_send_rcpt_checked(door, &message);
    }
}

static void on_opened(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    struct check *check = arg;
    struct worker *worker = check->worker;
    enum ipc_delivery_result answer = delivery_result(result);
    if (result == MAILBOX_OK) {
        struct mailbox_usage usage;
        mailbox_account_usage(account, &usage);
        /* Without SIZE one byte is asked for: a full account says so now, not after the message. */
        uint64_t size = check->size > 0 ? check->size : 1;
        if (usage.quota > 0 && (usage.bytes >= usage.quota || size > usage.quota - usage.bytes)) {
            answer = IPC_DELIVERY_OVER_QUOTA;
        } else {
            answer = volumes_room(worker, check->volume, check->size);
        }
    }
    answer_check(worker, check->door, check->request, answer);
    mailbox_account_release(&check->account);
    free(check);
    worker->busy--;
    worker_settle(worker);
}

void deliver_check(struct worker *worker, uint32_t door, const struct ipc_rcpt_check *message)
{
    if (worker->finished || worker->busy >= WORKER_BUSY_MAX ||
        volumes_store(worker, message->volume) == NULL) {
        answer_check(worker, door, message->request, IPC_DELIVERY_UNAVAILABLE);
        return;
    }
    struct mailbox_account_ref ref = {
        .id = message->account, .volume = message->volume, .quota = message->quota};
    struct check *check = MEM_NEW(struct check);
    check->worker = worker;
    check->door = door;
    check->volume = message->volume;
    check->request = message->request;
    check->size = message->size;
    worker->busy++;
    check->account = mailbox_account_open(worker->env, &ref, on_opened, check);
}

/* ---- wiping -------------------------------------------------------------------------------- */

struct wipe {
    struct worker *worker;
    struct id account;
};

static void on_purged(void *arg, enum mailbox_result result)
{
    struct wipe *wipe = arg;
    struct worker *worker = wipe->worker;
    struct ipc_channel *auth = child_peer(worker->child, IPC_AUTH, 0);
    struct ipc_purged message = {.account = wipe->account,
                                 .result = (uint32_t)delivery_result(result)};
    if (auth != NULL) {
        ipc_send_purged(auth, &message);
    }
    log_info("purged", "account=%s result=%d", id_text(wipe->account).text, (int)result);
    free(wipe);
    worker->busy--;
    worker_settle(worker);
}

void deliver_purge(struct worker *worker, const struct ipc_purge *message)
{
    struct mailbox_account_ref ref = {.id = message->account, .volume = message->volume};
    struct wipe *wipe = MEM_NEW(struct wipe);
    wipe->worker = worker;
    wipe->account = message->account;
    tickets_revoke(worker, message->account);
    sessions_end_account(worker, message->account, "This account was deleted");
    worker->busy++;
    if (worker->finished || volumes_store(worker, message->volume) == NULL) {
        on_purged(wipe, MAILBOX_UNAVAILABLE);
        return;
    }
    mailbox_account_purge(worker->env, &ref, on_purged, wipe);
}
