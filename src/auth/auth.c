/*
 * What the parts of restante-auth share: the routes from volumes to workers, which mechanisms are
 * announced, and what follows from a change of an account (sessions end, mail is wiped).
 */
#include "auth/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/login.h"
#include "base/log.h"
#include "base/mem.h"

/* ---- routes ---------------------------------------------------------------------------------- */

void auth_route(struct auth *auth, uint32_t volume, uint32_t worker)
{
    uint32_t volumes[AUTH_VOLUMES_MAX];
    size_t count = 0;
    if (volume >= AUTH_VOLUMES_MAX) {
        log_error("route_refused", "volume=%u", volume);
        return;
    }
    auth->routes[volume] = worker;
    for (uint32_t i = 0; i < AUTH_VOLUMES_MAX; i++)
        if (auth->routes[i] != AUTH_NO_WORKER)
            volumes[count++] = i;
    if (auth->accounts != NULL)
        auth_accounts_volumes(auth->accounts, volumes, count);
}

struct ipc_channel *auth_worker(struct auth *auth, uint32_t volume)
{
    if (volume >= AUTH_VOLUMES_MAX || auth->routes[volume] == AUTH_NO_WORKER)
        return NULL;
    return auth->peer(auth, IPC_WORKER, auth->routes[volume]);
}

/* ---- mechanisms ------------------------------------------------------------------------------ */

bool auth_scram_on(const struct auth *auth)
{
    const char *word = settings_word("auth_scram", auth->settings->auth_scram);
    if (strcmp(word, "auto") == 0)
        return auth_accounts_counts(auth->accounts).without_keys == 0;
    return strcmp(word, "on") == 0;
}

static bool plain_clear(const struct auth *auth)
{
    return strcmp(settings_word("auth_plain_clear", auth->settings->auth_plain_clear), "yes") == 0;
}

bool login_clear_allowed(const struct auth *auth, struct slice client)
{
    return plain_clear(auth) || slice_equal_str(client, "unix") || slice_equal_str(client, "::1") ||
           slice_starts(client, SLICE_LITERAL("127."));
}

static void words_add(char *words, size_t room, const char *word)
{
    size_t used = strlen(words);
    snprintf(words + used, room - used, "%s%s", used > 0 ? " " : "", word);
}

void auth_announce(struct auth *auth, struct ipc_channel *fresh)
{
    char secure[200] = "", clear[200] = "";
    const struct sasl_mechanism *mechanism;
    bool scram = auth_scram_on(auth);
    for (size_t i = 0; (mechanism = sasl_mechanism_at(i)) != NULL; i++) {
        if (mechanism->needs_keys && !scram)
            continue;
        words_add(secure, sizeof(secure), mechanism->name);
        if (!mechanism->binds && (!mechanism->shows_secret || plain_clear(auth)))
            words_add(clear, sizeof(clear), mechanism->name);
    }
    bool same = strcmp(secure, auth->announced[0]) == 0 && strcmp(clear, auth->announced[1]) == 0;
    snprintf(auth->announced[0], sizeof(auth->announced[0]), "%s", secure);
    snprintf(auth->announced[1], sizeof(auth->announced[1]), "%s", clear);
    struct ipc_auth_mechanisms message = {.secure = slice_str(secure), .clear = slice_str(clear)};
    if (same && fresh != NULL)
        ipc_send_auth_mechanisms(fresh, &message);
    for (uint32_t i = 0; !same && i < auth->peer_limit(auth, IPC_DOOR); i++)
        if (auth->peer(auth, IPC_DOOR, i) != NULL)
            ipc_send_auth_mechanisms(auth->peer(auth, IPC_DOOR, i), &message);
}

/* ---- what follows from a change -------------------------------------------------------------- */

void auth_check_lost(struct auth *auth)
{
    if (!auth_accounts_lost(auth->accounts))
        return;
    log_error("accounts_lost", "reason=\"a write of the account database has failed: starting "
                               "again\"");
    _exit(1);
}

static void on_changed(void *arg)
{
    struct auth *auth = arg;
    auth_announce(auth, NULL);
}

static void on_revoked(void *arg, struct id account, uint32_t volume, const char *reason)
{
    struct auth *auth = arg;
    struct ipc_channel *worker = auth_worker(auth, volume);
    remember_forget(auth->remember, account);
    logins_revoke(auth, account);
    if (worker != NULL)
        ipc_send_end_sessions(
            worker, &(struct ipc_end_sessions){.account = account, .reason = slice_str(reason)});
}

static void on_deleted(void *arg, struct id account, uint32_t volume)
{
    struct auth *auth = arg;
    struct ipc_channel *worker = auth_worker(auth, volume);
    if (worker != NULL)
        ipc_send_purge(worker, &(struct ipc_purge){.account = account, .volume = volume});
}

void auth_purge_all(struct auth *auth, uint32_t worker)
{
    struct auth_account account;
    struct id after;
    bool more = auth_accounts_next_deleted(auth->accounts, NULL, &account);
    while (more) {
        if (account.volume < AUTH_VOLUMES_MAX && auth->routes[account.volume] == worker)
            on_deleted(auth, account.id, account.volume);
        after = account.id;
        more = auth_accounts_next_deleted(auth->accounts, &after, &account);
    }
}

struct forget {
    struct auth *auth;
    struct auth_edit edit;
};

static void forgotten(void *arg)
{
    struct forget *forget = arg;
    log_info("account_purged", "id=%s", id_text(forget->edit.id).text);
    auth_check_lost(forget->auth);
    free(forget);
}

void auth_purged(void *context, struct ipc_channel *channel, struct ipc_purged *message)
{
    struct auth *auth = context;
    struct auth_account account;
    /* Only the worker that has its mail can say so, and only of one that was deleted. */
    if (!auth_accounts_find_id(auth->accounts, message->account, &account) ||
        account.state != AUTH_DELETED || account.volume >= AUTH_VOLUMES_MAX ||
        auth->routes[account.volume] != ipc_peer_index(channel)) {
        log_warn("purged_unasked", "id=%s worker=%u", id_text(message->account).text,
                 ipc_peer_index(channel));
        return;
    }
    if (message->result != 0) {
        log_warn("account_purge_failed", "id=%s result=%u", id_text(message->account).text,
                 message->result); /* asked again when the worker or auth starts again */
        return;
    }
    struct forget *forget = MEM_NEW(struct forget);
    forget->auth = auth;
    forget->edit = (struct auth_edit){.kind = AUTH_EDIT_FORGET, .id = message->account};
    auth_accounts_change(auth->accounts, &forget->edit, 1, forgotten, forget);
}

/* ---- recipients ------------------------------------------------------------------------------ */

void auth_rcpt_lookup(void *context, struct ipc_channel *channel, struct ipc_rcpt_lookup *message)
{
    struct auth *auth = context;
    struct auth_account account = {0};
    struct slice detail = SLICE_LITERAL("");
    struct ipc_rcpt_found found = {.request = message->request};
    switch (auth_accounts_recipient(auth->accounts, &auth->names, message->address, &account,
                                    &detail)) {
    case AUTH_FOUND:
        found.result = account.state == AUTH_ENABLED ? IPC_RCPT_OK : IPC_RCPT_DISABLED;
        break;
    case AUTH_BAD_NAME:
        found.result = IPC_RCPT_BAD_ADDRESS;
        break;
    case AUTH_NOT_FOUND:
        found.result = IPC_RCPT_UNKNOWN;
        break;
    case AUTH_UNREADABLE:
        found.result = IPC_RCPT_UNAVAILABLE;
        break;
    }
    if (found.result == IPC_RCPT_OK && auth_worker(auth, account.volume) == NULL)
        found.result = IPC_RCPT_UNAVAILABLE;
    if (found.result == IPC_RCPT_OK) {
        found.account = account.id;
        found.volume = account.volume;
        found.worker = auth->routes[account.volume];
        found.quota = account.quota != 0 ? account.quota : auth->settings->quota_default;
        found.name = account.name;
        found.detail = slice_sub(detail, 0, 256);
    }
    ipc_send_rcpt_found(channel, &found);
}

/* ---- life ------------------------------------------------------------------------------------ */

void auth_settings_read(struct auth *auth)
{
    auth->names.separator = auth->settings->auth_subaddress[0];
    auth->names.hostname = auth->hostname;
}

void auth_init(struct auth *auth)
{
    RB_INIT(&auth->logins);
    auth->remember = remember_create();
    auth->admin = (struct admin_host){.accounts = auth->accounts,
                                      .hasher = auth->hasher,
                                      .revoked = on_revoked,
                                      .deleted = on_deleted,
                                      .changed = on_changed,
                                      .arg = auth};
    if (auth->hostname[0] == '\0' && gethostname(auth->hostname, sizeof(auth->hostname) - 1) != 0)
        auth->hostname[0] = '\0';
    auth_settings_read(auth);
}

void auth_finish(struct auth *auth)
{
    logins_end(auth);
    remember_destroy(&auth->remember);
}
