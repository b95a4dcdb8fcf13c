/*
 * One batch on its way to the store, and what it will do to memory. Preparing changes `submitted`
 * state at once; `durable` state, which is all that anybody is shown, changes when the batch is
 * durable. When a batch is known not to be applied, the store has failed all later ones of the
 * account too: submitted falls back to durable, once (generation), and their ops look again. When
 * nobody knows (FENCED, UNKNOWN), the account's memory is dropped: recovery will tell.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "mailbox/mailbox_priv.h"

int effect_compare(const struct effect *a, const struct effect *b)
{
    return a->entry.uid < b->entry.uid ? -1 : a->entry.uid > b->entry.uid;
}
RB_GENERATE(pending, effect, node, effect_compare)

struct change *change_begin(struct op *op)
{
    struct account *account = op->account;
    struct change *change = MEM_NEW(struct change);

    change->account = account;
    change->op = op;
    change->batch = store_batch_create(account->id);
    change->generation = account->generation;
    change->modseq = ++account->submitted.modseq;
    change->now = clock_real_s();
    TAILQ_INIT(&change->followers);
    TAILQ_INIT(&change->effects);
    return change;
}

void effect_free(struct effect *effect)
{
    free(effect);
}

static void change_free(struct change *change)
{
    struct effect *effect;
    while ((effect = TAILQ_FIRST(&change->effects)) != NULL) {
        TAILQ_REMOVE(&change->effects, effect, link);
        effect_free(effect);
    }
    store_batch_destroy(&change->batch);
    buf_finish(&change->log);
    buf_finish(&change->run);
    free(change->boxes);
    free(change->subscriptions);
    free(change);
}

void change_drop(struct change *change)
{
    ASSERT(TAILQ_EMPTY(&change->effects) && change->box_count == 0);
    change_free(change);
}

static struct change_box *change_box(struct change *change, struct box *box)
{
    for (size_t i = 0; i < change->box_count; i++) {
        if (change->boxes[i].box == box)
            return &change->boxes[i];
    }
    change->boxes = mem_grow(change->boxes, change->box_count + 1, sizeof(*change->boxes));
    change->boxes[change->box_count] = (struct change_box){.box = box};
    return &change->boxes[change->box_count++];
}

void change_touch(struct change *change, struct box *box)
{
    change_box(change, box);
    box->submitted.modseq = change->modseq;
}

void change_record(struct change *change, struct box *box)
{
    change_box(change, box);
}

void change_gone(struct change *change, struct box *box)
{
    change_box(change, box)->gone = true;
}

void change_subscribe(struct change *change, struct subscription *subscription, bool value)
{
    size_t count = change->subscription_count++;
    change->subscriptions =
        mem_grow(change->subscriptions, count + 1, sizeof(*change->subscriptions));
    change->subscriptions[count] = (struct change_subscription){subscription, value};
    subscription->submitted = value;
}

static void run_flush(struct change *change)
{
    if (change->run.size == 0)
        return;
    struct codec_key key = codec_key_page(change->run_box, change->run_page);
    store_batch_patch(change->batch, codec_key_slice(&key), codec_entry_offset(change->run_slot),
                      buf_slice(&change->run));
    buf_clear(&change->run);
}

void change_entry(struct change *change, uint32_t box, uint32_t page, uint32_t slot,
                  const struct mailbox_entry *entry, uint32_t expunged)
{
    uint32_t next = change->run_slot + (uint32_t)(change->run.size / ENTRY_SIZE);
    if (change->run_box != box || change->run_page != page || slot != next)
        run_flush(change);
    if (change->run.size == 0) {
        change->run_box = box;
        change->run_page = page;
        change->run_slot = slot;
    }
    codec_entry_put(buf_extend(&change->run, ENTRY_SIZE), entry, expunged);
    change->entries++;
}

struct effect *change_effect(struct change *change, struct box *box, enum effect_kind kind,
                             const struct mailbox_entry *entry, uint32_t page, uint32_t slot)
{
    struct effect *effect = MEM_NEW(struct effect), *old;

    effect->kind = kind;
    effect->box = box;
    effect->entry = *entry;
    effect->page = page;
    effect->slot = slot;
    if (kind != EFFECT_ADD) {
        if ((old = RB_FIND(pending, &box->pending, effect)) != NULL) {
            RB_REMOVE(pending, &box->pending, old);
            old->pending = false;
        }
        RB_INSERT(pending, &box->pending, effect);
        effect->pending = true;
    }
    TAILQ_INSERT_TAIL(&change->effects, effect, link);
    return effect;
}

void change_note(struct change *change, uint32_t box, enum codec_change kind, uint32_t uid)
{
    codec_change_add(&change->log, box, kind, uid);
}

bool box_entry(struct box *box, struct contents *contents, uint32_t uid,
               struct mailbox_entry *entry, uint32_t *page, uint32_t *slot)
{
    struct effect key = {.entry = {.uid = uid}};
    const struct mailbox_entry *durable = contents_find(contents, uid, page, slot);
    if (durable == NULL)
        return false;
    const struct effect *pending = RB_FIND(pending, &box->pending, &key);
    *entry = pending != NULL ? pending->entry : *durable;
    return pending == NULL || pending->kind != EFFECT_EXPUNGE;
}

void box_count_flags(struct box *box, uint32_t old_flags, uint32_t new_flags)
{
    uint32_t changed = old_flags ^ new_flags;
    if (changed & MAILBOX_SEEN)
        box->submitted.unseen += new_flags & MAILBOX_SEEN ? UINT32_MAX : 1;
    if (changed & MAILBOX_DELETED)
        box->submitted.deleted += new_flags & MAILBOX_DELETED ? 1 : UINT32_MAX;
}

void change_expunge(struct change *change, struct box *box, const struct mailbox_entry *entry,
                    uint32_t page, uint32_t slot, bool grace)
{
    struct mailbox_entry after = *entry;
    struct box_record *record = &box->submitted;
    uint32_t since = grace ? change->now : 1;

    after.modseq = change->modseq;
    change_entry(change, box->id, page, slot, &after, since);
    change_effect(change, box, EFFECT_EXPUNGE, &after, page, slot);
    change_note(change, box->id, CHANGE_EXPUNGE, entry->uid);
    record->messages--;
    record->size -= entry->size;
    box_count_flags(box, entry->flags, MAILBOX_SEEN);
    change->account->submitted.messages--;
    change->account->submitted.bytes -= entry->size;
    if (record->expunged++ == 0 || since < record->expunged_since)
        record->expunged_since = since;
    change_touch(change, box);
}

/* ---- submitting ---------------------------------------------------------------------------- */

static void change_done(void *arg, enum store_result result);

static void change_write_boxes(struct change *change)
{
    struct buf value = {0};
    for (size_t i = 0; i < change->box_count; i++) {
        struct change_box *touched = &change->boxes[i];
        struct codec_key key = codec_key_number(KEY_BOX, touched->box->id);
        if (touched->gone) {
            store_batch_del(change->batch, codec_key_slice(&key));
            continue;
        }
        touched->after = touched->box->submitted;
        buf_clear(&value);
        codec_box_put(&touched->after, &value);
        store_batch_put(change->batch, codec_key_slice(&key), buf_slice(&value));
    }
    buf_finish(&value);
}

static void change_write_subscriptions(struct change *change)
{
    static const uint8_t format = CODEC_FORMAT;
    struct buf key = {0};
    for (size_t i = 0; i < change->subscription_count; i++) {
        struct change_subscription *subscription = &change->subscriptions[i];
        buf_clear(&key);
        buf_u8(&key, KEY_SUBSCRIPTION);
        buf_add_slice(&key, subscription->subscription->name);
        if (subscription->value)
            store_batch_put(change->batch, buf_slice(&key), slice_make(&format, 1));
        else
            store_batch_del(change->batch, buf_slice(&key));
    }
    buf_finish(&key);
}

void change_submit(struct change *change)
{
    struct account *account = change->account;
    struct codec_key key = codec_key_kind(KEY_ACCOUNT);
    struct buf value = {0};

    run_flush(change);
    change_write_boxes(change);
    change_write_subscriptions(change);
    keywords_put(account, change->batch);
    change->keywords = account->keywords.written;
    change->keyword_sets = account->keywords.set_written;
    change->after = account->submitted;
    codec_account_put(&change->after, &value);
    store_batch_put(change->batch, codec_key_slice(&key), buf_slice(&value));
    buf_finish(&value);
    if (change->log.size > 0) {
        key = codec_key_change(change->modseq);
        store_batch_put(change->batch, codec_key_slice(&key), buf_slice(&change->log));
    }
    change->cursor = change->op->cursor;
    change->op->submitted++;
    account_hold(account);
    TAILQ_INSERT_TAIL(&account->changes, change, link);
    struct store_batch *batch = change->batch;
    change->batch = NULL;
    store_submit(account->store, batch, change_done, change);
}

/* ---- when the store has answered ------------------------------------------------------------ */

static void apply_box(struct change_box *touched)
{
    struct box *box = touched->box;
    struct box_record *after = &touched->after;

    if (touched->gone) {
        box_remove(box);
        return;
    }
    bool emptied = after->state != BOX_LIVE || after->dead_below != box->durable.dead_below;
    if (!box->exists || emptied || after->state != box->durable.state ||
        after->parent != box->durable.parent || after->name.data != box->durable.name.data)
        list_drop(box->account);
    box->durable = *after;
    box->exists = true;
    if (emptied && box->contents != NULL)
        contents_detach(box->contents, CONTENTS_DELETED);
}

static void change_apply(struct change *change)
{
    struct account *account = change->account;
    struct effect *effect;

    account->durable = change->after;
    account->exists = true;
    account->keywords.durable = change->keywords;
    account->keywords.set_durable = change->keyword_sets;
    for (size_t i = 0; i < change->subscription_count; i++)
        change->subscriptions[i].subscription->durable = change->subscriptions[i].value;
    if (change->subscription_count > 0)
        list_drop(account);
    TAILQ_FOREACH (effect, &change->effects, link) {
        if (effect->pending)
            RB_REMOVE(pending, &effect->box->pending, effect);
        if (effect->box->contents != NULL)
            contents_apply(effect->box->contents, effect);
    }
    for (size_t i = 0; i < change->box_count; i++) {
        struct change_box *touched = &change->boxes[i];
        apply_box(touched);
        if (!touched->gone && touched->box->contents != NULL)
            views_check(touched->box->contents);
    }
}

/* What was submitted falls back to what is durable. */
static void account_rollback(struct account *account)
{
    bool mend = false;

    account->generation++;
    account->submitted = account->durable;
    for (size_t i = account->box_count; i-- > 0;) {
        struct box *box = account->boxes[i];
        RB_INIT(&box->pending);
        if (!box->exists) {
            box_remove(box);
            continue;
        }
        box->submitted = box->durable;
        mend |= box->durable.unpublished > 0;
    }
    struct subscription *subscription;
    TAILQ_FOREACH (subscription, &account->subscriptions, link)
        subscription->submitted = subscription->durable;
    keywords_rollback(account);
    struct op *running = account->running;
    if (running != NULL && running->submitted > 0 && running->outcome == MAILBOX_OK)
        running->outcome = OP_RETRY;
    if (mend)
        account_mend(account, false);
}

static int change_outcome(struct change *change, enum store_result result)
{
    struct account *account = change->account;
    bool first = change->generation == account->generation;

    if (account->state == ACCOUNT_BROKEN)
        return MAILBOX_BROKEN;
    switch (result) {
    case STORE_OK:
        if (first) {
            change_apply(change);
            return MAILBOX_OK;
        }
        /* The store applied what was prepared on top of what it did not apply. */
        account_break(account, "order");
        return MAILBOX_BROKEN;
    case STORE_CONFLICT:
    case STORE_NOSPACE:
    case STORE_UNAVAILABLE:
        if (!first)
            return OP_RETRY;
        account_rollback(account);
        change->op->conflicted = result == STORE_CONFLICT;
        return result == STORE_CONFLICT  ? OP_RETRY
               : result == STORE_NOSPACE ? (int)MAILBOX_NOSPACE
                                         : (int)MAILBOX_UNAVAILABLE;
    case STORE_FENCED:
    case STORE_UNKNOWN:
    case STORE_CORRUPT:
        account_break(account, store_result_text(result));
        return MAILBOX_BROKEN;
    }
    ASSERT(false);
    return MAILBOX_BROKEN;
}

static void change_done(void *arg, enum store_result result)
{
    struct change *change = arg;
    struct account *account = change->account;
    struct mailbox_env *env = account->env;
    struct op *op;

    fault_hit("mailbox.change.done");
    int outcome = change_outcome(change, result);
    TAILQ_REMOVE(&account->changes, change, link);
    op_completed(change->op, change, outcome);
    while ((op = TAILQ_FIRST(&change->followers)) != NULL) {
        TAILQ_REMOVE(&change->followers, op, link);
        op_completed(op, NULL,
                     outcome == MAILBOX_OK || outcome == MAILBOX_BROKEN ? outcome : OP_RETRY);
    }
    views_notify(env);
    account_run(account);
    change_free(change);
    account_drop(account);
}
