/*
 * Modified UTF-7. The examples are from RFC 3501 5.1.3 or made by hand from UTF-16 and RFC 2045's
 * alphabet; then everything that decodes must encode to itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "imap/utf7.h"

static void check_both(const char *utf7, const char *utf8)
{
    struct buf out = {0};
    assert_true(utf7_decode(slice_str(utf7), &out));
    assert_true(slice_equal_str(buf_slice(&out), utf8));
    buf_clear(&out);
    utf7_encode(slice_str(utf8), &out);
    assert_true(slice_equal_str(buf_slice(&out), utf7));
    buf_finish(&out);
}

static void test_examples(void **state)
{
    check_both("INBOX", "INBOX");
    check_both("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語");
    check_both("&-", "&");
    check_both("a&-b", "a&b");
    check_both("Entw&APw-rfe", "Entwürfe");
    check_both("&2D3cqQ-", "💩"); /* D83D DCA9 */
    check_both("&AOk-&-", "é&");
    check_both("", "");
}

static void refuse(const char *utf7)
{
    struct buf out = {0};
    buf_add_str(&out, "x");
    assert_false(utf7_decode(slice_str(utf7), &out));
    assert_true(slice_equal_str(buf_slice(&out), "x"));
    buf_finish(&out);
}

static void test_refused(void **state)
{
    refuse("&");                  /* no end */
    refuse("&Jjo");               /* the RFC's own: no "-" */
    refuse("&Jjo!");              /* not of the alphabet */
    refuse("&AGE-");              /* "a" stands for itself */
    refuse("&AOk-&AOk-");         /* "superfluous shift" */
    refuse("&U,BTFw-&ZeVnLIqe-"); /* the RFC's own example of it */
    refuse("&2D0-");              /* half a pair */
    refuse("&3Kk-");              /* the other half */
    refuse("&2D0AYQ-");
    refuse("&AOl-");    /* stray bits */
    refuse("&AO-");     /* not enough bits */
    refuse("&AAA-");    /* NUL */
    refuse("\xc3\xa9"); /* 8-bit */
    refuse("a\tb");
    refuse("&AOk=-");
}

static void test_every_character(void **state)
{
    for (uint32_t c = 1; c <= 0x10ffff; c += c < 0x3000 ? 1 : 37) {
        uint8_t utf8[4];
        struct buf utf7 = {0}, back = {0};
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        struct slice in = slice_make(utf8, utf8_encode(c, utf8));
        utf7_encode(in, &utf7);
        for (size_t i = 0; i < utf7.size; i++)
            assert_true(utf7.data[i] >= 0x20 && utf7.data[i] < 0x7f);
        assert_true(utf7_decode(buf_slice(&utf7), &back));
        assert_true(slice_equal(buf_slice(&back), in));
        buf_finish(&utf7);
        buf_finish(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
