/*
 * Fields: addresses, dates, MIME parameters, header iteration. Examples from RFC 5322 appendix A,
 * RFC 2231, RFC 2183, RFC 3501; dates checked against date(1).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "message/address.h"
#include "message/content.h"
#include "message/date.h"
#include "message/fields.h"

static void show_text(struct slice text, struct buf *out)
{
    if (text.data == NULL)
        buf_add_str(out, "-");
    else
        buf_printf(out, "\"%.*s\"", SLICE_PRINT(text));
}

/* Each address as name|route|mailbox|host, "-" for NIL. */
static void expect_addresses(const char *value, const char *expected)
{
    struct arena arena = {0};
    struct summary_addresses list = {0};
    struct buf out = {0};
    address_parse(slice_str(value), &arena, &list);
    for (uint32_t i = 0; i < list.count; i++) {
        const struct summary_address *address = &list.list[i];
        const struct slice texts[] = {address->name, address->route, address->mailbox,
                                      address->host};
        if (i > 0)
            buf_add_str(&out, " ");
        for (size_t k = 0; k < 4; k++) {
            if (k > 0)
                buf_add_str(&out, "|");
            show_text(texts[k], &out);
        }
    }
    buf_u8(&out, 0);
    assert_string_equal((const char *)out.data, expected);
    buf_finish(&out);
    arena_finish(&arena);
}

static void addresses_rfc5322(void **state)
{
    (void)state;
    /* A.1.1, A.1.2 */
    expect_addresses("John Doe <jdoe@machine.example>",
                     "\"John Doe\"|-|\"jdoe\"|\"machine.example\"");
    expect_addresses("\"Joe Q. Public\" <john.q.public@example.com>",
                     "\"Joe Q. Public\"|-|\"john.q.public\"|\"example.com\"");
    expect_addresses("Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                     "\"Mary Smith\"|-|\"mary\"|\"x.test\" -|-|\"jdoe\"|\"example.org\" "
                     "\"Who?\"|-|\"one\"|\"y.test\"");
    expect_addresses("<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                     "-|-|\"boss\"|\"nil.test\" "
                     "\"Giant; \"Big\" Box\"|-|\"sysservices\"|\"example.net\"");
    /* A.1.3 */
    expect_addresses("A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                     "-|-|\"A Group\"|- \"Ed Jones\"|-|\"c\"|\"a.test\" "
                     "-|-|\"joe\"|\"where.test\" \"John\"|-|\"jdoe\"|\"one.test\" -|-|-|-");
    expect_addresses("Undisclosed recipients:;", "-|-|\"Undisclosed recipients\"|- -|-|-|-");
    /* A.5: comments everywhere */
    expect_addresses("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
                     "\"Pete\"|-|\"pete\"|\"silly.test\"");
    expect_addresses("A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,"
                     "\r\n         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); "
                     "(the end of the group)",
                     "-|-|\"A Group\"|- \"Chris Jones\"|-|\"c\"|\"public.example\" "
                     "-|-|\"joe\"|\"example.org\" \"John\"|-|\"jdoe\"|\"one.test\" -|-|-|-");
    expect_addresses("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
                     "-|-|\"Hidden recipients\"|- -|-|-|-");
    /* A.6.1, A.6.3 */
    expect_addresses("Joe Q. Public <john.q.public@example.com>",
                     "\"Joe Q. Public\"|-|\"john.q.public\"|\"example.com\"");
    expect_addresses("Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                     "\"Mary Smith\"|\"@node.test\"|\"mary\"|\"example.net\" "
                     "-|-|\"jdoe\"|\"test.example\"");
    expect_addresses("John Doe <jdoe@machine(comment).  example>",
                     "\"John Doe\"|-|\"jdoe\"|\"machine.example\"");
    expect_addresses("<@a,@b:c@d>", "-|\"@a,@b\"|\"c\"|\"d\"");
    /* RFC 5321 4.1.3 literals */
    expect_addresses("a@[192.0.2.1], <b@[IPv6:2001:db8::1]>",
                     "-|-|\"a\"|\"[192.0.2.1]\" -|-|\"b\"|\"[IPv6:2001:db8::1]\"");
    expect_addresses("\"john doe\"@x.test", "-|-|\"john doe\"|\"x.test\"");
}

static void addresses_real(void **state)
{
    (void)state;
    expect_addresses("", "");
    expect_addresses(" , ,; ", "");
    /* A comment names where no phrase does (RFC 822 time, and today's cron). */
    expect_addresses("user@domain (Real Name)", "\"Real Name\"|-|\"user\"|\"domain\"");
    expect_addresses("<user@domain> (Real Name), b@c",
                     "\"Real Name\"|-|\"user\"|\"domain\" -|-|\"b\"|\"c\"");
    expect_addresses("root (Cron Daemon)", "\"Cron Daemon\"|-|\"root\"|\"\"");
    expect_addresses("Some Name a@b", "\"Some Name\"|-|\"a\"|\"b\"");
    expect_addresses("a@b; c@d;e@f", "-|-|\"a\"|\"b\" -|-|\"c\"|\"d\" -|-|\"e\"|\"f\"");
    expect_addresses("Name <a@b", "\"Name\"|-|\"a\"|\"b\"");
    expect_addresses("Name <a@b, C <c@d>", "\"Name\"|-|\"a\"|\"b\" \"C\"|-|\"c\"|\"d\"");
    expect_addresses("\"unended <a@b>", "\"unended\"|-|\"a\"|\"b\"");
    expect_addresses("(unended <a@b>", "\"unended\"|-|\"a\"|\"b\"");
    expect_addresses("<>", "-|-|\"\"|\"\"");
    expect_addresses("\"a@b.c\" <d@e>", "\"a@b.c\"|-|\"d\"|\"e\"");
    expect_addresses("<\"a>b\"@c>", "-|-|\"a>b\"|\"c\"");
    expect_addresses("a@b <c@d>", "\"a@b\"|-|\"c\"|\"d\"");
    expect_addresses("g: a@b", "-|-|\"g\"|- -|-|\"a\"|\"b\" -|-|-|-");
    expect_addresses("=?utf-8?Q?J=C3=BCrgen?= <j@x>", "\"=?utf-8?Q?J=C3=BCrgen?=\"|-|\"j\"|\"x\"");
    expect_addresses("J\xc3\xbcrgen <j\xc3\xbc@x>", "\"J\xc3\xbcrgen\"|-|\"j\xc3\xbc\"|\"x\"");
}

static void expect_date(const char *value, int64_t expected)
{
    int64_t seconds;
    if (!date_parse(slice_str(value), &seconds))
        fail_msg("no date in \"%s\"", value);
    if (seconds != expected)
        fail_msg("\"%s\" is %lld, not %lld", value, (long long)seconds, (long long)expected);
}

static void dates(void **state)
{
    (void)state;
    /* RFC 5322 appendix A; expected: date -u -d */
    expect_date("Fri, 21 Nov 1997 09:55:06 -0600", 880127706);
    expect_date("Tue, 1 Jul 2003 10:52:37 +0200", 1057049557);
    expect_date("Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n"
                "               -0330 (Newfoundland Time)",
                -27723480);
    expect_date("21 Nov 97 09:55:06 GMT", 880106106); /* A.6.2 */
    /* Spaces inside the time, which A.6.3 allows: nobody writes that; the time is not read. */
    expect_date("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880070400);
    expect_date("1 Jan 00 00:00:00 Z", 946684800);
    expect_date("1 Jan 49 00:00:00 UT", 2493072000);
    expect_date("1 Jan 50 00:00:00 UT", -631152000);
    expect_date("1 Jan 104 00:00:00 UT", 1072915200);
    expect_date("Mon, 1 Jan 2001 00:00:00 EST", 978325200);
    expect_date("Mon, 1 Jan 2001 00:00:00 PDT", 978332400);
    expect_date("Mon, 1 Jan 2001 00:00:00 K", 978307200); /* 4.3: military means -0000 */
    expect_date("Mon, 1 Jan 2001 23:59:60 +0000", 978393600);
    /* RFC 5256 2.2: bad zone is UTC, bad time is midnight. */
    expect_date("Mon, 1 Jan 2001 01:00:00 nowhere", 978310800);
    expect_date("Mon, 1 Jan 2001 25:00:00 +0000", 978307200);
    expect_date("Mon, 1 Jan 2001", 978307200);
    /* As real mail has it. */
    expect_date("Wed Jun 30 21:49:08 1993", 741476948);
    expect_date("Mon Jan  1 01:00:00 EST 2001", 978328800);
    expect_date("2001-01-01 01:00:00 +0100", 978307200);
    expect_date("2001-01-01T01:00:00Z", 978310800);
    expect_date("1-Jan-2001 01:00:00 +0100", 978307200);
    expect_date("2002-09-07T06:10:55-08:00", 1031407855);
    expect_date("2002-09-24T05:32:00-0700", 1032870720);
    expect_date("01 Jan 2001 00:01+0000", 978307260);
    expect_date("1 Jan 2001 01:00:00.123 +01:00", 978307200);
    expect_date("29 Feb 2000 00:00:00 +0000", 951782400);
    expect_date("31 Dec 9999 23:59:59 -2359", 253402387139);
    static const char *const none[] = {
        "",         "yesterday", "32 Jan 2001 00:00:00 +0000",   "29 Feb 2001", "1 Foo 2001",
        "12:00:00", "Jan 2001",  "99999999999999999999 Jan 2001"};
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
        if (date_parse(slice_str(none[i]), &(int64_t){0}))
            fail_msg("a date in \"%s\"", none[i]);
}

/* type/subtype; name=value; ... */
static void expect_type(const char *value, const char *expected)
{
    struct arena arena = {0};
    struct summary_part part = {0};
    struct buf out = {0};
    if (content_type_parse(slice_str(value), &arena, &part))
        buf_printf(&out, "%.*s/%.*s", SLICE_PRINT(part.type), SLICE_PRINT(part.subtype));
    for (uint32_t i = 0; i < part.parameter_count; i++)
        buf_printf(&out, "; %.*s=%.*s", SLICE_PRINT(part.parameters[i].name),
                   SLICE_PRINT(part.parameters[i].value));
    buf_u8(&out, 0);
    assert_string_equal((const char *)out.data, expected);
    buf_finish(&out);
    arena_finish(&arena);
}

static void content_types(void **state)
{
    (void)state;
    /* RFC 2045 5.1: these two are the same. */
    expect_type("text/plain; charset=us-ascii (Plain text)", "text/plain; charset=us-ascii");
    expect_type("text/plain; charset=\"us-ascii\"", "text/plain; charset=us-ascii");
    expect_type("multipart/mixed; boundary=\"gc0pJq0M:08jU534c0p\"", /* RFC 2046 5.1.1 */
                "multipart/mixed; boundary=gc0pJq0M:08jU534c0p");
    expect_type(" text (c) / (c) html ;;; a = b ; c", "text/html; a=b");
    expect_type("text/plain charset=utf-8", "text/plain; charset=utf-8");
    expect_type("a/b; name=My File.txt; x=y", "a/b; name=My File.txt; x=y");
    expect_type("a/b; boundary=----=_Part_1.2", "a/b; boundary=----=_Part_1.2");
    expect_type("a/b; n=\"a \\\"q\\\" \\\\ b\"", "a/b; n=a \"q\" \\ b");
    expect_type("a/b; n=\"folded\r\n value\"", "a/b; n=folded value");
    expect_type("a/b; n=\"unended; m=2", "a/b; n=unended; m=2");
    expect_type("a/b; n=\"\"", "a/b; n=");
    expect_type("a/b; =x; \"y\"", "a/b");
    expect_type("a", "");
    expect_type("", "");
}

static void parameters_rfc2231(void **state)
{
    (void)state;
    /* RFC 2231 3 */
    expect_type("message/external-body; access-type=URL;\r\n"
                "         URL*0=\"ftp://\";\r\n"
                "         URL*1=\"cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar\"",
                "message/external-body; access-type=URL; "
                "URL=ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar");
    /* 4 */
    expect_type("application/x-stuff;\r\n"
                " title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
                "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A");
    /* 4.1: the last piece is not encoded, so it gets encoded */
    expect_type("application/x-stuff;\r\n"
                "    title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n"
                "    title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n"
                "    title*2=\"isn't it!\"",
                "application/x-stuff; title*=us-ascii'en'This%20is%20even%20more%20"
                "%2A%2A%2Afun%2A%2A%2A%20isn%27t%20it!");
    /* The order does not matter; a gap ends it; pieces without a first stay. */
    expect_type("a/b; x*2=c; x*0=a; y=z; x*1=b", "a/b; x=abc; y=z");
    expect_type("a/b; x*0=a; x*2=c", "a/b; x=a");
    expect_type("a/b; x*1=b", "a/b; x*1=b");
    expect_type("a/b; x*0=a; x*1*=%20b", "a/b; x*=''a%20b");
    expect_type("a/b; x*99999999999=b", "a/b; x*99999999999=b");
}

static void dispositions(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct summary_part part = {0};
    /* RFC 2183 2.10 and 3 */
    content_disposition_parse(slice_str("attachment; filename=genome.jpeg;\r\n"
                                        "  modification-date=\"Wed, 12 Feb 1997 16:29:51 -0500\";"),
                              &arena, &part);
    assert_true(slice_equal_str(part.disposition, "attachment"));
    assert_int_equal(part.disposition_parameter_count, 2);
    assert_true(slice_equal_str(content_parameter(part.disposition_parameters, 2, "FileName"),
                                "genome.jpeg"));
    content_disposition_parse(slice_str("filename=x.txt"), &arena, &part);
    assert_true(slice_equal_str(part.disposition, "attachment"));
    assert_true(slice_equal_str(part.disposition_parameters[0].value, "x.txt"));
    content_language_parse(slice_str("en, (c) de-CH,i-klingon"), &arena, &part);
    assert_int_equal(part.language_count, 3);
    assert_true(slice_equal_str(part.languages[1], "de-CH"));
    content_encoding_parse(slice_str(" (c) base64 ; x"), &arena, &part);
    assert_true(slice_equal_str(part.encoding, "base64"));
    arena_finish(&arena);
}

static void fields_iterate(void **state)
{
    (void)state;
    struct slice header = slice_str("From x\r\nA: 1\r\nB : 2\r\n 3\r\nno field\r\n with more\r\n"
                                    "C:\r\n: none\r\nD:4\nE: 5\r\n\r\nF: body\r\n");
    struct fields fields = fields_make(header);
    struct field field;
    static const char *const expected[][3] = {{"A", " 1", "A: 1\r\n"},
                                              {"B", " 2\r\n 3", "B : 2\r\n 3\r\n"},
                                              {"C", "", "C:\r\n"},
                                              {"D", "4", "D:4\n"},
                                              {"E", " 5", "E: 5\r\n"}};
    for (size_t i = 0; i < 5; i++) {
        assert_true(fields_next(&fields, &field));
        assert_true(slice_equal_str(field.name, expected[i][0]));
        assert_true(slice_equal_str(field.value, expected[i][1]));
        assert_true(slice_equal_str(field.lines, expected[i][2]));
    }
    assert_false(fields_next(&fields, &field));
    assert_false(fields_next(&fields, &field));
    assert_true(fields_find(header, "e", &field));
    assert_false(fields_find(header, "F", &field));
    assert_int_equal(fields_header_size(header), header.size - 9);
    assert_int_equal(fields_header_size(slice_str("A: 1\r\n")), 6);
    assert_int_equal(fields_header_size(slice_str("\nA")), 1);
    assert_int_equal(fields_header_size(slice_str("")), 0);
    for (size_t cut = 0; cut <= header.size; cut++) {
        fields = fields_make(slice_sub(header, 0, cut));
        size_t sum = 0;
        while (fields_next(&fields, &field))
            sum += field.lines.size;
        assert_true(sum <= cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_rfc5322),
        cmocka_unit_test(addresses_real),
        cmocka_unit_test(dates),
        cmocka_unit_test(content_types),
        cmocka_unit_test(parameters_rfc2231),
        cmocka_unit_test(dispositions),
        cmocka_unit_test(fields_iterate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
