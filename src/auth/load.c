/*
 * Loading the account database: one scan over its partition, page by page, then what can be mended
 * is mended. A damaged record costs what it says and is named: an account's mail is then answered
 * "try again", never "no such user". A record of a newer format ends the loading.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/accounts_priv.h"
#include "base/log.h"
#include "base/mem.h"

enum { PAGE = 1000 };

static void load_page(struct auth_accounts *accounts);

static void item_account(struct auth_accounts *accounts, const struct store_item *item,
                         enum record_result result, const struct auth_account *account)
{
    if (result == RECORD_OK) {
        accounts_set(accounts, account);
        return;
    }
    struct id id = {{0}};
    if (item->key.size == 1 + sizeof(id.bytes))
        memcpy(id.bytes, item->key.data + 1, sizeof(id.bytes));
    accounts->counts.damaged++;
    log_error("account_damaged", "id=%s", id_text(id).text);
}

static void item_name(struct auth_accounts *accounts, const struct store_item *item,
                      enum record_result result, enum record_name_kind kind, struct id id)
{
    struct slice folded = slice_sub(item->key, 1, item->key.size);
    if (folded.size == 0 || folded.size > AUTH_NAME_MAX)
        return;
    if (result != RECORD_OK) {
        accounts->counts.damaged++;
        log_error("account_name_damaged", "name=%s", log_value(folded).text);
        kind = RECORD_NAME_ALIAS;
        memset(&id, 0, sizeof(id));
    }
    accounts_set_name(accounts, folded, kind, id);
}

static enum record_result item_load(struct auth_accounts *accounts, const struct store_item *item)
{
    struct auth_account account;
    enum record_name_kind kind = RECORD_NAME_ALIAS;
    struct id id = {{0}};
    enum record_result result = RECORD_OK;
    switch (item->key.size > 0 ? item->key.data[0] : 0) {
    case 'a':
        result = record_get_account(item->key, item->value, &account);
        if (result != RECORD_NEWER)
            item_account(accounts, item, result, &account);
        break;
    case 'n':
        result = record_get_name(item->key, item->value, &kind, &id);
        if (result != RECORD_NEWER)
            item_name(accounts, item, result, kind, id);
        break;
    case 's':
        result = record_get_secret(item->key, item->value, accounts->secret);
        accounts->has_secret = result == RECORD_OK;
        break;
    default:
        break; /* of a newer version that kept what we know as it is */
    }
    return result;
}

static void loaded(struct auth_accounts *accounts, const char *trouble)
{
    accounts->opened(accounts->arg, trouble == NULL, trouble);
}

/* A damaged name record of an account is known again from the account itself. */
static void names_mend(struct auth_accounts *accounts)
{
    struct account_node *node;
    RB_FOREACH (node, account_tree, &accounts->by_id) {
        struct folded folded;
        if (node->state == AUTH_DELETED ||
            !accounts_fold(slice_make(node->data, node->name_size), &folded))
            continue;
        struct name_node *name = accounts_name_node(accounts, folded_slice(&folded));
        if (name == NULL || id_is_zero(name->id))
            accounts_set_name(accounts, folded_slice(&folded), RECORD_NAME_ACCOUNT, node->id);
    }
}

static void secret_put(void *arg, enum store_result result)
{
    struct auth_accounts *accounts = arg;
    if (result != STORE_OK)
        snprintf(accounts->trouble, sizeof(accounts->trouble), "account database: %s",
                 store_result_text(result));
    loaded(accounts, result == STORE_OK ? NULL : accounts->trouble);
}

/* The first open makes the secret; so does one that finds it damaged. */
static void load_end(struct auth_accounts *accounts)
{
    names_mend(accounts);
    if (accounts->has_secret) {
        loaded(accounts, NULL);
        return;
    }
    struct buf key = {0}, value = {0};
    id_random_bytes(accounts->secret, sizeof(accounts->secret));
    record_key_secret(&key);
    record_put_secret(&value, buf_slice(&key), accounts->secret);
    struct store_batch *batch = store_batch_create(record_partition);
    store_batch_put(batch, buf_slice(&key), buf_slice(&value));
    buf_finish(&key);
    buf_finish(&value);
    store_submit(accounts->store, batch, secret_put, accounts);
}

static void page_loaded(void *arg, enum store_result result, const struct store_item *items,
                        size_t count, bool more)
{
    struct auth_accounts *accounts = arg;
    if (result != STORE_OK && result != STORE_CORRUPT) {
        snprintf(accounts->trouble, sizeof(accounts->trouble), "account database: %s",
                 store_result_text(result));
        loaded(accounts, accounts->trouble);
        return;
    }
    if (result == STORE_CORRUPT) {
        accounts->counts.damaged++;
        log_error("account_damaged", "reason=\"the store could not read all records\"");
    }
    for (size_t i = 0; i < count; i++)
        if (item_load(accounts, &items[i]) == RECORD_NEWER) {
            loaded(accounts, "the account database was written by a newer Restante: use that one");
            return;
        }
    if (!more || count == 0) {
        load_end(accounts);
        return;
    }
    buf_clear(&accounts->at);
    buf_add_slice(&accounts->at, items[count - 1].key);
    buf_u8(&accounts->at, 0);
    load_page(accounts);
}

static void load_page(struct auth_accounts *accounts)
{
    store_scan(accounts->store, record_partition, buf_slice(&accounts->at), SLICE_LITERAL("\xff"),
               PAGE, page_loaded, accounts);
}

struct auth_accounts *auth_accounts_open(struct store *store, auth_opened *opened, void *arg)
{
    struct auth_accounts *accounts = MEM_NEW(struct auth_accounts);
    accounts->store = store;
    accounts->opened = opened;
    accounts->arg = arg;
    RB_INIT(&accounts->by_id);
    RB_INIT(&accounts->by_name);
    TAILQ_INIT(&accounts->changes);
    buf_u8(&accounts->at, 0);
    load_page(accounts);
    return accounts;
}
