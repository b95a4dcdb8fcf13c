/*
 * What an account may need before anybody sees it, as one op, every step of which may be repeated:
 *
 *   make      a new account's mailboxes
 *   bury      entries that a COPY or APPEND of many batches wrote but never published (UIDNEXT of
 *             the mailbox is still below them): they become expunged ones without grace and UIDNEXT
 *             goes past them, so that no UID and no slot is used twice
 *   forward   when the store can no longer prove that it holds the last durable batch (a restore):
 *             clients may have seen counters from a lost future, so all move out of its reach, and
 *             the epoch is noted with the last of them (store.md, recovery rule 4)
 *
 * Burying is also done while the account is open, after a failure left such entries behind.
 */
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"

enum { FORWARD_UID = 1 << 16, FORWARD_BATCH = 400 };
static const uint64_t FORWARD_MODSEQ = (uint64_t)1 << 32;

struct left { /* an entry that was never published */
    struct mailbox_entry entry;
    uint32_t page, slot;
};

struct mend_op {
    struct op op;
    bool opening, scanned;
    uint32_t box; /* in burial; 0: none */
    struct left *left;
    size_t left_count, left_room, left_done;
    size_t forward_next; /* index in account->boxes */
};

static const struct {
    const char *name;
    uint32_t special;
} first_boxes[] = {
    {"INBOX", 0},
    {"Drafts", MAILBOX_SPECIAL_DRAFTS},
    {"Sent", MAILBOX_SPECIAL_SENT},
    {"Trash", MAILBOX_SPECIAL_TRASH},
    {"Junk", MAILBOX_SPECIAL_JUNK},
    {"Archive", MAILBOX_SPECIAL_ARCHIVE},
};

static enum op_step mend_make(struct op *op)
{
    struct account *account = op->account;
    struct change *change = change_begin(op);
    struct codec_key key = codec_key_kind(KEY_ACCOUNT);

    store_batch_expect_absent(change->batch, codec_key_slice(&key));
    account->submitted.epoch = store_epoch(account->store);
    for (size_t i = 0; i < sizeof(first_boxes) / sizeof(*first_boxes); i++) {
        struct slice name = slice_str(first_boxes[i].name);
        box_make(change, 0, name, first_boxes[i].special);
        change_subscribe(change, subscription_get(account, name), true);
    }
    fault_hit("mailbox.mend.make");
    change_submit(change);
    return OP_PREPARED;
}

/* ---- burial --------------------------------------------------------------------------------- */

static void bury_scanned(void *arg, enum store_result result, const struct store_item *items,
                         size_t count, bool more);

static void bury_scan(struct mend_op *mend, struct slice from)
{
    struct account *account = mend->op.account;
    struct codec_key to = codec_key_number(KEY_PAGE, mend->box + 1);
    store_scan(account->store, account->id, from, codec_key_slice(&to), 200, bury_scanned, mend);
}

static void bury_collect(struct mend_op *mend, uint32_t page, struct slice value, uint32_t uidnext)
{
    for (uint32_t slot = 0; slot < PAGE_ENTRIES; slot++) {
        struct left left = {.page = page, .slot = slot};
        uint32_t expunged;
        if (!codec_entry_get(value.data + codec_entry_offset(slot), &left.entry, &expunged) ||
            left.entry.uid < uidnext)
            continue;
        if (mend->left_count == mend->left_room) {
            mend->left_room = mend->left_room == 0 ? 64 : mend->left_room * 2;
            mend->left = mem_grow(mend->left, mend->left_room, sizeof(*mend->left));
        }
        mend->left[mend->left_count++] = left;
    }
}

static void bury_scanned(void *arg, enum store_result result, const struct store_item *items,
                         size_t count, bool more)
{
    struct mend_op *mend = arg;
    struct box *box = box_by_id(mend->op.account, mend->box);
    uint32_t page;

    if (result != STORE_OK || box == NULL)
        mend->op.outcome =
            result == STORE_CORRUPT ? (int)MAILBOX_CORRUPT : (int)MAILBOX_UNAVAILABLE;
    for (size_t i = 0; i < count && mend->op.outcome == MAILBOX_OK; i++) {
        if (!codec_key_get_number(items[i].key, 1, &page) || !codec_page_valid(items[i].value))
            mend->op.outcome = MAILBOX_CORRUPT;
        else
            bury_collect(mend, page, items[i].value, box->submitted.uidnext);
    }
    if (mend->op.outcome == MAILBOX_OK && more) {
        struct buf from = {0};
        buf_add_slice(&from, items[count - 1].key);
        buf_u8(&from, 0);
        bury_scan(mend, buf_slice(&from));
        buf_finish(&from);
        return;
    }
    mend->scanned = true;
    op_resume(&mend->op);
}

static enum op_step bury_submit(struct mend_op *mend, struct box *box)
{
    struct change *change = change_begin(&mend->op);
    uint32_t used = 0;

    for (; mend->left_done < mend->left_count && used < CHANGE_ENTRIES_MAX; used++) {
        struct left *left = &mend->left[mend->left_done++];
        change_entry(change, box->id, left->page, left->slot, &left->entry, 1);
    }
    if (mend->left_done == mend->left_count) {
        struct box_record *record = &box->submitted;
        if (record->unpublished > record->uidnext)
            record->uidnext = record->unpublished;
        record->unpublished = 0;
        if (mend->left_count > 0) {
            record->expunged += (uint32_t)mend->left_count;
            record->expunged_since = 1;
        }
        mend->box = 0;
    }
    change_touch(change, box);
    fault_hit("mailbox.mend.bury");
    change_submit(change);
    return OP_MORE;
}

/* True when a step was taken. */
static bool mend_bury(struct mend_op *mend, enum op_step *step)
{
    struct account *account = mend->op.account;
    struct box *box = mend->box == 0 ? NULL : box_by_id(account, mend->box);

    for (size_t i = 0; box == NULL && i < account->box_count; i++) {
        if (account->boxes[i]->submitted.unpublished > 0)
            box = account->boxes[i];
    }
    if (box == NULL)
        return false;
    if (mend->box == 0) {
        struct codec_key from = codec_key_number(KEY_PAGE, box->id);
        mend->box = box->id;
        mend->scanned = false;
        mend->left_count = mend->left_done = 0;
        bury_scan(mend, codec_key_slice(&from));
    }
    *step = mend->scanned ? bury_submit(mend, box) : OP_WAIT;
    return true;
}

/* ---- forward -------------------------------------------------------------------------------- */

static enum op_step mend_forward(struct mend_op *mend)
{
    struct account *account = mend->op.account;
    struct change *change = change_begin(&mend->op);
    size_t end = mend->forward_next + FORWARD_BATCH;

    if (mend->forward_next == 0) {
        struct account_record *record = &account->submitted;
        if (record->lost_to == 0)
            record->lost_from = account->durable.modseq;
        record->modseq += FORWARD_MODSEQ;
        record->lost_to = record->modseq;
        change->modseq = account->submitted.modseq;
        account->submitted.email_next += FORWARD_UID;
        account->submitted.box_next += FORWARD_UID;
    }
    for (; mend->forward_next < end && mend->forward_next < account->box_count;
         mend->forward_next++) {
        struct box *box = account->boxes[mend->forward_next];
        box->submitted.uidnext += FORWARD_UID;
        change_touch(change, box);
    }
    bool last = mend->forward_next == account->box_count;
    if (last)
        account->submitted.epoch = store_epoch(account->store);
    fault_hit("mailbox.mend.forward");
    change_submit(change);
    if (last)
        log_warn("account_forward", "account=%s epoch=%llu", id_text(account->id).text,
                 (unsigned long long)account->submitted.epoch);
    return last ? OP_PREPARED : OP_MORE;
}

/* ---- the op --------------------------------------------------------------------------------- */

static enum op_step mend_prepare(struct op *op)
{
    struct mend_op *mend = (struct mend_op *)op;
    struct account *account = op->account;
    enum op_step step;

    if (mend->opening && account->box_count == 0)
        return mend_make(op);
    if (mend_bury(mend, &step))
        return step;
    if (mend->opening && account->submitted.epoch != store_epoch(account->store))
        return mend_forward(mend);
    return OP_PREPARED;
}

static void mend_restart(struct op *op)
{
    struct mend_op *mend = (struct mend_op *)op;
    mend->box = 0;
    mend->forward_next = 0;
}

static void mend_finish(struct op *op, enum mailbox_result result, bool wanted)
{
    struct mend_op *mend = (struct mend_op *)op;
    free(mend->left);
    op->account->mending = false;
    if (mend->opening)
        account_opened(op->account, result);
}

static const struct op_kind mend_kind = {"mend", mend_prepare, mend_restart, NULL, mend_finish};

void account_mend(struct account *account, bool opening)
{
    if (account->mending)
        return;
    account->mending = true;
    struct mend_op *mend = op_create(sizeof(*mend), &mend_kind, account, &account->env->requests);
    mend->opening = opening;
    op_enqueue_first(&mend->op);
}
