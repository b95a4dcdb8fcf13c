/*
 * What one session sees of a mailbox: {place in each log, first UID not told}. Sequence numbers are
 * ranks in the current entries plus the untold expunged messages below: those stay readable, from
 * the log, until the session has been told (RFC 3501 7.4.1, RFC 2180 4.1.2). An up-to-date view
 * holds nothing else; `untold`, the expunged ones by UID, is made when asked for.
 */
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"

static uint64_t expunged_end(const struct contents *contents)
{
    return contents->expunged_base + contents->expunged_count;
}

static uint64_t changed_end(const struct contents *contents)
{
    return contents->changed_base + contents->changed_count;
}

static bool view_usable(const struct mailbox_view *view)
{
    return !view->opening && view->contents != NULL && view->open_result == MAILBOX_OK &&
           view->state != MAILBOX_VIEW_BROKEN;
}

/* ---- opening and closing -------------------------------------------------------------------- */

static void view_begin(struct mailbox_view *view)
{
    view->told = view->contents->box->durable.uidnext;
    view->expunged_at = expunged_end(view->contents);
    view->changed_at = changed_end(view->contents);
}

static void view_opened(struct mailbox_view *view, enum mailbox_result result)
{
    view->opening = false;
    view->open_result = result;
    if (result == MAILBOX_OK)
        view_begin(view);
    else
        view->state = MAILBOX_VIEW_BROKEN;
    if (request_detach(&view->request))
        view->opened(view->opened_arg, result, view);
}

void views_loaded(struct contents *contents, enum mailbox_result result)
{
    struct mailbox_view *view;
    do {
        TAILQ_FOREACH (view, &contents->views, link) {
            if (view->opening) {
                view_opened(view, result);
                break; /* the callback may have closed any of them */
            }
        }
    } while (view != NULL);
}

static void open_later(void *arg)
{
    struct mailbox_view *view = arg;
    if (view->open_result == MAILBOX_OK && view->contents->state == CONTENTS_LOADED)
        view_opened(view, MAILBOX_OK);
    else if (view->open_result != MAILBOX_OK)
        view_opened(view, view->open_result);
    else if (view->contents->state != CONTENTS_LOADING)
        view_opened(view,
                    view->contents->state == CONTENTS_DELETED ? MAILBOX_NO_SUCH : MAILBOX_BROKEN);
}

struct mailbox_view *mailbox_view_open(struct mailbox_account *account, struct slice name,
                                       bool read_only, mailbox_view_opened *opened, void *arg)
{
    struct mailbox_view *view = MEM_NEW(struct mailbox_view);
    struct account *shared = account->account;
    struct slice normal;
    struct arena arena;
    struct box *box = NULL;

    view->account = shared;
    view->read_only = read_only;
    view->opened = opened;
    view->opened_arg = arg;
    view->opening = true;
    view->number = ++shared->env->view_number;
    view->task = (struct task){.run = open_later, .arg = view};
    TAILQ_INIT(&view->requests);
    request_attach(&view->request, &account->requests);
    account_hold(shared);
    arena_init(&arena);
    if (name_normalise(name, &arena, &normal))
        box = box_find_durable(shared, normal);
    arena_finish(&arena);
    if (shared->state == ACCOUNT_BROKEN) {
        view->open_result = MAILBOX_BROKEN;
    } else if (box == NULL || box->durable.state != BOX_LIVE) {
        view->open_result = MAILBOX_NO_SUCH;
    } else {
        view->contents = contents_use(box);
        TAILQ_INSERT_TAIL(&view->contents->views, view, link);
        if (view->contents->state == CONTENTS_LOADING)
            return view;
    }
    env_defer(shared->env, &view->task);
    return view;
}

void mailbox_view_close(struct mailbox_view **view)
{
    struct mailbox_view *gone = *view;
    if (gone == NULL)
        return;
    *view = NULL;
    struct account *account = gone->account;
    requests_cancel(&gone->requests);
    request_detach(&gone->request);
    env_undefer(account->env, &gone->task);
    if (gone->due)
        TAILQ_REMOVE(&account->env->due, gone, due_link);
    if (gone->contents != NULL) {
        TAILQ_REMOVE(&gone->contents->views, gone, link);
        contents_unuse(gone->contents);
    }
    email_cache_free(&gone->cache);
    free(gone->untold);
    free(gone);
    account_drop(account);
}

/* ---- notifying ------------------------------------------------------------------------------ */

bool mailbox_view_pending(const struct mailbox_view *view)
{
    if (!view_usable(view))
        return false;
    struct contents *contents = view->contents;
    return view->expunged_at < expunged_end(contents) || view->changed_at < changed_end(contents) ||
           (contents->box != NULL && view->told < contents->box->durable.uidnext &&
            contents_next(contents, view->told) != NULL);
}

static void view_due(struct mailbox_view *view)
{
    if (view->due || view->notified || view->changed == NULL)
        return;
    view->due = true;
    TAILQ_INSERT_TAIL(&view->account->env->due, view, due_link);
}

void views_check(struct contents *contents)
{
    struct mailbox_view *view;
    if (contents->state == CONTENTS_LOADING)
        return;
    if (contents->expunged_count > LOG_MAX || contents->changed_count > LOG_MAX)
        contents_trim(contents);
    TAILQ_FOREACH (view, &contents->views, link) {
        if (view->state == MAILBOX_VIEW_BROKEN || mailbox_view_pending(view))
            view_due(view);
    }
}

void views_set_state(struct contents *contents, enum mailbox_view_state state)
{
    struct mailbox_view *view;
    TAILQ_FOREACH (view, &contents->views, link) {
        view->state = state;
        view_due(view);
    }
}

void views_notify(struct mailbox_env *env)
{
    struct mailbox_view *view;
    while ((view = TAILQ_FIRST(&env->due)) != NULL) {
        TAILQ_REMOVE(&env->due, view, due_link);
        view->due = false;
        view->notified = true;
        view->changed(view->changed_arg);
    }
}

void mailbox_view_notify(struct mailbox_view *view, void (*changed)(void *arg), void *arg)
{
    view->changed = changed;
    view->changed_arg = arg;
}

enum mailbox_view_state mailbox_view_state(const struct mailbox_view *view)
{
    return view->state;
}

bool mailbox_view_read_only(const struct mailbox_view *view)
{
    return view->read_only;
}

void mailbox_view_info(const struct mailbox_view *view, struct mailbox_info *info)
{
    if (view->contents != NULL && view->contents->box != NULL)
        box_info(view->contents->box, info);
    else
        *info = (struct mailbox_info){.uidvalidity = 0};
}

uint64_t mailbox_view_modseq(const struct mailbox_view *view)
{
    const struct contents *contents = view->contents;
    if (!view_usable(view) || contents->box == NULL)
        return 0;
    if (view->expunged_at < expunged_end(contents))
        return contents->expunged[view->expunged_at - contents->expunged_base].modseq - 1;
    return contents->box->durable.modseq;
}

uint64_t mailbox_view_since(const struct mailbox_view *view, uint64_t modseq)
{
    const struct account_record *record = &view->account->durable;
    return modseq > record->lost_from && modseq < record->lost_to ? 0 : modseq;
}

size_t mailbox_view_keywords(struct mailbox_view *view, const struct slice **keywords)
{
    *keywords = view->contents == NULL ? NULL : view->contents->keyword_texts;
    return view->contents == NULL ? 0 : view->contents->keyword_count;
}

/* ---- sequence numbers ----------------------------------------------------------------------- */

static int untold_compare(const void *a, const void *b)
{
    uint32_t x = ((const struct untold *)a)->uid, y = ((const struct untold *)b)->uid;
    return x < y ? -1 : x > y;
}

static void untold_drop(struct mailbox_view *view)
{
    free(view->untold);
    view->untold = NULL;
    view->untold_count = 0;
}

static void untold_make(struct mailbox_view *view)
{
    const struct contents *contents = view->contents;
    uint32_t count = (uint32_t)(expunged_end(contents) - view->expunged_at);
    size_t from = (size_t)(view->expunged_at - contents->expunged_base);

    if (count == view->untold_count)
        return;
    view->untold = mem_grow(view->untold, count, sizeof(*view->untold));
    for (uint32_t i = 0; i < count; i++)
        view->untold[i] = (struct untold){contents->expunged[from + i].uid, i};
    qsort(view->untold, count, sizeof(*view->untold), untold_compare);
    view->untold_count = count;
}

/* How many of them are below uid. */
static uint32_t untold_below(const struct mailbox_view *view, uint32_t uid)
{
    uint32_t low = 0, high = view->untold_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view->untold[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct mailbox_entry *untold_entry(const struct mailbox_view *view, uint32_t index)
{
    size_t from = (size_t)(view->expunged_at - view->contents->expunged_base);
    return &view->contents->expunged[from + view->untold[index].offset];
}

static uint32_t view_below(const struct mailbox_view *view, uint32_t uid)
{
    if (uid > view->told)
        uid = view->told;
    return contents_rank(view->contents, uid) + untold_below(view, uid);
}

/* The places are worked out when asked for, on a view that its user may see as constant. */
static struct mailbox_view *view_fresh(const struct mailbox_view *view)
{
    if (!view_usable(view))
        return NULL;
    struct mailbox_view *own = (struct mailbox_view *)(uintptr_t)view;
    untold_make(own);
    return own;
}

uint32_t mailbox_view_count(const struct mailbox_view *view)
{
    return view_fresh(view) == NULL ? 0 : view_below(view, view->told);
}

/* The index in untold of the message with that sequence number; else how many of them are below. */
static bool untold_at(const struct mailbox_view *view, uint32_t sequence, uint32_t *index)
{
    *index = 0;
    if (view->untold_count == 0)
        return false;
    uint32_t low = 0, high = untold_below(view, view->told);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t other = contents_rank(view->contents, view->untold[middle].uid) + middle + 1;
        if (other == sequence) {
            *index = middle;
            return true;
        }
        if (other < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    *index = low;
    return false;
}

const struct mailbox_entry *mailbox_view_at(const struct mailbox_view *view, uint32_t sequence)
{
    uint32_t index;
    if (view_fresh(view) == NULL || sequence == 0 || sequence > view_below(view, view->told))
        return NULL;
    if (untold_at(view, sequence, &index))
        return untold_entry(view, index);
    return contents_at(view->contents, sequence - 1 - index);
}

bool mailbox_view_expunged(const struct mailbox_view *view, uint32_t sequence)
{
    uint32_t index;
    return view_fresh(view) != NULL && untold_at(view, sequence, &index);
}

const struct mailbox_entry *view_entry(struct mailbox_view *view, uint32_t uid)
{
    if (view_fresh(view) == NULL || uid >= view->told)
        return NULL;
    const struct mailbox_entry *entry = contents_find(view->contents, uid, NULL, NULL);
    if (entry != NULL)
        return entry;
    uint32_t index = untold_below(view, uid);
    return index < view->untold_count && view->untold[index].uid == uid ? untold_entry(view, index)
                                                                        : NULL;
}

uint32_t mailbox_view_sequence(const struct mailbox_view *view, uint32_t uid)
{
    if (view_entry((struct mailbox_view *)(uintptr_t)view, uid) == NULL)
        return 0;
    return view_below(view, uid) + 1;
}

uint32_t mailbox_view_sequence_from(const struct mailbox_view *view, uint32_t uid)
{
    return view_fresh(view) == NULL ? 1 : view_below(view, uid) + 1;
}

/* ---- telling -------------------------------------------------------------------------------- */

/* From the highest down, so that none moves those still to be told. */
static void tell_expunged(struct mailbox_view *view, const struct mailbox_teller *teller, void *arg)
{
    for (uint32_t i = untold_below(view, view->told); i-- > 0;) {
        uint32_t uid = view->untold[i].uid;
        if (teller->expunge != NULL)
            teller->expunge(arg, contents_rank(view->contents, uid) + i + 1, uid);
    }
    view->expunged_at = expunged_end(view->contents);
    untold_drop(view);
}

static int uid_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void tell_flags(struct mailbox_view *view, const struct mailbox_teller *teller, void *arg)
{
    struct contents *contents = view->contents;
    size_t from = (size_t)(view->changed_at - contents->changed_base), count = 0;
    uint32_t *uids = mem_array(contents->changed_count - from + 1, sizeof(*uids));

    for (size_t i = from; i < contents->changed_count; i++) {
        const struct logged_change *change = &contents->changed[i];
        if (change->by != view->number && change->uid < view->told)
            uids[count++] = change->uid;
    }
    view->changed_at = changed_end(contents);
    qsort(uids, count, sizeof(*uids), uid_compare);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && uids[i] == uids[i - 1])
            continue;
        const struct mailbox_entry *entry = contents_find(contents, uids[i], NULL, NULL);
        if (entry != NULL && teller->flags != NULL)
            teller->flags(arg, view_below(view, uids[i]) + 1, entry);
    }
    free(uids);
}

void mailbox_view_poll(struct mailbox_view *view, bool expunges,
                       const struct mailbox_teller *teller, void *arg)
{
    view->notified = false;
    if (view->due) {
        TAILQ_REMOVE(&view->account->env->due, view, due_link);
        view->due = false;
    }
    if (view_fresh(view) == NULL)
        return;
    if (expunges && view->expunged_at < expunged_end(view->contents))
        tell_expunged(view, teller, arg);
    if (view->changed_at < changed_end(view->contents))
        tell_flags(view, teller, arg);
    uint32_t before = view_below(view, view->told);
    if (view->contents->box != NULL)
        view->told = view->contents->box->durable.uidnext;
    uint32_t after = view_below(view, view->told);
    if (after != before && teller->exists != NULL)
        teller->exists(arg, after);
    if (view->contents->expunged_count > 0 || view->contents->changed_count > 0)
        contents_trim(view->contents);
}
