/*
 * Which messages went since a MODSEQ (RFC 7162 3.2.6). The change log has the answer while it
 * reaches back so far; housekeeping cuts it behind the last CHANGES_KEPT MODSEQs of the account, so
 * that one read of it is never longer either. Beyond, nobody remembers: then every UID asked about
 * that is not there went (the note in 3.2.6). A MODSEQ of a lost future is always that old, since a
 * restored account moves its MODSEQ on by far more.
 */
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"

enum { PAGE_ITEMS = 5000 };

struct vanished {
    struct request request; /* while it is attached the view lives */
    struct mailbox_view *view;
    struct account *account;
    uint32_t box;
    uint64_t since;
    struct uidset known, gone;
    bool all; /* the log does not say */
    enum mailbox_result result;
    struct task task;
    mailbox_vanished_done *done;
    void *arg;
};

uint64_t changes_reach(const struct account *account)
{
    uint64_t kept = account->env->options.changes_kept;
    if (kept == 0)
        kept = CHANGES_KEPT;
    return account->durable.modseq > kept ? account->durable.modseq - kept : 0;
}

bool mailbox_vanished_logged(const struct mailbox_view *view, uint64_t since)
{
    const struct account *account = view->account;
    return since >= changes_reach(account) && since <= account->durable.modseq;
}

/* Those of uids that the view does not have. */
static void absent(struct mailbox_view *view, const struct uidset *uids, struct uidset *out)
{
    for (size_t i = 0; i < uids->count; i++) {
        uint32_t first = uids->ranges[i].first, last = uids->ranges[i].last;
        uint32_t sequence = mailbox_view_sequence_from(view, first);
        const struct mailbox_entry *entry;
        while ((entry = mailbox_view_at(view, sequence++)) != NULL && entry->uid <= last) {
            if (entry->uid > first)
                uidset_add(out, first, entry->uid - 1);
            first = entry->uid + 1;
        }
        if (first <= last)
            uidset_add(out, first, last);
    }
}

static void vanished_answer(struct vanished *vanished)
{
    struct uidset asked, uids;
    uidset_init(&asked);
    uidset_init(&uids);
    if (vanished->view->state == MAILBOX_VIEW_BROKEN)
        vanished->result = MAILBOX_BROKEN;
    if (vanished->result == MAILBOX_OK) {
        if (vanished->all)
            uidset_add_set(&asked, &vanished->known);
        else
            uidset_common(&vanished->known, &vanished->gone, &asked);
        uidset_cut(&asked, vanished->view->told);
        absent(vanished->view, &asked, &uids);
    }
    vanished->done(vanished->arg, vanished->result, &uids);
    uidset_finish(&asked);
    uidset_finish(&uids);
}

static void vanished_end(void *arg)
{
    struct vanished *vanished = arg;
    struct account *account = vanished->account;
    if (account->state == ACCOUNT_BROKEN)
        vanished->result = MAILBOX_BROKEN;
    if (vanished->since < changes_reach(account)) /* cut meanwhile */
        vanished->all = true;
    if (request_detach(&vanished->request))
        vanished_answer(vanished);
    uidset_finish(&vanished->known);
    uidset_finish(&vanished->gone);
    free(vanished);
    account_drop(account);
}

static void collect(struct vanished *vanished, struct slice value)
{
    struct change_record record;
    size_t at = 0;
    while (codec_change_next(value, &at, &record))
        if (record.box == vanished->box && record.kind == CHANGE_EXPUNGE)
            uidset_add(&vanished->gone, record.first, record.last);
    if (at == 0) /* not a record of a change that we know */
        vanished->all = true;
}

static void vanished_scanned(void *arg, enum store_result result, const struct store_item *items,
                             size_t count, bool more);

static void vanished_scan(struct vanished *vanished, struct slice from)
{
    struct codec_key to = codec_key_kind(KEY_CHANGE + 1);
    store_scan(vanished->account->store, vanished->account->id, from, codec_key_slice(&to),
               PAGE_ITEMS, vanished_scanned, vanished);
}

static void vanished_scanned(void *arg, enum store_result result, const struct store_item *items,
                             size_t count, bool more)
{
    struct vanished *vanished = arg;
    if (result == STORE_CORRUPT)
        vanished->all = true;
    else
        vanished->result = read_result(result);
    for (size_t i = 0; i < count && vanished->result == MAILBOX_OK; i++)
        collect(vanished, items[i].value);
    if (more && count > 0 && vanished->result == MAILBOX_OK && !vanished->all &&
        vanished->request.owner != NULL) {
        struct buf from = {0};
        buf_add_slice(&from, items[count - 1].key);
        buf_u8(&from, 0);
        vanished_scan(vanished, buf_slice(&from));
        buf_finish(&from);
        return;
    }
    vanished_end(vanished);
}

void mailbox_vanished(struct mailbox_view *view, uint64_t since, const struct uidset *known,
                      mailbox_vanished_done *done, void *arg)
{
    struct vanished *vanished = MEM_NEW(struct vanished);
    struct account *account = view->account;
    vanished->view = view;
    vanished->account = account;
    vanished->since = since;
    vanished->done = done;
    vanished->arg = arg;
    vanished->task = (struct task){.run = vanished_end, .arg = vanished};
    vanished->all = !mailbox_vanished_logged(view, since);
    request_attach(&vanished->request, &view->requests);
    account_hold(account);
    if (known != NULL)
        uidset_add_set(&vanished->known, known);
    else if (view->told > 1)
        uidset_add(&vanished->known, 1, view->told - 1);
    if (vanished->all || since == account->durable.modseq || view->contents == NULL ||
        view->contents->box == NULL) {
        env_defer(account->env, &vanished->task);
        return;
    }
    vanished->box = view->contents->box->id;
    struct codec_key from = codec_key_change(since + 1);
    vanished_scan(vanished, codec_key_slice(&from));
}
