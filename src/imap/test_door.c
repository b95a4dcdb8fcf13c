/*
 * IMAP before login, against a door in memory, at every split point: the handover to the worker and
 * what must never pass it. The answers as such are in tests/dialogues/imap/door_*.dlg.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "door/fake_door.h"

static void expect(const struct buf *got, const char *wanted)
{
    if (!slice_equal_str(buf_slice(got), wanted))
        fail_msg("wanted\n%s\ngot\n%.*s", wanted, SLICE_PRINT(buf_slice(got)));
}

/* Both pieces are fed as they are; bytes behind a login go along with it. */
static void check_login(const char *input, const char *output, const char *tag)
{
    struct slice bytes = slice_str(input);
    for (size_t split = 0; split <= bytes.size; split++) {
        struct fake_door fake;
        fake_door_init(&fake);
        fake_door_open(&fake, &imap_door);
        buf_clear(&fake.output);
        fake_door_feed(&fake, slice_sub(bytes, 0, split));
        fake_door_feed(&fake, slice_sub(bytes, split, bytes.size));
        expect(&fake.output, output);
        assert_int_equal(fake.handed_over, tag != NULL);
        if (tag != NULL)
            expect(&fake.tag, tag);
        fake_door_finish(&fake);
    }
}

static void logins(void **state)
{
    check_login("t1 LOGIN alice secret\r\n", "", "t1");
    check_login("t1 login \"alice\" {6+}\r\nsecret\r\n", "", "t1");
    check_login("t1 LOGIN {5}\r\nalice {6}\r\nsecret\r\n", "+ OK\r\n+ OK\r\n", "t1");
    check_login("t1 LOGIN alice wrong\r\n", "t1 NO [AUTHENTICATIONFAILED] Login failed.\r\n", NULL);
    check_login("t1 LOGIN busy x\r\n",
                "t1 NO [UNAVAILABLE] Login is not possible at the moment; please try again.\r\n",
                NULL);
    /* RFC 4616: NUL alice NUL secret */
    check_login("t2 AUTHENTICATE PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\n", "+ \r\n", "t2");
    check_login("t2 AUTHENTICATE plain AGFsaWNlAHNlY3JldA==\r\n", "", "t2");
    check_login("t3 AUTHENTICATE TEST\r\nd29ybGQ=\r\n", "+ aGVsbG8=\r\n", "t3");
    check_login("t3 AUTHENTICATE TEST\r\n*\r\n",
                "+ aGVsbG8=\r\nt3 BAD The exchange was called off.\r\n", NULL);
    check_login("t3 AUTHENTICATE TEST\r\nd29ybGQ\r\nt4 NOOP\r\n",
                "+ aGVsbG8=\r\nt3 BAD The response is not base64, or too long.\r\n"
                "t4 OK Noop completed.\r\n",
                NULL);
}

static void read_ahead(void **state)
{
    struct fake_door fake;
    fake_door_init(&fake);
    fake_door_open(&fake, &imap_door);
    fake_door_feed(&fake, SLICE_LITERAL("a LOGIN alice secret\r\nb SELECT INBOX\r\nc "));
    assert_true(fake.handed_over);
    expect(&fake.readahead, "b SELECT INBOX\r\nc ");
    fake_door_finish(&fake);
}

/* RFC 9051 11.1 */
static void starttls(void **state)
{
    struct fake_door fake;
    fake_door_init(&fake);
    fake_door_open(&fake, &imap_door);
    buf_clear(&fake.output);
    fake_door_feed(&fake, SLICE_LITERAL("a STARTTLS\r\n"));
    expect(&fake.output, "a OK Begin TLS negotiation now.\r\n");
    assert_false(fake.injected);
    fake_door_finish(&fake);

    fake_door_init(&fake);
    fake_door_open(&fake, &imap_door);
    fake_door_feed(&fake, SLICE_LITERAL("a STARTTLS\r\nb LOGIN alice secret\r\n"));
    assert_true(fake.injected);
    assert_false(fake.handed_over);
    fake_door_finish(&fake);

    fake_door_init(&fake);
    fake.tls_available = false;
    fake.mechanisms = "SCRAM-SHA-256";
    fake_door_open(&fake, &imap_door);
    expect(&fake.output, "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID LOGINDISABLED "
                         "AUTH=SCRAM-SHA-256] mail.example.org Restante is ready.\r\n");
    buf_clear(&fake.output);
    fake_door_feed(&fake, SLICE_LITERAL("a STARTTLS\r\nb LOGIN alice secret\r\n"
                                        "c AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n"));
    expect(&fake.output, "a BAD There is no TLS here.\r\n"
                         "b NO [PRIVACYREQUIRED] A password may not be sent without TLS.\r\n"
                         "c NO [PRIVACYREQUIRED] A password may not be sent without TLS.\r\n");
    fake_door_finish(&fake);
}

static void farewell(void **state)
{
    struct fake_door fake;
    fake_door_init(&fake);
    fake_door_open(&fake, &imap_door);
    buf_clear(&fake.output);
    fake_door_farewell(&fake, "Login takes too long.");
    expect(&fake.output, "* BYE Login takes too long.\r\n");
    fake_door_finish(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logins),
        cmocka_unit_test(read_ahead),
        cmocka_unit_test(starttls),
        cmocka_unit_test(farewell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
