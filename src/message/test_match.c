/*
 * The matcher: character sets (bytes made by Python's codecs), encodings, HTML, where a needle is
 * looked for, needles across every border of the window.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/mem.h"
#include "message/match.h"
#include "message/parse.h"

static struct fold *fold;

static int setup(void **state)
{
    fold = fold_create();
    return fold == NULL;
}

static int teardown(void **state)
{
    fold_destroy(&fold);
    return 0;
}

/* What a worker finds, with what a reader folds for it. */
static bool found_folded(struct match *match, struct slice message)
{
    struct buf folded = {0}, packed = {0};
    struct arena arena = {0};
    struct summary summary;
    struct needle *needles;
    size_t count;
    uint8_t bits[1] = {0};
    parse_message(message, &arena, &summary);
    assert_true(match_fold(fold, &summary, &folded));
    assert_true(match_batch(match, SLICE_NONE, 0, &packed));
    assert_true(needle_unpack(buf_slice(&packed), &arena, &needles, &count));
    assert_int_equal(count, 1);
    needle_folded_look(needles, count, buf_slice(&folded), bits);
    for (size_t cut = 0; cut < folded.size; cut++) { /* as a disk may show them */
        uint8_t *rest = mem_dup(folded.data, cut);
        needle_folded_look(needles, count, slice_make(rest, cut), (uint8_t[1]){0});
        free(rest);
    }
    buf_finish(&folded);
    buf_finish(&packed);
    arena_finish(&arena);
    return bits[0] != 0;
}

static bool found_in(const char *charset, enum needle_where where, const char *field,
                     struct slice needle, struct slice message)
{
    struct needle wanted = {.where = where, .field = slice_str(field), .text = needle};
    struct buf packed = {0};
    enum match_problem problem;
    uint8_t bits[1] = {0};
    needle_pack(&wanted, &packed);
    struct match *match = match_create(fold, slice_str(charset), buf_slice(&packed), &problem);
    assert_non_null(match);
    match_message(match, message, bits);
    if (needle_in_folded(where))
        assert_int_equal(bits[0] != 0, found_folded(match, message));
    match_destroy(&match);
    buf_finish(&packed);
    return bits[0] != 0;
}

static bool found(enum needle_where where, const char *needle, const char *message)
{
    return found_in("", where, "", slice_str(needle), slice_str(message));
}

#define HIT(where, needle, message) assert_true(found(NEEDLE_##where, needle, message))
#define MISS(where, needle, message) assert_false(found(NEEDLE_##where, needle, message))

/* ---- character sets ------------------------------------------------------------------------ */

#define BYTES(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct {
    const char *charset;
    struct slice bytes;
    const char *utf8;
} words[] = {
    /* clang-format off */
    {"iso-8859-1", BYTES("Gr\366\337e"),
     "Gr\303\266\303\237e"},
    {"iso-8859-2", BYTES("\257\363\263w"),
     "\305\273\303\263\305\202w"},
    {"windows-1250", BYTES("P\370\355li\232"),
     "P\305\231\303\255li\305\241"},
    {"windows-1251", BYTES("\317\360\350\342\345\362"),
     "\320\237\321\200\320\270\320\262\320\265\321\202"},
    {"koi8-r", BYTES("\263\314\313\301"),
     "\320\201\320\273\320\272\320\260"},
    {"koi8-u", BYTES("\267\326\301\313"),
     "\320\207\320\266\320\260\320\272"},
    {"iso-8859-5", BYTES("\274\330\340"),
     "\320\234\320\270\321\200"},
    {"iso-8859-7", BYTES("\312\341\353\347\354\335\361\341"),
     "\316\232\316\261\316\273\316\267\316\274\316\255\317\201\316\261"},
    {"windows-1253", BYTES("\305\353\353\334\344\341"),
     "\316\225\316\273\316\273\316\254\316\264\316\261"},
    {"iso-8859-9", BYTES("I\376\375k"),
     "I\305\237\304\261k"},
    {"windows-1252", BYTES("\223na\357ve\224"),
     "\342\200\234na\303\257ve\342\200\235"},
    {"macintosh", BYTES("\202\216dille"),
     "\303\207\303\251dille"},
    {"shift_jis", BYTES("\202\261\202\361\202\311\202\277\202\315"),
     "\343\201\223\343\202\223\343\201\253\343\201\241\343\201\257"},
    {"euc-jp", BYTES("\305\354\265\376\305\324"),
     "\346\235\261\344\272\254\351\203\275"},
    {"iso-2022-jp", BYTES("\033$BF|K\1348l\033(B"),
     "\346\227\245\346\234\254\350\252\236"},
    {"gb2312", BYTES("\304\343\272\303\312\300\275\347"),
     "\344\275\240\345\245\275\344\270\226\347\225\214"},
    {"gb18030", BYTES("\235h\327\326\2252\2026"),
     "\346\274\242\345\255\227\360\240\200\200"},
    {"big5", BYTES("\301c\305\351\244\244\244\345"),
     "\347\271\201\351\253\224\344\270\255\346\226\207"},
    {"euc-kr", BYTES("\276\310\263\347\307\317\274\274\277\344"),
     "\354\225\210\353\205\225\355\225\230\354\204\270\354\232\224"},
    {"iso-2022-kr", BYTES("\033$)C\016GQ19>n\017"),
     "\355\225\234\352\265\255\354\226\264"},
    {"utf-16", BYTES("\377\376\334\000n\000\357\000c\000o\000d\000e\000"),
     "\303\234n\303\257code"},
    {"utf-7", BYTES("+ANw-bung +JgM-"),
     "\303\234bung \342\230\203"},
    {"windows-1256", BYTES("\343\321\315\310\307"),
     "\331\205\330\261\330\255\330\250\330\247"},
    {"iso-8859-8", BYTES("\371\354\345\355"),
     "\327\251\327\234\327\225\327\235"},
    {"tis-620", BYTES("\312\307\321\312\264\325"),
     "\340\270\252\340\270\247\340\270\261\340\270\252\340\270\224\340\270\265"},
    {"utf-8", BYTES("\357\254\201nal Stra\303\237e \342\205\267"),
     "\357\254\201nal Stra\303\237e \342\205\267"},
    {"hz-gb-2312", BYTES("~{VPND~}"),
     "\344\270\255\346\226\207"},
    /* clang-format on */
};

static void put_base64(struct buf *out, struct slice bytes, size_t line)
{
    struct buf whole = {0};
    base64_encode(bytes, &whole);
    for (size_t at = 0; at < whole.size; at += line) {
        buf_add_slice(out, slice_sub(buf_slice(&whole), at, line));
        buf_add_str(out, "\r\n");
    }
    buf_finish(&whole);
}

static void put_quoted_printable(struct buf *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        buf_printf(out, i % 3 == 2 ? "=%02X=\r\n" : "=%02X", bytes.data[i]);
}

static void charsets(void **state)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        for (size_t line = 0; line < 9; line++) {
            struct buf message = {0};
            buf_printf(&message, "Content-Type: text/plain; charset=\"%s\"\r\n", words[i].charset);
            buf_printf(&message, "Content-Transfer-Encoding: %s\r\n\r\n",
                       line == 0 ? "quoted-printable" : "base64");
            if (line == 0)
                put_quoted_printable(&message, words[i].bytes);
            else
                put_base64(&message, words[i].bytes, line);
            struct slice bytes = buf_slice(&message);
            struct slice utf8 = slice_str(words[i].utf8);
            bool here = found_in("", NEEDLE_BODY, "", utf8, bytes) &&
                        found_in(words[i].charset, NEEDLE_BODY, "", words[i].bytes, bytes) &&
                        !found_in("", NEEDLE_SUBJECT, "", utf8, bytes);
            if (!here)
                fail_msg("%s, line %zu", words[i].charset, line);
            buf_finish(&message);
        }
}

static void encoded_words(void **state)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        struct buf message = {0}, text = {0};
        base64_encode(words[i].bytes, &text);
        buf_printf(&message, "Subject: a =?%s?B?%.*s?=\r\n =?%s?q?", words[i].charset,
                   SLICE_PRINT(buf_slice(&text)), words[i].charset);
        for (size_t b = 0; b < words[i].bytes.size; b++)
            buf_printf(&message, "=%02x", words[i].bytes.data[b]);
        buf_add_str(&message, "?= z\r\n\r\n");
        if (!found_in("", NEEDLE_SUBJECT, "", slice_str(words[i].utf8), buf_slice(&message)))
            fail_msg("%s", words[i].charset);
        buf_finish(&message);
        buf_finish(&text);
    }
    /* A character cut in two, between two words. */
    HIT(SUBJECT, "x\303\244y", "Subject: =?utf-8?q?x=C3?=\r\n =?utf-8?q?=A4y?=\r\n\r\n");
    HIT(FROM, "k\303\266hler <k@x.example>",
        "From: =?utf-8?b?S8O2aGxlcg==?= <k@x.example>, b@c\r\n\r\n");
}

/* ---- case ---------------------------------------------------------------------------------- */

/* RFC 5051 2: titlecase and decompositions; and full case folding beyond it. */
static void letters(void **state)
{
    HIT(BODY, "STRASSE", "\r\ndie Stra\303\237e\r\n");
    HIT(BODY, "stra\303\237e", "\r\nSTRASSE\r\n");
    HIT(BODY, "\316\243\316\237\316\246\316\237\316\243", /* capital sigmas, final sigma */
        "\r\n\317\203\316\277\317\206\316\277\317\202\r\n");
    HIT(BODY, "e\314\201te\314\201", "\r\n\303\211T\303\211\r\n"); /* composed or not */
    HIT(BODY, "\303\251t\303\251", "\r\nE\314\201TE\314\201\r\n");
    HIT(BODY, "final", "\r\n\357\254\201nal\r\n");                    /* a ligature */
    HIT(BODY, "abc", "\r\n\357\274\241\357\274\242\357\274\243\r\n"); /* full width */
    HIT(BODY, "i", "\r\n\304\261\r\n");     /* dotless: its title case is I */
    HIT(BODY, "k", "\r\n\342\204\252\r\n"); /* Kelvin */
    HIT(BODY, "\320\257\320\221", "\r\n\321\217\320\261\r\n");
    MISS(BODY, "\303\251", "\r\ne\r\n");
    MISS(BODY, "o", "\r\n\303\270\r\n"); /* a letter of its own */
    HIT(BODY, "a b", "\r\nA\r\n \t B\r\n");
    HIT(BODY, "report", "\r\nre\302\255port\r\n"); /* soft hyphen */
    MISS(BODY, "ab", "\r\na b\r\n");
}

/* ---- HTML ---------------------------------------------------------------------------------- */

#define HTML "Content-Type: text/html; charset=utf-8\r\n\r\n"

static void html(void **state)
{
    HIT(BODY, "caf\303\251", HTML "caf&eacute;");
    HIT(BODY, "\342\202\254 5", HTML "&euro;&nbsp;5");
    HIT(BODY, "\316\261\316\262", HTML "&#945;&#x3B2;");
    HIT(BODY, "\342\200\231s", HTML "&#146;s"); /* as windows-1252: WHATWG 13.2.5.80 */
    HIT(BODY, "a<b & c", HTML "a&lt;b &amp; c");
    HIT(BODY, "hello world", HTML "<p>he<b>ll</b>o<br>world</p>");
    MISS(BODY, "helloworld", HTML "<p>hello</p><p>world</p>");
    MISS(BODY, "href", HTML "<a href=\"x\">y</a>");
    MISS(BODY, "color", HTML "<style>p { color: red }</style>y");
    MISS(BODY, "alert", HTML "<script>alert(1)</script>y");
    HIT(BODY, "&nosuch; &", HTML "&nosuch; &");
    HIT(BODY, "1 < 2", HTML "1 < 2");
    HIT(BODY, "<b>", "\r\n<b>");
}

/* ---- where --------------------------------------------------------------------------------- */

static const char nested[] = "From: outer@example.org\r\n"
                             "X-Note: one\r\n"
                             "x-note: two\r\n"
                             "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
                             "preamble\r\n"
                             "--b\r\nContent-Type: message/rfc822\r\n\r\n"
                             "From: inner@example.org\r\n\r\ninside\r\n"
                             "--b\r\nContent-Type: image/png; name=\"x.png\"\r\n\r\npicture\r\n"
                             "--b\r\nContent-Type: application/json\r\n\r\n{json}\r\n"
                             "--b\r\nContent-Type: application/x\r\n\r\nbin\377ary\r\n"
                             "--b--\r\nepilogue\r\n";

static bool field_found(const char *field, const char *needle)
{
    return found_in("", NEEDLE_FIELD, field, slice_str(needle), slice_str(nested));
}

static void places(void **state)
{
    HIT(FROM, "OUTER@EXAMPLE.ORG", nested);
    MISS(FROM, "inner", nested);
    HIT(BODY, "inner@", nested);
    MISS(BODY, "outer@", nested);
    HIT(TEXT, "outer@", nested);
    HIT(TEXT, "from: outer", nested);
    HIT(TEXT, "x.png", nested);
    MISS(BODY, "x.png", nested);
    MISS(TEXT, "picture", nested);
    MISS(TEXT, "preamble", nested);
    MISS(TEXT, "epilogue", nested);
    HIT(BODY, "{json}", nested);
    MISS(BODY, "ary", nested);
    HIT(BODY, "", "");
    HIT(TEXT, "", "a: b\r\n\r\n");
    MISS(SUBJECT, "", nested);
    HIT(FROM, "", nested);
    assert_true(field_found("X-NOTE", "one"));
    assert_true(field_found("x-note", "TWO"));
    assert_true(field_found("x-note", ""));
    assert_false(field_found("x-note", "three"));
    assert_false(field_found("x-not", ""));
    assert_true(field_found("content-type", "boundary=B"));
}

/* ---- the window ---------------------------------------------------------------------------- */

static void borders(void **state)
{
    static const char *const headers[] = {"\r\n", HTML};
    for (size_t h = 0; h < 2; h++)
        for (size_t fill = 64 * 1024 - 40; fill < 64 * 1024 + 40; fill++) {
            struct buf message = {0};
            buf_add_str(&message, headers[h]);
            memset(buf_extend(&message, fill), 'x', fill);
            buf_add_str(&message, "N\303\204DEL");
            memset(buf_extend(&message, 200 * 1024), 'y', 200 * 1024);
            struct slice bytes = buf_slice(&message);
            assert_true(found_in("", NEEDLE_BODY, "", slice_str("n\303\244del"), bytes));
            assert_true(found_in("", NEEDLE_BODY, "", slice_str("xn\303\244dely"), bytes));
            assert_false(found_in("", NEEDLE_BODY, "", slice_str("yn\303\244del"), bytes));
            buf_finish(&message);
        }
}

/* ---- packing ------------------------------------------------------------------------------- */

static struct match *make(const char *charset, struct slice packed, enum match_problem *problem)
{
    return match_create(fold, slice_str(charset), packed, problem);
}

/* Every cut of the needles and of a batch is noticed. */
static void packing(void **state)
{
    struct buf packed = {0}, batch = {0}, bits = {0};
    uint8_t head[NEEDLE_RECORD_SIZE];
    enum match_problem problem;
    needle_pack(&(struct needle){.where = NEEDLE_TEXT, .text = SLICE_LITERAL("b")}, &packed);
    needle_pack(&(struct needle){.where = NEEDLE_BODY, .text = SLICE_LITERAL("a")}, &packed);
    for (size_t cut = 1; cut < packed.size; cut++)
        if (cut != packed.size / 2) {
            assert_null(make("", slice_sub(buf_slice(&packed), 0, cut), &problem));
            assert_int_equal(problem, MATCH_PROBLEM_MALFORMED);
        }
    assert_null(make("x-nobody", SLICE_NONE, &problem));
    assert_int_equal(problem, MATCH_PROBLEM_CHARSET);
    struct match *match = make("utf-8", buf_slice(&packed), &problem);
    assert_int_equal(match_count(match), 2);
    for (int i = 0; i < 2; i++) {
        needle_record_head(NEEDLE_MESSAGE, 0, 8, head);
        buf_add(&batch, head, sizeof(head));
        buf_add_str(&batch, i == 0 ? "\r\nabc\r\n\n" : "b:b\r\n\r\nx");
    }
    assert_true(match_batch(match, buf_slice(&batch), 2, &bits));
    assert_int_equal(bits.size, 2);
    assert_int_equal(bits.data[0], 3);
    assert_int_equal(bits.data[1], 1);
    assert_false(match_batch(match, buf_slice(&batch), 1, &bits));
    assert_false(match_batch(match, buf_slice(&batch), 3, &bits));
    for (size_t cut = 0; cut < batch.size; cut++)
        assert_false(match_batch(match, slice_sub(buf_slice(&batch), 0, cut), 2, &bits));
    batch.data[0] = 7;
    assert_false(match_batch(match, buf_slice(&batch), 2, &bits));
    match_destroy(&match);
    buf_finish(&packed);
    buf_finish(&batch);
    buf_finish(&bits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charsets), cmocka_unit_test(encoded_words), cmocka_unit_test(letters),
        cmocka_unit_test(html),     cmocka_unit_test(places),        cmocka_unit_test(borders),
        cmocka_unit_test(packing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
