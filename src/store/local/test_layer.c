/* Layers compared with plain arrays: puts, deletions and ranges on two of them, one laid over the
 * other and then absorbed by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/local/layer.h"

enum { KEYS = 40, ROUNDS = 3000 };

enum known { UNKNOWN, ABSENT, PRESENT };

struct model {
    enum known known[2][KEYS]; /* partition, key */
    uint8_t value[2][KEYS];
};

static uint32_t dice_state = 12345;

static uint32_t dice(uint32_t below)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 17;
    dice_state ^= dice_state << 5;
    return dice_state % below;
}

static struct id partition_of(unsigned p)
{
    return (struct id){{(uint8_t)(p + 1)}};
}

/* Sorted by number; every second one begins with the one before it. */
static struct slice key_of(unsigned k, uint8_t out[2])
{
    out[0] = (uint8_t)(k / 2);
    out[1] = 7;
    return slice_make(out, k % 2 + 1);
}

static void change(struct layer *layer, struct model *model)
{
    unsigned p = dice(2), from = dice(KEYS), to = from + dice(8), kind = dice(4);
    uint8_t from_key[2], to_key[2], byte = (uint8_t)dice(256);
    if (kind == 0) {
        layer_del_range(layer, partition_of(p), key_of(from, from_key), key_of(to, to_key));
        for (unsigned k = from; k < to && k < KEYS; k++)
            model->known[p][k] = ABSENT;
        return;
    }
    layer_put(layer, partition_of(p), key_of(from, from_key),
              kind == 1 ? NULL : value_create(slice_make(&byte, 1)));
    model->known[p][from] = kind == 1 ? ABSENT : PRESENT;
    model->value[p][from] = byte;
}

static void compare(struct layer *layer, const struct model *model)
{
    uint8_t key[2];
    for (unsigned p = 0; p < 2; p++) {
        for (unsigned k = 0; k < KEYS; k++) {
            struct value *value;
            enum layer_found found = layer_find(layer, partition_of(p), key_of(k, key), &value);
            assert_int_equal(found, model->known[p][k] == UNKNOWN  ? LAYER_UNKNOWN
                                    : model->known[p][k] == ABSENT ? LAYER_ABSENT
                                                                   : LAYER_VALUE);
            if (found == LAYER_VALUE)
                assert_int_equal(value->bytes[0], model->value[p][k]);
        }
        struct layer_entry *entry = layer_from(layer, partition_of(p), SLICE_NONE);
        struct slice last = SLICE_NONE;
        for (; entry != NULL; entry = layer_next(entry)) {
            assert_true(id_equal(entry->partition, partition_of(p)));
            assert_true(slice_compare(last, layer_key(entry)) < 0);
            last = layer_key(entry);
        }
    }
}

static void like_a_model(void **state)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct layer below, above;
        struct model low = {0}, high = {0};
        layer_init(&below);
        layer_init(&above);
        for (unsigned i = dice(30); i > 0; i--)
            change(&below, &low);
        for (unsigned i = dice(30); i > 0; i--)
            change(&above, &high);
        compare(&below, &low);
        compare(&above, &high);
        layer_absorb(&below, &above);
        assert_int_equal(above.count, 0);
        assert_int_equal(above.bytes, 0);
        for (unsigned i = 0; i < 2 * KEYS; i++) {
            if (high.known[i / KEYS][i % KEYS] == UNKNOWN)
                continue;
            low.known[i / KEYS][i % KEYS] = high.known[i / KEYS][i % KEYS];
            low.value[i / KEYS][i % KEYS] = high.value[i / KEYS][i % KEYS];
        }
        compare(&below, &low);
        layer_finish(&below);
        assert_int_equal(below.count, 0);
        assert_int_equal(below.bytes, 0);
        layer_finish(&above);
    }
}

static void patches(void **state)
{
    struct value *value = value_create(SLICE_LITERAL("hello")), *patched;
    patched = value_patch(value, 3, SLICE_LITERAL("XY"));
    assert_true(slice_equal_str(value_slice(patched), "helXY"));
    assert_true(slice_equal_str(value_slice(value), "hello"));
    assert_null(value_patch(value, 4, SLICE_LITERAL("XY")));
    assert_null(value_patch(value, 6, SLICE_NONE));
    value_drop(&patched);
    patched = value_patch(value, 5, SLICE_NONE);
    assert_non_null(patched);
    value_drop(&patched);
    value_drop(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_a_model), cmocka_unit_test(patches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
