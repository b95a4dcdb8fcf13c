/*
 * Takes away all that is kept of an account. Emails first, a batch at a time, each with its
 * reference to a blob; the rest of the partition with the last batch. Cut off anywhere, it is begun
 * again and finds what is left.
 */
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"

enum { PURGE_EMAILS = 400 };

struct purge {
    struct request request;
    struct mailbox_env *env;
    struct store *store;
    struct id id;
    bool last;
    enum mailbox_result result;
    mailbox_done *done;
    void *arg;
    struct task task;
};

static void purge_end(void *arg)
{
    struct purge *purge = arg;
    struct mailbox_env *env = purge->env;
    if (request_detach(&purge->request))
        purge->done(purge->arg, purge->result);
    free(purge);
    env->account_count--;
    env_account_gone(env);
}

static void purge_step(struct purge *purge);

static void purge_submitted(void *arg, enum store_result result)
{
    struct purge *purge = arg;
    purge->result = result == STORE_OK        ? MAILBOX_OK
                    : result == STORE_NOSPACE ? MAILBOX_NOSPACE
                                              : read_result(result);
    if (purge->result != MAILBOX_OK || purge->last)
        purge_end(purge);
    else
        purge_step(purge);
}

static void purge_scanned(void *arg, enum store_result result, const struct store_item *items,
                          size_t count, bool more)
{
    struct purge *purge = arg;
    struct store_batch *batch = store_batch_create(purge->id);

    /* A damaged record is passed over: its blob is found when references are counted again. */
    for (size_t i = 0; i < count; i++) {
        struct email_record record;
        if (codec_email_get(items[i].value, &record))
            store_batch_unref(batch, record.blob);
        store_batch_del(batch, items[i].key);
    }
    if (result != STORE_OK && result != STORE_CORRUPT) {
        store_batch_destroy(&batch);
        purge->result = read_result(result);
        purge_end(purge);
        return;
    }
    purge->last = !more;
    if (purge->last) {
        static const uint8_t first = 0;
        struct codec_key end = codec_key_kind(KEY_END);
        store_batch_del_range(batch, slice_make(&first, 1), codec_key_slice(&end));
    }
    fault_hit("mailbox.purge.submit");
    store_submit(purge->store, batch, purge_submitted, purge);
}

static void purge_step(struct purge *purge)
{
    struct codec_key from = codec_key_kind(KEY_EMAIL), to = codec_key_kind(KEY_SUMMARY);
    store_scan(purge->store, purge->id, codec_key_slice(&from), codec_key_slice(&to), PURGE_EMAILS,
               purge_scanned, purge);
}

void mailbox_account_purge(struct mailbox_env *env, const struct mailbox_account_ref *ref,
                           mailbox_done *done, void *arg)
{
    struct account key = {.id = ref->id};
    struct account *account = RB_FIND(accounts, &env->accounts, &key);
    struct purge *purge = MEM_NEW(struct purge);

    if (account != NULL && account->holds == 0) {
        account_free(account);
        account = NULL;
    }
    purge->env = env;
    purge->id = ref->id;
    purge->done = done;
    purge->arg = arg;
    purge->task = (struct task){.run = purge_end, .arg = purge};
    purge->store = env->options.volume(env->options.arg, ref->volume);
    env->account_count++; /* keeps the environment */
    request_attach(&purge->request, &env->requests);
    if (account != NULL || purge->store == NULL) {
        purge->result = MAILBOX_UNAVAILABLE;
        env_defer(env, &purge->task);
        return;
    }
    purge_step(purge);
}
