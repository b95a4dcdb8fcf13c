/*
 * The mailboxes of an account as they are shown: durable records, with full names, in the order of
 * names with INBOX first. The list is made when asked for and thrown away when a durable change
 * touches names.
 */
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"

void list_drop(struct account *account)
{
    for (size_t i = 0; i < account->list_count; i++) {
        free(account->list[i]->full);
        account->list[i]->full = NULL;
    }
    free(account->list);
    account->list = NULL;
    account->list_count = 0;
}

/* Builds the name of a box and of those above it; false when a parent is gone or in a circle. */
static bool full_name(struct account *account, struct box *box, int depth)
{
    struct slice leaf = box->durable.name;
    struct box *parent = NULL;

    if (box->full != NULL)
        return true;
    if (box->durable.parent != 0) {
        parent = box_by_id(account, box->durable.parent);
        if (parent == NULL || !parent->exists || parent->durable.state == BOX_DELETED ||
            depth > 2 * MAILBOX_DEPTH_MAX || !full_name(account, parent, depth + 1))
            return false;
        parent->children = true;
    }
    size_t before = parent == NULL ? 0 : parent->full_size + 1;
    box->full = mem_alloc(before + leaf.size + 1);
    if (parent != NULL) {
        memcpy(box->full, parent->full, parent->full_size);
        box->full[parent->full_size] = MAILBOX_SEPARATOR;
    }
    memcpy(box->full + before, leaf.data, leaf.size);
    box->full_size = before + leaf.size;
    return true;
}

static bool is_inbox(struct slice name)
{
    return slice_equal_str(name, "INBOX");
}

/* By bytes, but the separator before everything, so that children follow their parent. */
static int name_compare(struct slice a, struct slice b)
{
    if (is_inbox(a) != is_inbox(b))
        return is_inbox(a) ? -1 : 1;
    size_t common = a.size < b.size ? a.size : b.size;
    for (size_t i = 0; i < common; i++) {
        int x = a.data[i] == MAILBOX_SEPARATOR ? 0 : a.data[i];
        int y = b.data[i] == MAILBOX_SEPARATOR ? 0 : b.data[i];
        if (x != y)
            return x - y;
    }
    return a.size < b.size ? -1 : a.size > b.size;
}

static struct slice box_full(const struct box *box)
{
    return slice_make(box->full, box->full_size);
}

static int list_compare(const void *a, const void *b)
{
    return name_compare(box_full(*(struct box *const *)a), box_full(*(struct box *const *)b));
}

void list_build(struct account *account)
{
    struct subscription *subscription;
    size_t count = 0;

    if (account->list != NULL)
        return;
    account->list = mem_array(account->box_count + 1, sizeof(*account->list));
    for (size_t i = 0; i < account->box_count; i++)
        account->boxes[i]->children = account->boxes[i]->subscribed = false;
    for (size_t i = 0; i < account->box_count; i++) {
        struct box *box = account->boxes[i];
        if (box->exists && box->durable.state != BOX_DELETED && full_name(account, box, 0))
            account->list[count++] = box;
    }
    account->list_count = count;
    qsort(account->list, count, sizeof(*account->list), list_compare);
    TAILQ_FOREACH (subscription, &account->subscriptions, link) {
        struct box *box =
            subscription->durable ? box_find_durable(account, subscription->name) : NULL;
        if (box != NULL)
            box->subscribed = true;
    }
}

struct box *box_find_durable(struct account *account, struct slice name)
{
    list_build(account);
    size_t low = 0, high = account->list_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = name_compare(box_full(account->list[middle]), name);
        if (order == 0)
            return account->list[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void box_info(struct box *box, struct mailbox_info *info)
{
    const struct box_record *record = &box->durable;
    list_build(box->account);
    *info = (struct mailbox_info){
        .name = box->full == NULL ? record->name : box_full(box),
        .object = record->object,
        .uidvalidity = record->uidvalidity,
        .uidnext = record->uidnext,
        .import_next = record->import_next,
        .modseq = record->modseq,
        .messages = record->messages,
        .unseen = record->unseen,
        .deleted = record->deleted,
        .size = record->size,
        .special = record->special,
        .subscribed = box->subscribed,
        .selectable = record->state == BOX_LIVE,
        .children = box->children,
    };
}

void mailbox_list(struct mailbox_account *account,
                  void (*visit)(void *arg, const struct mailbox_info *info), void *arg)
{
    struct account *shared = account->account;
    list_build(shared);
    for (size_t i = 0; i < shared->list_count; i++) {
        struct mailbox_info info;
        box_info(shared->list[i], &info);
        visit(arg, &info);
    }
}

void mailbox_list_subscriptions(struct mailbox_account *account,
                                void (*visit)(void *arg, struct slice name), void *arg)
{
    struct subscription *subscription;
    TAILQ_FOREACH (subscription, &account->account->subscriptions, link) {
        if (subscription->durable)
            visit(arg, subscription->name);
    }
}

bool mailbox_find(struct mailbox_account *account, struct slice name, struct mailbox_info *info)
{
    struct arena arena;
    struct slice normal;
    struct box *box = NULL;

    arena_init(&arena);
    if (name_normalise(name, &arena, &normal))
        box = box_find_durable(account->account, normal);
    arena_finish(&arena);
    if (box != NULL && info != NULL)
        box_info(box, info);
    return box != NULL;
}
