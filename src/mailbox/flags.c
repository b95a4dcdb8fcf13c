/*
 * STORE (RFC 3501 6.4.6, RFC 7162 3.1.3): every batch by itself is atomic. A message whose flags
 * are so already is not touched: it gets no new MODSEQ, nobody is told.
 */
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"

struct store_op {
    struct op op;
    struct contents *contents;
    uint32_t told; /* UIDs from here on the session did not know */
    uint64_t by;
    bool read_only;
    struct uidset uids, modified;
    struct mailbox_store change;
    uint32_t *ids;
    size_t id_count;
    uint32_t base, combined; /* the last pair of keyword sets */
    mailbox_store_done *done;
    void *arg;
};

/* False: a limit of keywords. */
static bool store_combine(struct store_op *store, struct mailbox_entry *entry)
{
    uint32_t given = store->change.flags.system;

    switch (store->change.mode) {
    case MAILBOX_STORE_SET:
        entry->flags = given;
        break;
    case MAILBOX_STORE_ADD:
        entry->flags |= given;
        break;
    case MAILBOX_STORE_REMOVE:
        entry->flags &= ~given;
        break;
    }
    if (store->base != entry->keyword_set) {
        store->base = entry->keyword_set;
        store->combined = keywords_combine(store->op.account, store->base, store->change.mode,
                                           store->ids, store->id_count);
    }
    if (store->combined == UINT32_MAX)
        return false;
    entry->keyword_set = store->combined;
    return true;
}

static bool store_one(struct store_op *store, struct change **change, uint32_t uid)
{
    struct box *box = store->contents->box;
    struct mailbox_entry entry, before;
    uint32_t page, slot;

    if (!box_entry(box, store->contents, uid, &before, &page, &slot))
        return true;
    if (store->change.conditional && before.modseq > store->change.unchanged_since) {
        uidset_add(&store->modified, uid, uid);
        return true;
    }
    entry = before;
    if (!store_combine(store, &entry))
        return false;
    if (entry.flags == before.flags && entry.keyword_set == before.keyword_set)
        return true;
    if (*change == NULL)
        *change = change_begin(&store->op);
    entry.modseq = (*change)->modseq;
    change_entry(*change, box->id, page, slot, &entry, 0);
    change_effect(*change, box, EFFECT_FLAGS, &entry, page, slot)->by =
        store->change.silent ? store->by : 0;
    change_note(*change, box->id, CHANGE_FLAGS, uid);
    box_count_flags(box, before.flags, entry.flags);
    change_touch(*change, box);
    return true;
}

static enum op_step store_prepare(struct op *op)
{
    struct store_op *store = (struct store_op *)op;
    struct contents *contents = store->contents;
    struct change *change = NULL;
    const struct mailbox_entry *entry;
    uint32_t uid;

    if (store->read_only)
        return op_fail(op, MAILBOX_READ_ONLY);
    if (contents_changeable(contents) != MAILBOX_OK)
        return op_fail(op, contents_changeable(contents));
    if (op->submitted == 0 &&
        !keywords_ids(op->account, store->change.flags.keywords, store->change.flags.keyword_count,
                      store->change.mode != MAILBOX_STORE_REMOVE, store->ids, &store->id_count))
        return op_fail(op, MAILBOX_LIMIT);
    while (uidset_next(&store->uids, op->cursor, &uid) &&
           (change == NULL || change->entries < CHANGE_ENTRIES_MAX)) {
        entry = contents_next(contents, uid);
        if (entry == NULL || entry->uid >= store->told)
            break;
        if (entry->uid == uid && !store_one(store, &change, uid)) {
            op->outcome = MAILBOX_LIMIT;
            break;
        }
        op->cursor = entry->uid == uid ? uid + 1 : entry->uid;
    }
    if (change == NULL)
        return OP_PREPARED;
    fault_hit("mailbox.store.submit");
    change_submit(change);
    return change->entries < CHANGE_ENTRIES_MAX || op->outcome != MAILBOX_OK ? OP_PREPARED
                                                                             : OP_MORE;
}

static void store_restart(struct op *op)
{
    struct store_op *store = (struct store_op *)op;
    store->base = UINT32_MAX;
    uidset_cut(&store->modified, op->cursor);
}

static void store_finish(struct op *op, enum mailbox_result result, bool wanted)
{
    struct store_op *store = (struct store_op *)op;
    if (wanted)
        store->done(store->arg, result, &store->modified);
    uidset_finish(&store->uids);
    uidset_finish(&store->modified);
    contents_unuse(store->contents);
}

static const struct op_kind store_kind = {"store", store_prepare, store_restart, NULL,
                                          store_finish};

void mailbox_store(struct mailbox_view *view, const struct uidset *uids,
                   const struct mailbox_store *change, mailbox_store_done *done, void *arg)
{
    struct store_op *store = op_create(sizeof(*store), &store_kind, view->account, &view->requests);
    store->contents = view->contents;
    if (store->contents != NULL)
        store->contents->users++;
    store->told = view->told;
    store->by = view->number;
    store->read_only = view->read_only;
    store->change = *change;
    store->change.unchanged_since = mailbox_view_since(view, change->unchanged_since);
    flags_copy(&store->op.arena, &change->flags, &store->change.flags);
    store->ids =
        arena_array(&store->op.arena, change->flags.keyword_count + 1, sizeof(*store->ids));
    uidset_add_set(&store->uids, uids);
    store->done = done;
    store->arg = arg;
    op_enqueue(&store->op);
}
