/* Remembered secrets and the growing delays, by the fake clock. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include "auth/remember.h"
#include "base/clock.h"

#define S(text) SLICE_LITERAL(text)
enum { SECOND = 1000000, MOST = 15000 };
static const uint64_t start = 1700000000ull * SECOND;

static void test_secrets(void **state)
{
    struct remember *r = remember_create();
    struct id a = id_random(), b = id_random();
    clock_set_fake(start);
    assert_false(remember_secret_known(r, a, S("x"), 300));
    remember_secret(r, a, S("x"));
    assert_true(remember_secret_known(r, a, S("x"), 300));
    assert_false(remember_secret_known(r, a, S("y"), 300));
    assert_false(remember_secret_known(r, b, S("x"), 300));
    assert_true(remember_secret_known(r, a, S("x"), 300)); /* a wrong guess forgets nothing */
    clock_set_fake(start + 299ull * SECOND);
    assert_true(remember_secret_known(r, a, S("x"), 300));
    clock_set_fake(start + 300ull * SECOND);
    assert_false(remember_secret_known(r, a, S("x"), 300));
    remember_secret(r, a, S("x"));
    assert_false(remember_secret_known(r, a, S("x"), 0)); /* auth.cache = 0 */
    remember_secret(r, a, S("x"));
    remember_forget(r, a);
    assert_false(remember_secret_known(r, a, S("x"), 300));
    remember_destroy(&r);
}

static uint32_t delay(struct remember *r, const char *address, const char *name)
{
    return remember_delay_ms(r, slice_str(address), slice_str(name), MOST);
}

static void test_pair(void **state)
{
    struct remember *r = remember_create();
    static const uint32_t grows[] = {1000, 2000, 4000, 8000, 15000, 15000};
    clock_set_fake(start);
    assert_int_equal(delay(r, "192.0.2.1", "bob"), 0);
    for (int i = 0; i < 6; i++) {
        remember_failure(r, S("192.0.2.1"), S("bob"));
        assert_int_equal(delay(r, "192.0.2.1", "BOB"), grows[i]);
    }
    assert_int_equal(delay(r, "192.0.2.2", "bob"), 0); /* bob elsewhere */
    assert_int_equal(delay(r, "192.0.2.1", "alice"), 0);
    clock_set_fake(start + 61ull * SECOND);
    assert_int_equal(delay(r, "192.0.2.1", "bob"), 15000); /* 5 left */
    clock_set_fake(start + 121ull * SECOND);
    assert_int_equal(delay(r, "192.0.2.1", "bob"), 8000);
    remember_success(r, S("192.0.2.1"), S("bob"));
    assert_int_equal(delay(r, "192.0.2.1", "bob"), 0);
    assert_int_equal(remember_delay_ms(r, S("192.0.2.1"), S("bob"), 0), 0);
    remember_destroy(&r);
}

/* Many names from one address: it gets slow for all of them; a success does not clear it. */
static void test_address(void **state)
{
    struct remember *r = remember_create();
    char name[20];
    clock_set_fake(start);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(delay(r, "192.0.2.1", "alice"), i == 11 ? 1000 : 0);
        snprintf(name, sizeof(name), "user%d", i);
        remember_failure(r, S("192.0.2.1"), slice_str(name));
    }
    remember_success(r, S("192.0.2.1"), S("alice"));
    assert_int_equal(delay(r, "192.0.2.1", "alice"), 2000);
    assert_int_equal(delay(r, "192.0.2.2", "alice"), 0);
    clock_set_fake(start + 2ull * 60 * SECOND);
    assert_int_equal(delay(r, "192.0.2.1", "alice"), 0);
    remember_destroy(&r);
}

static void test_sites(void **state)
{
    struct remember *r = remember_create();
    clock_set_fake(start);
    /* A /64 is one site. */
    remember_failure(r, S("2001:db8::1"), S("bob"));
    assert_int_equal(delay(r, "2001:db8::ffff", "bob"), 1000);
    assert_int_equal(delay(r, "2001:db8:0:1::1", "bob"), 0);
    /* Webmail on this machine: whoever mistypes there slows only himself. */
    static const char *const local[] = {"127.0.0.1", "::1", "unix", "127.0.0.53"};
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 50; k++)
            remember_failure(r, slice_str(local[i]), S("mallory"));
        assert_int_equal(delay(r, local[i], "mallory"), MOST);
        assert_int_equal(delay(r, local[i], "alice"), 0);
    }
    remember_destroy(&r);
}

static void test_bounded(void **state)
{
    struct remember *r = remember_create();
    char name[20];
    clock_set_fake(start);
    remember_failure(r, S("192.0.2.1"), S("first"));
    for (int i = 0; i < REMEMBER_FAILURES_MAX; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        remember_failure(r, S("127.0.0.1"), slice_str(name));
    }
    assert_int_equal(delay(r, "192.0.2.1", "first"), 0);    /* the oldest went */
    assert_int_equal(delay(r, "127.0.0.1", "user1"), 1000); /* not these */
    remember_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secrets), cmocka_unit_test(test_pair),
        cmocka_unit_test(test_address), cmocka_unit_test(test_sites),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
