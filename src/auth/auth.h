/*
 * The process restante-auth in one struct: who there is (accounts.h), what runs (login.h), where
 * accounts live (routes). main.c fills it; login.c and mail.c work on it; tests fill it themselves.
 */
#pragma once
#include <bsd/sys/tree.h>

#include "auth/accounts.h"
#include "auth/admin.h"
#include "auth/hasher.h"
#include "auth/remember.h"
#include "config/settings.h"
#include "ipc/ipc.h"

struct child;
struct login;
RB_HEAD(login_tree, login);

#define AUTH_NO_WORKER UINT32_MAX

struct auth {
    struct child *child; /* NULL in tests */
    struct event_base *base;
    const struct settings *settings;
    struct store *store;
    struct auth_accounts *accounts;
    struct hasher *hasher;
    struct remember *remember;
    struct auth_names names;
    struct admin_host admin;
    uint32_t routes[AUTH_VOLUMES_MAX]; /* volume -> worker or AUTH_NO_WORKER */
    char announced[2][200];            /* the last auth_mechanisms: secure, clear */
    struct login_tree logins;
    unsigned login_count;
    /* The channel to a door or worker; NULL while there is none. */
    struct ipc_channel *(*peer)(struct auth *auth, enum ipc_role role, uint32_t index);
    uint32_t (*peer_limit)(struct auth *auth, enum ipc_role role);
    char directory[4001], hostname[256];
};

/* Everything but child, base, settings, accounts, hasher, peer, peer_limit, which come first. */
void auth_init(struct auth *auth);
void auth_finish(struct auth *auth);
/* What the settings say changed, or the routes. */
void auth_settings_read(struct auth *auth);
void auth_route(struct auth *auth, uint32_t volume, uint32_t worker);
/* The channel to the worker that owns this volume; NULL while there is none. */
struct ipc_channel *auth_worker(struct auth *auth, uint32_t volume);

/* SCRAM may be used now (auth.scram). */
bool auth_scram_on(const struct auth *auth);
/* Tells the doors which mechanisms there are, when that changed; always tells `fresh`. */
void auth_announce(struct auth *auth, struct ipc_channel *fresh);
/* A failure that only another start can mend: nobody knows if a change happened. */
void auth_check_lost(struct auth *auth);

/* ---- handlers of messages -------------------------------------------------------------------- */

void auth_rcpt_lookup(void *context, struct ipc_channel *channel, struct ipc_rcpt_lookup *message);
void auth_purged(void *context, struct ipc_channel *channel, struct ipc_purged *message);
/* A worker is there (again): it is told what is to be wiped. */
void auth_purge_all(struct auth *auth, uint32_t worker);
