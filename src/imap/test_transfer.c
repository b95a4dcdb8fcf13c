/* Encodings taken off piece by piece: RFC 2045's own examples, and random text at every split,
 * compared with message/decode.c, which has the whole at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "imap/transfer.h"
#include "message/decode.h"

static void decode_at(const char *encoding, struct slice text, size_t split, struct buf *out)
{
    struct transfer transfer;
    assert_true(transfer_begin(&transfer, slice_str(encoding)));
    transfer_feed(&transfer, slice_sub(text, 0, split), out);
    transfer_feed(&transfer, slice_sub(text, split, text.size), out);
    transfer_end(&transfer, out);
}

static void expect(const char *encoding, const char *text, const char *plain)
{
    for (size_t split = 0; split <= strlen(text); split++) {
        struct buf out = {0};
        decode_at(encoding, slice_str(text), split, &out);
        assert_true(slice_equal_str(buf_slice(&out), plain));
        buf_finish(&out);
    }
}

static void test_examples(void **state)
{
    expect("Quoted-Printable",
           "Now's the time =\r\nfor all folk to come=\r\n to the aid of their country.",
           "Now's the time for all folk to come to the aid of their country."); /* 6.7 (5) */
    expect("quoted-printable", "a=3Db =e9= \t\r\nx=4", "a=b \xe9x=4");
    expect("quoted-printable", "= x==41=", "= x=A");
    expect("BASE64", "aGVs\r\nbG8=\r\n", "hello");
    expect("base64", "YQ==Yg==", "ab");
    expect("8bit", "a=3D", "a=3D");
    struct transfer transfer;
    assert_false(transfer_begin(&transfer, slice_str("x-uuencode")));
    assert_false(transfer_begin(&transfer, slice_str("")));
}

static void test_random(void **state)
{
    static const char letters[] = "=== \t\r\n4aFZz+/-_.\xe9";
    uint64_t seed = 7;
    for (int round = 0; round < 3000; round++) {
        char text[24];
        struct buf whole[2] = {{0}, {0}};
        size_t size = (size_t)round % sizeof(text);
        for (size_t i = 0; i < size; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[i] = letters[(seed >> 33) % (sizeof(letters) - 1)];
        }
        struct slice all = slice_make((const uint8_t *)text, size);
        decode_base64(all, &whole[0]);
        decode_quoted_printable(all, &whole[1]);
        for (size_t split = 0; split <= size; split++) {
            for (int kind = 0; kind < 2; kind++) {
                struct buf out = {0};
                decode_at(kind == 0 ? "base64" : "quoted-printable", all, split, &out);
                assert_true(slice_equal(buf_slice(&out), buf_slice(&whole[kind])));
                buf_finish(&out);
            }
        }
        buf_finish(&whole[0]);
        buf_finish(&whole[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
