/*
 * SEARCH under what dialogues cannot show: many at a time, clients that go away at every step of
 * it, messages of every size around the pieces they are read in, messages that cannot be read, no
 * memory for a batch.
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

#include "base/fault.h"
#include "base/log.h"
#include "imap/search_batch.h"
#include "store/mem/mem.h"
#include "test_world.h"

static void deliver(struct world *world, size_t fill, const char *end)
{
    struct buf message = {0};
    buf_add_str(&message, "Subject: s\r\n\r\n");
    memset(buf_extend(&message, fill), 'x', fill);
    buf_add_str(&message, end);
    world_deliver(world, SLICE_LITERAL("INBOX"), buf_slice(&message));
    buf_finish(&message);
}

/* The line ahead of the tagged one ("" when there is none), which must begin so. */
static void expect(struct connection *client, const char *untagged, const char *tagged)
{
    struct buf line = {0}, before = {0};
    while (connection_line(client, &line) == 1 && line.data[0] == '*') {
        buf_clear(&before);
        buf_add_slice(&before, buf_slice(&line));
        buf_clear(&line);
    }
    buf_u8(&before, 0);
    buf_u8(&line, 0);
    if (untagged != NULL)
        assert_string_equal((char *)before.data, untagged);
    assert_memory_equal(line.data, tagged, strlen(tagged));
    buf_finish(&line);
    buf_finish(&before);
}

static void say(struct connection *client, const char *text)
{
    connection_send(client, slice_str(text));
}

static struct connection *selected(struct world *world)
{
    struct connection *client = world_connect(world, false);
    say(client, "a EXAMINE INBOX\r\n");
    expect(client, NULL, "a OK");
    return client;
}

/* Around every border of the pieces: the last byte counts. */
static void test_sizes(void **state)
{
    static const size_t borders[] = {0, SEARCH_PIECE_BYTES, 2 * SEARCH_PIECE_BYTES,
                                     SEARCH_BATCH_BYTES, 3 * SEARCH_BATCH_BYTES};
    struct world world;
    char wanted[1000] = "* SEARCH";
    world_open(&world);
    world_deliver(&world, SLICE_LITERAL("INBOX"), SLICE_LITERAL("x"));
    for (unsigned i = 0, n = 2; i < sizeof(borders) / sizeof(*borders); i++)
        for (size_t more = 0; more < 40; more += 3, n++) {
            size_t fill = (borders[i] > 20 ? borders[i] - 20 : 0) + more;
            deliver(&world, fill, n % 2 == 0 ? "needle" : "noodle");
            if (n % 2 == 0)
                sprintf(wanted + strlen(wanted), " %u", n);
        }
    struct connection *client = selected(&world);
    say(client, "b SEARCH BODY needle\r\n");
    expect(client, wanted, "b OK");
    say(client, "c SEARCH 5:* TEXT \"subject: s\" NOT BODY noodle UNSEEN\r\n");
    char *rest = strstr(wanted, " 6 ");
    memmove(wanted + 8, rest, strlen(rest) + 1);
    expect(client, wanted, "c OK");
    assert_true(world_close(&world));
}

/* Eight sessions search, of which two have a turn at a time; those with odd numbers go away after
 * so many turns of the loop. The others are answered all the same. */
static void test_gone(void **state)
{
    for (int steps = 0; steps < 60; steps += 1 + steps / 10) {
        struct world world;
        struct connection *clients[8];
        world_open(&world);
        for (int i = 0; i < 20; i++)
            deliver(&world, i % 5 == 0 ? 600000 : 10, i == 7 ? "needle" : "");
        for (int i = 0; i < 8; i++)
            clients[i] = selected(&world);
        static const char ask[] = "b SEARCH OR SUBJECT none BODY needle\r\n";
        for (int i = 0; i < 8; i++)
            assert_int_equal(send(clients[i]->fd, ask, sizeof(ask) - 1, 0), sizeof(ask) - 1);
        for (int i = 0; i < steps; i++)
            world_turn(&world);
        for (int i = 1; i < 8; i += 2)
            shutdown(clients[i]->fd, SHUT_RDWR);
        for (int i = 0; i < 8; i += 2)
            expect(clients[i], "* SEARCH 8", "b OK");
        assert_true(world_close(&world));
    }
}

/* A message that cannot be read is not found; its neighbours are. */
static void test_unreadable(void **state)
{
    struct world world;
    world_open(&world);
    for (int i = 0; i < 5; i++)
        deliver(&world, i == 2 ? 300000 : 10, "needle");
    struct connection *client = selected(&world);
    say(client, "b SEARCH BODY needle\r\n");
    expect(client, "* SEARCH 1 2 3 4 5", "b OK");
    for (uint64_t blob = 1; blob <= 5; blob++)
        store_mem_damage_blob(world.store, blob);
    say(client, "c SEARCH BODY needle\r\n");
    expect(client, "* SEARCH", "c OK");
    say(client, "d SEARCH SUBJECT s\r\n");
    expect(client, "* SEARCH 1 2 3 4 5", "d OK");
    assert_true(world_close(&world));
}

/* Without memory the answer is NO, and the next search is served. */
static void test_no_memory(void **state)
{
#ifdef RESTANTE_FAULTS
    struct world world;
    world_open(&world);
    for (int i = 0; i < 30; i++)
        deliver(&world, 200000, "needle");
    struct connection *client = selected(&world);
    for (int nth = 1; nth < 5; nth++) {
        static const char *const searches[] = {"BODY needle", "SUBJECT t", "CHARSET koi8-r TEXT a"};
        for (int s = 0; s < 3; s++) {
            char text[100];
            if (s == 1 && nth > 1)
                continue; /* needs one batch */
            snprintf(text, sizeof(text), "imap.search@%d=ENOMEM", nth);
            fault_set(text);
            snprintf(text, sizeof(text), "b SEARCH %s\r\n", searches[s]);
            say(client, text);
            expect(client, NULL, "b NO [UNAVAILABLE]");
            fault_set(NULL);
            say(client, "c SEARCH 1 BODY needle\r\n");
            expect(client, "* SEARCH 1", "c OK");
        }
    }
    assert_true(world_close(&world));
#else
    skip();
#endif
}

/* More texts than a reader is asked for at a time. */
static void test_many_texts(void **state)
{
    struct world world;
    world_open(&world);
    deliver(&world, 10, "needle");
    struct connection *client = selected(&world);
    for (int count = 255; count <= 257; count++) {
        struct buf command = {0};
        buf_add_str(&command, "b SEARCH");
        for (int i = 1; i < count; i++)
            buf_printf(&command, " NOT BODY %d", i);
        buf_add_str(&command, " BODY needle\r\n");
        connection_send(client, buf_slice(&command));
        if (count <= NEEDLES_MAX)
            expect(client, "* SEARCH 1", "b OK");
        else
            expect(client, NULL, "b NO [LIMIT]");
        buf_finish(&command);
    }
    assert_true(world_close(&world));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_gone),
        cmocka_unit_test(test_unreadable), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_many_texts),
    };
    signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
