/*
 * The account database in memory: two trees, accounts by id and names by their folded form, and
 * the counters that follow every change. Loading is in load.c, the meaning of names in lookup.c,
 * changes in edit.c; only those write here, and only what is durable.
 */
#include "auth/accounts_priv.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"

static int account_node_compare(const struct account_node *a, const struct account_node *b)
{
    return id_compare(a->id, b->id);
}

static int name_node_compare(const struct name_node *a, const struct name_node *b)
{
    return slice_compare(slice_make(a->text, a->size), slice_make(b->text, b->size));
}

RB_GENERATE(account_tree, account_node, link, account_node_compare)
RB_GENERATE(name_tree, name_node, link, name_node_compare)

/* ---- names ---------------------------------------------------------------------------------- */

bool accounts_fold(struct slice name, struct folded *folded)
{
    if (name.size == 0 || name.size > sizeof(folded->text))
        return false;
    for (size_t i = 0; i < name.size; i++)
        folded->text[i] = ascii_lower(name.data[i]);
    folded->size = name.size;
    return true;
}

bool accounts_name_good(struct slice name, bool alias)
{
    if (name.size == 0 || name.size > AUTH_NAME_MAX || !utf8_valid(name))
        return false;
    size_t at = name.size;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c <= ' ' || c == 0x7f || c == ':' || c == '"' || c == '<' || c == '>' || c == '\\')
            return false;
        if (c == '@' && at < name.size)
            return false;
        if (c == '@')
            at = i;
    }
    if (at == name.size)
        return true;
    return at + 1 < name.size && (at > 0 || alias);
}

/* ---- accounts ------------------------------------------------------------------------------- */

static struct account_node *node_pack(const struct auth_account *account)
{
    size_t salt = account->has_keys ? account->keys.salt_size : 0;
    size_t size = account->name.size + account->verifier.size +
                  (salt > 0 ? salt + (size_t)2 * SASL_KEY_SIZE : 0);
    struct account_node *node = mem_zalloc(sizeof(*node) + size);
    node->id = account->id;
    node->quota = account->quota;
    node->volume = account->volume;
    node->created = account->created;
    node->iterations = account->has_keys ? account->keys.iterations : 0;
    node->state = (uint8_t)account->state;
    node->salt_size = (uint8_t)salt;
    node->name_size = (uint16_t)account->name.size;
    node->verifier_size = (uint16_t)account->verifier.size;
    memcpy(node->imported, account->imported, sizeof(node->imported));
    uint8_t *to = node->data;
    memcpy(to, account->name.data, account->name.size);
    to += account->name.size;
    if (account->verifier.size > 0)
        memcpy(to, account->verifier.data, account->verifier.size);
    to += account->verifier.size;
    if (salt > 0) {
        memcpy(to, account->keys.salt, salt);
        memcpy(to + salt, account->keys.stored_key, SASL_KEY_SIZE);
        memcpy(to + salt + SASL_KEY_SIZE, account->keys.server_key, SASL_KEY_SIZE);
    }
    return node;
}

void accounts_unpack(const struct account_node *node, struct auth_account *account)
{
    memset(account, 0, sizeof(*account));
    account->id = node->id;
    account->state = node->state;
    account->volume = node->volume;
    account->created = node->created;
    account->quota = node->quota;
    account->name = slice_make(node->data, node->name_size);
    account->verifier = slice_make(node->data + node->name_size, node->verifier_size);
    memcpy(account->imported, node->imported, sizeof(node->imported));
    if (node->salt_size > 0) {
        const uint8_t *from = node->data + node->name_size + node->verifier_size;
        account->has_keys = true;
        account->keys.iterations = node->iterations;
        account->keys.salt_size = node->salt_size;
        memcpy(account->keys.salt, from, node->salt_size);
        memcpy(account->keys.stored_key, from + node->salt_size, SASL_KEY_SIZE);
        memcpy(account->keys.server_key, from + node->salt_size + SASL_KEY_SIZE, SASL_KEY_SIZE);
    }
}

static void node_free(struct account_node *node)
{
    mem_wipe(node->data, node->name_size + node->verifier_size);
    free(node);
}

static void counts_add(struct auth_accounts *accounts, const struct account_node *node, int step)
{
    uint64_t one = step > 0 ? 1 : UINT64_MAX;
    struct auth_counts *counts = &accounts->counts;
    if (node->state == AUTH_DELETED) {
        counts->deleted += one;
    } else {
        counts->accounts += one;
        *(node->state == AUTH_ENABLED ? &counts->enabled : &counts->disabled) += one;
        if (node->state == AUTH_ENABLED && node->salt_size == 0)
            counts->without_keys += one;
    }
    for (size_t i = 0; i < accounts->volume_count; i++)
        if (accounts->volumes[i] == node->volume)
            accounts->volume_accounts[i] += (uint32_t)one;
}

struct account_node *accounts_node(struct auth_accounts *accounts, struct id id)
{
    struct account_node key = {.id = id};
    return RB_FIND(account_tree, &accounts->by_id, &key);
}

void accounts_drop(struct auth_accounts *accounts, struct id id)
{
    struct account_node *node = accounts_node(accounts, id);
    if (node == NULL)
        return;
    counts_add(accounts, node, -1);
    RB_REMOVE(account_tree, &accounts->by_id, node);
    node_free(node);
}

void accounts_set(struct auth_accounts *accounts, const struct auth_account *account)
{
    struct account_node *node =
        node_pack(account); /* before the old goes: slices may point there */
    accounts_drop(accounts, node->id);
    RB_INSERT(account_tree, &accounts->by_id, node);
    counts_add(accounts, node, 1);
}

struct name_node *accounts_name_node(struct auth_accounts *accounts, struct slice folded)
{
    union {
        struct name_node node;
        uint8_t room[sizeof(struct name_node) + AUTH_NAME_MAX];
    } key = {{.size = (uint8_t)folded.size}};
    ASSERT(folded.size <= AUTH_NAME_MAX);
    memcpy(key.node.text, folded.data, folded.size);
    return RB_FIND(name_tree, &accounts->by_name, &key.node);
}

void accounts_drop_name(struct auth_accounts *accounts, struct slice folded)
{
    struct name_node *node = accounts_name_node(accounts, folded);
    if (node == NULL)
        return;
    RB_REMOVE(name_tree, &accounts->by_name, node);
    accounts->counts.names--;
    free(node);
}

void accounts_set_name(struct auth_accounts *accounts, struct slice folded,
                       enum record_name_kind kind, struct id id)
{
    struct name_node *node = accounts_name_node(accounts, folded);
    if (node == NULL) {
        node = mem_zalloc(sizeof(*node) + folded.size);
        node->size = (uint8_t)folded.size;
        memcpy(node->text, folded.data, folded.size);
        RB_INSERT(name_tree, &accounts->by_name, node);
        accounts->counts.names++;
    }
    node->kind = (uint8_t)kind;
    node->id = id;
}

/* ---- the rest ------------------------------------------------------------------------------- */

void auth_accounts_volumes(struct auth_accounts *accounts, const uint32_t *volumes, size_t count)
{
    ASSERT(count <= AUTH_VOLUMES_MAX);
    memcpy(accounts->volumes, volumes, count * sizeof(*volumes));
    memset(accounts->volume_accounts, 0, sizeof(accounts->volume_accounts));
    accounts->volume_count = count;
    struct account_node *node;
    RB_FOREACH (node, account_tree, &accounts->by_id)
        for (size_t i = 0; i < count; i++)
            if (volumes[i] == node->volume)
                accounts->volume_accounts[i]++;
}

struct auth_counts auth_accounts_counts(const struct auth_accounts *accounts)
{
    return accounts->counts;
}

void auth_accounts_hash(const struct auth_accounts *accounts, const char *purpose,
                        struct slice text, uint8_t out[32])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, accounts->secret, sizeof(accounts->secret), 32);
    crypto_generichash_update(&state, (const uint8_t *)purpose, strlen(purpose) + 1);
    crypto_generichash_update(&state, text.data, text.size);
    crypto_generichash_final(&state, out, 32);
}

bool auth_accounts_busy(const struct auth_accounts *accounts)
{
    return !TAILQ_EMPTY(&accounts->changes);
}

bool auth_accounts_lost(const struct auth_accounts *accounts)
{
    return accounts->lost;
}

void auth_accounts_close(struct auth_accounts **pointer)
{
    struct auth_accounts *accounts = *pointer;
    if (accounts == NULL)
        return;
    accounts_forget_changes(accounts);
    struct account_node *account;
    while ((account = RB_ROOT(&accounts->by_id)) != NULL) {
        RB_REMOVE(account_tree, &accounts->by_id, account);
        node_free(account);
    }
    struct name_node *name;
    while ((name = RB_ROOT(&accounts->by_name)) != NULL) {
        RB_REMOVE(name_tree, &accounts->by_name, name);
        free(name);
    }
    buf_finish(&accounts->at);
    mem_wipe(accounts, sizeof(*accounts));
    free(accounts);
    *pointer = NULL;
}
