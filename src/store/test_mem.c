/*
 * The mem engine: the conformance suite, with and without delay, and the faults of mem.h, which
 * other tests build on and must therefore be able to believe.
 */
#include "store/conformance_priv.h"
#include "store/mem/mem.h"

static struct store_mem_image *kept;
static unsigned delay;

static void wipe(void *arg)
{
    store_mem_image_destroy(&kept);
}

static struct store *open_mem(void *arg, struct event_base *base)
{
    struct store *store = kept == NULL ? store_mem_open(base) : store_mem_reopen(base, &kept);
    store_mem_delay(store, delay);
    return store;
}

static void close_mem(void *arg, struct store **store)
{
    kept = store_mem_close_keep(store);
}

static const struct conformance_engine engine = {
    .name = "mem", .wipe = wipe, .open = open_mem, .close = close_mem};

static struct lab lab;

static int setup(void **state)
{
    lab_open(&lab, &engine);
    return 0;
}

static int teardown(void **state)
{
    lab_close(&lab);
    wipe(NULL);
    return 0;
}

static struct store_batch *put(unsigned partition, const char *key)
{
    struct store_batch *batch = lab_batch(partition);
    store_batch_put(batch, text(key), text("x"));
    return batch;
}

static void injected_results(void **state)
{
    static const enum store_result results[] = {STORE_CONFLICT, STORE_NOSPACE, STORE_UNAVAILABLE};
    for (unsigned i = 0; i < 3; i++) {
        struct answer answers[4];
        store_mem_fail(lab.store, 2, results[i], false);
        for (unsigned j = 0; j < 4; j++)
            lab_submit(&lab, put(j == 3 ? 2 : 1, "a"), &answers[j]);
        lab_wait(&lab, &answers[2].ran);
        lab_wait(&lab, &answers[3].ran);
        assert_int_equal(answers[0].result, STORE_OK);
        assert_int_equal(answers[1].result, results[i]);
        assert_int_equal(answers[2].result, STORE_UNAVAILABLE);
        assert_int_equal(answers[3].result, STORE_OK);
        assert_int_equal(lab_do(&lab, put(1, "b")), STORE_OK);
    }
}

static void injected_unknown(void **state)
{
    for (int applied = 0; applied < 2; applied++) {
        struct answer answers[2];
        store_mem_fail(lab.store, 1, STORE_UNKNOWN, applied);
        lab_submit(&lab, put(1, applied ? "yes" : "no"), &answers[0]);
        lab_submit(&lab, put(1, "behind"), &answers[1]);
        lab_wait(&lab, &answers[1].ran);
        assert_int_equal(answers[0].result, STORE_UNKNOWN);
        assert_int_equal(answers[1].result, STORE_UNKNOWN);
    }
    lab_expect(&lab, 1, "yes", "x");
    lab_expect_none(&lab, 1, "no");
    lab_expect_none(&lab, 1, "behind");
    assert_int_equal(lab_do(&lab, put(1, "after")), STORE_OK);
}

static void injected_fence(void **state)
{
    store_mem_fail(lab.store, 1, STORE_FENCED, false);
    assert_int_equal(lab_do(&lab, put(1, "a")), STORE_FENCED);
    assert_int_equal(lab_do(&lab, put(1, "a")), STORE_FENCED);
    assert_int_equal(lab_do(&lab, put(2, "a")), STORE_OK);
    lab_expect_none(&lab, 1, "a");
    store_resume(lab.store, lab_partition(1));
    assert_int_equal(lab_do(&lab, put(1, "a")), STORE_OK);
}

static void took_result(void *arg, enum store_result result, bool found, struct slice value)
{
    *(int *)arg = (int)result;
}

static void injected_damage(void **state)
{
    uint64_t good = store_blob_new(lab.store), bad = store_blob_new(lab.store);
    struct store_batch *batch = put(1, "a");
    lab_blob(batch, good, 1, 100, NULL);
    lab_blob(batch, bad, 2, 100, NULL);
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    store_mem_damage_blob(lab.store, bad);
    store_mem_damage_value(lab.store, lab_partition(1), text("a"));
    struct buf bytes = {0};
    assert_int_equal(lab_read(&lab, bad, 0, 10, &bytes), STORE_CORRUPT);
    lab_expect_blob(&lab, good, 1, 100);
    int result = -1;
    store_get(lab.store, lab_partition(1), text("a"), took_result, &result);
    while (result < 0)
        event_base_loop(lab.base, EVLOOP_ONCE);
    assert_int_equal(result, STORE_CORRUPT);
    buf_finish(&bytes);
}

static void epoch_grows(void **state)
{
    uint64_t epoch = store_epoch(lab.store);
    store_mem_bump_epoch(lab.store);
    assert_int_equal(store_epoch(lab.store), epoch + 1);
    lab_reopen(&lab);
    assert_int_equal(store_epoch(lab.store), epoch + 1);
}

static void delay_counts_turns(void **state)
{
    store_mem_delay(lab.store, 3);
    struct answer answer;
    lab_submit(&lab, put(1, "a"), &answer);
    unsigned turns = 0;
    while (!answer.ran) {
        event_base_loop(lab.base, EVLOOP_ONCE);
        turns++;
    }
    assert_int_equal(turns, 1 + 3 + 1);
}

/* Crash after each step: what was told is there, no batch is there in part, counters go on. */
static void crash_at_every_step(void **state)
{
    enum { COUNT = 6 };
    bool went_through = false;
    for (uint64_t stop = 0; !went_through; stop++) {
        struct answer answers[COUNT];
        unsigned released = 0;
        uint64_t last = 0;
        engine.close(NULL, &lab.store);
        wipe(NULL);
        lab.store = open_mem(NULL, lab.base);
        store_mem_stop_at(lab.store, stop);
        for (unsigned i = 0; i < COUNT; i++) {
            char key[2] = {(char)('a' + i), 0}, twin[3] = {'z', (char)('a' + i), 0};
            struct store_batch *batch = put(1, key);
            lab_blob(batch, last = store_blob_new(lab.store), i, 10, &released);
            store_batch_put(batch, text(twin), text("x"));
            lab_submit(&lab, batch, &answers[i]);
        }
        while (!store_mem_stopped(lab.store) && !answers[COUNT - 1].ran)
            event_base_loop(lab.base, EVLOOP_ONCE);
        went_through = answers[COUNT - 1].ran;
        kept = store_mem_crash(&lab.store);
        assert_int_equal(released, COUNT);
        lab.store = open_mem(NULL, lab.base);
        assert_true(store_blob_new(lab.store) > last);
        for (unsigned i = 0; i < COUNT; i++) {
            char key[2] = {(char)('a' + i), 0}, twin[3] = {'z', (char)('a' + i), 0};
            struct buf value = {0};
            bool there = lab_get(&lab, 1, text(key), &value);
            assert_true(there || !answers[i].ran);
            assert_int_equal(there, lab_get(&lab, 1, text(twin), &value));
            buf_finish(&value);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(injected_results),    TEST(injected_unknown), TEST(injected_fence),
        TEST(injected_damage),     TEST(epoch_grows),      TEST(delay_counts_turns),
        TEST(crash_at_every_step),
    };
    int failed = cmocka_run_group_tests_name("mem faults", tests, NULL, NULL);
    failed += conformance_run(&engine);
    delay = 2;
    failed += conformance_run(&engine);
    wipe(NULL);
    return failed;
}
