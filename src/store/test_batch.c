/*
 * Packed operations: the bytes as doc/formats/store-ops.md has them (written out here by hand), and
 * a walk that believes nothing: cut anywhere, every byte changed, limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/store_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t packed[] = {
    1, 1,  'a', 2,   0,   0, 0, 'x', 'y',                           /* PUT a xy */
    2, 2,  'b', 'c',                                                /* DEL bc */
    3, 1,  'd', 1,   'e',                                           /* DEL_RANGE d e */
    4, 1,  'a', 1,   0,   0, 0, 1,   0,   0, 0, 'z',                /* PATCH a at 1: z */
    5, 1,  'a', 2,   0,   0, 0, 'x', 'z',                           /* EXPECT_EQUAL a xz */
    6, 1,  'f',                                                     /* EXPECT_ABSENT f */
    7, 8,  7,   6,   5,   4, 3, 2,   1,   3, 0, 0,   0, 0, 0, 0, 0, /* BLOB of 3 bytes */
    1, 0,  0,   0,   2,   0, 0, 0,   3,   0, 0, 0,   4, 0, 0, 0,    /* its label */
    8, 9,  0,   0,   0,   0, 0, 0,   0,                             /* ADDREF 9 */
    9, 10, 0,   0,   0,   0, 0, 0,   0,                             /* UNREF 10 */
};

static struct store_batch *build(void)
{
    struct store_batch *batch = store_batch_create((struct id){{1}});
    store_batch_put(batch, slice_str("a"), slice_str("xy"));
    store_batch_del(batch, slice_str("bc"));
    store_batch_del_range(batch, slice_str("d"), slice_str("e"));
    store_batch_patch(batch, slice_str("a"), 1, slice_str("z"));
    store_batch_expect_equal(batch, slice_str("a"), slice_str("xz"));
    store_batch_expect_absent(batch, slice_str("f"));
    store_batch_blob(batch, 0x0102030405060708, (struct store_bytes){"abc", 3, NULL, NULL},
                     (struct store_label){1, 2, 3, 4});
    store_batch_addref(batch, 9);
    store_batch_unref(batch, 10);
    return batch;
}

static void format(void **state)
{
    struct store_batch *batch = build();
    assert_int_equal(store_batch_operations(batch), 9);
    assert_int_equal(store_batch_bytes(batch), 3 + 2 + 2 + 2 + 3 + 1);
    assert_true(slice_equal(buf_slice(&batch->ops), slice_make(packed, sizeof(packed))));
    store_batch_destroy(&batch);
}

static void walk(void **state)
{
    struct store_ops ops = store_ops_make(slice_make(packed, sizeof(packed)));
    struct store_op op;
    for (int kind = STORE_OP_PUT; kind <= STORE_OP_UNREF; kind++) {
        assert_true(store_ops_next(&ops, &op));
        assert_int_equal(op.kind, kind);
        if (kind == STORE_OP_BLOB) {
            assert_true(op.blob == 0x0102030405060708 && op.size == 3);
            assert_int_equal(op.label.uid, 3);
        }
        if (kind == STORE_OP_PATCH)
            assert_true(op.offset == 1 && slice_equal_str(op.value, "z"));
    }
    assert_false(store_ops_next(&ops, &op));
    assert_false(ops.failed);
}

/* Cut between two operations it is a shorter batch, cut anywhere else it is nothing. */
static void cut_anywhere(void **state)
{
    static const size_t whole[] = {0, 9, 13, 18, 30, 39, 42, 75, 84, 93};
    size_t next = 0;
    assert_int_equal(sizeof(packed), 93);
    for (size_t size = 0; size <= sizeof(packed); size++) {
        bool between = size == whole[next];
        next += between;
        assert_int_equal(store_ops_valid(slice_make(packed, size)), between);
    }
}

static bool valid(const void *bytes, size_t size)
{
    return store_ops_valid(slice_make(bytes, size));
}

static void limits(void **state)
{
    static const uint8_t empty_key[] = {2, 0}, kind_0[] = {0, 1, 'a'}, kind_10[] = {10, 1, 'a'};
    static const uint8_t blob_0[] = {8, 0, 0, 0, 0, 0, 0, 0, 0}, empty_range[] = {3, 0, 0};
    static const uint8_t far[] = {4, 1, 'a', 0xc0, 0xff, 0, 0, 1, 0, 0, 0, 'z'};  /* 65,472 */
    static const uint8_t edge[] = {4, 1, 'a', 0xbf, 0xff, 0, 0, 1, 0, 0, 0, 'z'}; /* 65,471 */
    assert_false(valid(empty_key, sizeof(empty_key)));
    assert_false(valid(kind_0, sizeof(kind_0)));
    assert_false(valid(kind_10, sizeof(kind_10)));
    assert_false(valid(blob_0, sizeof(blob_0)));
    assert_false(valid(far, sizeof(far)));
    assert_true(valid(edge, sizeof(edge)));
    assert_true(valid(empty_range, sizeof(empty_range)));
    static uint8_t many[1001 * 3];
    for (size_t i = 0; i < 1001; i++)
        memcpy(many + i * 3, "\x02\x01k", 3);
    assert_true(valid(many, 1000 * 3));
    assert_false(valid(many, 1001 * 3));
}

/* The property of the fuzz target, from this seed with every byte changed. */
static void changed_bytes(void **state)
{
    uint8_t bytes[sizeof(packed)];
    for (size_t i = 0; i < sizeof(packed); i++) {
        memcpy(bytes, packed, sizeof(packed));
        for (unsigned value = 0; value < 256; value++) {
            bytes[i] = (uint8_t)value;
            LLVMFuzzerTestOneInput(bytes, sizeof(bytes));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format), cmocka_unit_test(walk),          cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(limits), cmocka_unit_test(changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
