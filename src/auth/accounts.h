/*
 * The account database: who there is, by which names, with what verifiers. One partition of auth's
 * own volume, kept whole in memory (about 370 bytes an account), so that a lookup is a function
 * call and neither a login nor a RCPT ever waits for the disk. doc/formats/accounts.md.
 *
 * Reads give what is durable. Changes are prepared one call at a time against that, so a change
 * never fails because of another one. Names are compared without the case of ASCII letters; the
 * account keeps the form it was made with.
 *
 * Linked by restante-auth, its only writer while a server runs, and by the command line, which
 * opens the volume itself when none does (the volume's lock decides).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "auth/password.h"
#include "base/error.h"
#include "base/id.h"
#include "store/store.h"

struct auth_accounts;

enum {
    AUTH_NAME_MAX = 250,  /* bytes of a name: it stands in a key */
    AUTH_NAMES_MAX = 500, /* aliases and catch-alls of one account */
    AUTH_EDITS_MAX = 200, /* in one call */
    AUTH_VOLUMES_MAX = 256,
};

enum auth_state {
    AUTH_ENABLED = 0,
    AUTH_DISABLED = 1,
    AUTH_DELETED = 2, /* its names are gone, its mail is being wiped */
};

/* Valid until the next turn of the loop; never changed in place. */
struct auth_account {
    struct id id;
    enum auth_state state;
    uint32_t volume;
    uint32_t created; /* seconds since 1970 */
    uint64_t quota;   /* bytes; 0: the default of the settings */
    struct slice name;
    struct slice verifier;
    bool has_keys;
    struct sasl_scram_keys keys; /* with has_keys */
    /* What an import brought last, so that a repeat changes nothing; zero: never imported. */
    uint8_t imported[PASSWORD_FINGERPRINT];
};

/* ---- opening -------------------------------------------------------------------------------- */

/* good: everything is loaded; else trouble says why, and all that is left to do is to close. */
typedef void auth_opened(void *arg, bool good, const char *trouble);
/* Loads everything, pages at a time; opened runs once, later. The store stays the caller's. */
struct auth_accounts *auth_accounts_open(struct store *store, auth_opened *opened, void *arg);
/* Changes on their way are forgotten: the store must be closed, or dead, by then. Accepts NULL. */
void auth_accounts_close(struct auth_accounts **accounts);
/* Which volumes new accounts may go to: each goes to the one with the fewest. */
void auth_accounts_volumes(struct auth_accounts *accounts, const uint32_t *volumes, size_t count);

/* ---- reading -------------------------------------------------------------------------------- */

enum auth_found {
    AUTH_FOUND,
    AUTH_NOT_FOUND,
    AUTH_BAD_NAME,  /* no name could look like this */
    AUTH_UNREADABLE /* there is such a name, but its record is damaged: try again, never "unknown"
                     */
};

/* By the account's own name, whatever its state; not by alias. */
enum auth_found auth_accounts_find(struct auth_accounts *accounts, struct slice name,
                                   struct auth_account *account);
bool auth_accounts_find_id(struct auth_accounts *accounts, struct id id,
                           struct auth_account *account);

/* How names are understood at this host; by reference. */
struct auth_names {
    const char *hostname; /* a bare account name is meant by name@hostname and name@localhost */
    char separator;       /* of the detail in "alice+list@..."; 0: none */
};
/* Who logs in by this name: an account's own name, or that at this host. */
enum auth_found auth_accounts_login(struct auth_accounts *accounts, const struct auth_names *names,
                                    struct slice name, struct auth_account *account);
/* Whose mail this is: the address itself, then without its detail (each: account or alias), then
 * the domain's catch-all. detail: what stood behind the separator, valid as long as address. */
enum auth_found auth_accounts_recipient(struct auth_accounts *accounts,
                                        const struct auth_names *names, struct slice address,
                                        struct auth_account *account, struct slice *detail);

/* Walks the accounts in the order of their names, then those being deleted by id if asked for:
 * the first whose folded name is greater than after (SLICE_NONE: the first of all). */
bool auth_accounts_next(struct auth_accounts *accounts, struct slice after,
                        struct auth_account *account);
/* One that waits to be purged, behind this id (NULL: the first). */
bool auth_accounts_next_deleted(struct auth_accounts *accounts, const struct id *after,
                                struct auth_account *account);
/* The other names of an account, each as "alias" or "@domain"; valid during the call. */
void auth_accounts_names(struct auth_accounts *accounts, struct id id,
                         void (*name)(void *arg, struct slice text), void *arg);

struct auth_counts {
    uint64_t accounts, enabled, disabled, deleted, names;
    uint64_t without_keys; /* enabled and without SCRAM keys: auth.scram = auto */
    uint64_t damaged;      /* records that could not be read */
};
struct auth_counts auth_accounts_counts(const struct auth_accounts *accounts);

/* A secret of this database, the same after a restart: for salts of names that are not there. */
void auth_accounts_hash(const struct auth_accounts *accounts, const char *purpose,
                        struct slice text, uint8_t out[32]);
/* The verifier that a name which is not there is checked against: that of some account, the same
 * for the same name, so that the time it takes tells nothing. Valid as struct auth_account. */
struct slice auth_accounts_decoy(struct auth_accounts *accounts, struct slice name);

/* ---- changing ------------------------------------------------------------------------------- */

enum auth_edit_kind {
    AUTH_EDIT_ADD,      /* name, verifier, keys, quota, aliases; fills id and volume */
    AUTH_EDIT_PASSWORD, /* name, verifier, keys */
    AUTH_EDIT_KEYS,     /* id, keys; only while its verifier is this one */
    AUTH_EDIT_STATE,    /* name, state (ENABLED or DISABLED) */
    AUTH_EDIT_QUOTA,    /* name, quota */
    AUTH_EDIT_DELETE,   /* name: takes its names away and marks it; fills id and volume */
    AUTH_EDIT_FORGET,   /* id of a deleted one: its mail is wiped */
    AUTH_EDIT_ALIAS,    /* name, alias: "other@example.org" or "@example.org" for a catch-all */
    AUTH_EDIT_UNALIAS,  /* name, alias */
    AUTH_EDIT_IMPORT,   /* as ADD, or as PASSWORD when it is there; imported; quota if not 0 */
};

enum auth_outcome {
    AUTH_DONE,      /* durable */
    AUTH_UPDATED,   /* IMPORT: it was there and is changed */
    AUTH_UNCHANGED, /* it was so already */
    AUTH_EXISTS,    /* the name (or alias) is taken */
    AUTH_UNKNOWN,   /* there is no such account (or alias) */
    AUTH_BAD,       /* the name is none */
    AUTH_TOO_MANY,  /* aliases; or twice in one call */
    AUTH_NO_SPACE,  /* the disk is full: nothing of this call was done */
    AUTH_NOT_NOW,   /* the store could not: nothing of this call was done */
};
/* A line for whoever asked: what to do. */
const char *auth_outcome_text(enum auth_outcome outcome);

struct auth_edit {
    enum auth_edit_kind kind;
    struct slice name;
    struct id id;
    struct slice verifier;
    const struct sasl_scram_keys *keys; /* NULL: none */
    uint64_t quota;
    enum auth_state state;
    const struct slice *aliases; /* ADD */
    size_t alias_count;
    struct slice alias;
    uint8_t imported[PASSWORD_FINGERPRINT];
    uint32_t volume;
    bool secret_changed;       /* filled: its old secret is none any more */
    enum auth_outcome outcome; /* filled */
};

/*
 * Makes all edits that can be made, together: those with an outcome up to AUTH_UNCHANGED happened
 * or happen not because of a crash. An account, and a name, stands at most once in a call. edits
 * and what they point to stay unchanged until changed runs (once, later).
 */
typedef void auth_changed(void *arg);
void auth_accounts_change(struct auth_accounts *accounts, struct auth_edit *edits, size_t count,
                          auth_changed *changed, void *arg);
/* A change is on its way. */
bool auth_accounts_busy(const struct auth_accounts *accounts);
/* True after a change of which nobody knows if it happened (STORE_UNKNOWN, FENCED): the process
 * must end and load again. */
bool auth_accounts_lost(const struct auth_accounts *accounts);
