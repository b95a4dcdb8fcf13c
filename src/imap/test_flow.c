/*
 * Sessions under the clients that dialogues cannot show: one that reads nothing, one that goes away
 * in the middle, one that asks for a great deal at once; and a store that cannot give what was
 * asked.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/mem/mem.h"
#include "test_world.h"

static void say(struct connection *connection, const char *text)
{
    connection_send(connection, slice_str(text));
}

/* Reads lines up to the tagged answer, which must begin so; returns the untagged lines before. */
static size_t expect(struct connection *connection, const char *answer)
{
    struct buf line = {0};
    size_t count = 0;
    for (;; count++) {
        buf_clear(&line);
        int result = connection_line(connection, &line);
        buf_u8(&line, 0);
        if (result <= 0)
            fail_msg("wanted %s, but the server says no more (%d)", answer, result);
        if (strncmp((char *)line.data, answer, strlen(answer)) == 0)
            break;
        if (line.data[0] != '*' && strchr("0123456789abcdef", answer[0]) != NULL &&
            memcmp(line.data, answer, 3) == 0)
            fail_msg("wanted %s, got %s", answer, (char *)line.data);
    }
    buf_finish(&line);
    return count;
}

static void fill(struct world *world, int count, size_t body)
{
    struct buf message = {0};
    for (int i = 0; i < count; i++) {
        buf_clear(&message);
        buf_printf(&message, "Subject: %d\r\n\r\n", i);
        memset(buf_extend(&message, body), 'x', body);
        buf_add_str(&message, "\r\n");
        world_deliver(world, SLICE_LITERAL("INBOX"), buf_slice(&message));
    }
    buf_finish(&message);
}

static void turns(struct world *world, int count)
{
    for (int i = 0; i < count; i++)
        world_turn(world);
}

/* A client that asks and does not read: what is queued for it stays bounded, others are served, and
 * when it reads at last it gets every byte. */
static void test_slow_reader(void **state)
{
    struct world world;
    world_open(&world);
    world.settings.limit_output = 65536;
    fill(&world, 30, 100000);
    struct connection *slow = world_connect(&world, false);
    struct connection *other = world_connect(&world, false);
    say(slow, "a01 EXAMINE INBOX\r\n");
    expect(slow, "a01 OK");
    static const char ask[] = "a02 FETCH 1:* BODY.PEEK[]\r\n";
    assert_int_equal(send(slow->fd, ask, sizeof(ask) - 1, 0), sizeof(ask) - 1);
    turns(&world, 2000);
    char text[200];
    imap_session.describe(slow->session, text, sizeof(text));
    assert_string_equal(text, "FETCH waits for the client to take its data in INBOX");
    say(other, "b01 EXAMINE INBOX\r\n");
    expect(other, "b01 OK");
    size_t bytes = 0;
    while (memmem(slow->input.data, slow->input.size, "a02 OK", 6) == NULL) {
        size_t before = slow->input.size;
        connection_take(slow);
        world_turn(&world);
        bytes += slow->input.size - before;
        assert_true(bytes < 30 * 100100);
    }
    assert_true(bytes > 30 * 100000);
    assert_true(world_close(&world));
}

/* The same client for longer than timeout.stall. */
static void test_stall(void **state)
{
    struct world world;
    world_open(&world);
    world.settings.timeout_stall = 0;
    fill(&world, 20, 100000);
    struct connection *slow = world_connect(&world, false);
    static const char ask[] = "a01 EXAMINE INBOX\r\na02 FETCH 1:* BODY.PEEK[]\r\n";
    assert_int_equal(send(slow->fd, ask, sizeof(ask) - 1, 0), sizeof(ask) - 1);
    turns(&world, 3000);
    assert_null(slow->session);
    assert_string_equal(slow->reason, "stall");
    assert_true(world_close(&world));
}

static void test_gone_in_mid_fetch(void **state)
{
    struct world world;
    world_open(&world);
    world.settings.limit_output = 65536;
    fill(&world, 20, 100000);
    for (int n = 1; n < 40; n += 3) {
        struct connection *client = world_connect(&world, false);
        static const char ask[] = "a01 SELECT INBOX\r\na02 FETCH 1:* BODY[]\r\n";
        assert_int_equal(send(client->fd, ask, sizeof(ask) - 1, 0), sizeof(ask) - 1);
        turns(&world, n);
        shutdown(client->fd, SHUT_RDWR);
        turns(&world, 1000);
        assert_null(client->session);
        assert_string_equal(client->reason, "disconnect");
        close(client->fd);
        buf_finish(&client->input);
        free(client);
        world.count--;
    }
    assert_true(world_close(&world));
}

/* A half-closed client (printf ... | nc) gets its answers. */
static void test_half_closed(void **state)
{
    struct world world;
    world_open(&world);
    fill(&world, 3, 10);
    struct connection *client = world_connect(&world, false);
    static const char ask[] = "a01 EXAMINE INBOX\r\na02 FETCH 1:* BODY.PEEK[]\r\na03 NO";
    assert_int_equal(send(client->fd, ask, sizeof(ask) - 1, 0), sizeof(ask) - 1);
    shutdown(client->fd, SHUT_WR);
    turns(&world, 300);
    expect(client, "a02 OK");
    assert_null(client->session);
    assert_true(world_close(&world));
}

/* 20,000 commands in one go: all answered, in order, without the output growing with them. */
static void test_many_commands(void **state)
{
    struct world world;
    struct buf ask = {0};
    char answer[20];
    world_open(&world);
    world.settings.limit_output = 65536;
    struct connection *client = world_connect(&world, false);
    for (int i = 10000; i < 30000; i++)
        buf_printf(&ask, "a%d NOOP\r\n", i);
    connection_send(client, buf_slice(&ask));
    for (int i = 10000; i < 30000; i++) {
        snprintf(answer, sizeof(answer), "a%d OK NOOP", i);
        assert_int_equal(expect(client, answer), 0);
    }
    buf_finish(&ask);
    assert_true(world_close(&world));
}

/* Large enough for several pages and turns of the loop. */
static void test_many_messages(void **state)
{
    struct world world;
    world_open(&world);
    fill(&world, 1200, 10);
    struct connection *client = world_connect(&world, false);
    say(client,
        "a01 SELECT INBOX\r\na02 FETCH 1:* FLAGS\r\na03 UID FETCH 1:* (RFC822.SIZE ENVELOPE)\r\n"
        "a04 FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]\r\na05 SEARCH SUBJECT 99\r\n"
        "a06 FETCH 5:1004 RFC822.TEXT\r\na07 SEARCH RETURN (COUNT) UNSEEN\r\n");
    expect(client, "a01 OK");
    assert_int_equal(expect(client, "a02 OK"), 1200);
    assert_int_equal(expect(client, "a03 OK"), 1200);
    assert_int_equal(expect(client, "a04 OK"), 1200 * 4);
    assert_int_equal(expect(client, "a05 OK"), 1);
    assert_int_equal(expect(client, "a06 OK"), 1000 * 3);
    struct buf line = {0};
    assert_int_equal(connection_line(client, &line), 1);
    assert_true(slice_equal_str(buf_slice(&line), "* ESEARCH (TAG \"a07\") COUNT 200"));
    buf_finish(&line);
    expect(client, "a07 OK");
    assert_true(world_close(&world));
}

/* One unreadable message: its neighbours are served, then NO. Blobs of a store in memory are
 * numbered from 1 in the order they came. */
static void test_unreadable(void **state)
{
    struct world world;
    world_open(&world);
    fill(&world, 5, 10);
    for (uint64_t blob = 1; blob < 20; blob++) {
        struct connection *client = world_connect(&world, false);
        store_mem_damage_blob(world.store, blob);
        say(client, "a01 EXAMINE INBOX\r\n");
        expect(client, "a01 OK");
        say(client, "a02 FETCH 1:5 (UID BODY.PEEK[])\r\n");
        struct buf line = {0};
        size_t served = 0;
        while (connection_line(client, &line) == 1 &&
               !slice_starts(buf_slice(&line), SLICE_LITERAL("a02 "))) {
            served += memmem(line.data, line.size, "BODY[] {", 8) != NULL;
            buf_clear(&line);
        }
        bool hit = slice_starts(buf_slice(&line), SLICE_LITERAL("a02 NO [SERVERBUG]"));
        assert_true(hit || slice_starts(buf_slice(&line), SLICE_LITERAL("a02 OK")));
        assert_int_equal(served, hit ? 4 : 5);
        buf_finish(&line);
        if (hit)
            break;
        say(client, "a03 LOGOUT\r\n");
        expect(client, "a03 OK");
        close(client->fd);
        buf_finish(&client->input);
        free(client);
        world.count--;
        assert_true(blob < 19); /* one of them must have been a message */
    }
    assert_true(world_close(&world));
}

/* The store's answers to a change: known not applied is NO, the unknown closes without a word. */
static void test_store_trouble(void **state)
{
    static const struct {
        enum store_result result;
        const char *answer;
    } cases[] = {{STORE_NOSPACE, "a02 NO [UNAVAILABLE]"},
                 {STORE_UNAVAILABLE, "a02 NO [UNAVAILABLE]"},
                 {STORE_FENCED, NULL},
                 {STORE_UNKNOWN, NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        world_open(&world);
        fill(&world, 1, 10);
        struct connection *client = world_connect(&world, false);
        say(client, "a01 SELECT INBOX\r\n");
        expect(client, "a01 OK");
        store_mem_fail(world.store, 1, cases[i].result, false);
        say(client, "a02 STORE 1 +FLAGS (\\Flagged)\r\n");
        if (cases[i].answer != NULL) {
            assert_int_equal(expect(client, cases[i].answer), 0);
        } else {
            struct buf line = {0};
            assert_int_equal(connection_line(client, &line), -1);
            assert_int_equal(line.size, 0);
            buf_finish(&line);
            assert_null(client->session);
            assert_string_equal(client->reason, "broken");
        }
        assert_true(world_close(&world));
    }
}

static void test_farewell(void **state)
{
    struct world world;
    world_open(&world);
    struct connection *client = world_connect(&world, false);
    imap_session.farewell(client->session, "The server stops.", "shutdown");
    turns(&world, 10);
    assert_null(client->session);
    assert_string_equal(client->reason, "shutdown");
    assert_int_equal(expect(client, "* BYE The server stops."), 0);
    assert_true(world_close(&world));
}

static void test_idle_too_long(void **state)
{
    struct world world;
    world_open(&world);
    world.settings.timeout_imap = 0;
    struct connection *client = world_connect(&world, false);
    turns(&world, 100);
    expect(client, "* BYE Nothing was heard");
    assert_string_equal(client->reason, "idle");
    assert_true(world_close(&world));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_reader),       cmocka_unit_test(test_stall),
        cmocka_unit_test(test_gone_in_mid_fetch), cmocka_unit_test(test_half_closed),
        cmocka_unit_test(test_many_commands),     cmocka_unit_test(test_many_messages),
        cmocka_unit_test(test_unreadable),        cmocka_unit_test(test_store_trouble),
        cmocka_unit_test(test_farewell),          cmocka_unit_test(test_idle_too_long),
    };
    signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
