/* uidset against a plain array of bits, and the printed form of RFC 3501's sequence-set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mailbox/uidset.h"

enum { WORLD = 64 };

static void check_invariants(const struct uidset *set)
{
    for (size_t i = 0; i < set->count; i++) {
        assert_true(set->ranges[i].first <= set->ranges[i].last);
        if (i > 0)
            assert_true((uint64_t)set->ranges[i - 1].last + 1 < set->ranges[i].first);
    }
}

static void test_random_against_bits(void **state)
{
    uint32_t seed = 12345;
    for (int round = 0; round < 2000; round++) {
        struct uidset set;
        bool bits[WORLD] = {false};
        uidset_init(&set);
        for (int step = 0; step < 12; step++) {
            seed = seed * 1664525 + 1013904223;
            uint32_t a = (seed >> 8) % WORLD, b = (seed >> 16) % 8;
            b = a + b >= WORLD ? WORLD - 1 : a + b;
            if (seed & 1)
                uidset_add(&set, a, b);
            else
                uidset_add(&set, b, a);
            for (uint32_t i = a; i <= b; i++)
                bits[i] = true;
            check_invariants(&set);
        }
        uint64_t count = 0;
        for (uint32_t i = 0; i < WORLD; i++) {
            count += bits[i];
            assert_int_equal(uidset_has(&set, i), bits[i]);
            uint32_t expected = i, next = 0;
            while (expected < WORLD && !bits[expected])
                expected++;
            assert_int_equal(uidset_next(&set, i, &next), expected < WORLD);
            if (expected < WORLD)
                assert_int_equal(next, expected);
        }
        assert_int_equal(uidset_count(&set), count);
        uidset_finish(&set);
    }
}

static void test_edges(void **state)
{
    struct uidset set, other;
    uidset_init(&set);
    uidset_init(&other);
    uidset_add(&set, UINT32_MAX, UINT32_MAX);
    uidset_add(&set, UINT32_MAX - 1, UINT32_MAX - 1);
    assert_int_equal(set.count, 1);
    uidset_add(&set, 0, 0);
    assert_int_equal(set.count, 2);
    assert_true(uidset_has(&set, 0) && uidset_has(&set, UINT32_MAX));
    uidset_add(&other, 1, UINT32_MAX - 2);
    uidset_add_set(&set, &other);
    assert_int_equal(set.count, 1);
    assert_true(uidset_count(&set) == (uint64_t)1 << 32);
    uidset_clear(&set);
    assert_false(uidset_has(&set, 0));
    uidset_finish(&set);
    uidset_finish(&other);
}

static void test_print(void **state)
{
    struct uidset set;
    struct buf out = {0};
    uidset_init(&set);
    uidset_print(&set, &out);
    assert_int_equal(out.size, 0);
    uidset_add(&set, 7, 7);
    uidset_add(&set, 1, 2);
    uidset_add(&set, 3, 3);
    uidset_add(&set, 4294967295u, 4294967295u);
    uidset_print(&set, &out);
    assert_true(slice_equal_str(buf_slice(&out), "1:3,7,4294967295"));
    buf_finish(&out);
    uidset_finish(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_against_bits),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
