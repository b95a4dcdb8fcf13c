/*
 * COPY and MOVE within an account (RFC 3501 6.4.7, RFC 6851). A copy is an entry that refers to the
 * same email: no bytes are read or written. COPY of any size is published at once by its last
 * batch. MOVE publishes in the target and expunges from the source in the same batch, so that a
 * failure half-way leaves each message in one of the two, never in both or none (RFC 6851 3.3); its
 * answer says which have gone.
 */
#include "mailbox/mailbox_priv.h"

struct copy_op {
    struct op op;
    struct contents *contents;
    uint32_t told;
    bool read_only, move, begun;
    struct uidset uids;
    struct slice target;
    struct appender appender;
    struct mailbox_copied copied;
    mailbox_copy_done *done;
    void *arg;
};

static enum op_step copy_begin(struct copy_op *copy)
{
    struct account *account = copy->op.account;
    struct contents *contents = copy->contents;
    struct box *target = box_lookup(account, copy->target);
    const struct mailbox_entry *next;
    struct mailbox_entry entry;
    uint32_t uid, page, slot, cursor = copy->op.cursor;
    uint64_t size = 0, count = 0;

    if (target == NULL || target->submitted.state != BOX_LIVE)
        return op_fail(&copy->op, MAILBOX_NO_SUCH);
    while (!copy->move && uidset_next(&copy->uids, cursor, &uid) &&
           (next = contents_next(contents, uid)) != NULL && next->uid < copy->told) {
        if (next->uid == uid && box_entry(contents->box, contents, uid, &entry, &page, &slot)) {
            size += entry.size;
            count++;
        }
        cursor = next->uid == uid ? uid + 1 : next->uid;
    }
    if (!copy->move && !account_has_room(account, size))
        return op_fail(&copy->op, MAILBOX_OVER_QUOTA);
    enum mailbox_result result =
        appender_begin(&copy->appender, target, copy->move ? MOVE_ENTRIES_MAX : count);
    if (result != MAILBOX_OK)
        return op_fail(&copy->op, result);
    copy->copied.uidvalidity = target->submitted.uidvalidity;
    copy->begun = true;
    return OP_MORE;
}

/* Adds entries until the batch is full; true when there are no more. */
static bool copy_fill(struct copy_op *copy, struct change **change)
{
    struct contents *contents = copy->contents;
    struct op *op = &copy->op;
    uint32_t uid, page, slot, most = copy->move ? 2 * MOVE_ENTRIES_MAX : CHANGE_ENTRIES_MAX;

    while (*change == NULL || (*change)->entries < most) {
        struct mailbox_entry entry, added;
        const struct mailbox_entry *next;
        if (!uidset_next(&copy->uids, op->cursor, &uid) ||
            (next = contents_next(contents, uid)) == NULL || next->uid >= copy->told)
            return true;
        if (next->uid == uid && box_entry(contents->box, contents, uid, &entry, &page, &slot)) {
            if (*change == NULL)
                *change = change_begin(op);
            added = entry;
            appender_add(&copy->appender, *change, &added, uid);
            if (copy->move)
                change_expunge(*change, contents->box, &entry, page, slot, false);
        }
        op->cursor = next->uid == uid ? uid + 1 : next->uid;
    }
    return false;
}

static enum op_step copy_prepare(struct op *op)
{
    struct copy_op *copy = (struct copy_op *)op;
    struct contents *contents = copy->contents;
    struct change *change = NULL;

    if (copy->move && copy->read_only)
        return op_fail(op, MAILBOX_READ_ONLY);
    if (contents_changeable(contents) != MAILBOX_OK)
        return op_fail(op, contents_changeable(contents));
    if (!copy->begun && copy_begin(copy) != OP_MORE)
        return OP_PREPARED;
    bool last = copy_fill(copy, &change);
    if (change == NULL && (copy->move || copy->appender.messages == 0))
        return OP_PREPARED;
    if (change == NULL)
        change = change_begin(op);
    if (copy->move || last)
        appender_publish(&copy->appender, change);
    else
        appender_hold(&copy->appender, change);
    fault_hit(copy->move ? "mailbox.move.submit"
              : last     ? "mailbox.copy.publish"
                         : "mailbox.copy.hold");
    change_submit(change);
    copy->begun = !copy->move;
    return last ? OP_PREPARED : OP_MORE;
}

static void copy_restart(struct op *op)
{
    struct copy_op *copy = (struct copy_op *)op;
    if (!copy->move) {
        op->cursor = op->confirmed = 0;
        uidset_clear(&copy->copied.source);
        uidset_clear(&copy->copied.target);
    }
    copy->begun = false;
    appender_finish(&copy->appender);
}

static void copy_applied(struct op *op, struct change *change)
{
    struct copy_op *copy = (struct copy_op *)op;
    struct effect *effect;
    TAILQ_FOREACH (effect, &change->effects, link) {
        if (effect->kind != EFFECT_ADD)
            continue;
        uidset_add(&copy->copied.source, effect->source, effect->source);
        uidset_add(&copy->copied.target, effect->entry.uid, effect->entry.uid);
    }
}

static void copy_finish(struct op *op, enum mailbox_result result, bool wanted)
{
    struct copy_op *copy = (struct copy_op *)op;
    if (wanted)
        copy->done(copy->arg, result, &copy->copied);
    appender_finish(&copy->appender);
    uidset_finish(&copy->uids);
    uidset_finish(&copy->copied.source);
    uidset_finish(&copy->copied.target);
    contents_unuse(copy->contents);
}

static const struct op_kind copy_kind = {"copy", copy_prepare, copy_restart, copy_applied,
                                         copy_finish};

void mailbox_copy(struct mailbox_view *view, const struct uidset *uids, struct slice target,
                  bool move, mailbox_copy_done *done, void *arg)
{
    struct copy_op *copy = op_create(sizeof(*copy), &copy_kind, view->account, &view->requests);
    copy->contents = view->contents;
    if (copy->contents != NULL)
        copy->contents->users++;
    copy->told = view->told;
    copy->read_only = view->read_only;
    copy->move = move;
    uidset_add_set(&copy->uids, uids);
    if (!name_normalise(target, &copy->op.arena, &copy->target))
        copy->target = SLICE_NONE;
    copy->done = done;
    copy->arg = arg;
    op_enqueue(&copy->op);
}
