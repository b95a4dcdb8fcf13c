/* The hashing threads: turns per address, the bound, forgetting, what a job gives. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <event2/event.h>
#include <stdlib.h>

#include "auth/hasher.h"

#define S(text) SLICE_LITERAL(text)
/* bcrypt of "secret" at its cheapest sensible cost: some milliseconds. */
#define SLOW "{CRYPT}$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"

static char order[100];
static size_t done_count;

static void on_done(void *arg, const struct hash_result *result)
{
    order[done_count++] = *(const char *)arg;
    assert_true(result->match);
    assert_false(result->failed);
}

static struct hash_job *verify(struct hasher *hasher, const char *owner)
{
    struct hash_ask ask = {
        .kind = HASH_VERIFY, .owner = slice_str(owner), .secret = S("secret"), .verifier = S(SLOW)};
    return hasher_submit(hasher, &ask, on_done, (void *)(uintptr_t)owner);
}

static void run(struct event_base *base, size_t count)
{
    while (done_count < count)
        event_base_loop(base, EVLOOP_ONCE);
}

/* Somebody with twenty guesses in the queue does not keep the next address waiting for them. */
static void test_turns(void **state)
{
    struct event_base *base = event_base_new();
    struct hasher *hasher = hasher_create(base, 0);
    done_count = 0;
    for (int i = 0; i < 20; i++)
        assert_non_null(verify(hasher, "A"));
    assert_non_null(verify(hasher, "B"));
    assert_non_null(verify(hasher, "C"));
    assert_non_null(verify(hasher, "B"));
    hasher_grow(hasher, 1);
    run(base, 23);
    assert_int_equal(strncmp(order, "ABCABAAAAAAAAAAAAAAAAAA", 23), 0);
    assert_int_equal(hasher_stats(hasher).jobs[HASH_VERIFY], 23);
    hasher_destroy(&hasher);
    event_base_free(base);
}

static void test_bound(void **state)
{
    struct event_base *base = event_base_new();
    struct hasher *hasher = hasher_create(base, 0);
    done_count = 0;
    for (int i = 0; i < HASHER_WAITING_MAX; i++)
        assert_non_null(verify(hasher, "A"));
    assert_null(verify(hasher, "B"));
    assert_int_equal(hasher_stats(hasher).refused, 1);
    hasher_destroy(&hasher); /* what waits is dropped */
    assert_null(hasher);
    assert_int_equal(done_count, 0);
    /* One that was forgotten costs no work, and nobody is told. */
    hasher = hasher_create(base, 0);
    hasher_forget(verify(hasher, "A"));
    assert_non_null(verify(hasher, "B"));
    hasher_grow(hasher, 1);
    run(base, 1);
    assert_int_equal(order[0], 'B');
    assert_int_equal(hasher_stats(hasher).jobs[HASH_VERIFY], 1);
    hasher_destroy(&hasher);
    event_base_free(base);
}

static struct hash_result last;
static bool came;

static void on_result(void *arg, const struct hash_result *result)
{
    last = *result;
    came = true;
}

static const struct hash_result *ask_wait(struct event_base *base, struct hasher *hasher,
                                          const struct hash_ask *ask)
{
    came = false;
    assert_non_null(hasher_submit(hasher, ask, on_result, NULL));
    while (!came)
        event_base_loop(base, EVLOOP_ONCE);
    return &last;
}

static void test_kinds(void **state)
{
    struct event_base *base = event_base_new();
    struct hasher *hasher = hasher_create(base, 2);
    struct hash_ask ask = {.kind = HASH_MAKE, .owner = S("x"), .secret = S("pencil")};
    struct hash_result made = *ask_wait(base, hasher, &ask);
    assert_true(password_verify(slice_str(made.verifier), S("pencil")));
    assert_true(made.has_keys && sasl_scram_matches(S("pencil"), &made.keys));
    ask.kind = HASH_VERIFY;
    ask.verifier = slice_str(made.verifier);
    ask.want_keys = true;
    const struct hash_result *result = ask_wait(base, hasher, &ask);
    assert_true(result->match && result->has_keys);
    ask.secret = S("Pencil");
    result = ask_wait(base, hasher, &ask);
    assert_false(result->match || result->has_keys); /* no keys of a wrong secret */
    ask.kind = HASH_IMPORT;
    ask.secret = S("pencil");
    made = *ask_wait(base, hasher, &ask);
    assert_false(made.match);
    assert_true(password_verify(slice_str(made.verifier), S("pencil")));
    memcpy(ask.imported, made.fingerprint, sizeof(ask.imported));
    result = ask_wait(base, hasher, &ask);
    assert_true(result->match);
    assert_string_equal(result->verifier, "");
    hasher_destroy(&hasher);
    event_base_free(base);
}

int main(void)
{
    password_warm_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
