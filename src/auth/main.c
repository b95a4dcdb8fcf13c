/*
 * restante-auth: reads names and secrets of strangers, so it holds nothing else: its one directory
 * is the account database, its one kind of answer a verdict. It links no protocol and no mail.
 *
 * A start: the store opens and the accounts are loaded (child_hold) before any peer is read, so
 * nobody is ever told "unknown user" by an auth that does not know its users yet.
 */
#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/auth.h"
#include "auth/login.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/child.h"

static const struct sandbox_profile profile = {
    .process = "auth",
    .allow = SANDBOX_FILES | SANDBOX_THREADS,
};

enum { SEGMENT = 4 << 20, DRAIN_POLL_US = 10000 };

static struct ipc_channel *peer_of_child(struct auth *auth, enum ipc_role role, uint32_t index)
{
    return child_peer(auth->child, role, index);
}

static uint32_t peer_limit_of_child(struct auth *auth, enum ipc_role role)
{
    return child_peer_limit(auth->child, role);
}

static void *create(struct child *child)
{
    struct auth *auth = MEM_NEW(struct auth);
    auth->child = child;
    auth->base = child_base(child);
    auth->settings = child_settings(child);
    auth->peer = peer_of_child;
    auth->peer_limit = peer_limit_of_child;
    for (size_t i = 0; i < AUTH_VOLUMES_MAX; i++)
        auth->routes[i] = AUTH_NO_WORKER;
    return auth;
}

static bool warm_up(void *state, struct sandbox_options *options, struct error *error)
{
    static const char *directories[2];
    struct auth *auth = state;
    if (auth->directory[0] == '\0')
        return error_set(error, "master named no directory for the account database");
    directories[0] = auth->directory;
    options->directories = directories;
    password_warm_up();
    if (gethostname(auth->hostname, sizeof(auth->hostname) - 1) != 0)
        auth->hostname[0] = '\0';
    return true;
}

static void opened(void *arg, bool good, const char *trouble)
{
    struct auth *auth = arg;
    if (!good) {
        log_error("accounts_open_failed", "reason=%s", log_value(slice_str(trouble)).text);
        _exit(1);
    }
    struct auth_counts counts = auth_accounts_counts(auth->accounts);
    auth->hasher = hasher_create(auth->base, (unsigned)auth->settings->auth_threads);
    auth_init(auth);
    for (uint32_t i = 0; i < AUTH_VOLUMES_MAX; i++)
        if (auth->routes[i] != AUTH_NO_WORKER)
            auth_route(auth, i, auth->routes[i]);
    log_info("accounts_open", "accounts=%llu names=%llu damaged=%llu",
             (unsigned long long)counts.accounts, (unsigned long long)counts.names,
             (unsigned long long)counts.damaged);
    child_ready(auth->child);
}

static bool begin(void *state, struct error *error)
{
    struct auth *auth = state;
    struct store_local_options options = {.create = true, .segment_size = SEGMENT};
    if (!store_local_open(auth->base, auth->directory, &options, &auth->store, error))
        return error_prefix(error, "account database");
    auth->accounts = auth_accounts_open(auth->store, opened, auth);
    child_hold(auth->child);
    return true;
}

/* ---- what master and peers say ----------------------------------------------------------------
 */

static void on_volume(void *state, struct ipc_channel *channel, struct ipc_volume *message)
{
    struct auth *auth = state;
    snprintf(auth->directory, sizeof(auth->directory), "%.*s", SLICE_PRINT(message->directory));
}

static void on_route(void *state, struct ipc_channel *channel, struct ipc_route *message)
{
    struct auth *auth = state;
    auth_route(auth, message->volume, message->worker);
    if (auth->hasher != NULL)
        auth_purge_all(auth, message->worker);
}

static void on_auth_start(void *state, struct ipc_channel *channel, struct ipc_auth_start *message)
{
    struct auth *auth = state;
    login_start(auth, channel, message);
    child_tidy(auth->child); /* soon it is over */
}

static void peer_up(void *state, struct ipc_channel *peer)
{
    struct auth *auth = state;
    if (ipc_peer_role(peer) == IPC_DOOR)
        auth_announce(auth, peer);
    else if (ipc_peer_role(peer) == IPC_WORKER)
        auth_purge_all(auth, ipc_peer_index(peer));
}

static void peer_down(void *state, enum ipc_role role, uint32_t index)
{
    struct auth *auth = state;
    if (role == IPC_DOOR)
        logins_of_door_end(auth, index);
}

static void reloaded(void *state)
{
    struct auth *auth = state;
    if (auth->hasher == NULL)
        return;
    auth_settings_read(auth);
    auth_announce(auth, NULL);
}

/* ---- the administrator ------------------------------------------------------------------------
 */

struct asked {
    struct auth *auth;
    uint64_t request;
};

static void answered(void *arg, bool ok, struct slice json)
{
    struct asked *asked = arg;
    child_answer(asked->auth->child, asked->request, ok, false, json);
    auth_check_lost(asked->auth);
    free(asked);
}

/* ---- check: the database verified while it serves ---------------------------------------------
 */

struct check {
    struct auth *auth;
    uint64_t request;
    struct buf json;
};

static void check_finding(void *arg, const struct store_finding *finding)
{
    struct check *check = arg;
    if (check->json.data[check->json.size - 1] == '}')
        buf_add_str(&check->json, ",");
    buf_printf(&check->json,
               "{\"severity\":%d,\"offset\":%llu,\"account\":\"\",\"file\":", finding->severity,
               (unsigned long long)finding->offset);
    child_json_string(&check->json, slice_str(finding->file));
    buf_add_str(&check->json, ",\"text\":");
    child_json_string(&check->json, slice_str(finding->text));
    buf_add_str(&check->json, "}");
}

static void check_done(void *arg)
{
    struct check *check = arg;
    buf_add_str(&check->json, "]}");
    child_answer(check->auth->child, check->request, true, false, buf_slice(&check->json));
    buf_finish(&check->json);
    free(check);
}

static void check_start(struct auth *auth, uint64_t request)
{
    struct check *check = MEM_NEW(struct check);
    struct store_check_options options = {.report = check_finding, .arg = check};
    check->auth = auth;
    check->request = request;
    buf_add_str(&check->json, "{\"findings\":[");
    store_check(auth->store, &options, check_done, check);
}

/* ---- a ticket for the administrator: import and export ----------------------------------------
 *
 * {"name": account, "conn": number of control's choice} -> {"worker": index}, when the worker has
 * the ticket in its hands. No secret is asked for: who may use control's socket may set passwords.
 */

struct pass {
    struct auth *auth;
    uint64_t request;
    uint32_t worker;
};

static void pass_flushed(void *arg)
{
    struct pass *pass = arg;
    char json[40];
    snprintf(json, sizeof(json), "{\"worker\":%u}", pass->worker);
    child_answer(pass->auth->child, pass->request, true, false, slice_str(json));
    free(pass);
}

static void pass_give(struct auth *auth, uint64_t request, struct slice json)
{
    json_t *object = json_loadb((const char *)json.data, json.size, 0, NULL);
    const json_t *name = json_object_get(object, "name");
    struct auth_account account;
    if (!json_is_string(name) ||
        auth_accounts_find(auth->accounts,
                           slice_make(json_string_value(name), json_string_length(name)),
                           &account) != AUTH_FOUND ||
        account.state == AUTH_DELETED) {
        json_decref(object);
        child_answer_error(auth->child, request, "%s", auth_outcome_text(AUTH_UNKNOWN));
        return;
    }
    struct ipc_channel *worker = auth_worker(auth, account.volume);
    struct ipc_ticket ticket = {
        .door = IPC_TICKET_CONTROL,
        .conn = (uint64_t)json_integer_value(json_object_get(object, "conn")),
        .account = account.id,
        .volume = account.volume,
        .quota = account.quota != 0 ? account.quota : auth->settings->quota_default,
        .name = account.name,
        .client = SLICE_LITERAL("local"),
        .protocol = IPC_MOVE,
        .secure = 1};
    json_decref(object);
    if (worker == NULL || !ipc_send_ticket(worker, &ticket)) {
        child_answer_error(auth->child, request,
                           "the process that holds this account's mail is not up; try again");
        return;
    }
    log_info("account_moved", "account=%s", log_value(account.name).text);
    struct pass *pass = MEM_NEW(struct pass);
    *pass = (struct pass){auth, request, auth->routes[account.volume]};
    ipc_when_flushed(worker, pass_flushed, pass);
}

static bool verb(void *state, uint64_t request, struct slice name, struct slice json)
{
    struct auth *auth = state;
    if (slice_equal_str(name, "account-ticket")) {
        pass_give(auth, request, json);
        return true;
    }
    if (slice_equal_str(name, "check")) {
        check_start(auth, request);
        return true;
    }
    struct asked *asked = MEM_NEW(struct asked);
    asked->auth = auth;
    asked->request = request;
    if (admin_request(&auth->admin, name, json, answered, asked))
        return true;
    free(asked);
    return false;
}

static void status(void *state, struct buf *json)
{
    struct auth *auth = state;
    if (auth->hasher == NULL)
        return;
    struct auth_counts counts = auth_accounts_counts(auth->accounts);
    struct hasher_stats hashing = hasher_stats(auth->hasher);
    struct store_stats stats;
    store_stats(auth->store, &stats);
    buf_printf(json,
               ",\"accounts\":%llu,\"enabled\":%llu,\"disabled\":%llu,\"being_deleted\":%llu,"
               "\"without_scram_keys\":%llu,\"damaged\":%llu,\"logins\":%u,\"hashing\":%u,"
               "\"mechanisms\":",
               (unsigned long long)counts.accounts, (unsigned long long)counts.enabled,
               (unsigned long long)counts.disabled, (unsigned long long)counts.deleted,
               (unsigned long long)counts.without_keys, (unsigned long long)counts.damaged,
               auth->login_count, hashing.waiting);
    child_json_string(json, slice_str(auth->announced[0]));
    buf_add_str(json, ",\"trouble\":");
    child_json_string(json, slice_str(stats.trouble));
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void drain_poll(evutil_socket_t fd, short what, void *arg)
{
    struct auth *auth = arg;
    static const struct timeval soon = {0, DRAIN_POLL_US};
    if (auth->accounts != NULL && auth_accounts_busy(auth->accounts)) {
        event_base_once(auth->base, -1, EV_TIMEOUT, drain_poll, auth, &soon);
        return;
    }
    store_close(&auth->store);
    child_finish(auth->child);
}

/* Changes on their way are finished; logins on theirs are the doors' to answer. */
static void drain(void *state)
{
    drain_poll(-1, 0, state);
}

int main(void)
{
    static const struct ipc_handlers handlers = {
        .volume = on_volume,
        .route = on_route,
        .auth_start = on_auth_start,
        .auth_response = login_response,
        .auth_cancel = login_cancel,
        .rcpt_lookup = auth_rcpt_lookup,
        .purged = auth_purged,
    };
    static const struct child_program program = {
        .name = "auth",
        .role = IPC_AUTH,
        .profile = &profile,
        .handlers = &handlers,
        .create = create,
        .warm_up = warm_up,
        .begin = begin,
        .reloaded = reloaded,
        .peer_up = peer_up,
        .peer_down = peer_down,
        .drain = drain,
        .status = status,
        .verb = verb,
    };
    return child_main(&program);
}
