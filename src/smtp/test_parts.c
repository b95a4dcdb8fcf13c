/*
 * The pure parts of LMTP: the end of DATA at every split, addresses, parameters, trace lines, the
 * spool. Expected values come from RFC 5321 and from the published smuggling vectors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/fault.h"
#include "io/fd.h"
#include "smtp/data.h"
#include "smtp/path.h"
#include "smtp/spool.h"
#include "smtp/trace.h"

/* Decodes up to the end; what is behind it stays in *rest. */
static bool decode(struct slice input, size_t split, struct buf *out, struct slice *rest)
{
    enum smtp_data_state state = SMTP_DATA_LINE;
    struct slice halves[2] = {slice_sub(input, 0, split), slice_sub(input, split, input.size)};
    for (int i = 0; i < 2; i++) {
        struct slice piece;
        while (halves[i].size > 0 && state != SMTP_DATA_END) {
            smtp_data_next(&state, &halves[i], &piece);
            buf_add_slice(out, piece);
        }
    }
    size_t left = halves[0].size + halves[1].size;
    *rest = slice_sub(input, input.size - left, left);
    return state == SMTP_DATA_END;
}

static void check_data(const char *input, const char *message, const char *rest)
{
    struct slice bytes = slice_str(input);
    for (size_t split = 0; split <= bytes.size; split++) {
        struct buf out = {0};
        struct slice left;
        bool ended = decode(bytes, split, &out, &left);
        assert_int_equal(ended, rest != NULL);
        buf_u8(&out, 0);
        assert_string_equal((char *)out.data, message);
        if (rest != NULL) {
            assert_true(slice_equal_str(left, rest));
        }
        buf_finish(&out);
    }
}

static void data_ends(void **state)
{
    check_data(".\r\n", "", "");
    check_data(".\r\nQUIT\r\n", "", "QUIT\r\n");
    check_data("a\r\n.\r\nRSET\r\n", "a\r\n", "RSET\r\n");
    check_data("\r\n.\r\n", "\r\n", "");
    check_data("a\r\n..\r\n.\r\n", "a\r\n.\r\n", "");
    check_data("..a\r\n...\r\n.b\r\n.\r\n", ".a\r\n..\r\nb\r\n", "");
    check_data("a.\r\n.\r\n", "a.\r\n", "");
    check_data("a\r\r\n.\r\n", "a\r\r\n", "");
    check_data(".\rb\r\n.\r\n", "\rb\r\n", "");
    check_data(".\r\r\n.\r\n", "\r\r\n", "");
}

/* None of these ends a message: smtpsmuggling.com (2023) and RFC 5321 2.3.8, 4.1.1.4. */
static void data_smuggling(void **state)
{
    check_data("a\n.\n", "a\n.\n", NULL);
    check_data("a\n.\r\n", "a\n.\r\n", NULL);
    check_data("a\r\n.\n", "a\r\n\n", NULL);
    check_data("a\r.\r", "a\r.\r", NULL);
    check_data("a\r.\r\n", "a\r.\r\n", NULL);
    check_data("a\r\n.\rMAIL", "a\r\n\rMAIL", NULL);
    check_data("a\r.\n", "a\r.\n", NULL);
    check_data("a\n\r.\n\r", "a\n\r.\n\r", NULL);
    check_data("a\n\n.\r\n", "a\n\n.\r\n", NULL);
    check_data("a\r\n\r.\r\n", "a\r\n\r.\r\n", NULL);
    check_data("a\r\n .\r\n", "a\r\n .\r\n", NULL);
}

static void data_nul(void **state)
{
    static const char input[] = "a\0\r\n\0.\r\n.\r\n";
    struct slice bytes = slice_make(input, sizeof(input) - 1), rest;
    struct buf out = {0};
    assert_true(decode(bytes, 3, &out, &rest));
    assert_true(slice_equal(buf_slice(&out), slice_make("a\0\r\n\0.\r\n", 8)));
    buf_finish(&out);
}

static void path_good(void **state)
{
    static const struct {
        const char *text, *address;
        bool utf8;
    } rows[] = {
        {"<>", "", false},
        {"<alice@example.org>", "alice@example.org", false},
        {"<postmaster>", "postmaster", false},
        {"<PostMaster>", "PostMaster", false},
        {"<@a.org,@b.org:alice@c.org>", "alice@c.org", false},
        {"<alice+list@example.org>", "alice+list@example.org", false},
        {"<\"alice\"@example.org>", "alice@example.org", false},
        {"<\"al\\ice\"@example.org>", "alice@example.org", false},
        {"<\"a b\"@example.org>", "\"a b\"@example.org", false},
        {"<\"a\\\"b\\\\\"@example.org>", "\"a\\\"b\\\\\"@example.org", false},
        {"<\">@x\"@example.org>", "\">@x\"@example.org", false},
        {"<\"\"@example.org>", "\"\"@example.org", false},
        {"<a..b.@docomo.example>", "a..b.@docomo.example", false},
        {"<alice@[192.0.2.1]>", "alice@[192.0.2.1]", false},
        {"<alice@[IPv6:2001:db8::1]>", "alice@[IPv6:2001:db8::1]", false},
        {"<jos\xc3\xa9@ex\xc3\xa4mple.org>", "jos\xc3\xa9@ex\xc3\xa4mple.org", true},
        {"<\"jos\xc3\xa9\"@example.org>", "jos\xc3\xa9@example.org", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice rest = slice_str(rows[i].text);
        struct smtp_path path;
        assert_true(smtp_path_parse(&rest, &path));
        assert_string_equal(path.address, rows[i].address);
        assert_int_equal(path.utf8, rows[i].utf8);
        assert_int_equal(rest.size, 0);
    }
}

static void path_bad(void **state)
{
    static const char *const rows[] = {
        "",
        "alice@example.org",
        "<alice@example.org",
        "<alice@>",
        "<@example.org>",
        "<a b@c>",
        "<alice@exa mple>",
        "<\"a@b>",
        "<\"a\"b@c>",
        "<@a.org alice@b>",
        "<a@b@c>",
        "<a\x01@b>",
        "<\"a\x01\"@b>",
        "<a@[1.2.3.4>",
        "<a@[]>",
        "<a\x80@b>",
        "<a\xc3@b>",
        "<@a:>",
        "<a@b\r\nRSET>",
        "<\"a\\\x01\"@b>",
        "<<a@b>>",
        "<a@b,c@d>",
        "<.>@",
        "<a@[x]y>",
        "< a@b>",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice rest = slice_str(rows[i]);
        struct smtp_path path;
        bool parsed = smtp_path_parse(&rest, &path) && rest.size == 0;
        if (parsed) {
            fail_msg("taken: %s", rows[i]);
        }
    }
    /* One byte too long, then exactly the most. */
    char text[SMTP_ADDRESS_MAX + 4] = "<";
    memset(text + 1, 'a', SMTP_ADDRESS_MAX + 1);
    text[SMTP_ADDRESS_MAX + 2] = '>';
    struct slice rest = slice_str(text);
    struct smtp_path path;
    assert_false(smtp_path_parse(&rest, &path));
    text[1] = '<';
    rest = slice_str(text + 1);
    assert_true(smtp_path_parse(&rest, &path));
    assert_int_equal(strlen(path.address), SMTP_ADDRESS_MAX);
}

static void parameters(void **state)
{
    struct slice rest = slice_str(" SIZE=100  smtputf8 X-Y=a+41"), key, value;
    assert_true(smtp_parameter_next(&rest, &key, &value));
    assert_true(slice_equal_str(key, "SIZE") && slice_equal_str(value, "100"));
    assert_true(smtp_parameter_next(&rest, &key, &value));
    assert_true(slice_equal_str(key, "smtputf8") && value.data == NULL);
    assert_true(smtp_parameter_next(&rest, &key, &value));
    assert_true(slice_equal_str(key, "X-Y") && slice_equal_str(value, "a+41"));
    assert_false(smtp_parameter_next(&rest, &key, &value));
    assert_int_equal(rest.size, 0);
    static const char *const bad[] = {"SIZE=1", " =1", " -A=1", " A=1=2", " A=\x01", " A_B=1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rest = slice_str(bad[i]);
        assert_false(smtp_parameter_next(&rest, &key, &value));
        assert_int_not_equal(rest.size, 0);
    }
}

static void domains(void **state)
{
    assert_true(smtp_domain_valid(slice_str("mx.example.org")));
    assert_true(smtp_domain_valid(slice_str("[192.0.2.1]")));
    assert_true(smtp_domain_valid(slice_str("[IPv6:::1]")));
    assert_false(smtp_domain_valid(SLICE_NONE));
    assert_false(smtp_domain_valid(slice_str("a b")));
    assert_false(smtp_domain_valid(slice_str("a(b)")));
    assert_false(smtp_domain_valid(slice_str("a\x01")));
}

static void trace_lines(void **state)
{
    struct trace trace = {
        .from = slice_str("bob@example.net"),
        .to = slice_str("alice@example.org"),
        .helo = slice_str("mx.example.net"),
        .client = slice_str("2001:db8::1"),
        .hostname = slice_str("mail.example.org"),
        .id = slice_str("s1.1"),
        .tls = true,
        .now_us = 784111777ull * 1000000, /* RFC 7231 7.1.1.1: Sun, 06 Nov 1994 08:49:37 GMT */
    };
    struct buf out = {0};
    trace_write(&trace, &out);
    buf_u8(&out, 0);
    assert_string_equal((char *)out.data, "Return-Path: <bob@example.net>\r\n"
                                          "Delivered-To: alice@example.org\r\n"
                                          "Received: from mx.example.net ([IPv6:2001:db8::1])\r\n"
                                          "\tby mail.example.org with LMTPS id s1.1;\r\n"
                                          "\tSun, 6 Nov 1994 08:49:37 +0000\r\n");
    buf_clear(&out);
    trace.from = slice_str("");
    trace.client = slice_str("unix");
    trace.tls = false;
    trace.utf8 = true;
    trace_write(&trace, &out);
    buf_u8(&out, 0);
    assert_non_null(strstr((char *)out.data, "Return-Path: <>\r\n"));
    assert_non_null(strstr((char *)out.data, " (unix)\r\n\tby mail.example.org with UTF8LMTP id "));
    buf_finish(&out);
}

static void spool_bytes(void **state)
{
    static const char input[] = "a\nb\r\nc\r\n\nd\re\0\r";
    static const char want[] = "a\r\nb\r\nc\r\n\r\nd\re\0\r";
    for (size_t split = 0; split < sizeof(input); split++) {
        struct spool spool;
        spool_init(&spool);
        spool_begin(&spool, 1000);
        spool_add(&spool, slice_make(input, split));
        spool_add(&spool, slice_make(input + split, sizeof(input) - 1 - split));
        struct door_message message;
        assert_int_equal(spool_seal(&spool, &message), SPOOL_OK);
        assert_int_equal(message.fd, -1);
        assert_int_equal(message.size, sizeof(want) - 1);
        assert_memory_equal(message.data, want, sizeof(want) - 1);
        spool_finish(&spool);
    }
}

/* The longest that goes in a packet, and one byte more. */
static void spool_short(void **state)
{
    static uint8_t bytes[IPC_SHORT + 1], read[IPC_SHORT + 1];
    struct spool spool;
    struct door_message message;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i % 251 + 14); /* no line ends */
    spool_init(&spool);
    spool_begin(&spool, 1000000);
    for (size_t i = 0; i < IPC_SHORT; i += 8192)
        spool_add(&spool, slice_make(bytes + i, 8192));
    assert_int_equal(spool_seal(&spool, &message), SPOOL_OK);
    assert_int_equal(message.fd, -1);
    assert_int_equal(message.size, IPC_SHORT);
    assert_memory_equal(message.data, bytes, IPC_SHORT);
    spool_finish(&spool);
    spool_begin(&spool, 1000000);
    spool_add(&spool, slice_make(bytes, sizeof(bytes)));
    assert_int_equal(spool_seal(&spool, &message), SPOOL_OK);
    assert_true(fd_memory_verify(message.fd, sizeof(bytes)));
    assert_true(fd_pread_all(message.fd, read, sizeof(bytes), 0));
    assert_memory_equal(read, bytes, sizeof(bytes));
    fd_close(&message.fd);
    spool_finish(&spool);
}

static void spool_limits(void **state)
{
    static uint8_t bytes[100000];
    struct spool spool;
    struct door_message message;
    spool_init(&spool);
    spool_begin(&spool, sizeof(bytes));
    spool_add(&spool, slice_make(bytes, sizeof(bytes)));
    assert_int_equal(spool_seal(&spool, &message), SPOOL_OK);
    assert_int_equal(message.size, sizeof(bytes));
    fd_close(&message.fd);
    spool_finish(&spool);
    spool_begin(&spool, sizeof(bytes) - 1);
    spool_add(&spool, slice_make(bytes, sizeof(bytes)));
    spool_add(&spool, slice_make(bytes, sizeof(bytes)));
    assert_int_equal(spool_seal(&spool, &message), SPOOL_TOO_LARGE);
    assert_int_equal(message.fd, -1);
    spool_finish(&spool);
    spool_begin(&spool, 3); /* the CR that is added counts */
    spool_add(&spool, slice_str("ab\n"));
    assert_int_equal(spool_seal(&spool, &message), SPOOL_TOO_LARGE);
    spool_finish(&spool);
}

#ifdef RESTANTE_FAULTS
static void spool_faults(void **state)
{
    static const char *const faults[] = {"spool.create=EMFILE", "spool.write=ENOSPC",
                                         "spool.seal=EIO"};
    static uint8_t bytes[IPC_SHORT + 1];
    for (size_t i = 0; i < 3; i++) {
        struct spool spool;
        struct door_message message;
        fault_set(faults[i]);
        spool_init(&spool);
        spool_begin(&spool, 1000000);
        spool_add(&spool, slice_make(bytes, sizeof(bytes)));
        assert_int_equal(spool_seal(&spool, &message), SPOOL_NOSPACE);
        assert_int_equal(message.fd, -1);
        fault_set(NULL);
        spool_finish(&spool);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_ends),    cmocka_unit_test(data_smuggling),
        cmocka_unit_test(data_nul),     cmocka_unit_test(path_good),
        cmocka_unit_test(path_bad),     cmocka_unit_test(parameters),
        cmocka_unit_test(domains),      cmocka_unit_test(trace_lines),
        cmocka_unit_test(spool_bytes),  cmocka_unit_test(spool_limits),
        cmocka_unit_test(spool_short),
#ifdef RESTANTE_FAULTS
        cmocka_unit_test(spool_faults),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
