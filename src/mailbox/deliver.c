/*
 * Delivery of one message to many accounts. The bytes are stored once per volume: the first
 * account's batch brings the blob, the others refer to it in batches submitted behind it in the
 * same turn; when the first fails, they meet a CONFLICT and the next one brings it.
 *
 * A repeat is known by the hash of the bytes, kept as a record of the account for a day: the batch
 * expects it absent, where that is not known (repeats.c), and a CONFLICT looks at what is there. So
 * two equal ones on their way at the same time, and a sender that asks again after a crash, leave
 * one message.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "mailbox/mailbox_priv.h"

enum { DELIVERY_PREFIX_MAX = 16384 }; /* with the rest of an email's record within a value */

struct volume {
    struct store *store;
    uint64_t blob; /* of the bytes; 0: not brought yet */
};

struct recipient {
    struct delivery *delivery;
    struct mailbox_account *handle;
    struct slice prefix, mailbox;
    struct volume *volume;
    enum mailbox_result opened;
    bool refused; /* its prefix is too long */
};

struct delivery {
    struct mailbox_env *env;
    struct arena arena;
    struct incoming *incoming;
    struct recipient *recipients;
    struct volume *volumes;
    size_t count, waiting, open;
    mailbox_delivered *delivered;
    void *arg;
};

struct deliver_op {
    struct op op;
    struct recipient *recipient;
    struct appender appender;
    bool looked, duplicate;
    enum repeat repeat;
    struct buf before; /* a record of the same hash that is too old to count */
    uint64_t blob;
};

static void delivery_answer(struct recipient *recipient, enum mailbox_result result, bool duplicate)
{
    struct delivery *delivery = recipient->delivery;
    delivery->delivered(delivery->arg, (size_t)(recipient - delivery->recipients), result,
                        duplicate);
    mailbox_account_release(&recipient->handle);
    if (--delivery->open > 0)
        return;
    if (delivery->incoming != NULL)
        incoming_release(delivery->incoming);
    arena_finish(&delivery->arena);
    free(delivery);
}

static void deliver_got(void *arg, enum store_result result, bool found, struct slice value)
{
    struct deliver_op *deliver = arg;
    struct delivery_record record;

    deliver->looked = true;
    if (result != STORE_OK) {
        deliver->op.outcome = (int)read_result(result);
    } else if (found) {
        uint32_t now = clock_real_s();
        if (codec_delivery_get(value, &record) &&
            (record.time > now || now - record.time < DELIVERY_KEPT_S))
            deliver->duplicate = true;
        buf_add_slice(&deliver->before, value);
    }
    op_resume(&deliver->op);
}

/* True when the same bytes are on their way to this account at this moment. */
static bool deliver_under_way(struct deliver_op *deliver)
{
    struct account *account = deliver->op.account;
    const struct incoming *incoming = deliver->recipient->delivery->incoming;
    struct change *change;

    TAILQ_FOREACH (change, &account->changes, link) {
        if (change->delivers && change->generation == account->generation &&
            memcmp(change->delivery, incoming->hash, sizeof(incoming->hash)) == 0)
            return true;
    }
    return false;
}

static void deliver_remember(struct deliver_op *deliver, struct change *change)
{
    struct incoming *incoming = deliver->recipient->delivery->incoming;
    struct codec_key key = codec_key_delivery(incoming->hash);
    struct delivery_record record = {change->now, deliver->appender.box->id,
                                     deliver->appender.first};
    struct buf value = {0};

    if (!incoming->identified)
        return;
    if (deliver->before.size > 0)
        store_batch_expect_equal(change->batch, codec_key_slice(&key), buf_slice(&deliver->before));
    else if (deliver->repeat != REPEAT_NO)
        store_batch_expect_absent(change->batch, codec_key_slice(&key));
    repeats_enter(deliver->op.account, incoming->hash);
    codec_delivery_put(&record, &value);
    store_batch_put(change->batch, codec_key_slice(&key), buf_slice(&value));
    buf_finish(&value);
    change->delivers = true;
    memcpy(change->delivery, incoming->hash, sizeof(incoming->hash));
}

static enum op_step deliver_store(struct deliver_op *deliver)
{
    struct account *account = deliver->op.account;
    struct recipient *recipient = deliver->recipient;
    struct arrival arrival = {.incoming = recipient->delivery->incoming,
                              .prefix = recipient->prefix};
    struct box *box = box_lookup(account, recipient->mailbox);

    if (box == NULL || box->submitted.state != BOX_LIVE)
        box = box_lookup(account, SLICE_LITERAL("INBOX"));
    if (box == NULL)
        return op_fail(&deliver->op, MAILBOX_CORRUPT);
    if (!account_has_room(account, arrival.incoming->size + arrival.prefix.size))
        return op_fail(&deliver->op, MAILBOX_OVER_QUOTA);
    if (account->submitted.email_next > UINT32_MAX - 0x20000)
        return op_fail(&deliver->op, MAILBOX_LIMIT);
    enum mailbox_result result = appender_begin(&deliver->appender, box, 1);
    if (result != MAILBOX_OK)
        return op_fail(&deliver->op, result);
    struct change *change = change_begin(&deliver->op);
    deliver_remember(deliver, change);
    deliver->blob = arrival_store(change, &deliver->appender, &arrival, recipient->volume->blob);
    recipient->volume->blob = deliver->blob;
    appender_publish(&deliver->appender, change);
    fault_hit("mailbox.deliver.submit");
    change_submit(change);
    return OP_PREPARED;
}

static enum op_step deliver_prepare(struct op *op)
{
    struct deliver_op *deliver = (struct deliver_op *)op;
    struct incoming *incoming = deliver->recipient->delivery->incoming;

    if (deliver->duplicate)
        return OP_PREPARED;
    if (incoming->identified && deliver_under_way(deliver)) {
        deliver->duplicate = true; /* and OK only when that one is durable */
        return OP_PREPARED;
    }
    if (incoming->identified && !deliver->looked)
        deliver->repeat = repeats_ask(op->account, incoming->hash);
    if (incoming->identified && !deliver->looked &&
        (op->conflicted || deliver->repeat == REPEAT_LIKELY)) {
        struct codec_key key = codec_key_delivery(incoming->hash);
        store_get(op->account->store, op->account->id, codec_key_slice(&key), deliver_got, deliver);
        return OP_WAIT;
    }
    return deliver_store(deliver);
}

/* Whatever the blob was brought by is known to have failed: the next one brings it again. */
static void deliver_forget(struct deliver_op *deliver)
{
    struct volume *volume = deliver->recipient->volume;
    if (deliver->blob != 0 && volume->blob == deliver->blob)
        volume->blob = 0;
    deliver->blob = 0;
    appender_finish(&deliver->appender);
}

static void deliver_restart(struct op *op)
{
    struct deliver_op *deliver = (struct deliver_op *)op;
    deliver_forget(deliver);
    deliver->looked = deliver->duplicate = false;
    buf_clear(&deliver->before);
}

static void deliver_finish(struct op *op, enum mailbox_result result, bool wanted)
{
    struct deliver_op *deliver = (struct deliver_op *)op;
    if (result != MAILBOX_OK)
        deliver_forget(deliver);
    appender_finish(&deliver->appender);
    buf_finish(&deliver->before);
    delivery_answer(deliver->recipient, result, deliver->duplicate && result == MAILBOX_OK);
}

static const struct op_kind deliver_kind = {"deliver", deliver_prepare, deliver_restart, NULL,
                                            deliver_finish};

static void delivery_submit(struct delivery *delivery)
{
    size_t count = delivery->count;
    delivery->open++; /* answers may come while we are at it */
    for (size_t i = 0; i < count; i++) {
        struct recipient *recipient = &delivery->recipients[i];
        if (delivery->incoming == NULL || recipient->opened != MAILBOX_OK) {
            delivery_answer(
                recipient,
                recipient->opened != MAILBOX_OK ? recipient->opened : MAILBOX_UNAVAILABLE, false);
            continue;
        }
        struct volume *volume = delivery->volumes;
        while (volume->store != NULL && volume->store != recipient->handle->account->store)
            volume++;
        volume->store = recipient->handle->account->store;
        recipient->volume = volume;
        struct deliver_op *deliver = op_create(
            sizeof(*deliver), &deliver_kind, recipient->handle->account, &delivery->env->requests);
        deliver->recipient = recipient;
        op_enqueue(&deliver->op);
    }
    if (--delivery->open == 0) {
        if (delivery->incoming != NULL)
            incoming_release(delivery->incoming);
        arena_finish(&delivery->arena);
        free(delivery);
    }
}

static void delivery_ready(void *arg)
{
    struct delivery *delivery = arg;
    if (--delivery->waiting == 0)
        delivery_submit(delivery);
}

static void recipient_opened(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    struct recipient *recipient = arg;
    recipient->opened = result;
    delivery_ready(recipient->delivery);
}

void mailbox_deliver(struct mailbox_env *env, const struct mailbox_bytes *bytes,
                     const struct mailbox_recipient *recipients, size_t count,
                     mailbox_delivered *delivered, void *arg)
{
    struct delivery *delivery = MEM_NEW(struct delivery);

    delivery->env = env;
    delivery->count = delivery->open = count;
    delivery->delivered = delivered;
    delivery->arg = arg;
    arena_init(&delivery->arena);
    delivery->recipients = arena_array(&delivery->arena, count, sizeof(*delivery->recipients));
    delivery->volumes = arena_array(&delivery->arena, count + 1, sizeof(*delivery->volumes));
    delivery->waiting = count + 1;
    delivery->incoming = incoming_create(env, bytes, true, delivery_ready, delivery);
    for (size_t i = 0; i < count; i++) {
        struct recipient *recipient = &delivery->recipients[i];
        recipient->delivery = delivery;
        recipient->prefix = arena_copy(&delivery->arena, recipients[i].prefix);
        recipient->refused = recipient->prefix.size > DELIVERY_PREFIX_MAX;
        if (!name_normalise(recipients[i].mailbox, &delivery->arena, &recipient->mailbox))
            recipient->mailbox = SLICE_LITERAL("INBOX");
        recipient->handle =
            mailbox_account_open(env, &recipients[i].account, recipient_opened, recipient);
    }
    if (delivery->incoming == NULL) /* the accounts' answers come later, so this is not the last */
        delivery->waiting--;
}
