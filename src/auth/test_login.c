/*
 * Logins from the outside: a door and a worker made of the other ends of real channels. What is
 * counted is work (jobs of the hashing threads), never time.
 */
#include <sys/socket.h>

#include "auth/auth.h"
#include "auth/login.h"
#include "auth/test_db.h"
#include "base/buf.h"
#include "io/fd.h"

struct rig {
    struct db *db;
    struct auth auth;
    struct settings settings;
    struct ipc_channel *door_side, *worker_side; /* auth's ends */
    struct ipc_channel *door, *worker;
    int challenges, done, tickets, ended, purges, found_count;
    char challenge[600], mechanisms[2][200];
    struct ipc_auth_done last;
    struct ipc_rcpt_found found;
    struct id ticket_account, ended_account;
    bool ticket_first; /* the ticket was there when auth_done came */
};

static void on_challenge(void *context, struct ipc_channel *c, struct ipc_auth_challenge *m)
{
    struct rig *rig = context;
    rig->challenges++;
    snprintf(rig->challenge, sizeof(rig->challenge), "%.*s", SLICE_PRINT(m->data));
}

static void on_done(void *context, struct ipc_channel *c, struct ipc_auth_done *m)
{
    struct rig *rig = context;
    rig->done++;
    rig->last = *m;
    ipc_drain(rig->worker);
    rig->ticket_first = rig->tickets > 0;
}

static void on_mechanisms(void *context, struct ipc_channel *c, struct ipc_auth_mechanisms *m)
{
    struct rig *rig = context;
    snprintf(rig->mechanisms[0], 200, "%.*s", SLICE_PRINT(m->secure));
    snprintf(rig->mechanisms[1], 200, "%.*s", SLICE_PRINT(m->clear));
}

static void on_found(void *context, struct ipc_channel *c, struct ipc_rcpt_found *m)
{
    struct rig *rig = context;
    rig->found = *m;
    rig->found_count++;
}

static void on_ticket(void *context, struct ipc_channel *c, struct ipc_ticket *m)
{
    struct rig *rig = context;
    rig->tickets++;
    rig->ticket_account = m->account;
}

static void on_end(void *context, struct ipc_channel *c, struct ipc_end_sessions *m)
{
    struct rig *rig = context;
    rig->ended++;
    rig->ended_account = m->account;
}

static void on_purge(void *context, struct ipc_channel *c, struct ipc_purge *m)
{
    struct rig *rig = context;
    rig->purges++;
    ipc_send_purged(c, &(struct ipc_purged){.account = m->account});
}

static void on_closed(void *context, struct ipc_channel *c)
{
    fail_msg("a channel was closed");
}

static struct ipc_channel *rig_peer(struct auth *auth, enum ipc_role role, uint32_t index)
{
    struct rig *rig = (struct rig *)((char *)auth - offsetof(struct rig, auth));
    return index != 0 ? NULL : role == IPC_DOOR ? rig->door_side : rig->worker_side;
}

static uint32_t rig_limit(struct auth *auth, enum ipc_role role)
{
    return 1;
}

static void channels(struct rig *rig, enum ipc_role role, struct ipc_channel **ours,
                     struct ipc_channel **theirs)
{
    static const struct ipc_handlers auth_handlers = {.auth_start = login_start,
                                                      .auth_response = login_response,
                                                      .auth_cancel = login_cancel,
                                                      .rcpt_lookup = auth_rcpt_lookup,
                                                      .purged = auth_purged,
                                                      .closed = on_closed};
    static const struct ipc_handlers peer_handlers = {.auth_challenge = on_challenge,
                                                      .auth_done = on_done,
                                                      .auth_mechanisms = on_mechanisms,
                                                      .rcpt_found = on_found,
                                                      .ticket = on_ticket,
                                                      .end_sessions = on_end,
                                                      .purge = on_purge,
                                                      .closed = on_closed};
    int pair[2];
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    *ours = ipc_open(rig->db->base, pair[0], IPC_AUTH, role, 0, &auth_handlers, &rig->auth);
    *theirs = ipc_open(rig->db->base, pair[1], role, IPC_AUTH, 0, &peer_handlers, rig);
}

static struct rig *rig_create(void)
{
    struct rig *rig = MEM_NEW(struct rig);
    rig->db = db_create();
    settings_defaults(&rig->settings);
    rig->auth.base = rig->db->base;
    rig->auth.settings = &rig->settings;
    rig->auth.accounts = rig->db->accounts;
    rig->auth.peer = rig_peer;
    rig->auth.peer_limit = rig_limit;
    rig->auth.hasher = hasher_create(rig->db->base, 2);
    strcpy(rig->auth.hostname, "mail.example.net");
    for (size_t i = 0; i < AUTH_VOLUMES_MAX; i++)
        rig->auth.routes[i] = AUTH_NO_WORKER;
    auth_init(&rig->auth);
    auth_route(&rig->auth, 0, 0);
    channels(rig, IPC_DOOR, &rig->door_side, &rig->door);
    channels(rig, IPC_WORKER, &rig->worker_side, &rig->worker);
    auth_announce(&rig->auth, rig->door_side);
    return rig;
}

static void rig_destroy(struct rig *rig)
{
    hasher_destroy(&rig->auth.hasher);
    auth_finish(&rig->auth);
    ipc_close(&rig->door_side);
    ipc_close(&rig->worker_side);
    ipc_close(&rig->door);
    ipc_close(&rig->worker);
    db_destroy(rig->db);
    free(rig);
}

static void turn(struct rig *rig)
{
    event_base_loop(rig->db->base, EVLOOP_ONCE);
}

struct reply {
    bool came, ok;
    char json[4000];
};

static void on_answer(void *arg, bool ok, struct slice json)
{
    struct reply *reply = arg;
    reply->came = true;
    reply->ok = ok;
    snprintf(reply->json, sizeof(reply->json), "%.*s", SLICE_PRINT(json));
}

static struct reply admin(struct rig *rig, const char *verb, const char *json)
{
    struct reply reply = {0};
    assert_true(
        admin_request(&rig->auth.admin, slice_str(verb), slice_str(json), on_answer, &reply));
    while (!reply.came || auth_accounts_busy(rig->auth.accounts))
        turn(rig);
    return reply;
}

static uint64_t verifications(struct rig *rig)
{
    return hasher_stats(rig->auth.hasher).jobs[HASH_VERIFY];
}

static void start(struct rig *rig, uint64_t conn, const char *client, bool secure,
                  const char *mechanism, struct slice initial)
{
    ipc_send_auth_start(rig->door, &(struct ipc_auth_start){.conn = conn,
                                                            .secure = secure,
                                                            .client = slice_str(client),
                                                            .mechanism = slice_str(mechanism),
                                                            .has_initial = initial.data != NULL,
                                                            .initial = initial});
}

static struct slice plain(const char *name, const char *secret)
{
    static char text[600];
    int size = snprintf(text, sizeof(text), "%c%s%c%s", 0, name, 0, secret);
    return slice_make(text, (size_t)size);
}

/* A PLAIN login to its end, from an address of its own each time unless one is given. */
static enum ipc_auth_result login(struct rig *rig, const char *name, const char *secret,
                                  const char *client)
{
    static unsigned n;
    char address[40];
    snprintf(address, sizeof(address), "198.51.%u.%u", n / 200 % 200, n % 200);
    n++;
    int done = rig->done;
    start(rig, 1000 + n, client != NULL ? client : address, true, "PLAIN", plain(name, secret));
    while (rig->done == done)
        turn(rig);
    return rig->last.result;
}

static void test_plain(void **state)
{
    struct rig *rig = rig_create();
    rig->settings.auth_penalty_max = 0; /* the waits have tests of their own */
    assert_true(admin(rig, "account-add", "{\"name\":\"alice\",\"password\":\"secret\"}").ok);
    assert_int_equal(login(rig, "alice", "secret", NULL), IPC_AUTH_OK);
    assert_true(rig->ticket_first);
    assert_int_equal(rig->tickets, 1);
    struct auth_account alice;
    assert_int_equal(auth_accounts_find(rig->auth.accounts, S("alice"), &alice), AUTH_FOUND);
    assert_true(id_equal(rig->ticket_account, alice.id));
    /* Remembered: no second hash; another secret is no reason to believe it. */
    uint64_t before = verifications(rig);
    assert_int_equal(login(rig, "ALICE@localhost", "secret", NULL), IPC_AUTH_OK);
    assert_int_equal(verifications(rig), before);
    assert_int_equal(login(rig, "alice", "Secret", NULL), IPC_AUTH_BAD_SECRET);
    assert_int_equal(verifications(rig), before + 1);
    /* A changed password: the old one is worth nothing at once, sessions end. */
    assert_true(admin(rig, "account-passwd", "{\"name\":\"alice\",\"password\":\"new\"}").ok);
    assert_int_equal(login(rig, "alice", "secret", NULL), IPC_AUTH_BAD_SECRET);
    assert_int_equal(login(rig, "alice", "new", NULL), IPC_AUTH_OK);
    assert_int_equal(rig->ended, 1);
    assert_true(id_equal(rig->ended_account, alice.id));
    assert_true(admin(rig, "account-disable", "{\"name\":\"alice\"}").ok);
    assert_int_equal(login(rig, "alice", "new", NULL), IPC_AUTH_BAD_SECRET);
    assert_int_equal(rig->ended, 2);
    assert_true(admin(rig, "account-enable", "{\"name\":\"alice\"}").ok);
    assert_int_equal(login(rig, "alice", "new", NULL), IPC_AUTH_OK);
    rig_destroy(rig);
}

/* Many connections of one mail program at once: those that wait when the secret is proven need no
 * verification of their own. Two threads, so at most two have begun. */
static void test_all_at_once(void **state)
{
    struct rig *rig = rig_create();
    assert_true(admin(rig, "account-add", "{\"name\":\"alice\",\"password\":\"secret\"}").ok);
    uint64_t before = verifications(rig);
    for (uint64_t conn = 1; conn <= 40; conn++)
        start(rig, conn, "192.0.2.7", true, "PLAIN", plain("alice", "secret"));
    while (rig->done < 40)
        turn(rig);
    assert_int_equal(rig->tickets, 40);
    assert_true(verifications(rig) - before <= 2);
    /* A wrong secret among them is not taken along. */
    start(rig, 50, "192.0.2.7", true, "PLAIN", plain("alice", "wrong"));
    start(rig, 51, "192.0.2.7", true, "PLAIN", plain("alice", "secret"));
    while (rig->done < 42)
        turn(rig);
    assert_int_equal(rig->tickets, 41);
    rig_destroy(rig);
}

/* One verification for every failure, whatever its cause: the work tells nothing. */
static void test_same_work(void **state)
{
    struct rig *rig = rig_create();
    rig->settings.auth_penalty_max = 0;
    static const char *const hash = "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=";
    char json[300];
    snprintf(json, sizeof(json), "{\"name\":\"alice\",\"hash\":\"%s\"}", hash);
    assert_true(admin(rig, "account-add", json).ok);
    assert_true(admin(rig, "account-add", "{\"name\":\"bob\",\"password\":\"x\"}").ok);
    assert_true(admin(rig, "account-disable", "{\"name\":\"bob\"}").ok);
    static const char *const names[] = {"alice", "bob", "nobody", "nobody@example.org"};
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < 4; i++) {
            uint64_t before = verifications(rig);
            assert_int_equal(login(rig, names[i], i == 1 ? "x" : "wrong", NULL),
                             IPC_AUTH_BAD_SECRET);
            assert_int_equal(verifications(rig), before + 1);
        }
    rig_destroy(rig);
}

/* SCRAM is announced while every enabled account has keys; an imported one gets them at PLAIN. */
static void test_keys(void **state)
{
    struct rig *rig = rig_create();
    rig->settings.auth_penalty_max = 0;
    assert_true(admin(rig, "account-add", "{\"name\":\"bob\",\"password\":\"x\"}").ok);
    assert_string_equal(rig->mechanisms[0], "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN");
    assert_string_equal(rig->mechanisms[1], "SCRAM-SHA-256");
    assert_true(admin(rig, "account-add",
                      "{\"name\":\"alice\",\"hash\":\"{SHA256}"
                      "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=\"}")
                    .ok);
    while (strcmp(rig->mechanisms[0], "PLAIN LOGIN") != 0)
        turn(rig);
    assert_string_equal(rig->mechanisms[1], "");
    int done = rig->done;
    start(rig, 1, "192.0.2.1", true, "SCRAM-SHA-256", S("n,,n=bob,r=abc"));
    while (rig->done == done)
        turn(rig);
    assert_int_equal(rig->last.result, IPC_AUTH_NO_MECHANISM);
    assert_int_equal(login(rig, "alice", "secret", NULL), IPC_AUTH_OK);
    while (strcmp(rig->mechanisms[1], "SCRAM-SHA-256") != 0)
        turn(rig);
    struct auth_account alice;
    auth_accounts_find(rig->auth.accounts, S("alice"), &alice);
    assert_true(alice.has_keys);
    assert_true(sasl_scram_matches(S("secret"), &alice.keys));
    assert_true(slice_starts(alice.verifier, S("{SHA256}"))); /* the hash stays as it came */
    rig_destroy(rig);
}

static void scram_first(struct rig *rig, uint64_t conn, const char *client, const char *first)
{
    int challenges = rig->challenges;
    start(rig, conn, client, true, "SCRAM-SHA-256", slice_str(first));
    while (rig->challenges == challenges)
        turn(rig);
}

/* A name that is not there gets a salt, the same each time, and a wrong proof at the end. */
static void test_scram_unknown(void **state)
{
    struct rig *rig = rig_create();
    rig->settings.auth_penalty_max = 0;
    char salts[3][100];
    static const char *const first[] = {"n,,n=nobody,r=abc", "n,,n=NoBody,r=abc",
                                        "n,,n=other,r=abc"};
    for (int i = 0; i < 3; i++) {
        scram_first(rig, (uint64_t)i, "192.0.2.1", first[i]);
        char *salt = strstr(rig->challenge, ",s=");
        assert_non_null(salt);
        snprintf(salts[i], sizeof(salts[i]), "%s", salt);
    }
    assert_string_equal(salts[0], salts[1]);
    assert_string_not_equal(salts[0], salts[2]);
    char final[400];
    char *end = strchr(rig->challenge, ',');
    snprintf(final, sizeof(final), "c=biws,%.*s,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
             (int)(end - rig->challenge), rig->challenge);
    ipc_send_auth_response(rig->door,
                           &(struct ipc_auth_response){.conn = 2, .data = slice_str(final)});
    int done = rig->done;
    while (rig->done == done)
        turn(rig);
    assert_int_equal(rig->last.result, IPC_AUTH_BAD_SECRET);
    /* A client that gives up. */
    ipc_send_auth_cancel(rig->door, &(struct ipc_auth_cancel){.conn = 0});
    done = rig->done;
    while (rig->done == done)
        turn(rig);
    assert_int_equal(rig->last.result, IPC_AUTH_CANCELLED);
    assert_int_equal(rig->auth.login_count, 1);
    logins_of_door_end(&rig->auth, 0);
    assert_int_equal(rig->auth.login_count, 0);
    rig_destroy(rig);
}

/* Where a secret may travel in the clear. */
static void test_clear(void **state)
{
    struct rig *rig = rig_create();
    rig->settings.auth_penalty_max = 0;
    assert_true(admin(rig, "account-add", "{\"name\":\"alice\",\"password\":\"secret\"}").ok);
    static const struct {
        const char *client, *clear;
        enum ipc_auth_result result;
    } rows[] = {{"192.0.2.1", "no", IPC_AUTH_NOT_SECURE},
                {"127.0.0.1", "no", IPC_AUTH_OK},
                {"::1", "no", IPC_AUTH_OK},
                {"unix", "no", IPC_AUTH_OK},
                {"2001:db8::1", "no", IPC_AUTH_NOT_SECURE},
                {"192.0.2.1", "yes", IPC_AUTH_OK}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(
            settings_set(&rig->settings, S("auth_plain_clear"), slice_str(rows[i].clear), NULL));
        int done = rig->done;
        start(rig, i, rows[i].client, false, "PLAIN", plain("alice", "secret"));
        while (rig->done == done)
            turn(rig);
        assert_int_equal(rig->last.result, rows[i].result);
    }
    auth_announce(&rig->auth, NULL);
    while (strcmp(rig->mechanisms[1], "SCRAM-SHA-256 PLAIN LOGIN") != 0)
        turn(rig);
    rig_destroy(rig);
}

/* Guessing from one address makes that address wait and nobody else; hanging up does not help. */
static void test_penalty(void **state)
{
    struct rig *rig = rig_create();
    assert_true(admin(rig, "account-add", "{\"name\":\"alice\",\"password\":\"secret\"}").ok);
    uint64_t before = verifications(rig);
    for (uint64_t i = 0; i < 3; i++) {
        start(rig, i, "192.0.2.9", true, "PLAIN", plain("alice", "guess"));
        while (rig->auth.login_count == 0)
            turn(rig);
        ipc_send_auth_cancel(rig->door, &(struct ipc_auth_cancel){.conn = i});
        while (rig->auth.login_count > 0 || verifications(rig) < before + i + 1)
            turn(rig);
    }
    assert_int_equal(rig->done, 0);
    assert_int_equal(remember_delay_ms(rig->auth.remember, S("192.0.2.9"), S("alice"), 15000),
                     4000);
    assert_int_equal(login(rig, "alice", "secret", "192.0.2.10"), IPC_AUTH_OK);
    /* The right secret from the address that guessed: after the wait, not before. */
    start(rig, 77, "192.0.2.9", true, "PLAIN", plain("alice", "secret"));
    while (rig->auth.login_count == 0)
        turn(rig);
    for (int i = 0; i < 50; i++)
        event_base_loop(rig->db->base, EVLOOP_NONBLOCK);
    assert_int_equal(rig->done, 1);
    assert_int_equal(rig->auth.login_count, 1);
    rig_destroy(rig);
}

static enum ipc_rcpt_result lookup(struct rig *rig, const char *address)
{
    int before = rig->found_count;
    ipc_send_rcpt_lookup(rig->door,
                         &(struct ipc_rcpt_lookup){.request = 1, .address = slice_str(address)});
    while (rig->found_count == before)
        turn(rig);
    return rig->found.result;
}

static void test_recipients(void **state)
{
    struct rig *rig = rig_create();
    rig->settings.quota_default = 777;
    assert_true(admin(rig, "account-add",
                      "{\"name\":\"alice\",\"password\":\"x\",\"quota\":\"1G\","
                      "\"aliases\":[\"info@example.org\"]}")
                    .ok);
    assert_true(admin(rig, "account-add", "{\"name\":\"bob\",\"password\":\"x\"}").ok);
    assert_int_equal(lookup(rig, "info+a@example.org"), IPC_RCPT_OK);
    assert_int_equal(rig->found.quota, 1 << 30);
    assert_int_equal(lookup(rig, "bob@localhost"), IPC_RCPT_OK);
    assert_int_equal(rig->found.quota, 777);
    assert_int_equal(lookup(rig, "carol@localhost"), IPC_RCPT_UNKNOWN);
    assert_int_equal(lookup(rig, "@"), IPC_RCPT_BAD_ADDRESS);
    assert_true(admin(rig, "account-disable", "{\"name\":\"bob\"}").ok);
    assert_int_equal(lookup(rig, "bob"), IPC_RCPT_DISABLED);
    rig->auth.routes[0] = AUTH_NO_WORKER;
    assert_int_equal(lookup(rig, "alice"), IPC_RCPT_UNAVAILABLE);
    rig_destroy(rig);
}

static void test_delete(void **state)
{
    struct rig *rig = rig_create();
    rig->settings.auth_penalty_max = 0;
    assert_true(admin(rig, "account-add", "{\"name\":\"alice\",\"password\":\"x\"}").ok);
    assert_int_equal(login(rig, "alice", "x", NULL), IPC_AUTH_OK);
    rig->auth.routes[0] = AUTH_NO_WORKER; /* its worker is away */
    assert_true(admin(rig, "account-delete", "{\"name\":\"alice\"}").ok);
    assert_int_equal(login(rig, "alice", "x", NULL), IPC_AUTH_BAD_SECRET);
    assert_int_equal(auth_accounts_counts(rig->auth.accounts).deleted, 1);
    /* Another worker, broken into, says that it has wiped it. */
    struct id deleted = rig->ticket_account;
    rig->auth.routes[0] = 5;
    ipc_send_purged(rig->worker, &(struct ipc_purged){.account = deleted});
    ipc_drain(rig->worker_side);
    for (int i = 0; i < 100; i++)
        event_base_loop(rig->db->base, EVLOOP_NONBLOCK);
    assert_false(auth_accounts_busy(rig->auth.accounts));
    assert_int_equal(auth_accounts_counts(rig->auth.accounts).deleted, 1);
    rig->auth.routes[0] = AUTH_NO_WORKER;
    auth_route(&rig->auth, 0, 0);
    auth_purge_all(&rig->auth, 0); /* it is back */
    while (auth_accounts_counts(rig->auth.accounts).deleted > 0)
        turn(rig);
    assert_int_equal(rig->purges, 1);
    struct reply reply = admin(rig, "account-delete", "{\"name\":\"alice\"}");
    assert_false(reply.ok);
    assert_non_null(strstr(reply.json, "no such account"));
    rig_destroy(rig);
}

int main(void)
{
    password_warm_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_same_work),     cmocka_unit_test(test_keys),
        cmocka_unit_test(test_scram_unknown), cmocka_unit_test(test_clear),
        cmocka_unit_test(test_penalty),       cmocka_unit_test(test_recipients),
        cmocka_unit_test(test_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
