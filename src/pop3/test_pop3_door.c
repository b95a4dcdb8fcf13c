/*
 * POP3 before login against a door in memory: every answer, in every split of the input. Expected
 * answers are those of RFC 1939, 2449, 3206 and 5034.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "door/fake_door.h"
#include "pop3/pop3.h"

static void expect(struct fake_door *fake, const char *text)
{
    if (!slice_equal_str(buf_slice(&fake->output), text)) {
        fail_msg("wanted\n%s\ngot\n%.*s", text, SLICE_PRINT(buf_slice(&fake->output)));
    }
}

static void start(struct fake_door *fake)
{
    fake_door_init(fake);
    fake_door_open(fake, &pop3_door);
    buf_clear(&fake->output);
}

/* The same answers however the input is split. */
static void check(const char *input, const char *output, bool handed_over, const char *readahead)
{
    struct slice bytes = slice_str(input);
    for (size_t split = 0; split <= bytes.size; split++) {
        struct fake_door fake;
        start(&fake);
        fake_door_feed(&fake, slice_sub(bytes, 0, split));
        fake_door_feed(&fake, slice_sub(bytes, split, bytes.size));
        expect(&fake, output);
        assert_int_equal(fake.handed_over, handed_over);
        if (handed_over && split == bytes.size) {
            assert_true(slice_equal_str(buf_slice(&fake.readahead), readahead));
        }
        fake_door_finish(&fake);
    }
}

static void capabilities(void **state)
{
    struct fake_door fake;
    fake_door_init(&fake);
    fake_door_open(&fake, &pop3_door);
    expect(&fake, "+OK mail.example.org Restante ready\r\n");
    buf_clear(&fake.output);
    fake_door_feed(&fake, SLICE_LITERAL("capa\r\n"));
    expect(&fake, "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n"
                  "PIPELINING\r\nEXPIRE NEVER\r\nUSER\r\nSASL PLAIN LOGIN TEST\r\nSTLS\r\n"
                  "IMPLEMENTATION Restante\r\n.\r\n");
    fake_door_finish(&fake);
    fake_door_init(&fake);
    fake.mechanisms = "TEST";
    fake.tls_available = false;
    fake_door_open(&fake, &pop3_door);
    buf_clear(&fake.output);
    fake_door_feed(&fake, SLICE_LITERAL("CAPA\r\nUSER alice\r\nAUTH PLAIN\r\nSTLS\r\n"));
    assert_null(memmem(fake.output.data, fake.output.size, "USER", 4));
    assert_non_null(memmem(fake.output.data, fake.output.size,
                           "-ERR [AUTH] Not without TLS: say STLS first\r\n"
                           "-ERR [AUTH] This mechanism is not offered here\r\n"
                           "-ERR [SYS/TEMP] TLS is not available at the moment\r\n",
                           45 + 47 + 51));
    fake_door_finish(&fake);
}

static void user_and_pass(void **state)
{
    check("USER alice\r\nPASS secret\r\nSTAT\r\n", "+OK Password please\r\n", true, "STAT\r\n");
    check("user alice\r\npass wrong\r\nPASS secret\r\n",
          "+OK Password please\r\n-ERR [AUTH] Wrong name or password\r\n-ERR Say USER first\r\n",
          false, NULL);
    /* Spaces belong to a password (RFC 1939 7 PASS). */
    check("USER alice\r\nPASS secret \r\n",
          "+OK Password please\r\n-ERR [AUTH] Wrong name or password\r\n", false, NULL);
    check("USER busy\r\nPASS x\r\n",
          "+OK Password please\r\n-ERR [SYS/TEMP] Please try again later\r\n", false, NULL);
    check("PASS secret\r\n", "-ERR Say USER first\r\n", false, NULL);
}

static void sasl(void **state)
{
    /* "\0alice\0secret" */
    check("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nNOOP\r\n", "", true, "NOOP\r\n");
    check("AUTH PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\n", "+ \r\n", true, "");
    check("auth test\r\nd29ybGQ=\r\n", "+ aGVsbG8=\r\n", true, "");
    check("AUTH PLAIN\r\n*\r\nQUIT\r\n", "+ \r\n-ERR Called off\r\n+OK Bye\r\n", false, NULL);
    check("AUTH PLAIN\r\n!\r\n", "+ \r\n-ERR The response is not base64\r\n", false, NULL);
    check("AUTH PLAIN !\r\n", "-ERR The response is not base64\r\n", false, NULL);
    check("AUTH PLAIN =\r\n", "-ERR [AUTH] Wrong name or password\r\n", false, NULL);
    check("AUTH FOO\r\nAUTH\r\n",
          "-ERR [AUTH] This mechanism is not offered here\r\n-ERR An argument is missing\r\n",
          false, NULL);
}

static void bad_input(void **state)
{
    check("FOO\r\nSTAT\r\nQUIT now\r\n\r\n",
          "-ERR Not before login, or not known\r\n-ERR Not before login, or not known\r\n"
          "-ERR This command takes no argument\r\n-ERR This is no command\r\n",
          false, NULL);
    struct fake_door fake;
    start(&fake);
    fake_door_feed(&fake, slice_make("CA\0PA\r\nCA\rPA\r\n", 14));
    expect(&fake, "-ERR This is no command\r\n-ERR This is no command\r\n");
    buf_clear(&fake.output);
    static char line[60000];
    memset(line, 'x', sizeof(line));
    fake_door_feed(&fake, slice_make(line, sizeof(line)));
    fake_door_feed(&fake, SLICE_LITERAL("\r\nQUIT\r\n"));
    expect(&fake, "-ERR Line too long\r\n+OK Bye\r\n");
    assert_true(fake.closed);
    fake_door_finish(&fake);
    start(&fake);
    for (int i = 0; i < 100; i++) {
        fake_door_feed(&fake, SLICE_LITERAL("FOO\r\n"));
    }
    assert_true(fake.closed);
    fake_door_finish(&fake);
    start(&fake);
    fake_door_feed(&fake, SLICE_LITERAL("AUTH PLAIN\r\n"));
    fake_door_feed(&fake, slice_make(line, sizeof(line)));
    fake_door_feed(&fake, SLICE_LITERAL("\r\n"));
    expect(&fake, "+ \r\n-ERR The response is not base64\r\n");
    fake_door_farewell(&fake, "Shutting down");
    fake_door_finish(&fake);
}

static void stls(void **state)
{
    struct fake_door fake;
    start(&fake);
    fake_door_feed(&fake, SLICE_LITERAL("USER alice\r\nSTLS\r\n"));
    expect(&fake, "+OK Password please\r\n+OK Go ahead\r\n");
    assert_true(fake.secure);
    buf_clear(&fake.output);
    /* What was said in clear text is forgotten (RFC 2595 4). */
    fake_door_feed(&fake, SLICE_LITERAL("PASS secret\r\nSTLS\r\n"));
    expect(&fake, "-ERR Say USER first\r\n-ERR TLS is on already\r\n");
    fake_door_finish(&fake);
    start(&fake);
    fake_door_feed(&fake, SLICE_LITERAL("STLS\r\nUSER mallory\r\n"));
    assert_true(fake.injected);
    fake_door_finish(&fake);
}

static void numbers(void **state)
{
    uint32_t a, b;
    assert_true(pop3_parse_number(slice_str("1"), &a) && a == 1);
    assert_true(pop3_parse_number(slice_str("4294967295"), &a) && a == UINT32_MAX);
    assert_false(pop3_parse_number(slice_str("4294967296"), &a));
    assert_false(pop3_parse_number(slice_str("00000000001"), &a));
    assert_false(pop3_parse_number(slice_str(""), &a));
    assert_false(pop3_parse_number(slice_str("-1"), &a));
    assert_false(pop3_parse_number(slice_str("1x"), &a));
    assert_true(pop3_parse_numbers(slice_str("7 0"), &a, &b) && a == 7 && b == 0);
    assert_false(pop3_parse_numbers(slice_str("7"), &a, &b));
    assert_false(pop3_parse_numbers(slice_str("7 8 9"), &a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capabilities), cmocka_unit_test(user_and_pass), cmocka_unit_test(sasl),
        cmocka_unit_test(bad_input),    cmocka_unit_test(stls),          cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
