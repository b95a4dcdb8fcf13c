/*
 * What a name means: whose login, whose mail. The order for mail is the address itself, the address
 * without its detail, the catch-all of its domain; at each step an account's name and an alias
 * count the same, since a name is given only once. doc/decisions/ has the reasons.
 */
#include <string.h>

#include "auth/accounts_priv.h"
#include "base/assert.h"

/* An address in parts; local is without quotes. */
struct address {
    struct slice local, domain; /* domain.data NULL: none was given */
};

/* Splits at the last "@". A quoted local part (RFC 5321 4.1.2) loses its quotes; room: for that. */
static bool address_split(struct slice text, struct address *address, struct folded *room)
{
    size_t at = text.size;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '@')
            at = i;
    address->local = slice_sub(text, 0, at);
    address->domain = at == text.size ? SLICE_NONE : slice_sub(text, at + 1, text.size);
    if (at < text.size && address->domain.size == 0)
        return false;
    if (address->domain.size > 0 && address->domain.data[address->domain.size - 1] == '.')
        address->domain.size--;
    struct slice local = address->local;
    if (local.size < 2 || local.data[0] != '"' || local.data[local.size - 1] != '"')
        return local.size > 0;
    size_t n = 0;
    for (size_t i = 1; i + 1 < local.size && n < sizeof(room->text); i++) {
        if (local.data[i] == '\\' && i + 2 < local.size)
            i++;
        room->text[n++] = local.data[i];
    }
    address->local = slice_make(room->text, n);
    return n > 0;
}

static bool domain_is_here(const struct auth_names *names, struct slice domain)
{
    return slice_equal_nocase_str(domain, "localhost") ||
           (names->hostname != NULL && slice_equal_nocase_str(domain, names->hostname));
}

/* The owner of local@domain (or of local alone when domain is none). */
static enum auth_found name_get(struct auth_accounts *accounts, struct slice local,
                                struct slice domain, bool aliases, struct auth_account *account)
{
    uint8_t text[2 * AUTH_NAME_MAX];
    struct folded folded;
    size_t size = local.size + (domain.data != NULL ? 1 + domain.size : 0);
    if (size > AUTH_NAME_MAX)
        return AUTH_NOT_FOUND;
    if (local.size > 0)
        memcpy(text, local.data, local.size);
    if (domain.data != NULL) {
        text[local.size] = '@';
        memcpy(text + local.size + 1, domain.data, domain.size);
    }
    if (!accounts_fold(slice_make(text, size), &folded))
        return AUTH_NOT_FOUND;
    struct name_node *name = accounts_name_node(accounts, folded_slice(&folded));
    if (name == NULL || (!aliases && name->kind != RECORD_NAME_ACCOUNT && !id_is_zero(name->id)))
        return AUTH_NOT_FOUND;
    struct account_node *node = accounts_node(accounts, name->id);
    if (node == NULL)
        return AUTH_UNREADABLE;
    accounts_unpack(node, account);
    return AUTH_FOUND;
}

/* The same, and then what it means at this host. */
static enum auth_found name_get_here(struct auth_accounts *accounts, const struct auth_names *names,
                                     struct slice local, struct slice domain, bool aliases,
                                     struct auth_account *account)
{
    enum auth_found found = name_get(accounts, local, domain, aliases, account);
    if (found == AUTH_NOT_FOUND && domain.data != NULL && domain_is_here(names, domain))
        found = name_get(accounts, local, SLICE_NONE, aliases, account);
    return found;
}

enum auth_found auth_accounts_find(struct auth_accounts *accounts, struct slice name,
                                   struct auth_account *account)
{
    if (!accounts_name_good(name, false))
        return AUTH_BAD_NAME;
    return name_get(accounts, name, SLICE_NONE, false, account);
}

bool auth_accounts_find_id(struct auth_accounts *accounts, struct id id,
                           struct auth_account *account)
{
    struct account_node *node = accounts_node(accounts, id);
    if (node != NULL)
        accounts_unpack(node, account);
    return node != NULL;
}

enum auth_found auth_accounts_login(struct auth_accounts *accounts, const struct auth_names *names,
                                    struct slice name, struct auth_account *account)
{
    struct address address;
    struct folded room;
    if (!accounts_name_good(name, false) || !address_split(name, &address, &room))
        return AUTH_BAD_NAME;
    return name_get_here(accounts, names, address.local, address.domain, false, account);
}

enum auth_found auth_accounts_recipient(struct auth_accounts *accounts,
                                        const struct auth_names *names, struct slice text,
                                        struct auth_account *account, struct slice *detail)
{
    struct address address;
    struct folded room;
    *detail = SLICE_LITERAL("");
    if (!address_split(text, &address, &room))
        return AUTH_BAD_NAME;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return AUTH_BAD_NAME;
    struct slice local = address.local, domain = address.domain;
    enum auth_found found = name_get_here(accounts, names, local, domain, true, account);
    if (found != AUTH_NOT_FOUND)
        return found;
    size_t cut = names->separator == 0 ? local.size : slice_find(local, (uint8_t)names->separator);
    if (cut > 0 && cut < local.size) {
        found = name_get_here(accounts, names, slice_sub(local, 0, cut), domain, true, account);
        if (found != AUTH_NOT_FOUND) {
            /* In text, not in room: that is gone when we return. */
            size_t behind = slice_find(text, (uint8_t)names->separator) + 1;
            *detail = slice_sub(text, behind, local.size - cut - 1);
            return found;
        }
    }
    if (domain.data == NULL)
        return AUTH_NOT_FOUND;
    return name_get(accounts, SLICE_NONE, domain, true, account);
}

bool auth_accounts_next(struct auth_accounts *accounts, struct slice after,
                        struct auth_account *account)
{
    union {
        struct name_node node;
        uint8_t room[sizeof(struct name_node) + AUTH_NAME_MAX];
    } key = {0};
    struct name_node *name;
    struct folded folded;
    if (!accounts_fold(after, &folded)) {
        name = RB_MIN(name_tree, &accounts->by_name);
    } else {
        key.node.size = (uint8_t)folded.size;
        memcpy(key.node.text, folded.text, folded.size);
        name = RB_NFIND(name_tree, &accounts->by_name, &key.node);
        if (name != NULL && slice_equal(slice_make(name->text, name->size), folded_slice(&folded)))
            name = RB_NEXT(name_tree, &accounts->by_name, name);
    }
    for (; name != NULL; name = RB_NEXT(name_tree, &accounts->by_name, name)) {
        struct account_node *node =
            name->kind == RECORD_NAME_ACCOUNT ? accounts_node(accounts, name->id) : NULL;
        if (node != NULL) {
            accounts_unpack(node, account);
            return true;
        }
    }
    return false;
}

bool auth_accounts_next_deleted(struct auth_accounts *accounts, const struct id *after,
                                struct auth_account *account)
{
    if (accounts->counts.deleted == 0)
        return false;
    struct account_node key, *node;
    if (after == NULL) {
        node = RB_MIN(account_tree, &accounts->by_id);
    } else {
        key.id = *after;
        node = RB_NFIND(account_tree, &accounts->by_id, &key);
        if (node != NULL && id_equal(node->id, *after))
            node = RB_NEXT(account_tree, &accounts->by_id, node);
    }
    while (node != NULL && node->state != AUTH_DELETED)
        node = RB_NEXT(account_tree, &accounts->by_id, node);
    if (node != NULL)
        accounts_unpack(node, account);
    return node != NULL;
}

void auth_accounts_names(struct auth_accounts *accounts, struct id id,
                         void (*each)(void *arg, struct slice text), void *arg)
{
    struct name_node *name;
    RB_FOREACH (name, name_tree, &accounts->by_name)
        if (name->kind == RECORD_NAME_ALIAS && id_equal(name->id, id))
            each(arg, slice_make(name->text, name->size));
}

struct slice auth_accounts_decoy(struct auth_accounts *accounts, struct slice name)
{
    struct account_node key = {0};
    uint8_t hash[32];
    struct folded folded = {.size = 0};
    accounts_fold(name, &folded);
    auth_accounts_hash(accounts, "decoy", folded_slice(&folded), hash);
    memcpy(key.id.bytes, hash, sizeof(key.id.bytes));
    struct account_node *node = RB_NFIND(account_tree, &accounts->by_id, &key);
    if (node == NULL)
        node = RB_MIN(account_tree, &accounts->by_id);
    if (node == NULL || node->verifier_size == 0)
        return slice_str(password_dummy());
    return slice_make(node->data + node->name_size, node->verifier_size);
}
