/*
 * Changes of the account database. One call is on its way at a time; it is prepared when its turn
 * comes, against what is durable, and becomes visible in memory when its batch is durable. So there
 * is nothing to roll back: a call that the store refused never happened.
 */
#include <stdlib.h>

#include "auth/accounts_priv.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

struct staged_account {
    struct auth_account account;
    bool drop;
};

struct staged_name {
    STAILQ_ENTRY(staged_name) link;
    struct slice folded;
    enum record_name_kind kind;
    struct id id;
    bool drop;
};

/* What memory becomes when the batch is durable. */
struct staged {
    struct auth_accounts *accounts;
    struct arena arena;
    struct store_batch *batch;
    struct staged_account *changes;
    size_t count;
    STAILQ_HEAD(, staged_name) names;
    uint32_t added[AUTH_VOLUMES_MAX]; /* beside accounts->volumes */
    struct buf key, value;
};

static const char *const outcome_texts[] = {
    [AUTH_DONE] = "done",
    [AUTH_UPDATED] = "updated",
    [AUTH_UNCHANGED] = "it was so already",
    [AUTH_EXISTS] = "there is an account or alias of that name already",
    [AUTH_UNKNOWN] = "there is no such account or alias; see: restante account list",
    [AUTH_BAD] = ("that is no name: use letters, digits and . _ + -, with or without @domain, at "
                  "most 250 bytes, no spaces"),
    [AUTH_TOO_MANY] = "too many aliases for one account, or a name twice in one request",
    [AUTH_NO_SPACE] = "the disk is full: make room and try again; nothing was changed",
    [AUTH_NOT_NOW] = "the account database cannot be written now: see the log; nothing was changed",
};

const char *auth_outcome_text(enum auth_outcome outcome)
{
    return outcome_texts[outcome];
}

/* ---- staging -------------------------------------------------------------------------------- */

static void stage_account(struct staged *staged, const struct auth_account *account)
{
    struct staged_account *to = &staged->changes[staged->count++];
    to->account = *account;
    to->account.name = arena_copy(&staged->arena, account->name);
    to->account.verifier = arena_copy(&staged->arena, account->verifier);
    record_key_account(&staged->key, account->id);
    record_put_account(&staged->value, buf_slice(&staged->key), account);
    store_batch_put(staged->batch, buf_slice(&staged->key), buf_slice(&staged->value));
}

static void stage_drop(struct staged *staged, struct id id)
{
    struct staged_account *to = &staged->changes[staged->count++];
    to->account.id = id;
    to->drop = true;
    record_key_account(&staged->key, id);
    store_batch_del(staged->batch, buf_slice(&staged->key));
}

static void stage_name(struct staged *staged, struct slice folded, enum record_name_kind kind,
                       struct id id, bool drop)
{
    struct staged_name *name = ARENA_NEW(&staged->arena, struct staged_name);
    name->folded = arena_copy(&staged->arena, folded);
    name->kind = kind;
    name->id = id;
    name->drop = drop;
    STAILQ_INSERT_TAIL(&staged->names, name, link);
    record_key_name(&staged->key, folded);
    struct slice key = buf_slice(&staged->key);
    if (drop) {
        store_batch_del(staged->batch, key);
        return;
    }
    record_put_name(&staged->value, key, kind, id);
    store_batch_expect_absent(staged->batch, key);
    store_batch_put(staged->batch, key, buf_slice(&staged->value));
}

static bool name_taken(struct staged *staged, struct slice folded)
{
    const struct staged_name *name;
    STAILQ_FOREACH (name, &staged->names, link)
        if (slice_equal(name->folded, folded))
            return true;
    return accounts_name_node(staged->accounts, folded) != NULL;
}

static bool account_staged(const struct staged *staged, struct id id)
{
    for (size_t i = 0; i < staged->count; i++)
        if (id_equal(staged->changes[i].account.id, id))
            return true;
    return false;
}

/* The volume with the fewest accounts; the first among equals. */
static uint32_t volume_choose(struct staged *staged)
{
    struct auth_accounts *accounts = staged->accounts;
    size_t best = 0;
    if (accounts->volume_count == 0)
        return 0;
    for (size_t i = 1; i < accounts->volume_count; i++)
        if (accounts->volume_accounts[i] + staged->added[i] <
            accounts->volume_accounts[best] + staged->added[best])
            best = i;
    staged->added[best]++;
    return accounts->volumes[best];
}

/* ---- the edits ------------------------------------------------------------------------------ */

static enum auth_outcome account_get(struct staged *staged, const struct auth_edit *edit,
                                     struct auth_account *account)
{
    enum auth_found found = auth_accounts_find(staged->accounts, edit->name, account);
    if (found == AUTH_BAD_NAME)
        return AUTH_BAD;
    if (found != AUTH_FOUND)
        return AUTH_UNKNOWN;
    return account_staged(staged, account->id) ? AUTH_TOO_MANY : AUTH_DONE;
}

static void account_secret(struct auth_account *account, const struct auth_edit *edit)
{
    account->verifier = edit->verifier;
    account->has_keys = edit->keys != NULL;
    if (edit->keys != NULL)
        account->keys = *edit->keys;
}

static enum auth_outcome edit_add(struct staged *staged, struct auth_edit *edit)
{
    struct folded folded;
    if (!accounts_name_good(edit->name, false) || !accounts_fold(edit->name, &folded))
        return AUTH_BAD;
    if (name_taken(staged, folded_slice(&folded)))
        return AUTH_EXISTS;
    if (edit->verifier.size == 0)
        return AUTH_UNKNOWN; /* an import found it there, and it was deleted since */
    if (edit->alias_count > AUTH_NAMES_MAX / 2)
        return AUTH_TOO_MANY;
    for (size_t i = 0; i < edit->alias_count; i++) {
        struct folded alias;
        if (!accounts_name_good(edit->aliases[i], true) || !accounts_fold(edit->aliases[i], &alias))
            return AUTH_BAD;
        if (name_taken(staged, folded_slice(&alias)))
            return AUTH_EXISTS;
        for (size_t k = 0; k < i; k++)
            if (slice_equal_nocase(edit->aliases[i], edit->aliases[k]))
                return AUTH_TOO_MANY;
        if (slice_equal_nocase(edit->aliases[i], edit->name))
            return AUTH_EXISTS;
    }
    struct auth_account account = {
        .id = id_random(), .created = clock_real_s(), .quota = edit->quota, .name = edit->name};
    account_secret(&account, edit);
    memcpy(account.imported, edit->imported, sizeof(account.imported));
    account.volume = volume_choose(staged);
    stage_name(staged, folded_slice(&folded), RECORD_NAME_ACCOUNT, account.id, false);
    for (size_t i = 0; i < edit->alias_count; i++) {
        struct folded alias;
        accounts_fold(edit->aliases[i], &alias);
        stage_name(staged, folded_slice(&alias), RECORD_NAME_ALIAS, account.id, false);
    }
    stage_account(staged, &account);
    edit->id = account.id;
    edit->volume = account.volume;
    return AUTH_DONE;
}

static enum auth_outcome edit_password(struct staged *staged, struct auth_edit *edit)
{
    struct auth_account account;
    enum auth_outcome outcome = account_get(staged, edit, &account);
    if (outcome != AUTH_DONE)
        return outcome;
    account_secret(&account, edit);
    stage_account(staged, &account);
    edit->id = account.id;
    edit->volume = account.volume;
    return AUTH_DONE;
}

static enum auth_outcome edit_keys(struct staged *staged, struct auth_edit *edit)
{
    struct auth_account account;
    if (!auth_accounts_find_id(staged->accounts, edit->id, &account) ||
        account.state == AUTH_DELETED)
        return AUTH_UNKNOWN;
    if (account_staged(staged, account.id))
        return AUTH_TOO_MANY;
    if (account.has_keys || !slice_equal(account.verifier, edit->verifier))
        return AUTH_UNCHANGED; /* the password was changed meanwhile */
    account.has_keys = true;
    account.keys = *edit->keys;
    stage_account(staged, &account);
    return AUTH_DONE;
}

static enum auth_outcome edit_state(struct staged *staged, struct auth_edit *edit)
{
    struct auth_account account;
    enum auth_outcome outcome = account_get(staged, edit, &account);
    if (outcome != AUTH_DONE)
        return outcome;
    edit->id = account.id;
    edit->volume = account.volume;
    if (account.state == edit->state)
        return AUTH_UNCHANGED;
    account.state = edit->state;
    stage_account(staged, &account);
    return AUTH_DONE;
}

static enum auth_outcome edit_quota(struct staged *staged, struct auth_edit *edit)
{
    struct auth_account account;
    enum auth_outcome outcome = account_get(staged, edit, &account);
    if (outcome != AUTH_DONE)
        return outcome;
    if (account.quota == edit->quota)
        return AUTH_UNCHANGED;
    account.quota = edit->quota;
    stage_account(staged, &account);
    return AUTH_DONE;
}

struct drop {
    struct staged *staged;
    struct id id;
};

static void drop_name(void *arg, struct slice text)
{
    struct drop *drop = arg;
    stage_name(drop->staged, text, RECORD_NAME_ALIAS, drop->id, true);
}

static enum auth_outcome edit_delete(struct staged *staged, struct auth_edit *edit)
{
    struct auth_account account;
    struct folded folded;
    enum auth_outcome outcome = account_get(staged, edit, &account);
    if (outcome != AUTH_DONE)
        return outcome;
    struct drop drop = {staged, account.id};
    auth_accounts_names(staged->accounts, account.id, drop_name, &drop);
    accounts_fold(account.name, &folded);
    stage_name(staged, folded_slice(&folded), RECORD_NAME_ACCOUNT, account.id, true);
    account.state = AUTH_DELETED;
    account.verifier = SLICE_LITERAL("");
    account.has_keys = false;
    stage_account(staged, &account);
    edit->id = account.id;
    edit->volume = account.volume;
    return AUTH_DONE;
}

static enum auth_outcome edit_forget(struct staged *staged, struct auth_edit *edit)
{
    struct auth_account account;
    if (!auth_accounts_find_id(staged->accounts, edit->id, &account) ||
        account.state != AUTH_DELETED)
        return AUTH_UNKNOWN;
    if (account_staged(staged, account.id))
        return AUTH_TOO_MANY;
    stage_drop(staged, edit->id);
    return AUTH_DONE;
}

static void count_name(void *arg, struct slice text)
{
    ++*(size_t *)arg;
}

static enum auth_outcome edit_alias(struct staged *staged, struct auth_edit *edit)
{
    struct auth_account account;
    struct folded folded;
    size_t names = 0;
    enum auth_outcome outcome = account_get(staged, edit, &account);
    if (outcome != AUTH_DONE)
        return outcome;
    if (!accounts_name_good(edit->alias, true) || !accounts_fold(edit->alias, &folded))
        return AUTH_BAD;
    struct name_node *node = accounts_name_node(staged->accounts, folded_slice(&folded));
    if (edit->kind == AUTH_EDIT_UNALIAS) {
        if (node == NULL || node->kind != RECORD_NAME_ALIAS || !id_equal(node->id, account.id))
            return AUTH_UNKNOWN;
        stage_name(staged, folded_slice(&folded), RECORD_NAME_ALIAS, account.id, true);
        return AUTH_DONE;
    }
    if (node != NULL && id_equal(node->id, account.id))
        return AUTH_UNCHANGED;
    if (name_taken(staged, folded_slice(&folded)))
        return AUTH_EXISTS;
    auth_accounts_names(staged->accounts, account.id, count_name, &names);
    if (names >= AUTH_NAMES_MAX)
        return AUTH_TOO_MANY;
    stage_name(staged, folded_slice(&folded), RECORD_NAME_ALIAS, account.id, false);
    return AUTH_DONE;
}

static enum auth_outcome edit_import(struct staged *staged, struct auth_edit *edit)
{
    struct auth_account account;
    struct folded folded;
    if (!accounts_name_good(edit->name, false) || !accounts_fold(edit->name, &folded))
        return AUTH_BAD;
    const struct name_node *node = accounts_name_node(staged->accounts, folded_slice(&folded));
    if (node == NULL || node->kind != RECORD_NAME_ACCOUNT)
        return edit_add(staged, edit);
    enum auth_outcome outcome = account_get(staged, edit, &account);
    if (outcome != AUTH_DONE)
        return outcome;
    bool same = memcmp(account.imported, edit->imported, sizeof(account.imported)) == 0;
    if (same && (edit->quota == 0 || edit->quota == account.quota))
        return AUTH_UNCHANGED;
    if (!same)
        account_secret(&account, edit);
    edit->secret_changed = !same;
    memcpy(account.imported, edit->imported, sizeof(account.imported));
    if (edit->quota != 0)
        account.quota = edit->quota;
    stage_account(staged, &account);
    edit->id = account.id;
    edit->volume = account.volume;
    return AUTH_UPDATED;
}

static enum auth_outcome (*const edits_by_kind[])(struct staged *, struct auth_edit *) = {
    [AUTH_EDIT_ADD] = edit_add,       [AUTH_EDIT_PASSWORD] = edit_password,
    [AUTH_EDIT_KEYS] = edit_keys,     [AUTH_EDIT_STATE] = edit_state,
    [AUTH_EDIT_QUOTA] = edit_quota,   [AUTH_EDIT_DELETE] = edit_delete,
    [AUTH_EDIT_FORGET] = edit_forget, [AUTH_EDIT_ALIAS] = edit_alias,
    [AUTH_EDIT_UNALIAS] = edit_alias, [AUTH_EDIT_IMPORT] = edit_import,
};

/* ---- one call after the other -----------------------------------------------------------------
 */

static void change_begin(struct auth_accounts *accounts);

static void staged_apply(struct staged *staged)
{
    const struct staged_name *name;
    for (size_t i = 0; i < staged->count; i++) {
        if (staged->changes[i].drop)
            accounts_drop(staged->accounts, staged->changes[i].account.id);
        else
            accounts_set(staged->accounts, &staged->changes[i].account);
    }
    STAILQ_FOREACH (name, &staged->names, link)
        if (name->drop)
            accounts_drop_name(staged->accounts, name->folded);
        else
            accounts_set_name(staged->accounts, name->folded, name->kind, name->id);
}

static void staged_destroy(struct auth_accounts *accounts)
{
    struct staged *staged = accounts->staged;
    store_batch_destroy(&staged->batch);
    buf_finish(&staged->key);
    buf_finish(&staged->value);
    arena_finish(&staged->arena);
    free(staged->changes);
    free(staged);
    accounts->staged = NULL;
}

static void change_failed(struct auth_accounts *accounts, struct change *change,
                          enum store_result result)
{
    log_error("account_change", "result=\"%s\"", store_result_text(result));
    if (result == STORE_UNKNOWN || result == STORE_FENCED)
        accounts->lost = true;
    for (size_t i = 0; i < change->count; i++)
        if (change->edits[i].outcome <= AUTH_UPDATED)
            change->edits[i].outcome = result == STORE_NOSPACE ? AUTH_NO_SPACE : AUTH_NOT_NOW;
}

static void change_done(void *arg, enum store_result result)
{
    struct auth_accounts *accounts = arg;
    struct change *change = TAILQ_FIRST(&accounts->changes);
    if (result == STORE_OK)
        staged_apply(accounts->staged);
    else
        change_failed(accounts, change, result);
    staged_destroy(accounts);
    TAILQ_REMOVE(&accounts->changes, change, link);
    if (!TAILQ_EMPTY(&accounts->changes))
        change_begin(accounts);
    change->changed(change->arg);
    free(change);
}

static void change_nothing(void *arg, enum store_result result, bool found, struct slice value)
{
    change_done(arg, STORE_OK);
}

/* The most operations that an edit can need; a batch has a limit. */
static bool batch_has_room(const struct staged *staged, const struct auth_edit *edit)
{
    size_t most = edit->kind == AUTH_EDIT_DELETE ? AUTH_NAMES_MAX + 2 : 2 * edit->alias_count + 3;
    return store_batch_operations(staged->batch) + most <= STORE_BATCH_OPERATIONS_MAX;
}

static void change_begin(struct auth_accounts *accounts)
{
    struct change *change = TAILQ_FIRST(&accounts->changes);
    struct staged *staged = MEM_NEW(struct staged);
    accounts->staged = staged;
    staged->accounts = accounts;
    arena_init(&staged->arena);
    staged->batch = store_batch_create(record_partition);
    staged->changes = mem_array(change->count, sizeof(*staged->changes));
    STAILQ_INIT(&staged->names);
    for (size_t i = 0; i < change->count; i++) {
        struct auth_edit *edit = &change->edits[i];
        if (accounts->lost)
            edit->outcome = AUTH_NOT_NOW;
        else if (!batch_has_room(staged, edit))
            edit->outcome = AUTH_TOO_MANY;
        else
            edit->outcome = edits_by_kind[edit->kind](staged, edit);
    }
    if (store_batch_operations(staged->batch) == 0) {
        /* Nothing to write; the answer must come later all the same. */
        record_key_secret(&staged->key);
        store_get(accounts->store, record_partition, buf_slice(&staged->key), change_nothing,
                  accounts);
        return;
    }
    struct store_batch *batch = staged->batch;
    staged->batch = NULL;
    store_submit(accounts->store, batch, change_done, accounts);
}

void accounts_forget_changes(struct auth_accounts *accounts)
{
    struct change *change;
    if (accounts->staged != NULL)
        staged_destroy(accounts);
    while ((change = TAILQ_FIRST(&accounts->changes)) != NULL) {
        TAILQ_REMOVE(&accounts->changes, change, link);
        free(change);
    }
}

void auth_accounts_change(struct auth_accounts *accounts, struct auth_edit *edits, size_t count,
                          auth_changed *changed, void *arg)
{
    ASSERT(count > 0 && count <= AUTH_EDITS_MAX);
    struct change *change = MEM_NEW(struct change);
    *change = (struct change){.edits = edits, .count = count, .changed = changed, .arg = arg};
    bool idle = TAILQ_EMPTY(&accounts->changes);
    TAILQ_INSERT_TAIL(&accounts->changes, change, link);
    if (idle)
        change_begin(accounts);
}
