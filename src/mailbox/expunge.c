/*
 * Taking messages out (RFC 3501 6.4.3, RFC 4315 2.1; POP3's QUIT, RFC 1939 6): a bit in the entry
 * and a record in the log of changes; the space comes back by housekeeping, after the grace. Every
 * batch by itself is atomic.
 */
#include "mailbox/mailbox_priv.h"

struct expunge_op {
    struct op op;
    struct contents *contents;
    uint32_t told;
    bool read_only, marked; /* marked: only those with \Deleted */
    struct uidset uids;
    mailbox_done *done;
    void *arg;
};

static enum op_step expunge_prepare(struct op *op)
{
    struct expunge_op *expunge = (struct expunge_op *)op;
    struct contents *contents = expunge->contents;
    struct change *change = NULL;
    uint32_t uid, page, slot;

    if (expunge->read_only)
        return op_fail(op, MAILBOX_READ_ONLY);
    if (contents_changeable(contents) != MAILBOX_OK)
        return op_fail(op, contents_changeable(contents));
    while (uidset_next(&expunge->uids, op->cursor, &uid) &&
           (change == NULL || change->entries < CHANGE_ENTRIES_MAX)) {
        const struct mailbox_entry *next = contents_next(contents, uid);
        struct mailbox_entry entry;
        if (next == NULL || next->uid >= expunge->told)
            break;
        if (next->uid == uid && box_entry(contents->box, contents, uid, &entry, &page, &slot) &&
            (!expunge->marked || (entry.flags & MAILBOX_DELETED) != 0)) {
            if (change == NULL)
                change = change_begin(op);
            change_expunge(change, contents->box, &entry, page, slot, true);
        }
        op->cursor = next->uid == uid ? uid + 1 : next->uid;
    }
    if (change == NULL)
        return OP_PREPARED;
    fault_hit("mailbox.expunge.submit");
    change_submit(change);
    return change->entries < CHANGE_ENTRIES_MAX ? OP_PREPARED : OP_MORE;
}

static void expunge_finish(struct op *op, enum mailbox_result result, bool wanted)
{
    struct expunge_op *expunge = (struct expunge_op *)op;
    if (wanted)
        expunge->done(expunge->arg, result);
    uidset_finish(&expunge->uids);
    contents_unuse(expunge->contents);
}

static const struct op_kind expunge_kind = {"expunge", expunge_prepare, NULL, NULL, expunge_finish};

static void expunge_start(struct mailbox_view *view, const struct uidset *uids, bool marked,
                          mailbox_done *done, void *arg)
{
    struct expunge_op *expunge =
        op_create(sizeof(*expunge), &expunge_kind, view->account, &view->requests);
    expunge->contents = view->contents;
    if (expunge->contents != NULL)
        expunge->contents->users++;
    expunge->told = view->told;
    expunge->read_only = view->read_only;
    expunge->marked = marked;
    if (uids != NULL)
        uidset_add_set(&expunge->uids, uids);
    else
        uidset_add(&expunge->uids, 1, UINT32_MAX);
    expunge->done = done;
    expunge->arg = arg;
    op_enqueue(&expunge->op);
}

void mailbox_expunge(struct mailbox_view *view, const struct uidset *uids, mailbox_done *done,
                     void *arg)
{
    expunge_start(view, uids, true, done, arg);
}

void mailbox_remove(struct mailbox_view *view, const struct uidset *uids, mailbox_done *done,
                    void *arg)
{
    expunge_start(view, uids, false, done, arg);
}
