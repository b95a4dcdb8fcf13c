/* The scan that finds boundary lines, against the plainest loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "message/scan.h"

/* The fast scan against a plain one, at every alignment. */
static void scan_matches_plain(void **state)
{
    (void)state;
    struct buf bytes = {0};
    static const char alphabet[] = "\n--x\n-";
    uint32_t random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * 1664525 + 1013904223;
        buf_u8(&bytes, (uint8_t)(random >> 28 < 8 ? 'y' : alphabet[(random >> 16) % 6]));
    }
    memset(buf_extend(&bytes, 9000), '\n', 9000); /* more feeds than a byte counts */
    const uint8_t *base = bytes.data;
    const uint8_t *end = base + bytes.size;
    for (size_t from = 0; from < 20000; from += 7) {
        uint64_t lines = 0, plain_lines = 0;
        const uint8_t *found = scan_dashes(base + from, end, &lines);
        const uint8_t *plain = base + from;
        while (plain < end) {
            bool feed = *plain++ == '\n';
            plain_lines += feed;
            if (feed && end - plain >= 2 && plain[0] == '-' && plain[1] == '-')
                break;
        }
        assert_ptr_equal(found, plain);
        assert_int_equal(lines, plain_lines);
    }
    uint64_t lines = 0;
    assert_ptr_equal(scan_dashes(end - 9000, end, &lines), end);
    assert_int_equal(lines, 9000);
    buf_finish(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scan_matches_plain)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
