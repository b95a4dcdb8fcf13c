/*
 * The worker as a process, between a master, auth, a door and readers that are played here, on a
 * volume in a directory of its own: who gets a session and who does not, deliveries when readers
 * die, the end.
 *
 * usage: test_worker PATH-OF-RESTANTE-WORKER
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "io/fd.h"
#include "ipc/play.h"

static const char *program;
static char directory[] = P_tmpdir "/restante-test-XXXXXX";
static struct play play;
static struct ipc_channel *auth, *door, *reader;
static int left_open[2];
static int summarize_asked, delivered, purged;
static uint32_t delivered_result, checked_result, purged_result;
static bool checked, answer_summaries, lies;
static int lie, checks;
static const struct id account = {{1, 2, 3}};

/* ---- the peers ----------------------------------------------------------------------------- */

/* A summary of one part whose numbers are given; doc/formats/summary.md. */
static void lie_about(struct ipc_channel *channel, uint64_t request, uint64_t size, uint8_t parts,
                      uint8_t header)
{
    const uint8_t packed[] = {
        1, parts, 0, 0, 0, 12, 0, 0, 0, (uint8_t)size, 0, 0, 0,
        /* kind, offset, header, body, lines, type, subtype, encoding, parameters */
        0, 0, header, (uint8_t)(size - header), 0, 5, 6, 4, 0,
        /* the envelope */
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 't', 'e', 'x', 't', 'p', 'l', 'a', 'i', 'n', '7', 'b', 'i'};
    ipc_send_summary(channel, &(struct ipc_summary){.request = request,
                                                    .packed = slice_make(packed, sizeof(packed))});
}

static void tell_lies(struct ipc_channel *channel, const struct ipc_summarize_short *m)
{
    uint64_t size = m->message.size;
    static uint8_t much[IPC_CHUNK];
    struct ipc_summary wrong = {.request = m->request + 1, .packed = SLICE_LITERAL("\x01")};
    struct ipc_summary none = {.request = m->request};
    switch (lie) {
    case 0: /* somebody else's, then its own, then again */
        ipc_send_summary(channel, &wrong);
        ipc_send_summary(channel, &none);
        ipc_send_summary(channel, &none);
        break;
    case 1: /* as large as a message may be, and nothing in it */
        memset(much, 0xff, sizeof(much));
        none.packed = slice_make(much, sizeof(much));
        ipc_send_summary(channel, &none);
        break;
    case 2: /* more header than message */
        lie_about(channel, m->request, size, 1, (uint8_t)size + 1);
        break;
    case 3: /* of a larger message */
        lie_about(channel, m->request, size + 1, 1, 4);
        break;
    case 4: /* more parts than are there */
        lie_about(channel, m->request, size, 200, 4);
        break;
    default: /* one byte of it */
        none.packed = SLICE_LITERAL("\x01");
        ipc_send_summary(channel, &none);
    }
}

static void on_summarize(void *context, struct ipc_channel *channel, struct ipc_summarize_short *m)
{
    summarize_asked++;
    if (lies)
        tell_lies(channel, m);
    else if (answer_summaries)
        ipc_send_summary(channel, &(struct ipc_summary){.request = m->request});
}

/* One that does not go in a packet, or while much waits for this reader. */
static void on_summarize_memory(void *context, struct ipc_channel *channel, struct ipc_summarize *m)
{
    assert_true(fd_memory_verify(m->message, m->size));
    ipc_send_summary(channel, &(struct ipc_summary){.request = m->request});
}

enum { SEARCH_HOLD, SEARCH_RIGHT, SEARCH_LIES }; /* what a reader makes of a search */
static int search_mode, search_asked;

/* One record, one needle: one byte is the right answer. */
static void on_search(void *context, struct ipc_channel *channel, struct ipc_search *m)
{
    static const uint8_t bits[IPC_CHUNK] = {1};
    const struct ipc_found right = {.request = m->request, .bits = {bits, 1}};
    struct ipc_found told[6];
    search_asked++;
    assert_int_equal(m->records, 1);
    assert_true(fd_memory_verify(m->messages, m->size));
    if (search_mode == SEARCH_RIGHT)
        ipc_send_found(channel, &right);
    if (search_mode < SEARCH_LIES)
        return;
    for (int i = 0; i < 6; i++)
        told[i] = right;
    told[0].bits.size = 0;
    told[1].bits.size = 2;
    told[2].bits.size = IPC_CHUNK;
    told[3].result = 77;
    told[4].request++; /* of nobody: then the right one */
    told[5].result = IPC_SEARCH_FAILED;
    ipc_send_found(channel, &told[search_mode - SEARCH_LIES]);
    if (search_mode - SEARCH_LIES == 4)
        ipc_send_found(channel, &right);
    ipc_send_found(channel, &right); /* twice */
}

static void on_delivered(void *context, struct ipc_channel *channel, struct ipc_delivered *m)
{
    delivered++;
    delivered_result = m->result;
}

static void on_checked(void *context, struct ipc_channel *channel, struct ipc_rcpt_checked *m)
{
    checked = true;
    checks++;
    checked_result = m->result;
}

static void on_purged(void *context, struct ipc_channel *channel, struct ipc_purged *m)
{
    purged++;
    purged_result = m->result;
}

static void on_volume_state(void *context, struct ipc_channel *channel, struct ipc_volume_state *m)
{
    assert_int_equal(m->trouble.size, 0);
}

static const struct ipc_handlers handlers = {
    .summarize = on_summarize_memory,
    .summarize_short = on_summarize,
    .search = on_search,
    .delivered = on_delivered,
    .rcpt_checked = on_checked,
    .purged = on_purged,
    .volume_state = on_volume_state,
};

/* ---- life ---------------------------------------------------------------------------------- */

static int setup(void **state)
{
    assert_int_equal(pipe(left_open), 0);
    checked = answer_summaries = false;
    summarize_asked = delivered = purged = 0;
    play_start(&play, program, IPC_WORKER, "log_level=error\nstore_segment_size=1048576\n",
               &handlers);
    close(left_open[1]);
    ipc_send_volume(play.master,
                    &(struct ipc_volume){.volume = 0, .directory = slice_str(directory)});
    play_peer(&play, IPC_AUTH, 0, &auth);
    play_peer(&play, IPC_DOOR, 0, &door);
    play_peer(&play, IPC_READER, 0, &reader);
    play_run(&play);
    return 0;
}

static int teardown(void **state)
{
    play_end(&play);
    close(left_open[0]);
    return 0;
}

/* ---- clients ------------------------------------------------------------------------------- */

static const char *hear(int fd, const char *end)
{
    return play_hear(&play, fd, end);
}

static void ticket(uint64_t conn)
{
    ipc_send_ticket(auth, &(struct ipc_ticket){.conn = conn,
                                               .account = account,
                                               .name = SLICE_LITERAL("alice"),
                                               .client = SLICE_LITERAL("192.0.2.7"),
                                               .protocol = IPC_POP3});
    ipc_flush(auth, 1000); /* ahead of what the door says */
}

/* The client's end of a connection that the door hands over. */
static int hand_over(uint64_t conn, const char *readahead)
{
    int pair[2];
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    ipc_send_handover(door, &(struct ipc_handover){.conn = conn,
                                                   .protocol = IPC_POP3,
                                                   .readahead = slice_str(readahead),
                                                   .socket = pair[1]});
    close(pair[1]);
    return pair[0];
}

static void deliver(uint64_t id, uint32_t volume, uint64_t claimed, const char *text)
{
    delivered = 0;
    ipc_send_deliver_rcpt(door, &(struct ipc_deliver_rcpt){.delivery = id,
                                                           .account = account,
                                                           .volume = volume,
                                                           .prefix = SLICE_LITERAL("P: 1\r\n")});
    if (claimed == strlen(text) && id % 2 == 0) {
        ipc_send_deliver_short(
            door, &(struct ipc_deliver_short){.delivery = id, .message = slice_str(text)});
        return;
    }
    int fd = fd_memory_create("test");
    assert_true(fd_memory_write(fd, text, strlen(text)) && fd_memory_seal(fd));
    ipc_send_deliver(door, &(struct ipc_deliver){.delivery = id, .size = claimed, .message = fd});
    close(fd);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void tickets(void **state)
{
    int fd = hand_over(7, "QUIT\r\n"); /* nobody logged in */
    assert_string_equal(hear(fd, NULL), "");
    close(fd);
    ticket(8);
    fd = hand_over(8, "STAT\r\nQUIT\r\n");
    assert_string_equal(hear(fd, NULL), "+OK 0 messages\r\n+OK 0 0\r\n+OK Bye\r\n");
    close(fd);
    fd = hand_over(8, "STAT\r\nQUIT\r\n"); /* used */
    assert_string_equal(hear(fd, NULL), "");
    close(fd);
    ticket(9);
    fd = hand_over(9, "");
    hear(fd, "+OK 0 messages\r\n");
    ipc_send_end_sessions(
        auth, &(struct ipc_end_sessions){.account = account, .reason = SLICE_LITERAL("Disabled")});
    hear(fd, NULL);
    close(fd);
}

/* Readers that die over a message do not keep it from being stored. */
static void readers_die(void **state)
{
    deliver(1, 0, 17, "Subject: a\r\n\r\nb\r\n");
    play_until(&play, play_is_positive, &summarize_asked, "the reader to be asked");
    for (int i = 0; i < 2 && delivered == 0; i++) {
        summarize_asked = 0;
        ipc_close(&reader);
        play_peer(&play, IPC_READER, 0, &reader);
        while (delivered == 0 && summarize_asked == 0)
            event_base_loop(play.base, EVLOOP_NONBLOCK);
    }
    play_until(&play, play_is_positive, &delivered, "the delivery");
    assert_int_equal(delivered_result, IPC_DELIVERY_OK);
    ticket(1);
    int fd = hand_over(1, "RETR 1\r\nQUIT\r\n");
    assert_non_null(strstr(hear(fd, NULL), "octets\r\nP: 1\r\nSubject: a\r\n\r\nb\r\n.\r\n+OK"));
    close(fd);
}

static void refuses(void **state)
{
    answer_summaries = true;
    deliver(2, 0, 3, "more than three"); /* not as large as it is said to be */
    play_until(&play, play_is_positive, &delivered, "an answer");
    assert_int_equal(delivered_result, IPC_DELIVERY_UNAVAILABLE);
    deliver(3, 5, 3, "x\r\n"); /* a volume of somebody else */
    play_until(&play, play_is_positive, &delivered, "an answer");
    assert_int_equal(delivered_result, IPC_DELIVERY_UNAVAILABLE);
    ipc_send_rcpt_check(door,
                        &(struct ipc_rcpt_check){.account = account, .quota = 10, .size = 100});
    play_until(&play, play_is_set, &checked, "a check");
    assert_int_equal(checked_result, IPC_DELIVERY_OVER_QUOTA);
    checked = false;
    ipc_send_rcpt_check(door, &(struct ipc_rcpt_check){.account = account, .size = 100});
    play_until(&play, play_is_set, &checked, "a check");
    assert_int_equal(checked_result, IPC_DELIVERY_OK);
    checked = false;
    ipc_send_rcpt_check(door,
                        &(struct ipc_rcpt_check){.account = account, .size = UINT64_MAX - 1000});
    play_until(&play, play_is_set, &checked, "a check");
    assert_int_equal(checked_result, IPC_DELIVERY_NOSPACE);
}

static bool is_gone(void *arg)
{
    return *(struct ipc_channel **)arg == NULL;
}

/* Nothing more of what the worker was sent before is on its way: it has answered a question. */
static void settle(struct ipc_channel *peer)
{
    checked = false;
    ipc_send_rcpt_check(peer, &(struct ipc_rcpt_check){.account = account, .size = 1});
    play_until(&play, play_is_set, &checked, "a check");
}

/* More short messages than a channel may hold wait for a reader that does not read, then dies: all
 * are kept, and no other channel ends. */
static void reader_sleeps(void **state)
{
    enum { MANY = 600 }; /* of 32 KB each, for a queue of 16 MB */
    static const struct id busy = {{77}};
    static uint8_t text[IPC_SHORT];
    int pair[2];
    memset(text, 'x', sizeof(text));
    answer_summaries = true;
    ipc_close(&reader);
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    ipc_send_peer(play.master,
                  &(struct ipc_peer){.role = IPC_READER, .index = 0, .channel = pair[1]});
    close(pair[1]);
    for (uint64_t i = 0; i < MANY; i++) {
        ipc_send_deliver_rcpt(door,
                              &(struct ipc_deliver_rcpt){.delivery = 1000 + i, .account = busy});
        ipc_send_deliver_short(
            door, &(struct ipc_deliver_short){.delivery = 1000 + i, .message = {text, IPC_SHORT}});
        do
            event_base_loop(play.base, EVLOOP_NONBLOCK);
        while (ipc_backlog(door) > 0 && !is_gone(&door));
    }
    settle(door);
    assert_int_equal(delivered, 0);
    char dead;
    assert_true(recv(pair[0], &dead, 1, MSG_DONTWAIT | MSG_PEEK) >
                0); /* it still had its channel */
    play_peer(&play, IPC_READER, 0, &reader);
    close(pair[0]);
    while (delivered < MANY && !is_gone(&reader) && !is_gone(&door))
        event_base_loop(play.base, EVLOOP_ONCE);
    assert_int_equal(delivered, MANY);
    assert_int_equal(delivered_result, IPC_DELIVERY_OK);
}

/* A ticket of an account that was disabled or wiped meanwhile opens nothing. */
static void revoked_tickets(void **state)
{
    ticket(20);
    ipc_send_end_sessions(
        auth, &(struct ipc_end_sessions){.account = account, .reason = SLICE_LITERAL("Disabled")});
    int fd = hand_over(20, "STAT\r\n");
    assert_string_equal(hear(fd, NULL), "");
    close(fd);
    ticket(21);
    ipc_send_purge(auth, &(struct ipc_purge){.account = account});
    play_until(&play, play_is_positive, &purged, "the purge");
    fd = hand_over(21, "STAT\r\n");
    assert_string_equal(hear(fd, NULL), "");
    close(fd);
}

/* A descriptor that master was started with, or leaked, is not the child's. */
static void inherits_nothing(void **state)
{
    struct pollfd end = {.fd = left_open[0], .events = POLLIN};
    assert_int_equal(poll(&end, 1, 0), 1);
    assert_true((end.revents & POLLHUP) != 0);
}

/* Tickets are for one door and one protocol; a door that errs in it has used it up. */
static void wrong_handover(void **state)
{
    int pair[2];
    ticket(30);
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    ipc_send_handover(door,
                      &(struct ipc_handover){.conn = 30, .protocol = IPC_IMAP, .socket = pair[1]});
    close(pair[1]);
    assert_string_equal(hear(pair[0], NULL), "");
    close(pair[0]);
    int fd = hand_over(30, "STAT\r\n");
    assert_string_equal(hear(fd, NULL), "");
    close(fd);
}

static void hand_over_any(uint64_t conn, uint32_t protocol, int fd)
{
    ipc_send_ticket(auth, &(struct ipc_ticket){.conn = conn,
                                               .account = account,
                                               .name = SLICE_LITERAL("alice"),
                                               .client = SLICE_LITERAL("192.0.2.7"),
                                               .protocol = protocol});
    ipc_flush(auth, 1000);
    ipc_send_handover(door, &(struct ipc_handover){.conn = conn,
                                                   .protocol = protocol,
                                                   .tag = SLICE_LITERAL("a"),
                                                   .readahead = SLICE_LITERAL("x\r\n"),
                                                   .socket = fd});
}

/* What is handed over may be anything; it must be a stream socket. */
static void handover_of_no_socket(void **state)
{
    int memory = fd_memory_create("test"), fds[2], sockets[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets), 0);
    const int wrong[] = {memory, fds[0], fds[1], sockets[0]};
    for (uint32_t protocol = IPC_IMAP; protocol <= IPC_HTTP; protocol++)
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
            hand_over_any(40 + protocol * 10 + i, protocol, wrong[i]);
    settle(door);
    assert_int_equal(lseek(memory, 0, SEEK_END), 0); /* nothing was written into it */
    struct pollfd nothing[] = {{.fd = fds[0], .events = POLLIN},
                               {.fd = sockets[1], .events = POLLIN}};
    assert_int_equal(poll(nothing, 2, 0), 0);
    close(memory);
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(sockets[i]);
    }
    ticket(90); /* all is well with others */
    int fd = hand_over(90, "QUIT\r\n");
    hear(fd, NULL);
    close(fd);
}

/* Each message that a door may not send, or in a shape that it has not: that door alone is cut. */
static void broken_peers(void **state)
{
    struct ipc_channel *const auth_before = auth;
    for (uint32_t type = 0; type < IPC_TYPE_COUNT + 2; type++) {
        for (int shape = 0; shape < 3; shape++) {
            int pair[2];
            uint8_t bytes[64] = {0};
            size_t size = shape == 0 ? 8 : shape == 1 ? 3 : sizeof(bytes);
            bytes_put_le32(bytes, (uint32_t)size - 4); /* of the message behind it */
            bytes_put_le32(bytes + 4, type);
            if (shape == 2)
                memset(bytes + 8, 0xff, sizeof(bytes) - 8);
            assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
            ipc_send_peer(play.master,
                          &(struct ipc_peer){.role = IPC_DOOR, .index = 7, .channel = pair[1]});
            close(pair[1]);
            assert_int_equal(send(pair[0], bytes, size, MSG_NOSIGNAL), size);
            hear(pair[0], NULL); /* cut */
            close(pair[0]);
        }
    }
    settle(door);
    assert_ptr_equal(auth, auth_before);
    ticket(100);
    int fd = hand_over(100, "QUIT\r\n");
    assert_string_equal(hear(fd, NULL), "+OK 0 messages\r\n+OK Bye\r\n");
    close(fd);
}

/* Far more questions than can be worked on at once: each is answered. */
static void many_checks(void **state)
{
    enum { MANY = 30000 };
    struct id other = {{9}};
    checks = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        memcpy(other.bytes + 4, &i, sizeof(i));
        assert_true(ipc_send_rcpt_check(
            door, &(struct ipc_rcpt_check){.request = i, .account = other, .size = UINT64_MAX}));
        if (i % 1000 == 0)
            event_base_loop(play.base, EVLOOP_NONBLOCK);
    }
    while (checks < MANY && !is_gone(&door))
        event_base_loop(play.base, EVLOOP_ONCE);
    assert_int_equal(checks, MANY);
    assert_int_not_equal(checked_result, IPC_DELIVERY_OK); /* there is no such room */
}

/* Readers that lie: the wrong number, twice, garbage, offsets outside; mail is kept without. */
static void readers_lie(void **state)
{
    lies = true;
    for (lie = 0; lie < 6; lie++) {
        deliver(50 + (uint64_t)lie, 0, 19,
                lie == 0   ? "Subject: l\r\n\r\n0..\r\n"
                : lie == 1 ? "Subject: l\r\n\r\n1..\r\n"
                : lie == 2 ? "Subject: l\r\n\r\n2..\r\n"
                : lie == 3 ? "Subject: l\r\n\r\n3..\r\n"
                : lie == 4 ? "Subject: l\r\n\r\n4..\r\n"
                           : "Subject: l\r\n\r\n5..\r\n");
        play_until(&play, play_is_positive, &delivered, "the delivery");
        assert_int_equal(delivered, 1);
        assert_int_equal(delivered_result, IPC_DELIVERY_OK);
    }
    lies = false;
    ticket(60);
    int fd = hand_over(60, "RETR 1\r\nRETR 6\r\nQUIT\r\n");
    const char *text = hear(fd, NULL);
    assert_non_null(strstr(text, "\r\nP: 1\r\nSubject: l\r\n\r\n0..\r\n.\r\n"));
    assert_non_null(strstr(text, "\r\nP: 1\r\nSubject: l\r\n\r\n5..\r\n.\r\n"));
    close(fd);
    ipc_send_purge(auth, &(struct ipc_purge){.account = account});
    play_until(&play, play_is_positive, &purged, "the purge");
}

static int imap(uint64_t conn)
{
    int pair[2];
    ipc_send_ticket(auth, &(struct ipc_ticket){.conn = conn,
                                               .account = {{9}},
                                               .name = SLICE_LITERAL("bob"),
                                               .client = SLICE_LITERAL("192.0.2.7"),
                                               .protocol = IPC_IMAP});
    ipc_flush(auth, 1000);
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    ipc_send_handover(door, &(struct ipc_handover){.conn = conn,
                                                   .protocol = IPC_IMAP,
                                                   .tag = SLICE_LITERAL("l"),
                                                   .socket = pair[1]});
    close(pair[1]);
    return pair[0];
}

static const char *command(int fd, const char *text, const char *end)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
    return hear(fd, end);
}

static const char *searches(int fd)
{
    search_asked = 0;
    return command(fd, "s SEARCH BODY b\r\n", "s OK");
}

/* A reader that dies in the middle of a search costs it a second try; then the message is not
 * found, and the next search is served. Bits that were not asked for are not believed. A client
 * that goes in the middle leaves nothing behind. */
static void search_readers(void **state)
{
    answer_summaries = true;
    search_mode = SEARCH_HOLD;
    search_asked = 0;
    int fd = imap(200);
    hear(fd, "l OK");
    command(fd, "a APPEND INBOX {17+}\r\nSubject: a\r\n\r\nb\r\n\r\n", "a OK");
    command(fd, "a EXAMINE INBOX\r\ns SEARCH BODY b\r\n", "a OK");
    for (int deaths = 0; deaths < 2; deaths++) {
        play_until(&play, play_is_positive, &search_asked, "the reader to be asked");
        search_asked = 0;
        ipc_close(&reader);
        play_peer(&play, IPC_READER, 0, &reader);
    }
    assert_non_null(strstr(hear(fd, "s OK"), "* SEARCH\r\n"));
    assert_int_equal(search_asked, 0);
    for (search_mode = SEARCH_LIES; search_mode < SEARCH_LIES + 6; search_mode++) {
        bool right = search_mode == SEARCH_LIES + 4;
        assert_non_null(strstr(searches(fd), right ? "* SEARCH 1\r\n" : "* SEARCH\r\n"));
        assert_int_equal(search_asked, 1);
    }
    search_mode = SEARCH_RIGHT;
    assert_non_null(strstr(searches(fd), "* SEARCH 1\r\n"));
    search_mode = SEARCH_HOLD;
    search_asked = 0;
    assert_int_equal(send(fd, "s SEARCH BODY b\r\n", 17, 0), 17);
    play_until(&play, play_is_positive, &search_asked, "the reader to be asked");
    close(fd); /* and teardown with the request in work */
}

/* What is stored outlives the process; a purge wipes it. */
static void survives(void **state)
{
    answer_summaries = true;
    ticket(1);
    int fd = hand_over(1, "STAT\r\nQUIT\r\n");
    assert_non_null(strstr(hear(fd, NULL), "+OK 1 "));
    close(fd);
    ipc_send_purge(auth, &(struct ipc_purge){.account = account});
    play_until(&play, play_is_positive, &purged, "the purge");
    assert_int_equal(purged_result, IPC_DELIVERY_OK);
    ticket(2);
    fd = hand_over(2, "STAT\r\nQUIT\r\n");
    assert_non_null(strstr(hear(fd, NULL), "+OK 0 0"));
    close(fd);
    ticket(3);
    fd = hand_over(3, ""); /* open at the end: teardown closes it in order */
    hear(fd, "+OK 0 messages\r\n");
    close(fd);
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    return remove(path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tickets, setup, teardown),
        cmocka_unit_test_setup_teardown(revoked_tickets, setup, teardown),
        cmocka_unit_test_setup_teardown(inherits_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_handover, setup, teardown),
        cmocka_unit_test_setup_teardown(handover_of_no_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_peers, setup, teardown),
        cmocka_unit_test_setup_teardown(many_checks, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_die, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(search_readers, setup, teardown),
        cmocka_unit_test_setup_teardown(survives, setup, teardown),
        cmocka_unit_test_setup_teardown(reader_sleeps, setup, teardown),
    };
    if (argc != 2 || mkdtemp(directory) == NULL)
        return 2;
    program = argv[1];
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
