/* The account database on the mem engine: names, edits, what survives, what a failure leaves. */
#include "auth/record.h"
#include "auth/test_db.h"
#include "base/bytes.h"
#include "base/crc32c.h"

static const struct auth_names here = {"mail.example.net", '+'};

/* The account that mail for this address goes to, "" for none; its detail in *detail. */
static const char *mail_to(struct db *db, const char *address, char detail[300])
{
    static char name[300];
    struct auth_account account;
    struct slice rest;
    name[0] = detail[0] = '\0';
    if (auth_accounts_recipient(db->accounts, &here, slice_str(address), &account, &rest) ==
        AUTH_FOUND) {
        snprintf(name, sizeof(name), "%.*s", SLICE_PRINT(account.name));
        snprintf(detail, 300, "%.*s", SLICE_PRINT(rest));
    }
    return name;
}

static void test_addresses(void **state)
{
    struct db *db = db_create();
    assert_int_equal(db_add(db, "Alice@Example.org"), AUTH_DONE);
    assert_int_equal(db_add(db, "bob"), AUTH_DONE);
    assert_int_equal(db_add(db, "rest@example.org"), AUTH_DONE);
    assert_int_equal(db_alias(db, "rest@example.org", "@example.org"), AUTH_DONE);
    assert_int_equal(db_alias(db, "alice@example.org", "info@example.com"), AUTH_DONE);
    assert_int_equal(db_alias(db, "bob", "alice+work@example.org"), AUTH_DONE);
    static const char *const rows[][3] = {
        {"alice@example.org", "Alice@Example.org", ""},
        {"ALICE@EXAMPLE.ORG", "Alice@Example.org", ""},
        {"alice@example.org.", "Alice@Example.org", ""},
        {"\"alice\"@example.org", "Alice@Example.org", ""},
        {"alice+list@example.org", "Alice@Example.org", "list"},
        {"alice+a+b@example.org", "Alice@Example.org", "a+b"},
        {"alice+work@example.org", "bob", ""}, /* the whole address comes before its parts */
        {"info@example.com", "Alice@Example.org", ""},
        {"info+x@example.com", "Alice@Example.org", "x"},
        {"whoever@example.org", "rest@example.org", ""},
        {"whoever@example.com", "", ""},
        {"alice", "", ""},
        {"bob", "bob", ""},
        {"bob+x", "bob", "x"},
        {"bob@localhost", "bob", ""},
        {"Bob@Mail.Example.Net", "bob", ""},
        {"bob+x@localhost", "bob", "x"},
        {"bob@example.com", "", ""},
        {"alice@localhost", "", ""},
        {"+x@example.org", "rest@example.org", ""},
        {"@example.org", "", ""},
        {"bob@", "", ""},
        {"", "", ""},
        {"bo\nb", "", ""},
        {"\"\"@example.org", "", ""},
    };
    char detail[300];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *name = mail_to(db, rows[i][0], detail);
        if (strcmp(name, rows[i][1]) != 0 || strcmp(detail, rows[i][2]) != 0)
            fail_msg("%s: %s, %s", rows[i][0], name, detail);
    }
    struct auth_account account;
    static const char *const logins[][2] = {
        {"alice@example.org", "Alice@Example.org"},
        {"BOB", "bob"},
        {"bob@localhost", "bob"},
        {"bob@mail.example.net", "bob"},
        {"bob@example.org", NULL},
        {"info@example.com", NULL},
        {"alice+x@example.org", NULL},
        {"who@example.org", NULL},
        {"", NULL},
        {"a b", NULL},
        {"@example.org", NULL},
    };
    for (size_t i = 0; i < sizeof(logins) / sizeof(logins[0]); i++) {
        bool found = auth_accounts_login(db->accounts, &here, slice_str(logins[i][0]), &account) ==
                     AUTH_FOUND;
        if (found != (logins[i][1] != NULL) ||
            (found && !slice_equal_str(account.name, logins[i][1])))
            fail_msg("login %s", logins[i][0]);
    }
    db_destroy(db);
}

static void test_names(void **state)
{
    struct db *db = db_create();
    static const char *const bad[] = {"",    "a b",  "a@b@c", "@example.org", "a@",
                                      "a:b", "a\nb", "\xff",  "a\"b",         "<a>"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(db_add(db, bad[i]), AUTH_BAD);
    char longest[AUTH_NAME_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[AUTH_NAME_MAX + 1] = '\0';
    assert_int_equal(db_add(db, longest), AUTH_BAD);
    longest[AUTH_NAME_MAX] = '\0';
    assert_int_equal(db_add(db, longest), AUTH_DONE);
    assert_int_equal(db_add(db, "j\xc3\xbcrgen@b\xc3\xbc"
                                "cher.example"),
                     AUTH_DONE);
    assert_int_equal(db_add(db, "alice"), AUTH_DONE);
    assert_int_equal(db_add(db, "Alice"), AUTH_EXISTS);
    assert_int_equal(db_alias(db, "alice", "sales"), AUTH_DONE);
    assert_int_equal(db_alias(db, "alice", "Sales"), AUTH_UNCHANGED);
    assert_int_equal(db_add(db, "SALES"), AUTH_EXISTS);
    assert_int_equal(db_add(db, "bob"), AUTH_DONE);
    assert_int_equal(db_alias(db, "bob", "sales"), AUTH_EXISTS);
    assert_int_equal(db_alias(db, "bob", "alice"), AUTH_EXISTS);
    assert_int_equal(db_alias(db, "nobody", "x"), AUTH_UNKNOWN);
    assert_int_equal(db_alias(db, "sales", "x"), AUTH_UNKNOWN); /* an alias is no account */
    struct auth_edit edit = {.kind = AUTH_EDIT_UNALIAS, .name = S("bob"), .alias = S("sales")};
    assert_int_equal(db_change(db, &edit, 1), AUTH_UNKNOWN);
    edit.name = S("alice");
    assert_int_equal(db_change(db, &edit, 1), AUTH_DONE);
    assert_int_equal(db_alias(db, "bob", "sales"), AUTH_DONE);
    db_reload(db);
    char detail[300];
    assert_string_equal(mail_to(db, "sales", detail), "bob");
    assert_int_equal(auth_accounts_counts(db->accounts).names, 5);
    db_destroy(db);
}

static struct auth_account find(struct db *db, const char *name)
{
    struct auth_account account;
    assert_int_equal(auth_accounts_find(db->accounts, slice_str(name), &account), AUTH_FOUND);
    return account;
}

static void test_life(void **state)
{
    struct db *db = db_create();
    struct sasl_scram_keys keys = {.iterations = 4096, .salt_size = 16, .salt = "0123456789abcde"};
    memset(keys.stored_key, 7, sizeof(keys.stored_key));
    struct slice aliases[] = {S("a@example.org"), S("@example.org")};
    struct auth_edit add = {.kind = AUTH_EDIT_ADD,
                            .name = S("Alice"),
                            .verifier = S("{X}y"),
                            .keys = &keys,
                            .quota = 1 << 30,
                            .aliases = aliases,
                            .alias_count = 2};
    assert_int_equal(db_change(db, &add, 1), AUTH_DONE);
    db_reload(db);
    struct auth_account alice = find(db, "alice");
    assert_true(id_equal(alice.id, add.id));
    assert_int_equal(alice.volume, add.volume);
    assert_int_equal(alice.quota, 1 << 30);
    assert_true(slice_equal_str(alice.verifier, "{X}y"));
    assert_true(alice.has_keys);
    assert_memory_equal(&alice.keys, &keys, sizeof(keys));
    assert_int_equal(auth_accounts_counts(db->accounts).without_keys, 0);
    struct auth_edit edit = {.kind = AUTH_EDIT_PASSWORD, .name = S("ALICE"), .verifier = S("{Z}z")};
    assert_int_equal(db_change(db, &edit, 1), AUTH_DONE);
    assert_int_equal(auth_accounts_counts(db->accounts).without_keys, 1);
    /* Keys for a password that is no longer. */
    edit = (struct auth_edit){
        .kind = AUTH_EDIT_KEYS, .id = alice.id, .verifier = S("{X}y"), .keys = &keys};
    assert_int_equal(db_change(db, &edit, 1), AUTH_UNCHANGED);
    edit.verifier = S("{Z}z");
    assert_int_equal(db_change(db, &edit, 1), AUTH_DONE);
    assert_int_equal(auth_accounts_counts(db->accounts).without_keys, 0);
    edit = (struct auth_edit){.kind = AUTH_EDIT_STATE, .name = S("alice"), .state = AUTH_DISABLED};
    assert_int_equal(db_change(db, &edit, 1), AUTH_DONE);
    assert_int_equal(db_change(db, &edit, 1), AUTH_UNCHANGED);
    edit = (struct auth_edit){.kind = AUTH_EDIT_QUOTA, .name = S("alice"), .quota = 5};
    assert_int_equal(db_change(db, &edit, 1), AUTH_DONE);
    db_reload(db);
    alice = find(db, "alice");
    assert_int_equal(alice.state, AUTH_DISABLED);
    assert_int_equal(alice.quota, 5);
    assert_true(alice.has_keys);
    /* Deleted: every name is free at once, the record stays until the mail is wiped. */
    edit = (struct auth_edit){.kind = AUTH_EDIT_DELETE, .name = S("alice")};
    assert_int_equal(db_change(db, &edit, 1), AUTH_DONE);
    assert_int_equal(db_add(db, "alice"), AUTH_DONE);
    assert_int_equal(db_alias(db, "alice", "@example.org"), AUTH_DONE);
    assert_false(id_equal(find(db, "alice").id, add.id));
    db_reload(db);
    struct auth_account deleted;
    assert_true(auth_accounts_next_deleted(db->accounts, NULL, &deleted));
    assert_true(id_equal(deleted.id, add.id));
    assert_int_equal(deleted.verifier.size, 0);
    assert_false(auth_accounts_next_deleted(db->accounts, &add.id, &deleted));
    struct auth_edit forget = {.kind = AUTH_EDIT_FORGET, .id = find(db, "alice").id};
    assert_int_equal(db_change(db, &forget, 1), AUTH_UNKNOWN); /* it lives */
    forget.id = add.id;
    assert_int_equal(db_change(db, &forget, 1), AUTH_DONE);
    db_reload(db);
    assert_false(auth_accounts_next_deleted(db->accounts, NULL, &deleted));
    struct auth_counts counts = auth_accounts_counts(db->accounts);
    assert_int_equal(counts.accounts, 1);
    assert_int_equal(counts.deleted, 0);
    assert_int_equal(counts.names, 2);
    db_destroy(db);
}

static void test_spread(void **state)
{
    struct db *db = db_create();
    uint32_t on[3] = {0};
    char name[20];
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        assert_int_equal(db_add(db, name), AUTH_DONE);
        on[find(db, name).volume]++;
    }
    assert_int_equal(on[0], 3);
    assert_int_equal(on[1], 3);
    assert_int_equal(on[2], 3);
    /* A volume that was added gets the new ones until it is even. */
    static const uint32_t volumes[] = {0, 1, 2, 3};
    auth_accounts_volumes(db->accounts, volumes, 4);
    struct auth_edit edits[3];
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"x", "y", "z"};
        edits[i] = (struct auth_edit){
            .kind = AUTH_EDIT_ADD, .name = slice_str(names[i]), .verifier = S("v")};
    }
    assert_int_equal(db_change(db, edits, 3), AUTH_DONE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(edits[i].volume, 3);
    /* Listing: in the order of names. */
    struct auth_account account;
    assert_true(auth_accounts_next(db->accounts, SLICE_NONE, &account));
    assert_true(slice_equal_str(account.name, "user0"));
    assert_true(auth_accounts_next(db->accounts, S("USER8"), &account));
    assert_true(slice_equal_str(account.name, "x"));
    assert_true(auth_accounts_next(db->accounts, S("xx"), &account));
    assert_true(slice_equal_str(account.name, "y"));
    assert_false(auth_accounts_next(db->accounts, S("z"), &account));
    db_destroy(db);
}

/* Calls queue: each is prepared on what the one before made durable. */
static void test_queue(void **state)
{
    struct db *db = db_create();
    struct auth_edit edits[3];
    bool done[3] = {false};
    for (int i = 0; i < 3; i++)
        edits[i] = (struct auth_edit){.kind = AUTH_EDIT_ADD, .name = S("same"), .verifier = S("v")};
    edits[2].kind = AUTH_EDIT_DELETE;
    for (int i = 0; i < 3; i++)
        auth_accounts_change(db->accounts, &edits[i], 1, db_changed, &done[i]);
    while (!done[2])
        event_base_loop(db->base, EVLOOP_ONCE);
    assert_true(done[0] && done[1]);
    assert_int_equal(edits[0].outcome, AUTH_DONE);
    assert_int_equal(edits[1].outcome, AUTH_EXISTS);
    assert_int_equal(edits[2].outcome, AUTH_DONE);
    db_destroy(db);
}

static void test_failures(void **state)
{
    struct db *db = db_create();
    static const struct {
        enum store_result result;
        enum auth_outcome outcome;
    } rows[] = {{STORE_NOSPACE, AUTH_NO_SPACE},
                {STORE_UNAVAILABLE, AUTH_NOT_NOW},
                {STORE_CONFLICT, AUTH_NOT_NOW}};
    for (size_t i = 0; i < 3; i++) {
        store_mem_fail(db->store, 1, rows[i].result, false);
        assert_int_equal(db_add(db, "alice"), rows[i].outcome);
        assert_int_equal(auth_accounts_counts(db->accounts).accounts, 0);
        assert_false(auth_accounts_lost(db->accounts));
    }
    assert_int_equal(db_add(db, "alice"), AUTH_DONE);
    /* Nobody knows if it happened: everything later is refused until it was loaded again. */
    store_mem_fail(db->store, 1, STORE_UNKNOWN, true);
    assert_int_equal(db_add(db, "bob"), AUTH_NOT_NOW);
    assert_true(auth_accounts_lost(db->accounts));
    assert_int_equal(db_add(db, "carol"), AUTH_NOT_NOW);
    db_reload(db);
    find(db, "bob");
    assert_int_equal(auth_accounts_counts(db->accounts).accounts, 2);
    db_destroy(db);
}

static void stored(void *arg, enum store_result result)
{
    *(int *)arg = (int)result;
}

static void put_wait(struct db *db, struct slice key, struct slice value)
{
    int result = -1;
    struct store_batch *batch = store_batch_create(record_partition);
    store_batch_put(batch, key, value);
    store_submit(db->store, batch, stored, &result);
    while (result < 0)
        event_base_loop(db->base, EVLOOP_ONCE);
    assert_int_equal(result, STORE_OK);
}

/* Every byte of every record changed in turn: never another account, never "no such user". */
static void test_damage(void **state)
{
    struct db *db = db_create();
    assert_int_equal(db_add(db, "alice"), AUTH_DONE);
    assert_int_equal(db_add(db, "bob"), AUTH_DONE);
    assert_int_equal(db_alias(db, "alice", "info"), AUTH_DONE);
    struct auth_account alice = find(db, "alice"), found;
    struct buf key = {0}, value = {0};
    struct slice detail;
    record_key_account(&key, alice.id);
    record_put_account(&value, buf_slice(&key), &alice);
    size_t size = value.size;
    for (size_t i = 0; i < size; i++) {
        alice = find(db, "alice");
        record_put_account(&value, buf_slice(&key), &alice);
        value.data[i] ^= 0x20;
        put_wait(db, buf_slice(&key), buf_slice(&value));
        db_reload(db);
        assert_int_equal(db->opened, 1);
        assert_int_equal(auth_accounts_counts(db->accounts).damaged, 1);
        assert_int_equal(auth_accounts_recipient(db->accounts, &here, S("alice"), &found, &detail),
                         AUTH_UNREADABLE);
        assert_int_equal(auth_accounts_recipient(db->accounts, &here, S("info"), &found, &detail),
                         AUTH_UNREADABLE);
        find(db, "bob");
        assert_int_equal(db_add(db, "alice"), AUTH_EXISTS);
        value.data[i] ^= 0x20;
        put_wait(db, buf_slice(&key), buf_slice(&value));
        db_reload(db);
    }
    /* A damaged name: an account's own is known again from the account; an alias is unreadable. */
    record_key_name(&key, S("alice"));
    put_wait(db, buf_slice(&key), S("\x01garbage"));
    record_key_name(&key, S("info"));
    put_wait(db, buf_slice(&key), S(""));
    db_reload(db);
    find(db, "alice");
    assert_int_equal(auth_accounts_recipient(db->accounts, &here, S("info"), &found, &detail),
                     AUTH_UNREADABLE);
    /* A newer format, rightly summed: refused as a whole. */
    record_key_account(&key, find(db, "bob").id);
    alice = find(db, "bob");
    record_put_account(&value, buf_slice(&key), &alice);
    value.data[0] = RECORD_FORMAT + 1;
    uint32_t crc = crc32c(0, record_partition.bytes, 16);
    crc = crc32c(crc32c(crc, key.data, key.size), value.data, 1);
    bytes_put_le32(value.data + 1, crc32c(crc, value.data + 5, value.size - 5));
    put_wait(db, buf_slice(&key), buf_slice(&value));
    auth_accounts_close(&db->accounts);
    db_load(db);
    assert_int_equal(db->opened, -1);
    assert_non_null(strstr(db->trouble, "newer"));
    buf_finish(&key);
    buf_finish(&value);
    db_destroy(db);
}

/* Stop after every step: what was answered is there, what was not is there whole or not at all. */
static void test_crash(void **state)
{
    for (uint64_t step = 0; step < 40; step++) {
        struct db *db = db_create();
        store_mem_stop_at(db->store, store_mem_steps(db->store) + step);
        struct slice aliases[] = {S("a"), S("b")};
        struct auth_edit edits[3] = {
            {.kind = AUTH_EDIT_ADD,
             .name = S("alice"),
             .verifier = S("v"),
             .aliases = aliases,
             .alias_count = 2},
            {.kind = AUTH_EDIT_PASSWORD, .name = S("alice"), .verifier = S("w")},
            {.kind = AUTH_EDIT_DELETE, .name = S("alice")}};
        bool done[3] = {false};
        for (int i = 0; i < 3; i++)
            auth_accounts_change(db->accounts, &edits[i], 1, db_changed, &done[i]);
        for (int turn = 0; turn < 200 && !done[2] && !store_mem_stopped(db->store); turn++)
            event_base_loop(db->base, EVLOOP_NONBLOCK);
        bool stopped = store_mem_stopped(db->store);
        struct store_mem_image *image = store_mem_crash(&db->store);
        auth_accounts_close(&db->accounts);
        db->store = store_mem_reopen(db->base, &image);
        db_load(db);
        struct auth_account account;
        bool there = auth_accounts_find(db->accounts, S("alice"), &account) == AUTH_FOUND;
        uint64_t names = auth_accounts_counts(db->accounts).names;
        assert_int_equal(names, there ? 3 : 0);
        if (done[2])
            assert_false(there);
        else if (done[1])
            assert_true(!there || slice_equal_str(account.verifier, "w"));
        else if (done[0])
            assert_true(there);
        db_destroy(db);
        if (!stopped && done[2])
            return;
    }
    fail_msg("never reached the end");
}

static void test_many(void **state)
{
    struct db *db = db_create();
    enum { GROUPS = 100 };
    static struct auth_edit edits[AUTH_EDITS_MAX];
    static char names[AUTH_EDITS_MAX][40];
    for (int group = 0; group < GROUPS; group++) {
        for (int i = 0; i < AUTH_EDITS_MAX; i++) {
            snprintf(names[i], sizeof(names[i]), "user%d.%d@example.org", group, i);
            edits[i] = (struct auth_edit){
                .kind = AUTH_EDIT_ADD, .name = slice_str(names[i]), .verifier = S("{X}v")};
        }
        assert_int_equal(db_change(db, edits, AUTH_EDITS_MAX), AUTH_DONE);
    }
    db_reload(db);
    assert_int_equal(auth_accounts_counts(db->accounts).accounts, GROUPS * AUTH_EDITS_MAX);
    find(db, "user99.199@example.org");
    /* A decoy is the same for the same name, and not one for all. */
    struct slice a = auth_accounts_decoy(db->accounts, S("nobody"));
    assert_ptr_equal(a.data, auth_accounts_decoy(db->accounts, S("NOBODY")).data);
    assert_ptr_not_equal(a.data, auth_accounts_decoy(db->accounts, S("nobody2")).data);
    db_destroy(db);
}

int main(void)
{
    password_warm_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_names),
        cmocka_unit_test(test_life),      cmocka_unit_test(test_spread),
        cmocka_unit_test(test_queue),     cmocka_unit_test(test_failures),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_crash),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
