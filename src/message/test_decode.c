/* Decoding: examples of RFC 2045, 2047, 2231, 4648; character sets against known texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "message/decode.h"

static void expect(struct buf *out, const char *expected)
{
    assert_true(utf8_valid(buf_slice(out)));
    buf_u8(out, 0);
    assert_string_equal((const char *)out->data, expected);
    buf_finish(out);
}

static void expect_header(const char *text, const char *expected)
{
    struct buf out = {0};
    decode_header(slice_str(text), &out);
    expect(&out, expected);
}

static void headers(void **state)
{
    (void)state;
    /* RFC 2047 8 */
    expect_header("=?US-ASCII?Q?Keith_Moore?=", "Keith Moore");
    expect_header("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld J\xc3\xb8rn Simonsen");
    expect_header("=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard");
    expect_header("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n"
                  "    =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                  "If you can read this you understand the example.");
    expect_header("=?ISO-8859-1?Q?a?=", "a");
    expect_header("=?ISO-8859-1?Q?a?= b", "a b");
    expect_header("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab");
    expect_header("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab");
    expect_header("=?ISO-8859-1?Q?a_b?=", "a b");
    expect_header("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b");
    expect_header("=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"); /* RFC 2231 5 */
    /* As real mail has it: a character cut in two, spaces inside, no end, unknown set, raw bytes.
     */
    expect_header("=?utf-8?B?w6Q=?= =?utf-8?B?w6Q=?=", "\xc3\xa4\xc3\xa4");
    expect_header("=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "\xc3\xa4");
    expect_header("=?utf-8?Q?a b?=", "a b");
    expect_header("=?utf-8?Q?a", "=?utf-8?Q?a");
    expect_header("=?utf-8?X?a?=", "=?utf-8?X?a?=");
    expect_header("=?nobody?Q?=E4?=", "\xc3\xa4");
    expect_header("\xe4 \xc3\xa4", "\xc3\xa4 \xc3\x83\xc2\xa4");
    expect_header("\xc3\xa4", "\xc3\xa4");
    expect_header("=?utf-8?Q?=FF=C3=A4?=", "\xef\xbf\xbd\xc3\xa4");
    expect_header("=?=?=?==?", "=?=?=?==?");
    expect_header("", "");
}

static void expect_charset(const char *charset, const char *bytes, const char *expected)
{
    struct buf out = {0};
    assert_true(decode_charset(slice_str(charset), slice_str(bytes), &out));
    expect(&out, expected);
}

static void charsets(void **state)
{
    (void)state;
    struct buf out = {0};
    expect_charset("koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет");
    expect_charset("WINDOWS-1251", "\xcf\xf0\xe8\xe2\xe5\xf2", "Привет");
    expect_charset("iso-2022-jp", "\x1b$B$3$s$K$A$O\x1b(B", "こんにちは");
    expect_charset("Shift_JIS", "\x82\xb1\x82\xf1", "こん");
    expect_charset("euc-jp", "\xa4\xb3\xa4\xf3", "こん");
    expect_charset("gb2312", "\xc4\xe3\xba\xc3", "你好");
    expect_charset("big5", "\xa7\x41\xa6\x6e", "你好");
    expect_charset("ks_c_5601-1987", "\xbe\xc8\xb3\xe7", "안녕");
    expect_charset("iso-8859-1", "\x80\xe4", "€ä"); /* what everybody means by it */
    expect_charset("iso-8859-15", "\xa4", "€");
    expect_charset("utf-7", "+AOQ-", "ä");
    expect_charset("us-ascii", "\xc3\xa4", "ä");
    expect_charset("utf-8", "a\xffz", "a\xef\xbf\xbdz");
    static const char *const unknown[] = {"", "x", "utf-8,swaplfnl", "a b", "../x"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
        assert_false(decode_charset(slice_str(unknown[i]), slice_str("a"), &out));
    assert_int_equal(out.size, 0);
    assert_true(decode_warm_up());
}

/* A long text has lines of ASCII, which ICU is not shown where the set allows it. Second bytes may
 * be ASCII, and a tilde in HZ is none. */
static void long_texts(void **state)
{
    (void)state;
    static const struct {
        const char *charset, *encoded, *text;
    } words[] = {
        {"koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"},
        {"iso-8859-1", "\xe4", "ä"},
        {"iso-2022-jp", "\x1b$B$3$s\x1b(B", "こん"},
        {"utf-7", "+AOQ-", "ä"},
        {"hz-gb-2312", "~{Vb~}", "肘"},
        {"big5", "\xa7\x41\xa6\x6e", "你好"},
        {"gb18030", "\x81\x30\x84\x36\xc4\xe3", "¥你"},
        {"shift_jis", "\x83\x5c\x82\xf1", "ソん"},
        {"euc-kr", "\xbe\xc8\xb3\xe7", "안녕"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        struct buf encoded = {0}, text = {0}, out = {0};
        bool hz = strcmp(words[i].charset, "hz-gb-2312") == 0;
        const char *tilde = strcmp(words[i].charset, "utf-7") == 0 ? "" : "~"; /* RFC 2152: none */
        for (size_t line = 0; line < 200; line++) {
            buf_printf(&encoded, "line %zu%s", line, hz ? "~~" : tilde);
            buf_printf(&text, "line %zu%s", line, tilde);
            for (size_t n = 0; line % 5 < 2 && n < line % 3; n++) {
                buf_printf(&encoded, "a%sb", words[i].encoded);
                buf_printf(&text, "a%sb", words[i].text);
            }
            buf_add_str(&encoded, "\r\n");
            buf_add_str(&text, "\r\n");
        }
        buf_u8(&text, 0);
        assert_true(decode_charset(slice_str(words[i].charset), buf_slice(&encoded), &out));
        expect(&out, (const char *)text.data);
        buf_finish(&encoded);
        buf_finish(&text);
    }
}

static void transfers(void **state)
{
    (void)state;
    static const char *const base64[][2] = {/* RFC 4648 10 */
                                            {"", ""},
                                            {"Zg==", "f"},
                                            {"Zm8=", "fo"},
                                            {"Zm9v", "foo"},
                                            {"Zm9vYg==", "foob"},
                                            {"Zm9vYmE=", "fooba"},
                                            {"Zm9vYmFy", "foobar"},
                                            {"Zm\r\n9v Ym!Fy", "foobar"},
                                            {"Zg", "f"},
                                            {"Zg==Zg==", "ff"}};
    struct buf out = {0};
    for (size_t i = 0; i < sizeof(base64) / sizeof(*base64); i++) {
        decode_base64(slice_str(base64[i][0]), &out);
        expect(&out, base64[i][1]);
    }
    static const char *const printable[][2] = {
        {"Now's the time =\r\nfor all folk to come=\r\n to the aid of their country.", /* 6.7 (5) */
         "Now's the time for all folk to come to the aid of their country."},
        {"a=3Db=3db", "a=b=b"},
        {"soft= \t\r\nbreak", "softbreak"},
        {"bad=XY = =4", "bad=XY = =4"},
        {"end=", "end"},
        {"=\nx", "x"}};
    for (size_t i = 0; i < sizeof(printable) / sizeof(*printable); i++) {
        assert_true(
            decode_transfer(slice_str("Quoted-Printable"), slice_str(printable[i][0]), &out));
        expect(&out, printable[i][1]);
    }
}

static void other_transfers(void **state)
{
    (void)state;
    static const char *const names[] = {"7BIT", "8bit", "binary", "x-uuencode", ""};
    struct buf out = {0};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        assert_false(decode_transfer(slice_str(names[i]), slice_str("=41"), &out));
    assert_int_equal(out.size, 0);
}

static void parameters(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"title*", "us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "This is ***fun***"},
        {"filename*", "iso-8859-1''%E4.txt", "ä.txt"},
        {"filename*", "''%C3%A4", "ä"},
        {"filename*", "no-quotes%20x", "no-quotes x"},
        {"filename*", "one'quote", "one'quote"},
        {"filename*", "utf-8''50%", "50%"},
        {"filename", "=?utf-8?Q?=C3=A4?=.txt", "ä.txt"},
        {"filename", "100%25", "100%25"},
        {"filename*", "", ""}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct buf out = {0};
        decode_parameter(slice_str(cases[i][0]), slice_str(cases[i][1]), &out);
        expect(&out, cases[i][2]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),         cmocka_unit_test(charsets),
        cmocka_unit_test(long_texts),      cmocka_unit_test(transfers),
        cmocka_unit_test(other_transfers), cmocka_unit_test(parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
