/*
 * CREATE, DELETE, RENAME, SUBSCRIBE, adoption by an import. A mailbox is one record that names its
 * parent by id: renaming a tree changes one record, deleting a mailbox changes one and leaves the
 * rest to housekeeping. Here everything looks at submitted state; list.c shows the durable one.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "mailbox/mailbox_priv.h"

static size_t box_place(struct account *account, uint32_t id)
{
    size_t low = 0, high = account->box_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (account->boxes[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct box *box_by_id(struct account *account, uint32_t id)
{
    size_t at = box_place(account, id);
    return at < account->box_count && account->boxes[at]->id == id ? account->boxes[at] : NULL;
}

struct box *box_add(struct account *account, uint32_t id)
{
    struct box *box = MEM_NEW(struct box);
    size_t at = box_place(account, id);

    box->id = id;
    box->account = account;
    RB_INIT(&box->pending);
    if (account->box_count == account->box_room) {
        account->box_room = account->box_room == 0 ? 8 : account->box_room * 2;
        account->boxes = mem_grow(account->boxes, account->box_room, sizeof(*account->boxes));
    }
    memmove(account->boxes + at + 1, account->boxes + at,
            (account->box_count - at) * sizeof(*account->boxes));
    account->boxes[at] = box;
    account->box_count++;
    return box;
}

void box_remove(struct box *box)
{
    struct account *account = box->account;
    size_t at = box_place(account, box->id);

    if (box->full != NULL)
        list_drop(account);
    if (box->contents != NULL)
        contents_detach(box->contents, CONTENTS_DELETED);
    memmove(account->boxes + at, account->boxes + at + 1,
            (account->box_count - at - 1) * sizeof(*account->boxes));
    account->box_count--;
    free(box);
}

static struct box *box_child(struct account *account, uint32_t parent, struct slice leaf)
{
    for (size_t i = 0; i < account->box_count; i++) {
        struct box *box = account->boxes[i];
        if (box->submitted.state != BOX_DELETED && box->submitted.parent == parent &&
            slice_equal(box->submitted.name, leaf))
            return box;
    }
    return NULL;
}

static bool box_has_children(struct box *box)
{
    for (size_t i = 0; i < box->account->box_count; i++) {
        const struct box_record *record = &box->account->boxes[i]->submitted;
        if (record->state != BOX_DELETED && record->parent == box->id)
            return true;
    }
    return false;
}

struct box *box_lookup(struct account *account, struct slice name)
{
    struct box *box = NULL;
    while (name.size > 0) {
        box = box_child(account, box == NULL ? 0 : box->id, name_first(&name));
        if (box == NULL)
            return NULL;
    }
    return box;
}

static void box_revive(struct change *change, struct box *box)
{
    struct account_record *account = &change->account->submitted;
    account->uidvalidity_last =
        change->now > account->uidvalidity_last ? change->now : account->uidvalidity_last + 1;
    box->submitted.uidvalidity = account->uidvalidity_last;
    box->submitted.object = id_random();
    box->submitted.import_next = box->submitted.import_end = 0;
    box->submitted.state = BOX_LIVE;
    change_touch(change, box);
}

struct box *box_make(struct change *change, uint32_t parent, struct slice leaf, uint32_t special)
{
    struct account *account = change->account;
    struct box *box = box_add(account, account->submitted.box_next++);

    box->submitted = (struct box_record){
        .parent = parent, .special = special, .uidnext = 1, .name = account_name(account, leaf)};
    box_revive(change, box);
    codec_change_add(&change->log, box->id, CHANGE_BOX, 0);
    return box;
}

/* Makes what is missing of the levels above the last one; gives the parent's id and the last leaf.
 * *change is begun when it is needed. */
static uint32_t make_parents(struct op *op, struct change **change, struct slice name,
                             struct slice *leaf)
{
    uint32_t parent = 0;
    for (;;) {
        *leaf = name_first(&name);
        if (name.size == 0)
            return parent;
        struct box *box = box_child(op->account, parent, *leaf);
        if (box == NULL) {
            if (*change == NULL)
                *change = change_begin(op);
            box = box_make(*change, parent, *leaf, 0);
        }
        parent = box->id;
    }
}

/* ---- one op for all ------------------------------------------------------------------- */

struct tree_op {
    struct op op;
    struct slice name, to;
    uint32_t special;
    uint32_t uidvalidity, uidnext; /* adopt */
    bool subscribed, finished;
    mailbox_done *done;
    void *arg;
};

static void tree_finish(struct op *op, enum mailbox_result result, bool wanted)
{
    struct tree_op *tree = (struct tree_op *)op;
    if (wanted)
        tree->done(tree->arg, result);
}

static enum op_step tree_submit(struct change *change)
{
    fault_hit("mailbox.tree.submit");
    change_submit(change);
    return OP_PREPARED;
}

static enum op_step create_prepare(struct op *op)
{
    struct tree_op *tree = (struct tree_op *)op;
    struct account *account = op->account;
    struct box *box = box_lookup(account, tree->name);
    struct change *change = NULL;
    struct slice leaf;

    if (box != NULL && box->submitted.state == BOX_LIVE)
        return op_fail(op, MAILBOX_EXISTS);
    if (account->box_count >= account->env->options.mailboxes_max ||
        account->submitted.box_next > UINT32_MAX - 0x20000)
        return op_fail(op, MAILBOX_LIMIT);
    if (box != NULL) {
        change = change_begin(op);
        box_revive(change, box);
        box->submitted.special = tree->special;
        return tree_submit(change);
    }
    uint32_t parent = make_parents(op, &change, tree->name, &leaf);
    if (change == NULL)
        change = change_begin(op);
    box_make(change, parent, leaf, tree->special);
    return tree_submit(change);
}

static enum op_step delete_prepare(struct op *op)
{
    struct tree_op *tree = (struct tree_op *)op;
    struct account *account = op->account;
    struct box *box = box_lookup(account, tree->name);

    if (box == NULL)
        return op_fail(op, MAILBOX_NO_SUCH);
    if (slice_equal_str(tree->name, "INBOX"))
        return op_fail(op, MAILBOX_CANNOT);
    bool children = box_has_children(box);
    if (children && box->submitted.state == BOX_NOSELECT)
        return op_fail(op, MAILBOX_HAS_CHILDREN);
    struct change *change = change_begin(op);
    struct box_record *record = &box->submitted;
    account->submitted.bytes -= record->size;
    account->submitted.messages -= record->messages;
    record->expunged += record->messages;
    record->expunged_since = 1;
    record->messages = record->unseen = record->deleted = 0;
    record->size = 0;
    record->special = 0;
    record->dead_below = record->uidnext;
    record->state = children ? BOX_NOSELECT : BOX_DELETED;
    change_touch(change, box);
    codec_change_add(&change->log, box->id, CHANGE_BOX, 0);
    return tree_submit(change);
}

static enum op_step rename_prepare(struct op *op)
{
    struct tree_op *tree = (struct tree_op *)op;
    struct account *account = op->account;
    struct box *box = box_lookup(account, tree->name);
    struct slice leaf, below = slice_sub(tree->to, tree->name.size, 1);
    struct change *change = NULL;

    if (box == NULL)
        return op_fail(op, MAILBOX_NO_SUCH);
    if (box_lookup(account, tree->to) != NULL)
        return op_fail(op, MAILBOX_EXISTS);
    if (slice_starts(tree->to, tree->name) && slice_equal_str(below, "/"))
        return op_fail(op, MAILBOX_CANNOT);
    uint32_t parent = make_parents(op, &change, tree->to, &leaf);
    if (change == NULL)
        change = change_begin(op);
    box->submitted.parent = parent;
    box->submitted.name = account_name(account, leaf);
    change_touch(change, box);
    codec_change_add(&change->log, box->id, CHANGE_BOX, 0);
    return tree_submit(change);
}

struct subscription *subscription_get(struct account *account, struct slice name)
{
    struct subscription *subscription;
    int order = 1;

    TAILQ_FOREACH (subscription, &account->subscriptions, link) {
        order = slice_compare(name, subscription->name);
        if (order <= 0)
            break;
    }
    if (order == 0)
        return subscription;
    struct subscription *added = mem_zalloc(sizeof(*added) + name.size);
    memcpy(added + 1, name.data, name.size);
    added->name = slice_make(added + 1, name.size);
    if (subscription == NULL)
        TAILQ_INSERT_TAIL(&account->subscriptions, added, link);
    else
        TAILQ_INSERT_BEFORE(subscription, added, link);
    return added;
}

static enum op_step subscribe_prepare(struct op *op)
{
    struct tree_op *tree = (struct tree_op *)op;
    struct account *account = op->account;
    /* A key takes 255 bytes. */
    if (tree->name.size >= STORE_KEY_MAX)
        return op_fail(op, tree->subscribed ? MAILBOX_LIMIT : MAILBOX_OK);
    struct subscription *subscription = subscription_get(account, tree->name);
    if (subscription->submitted == tree->subscribed)
        return OP_PREPARED;
    struct change *change = change_begin(op);
    change_subscribe(change, subscription, tree->subscribed);
    return tree_submit(change);
}

static enum op_step refuse_prepare(struct op *op)
{
    return op_fail(op, MAILBOX_BAD_NAME);
}

static enum op_step adopt_prepare(struct op *op)
{
    struct tree_op *tree = (struct tree_op *)op;
    struct account_record *account = &op->account->submitted;
    struct box *box = box_lookup(op->account, tree->name);

    if (box == NULL || box->submitted.state != BOX_LIVE)
        return op_fail(op, MAILBOX_NO_SUCH);
    struct box_record *record = &box->submitted;
    if (tree->uidvalidity == 0 || tree->uidnext == 0 || tree->uidnext > UID_MAX)
        return op_fail(op, MAILBOX_CANNOT);
    if (record->uidvalidity != tree->uidvalidity &&
        (record->uidnext > 1 || record->unpublished > 0 || record->dead_below > 0))
        return op_fail(op, MAILBOX_CANNOT);
    struct change *change = change_begin(op);
    record->uidvalidity = tree->uidvalidity;
    /* Near the end of the numbers it would leave none for mailboxes to come. */
    if (account->uidvalidity_last < tree->uidvalidity && tree->uidvalidity < UID_MAX)
        account->uidvalidity_last = tree->uidvalidity;
    if (record->import_end == 0)
        record->import_next = record->uidnext;
    if (record->import_end < tree->uidnext)
        record->import_end = tree->uidnext;
    if (tree->finished) {
        if (record->uidnext < record->import_end)
            record->uidnext = record->import_end;
        if (record->import_next < record->import_end)
            record->import_next = record->import_end;
    }
    change_touch(change, box);
    codec_change_add(&change->log, box->id, CHANGE_BOX, 0);
    return tree_submit(change);
}

static const struct op_kind create_kind = {"create", create_prepare, NULL, NULL, tree_finish};
static const struct op_kind delete_kind = {"delete", delete_prepare, NULL, NULL, tree_finish};
static const struct op_kind rename_kind = {"rename", rename_prepare, NULL, NULL, tree_finish};
static const struct op_kind subscribe_kind = {"subscribe", subscribe_prepare, NULL, NULL,
                                              tree_finish};
static const struct op_kind adopt_kind = {"adopt", adopt_prepare, NULL, NULL, tree_finish};
static const struct op_kind refuse_kind = {"refuse", refuse_prepare, NULL, NULL, tree_finish};

static struct tree_op *tree_create(struct mailbox_account *account, const struct op_kind *kind,
                                   mailbox_done *done, void *arg)
{
    struct tree_op *tree = op_create(sizeof(*tree), kind, account->account, &account->requests);
    tree->done = done;
    tree->arg = arg;
    return tree;
}

void mailbox_create(struct mailbox_account *account, struct slice name, uint32_t special,
                    mailbox_done *done, void *arg)
{
    struct tree_op *tree = tree_create(account, &create_kind, done, arg);
    tree->special = special;
    if (!name_normalise(name, &tree->op.arena, &tree->name))
        tree->op.kind = &refuse_kind;
    op_enqueue(&tree->op);
}

void mailbox_delete(struct mailbox_account *account, struct slice name, mailbox_done *done,
                    void *arg)
{
    struct tree_op *tree = tree_create(account, &delete_kind, done, arg);
    /* What cannot be a name is not there. */
    if (!name_normalise(name, &tree->op.arena, &tree->name))
        tree->name = SLICE_NONE;
    op_enqueue(&tree->op);
}

void mailbox_subscribe(struct mailbox_account *account, struct slice name, bool subscribed,
                       mailbox_done *done, void *arg)
{
    struct tree_op *tree = tree_create(account, &subscribe_kind, done, arg);
    tree->subscribed = subscribed;
    if (!name_normalise(name, &tree->op.arena, &tree->name))
        tree->op.kind = &refuse_kind;
    op_enqueue(&tree->op);
}

void mailbox_adopt(struct mailbox_account *account, struct slice name, uint32_t uidvalidity,
                   uint32_t uidnext, bool finished, mailbox_done *done, void *arg)
{
    struct tree_op *tree = tree_create(account, &adopt_kind, done, arg);
    tree->uidvalidity = uidvalidity;
    tree->uidnext = uidnext;
    tree->finished = finished;
    if (!name_normalise(name, &tree->op.arena, &tree->name))
        tree->name = SLICE_NONE;
    op_enqueue(&tree->op);
}

/* ---- RENAME INBOX (RFC 3501 6.3.5): a new mailbox, then the messages move, batch by batch --- */

struct inbox_rename {
    struct request request;
    struct mailbox_account *handle;
    struct mailbox_view *view;
    char *to;
    mailbox_done *done;
    void *arg;
};

static void inbox_finish(struct inbox_rename *rename, enum mailbox_result result)
{
    if (request_detach(&rename->request))
        rename->done(rename->arg, result);
    mailbox_view_close(&rename->view);
    mailbox_account_release(&rename->handle);
    free(rename->to);
    free(rename);
}

static void inbox_moved(void *arg, enum mailbox_result result, const struct mailbox_copied *copied)
{
    inbox_finish(arg, result);
}

static void inbox_opened(void *arg, enum mailbox_result result, struct mailbox_view *view)
{
    struct inbox_rename *rename = arg;
    struct uidset all = {0};

    if (result != MAILBOX_OK) {
        inbox_finish(rename, result);
        return;
    }
    uidset_add(&all, 1, UINT32_MAX);
    mailbox_copy(view, &all, slice_str(rename->to), true, inbox_moved, rename);
    uidset_finish(&all);
}

static void inbox_created(void *arg, enum mailbox_result result)
{
    struct inbox_rename *rename = arg;
    if (result != MAILBOX_OK)
        inbox_finish(rename, result);
    else
        rename->view =
            mailbox_view_open(rename->handle, SLICE_LITERAL("INBOX"), false, inbox_opened, rename);
}

void mailbox_rename(struct mailbox_account *account, struct slice from, struct slice to,
                    mailbox_done *done, void *arg)
{
    struct tree_op *tree = tree_create(account, &rename_kind, done, arg);
    if (!name_normalise(from, &tree->op.arena, &tree->name))
        tree->name = SLICE_NONE;
    if (!name_normalise(to, &tree->op.arena, &tree->to))
        tree->op.kind = &refuse_kind;
    else if (slice_equal_str(tree->name, "INBOX")) {
        struct inbox_rename *rename = MEM_NEW(struct inbox_rename);
        rename->handle = account_handle(account->account);
        rename->to = slice_strdup(tree->to);
        rename->done = done;
        rename->arg = arg;
        request_attach(&rename->request, &account->requests);
        tree->op.kind = &create_kind;
        tree->name = tree->to;
        tree->done = inbox_created;
        tree->arg = rename;
        /* The moving goes on when the caller's handle is released. */
        request_detach(&tree->op.request);
        request_attach(&tree->op.request, &rename->handle->requests);
    }
    op_enqueue(&tree->op);
}
