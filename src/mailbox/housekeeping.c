/*
 * Gives back what nobody needs: entries whose grace is over, mailboxes that were deleted, changes
 * too old for the log, answers to deliveries older than a day. One round goes over an account page
 * by page; every batch leaves a sound state, so that a round may be cut off anywhere and the next
 * begins at the front.
 *
 * Of a page: which entries can go; then who else refers to their emails (KEY_REFERENCE); then one
 * batch takes the entries, their references, and the emails that nobody refers to any more. A COPY
 * cannot bring such an email back meanwhile: it copies only messages that are there, and those have
 * references of their own.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "mailbox/mailbox_priv.h"

enum { ROUND_EVERY_S = 600, DELIVERIES_PER_BATCH = 500 };

struct victim {
    uint32_t uid, email, slot;
    uint32_t references; /* that the email has, this one included */
    bool sole;           /* the last of the victims that refer to it, and nobody else does */
    uint64_t blob;       /* 0: not known */
};

struct round {
    struct account *account;
    uint32_t box, page; /* in work */
    uint32_t remaining_since;
    struct victim victims[PAGE_ENTRIES];
    size_t count, waiting;
    bool page_empty, gone, trim, sweep;
    struct buf next;       /* where the next scan begins */
    struct buf deliveries; /* keys of 17 bytes that can go */
    enum mailbox_result result;
    void (*done)(void *arg);
    void *arg;
};

static void round_box(struct round *round);
static void round_trim(struct round *round);
static void round_sweep(struct round *round);

static void round_end(struct round *round)
{
    struct account *account = round->account;
    account->housekeeping = false;
    account->housekeeping_due_us = clock_monotonic_us() + (uint64_t)ROUND_EVERY_S * 1000000;
    if (round->done != NULL)
        round->done(round->arg);
    buf_finish(&round->next);
    buf_finish(&round->deliveries);
    free(round);
    account_drop(account);
}

/* ---- one batch ------------------------------------------------------------------------------ */

struct clean_op {
    struct op op;
    struct round *round;
};

static void clean_victim(struct change *change, struct round *round, const struct victim *victim)
{
    static const uint8_t zeros[ENTRY_SIZE];
    struct codec_key page = codec_key_page(round->box, round->page);
    struct codec_key reference = codec_key_reference(victim->email, round->box, victim->uid);

    store_batch_del(change->batch, codec_key_slice(&reference));
    if (!round->page_empty)
        store_batch_patch(change->batch, codec_key_slice(&page), codec_entry_offset(victim->slot),
                          slice_make(zeros, sizeof(zeros)));
    if (!victim->sole)
        return;
    struct codec_key email = codec_key_number(KEY_EMAIL, victim->email);
    struct codec_key summary = codec_key_number(KEY_SUMMARY, victim->email);
    if (victim->blob != 0) {
        store_batch_unref(change->batch, victim->blob);
        store_batch_del(change->batch, codec_key_slice(&email));
    }
    store_batch_del(change->batch, codec_key_slice(&summary));
}

static void clean_page(struct change *change, struct round *round, struct box *box)
{
    struct codec_key page = codec_key_page(round->box, round->page);
    if (box->submitted.tail_page == round->page || box->durable.tail_page == round->page)
        round->page_empty = round->page_empty && box->submitted.state == BOX_DELETED;
    for (size_t i = 0; i < round->count; i++)
        clean_victim(change, round, &round->victims[i]);
    if (round->page_empty)
        store_batch_del(change->batch, codec_key_slice(&page));
    struct box_record *record = &box->submitted;
    record->expunged -= record->expunged < round->count ? record->expunged : (uint32_t)round->count;
    change_record(change, box);
}

static enum op_step clean_prepare(struct op *op)
{
    struct round *round = ((struct clean_op *)op)->round;
    struct box *box = box_by_id(op->account, round->box);
    struct change *change;

    if (round->trim) {
        struct codec_key from = codec_key_kind(KEY_CHANGE);
        struct codec_key to = codec_key_change(changes_reach(op->account) + 1);
        change = change_begin(op);
        store_batch_del_range(change->batch, codec_key_slice(&from), codec_key_slice(&to));
    } else if (round->sweep) {
        change = change_begin(op);
        for (size_t at = 0; at < round->deliveries.size; at += 17)
            store_batch_del(change->batch, slice_make(round->deliveries.data + at, 17));
    } else if (box == NULL) {
        return OP_PREPARED;
    } else if (round->gone && round->count == 0) {
        struct codec_key from = codec_key_number(KEY_PAGE, box->id);
        struct codec_key to = codec_key_number(KEY_PAGE, box->id + 1);
        change = change_begin(op);
        store_batch_del_range(change->batch, codec_key_slice(&from), codec_key_slice(&to));
        change_gone(change, box);
    } else if (round->count == 0) { /* the end of a mailbox: when to come again */
        change = change_begin(op);
        box->submitted.expunged_since = round->remaining_since;
        change_record(change, box);
    } else {
        change = change_begin(op);
        clean_page(change, round, box);
    }
    fault_hit("mailbox.housekeeping.submit");
    change_submit(change);
    return OP_PREPARED;
}

static void clean_finish(struct op *op, enum mailbox_result result, bool wanted)
{
    struct round *round = ((struct clean_op *)op)->round;
    if (result != MAILBOX_OK) {
        round_end(round);
        return;
    }
    if (round->trim || round->sweep) {
        round->trim = false;
        round_sweep(round);
        return;
    }
    if (round->count == 0) { /* the mailbox is done, and nothing of it is for the next one */
        round->box++;
        round->gone = false;
        buf_clear(&round->next);
    }
    round_box(round);
}

static const struct op_kind clean_kind = {"housekeeping", clean_prepare, NULL, NULL, clean_finish};

static void clean_submit(struct round *round)
{
    struct clean_op *clean =
        op_create(sizeof(*clean), &clean_kind, round->account, &round->account->env->requests);
    clean->round = round;
    op_enqueue(&clean->op);
}

/* ---- who else refers to the emails ---------------------------------------------------------- */

struct victim_read {
    struct round *round;
    size_t index;
};

static void victims_ready(struct round *round)
{
    if (--round->waiting > 0)
        return;
    if (round->result != MAILBOX_OK)
        round_end(round);
    else
        clean_submit(round);
}

static void victim_email(void *arg, enum store_result result, bool found, struct slice value)
{
    struct victim_read *read = arg;
    struct round *round = read->round;
    struct email_record record;

    /* Not there or damaged: the blob stays until a check of the store counts references. */
    if (result == STORE_OK && found && codec_email_get(value, &record))
        round->victims[read->index].blob = record.blob;
    else if (result != STORE_OK && result != STORE_CORRUPT)
        round->result = MAILBOX_UNAVAILABLE;
    free(read);
    victims_ready(round);
}

static void victim_references(void *arg, enum store_result result, const struct store_item *items,
                              size_t count, bool more)
{
    struct victim_read *read = arg;
    struct round *round = read->round;
    struct victim *victim = &round->victims[read->index];
    size_t own = 0;
    bool last = true;

    for (size_t i = 0; i < round->count; i++) {
        own += round->victims[i].email == victim->email;
        last = last && (i <= read->index || round->victims[i].email != victim->email);
    }
    if (result != STORE_OK)
        round->result = MAILBOX_UNAVAILABLE;
    victim->sole = result == STORE_OK && !more && count <= own && last;
    if (!victim->sole) {
        free(read);
        victims_ready(round);
        return;
    }
    struct codec_key key = codec_key_number(KEY_EMAIL, victim->email);
    store_get(round->account->store, round->account->id, codec_key_slice(&key), victim_email, read);
}

static void victims_read(struct round *round)
{
    struct account *account = round->account;
    round->waiting = round->count;
    for (size_t i = 0, count = round->count; i < count; i++) {
        struct victim_read *read = MEM_NEW(struct victim_read);
        struct codec_key from = codec_key_number(KEY_REFERENCE, round->victims[i].email);
        struct codec_key to = codec_key_number(KEY_REFERENCE, round->victims[i].email + 1);
        *read = (struct victim_read){round, i};
        store_scan(account->store, account->id, codec_key_slice(&from), codec_key_slice(&to),
                   PAGE_ENTRIES + 1, victim_references, read);
    }
}

/* ---- which entries can go ------------------------------------------------------------------- */

/* A session that has not been told of an expunge can still read the message. Behind a long log all
 * wait for a later round. */
static bool still_shown(const struct box *box, uint32_t uid)
{
    enum { LOG_LOOKED_AT = 1000 };
    const struct contents *contents = box->contents;

    if (contents == NULL)
        return false;
    for (size_t i = 0; i < contents->expunged_count && i < LOG_LOOKED_AT; i++) {
        if (contents->expunged[i].uid == uid)
            return true;
    }
    return contents->expunged_count > LOG_LOOKED_AT;
}

static bool can_go(const struct box *box, const struct mailbox_entry *entry, uint32_t expunged)
{
    uint32_t now = clock_real_s(), grace = box->account->env->options.grace_s;

    if (box->durable.state == BOX_DELETED || entry->uid < box->durable.dead_below)
        return true;
    if (expunged == 0 || entry->uid >= box->durable.uidnext)
        return false;
    if (expunged > 1 && (now < expunged || now - expunged < grace))
        return false;
    return !still_shown(box, entry->uid);
}

static void page_victims(struct round *round, struct box *box, struct slice page)
{
    round->count = 0;
    round->page_empty = true;
    for (uint32_t slot = 0; slot < PAGE_ENTRIES; slot++) {
        struct mailbox_entry entry;
        uint32_t expunged;
        if (!codec_entry_get(page.data + codec_entry_offset(slot), &entry, &expunged))
            continue;
        if (can_go(box, &entry, expunged)) {
            round->victims[round->count++] =
                (struct victim){.uid = entry.uid, .email = entry.email, .slot = slot};
            continue;
        }
        round->page_empty = false;
        if (expunged > 0 && expunged < round->remaining_since)
            round->remaining_since = expunged;
    }
}

static void page_scanned(void *arg, enum store_result result, const struct store_item *items,
                         size_t count, bool more)
{
    struct round *round = arg;
    struct box *box = box_by_id(round->account, round->box);

    if (result != STORE_OK || round->account->state == ACCOUNT_BROKEN) {
        round_end(round);
        return;
    }
    if (count == 0 || box == NULL) {
        round->count = 0;
        round->gone = box != NULL && box->durable.state == BOX_DELETED;
        clean_submit(round);
        return;
    }
    buf_clear(&round->next);
    buf_add_slice(&round->next, items[0].key);
    buf_u8(&round->next, 0);
    if (!codec_key_get_number(items[0].key, 1, &round->page) || !codec_page_valid(items[0].value)) {
        round_box(round);
        return;
    }
    page_victims(round, box, items[0].value);
    if (round->count == 0)
        round_box(round);
    else
        victims_read(round);
}

static bool box_due(const struct box *box)
{
    const struct box_record *record = &box->durable;
    uint32_t now = clock_real_s(), grace = box->account->env->options.grace_s;
    if (record->state == BOX_DELETED)
        return true;
    return record->expunged > 0 &&
           (record->expunged_since <= 1 ||
            (now >= record->expunged_since && now - record->expunged_since >= grace));
}

/* The next page of the mailbox in work, or the first of the next mailbox that needs it. */
static void round_box(struct round *round)
{
    struct account *account = round->account;
    struct box *box = NULL;

    for (size_t i = 0; i < account->box_count && box == NULL; i++) {
        struct box *other = account->boxes[i];
        uint32_t id = other->id;
        bool in_work = round->next.size > 0 && id == round->box;
        if (id >= round->box && other->exists && (in_work || box_due(other)))
            box = other;
    }
    if (box == NULL) {
        buf_clear(&round->next);
        round_trim(round);
        return;
    }
    if (box->id != round->box || round->next.size == 0) {
        struct codec_key from = codec_key_number(KEY_PAGE, box->id);
        round->box = box->id;
        round->remaining_since = clock_real_s();
        round->gone = false;
        buf_clear(&round->next);
        buf_add_slice(&round->next, codec_key_slice(&from));
    }
    struct codec_key to = codec_key_number(KEY_PAGE, box->id + 1);
    store_scan(account->store, account->id, buf_slice(&round->next), codec_key_slice(&to), 1,
               page_scanned, round);
}

/* ---- the change log ------------------------------------------------------------------------- */

static void trim_scanned(void *arg, enum store_result result, const struct store_item *items,
                         size_t count, bool more)
{
    struct round *round = arg;
    if (result != STORE_OK || round->account->state == ACCOUNT_BROKEN) {
        round_end(round);
        return;
    }
    round->trim = count > 0;
    if (round->trim)
        clean_submit(round);
    else
        round_sweep(round);
}

static void round_trim(struct round *round)
{
    struct account *account = round->account;
    struct codec_key from = codec_key_kind(KEY_CHANGE);
    struct codec_key to = codec_key_change(changes_reach(account) + 1);
    store_scan(account->store, account->id, codec_key_slice(&from), codec_key_slice(&to), 1,
               trim_scanned, round);
}

/* ---- answers to deliveries ------------------------------------------------------------------ */

static void sweep_scanned(void *arg, enum store_result result, const struct store_item *items,
                          size_t count, bool more)
{
    struct round *round = arg;
    uint32_t now = clock_real_s();

    buf_clear(&round->deliveries);
    for (size_t i = 0; i < count && result == STORE_OK; i++) {
        struct delivery_record record;
        if (items[i].key.size == 17 && codec_delivery_get(items[i].value, &record) &&
            now >= record.time && now - record.time >= DELIVERY_KEPT_S)
            buf_add_slice(&round->deliveries, items[i].key);
    }
    if (result != STORE_OK || round->account->state == ACCOUNT_BROKEN || count == 0) {
        round_end(round);
        return;
    }
    buf_clear(&round->next);
    buf_add_slice(&round->next, items[count - 1].key);
    buf_u8(&round->next, 0);
    if (round->deliveries.size > 0) {
        repeats_forget(round->account);
        clean_submit(round);
    } else {
        round_sweep(round);
    }
}

static void round_sweep(struct round *round)
{
    struct account *account = round->account;
    struct codec_key to = codec_key_kind(KEY_END);
    round->sweep = true;
    if (round->next.size == 0)
        buf_u8(&round->next, KEY_DELIVERY);
    store_scan(account->store, account->id, buf_slice(&round->next), codec_key_slice(&to),
               DELIVERIES_PER_BATCH, sweep_scanned, round);
}

void housekeeping_start(struct account *account, void (*done)(void *arg), void *arg)
{
    if (account->housekeeping)
        return;
    struct round *round = MEM_NEW(struct round);
    account->housekeeping = true;
    account_hold(account);
    round->account = account;
    round->done = done;
    round->arg = arg;
    round_box(round);
}
