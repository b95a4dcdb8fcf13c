/*
 * An account in memory: opened by one scan of the records that stand together at the head of its
 * partition, shared by all handles, kept a while after the last one is gone (POP3 pollers), dropped
 * at once when nobody can say what the store holds. Contents of mailboxes are load.c's.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "mailbox/mailbox_priv.h"

int account_compare(const struct account *a, const struct account *b)
{
    return id_compare(a->id, b->id);
}
RB_GENERATE(accounts, account, node, account_compare)

void account_hold(struct account *account)
{
    account->holds++;
}

void account_drop(struct account *account)
{
    ASSERT(account->holds > 0);
    if (--account->holds > 0)
        return;
    account->idle_since_us = clock_monotonic_us();
    if (!account->listed || account->env->destroyed)
        account_free(account);
}

static void run_task(void *arg)
{
    account_run(arg);
}

static struct account *account_create(struct mailbox_env *env,
                                      const struct mailbox_account_ref *ref)
{
    struct account *account = MEM_NEW(struct account);
    account->env = env;
    account->id = ref->id;
    account->store = env->options.volume(env->options.arg, ref->volume);
    account->submitted = (struct account_record){.email_next = 1, .box_next = 1};
    TAILQ_INIT(&account->subscriptions);
    TAILQ_INIT(&account->openers);
    TAILQ_INIT(&account->queue);
    TAILQ_INIT(&account->changes);
    SLIST_INIT(&account->names);
    account->run_task = (struct task){.run = run_task, .arg = account};
    env->account_count++;
    return account;
}

static void account_unlist(struct account *account)
{
    if (account->listed)
        RB_REMOVE(accounts, &account->env->accounts, account);
    account->listed = false;
}

void account_free(struct account *account)
{
    struct mailbox_env *env = account->env;
    struct subscription *subscription;
    struct name *name;

    ASSERT(account->holds == 0 && TAILQ_EMPTY(&account->changes));
    account_unlist(account);
    env_undefer(env, &account->run_task);
    list_drop(account);
    for (size_t i = 0; i < account->box_count; i++) {
        if (account->boxes[i]->contents != NULL)
            contents_detach(account->boxes[i]->contents, CONTENTS_BROKEN);
        free(account->boxes[i]);
    }
    free(account->boxes);
    while ((subscription = TAILQ_FIRST(&account->subscriptions)) != NULL) {
        TAILQ_REMOVE(&account->subscriptions, subscription, link);
        free(subscription);
    }
    while ((name = SLIST_FIRST(&account->names)) != NULL) {
        SLIST_REMOVE_HEAD(&account->names, link);
        free(name);
    }
    keywords_finish(account);
    repeats_forget(account);
    free(account);
    env->account_count--;
    env_account_gone(env);
}

struct slice account_name(struct account *account, struct slice leaf)
{
    struct name *name = mem_alloc(sizeof(*name) + leaf.size);
    memcpy(name + 1, leaf.data, leaf.size);
    SLIST_INSERT_HEAD(&account->names, name, link);
    return slice_make(name + 1, leaf.size);
}

void account_break(struct account *account, const char *why)
{
    if (account->state == ACCOUNT_BROKEN)
        return;
    log_error("account_dropped", "account=%s reason=\"%s\"", id_text(account->id).text, why);
    account->state = ACCOUNT_BROKEN;
    account_unlist(account);
    for (size_t i = 0; i < account->box_count; i++) {
        if (account->boxes[i]->contents != NULL)
            contents_detach(account->boxes[i]->contents, CONTENTS_BROKEN);
    }
    account_fail_ops(account);
}

/* ---- loading -------------------------------------------------------------------------------- */

enum mailbox_result read_result(enum store_result result)
{
    return result == STORE_OK                                  ? MAILBOX_OK
           : result == STORE_CORRUPT                           ? MAILBOX_CORRUPT
           : result == STORE_FENCED || result == STORE_UNKNOWN ? MAILBOX_BROKEN
                                                               : MAILBOX_UNAVAILABLE;
}

enum mailbox_result account_load_item(struct account *account, struct slice key, struct slice value)
{
    bool good = true;
    uint32_t id;

    switch (key.data[0]) {
    case KEY_ACCOUNT:
        good = codec_account_get(value, &account->durable);
        account->exists = good;
        account->submitted = account->durable;
        break;
    case KEY_BOX: {
        struct box_record record;
        good = codec_key_get_number(key, 0, &id) && codec_box_get(value, &record);
        if (!good)
            break;
        struct box *box = box_add(account, id);
        record.name = account_name(account, record.name);
        box->durable = box->submitted = record;
        box->exists = true;
        break;
    }
    case KEY_SUBSCRIPTION: {
        struct subscription *subscription = mem_zalloc(sizeof(*subscription) + key.size);
        memcpy(subscription + 1, key.data + 1, key.size - 1);
        subscription->name = slice_make(subscription + 1, key.size - 1);
        subscription->durable = subscription->submitted = true;
        TAILQ_INSERT_TAIL(&account->subscriptions, subscription, link);
        break;
    }
    case KEY_KEYWORD:
        good = keywords_load(account, key, value);
        break;
    case KEY_KEYWORD_SET:
        good = keywords_load_set(account, key, value);
        break;
    default:
        good = false;
    }
    return good ? MAILBOX_OK : MAILBOX_CORRUPT;
}

static void account_scanned(void *arg, enum store_result result, const struct store_item *items,
                            size_t count, bool more);

static void account_scan(struct account *account, struct slice from)
{
    struct codec_key end = codec_key_kind(KEY_HEAD_END);
    store_scan(account->store, account->id, from, codec_key_slice(&end), 10000, account_scanned,
               account);
}

static void account_scanned(void *arg, enum store_result result, const struct store_item *items,
                            size_t count, bool more)
{
    struct account *account = arg;
    enum mailbox_result answer = read_result(result);

    for (size_t i = 0; i < count && answer == MAILBOX_OK; i++)
        answer = account_load_item(account, items[i].key, items[i].value);
    if (answer == MAILBOX_OK && more) {
        struct buf from = {0};
        buf_add_slice(&from, items[count - 1].key);
        buf_u8(&from, 0);
        account_scan(account, buf_slice(&from));
        buf_finish(&from);
        return;
    }
    if (answer == MAILBOX_OK && !account->exists && account->box_count > 0)
        answer = MAILBOX_CORRUPT;
    if (answer == MAILBOX_OK)
        account_mend(account, true);
    else
        account_opened(account, answer);
    account_drop(account);
}

void account_opened(struct account *account, enum mailbox_result result)
{
    struct request *request;

    account_hold(account);
    if (result == MAILBOX_OK) {
        account->state = ACCOUNT_READY;
        account->housekeeping_due_us = clock_monotonic_us() + 1000000;
    } else {
        log_error("account_open", "account=%s result=%s", id_text(account->id).text,
                  mailbox_result_code(result));
        account->state = ACCOUNT_BROKEN;
        account_unlist(account);
    }
    while ((request = TAILQ_FIRST(&account->openers)) != NULL) {
        struct mailbox_account *handle =
            (struct mailbox_account *)((char *)request - offsetof(struct mailbox_account, opening));
        request_detach(request);
        handle->opened(handle->arg, result, handle);
    }
    account_drop(account);
}

/* ---- handles -------------------------------------------------------------------------------- */

static void handle_opened(void *arg)
{
    struct mailbox_account *handle = arg;
    enum mailbox_result result = handle->account->store == NULL            ? MAILBOX_UNAVAILABLE
                                 : handle->account->state == ACCOUNT_READY ? MAILBOX_OK
                                                                           : MAILBOX_BROKEN;
    handle->opened(handle->arg, result, handle);
}

struct mailbox_account *account_handle(struct account *account)
{
    struct mailbox_account *handle = MEM_NEW(struct mailbox_account);
    handle->account = account;
    handle->task = (struct task){.run = handle_opened, .arg = handle};
    TAILQ_INIT(&handle->requests);
    account_hold(account);
    return handle;
}

struct mailbox_account *mailbox_account_open(struct mailbox_env *env,
                                             const struct mailbox_account_ref *ref,
                                             mailbox_account_opened *opened, void *arg)
{
    struct account key = {.id = ref->id};
    struct account *account = RB_FIND(accounts, &env->accounts, &key);
    bool fresh = account == NULL;

    if (fresh)
        account = account_create(env, ref);
    account->quota = ref->quota;
    struct mailbox_account *handle = account_handle(account);
    handle->opened = opened;
    handle->arg = arg;
    if (fresh && account->store != NULL) {
        struct codec_key from = codec_key_kind(KEY_ACCOUNT);
        RB_INSERT(accounts, &env->accounts, account);
        account->listed = true;
        account_hold(account);
        account_scan(account, codec_key_slice(&from));
    }
    if (account->state == ACCOUNT_LOADING && account->store != NULL)
        request_attach(&handle->opening, &account->openers);
    else
        env_defer(env, &handle->task);
    return handle;
}

void mailbox_account_release(struct mailbox_account **account)
{
    struct mailbox_account *handle = *account;
    if (handle == NULL)
        return;
    *account = NULL;
    requests_cancel(&handle->requests);
    request_detach(&handle->opening);
    env_undefer(handle->account->env, &handle->task);
    account_drop(handle->account);
    free(handle);
}

void mailbox_account_usage(struct mailbox_account *account, struct mailbox_usage *usage)
{
    *usage = (struct mailbox_usage){.bytes = account->account->durable.bytes,
                                    .messages = account->account->durable.messages,
                                    .quota = account->account->quota};
}
