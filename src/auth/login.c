/*
 * One login: SASL exchange, secret checked on a hashing thread or against what is remembered, the
 * wait that failures bring, ticket, answer.
 *
 * Whether an account exists must not show. A name that is not there is checked against the
 * verifier of another account (or given SCRAM keys made from its name), so the work is the same;
 * the delays look only at who asks and for what name; the client hears "wrong name or secret".
 *
 *   START -> [challenge, response]... -> CHECK: hashing -> WAIT: delay -> TICKET: flushed -> done
 */
#include "auth/login.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"

struct login {
    RB_ENTRY(login) link;
    struct auth *auth;
    uint32_t door;
    uint64_t conn;
    uint32_t protocol, secure, worker;
    char client[65], name[321]; /* name: the account's, for IPC_SASL */
    const struct sasl_mechanism *mechanism;
    struct sasl_exchange *exchange;
    struct hash_job *job;
    struct event *delay;
    struct id account; /* zero: the name is nobody's */
    enum ipc_auth_result result;
    const char *reason; /* for the log */
    bool expects;       /* a response from the client */
    bool flushing;      /* the worker's channel will call ticket_flushed() */
    bool gone;          /* the door wants no answer any more */
};

static int login_compare(const struct login *a, const struct login *b)
{
    if (a->door != b->door)
        return a->door < b->door ? -1 : 1;
    return a->conn < b->conn ? -1 : a->conn > b->conn;
}

RB_PROTOTYPE(login_tree, login, link, login_compare)
RB_GENERATE(login_tree, login, link, login_compare)

/* ---- the end of one -------------------------------------------------------------------------- */

static void login_destroy(struct login *login)
{
    if (login->job != NULL)
        hasher_forget(login->job);
    if (login->delay != NULL)
        event_free(login->delay);
    sasl_destroy(&login->exchange);
    free(login);
}

/* Takes it off the list; it goes when nothing calls it back any more. */
static void login_end(struct login *login)
{
    if (!login->gone) {
        RB_REMOVE(login_tree, &login->auth->logins, login);
        login->auth->login_count--;
        login->gone = true;
    }
    if (!login->flushing && login->job == NULL)
        login_destroy(login);
}

static void login_log(const struct login *login)
{
    bool good = login->result == IPC_AUTH_OK;
    counter_add(good ? COUNTER_auth_ok : COUNTER_auth_failed, 1);
    struct log_text name = {"-"}, client = log_value(slice_str(login->client));
    if (login->exchange != NULL && sasl_name(login->exchange).size > 0)
        name = log_value(sasl_name(login->exchange));
    if (good)
        log_info("auth_ok", "account=%s rip=%s mechanism=%s secure=%u", name.text, client.text,
                 login->mechanism->name, login->secure);
    else
        log_info("auth_fail", "account=%s rip=%s mechanism=%s reason=%s", name.text, client.text,
                 login->mechanism == NULL ? "-" : login->mechanism->name, login->reason);
}

/* Answers the door; the login is gone behind it. */
static void login_answer(struct login *login)
{
    struct ipc_channel *door = login->auth->peer(login->auth, IPC_DOOR, login->door);
    if (!login->gone) {
        login_log(login);
        if (door != NULL)
            ipc_send_auth_done(door, &(struct ipc_auth_done){.conn = login->conn,
                                                             .result = login->result,
                                                             .worker = login->worker,
                                                             .final = slice_str(login->name)});
    }
    login_end(login);
}

static void login_refuse(struct login *login, enum ipc_auth_result result, const char *reason)
{
    login->result = result;
    login->reason = reason;
    login_answer(login);
}

/* ---- success --------------------------------------------------------------------------------- */

static void ticket_flushed(void *arg)
{
    struct login *login = arg;
    login->flushing = false;
    login_answer(login);
}

static void ticket_send(struct login *login)
{
    struct auth *auth = login->auth;
    struct auth_account account;
    if (!auth_accounts_find_id(auth->accounts, login->account, &account) ||
        account.state != AUTH_ENABLED) {
        login_refuse(login, IPC_AUTH_BAD_SECRET, "disabled");
        return;
    }
    if (login->protocol == IPC_SASL) { /* it asks; it gets no mail */
        snprintf(login->name, sizeof(login->name), "%.*s", SLICE_PRINT(account.name));
        login_answer(login);
        return;
    }
    struct ipc_channel *worker = auth_worker(auth, account.volume);
    struct ipc_ticket ticket = {.door = login->door,
                                .conn = login->conn,
                                .account = account.id,
                                .volume = account.volume,
                                .quota = account.quota != 0 ? account.quota
                                                            : auth->settings->quota_default,
                                .name = account.name,
                                .client = slice_str(login->client),
                                .protocol = login->protocol,
                                .secure = login->secure};
    if (worker == NULL || !ipc_send_ticket(worker, &ticket)) {
        login_refuse(login, IPC_AUTH_UNAVAILABLE, "worker");
        return;
    }
    login->worker = auth->routes[account.volume];
    login->flushing = true;
    ipc_when_flushed(worker, ticket_flushed, login);
}

/* ---- the wait that failures bring ------------------------------------------------------------ */

static void login_waited(evutil_socket_t fd, short what, void *arg)
{
    struct login *login = arg;
    if (login->result == IPC_AUTH_OK)
        ticket_send(login);
    else
        login_answer(login);
}

/* The secret was right or wrong; result and reason are set. */
static void login_judged(struct login *login)
{
    struct auth *auth = login->auth;
    struct slice address = slice_str(login->client), name = sasl_name(login->exchange);
    uint32_t most = (uint32_t)auth->settings->auth_penalty_max * 1000, ms;
    if (login->result == IPC_AUTH_OK) {
        ms = remember_delay_ms(auth->remember, address, name, most);
        remember_success(auth->remember, address, name);
    } else {
        remember_failure(auth->remember, address, name);
        ms = remember_delay_ms(auth->remember, address, name, most);
    }
    if (login->gone) { /* hung up while we hashed: a guess counts all the same */
        login_end(login);
        return;
    }
    if (ms == 0) {
        login_waited(-1, 0, login);
        return;
    }
    struct timeval wait = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    login->delay = evtimer_new(auth->base, login_waited, login);
    evtimer_add(login->delay, &wait);
}

static void login_failed(struct login *login, const char *reason)
{
    login->result = IPC_AUTH_BAD_SECRET;
    login->reason = reason;
    login_judged(login);
}

static void login_proven(struct login *login)
{
    login->result = IPC_AUTH_OK;
    login_judged(login);
}

/* ---- the secret ------------------------------------------------------------------------------ */

struct new_keys {
    struct auth *auth;
    struct auth_edit edit;
    struct sasl_scram_keys keys;
    char verifier[PASSWORD_VERIFIER_MAX];
};

static void keys_stored(void *arg)
{
    struct new_keys *keys = arg;
    auth_check_lost(keys->auth);
    auth_announce(keys->auth, NULL);
    mem_wipe(keys, sizeof(*keys));
    free(keys);
}

/* An imported account has logged in with its password: from now on it has SCRAM keys. */
static void keys_store(struct auth *auth, const struct auth_account *account,
                       const struct sasl_scram_keys *made)
{
    struct new_keys *keys = MEM_NEW(struct new_keys);
    keys->auth = auth;
    keys->keys = *made;
    memcpy(keys->verifier, account->verifier.data, account->verifier.size);
    keys->edit = (struct auth_edit){.kind = AUTH_EDIT_KEYS,
                                    .id = account->id,
                                    .keys = &keys->keys,
                                    .verifier = slice_make(keys->verifier, account->verifier.size)};
    auth_accounts_change(auth->accounts, &keys->edit, 1, keys_stored, keys);
}

/* Those who wait with the secret that has just been proven need no hash of their own: after a
 * restart, all the connections of a mail program come at once. */
static void others_proven(struct auth *auth, struct id account)
{
    struct login *login, *next;
    RB_FOREACH_SAFE (login, login_tree, &auth->logins, next) {
        if (login->job != NULL && id_equal(login->account, account) &&
            remember_secret_known(auth->remember, account, sasl_secret(login->exchange),
                                  auth->settings->auth_cache)) {
            hasher_forget(login->job);
            login->job = NULL;
            counter_add(COUNTER_auth_cached, 1);
            login_proven(login);
        }
    }
}

static void login_hashed(void *arg, const struct hash_result *result)
{
    struct login *login = arg;
    struct auth *auth = login->auth;
    struct auth_account account;
    login->job = NULL;
    if (!auth_accounts_find_id(auth->accounts, login->account, &account)) {
        login_failed(login, "unknown");
    } else if (!result->match) {
        login_failed(login, "secret");
    } else if (account.state != AUTH_ENABLED) {
        login_failed(login, "disabled");
    } else {
        remember_secret(auth->remember, account.id, sasl_secret(login->exchange));
        if (result->has_keys && account.verifier.size < PASSWORD_VERIFIER_MAX)
            keys_store(auth, &account, &result->keys);
        login_proven(login);
        others_proven(auth, account.id);
    }
}

/* The account of the name, if there is one; login->account says so. False: it was answered. */
static bool login_find(struct login *login, struct auth_account *account)
{
    struct auth *auth = login->auth;
    enum auth_found found =
        auth_accounts_login(auth->accounts, &auth->names, sasl_name(login->exchange), account);
    if (found == AUTH_UNREADABLE) {
        login_refuse(login, IPC_AUTH_UNAVAILABLE, "damaged");
        return false;
    }
    memset(&login->account, 0, sizeof(login->account));
    if (found == AUTH_FOUND)
        login->account = account->id;
    return true;
}

static void login_check(struct login *login)
{
    struct auth *auth = login->auth;
    struct auth_account account;
    if (!login_find(login, &account))
        return;
    bool known = !id_is_zero(login->account);
    struct hash_ask ask = {.kind = HASH_VERIFY,
                           .owner = slice_str(login->client),
                           .secret = sasl_secret(login->exchange)};
    if (known && account.state == AUTH_ENABLED &&
        remember_secret_known(auth->remember, account.id, ask.secret, auth->settings->auth_cache)) {
        counter_add(COUNTER_auth_cached, 1);
        login_proven(login);
        return;
    }
    ask.verifier =
        known ? account.verifier : auth_accounts_decoy(auth->accounts, sasl_name(login->exchange));
    ask.want_keys = known && account.state == AUTH_ENABLED && !account.has_keys;
    login->job = hasher_submit(auth->hasher, &ask, login_hashed, login);
    if (login->job == NULL)
        login_refuse(login, IPC_AUTH_UNAVAILABLE, "busy");
}

/* Keys that look like an account's and are the same whenever this name is asked for. */
static void keys_decoy(struct auth *auth, struct slice name, struct sasl_scram_keys *keys)
{
    uint8_t hash[32];
    char folded[SASL_NAME_MAX];
    for (size_t i = 0; i < name.size; i++)
        folded[i] = (char)ascii_lower(name.data[i]);
    auth_accounts_hash(auth->accounts, "scram salt", slice_make(folded, name.size), hash);
    memset(keys, 0, sizeof(*keys));
    keys->iterations = PASSWORD_SCRAM_ITERATIONS;
    keys->salt_size = 16;
    memcpy(keys->salt, hash, 16);
    id_random_bytes(keys->stored_key, sizeof(keys->stored_key));
    id_random_bytes(keys->server_key, sizeof(keys->server_key));
}

/* False: it was answered. */
static bool login_keys(struct login *login, enum sasl_step *step)
{
    struct auth_account account;
    struct sasl_scram_keys decoy;
    if (!login_find(login, &account))
        return false;
    bool usable = !id_is_zero(login->account) && account.state == AUTH_ENABLED && account.has_keys;
    if (!usable) {
        memset(&login->account, 0, sizeof(login->account));
        keys_decoy(login->auth, sasl_name(login->exchange), &decoy);
    }
    *step = sasl_scram_continue(login->exchange, usable ? &account.keys : &decoy);
    return true;
}

/* ---- the exchange ---------------------------------------------------------------------------- */

static void login_step(struct login *login, enum sasl_step step)
{
    struct auth *auth = login->auth;
    if (step == SASL_KEYS && !login_keys(login, &step))
        return;
    switch (step) {
    case SASL_CHALLENGE: {
        struct ipc_channel *door = auth->peer(auth, IPC_DOOR, login->door);
        login->expects = true;
        if (door != NULL)
            ipc_send_auth_challenge(
                door, &(struct ipc_auth_challenge){.conn = login->conn,
                                                   .data = sasl_output(login->exchange)});
        return;
    }
    case SASL_CHECK:
        login_check(login);
        return;
    case SASL_PROVEN:
        login_proven(login);
        return;
    case SASL_WRONG:
        login_failed(login, "secret");
        return;
    case SASL_MALFORMED:
        login_refuse(login, IPC_AUTH_BAD_MESSAGE, "malformed");
        return;
    case SASL_KEYS: /* never twice */
    case SASL_TROUBLE:
        login_refuse(login, IPC_AUTH_UNAVAILABLE, "library");
        return;
    }
}

static struct login *login_get(struct auth *auth, struct ipc_channel *channel, uint64_t conn)
{
    struct login key = {.door = ipc_peer_index(channel), .conn = conn};
    return RB_FIND(login_tree, &auth->logins, &key);
}

static unsigned logins_of_door(struct auth *auth, uint32_t door)
{
    if (auth->login_count <= LOGINS_OF_DOOR_MAX)
        return 0; /* no door can have more */
    unsigned count = 0;
    struct login *login;
    RB_FOREACH (login, login_tree, &auth->logins)
        count += login->door == door;
    return count;
}

void login_start(void *context, struct ipc_channel *channel, struct ipc_auth_start *message)
{
    struct auth *auth = context;
    struct login *login = login_get(auth, channel, message->conn);
    if (login != NULL)
        login_end(login); /* one exchange at a time for a connection: the new one counts */
    login = MEM_NEW(struct login);
    login->auth = auth;
    login->door = ipc_peer_index(channel);
    login->conn = message->conn;
    login->protocol = message->protocol;
    login->secure = message->secure != 0;
    snprintf(login->client, sizeof(login->client), "%.*s", SLICE_PRINT(message->client));
    RB_INSERT(login_tree, &auth->logins, login);
    auth->login_count++;
    const struct sasl_mechanism *mechanism = sasl_mechanism_find(message->mechanism);
    login->mechanism = mechanism;
    if (mechanism == NULL || (mechanism->needs_keys && !auth_scram_on(auth)) ||
        (mechanism->binds && message->exporter.size != SASL_KEY_SIZE)) {
        login->mechanism = NULL;
        login_refuse(login, IPC_AUTH_NO_MECHANISM, "mechanism");
    } else if (mechanism->shows_secret && !login->secure &&
               !login_clear_allowed(auth, message->client)) {
        login_refuse(login, IPC_AUTH_NOT_SECURE, "clear_text");
    } else if (logins_of_door(auth, login->door) > LOGINS_OF_DOOR_MAX) {
        login_refuse(login, IPC_AUTH_UNAVAILABLE, "busy");
    } else {
        enum sasl_step step;
        struct slice initial = message->initial;
        if (message->has_initial == 0)
            initial = SLICE_NONE;
        else if (initial.data == NULL)
            initial = SLICE_LITERAL("");
        login->exchange = sasl_start(mechanism, message->exporter, initial, &step);
        login_step(login, step);
    }
}

void login_response(void *context, struct ipc_channel *channel, struct ipc_auth_response *message)
{
    struct login *login = login_get(context, channel, message->conn);
    if (login == NULL || !login->expects)
        return; /* the answer and this have crossed */
    login->expects = false;
    login_step(login, sasl_respond(login->exchange, message->data));
}

void login_cancel(void *context, struct ipc_channel *channel, struct ipc_auth_cancel *message)
{
    struct login *login = login_get(context, channel, message->conn);
    if (login != NULL && login->expects)
        login_refuse(login, IPC_AUTH_CANCELLED, "cancelled");
    else if (login != NULL)
        login_end(login);
}

/* ---- many ------------------------------------------------------------------------------------ */

void logins_of_door_end(struct auth *auth, uint32_t door)
{
    struct login *login, *next;
    for (login = RB_MIN(login_tree, &auth->logins); login != NULL; login = next) {
        next = RB_NEXT(login_tree, &auth->logins, login);
        if (login->door == door)
            login_end(login);
    }
}

void logins_revoke(struct auth *auth, struct id account)
{
    struct login *login;
    RB_FOREACH (login, login_tree, &auth->logins)
        if (id_equal(login->account, account)) {
            /* What was proven, or is being checked, was proven of the old secret. */
            memset(&login->account, 0, sizeof(login->account));
            login->reason = "revoked";
        }
}

void logins_end(struct auth *auth)
{
    struct login *login;
    while ((login = RB_MIN(login_tree, &auth->logins)) != NULL)
        login_end(login);
}
