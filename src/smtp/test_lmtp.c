/*
 * LMTP dialogues against a door in memory: every answer, in every split of the input. Expected
 * codes are those of RFC 2033, 3030, 3463, 5321, 6531.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "door/fake_door.h"

/* The first bytes of each line of output are `codes`, one word each; "250-" marks a line that goes
 * on. */
static void expect_codes(struct fake_door *fake, const char *codes)
{
    struct slice output = buf_slice(&fake->output), want = slice_str(codes);
    while (want.size > 0) {
        struct slice word = slice_split(&want, ' ');
        struct slice line = slice_split(&output, '\n');
        if (!slice_starts(line, word) || line.size == 0 || line.data[line.size - 1] != '\r') {
            fail_msg("wanted %.*s, got %.*s", SLICE_PRINT(word), SLICE_PRINT(line));
        }
    }
    if (output.size > 0) {
        fail_msg("more than wanted: %.*s", SLICE_PRINT(output));
    }
}

static void expect_output(struct fake_door *fake, const char *text)
{
    if (!slice_equal_str(buf_slice(&fake->output), text)) {
        fail_msg("wanted\n%s\ngot\n%.*s", text, SLICE_PRINT(buf_slice(&fake->output)));
    }
}

static void start(struct fake_door *fake)
{
    fake_door_init(fake);
    fake_door_open(fake, &lmtp_door);
    fake_door_feed(fake, SLICE_LITERAL("LHLO mx.example.net\r\n"));
    buf_clear(&fake->output);
}

/* One dialogue, whole and split at every byte, then byte by byte: always the same answers. */
static void check(const char *input, const char *codes)
{
    struct slice bytes = slice_str(input);
    for (size_t split = 0; split <= bytes.size + 1; split++) {
        struct fake_door fake;
        start(&fake);
        if (split <= bytes.size) {
            fake_door_feed(&fake, slice_sub(bytes, 0, split));
            fake_door_feed(&fake, slice_sub(bytes, split, bytes.size));
        } else {
            for (size_t i = 0; i < bytes.size; i++) {
                fake_door_feed(&fake, slice_sub(bytes, i, 1));
            }
        }
        expect_codes(&fake, codes);
        fake_door_finish(&fake);
    }
}

static void greeting(void **state)
{
    struct fake_door fake;
    fake_door_init(&fake);
    fake.settings.message_size = 12345;
    fake_door_open(&fake, &lmtp_door);
    expect_output(&fake, "220 mail.example.org LMTP Restante\r\n");
    buf_clear(&fake.output);
    fake_door_feed(&fake, SLICE_LITERAL("lhlo mx.example.net\r\n"));
    expect_output(&fake, "250-mail.example.org\r\n250-PIPELINING\r\n250-SIZE 12345\r\n"
                         "250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n"
                         "250-STARTTLS\r\n250 CHUNKING\r\n");
    fake_door_finish(&fake);
}

static void order(void **state)
{
    struct fake_door fake;
    fake_door_init(&fake);
    fake_door_open(&fake, &lmtp_door);
    buf_clear(&fake.output);
    fake_door_feed(&fake,
                   SLICE_LITERAL("MAIL FROM:<a@b>\r\nHELO x\r\nEHLO x\r\nRCPT TO:<alice@b>\r\n"
                                 "DATA\r\nSTARTTLS\r\nNOOP\r\nRSET\r\nQUIT\r\n"));
    expect_codes(&fake, "503 500 500 503 503 503 250 250 221");
    assert_true(fake.closed);
    fake_door_finish(&fake);
    check("RCPT TO:<alice@b>\r\nDATA\r\nMAIL FROM:<>\r\nDATA\r\nMAIL FROM:<x@y>\r\n",
          "503 503 250 503 503");
}

static void commands(void **state)
{
    check("NOOP\r\nNOOP hello there\r\nVRFY alice\r\nEXPN list\r\nHELP\r\nRSET\r\n",
          "250 250 252 502 214 250");
    check("FOO\r\nRSET now\r\nDATA now\r\nQUIT now\r\nLHLO\r\n\r\n", "500 501 503 501 501 500");
    check("noop\nnoop\r\nno\rop\r\n", "500 250 500");
    check("quit\r\nNOOP\r\n", "221");
}

static void sender(void **state)
{
    check("MAIL FROM:<a@b> SIZE=99\r\nRSET\r\nmail from: <a@b> BODY=8bitmime smtputf8\r\n",
          "250 250 250");
    check("MAIL\r\nMAIL FROM\r\nMAIL FROM:a@b\r\nMAIL FROM:<a@b\r\nMAIL FROM:<a@b>x\r\n"
          "MAIL FROM:<a@b> SIZE=x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\n",
          "501 501 501 501 501 501 501");
    check("MAIL FROM:<a@b> FOO=1\r\nMAIL FROM:<a@b> SIZE=104857601\r\n", "555 552");
    check("MAIL FROM:<jos\xc3\xa9@b>\r\nMAIL FROM:<jos\xc3\xa9@b> SMTPUTF8\r\n"
          "RCPT TO:<jos\xc3\xa9@b>\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<jos\xc3\xa9@b>\r\n",
          "550 250 250 250 250 553");
}

static void recipients(void **state)
{
    check("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<disabled@x>\r\n"
          "RCPT TO:<busy@x>\r\nRCPT TO:<full@x>\r\nRCPT TO:<damaged@x>\r\nRCPT TO:<>\r\n"
          "RCPT TO:<alice@x> NOTIFY=NEVER\r\nRCPT TO:<postmaster>\r\n",
          "250 250 550 550 451 452 451 501 555 250");
    struct fake_door fake;
    fake_door_init(&fake);
    fake.settings.limit_recipients = 2;
    fake_door_open(&fake, &lmtp_door);
    buf_clear(&fake.output);
    fake_door_feed(&fake,
                   SLICE_LITERAL("LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\n"
                                 "RCPT TO:<bob@x>\r\nRCPT TO:<alice@y>\r\nRCPT TO:<bob@y>\r\n"));
    assert_non_null(memmem(fake.output.data, fake.output.size, "452 4.5.3", 9));
    fake_door_finish(&fake);
}

static void answers_in_order(void **state)
{
    check("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<late@x>\r\nRCPT TO:<nobody@x>\r\n"
          "RCPT TO:<lateful@x>\r\nRCPT TO:<bob@x>\r\nDATA\r\nhello\r\n.\r\nNOOP\r\n",
          "250 250 250 550 250 250 354 250 451 452 250 250");
    check("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nDATA\r\n.\r\nMAIL FROM:<a@b>\r\n",
          "250 250 354 250 250");
}

/* Each recipient is answered; who is the same twice is stored once. */
static void duplicates(void **state)
{
    struct fake_door fake;
    start(&fake);
    fake_door_feed(&fake,
                   SLICE_LITERAL("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<bob@x>\r\n"
                                 "RCPT TO:<alice@y>\r\nRCPT TO:<alice+list@x>\r\n"
                                 "DATA\r\nhi\r\n.\r\n"));
    expect_output(&fake, "250 2.1.0 Sender noted\r\n250 2.1.5 Recipient noted\r\n"
                         "250 2.1.5 Recipient noted\r\n250 2.1.5 Recipient noted\r\n"
                         "250 2.1.5 Recipient noted\r\n354 Go ahead; end with <CRLF>.<CRLF>\r\n"
                         "250 2.0.0 <alice@x> kept\r\n250 2.0.0 <bob@x> kept\r\n"
                         "250 2.0.0 <alice@y> kept\r\n250 2.0.0 <alice+list@x> kept\r\n");
    assert_int_equal(fake.delivery_count, 3);
    fake_door_finish(&fake);
}

static void stored_form(void **state)
{
    static const char input[] = "MAIL FROM:<a@b>\r\nRCPT TO:<alice+list@x>\r\nDATA\r\n"
                                "S: 1\r\n\r\n..dot\r\nbare\nnul\0\xff\r\n.\r\n";
    static const char want[] = "S: 1\r\n\r\n.dot\r\nbare\r\nnul\0\xff\r\n";
    struct slice bytes = slice_make(input, sizeof(input) - 1);
    for (size_t split = 0; split <= bytes.size; split++) {
        struct fake_door fake;
        start(&fake);
        fake_door_feed(&fake, slice_sub(bytes, 0, split));
        fake_door_feed(&fake, slice_sub(bytes, split, bytes.size));
        assert_int_equal(fake.delivery_count, 1);
        const struct fake_delivery *kept = &fake.deliveries[0];
        assert_string_equal(kept->account, "alice@x");
        assert_string_equal(kept->mailbox, "list");
        assert_true(slice_equal(buf_slice(&kept->message), slice_make(want, sizeof(want) - 1)));
        assert_true(slice_starts(buf_slice(&kept->prefix),
                                 SLICE_LITERAL("Return-Path: <a@b>\r\nDelivered-To: alice@x\r\n"
                                               "Received: from mx.example.net ([192.0.2.7])\r\n")));
        fake_door_finish(&fake);
    }
}

static void too_large(void **state)
{
    struct fake_door fake;
    fake_door_init(&fake);
    fake.settings.message_size = 10;
    fake_door_open(&fake, &lmtp_door);
    fake_door_feed(&fake, SLICE_LITERAL("LHLO x\r\n"));
    buf_clear(&fake.output);
    fake_door_feed(
        &fake, SLICE_LITERAL("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<bob@x>\r\nDATA\r\n"
                             "0123456789\r\nQUIT\r\n.\r\n"
                             "MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nDATA\r\n12345678\r\n.\r\n"));
    expect_codes(&fake, "250 250 250 354 552 552 250 250 354 250");
    fake_door_finish(&fake);
}

static void no_memory(void **state)
{
    struct fake_door fake;
    start(&fake);
    fake.spool_full = true;
    fake_door_feed(
        &fake,
        SLICE_LITERAL("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nDATA\r\nhi\r\n.\r\nNOOP\r\n"));
    expect_codes(&fake, "250 250 354 452 250");
    fake_door_finish(&fake);
}

static void chunks(void **state)
{
    check("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<bob@x>\r\nBDAT 6\r\nQUIT\r\nBDAT "
          "3\r\n.\r\n"
          "BDAT 4 LAST\r\nend\nNOOP\r\n",
          "250 250 250 250 250 250 250 250");
    check("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nBDAT 0 LAST\r\n", "250 250 250");
    /* Refused chunks are swallowed: their bytes are no commands. */
    check("BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "503 503 250");
    check("MAIL FROM:<a@b>\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n", "250 503 250");
    /* RFC 2033 4.3: no recipients, no replies. */
    check("MAIL FROM:<a@b>\r\nRCPT TO:<nobody@x>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
          "250 550 250");
    check("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nBDAT 2\r\nhiDATA\r\nMAIL FROM:<a@b>\r\n"
          "RCPT TO:<bob@x>\r\nLHLO x\r\nRSET\r\nMAIL FROM:<a@b>\r\n",
          "250 250 250 503 503 503 503 250 250");
    check("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nBDAT x\r\nNOOP\r\n", "250 250 501");
    check("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nBDAT 4 FIRST\r\nNOOP\r\n", "250 250 501");
}

static void chunks_stored(void **state)
{
    struct fake_door fake;
    start(&fake);
    fake_door_feed(&fake, SLICE_LITERAL("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nBDAT 5\r\n.\r\na\r"
                                        "BDAT 4 LAST\r\n\n..\n"));
    assert_int_equal(fake.delivery_count, 1);
    assert_true(slice_equal_str(buf_slice(&fake.deliveries[0].message), ".\r\na\r\n..\r\n"));
    fake_door_finish(&fake);
}

static void chunk_too_large(void **state)
{
    struct fake_door fake;
    fake_door_init(&fake);
    fake.settings.message_size = 10;
    fake_door_open(&fake, &lmtp_door);
    fake_door_feed(&fake, SLICE_LITERAL("LHLO x\r\n"));
    buf_clear(&fake.output);
    fake_door_feed(&fake,
                   SLICE_LITERAL("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<bob@x>\r\n"
                                 "BDAT 11\r\n01234567890BDAT 2\r\nhiBDAT 2 LAST\r\nhiNOOP\r\n"));
    expect_codes(&fake, "250 250 250 552 552 552 552 250");
    fake_door_finish(&fake);
}

static void starttls(void **state)
{
    struct fake_door fake;
    start(&fake);
    fake_door_feed(&fake, SLICE_LITERAL("STARTTLS\r\n"));
    expect_codes(&fake, "220");
    assert_true(fake.secure && !fake.closed);
    buf_clear(&fake.output);
    /* RFC 3207 4.2: all is forgotten. */
    fake_door_feed(&fake, SLICE_LITERAL("MAIL FROM:<a@b>\r\nLHLO x\r\nSTARTTLS\r\n"));
    assert_null(memmem(fake.output.data, fake.output.size, "STARTTLS", 8));
    expect_codes(&fake, "503 250- 250- 250- 250- 250- 250- 250 503");
    fake_door_finish(&fake);
    start(&fake);
    fake_door_feed(&fake, SLICE_LITERAL("STARTTLS\r\nMAIL FROM:<a@b>\r\n"));
    expect_codes(&fake, "220");
    assert_true(fake.injected);
    fake_door_finish(&fake);
    fake_door_init(&fake);
    fake.tls_available = false;
    fake_door_open(&fake, &lmtp_door);
    buf_clear(&fake.output);
    fake_door_feed(&fake, SLICE_LITERAL("LHLO x\r\nSTARTTLS\r\n"));
    expect_codes(&fake, "250- 250- 250- 250- 250- 250- 250 454");
    fake_door_finish(&fake);
}

static void limits(void **state)
{
    struct fake_door fake;
    start(&fake);
    for (int i = 0; i < 100; i++) {
        fake_door_feed(&fake, SLICE_LITERAL("FOO\r\n"));
    }
    assert_true(fake.closed);
    assert_non_null(memmem(fake.output.data, fake.output.size, "421 4.7.0", 9));
    fake_door_finish(&fake);
    static char line[200000];
    memset(line, 'x', sizeof(line));
    start(&fake);
    fake_door_feed(&fake, slice_make(line, 70000));
    fake_door_feed(&fake, slice_make(line, 70000));
    fake_door_feed(&fake, SLICE_LITERAL("\r\nNOOP\r\n"));
    memcpy(line + 70000, "\r\n", 2);
    fake_door_feed(&fake, slice_make(line, 70002));
    expect_codes(&fake, "500 250 500");
    buf_clear(&fake.output);
    fake_door_farewell(&fake, "Shutting down");
    expect_output(&fake, "421 4.3.2 mail.example.org Shutting down\r\n");
    fake_door_finish(&fake);
}

/* The client vanishes anywhere: nothing stays behind (seen by the sanitizers and the charges). */
static void vanish(void **state)
{
    struct slice input =
        SLICE_LITERAL("MAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nRCPT TO:<late@x>\r\nDATA\r\n"
                      "hello\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\nBDAT 3\r\nabcBDAT 9");
    for (size_t size = 0; size <= input.size; size++) {
        struct fake_door fake;
        start(&fake);
        fake_door_feed(&fake, slice_sub(input, 0, size));
        fake_door_finish(&fake);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greeting),        cmocka_unit_test(order),
        cmocka_unit_test(commands),        cmocka_unit_test(sender),
        cmocka_unit_test(recipients),      cmocka_unit_test(answers_in_order),
        cmocka_unit_test(duplicates),      cmocka_unit_test(stored_form),
        cmocka_unit_test(too_large),       cmocka_unit_test(no_memory),
        cmocka_unit_test(chunks),          cmocka_unit_test(chunks_stored),
        cmocka_unit_test(chunk_too_large), cmocka_unit_test(starttls),
        cmocka_unit_test(limits),          cmocka_unit_test(vanish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
