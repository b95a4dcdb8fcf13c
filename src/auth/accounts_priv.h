/* The database in memory, for accounts.c, load.c, lookup.c and edit.c only. */
#pragma once
#include <bsd/sys/tree.h>
#include <sys/queue.h>

#include "auth/record.h"

/* One account, packed: what is in `data` is name, verifier, then (keys) salt, stored, server key.
 */
struct account_node {
    RB_ENTRY(account_node) link;
    struct id id;
    uint64_t quota;
    uint32_t volume, created, iterations;
    uint8_t state, salt_size; /* salt_size 0: no keys */
    uint16_t name_size, verifier_size;
    uint8_t imported[PASSWORD_FINGERPRINT];
    uint8_t data[];
};
RB_HEAD(account_tree, account_node);
RB_PROTOTYPE(account_tree, account_node, link, account_node_compare)

/* A name, folded. id is zero where the record was damaged: the name is there, its owner unknown. */
struct name_node {
    RB_ENTRY(name_node) link;
    struct id id;
    uint8_t kind, size;
    uint8_t text[];
};
RB_HEAD(name_tree, name_node);
RB_PROTOTYPE(name_tree, name_node, link, name_node_compare)

struct change {
    TAILQ_ENTRY(change) link;
    struct auth_edit *edits;
    size_t count;
    auth_changed *changed;
    void *arg;
};

struct auth_accounts {
    struct store *store;
    auth_opened *opened;
    void *arg;
    struct account_tree by_id;
    struct name_tree by_name;
    struct auth_counts counts;
    uint8_t secret[RECORD_SECRET];
    bool has_secret, lost;
    char trouble[200];
    struct buf at; /* loading: where the next page begins */
    uint32_t volumes[AUTH_VOLUMES_MAX];
    size_t volume_count;
    uint32_t volume_accounts[AUTH_VOLUMES_MAX]; /* beside volumes */
    TAILQ_HEAD(, change) changes;               /* the first is on its way */
    struct staged *staged;
};

/* Lower-case ASCII of name. False when it is empty or longer than AUTH_NAME_MAX. */
struct folded {
    uint8_t text[AUTH_NAME_MAX];
    size_t size;
};
bool accounts_fold(struct slice name, struct folded *folded);
static inline struct slice folded_slice(const struct folded *folded)
{
    return slice_make(folded->text, folded->size);
}
/* May an account (alias false) or an alias (also "@domain") be called so? */
bool accounts_name_good(struct slice name, bool alias);

void accounts_unpack(const struct account_node *node, struct auth_account *account);
struct account_node *accounts_node(struct auth_accounts *accounts, struct id id);
struct name_node *accounts_name_node(struct auth_accounts *accounts, struct slice folded);
/* Puts in, replaces, takes out; counters follow. */
void accounts_set(struct auth_accounts *accounts, const struct auth_account *account);
void accounts_drop(struct auth_accounts *accounts, struct id id);
void accounts_set_name(struct auth_accounts *accounts, struct slice folded,
                       enum record_name_kind kind, struct id id);
void accounts_drop_name(struct auth_accounts *accounts, struct slice folded);
/* No callback runs. */
void accounts_forget_changes(struct auth_accounts *accounts);
