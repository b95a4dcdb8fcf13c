/*
 * POP3 sessions over a mailbox over a store in memory, with a client on the other end of a socket
 * pair. What they must do is RFC 1939; what happens elsewhere meanwhile is done through mailbox.h.
 */
#include "mailbox/test_lab.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/fd.h"
#include "worker/session.h"

static struct lab lab;
static struct settings settings;
static struct session_host host;
static int ended;
static char last_reason[32];

static void on_ended(void *arg, void *session, const char *reason)
{
    ended++;
    snprintf(last_reason, sizeof(last_reason), "%s", reason);
}

static int setup(void **state)
{
    lab_init(&lab);
    settings = (struct settings){.limit_bad_commands = 5,
                                 .timeout_pop3 = 600,
                                 .timeout_stall = 300,
                                 .limit_output = 1 << 20};
    host = (struct session_host){
        .base = lab.base, .mailboxes = lab.env, .settings = &settings, .ended = on_ended};
    ended = 0;
    return 0;
}

static int teardown(void **state)
{
    lab_finish(&lab);
    return 0;
}

struct client {
    int fd;
    void *session;
    struct buf heard;
};

static void begin(struct client *c, const char *readahead)
{
    int pair[2];
    *c = (struct client){0};
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    c->fd = pair[0];
    struct session_start start = {.fd = pair[1],
                                  .account = lab.ref,
                                  .name = SLICE_LITERAL("alice"),
                                  .client = SLICE_LITERAL("192.0.2.7"),
                                  .readahead = slice_str(readahead),
                                  .id = "s1"};
    c->session = pop3_session.create(&host, &start);
}

/* Turns of the loop until the text is there (NULL: until the session closed). */
static void hear(struct client *c, const char *end)
{
    uint64_t until = clock_monotonic_us() + 20000000;
    for (;;) {
        uint8_t bytes[65536];
        ssize_t size = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (size > 0) {
            buf_add(&c->heard, bytes, (size_t)size);
        }
        if (size <= 0 && end != NULL && c->heard.size > 0 &&
            memmem(c->heard.data, c->heard.size, end, strlen(end)) != NULL) {
            return;
        }
        if (size == 0) {
            if (end != NULL) {
                fail_msg("closed before %s, heard %.*s", end, SLICE_PRINT(buf_slice(&c->heard)));
            }
            return;
        }
        if (clock_monotonic_us() > until) {
            fail_msg("waited in vain for %s, heard %.*s", end, SLICE_PRINT(buf_slice(&c->heard)));
        }
        event_base_loop(lab.base, EVLOOP_NONBLOCK);
    }
}

static void say(struct client *c, const char *text)
{
    assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect(struct client *c, const char *said, const char *answer)
{
    buf_clear(&c->heard);
    say(c, said);
    hear(c, answer + (strlen(answer) > 12 ? strlen(answer) - 12 : 0));
    if (!slice_equal_str(buf_slice(&c->heard), answer)) {
        fail_msg("said %s wanted\n%s\ngot\n%.*s", said, answer, SLICE_PRINT(buf_slice(&c->heard)));
    }
}

static void leave(struct client *c)
{
    int before = ended;
    fd_close(&c->fd);
    for (int i = 0; i < 1000 && ended == before; i++) {
        event_base_loop(lab.base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(ended, before + 1);
    buf_finish(&c->heard);
}

/* The end came from the session. */
static void gone(struct client *c, const char *reason)
{
    hear(c, NULL);
    assert_string_equal(last_reason, reason);
    fd_close(&c->fd);
    buf_finish(&c->heard);
}

static void deliver(const char *text)
{
    bool duplicate;
    assert_int_equal(lab_deliver(&lab, text, &duplicate), MAILBOX_OK);
}

/* The sizes and UIDLs of what is stored, as mailbox.h says them. */
static uint64_t sizes[10];
static char uidls[10][80];
static void on_loaded(void *arg, enum mailbox_result result, const struct mailbox_message *messages,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sizes[i] = messages[i].size;
        snprintf(uidls[i], sizeof(uidls[i]), "%.*s", SLICE_PRINT(messages[i].uidl));
    }
    *(bool *)arg = true;
}

static void look(struct mailbox_view *view, uint32_t count)
{
    uint32_t uids[10];
    bool done = false;
    for (uint32_t i = 0; i < count; i++) {
        uids[i] = mailbox_view_at(view, i + 1)->uid;
    }
    mailbox_load(view, uids, count, MAILBOX_NEED_EMAIL, on_loaded, &done);
    while (!done) {
        lab_turn(&lab);
    }
}

/* ---- tests --------------------------------------------------------------------------------- */

static void empty(void **state)
{
    struct client c;
    begin(&c, "STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nDELE 1\r\nNOOP\r\nRSET\r\nQUIT\r\n");
    hear(&c, NULL);
    assert_true(slice_equal_str(
        buf_slice(&c.heard),
        "+OK 0 messages\r\n+OK 0 0\r\n+OK 0 messages (0 octets)\r\n.\r\n+OK Unique ids follow\r\n"
        ".\r\n-ERR There is no such message\r\n-ERR There is no such message\r\n+OK\r\n"
        "+OK Nothing is deleted\r\n+OK Bye\r\n"));
    gone(&c, "logout");
}

static void reads(void **state)
{
    struct client c;
    struct mailbox_view *view;
    char text[2000];
    deliver("S: 1\r\n\r\none\r\n.dot\r\n");
    deliver("S: 2\r\n\r\nno end");
    lab_account(&lab);
    view = lab_view(&lab, "INBOX");
    look(view, 2);
    begin(&c, "");
    hear(&c, "+OK 2 messages\r\n");
    snprintf(text, sizeof(text), "+OK 2 %llu\r\n", (unsigned long long)(sizes[0] + sizes[1]));
    expect(&c, "STAT\r\n", text);
    snprintf(text, sizeof(text), "+OK 2 messages (%llu octets)\r\n1 %llu\r\n2 %llu\r\n.\r\n",
             (unsigned long long)(sizes[0] + sizes[1]), (unsigned long long)sizes[0],
             (unsigned long long)sizes[1]);
    expect(&c, "LIST\r\n", text);
    snprintf(text, sizeof(text), "+OK 2 %llu\r\n", (unsigned long long)sizes[1]);
    expect(&c, "list 2\r\n", text);
    snprintf(text, sizeof(text), "+OK Unique ids follow\r\n1 %s\r\n2 %s\r\n.\r\n", uidls[0],
             uidls[1]);
    expect(&c, "UIDL\r\n", text);
    snprintf(text, sizeof(text), "+OK 1 %s\r\n", uidls[0]);
    expect(&c, "UIDL 1\r\n", text);
    /* Octets as announced, with the prefix of the delivery; dots stuffed. */
    struct buf stored = {0};
    lab_read(&lab, view, 1, &stored);
    assert_int_equal(stored.size, sizes[0]);
    stored.size -= strlen(".dot\r\n");
    snprintf(text, sizeof(text), "+OK %llu octets\r\n%.*s..dot\r\n.\r\n",
             (unsigned long long)sizes[0], SLICE_PRINT(buf_slice(&stored)));
    expect(&c, "RETR 1\r\n", text);
    buf_clear(&stored);
    lab_read(&lab, view, 2, &stored);
    snprintf(text, sizeof(text), "+OK %llu octets\r\n%.*s\r\n.\r\n", (unsigned long long)sizes[1],
             SLICE_PRINT(buf_slice(&stored)));
    expect(&c, "RETR 2\r\n", text);
    stored.size -= strlen("no end");
    snprintf(text, sizeof(text), "+OK Message follows\r\n%.*s.\r\n",
             SLICE_PRINT(buf_slice(&stored)));
    expect(&c, "TOP 2 0\r\n", text);
    expect(&c, "RETR 3\r\nRETR 0\r\nRETR\r\nTOP 1\r\nRETR x\r\n",
           "-ERR There is no such message\r\n-ERR There is no such message\r\n"
           "-ERR Syntax: RETR message\r\n-ERR Syntax: TOP message lines\r\n"
           "-ERR Syntax: RETR message\r\n-ERR Too many bad commands\r\n");
    gone(&c, "protocol");
    buf_finish(&stored);
    mailbox_view_close(&view);
}

static void deletes(void **state)
{
    struct client c;
    deliver("a\r\n");
    deliver("b\r\n");
    deliver("c\r\n");
    lab_account(&lab);
    begin(&c, "DELE 1\r\nDELE 1\r\nRETR 1\r\nLIST 1\r\n");
    hear(&c, "message\r\n-ERR There is no such message\r\n-ERR There is no such message\r\n");
    leave(&c); /* no QUIT: nothing goes */
    assert_string_equal(last_reason, "disconnect");
    assert_int_equal(lab_info(&lab, "INBOX").messages, 3);
    begin(&c, "DELE 1\r\nRSET\r\nDELE 2\r\nDELE 3\r\nQUIT\r\n");
    hear(&c, "+OK Bye\r\n");
    gone(&c, "logout");
    assert_int_equal(lab_info(&lab, "INBOX").messages, 1);
    begin(&c, "UIDL\r\n");
    hear(&c, "\r\n.\r\n");
    /* The default UIDL is the UID and UIDVALIDITY in hex: it names the same message for ever. */
    assert_non_null(memmem(c.heard.data, c.heard.size, "\r\n1 00000001", 12));
    leave(&c);
}

/* QUIT while the store refuses: said so, and nothing is gone. */
static void delete_fails(void **state)
{
    struct client c;
    deliver("a\r\n");
    lab_account(&lab);
    begin(&c, "DELE 1\r\n");
    hear(&c, "+OK Goes at QUIT\r\n");
    store_mem_fail(lab.store, 1, STORE_UNAVAILABLE, false);
    say(&c, "QUIT\r\n");
    hear(&c, "-ERR [SYS/TEMP]");
    gone(&c, "logout");
    assert_int_equal(lab_info(&lab, "INBOX").messages, 1);
}

static void expunged_elsewhere(void **state)
{
    struct client c;
    deliver("first\r\n");
    deliver("second\r\n");
    lab_account(&lab);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    begin(&c, "");
    hear(&c, "+OK 2 messages\r\n");
    lab_store(&lab, view, 1, 1, MAILBOX_STORE_ADD, MAILBOX_DELETED);
    assert_int_equal(lab_expunge(&lab, view, 1, 1), MAILBOX_OK);
    deliver("third\r\n");
    say(&c, "STAT\r\nRETR 1\r\n");
    hear(&c, "first\r\n.\r\n");
    assert_non_null(memmem(c.heard.data, c.heard.size, "+OK 2 ", 6));
    say(&c, "DELE 1\r\nQUIT\r\n");
    hear(&c, "+OK Bye\r\n");
    gone(&c, "logout");
    assert_int_equal(lab_info(&lab, "INBOX").messages, 2);
    mailbox_view_close(&view);
}

static void in_use(void **state)
{
    struct client a, b;
    deliver("a\r\n");
    begin(&a, "DELE 1\r\n");
    hear(&a, "+OK Goes at QUIT\r\n");
    begin(&b, "");
    hear(&b, "-ERR [IN-USE]");
    gone(&b, "in_use");
    /* The client of the first is gone: it must not lock its owner out. */
    shutdown(a.fd, SHUT_RDWR);
    begin(&b, "STAT\r\nQUIT\r\n");
    hear(&b, "+OK Bye\r\n");
    assert_int_equal(ended, 3);
    fd_close(&a.fd);
    buf_finish(&a.heard);
    gone(&b, "logout");
    lab_account(&lab);
    assert_int_equal(lab_info(&lab, "INBOX").messages, 1);
    mailbox_account_release(&lab.account);
}

/* A message larger than every buffer, to a client that reads slowly. */
static void large(void **state)
{
    enum { LINES = 40000 };
    char *text = malloc(LINES * 20 + 100);
    size_t size = (size_t)sprintf(text, "S: large\r\n\r\n");
    for (int i = 0; i < LINES; i++) {
        size += (size_t)sprintf(text + size, ".%d\r\n", i);
    }
    deliver(text);
    struct client c;
    begin(&c, "RETR 1\r\nSTAT\r\n");
    for (int i = 0; i < 2000; i++) {
        event_base_loop(lab.base, EVLOOP_NONBLOCK);
    }
    hear(&c, "+OK 1 ");
    const uint8_t *at = memmem(c.heard.data, c.heard.size, "S: large\r\n\r\n", 12);
    assert_non_null(at);
    at += 12;
    for (int i = 0; i < LINES; i++) {
        char line[32];
        int length = snprintf(line, sizeof(line), "..%d\r\n", i);
        assert_memory_equal(at, line, (size_t)length);
        at += length;
    }
    assert_memory_equal(at, ".\r\n", 3);
    leave(&c);
    free(text);
}

enum { ROW = 40 };

/* Small ones, some longer than what is read ahead, some longer than one piece; many dots. */
static char *row_message(int i, bool stuffed)
{
    int lines = i % 7 == 0 ? 6000 : i % 3 == 0 ? 2000 : 20;
    struct buf text = {0};
    buf_printf(&text, "S: %d\r\n\r\n", i);
    for (int line = 0; line < lines; line++) {
        const char *dot = line % 5 != i % 5 ? "" : stuffed ? ".." : ".";
        buf_printf(&text, "%smessage %d . line %d\r\n", dot, i, line);
    }
    buf_u8(&text, 0);
    return (char *)text.data;
}

/* The answer that came is that message, and nothing but it. */
static void check_row(struct client *c, size_t *from, int i)
{
    char *want = row_message(i, true);
    size_t size = strlen(want);
    struct slice rest = slice_sub(buf_slice(&c->heard), *from, c->heard.size);
    const uint8_t *end = memmem(rest.data, rest.size, "\r\n.\r\n", 5);
    assert_non_null(end);
    assert_memory_equal(rest.data, "+OK ", 4);
    assert_true((size_t)(end + 2 - rest.data) > size);
    assert_memory_equal(end + 2 - size, want, size);
    assert_null(memmem(rest.data, (size_t)(end + 2 - size - rest.data), "S: ", 3));
    *from += (size_t)(end + 5 - rest.data);
    free(want);
}

static void retrieve(struct client *c, int i)
{
    char command[20];
    size_t from = 0;
    snprintf(command, sizeof(command), "RETR %d\r\n", i);
    buf_clear(&c->heard);
    say(c, command);
    hear(c, "\r\n.\r\n");
    check_row(c, &from, i);
    assert_int_equal(from, c->heard.size);
}

/* Messages that are read ahead are the ones that were asked for, whatever the order. */
static void in_a_row(void **state)
{
    static const int order[] = {1,  2,  3,  4,  5, 6, 7,  8,  9,  10, 11, 12, 13, 15, 16, 30,
                                31, 32, 33, 33, 5, 6, 20, 22, 23, 26, 27, 39, 40, 40, 1};
    struct client c;
    struct buf heap = {0};
    size_t from = 0;
    for (int i = 1; i <= ROW; i++) {
        char *text = row_message(i, false);
        deliver(text);
        free(text);
    }
    begin(&c, "");
    hear(&c, "messages\r\n");
    expect(&c, "DELE 14\r\n", "+OK Goes at QUIT\r\n");
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        retrieve(&c, order[i]);
    }
    for (int i = 2; i <= ROW; i++) { /* RFC 2449 6.6 */
        if (i != 14) {
            buf_printf(&heap, "RETR %d\r\n", i);
        }
    }
    buf_printf(&heap, "NOOP\r\n%c", 0);
    buf_clear(&c.heard);
    say(&c, (const char *)heap.data);
    hear(&c, "\r\n.\r\n+OK\r\n");
    for (int i = 2; i <= ROW; i++) {
        if (i != 14) {
            check_row(&c, &from, i);
        }
    }
    assert_int_equal(c.heard.size - from, 5);
    buf_finish(&heap);
    leave(&c);
    begin(&c, "RETR 1\r\nRETR 2\r\n"); /* reads are on their way at the end */
    hear(&c, "S: 1\r\n");
    leave(&c);
}

/* More messages than one page, and a list that must wait for its reader. */
static void many(void **state)
{
    enum { MESSAGES = 5000 };
    lab_account(&lab);
    for (int i = 0; i < MESSAGES / 500; i++) {
        assert_int_equal(lab_append(&lab, "INBOX", 500), MAILBOX_OK);
    }
    struct client c;
    begin(&c, "UIDL\r\nLIST\r\nQUIT\r\n");
    hear(&c, "+OK 5000 messages\r\n");
    hear(&c, "\r\n5000 ");
    hear(&c, "+OK Bye\r\n");
    gone(&c, "logout");
}

static void ends(void **state)
{
    struct client c;
    char text[200];
    deliver("a\r\n");
    begin(&c, "");
    hear(&c, "+OK 1 messages\r\n");
    pop3_session.describe(c.session, text, sizeof(text));
    assert_string_equal(text, "idle, 1 messages");
    pop3_session.farewell(c.session, "Server shutting down", "shutdown");
    gone(&c, "shutdown");
    /* While it is being opened. */
    begin(&c, "");
    pop3_session.farewell(c.session, "Server shutting down", "shutdown");
    gone(&c, "shutdown");
    /* While a message is on its way from the store. */
    begin(&c, "RETR 1\r\n");
    hear(&c, "+OK 1 messages\r\n");
    store_mem_delay(lab.store, 50);
    event_base_loop(lab.base, EVLOOP_NONBLOCK);
    pop3_session.farewell(c.session, "Server shutting down", "shutdown");
    gone(&c, "shutdown");
    lab_settle(&lab);
    /* The last commands of a client that has gone are still carried out. */
    store_mem_delay(lab.store, 0);
    begin(&c, "");
    say(&c, "DELE 1\r\nQUIT\r\n");
    shutdown(c.fd, SHUT_WR);
    hear(&c, "+OK Bye\r\n");
    gone(&c, "logout");
}

static void bad_lines(void **state)
{
    struct client c;
    static char line[5000];
    memset(line, 'x', sizeof(line) - 1);
    begin(&c, "");
    hear(&c, "+OK 0 messages\r\n");
    buf_clear(&c.heard);
    say(&c, line);
    lab_settle(&lab);
    expect(&c, "\r\nNOOP\r\n", "-ERR Line too long\r\n+OK\r\n");
    expect(&c, "FOO\r\nSTAT 1\r\nUSER a\r\n\r\n",
           "-ERR Unknown command\r\n-ERR STAT takes no argument\r\n-ERR Unknown command\r\n"
           "-ERR This is no command\r\n");
    leave(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(empty, setup, teardown),
        cmocka_unit_test_setup_teardown(reads, setup, teardown),
        cmocka_unit_test_setup_teardown(deletes, setup, teardown),
        cmocka_unit_test_setup_teardown(delete_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(expunged_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(large, setup, teardown),
        cmocka_unit_test_setup_teardown(in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(many, setup, teardown),
        cmocka_unit_test_setup_teardown(ends, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_lines, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
