/*
 * The door as a process, between a master, auth, tls and workers that are played here, and clients
 * on loopback. Every peer dies at some moment; the client always gets the protocol's answer.
 *
 * usage: test_door PATH-OF-RESTANTE-DOOR
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
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
static struct play play;
static struct ipc_channel *auth, *tls, *workers[2];
static uint16_t ports[4];  /* pop3, lmtp, pop3 over TLS, imap */
static int clear_end = -1; /* the client's end of what tls established */
static int handed = -1;    /* of the last handover */
static struct buf readahead;
static bool hold[2]; /* that worker does not answer deliveries */
static uint64_t held_delivery;
static bool hold_tls, hold_check; /* that is not answered, but kept in held_conn and held_by */
static uint64_t held_conn;
static struct ipc_channel *held_by;
static int delivered, cancelled;

/* ---- the peers ----------------------------------------------------------------------------- */

static void on_auth_start(void *context, struct ipc_channel *channel, struct ipc_auth_start *m)
{
    static const char good[] = "\0alice\0secret", wait[] = "\0wait\0";
    struct ipc_auth_done done = {.conn = m->conn, .result = IPC_AUTH_BAD_SECRET};
    if (slice_starts(m->initial, slice_make(wait, sizeof(wait) - 1)))
        return;
    if (slice_equal(m->initial, slice_make(good, sizeof(good) - 1)))
        done.result = IPC_AUTH_OK;
    ipc_send_auth_done(channel, &done);
}

static void on_auth_cancel(void *context, struct ipc_channel *channel, struct ipc_auth_cancel *m)
{
    cancelled++;
}

static void on_lookup(void *context, struct ipc_channel *channel, struct ipc_rcpt_lookup *m)
{
    struct ipc_rcpt_found found = {
        .request = m->request, .result = IPC_RCPT_UNKNOWN, .name = m->address};
    if (slice_starts(m->address, SLICE_LITERAL("alice")))
        found.result = IPC_RCPT_OK, found.account.bytes[0] = 1;
    if (slice_starts(m->address, SLICE_LITERAL("bob")))
        found.result = IPC_RCPT_OK, found.account.bytes[0] = 2, found.worker = 1;
    if (slice_starts(m->address, SLICE_LITERAL("wait")))
        return;
    ipc_send_rcpt_found(channel, &found);
}

static void on_check(void *context, struct ipc_channel *channel, struct ipc_rcpt_check *m)
{
    if (hold_check) {
        held_conn = m->request;
        held_by = channel;
        return;
    }
    ipc_send_rcpt_checked(
        channel, &(struct ipc_rcpt_checked){.request = m->request,
                                            .result = m->size > 1000 ? IPC_DELIVERY_OVER_QUOTA
                                                                     : IPC_DELIVERY_OK});
}

static void on_deliver_rcpt(void *context, struct ipc_channel *channel, struct ipc_deliver_rcpt *m)
{
    assert_true(slice_starts(m->prefix, SLICE_LITERAL("Return-Path: <x@y>\r\n")));
}

static void on_deliver(void *context, struct ipc_channel *channel, struct ipc_deliver_short *m)
{
    bool second = channel == workers[1];
    assert_true(slice_equal(m->message, SLICE_LITERAL("hello\r\n")));
    if (hold[second]) {
        held_delivery = m->delivery;
        return;
    }
    delivered++;
    ipc_send_delivered(channel, &(struct ipc_delivered){.delivery = m->delivery});
}

static void on_handover(void *context, struct ipc_channel *channel, struct ipc_handover *m)
{
    handed = m->socket;
    m->socket = -1;
    buf_clear(&readahead);
    buf_add_slice(&readahead, m->readahead);
}

/* No TLS here: the client goes on with the other end of the pair. */
static void on_tls_start(void *context, struct ipc_channel *channel, struct ipc_tls_start *m)
{
    int pair[2];
    if (hold_tls) {
        held_conn = m->conn;
        held_by = channel;
        return;
    }
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    fd_close(&clear_end);
    clear_end = pair[0];
    ipc_send_tls_established(
        channel, &(struct ipc_tls_established){
                     .conn = m->conn, .version = SLICE_LITERAL("TLSv1.3"), .clear = pair[1]});
    close(pair[1]);
}

static const struct ipc_handlers handlers = {
    .auth_start = on_auth_start,
    .auth_cancel = on_auth_cancel,
    .rcpt_lookup = on_lookup,
    .rcpt_check = on_check,
    .deliver_rcpt = on_deliver_rcpt,
    .deliver_short = on_deliver,
    .handover = on_handover,
    .tls_start = on_tls_start,
};

/* ---- life ---------------------------------------------------------------------------------- */

static bool has_conn(void *arg)
{
    return held_conn != 0;
}

static bool is_open(void *arg)
{
    return *(int *)arg >= 0;
}

static void add_listener(uint16_t *port, enum ipc_protocol protocol, bool with_tls)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, (struct sockaddr *)&address, size), errno);
    assert_return_code(listen(fd, 100), errno);
    getsockname(fd, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    ipc_send_listener(play.master, &(struct ipc_listener){.protocol = protocol,
                                                          .tls = with_tls,
                                                          .name = SLICE_LITERAL("test"),
                                                          .socket = fd});
    close(fd);
}

static int start_with(const char *settings)
{
    memset(hold, 0, sizeof(hold));
    delivered = cancelled = 0;
    play_start(&play, program, IPC_DOOR, settings, &handlers);
    add_listener(&ports[0], IPC_POP3, false);
    add_listener(&ports[1], IPC_LMTP, false);
    add_listener(&ports[2], IPC_POP3, true);
    add_listener(&ports[3], IPC_IMAP, false);
    play_peer(&play, IPC_AUTH, 0, &auth);
    play_peer(&play, IPC_TLS, 0, &tls);
    play_peer(&play, IPC_WORKER, 0, &workers[0]);
    play_peer(&play, IPC_WORKER, 1, &workers[1]);
    play_run(&play);
    ipc_send_auth_mechanisms(
        auth, &(struct ipc_auth_mechanisms){.secure = SLICE_LITERAL("PLAIN SCRAM-SHA-256-PLUS"),
                                            .clear = SLICE_LITERAL("")});
    return 0;
}

static int setup(void **state)
{
    return start_with("log_level=error\n");
}

static int teardown(void **state)
{
    play_end(&play);
    fd_close(&clear_end);
    fd_close(&handed);
    return 0;
}

/* ---- clients ------------------------------------------------------------------------------- */

static int client(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}

static const char *hear(int fd, const char *end)
{
    return play_hear(&play, fd, end);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int lmtp_with_rcpts(void)
{
    int fd = client(ports[1]);
    say(fd, "LHLO c\r\nMAIL FROM:<x@y>\r\nRCPT TO:<alice@y>\r\nRCPT TO:<bob@y>\r\nDATA\r\n");
    hear(fd, "354 ");
    return fd;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void delivers(void **state)
{
    int fd = lmtp_with_rcpts();
    say(fd, "hello\r\n.\r\nQUIT\r\n");
    const char *text = hear(fd, NULL);
    assert_non_null(strstr(text, "250 2.0.0 <alice@y> kept\r\n250 2.0.0 <bob@y> kept\r\n221 "));
    assert_int_equal(delivered, 2);
    close(fd);
    fd = client(ports[1]);
    say(fd,
        "LHLO c\r\nMAIL FROM:<x@y> SIZE=1001\r\nRCPT TO:<alice@y>\r\nRCPT TO:<z@y>\r\nQUIT\r\n");
    text = hear(fd, NULL);
    assert_non_null(strstr(text, "452 4.2.2 "));
    assert_non_null(strstr(text, "550 5.1.1 "));
    close(fd);
}

static void worker_dies(void **state)
{
    int fd = lmtp_with_rcpts();
    hold[1] = true;
    held_delivery = 0;
    say(fd, "hello\r\n.\r\n");
    while (held_delivery == 0)
        event_base_loop(play.base, EVLOOP_ONCE);
    ipc_close(&workers[1]);
    hear(fd, "250 2.0.0 <alice@y> kept\r\n451 4.3.0 <bob@y> try again later\r\n");
    say(fd, "MAIL FROM:<x@y>\r\nRCPT TO:<bob@y>\r\n");
    hear(fd, "451 4.3.0"); /* nobody can say if there is room */
    hold[1] = false;
    play_peer(&play, IPC_WORKER, 1, &workers[1]);
    say(fd, "RCPT TO:<bob@y>\r\nDATA\r\n");
    hear(fd, "354 ");
    say(fd, "hello\r\n.\r\n");
    hear(fd, "250 2.0.0 <bob@y> kept\r\n");
    close(fd);
}

static void auth_dies(void **state)
{
    int lmtp = client(ports[1]), pop3 = client(ports[0]);
    say(lmtp, "LHLO c\r\nMAIL FROM:<x@y>\r\n");
    hear(lmtp, "250 2.1.0");
    say(lmtp, "RCPT TO:<wait@y>\r\n");
    say(pop3, "USER wait\r\nPASS x\r\n");
    hear(pop3, "+OK Password");
    ipc_close(&auth);
    hear(lmtp, "451 4.3.0");
    hear(pop3, "-ERR [SYS/TEMP]");
    say(lmtp, "RCPT TO:<alice@y>\r\n");
    hear(lmtp, "451 4.3.0");
    say(pop3, "USER alice\r\nPASS secret\r\n");
    hear(pop3, "-ERR [SYS/TEMP]");
    play_peer(&play, IPC_AUTH, 0, &auth);
    say(lmtp, "RCPT TO:<alice@y>\r\n");
    hear(lmtp, "250 2.1.5");
    say(pop3, "USER alice\r\nPASS secret\r\nSTAT\r\n");
    play_until(&play, is_open, &handed, "the handover");
    close(lmtp);
    close(pop3);
}

static void logs_in(void **state)
{
    int fd = client(ports[0]);
    hear(fd, "+OK ");
    say(fd, "USER alice\r\nPASS wrong\r\nCAPA\r\n");
    const char *text = hear(fd, "\r\n.\r\n");
    assert_non_null(strstr(text, "-ERR [AUTH]"));
    assert_non_null(strstr(text, "SASL PLAIN\r\n")); /* nothing to bind to without TLS */
    assert_non_null(strstr(text, "STLS\r\n"));
    say(fd, "USER alice\r\nPASS secret\r\nSTAT\r\nQUIT\r\n");
    play_until(&play, is_open, &handed, "the handover");
    assert_true(slice_equal_str(buf_slice(&readahead), "STAT\r\nQUIT\r\n"));
    say(handed, "+OK from the worker\r\n");
    hear(fd, "+OK from the worker");
    fd_close(&handed);
    ipc_close(&workers[0]);
    int other = client(ports[0]);
    say(other, "CAPA\r\n");
    hear(other, "\r\n.\r\n");
    say(other, "USER alice\r\nPASS secret\r\n");
    hear(other, "-ERR [SYS/TEMP]");
    close(other);
    close(fd);
    int imap = client(ports[3]);
    hear(imap, "* OK");
    close(imap);
    assert_int_equal(buf_slice(&readahead).size, 12);
}

static bool was_cancelled(void *arg)
{
    return cancelled > 0;
}

/* Clients that vanish in each state; auth is told. */
static void vanishes(void **state)
{
    const char *const words[] = {"", "USER a", "USER wait\r\nPASS x\r\n"};
    for (size_t i = 0; i < 3; i++) {
        int fd = client(ports[0]);
        hear(fd, "+OK ");
        say(fd, words[i]);
        close(fd);
    }
    int fd = lmtp_with_rcpts();
    say(fd, "half a mess");
    close(fd);
    fd = lmtp_with_rcpts();
    say(fd, "hello\r\n.\r\n");
    close(fd);
    fd = client(ports[0]);
    hear(fd, "+OK ");
    say(fd, "USER wait\r\nPASS x\r\n");
    hear(fd, "+OK Password");
    play_drain(&play);
    hear(fd, "-ERR [SYS/TEMP] Shutting down");
    play_until(&play, was_cancelled, NULL, "auth_cancel");
    close(fd);
}

static void starttls(void **state)
{
    int fd = client(ports[1]);
    say(fd, "LHLO c\r\nSTARTTLS\r\n");
    hear(fd, "220 2.0.0");
    play_until(&play, is_open, &clear_end, "TLS");
    say(clear_end, "LHLO c\r\n");
    const char *text = hear(clear_end, "250 CHUNKING\r\n");
    assert_null(strstr(text, "STARTTLS"));
    assert_null(strstr(text, "220 ")); /* no second greeting */
    fd_close(&clear_end);
    close(fd);
    fd = client(ports[1]);
    say(fd, "LHLO c\r\nSTARTTLS\r\nMAIL FROM:<mallory@y>\r\n");
    text = hear(fd, NULL);
    assert_null(strstr(text, "250 2.1.0"));
    assert_int_equal(clear_end, -1);
    close(fd);
    fd = client(ports[2]);
    play_until(&play, is_open, &clear_end, "TLS");
    hear(clear_end, "+OK ");
    close(fd);
    fd_close(&clear_end);
    ipc_close(&tls);
    fd = client(ports[2]); /* nobody can speak TLS: closed */
    hear(fd, NULL);
    close(fd);
    fd = client(ports[1]);
    say(fd, "LHLO c\r\nSTARTTLS\r\nQUIT\r\n");
    assert_non_null(strstr(hear(fd, NULL), "454 4.7.0"));
    close(fd);
}

/* What only the tls process that holds the connection may say, said by another. */
static void forge_tls(struct ipc_channel *other, uint64_t conn, int clear)
{
    ipc_send_tls_failed(other,
                        &(struct ipc_tls_failed){.conn = conn, .reason = SLICE_LITERAL("forged")});
    ipc_send_tls_established(
        other,
        &(struct ipc_tls_established){.conn = conn, .version = SLICE_LITERAL("x"), .clear = clear});
}

/* A tls process that was broken into says of another one's connection that it is established, and
 * gives its own end; and of its own that a file is the clear end of it. */
static void forged_tls(void **state)
{
    struct ipc_channel *const given = tls; /* index 0, which is asked first */
    static struct ipc_channel *other;
    int pair[2], memory = fd_memory_create("test");
    play_peer(&play, IPC_TLS, 1, &other);
    hold_tls = true;
    held_conn = 0;
    int fd = client(ports[2]);
    play_until(&play, has_conn, NULL, "tls_start");
    struct ipc_channel *asked = held_by;
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    forge_tls(asked == given ? other : given, held_conn, pair[1]);
    close(pair[1]);
    assert_string_equal(hear(pair[0], NULL), ""); /* closed without a greeting */
    close(pair[0]);
    ipc_send_tls_established(asked, &(struct ipc_tls_established){.conn = held_conn,
                                                                  .version = SLICE_LITERAL("x"),
                                                                  .clear = memory});
    assert_true(fd_socketpair(SOCK_STREAM, pair)); /* and the true one still counts */
    ipc_send_tls_established(
        asked, &(struct ipc_tls_established){
                   .conn = held_conn, .version = SLICE_LITERAL("TLSv1.3"), .clear = pair[1]});
    close(pair[1]);
    hear(pair[0], "+OK ");
    assert_int_equal(lseek(memory, 0, SEEK_END), 0);
    close(memory);
    close(pair[0]);
    close(fd);
    hold_tls = false;
    ipc_close(&other);
}

/* Room is asked of the recipient's worker; another one, or a number that is no answer, is not
 * heard. */
static void forged_worker(void **state)
{
    int fd = client(ports[1]);
    hold_check = true;
    held_conn = 0;
    say(fd, "LHLO c\r\nMAIL FROM:<x@y>\r\n");
    hear(fd, "250 2.1.0");
    say(fd, "RCPT TO:<bob@y>\r\n");
    play_until(&play, has_conn, NULL, "rcpt_check");
    assert_ptr_equal(held_by, workers[1]);
    ipc_send_rcpt_checked(
        workers[0], &(struct ipc_rcpt_checked){.request = held_conn, .result = IPC_DELIVERY_OK});
    int other = client(ports[1]); /* which has its answer: the forged one was heard before */
    hold_check = false;
    say(other, "LHLO c\r\nMAIL FROM:<x@y>\r\nRCPT TO:<alice@y>\r\n");
    hear(other, "250 2.1.5");
    char nothing[1];
    assert_int_equal(recv(fd, nothing, sizeof(nothing), MSG_DONTWAIT), -1);
    ipc_send_rcpt_checked(workers[1],
                          &(struct ipc_rcpt_checked){.request = held_conn, .result = 4000000000u});
    hear(fd, "451 4.3.0");
    close(other);
    close(fd);
}

/* Messages malformed or not for this sender: that peer alone is cut. */
static void broken_peers(void **state)
{
    static const enum ipc_role roles[] = {IPC_TLS, IPC_AUTH, IPC_WORKER, IPC_CONTROL};
    for (uint32_t type = 0; type < IPC_TYPE_COUNT + 2; type++) {
        for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
            int pair[2];
            uint8_t bytes[64];
            memset(bytes, 0xff, sizeof(bytes));
            bytes_put_le32(bytes, sizeof(bytes) - 4); /* of the message behind it */
            bytes_put_le32(bytes + 4, type);
            assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
            ipc_send_peer(
                play.master,
                &(struct ipc_peer){.role = (uint32_t)roles[i], .index = 9, .channel = pair[1]});
            close(pair[1]);
            assert_int_equal(send(pair[0], bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
            hear(pair[0], NULL); /* cut */
            close(pair[0]);
        }
    }
    delivers(state);
}

static int setup_small(void **state)
{
    return start_with("log_level=error\nlimit_connections=3\n");
}

static void refuses(void **state)
{
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client(ports[0]);
        hear(fds[i], "+OK ");
    }
    int fd = client(ports[0]);
    assert_string_equal(hear(fd, NULL), "-ERR [SYS/TEMP] Too many connections\r\n");
    close(fd);
    fd = client(ports[1]);
    assert_string_equal(hear(fd, NULL), "421 4.7.0 Too many connections\r\n");
    close(fd);
    say(fds[0], "QUIT\r\n");
    hear(fds[0], NULL);
    fd = client(ports[1]);
    hear(fd, "220 ");
    close(fd);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

/* What was accepted is answered before the door ends; all others get their farewell. */
static void drains(void **state)
{
    int busy = lmtp_with_rcpts(), idle = client(ports[1]), half = lmtp_with_rcpts();
    hear(idle, "220 ");
    say(half, "not yet whole");
    hold[1] = true;
    held_delivery = 0;
    say(busy, "hello\r\n.\r\n");
    while (held_delivery == 0)
        event_base_loop(play.base, EVLOOP_ONCE);
    play_drain(&play);
    assert_non_null(strstr(hear(idle, NULL), "421 4.3.2"));
    assert_non_null(strstr(hear(half, NULL), "421 4.3.2"));
    ipc_send_delivered(workers[1], &(struct ipc_delivered){.delivery = held_delivery});
    const char *text = hear(busy, NULL);
    assert_non_null(
        strstr(text, "250 2.0.0 <alice@y> kept\r\n250 2.0.0 <bob@y> kept\r\n421 4.3.2"));
    close(busy);
    close(idle);
    close(half);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(delivers, setup, teardown),
        cmocka_unit_test_setup_teardown(worker_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(auth_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(logs_in, setup, teardown),
        cmocka_unit_test_setup_teardown(vanishes, setup, teardown),
        cmocka_unit_test_setup_teardown(starttls, setup, teardown),
        cmocka_unit_test_setup_teardown(forged_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(forged_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_peers, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup_small, teardown),
        cmocka_unit_test_setup_teardown(drains, setup, teardown),
    };
    program = argv[1];
    return argc == 2 ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
