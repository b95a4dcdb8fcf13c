/* The verbs on accounts, and import: what is taken, what is named, that a repeat changes nothing.
 */
#include "auth/admin_priv.h"
#include "auth/test_db.h"

struct rig {
    struct db *db;
    struct admin_host host;
    int revoked, deleted;
};

static void on_revoked(void *arg, struct id account, uint32_t volume, const char *reason)
{
    ((struct rig *)arg)->revoked++;
}

static void on_deleted(void *arg, struct id account, uint32_t volume)
{
    ((struct rig *)arg)->deleted++;
}

static struct rig *rig_create(void)
{
    struct rig *rig = MEM_NEW(struct rig);
    rig->db = db_create();
    rig->host = (struct admin_host){.accounts = rig->db->accounts,
                                    .hasher = hasher_create(rig->db->base, 2),
                                    .revoked = on_revoked,
                                    .deleted = on_deleted,
                                    .arg = rig};
    return rig;
}

static void rig_destroy(struct rig *rig)
{
    hasher_destroy(&rig->host.hasher);
    db_destroy(rig->db);
    free(rig);
}

static char reply_text[100000];
static int reply_ok;

static void on_answer(void *arg, bool ok, struct slice json)
{
    reply_ok = ok;
    snprintf(reply_text, sizeof(reply_text), "%.*s", SLICE_PRINT(json));
}

/* The answer; valid until the next. */
static const char *ask(struct rig *rig, const char *verb, const char *json)
{
    reply_ok = -1;
    assert_true(admin_request(&rig->host, slice_str(verb), slice_str(json), on_answer, NULL));
    while (reply_ok < 0 || auth_accounts_busy(rig->db->accounts))
        event_base_loop(rig->db->base, EVLOOP_ONCE);
    return reply_text;
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no %s in %s", part, text);
}

static void test_verbs(void **state)
{
    struct rig *rig = rig_create();
    has(ask(rig, "account-add",
            "{\"name\":\"alice@example.org\",\"password\":\"x\",\"quota\":\"2G\","
            "\"aliases\":[\"info@example.org\",\"@example.org\"]}"),
        "\"volume\":0");
    assert_int_equal(reply_ok, 1);
    has(ask(rig, "account-add", "{\"name\":\"ALICE@example.org\",\"password\":\"x\"}"), "already");
    assert_int_equal(reply_ok, 0);
    has(ask(rig, "account-add", "{\"name\":\"a b\",\"password\":\"x\"}"), "no name");
    has(ask(rig, "account-add", "{\"name\":\"bob\",\"password\":\"\"}"), "1 to 1024");
    has(ask(rig, "account-add", "{\"name\":\"bob\"}"), "1 to 1024");
    has(ask(rig, "account-add", "{\"name\":\"bob\",\"hash\":\"{NO}x\"}"),
        "unknown password scheme");
    has(ask(rig, "account-add", "{\"name\":\"bob\",\"password\":\"x\",\"quota\":\"much\"}"),
        "quota is a number");
    has(ask(rig, "account-add", "{\"password\":\"x\"}"), "needs the name");
    has(ask(rig, "account-add", "{"), "no JSON object");
    has(ask(rig, "account-add", "[]"), "no JSON object");
    has(ask(rig, "account-add",
            "{\"name\":\"bob\",\"password\":\"x\",\"aliases\":[\"info@example.org\"]}"),
        "already");
    has(ask(rig, "account-add", "{\"name\":\"bob\",\"password\":\"x\",\"aliases\":[7]}"),
        "no name");
    has(ask(rig, "account-list", "{}"), "\"more\":false");
    has(reply_text, "alice@example.org");
    has(ask(rig, "account-list", "{\"name\":\"alice@example.org\"}"),
        "\"aliases\":[\"@example.org\",\"info@example.org\"]");
    has(reply_text, "\"quota\":2147483648");
    has(reply_text, "\"scram\":true");
    assert_null(strstr(reply_text, "argon2")); /* no verifier goes out */
    has(ask(rig, "account-list", "{\"name\":\"info@example.org\"}"), "no such account");
    has(ask(rig, "account-quota", "{\"name\":\"alice@example.org\",\"quota\":\"0\"}"), "{}");
    has(ask(rig, "account-disable", "{\"name\":\"alice@example.org\"}"), "{}");
    assert_int_equal(rig->revoked, 1);
    has(ask(rig, "account-disable", "{\"name\":\"alice@example.org\"}"), "\"unchanged\":true");
    assert_int_equal(rig->revoked, 1);
    has(ask(rig, "account-enable", "{\"name\":\"alice@example.org\"}"), "{}");
    assert_int_equal(rig->revoked, 1);
    has(ask(rig, "account-passwd", "{\"name\":\"alice@example.org\",\"password\":\"y\"}"), "{}");
    assert_int_equal(rig->revoked, 2);
    has(ask(rig, "account-passwd", "{\"name\":\"nobody\",\"password\":\"y\"}"), "no such account");
    has(ask(rig, "account-alias",
            "{\"name\":\"alice@example.org\",\"alias\":\"@example.org\",\"remove\":true}"),
        "{}");
    has(ask(rig, "account-delete", "{\"name\":\"alice@example.org\"}"), "{}");
    assert_int_equal(rig->deleted, 1);
    has(ask(rig, "account-list", "{}"), "\"accounts\":[]");
    assert_false(admin_request(&rig->host, S("account-fly"), S("{}"), on_answer, NULL));
    rig_destroy(rig);
}

static void test_pages(void **state)
{
    struct rig *rig = rig_create();
    for (int i = 0; i < 5; i++) {
        char name[20];
        snprintf(name, sizeof(name), "user%d", i);
        assert_int_equal(db_add(rig->db, name), AUTH_DONE);
    }
    has(ask(rig, "account-list", "{\"most\":2}"), "user1");
    has(reply_text, "\"more\":true");
    assert_null(strstr(reply_text, "user2"));
    has(ask(rig, "account-list", "{\"most\":3,\"after\":\"user1\"}"), "user2");
    has(reply_text, "user4");
    has(reply_text, "\"more\":false");
    rig_destroy(rig);
}

#define HASH_SECRET "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
#define SSHA_SECRET "{SSHA}Wcm1xEisNjqp921ALcHfuQ7avFdzYWx0MTIzNA=="
#define FILE_LINES                                                                                 \
    "{\"line\":10,\"lines\":[\"# users\",\"\","                                                    \
    "\"alice@example.org:" HASH_SECRET ":1000:1000::/home/alice::"                                 \
    "userdb_quota_rule=*:bytes=1G nopassword=n\","                                                 \
    "\"bob:{PLAIN}pencil:::::\",\"carol:{CRAM-MD5}01234:::::\",\"dave\",\"e f:{PLAIN}x\","         \
    "\"frank::::::\",\"gina:" SSHA_SECRET "\\r\",\"GINA:" SSHA_SECRET "\"]}"

static struct auth_account find(struct rig *rig, const char *name)
{
    struct auth_account account;
    assert_int_equal(auth_accounts_find(rig->db->accounts, slice_str(name), &account), AUTH_FOUND);
    return account;
}

static void test_import(void **state)
{
    struct rig *rig = rig_create();
    has(ask(rig, "account-import", FILE_LINES), "\"added\":3,\"updated\":0,\"unchanged\":0");
    static const char *const problems[] = {
        "{\"line\":14,\"text\":\"unknown password scheme {CRAM-MD5}",
        "{\"line\":15,\"text\":\"no col", "{\"line\":16,\"text\":\"that is no name",
        "{\"line\":17,\"text\":\"no password", "{\"line\":19,\"text\":"};
    for (size_t i = 0; i < 5; i++)
        has(reply_text, problems[i]);
    assert_int_equal(find(rig, "alice@example.org").quota, 1 << 30);
    assert_true(password_verify(find(rig, "bob").verifier, S("pencil")));
    assert_true(find(rig, "bob").has_keys);
    assert_true(slice_starts(find(rig, "bob").verifier, S("{ARGON2ID}"))); /* never in the clear */
    assert_false(find(rig, "gina").has_keys);
    struct id alice = find(rig, "alice@example.org").id;
    /* The same again, and after a restart: nothing changes. */
    has(ask(rig, "account-import", FILE_LINES), "\"added\":0,\"updated\":0,\"unchanged\":4");
    db_reload(rig->db);
    rig->host.accounts = rig->db->accounts;
    has(ask(rig, "account-import", FILE_LINES), "\"added\":0,\"updated\":0,\"unchanged\":4");
    /* The user has chosen a password since: the old file does not take it back. */
    ask(rig, "account-passwd", "{\"name\":\"bob\",\"password\":\"mine\"}");
    ask(rig, "account-passwd", "{\"name\":\"gina\",\"password\":\"hers\"}");
    int before = rig->revoked;
    has(ask(rig, "account-import", FILE_LINES), "\"added\":0,\"updated\":0,\"unchanged\":4");
    assert_true(password_verify(find(rig, "bob").verifier, S("mine")));
    assert_true(password_verify(find(rig, "gina").verifier, S("hers")));
    assert_int_equal(rig->revoked, before);
    /* A changed line is taken, and sessions on the old secret end; so is a changed quota. */
    has(ask(rig, "account-import",
            "{\"line\":1,\"lines\":[\"Bob:{CLEARTEXT}pen\",\"alice@example.org:" SSHA_SECRET
            "\",\"gina:" SSHA_SECRET "::::::userdb_quota_rule=*:storage=1024\"]}"),
        "\"updated\":3");
    assert_true(password_verify(find(rig, "bob").verifier, S("pen")));
    assert_true(password_verify(find(rig, "alice@example.org").verifier, S("secret")));
    assert_true(password_verify(find(rig, "gina").verifier, S("hers")));
    assert_int_equal(find(rig, "gina").quota, 1 << 20);
    assert_int_equal(rig->revoked, before + 2);
    assert_true(id_equal(find(rig, "alice@example.org").id, alice));
    has(ask(rig, "account-import", "{\"line\":1,\"lines\":[]}"), "\"added\":0");
    rig_destroy(rig);
}

/* The store refuses: nothing of the group is there, and it is said. */
static void test_import_full_disk(void **state)
{
    struct rig *rig = rig_create();
    store_mem_fail(rig->db->store, 1, STORE_NOSPACE, false);
    has(ask(rig, "account-import",
            "{\"line\":1,\"lines\":[\"a:" SSHA_SECRET "\",\"b:" SSHA_SECRET "\"]}"),
        "disk is full");
    has(reply_text, "\"added\":0");
    assert_int_equal(auth_accounts_counts(rig->db->accounts).accounts, 0);
    rig_destroy(rig);
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},         {"1024", 1024},     {"1K", 1024}, {"1k", 1024}, {"500M", 500ull << 20},
        {"1GB", 1 << 30}, {"2T", 2ull << 40}, {"7B", 7}};
    static const char *const bad[] = {"", "G", "1X", "-1", "1.5G", "1 G x", "99999999999T", "GB"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(admin_size(slice_str(good[i].text), &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (admin_size(slice_str(bad[i]), &bytes))
            fail_msg("taken: %s", bad[i]);
}

int main(void)
{
    password_warm_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs),  cmocka_unit_test(test_pages),
        cmocka_unit_test(test_import), cmocka_unit_test(test_import_full_disk),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
