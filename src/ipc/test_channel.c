/* A channel whose other end breaks every rule, one at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "io/fd.h"
#include "ipc/ipc_priv.h"

static struct event_base *base;
static struct ipc_channel *door; /* our door's channel to its worker */
static int other;                /* the worker's end, raw */
static int checked, closed, kept_fd, flushed;
static uint64_t last_request;
static bool close_inside, drain_inside;

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void on_checked(void *context, struct ipc_channel *channel, struct ipc_rcpt_checked *m)
{
    assert_ptr_equal(context, &checked);
    assert_int_equal(m->request, last_request + 1); /* in order */
    last_request = m->request;
    checked++;
    if (drain_inside) {
        drain_inside = false;
        ipc_drain(channel);
    }
    if (close_inside)
        ipc_close(&door);
}

static void on_closed(void *context, struct ipc_channel *channel)
{
    assert_ptr_equal(channel, door);
    closed++;
    ipc_close(&door);
}

static void on_handover(void *context, struct ipc_channel *channel, struct ipc_handover *m)
{
    if (kept_fd == -2) { /* asked to take it */
        kept_fd = m->socket;
        m->socket = -1;
    }
    checked++;
}

static const struct ipc_handlers door_handlers = {.rcpt_checked = on_checked, .closed = on_closed};
static const struct ipc_handlers worker_handlers = {.handover = on_handover, .closed = on_closed};

static int setup(void **state)
{
    int pair[2];
    checked = closed = flushed = 0;
    last_request = 0;
    kept_fd = -1;
    close_inside = drain_inside = false;
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    other = pair[1];
    door = ipc_open(base, pair[0], IPC_DOOR, IPC_WORKER, 3, &door_handlers, &checked);
    return 0;
}

static int teardown(void **state)
{
    ipc_close(&door);
    fd_close(&other);
    return 0;
}

static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static void send_raw(enum ipc_type type, const union ipc_message *message)
{
    struct buf one = {0}, packet = {0};
    int fds[FD_PASS_MAX], fd_count;
    ipc_encode(type, message, &one, fds, &fd_count);
    buf_packed(&packet, buf_slice(&one));
    assert_true(fd_send(other, packet.data, packet.size, fds, fd_count) > 0);
    buf_finish(&one);
    buf_finish(&packet);
}

static void send_checked(uint64_t request)
{
    send_raw(IPC_TYPE_rcpt_checked,
             &(union ipc_message){.rcpt_checked = {.request = request, .result = 0}});
}

static void in_order(void **state)
{
    for (uint64_t i = 1; i <= 100; i++)
        send_checked(i);
    while (checked < 100)
        turn();
    assert_int_equal(closed, 0);
    assert_int_equal(ipc_peer_index(door), 3);
    assert_int_equal(ipc_peer_role(door), IPC_WORKER);
}

static void drain(void **state)
{
    for (uint64_t i = 1; i <= 100; i++)
        send_checked(i);
    ipc_drain(door); /* no turn of the loop */
    assert_int_equal(checked, 100);
    drain_inside = true;
    send_checked(101);
    send_checked(102);
    send_checked(103);
    ipc_drain(door);
    assert_int_equal(checked, 103);
}

static void closed_inside(void **state)
{
    close_inside = true;
    send_checked(1);
    send_checked(2);
    turn();
    assert_int_equal(checked, 1);
    assert_int_equal(closed, 0); /* who closes is not told */
    assert_null(door);
}

static void last_words(void **state)
{
    send_checked(1);
    send_checked(2);
    fd_close(&other);
    ipc_send_rcpt_check(door, &(struct ipc_rcpt_check){.request = 1}); /* into the void */
    while (closed == 0)
        turn();
    assert_int_equal(checked, 2);
    assert_int_equal(closed, 1);
}

static void bad_packet(const void *bytes, size_t size, int fd)
{
    int before = open_descriptors();
    assert_true(fd_send(other, bytes, size, &fd, fd >= 0) >= 0);
    turn();
    turn();
    assert_int_equal(closed, 1);
    assert_null(door);
    assert_int_equal(open_descriptors(), before - 1); /* the channel's; none leaked */
}

static void malformed(void **state)
{
    bad_packet("\x01\x02\x03", 3, -1);
}

static void malformed_with_fd(void **state)
{
    bad_packet("\x01\x02\x03", 3, other);
}

static void malformed_behind_good(void **state)
{
    struct buf packet = {0};
    union ipc_message message = {.rcpt_checked = {.request = 1}};
    int fd_count;
    struct buf one = {0};
    ipc_encode(IPC_TYPE_rcpt_checked, &message, &one, NULL, &fd_count);
    buf_packed(&packet, buf_slice(&one));
    buf_add_str(&packet, "x");
    bad_packet(packet.data, packet.size, other);
    assert_int_equal(checked, 1);
    buf_finish(&one);
    buf_finish(&packet);
}

/* A descriptor that no message of the packet claims. */
static void surplus_fd(void **state)
{
    struct buf packet = {0}, one = {0};
    union ipc_message message = {.rcpt_checked = {.request = 1}};
    int fd_count;
    ipc_encode(IPC_TYPE_rcpt_checked, &message, &one, NULL, &fd_count);
    buf_packed(&packet, buf_slice(&one));
    buf_packed(&packet, buf_slice(&one));
    bad_packet(packet.data, packet.size, other);
    assert_int_equal(checked, 1); /* the last one is refused */
    buf_finish(&one);
    buf_finish(&packet);
}

static void empty_packet(void **state)
{
    bad_packet("", 0, -1);
}

static void too_large(void **state)
{
    static uint8_t much[IPC_PACKET_MAX + 1];
    bad_packet(much, sizeof(much), other);
}

static void wrong_sender(void **state)
{
    int before = open_descriptors();
    send_raw(IPC_TYPE_peer, &(union ipc_message){.peer = {.role = IPC_AUTH, .channel = other}});
    turn();
    turn();
    assert_int_equal(closed, 1);
    assert_int_equal(open_descriptors(), before - 1);
}

static void wrong_receiver(void **state)
{
    send_raw(IPC_TYPE_purged, &(union ipc_message){.purged = {.result = 0}});
    turn();
    turn();
    assert_int_equal(closed, 1);
}

/* delivered is of a worker for a door, but this door gave no handler. */
static void no_handler(void **state)
{
    send_raw(IPC_TYPE_delivered, &(union ipc_message){.delivered = {.rcpt = 0}});
    turn();
    turn();
    assert_int_equal(closed, 1);
}

static void as_master_says(void *context, struct ipc_channel *channel, struct ipc_start *m)
{
    checked++;
}

static void once_twice(void **state)
{
    static const struct ipc_handlers handlers = {.start = as_master_says, .closed = on_closed};
    int pair[2];
    teardown(NULL);
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    other = pair[1];
    door = ipc_open(base, pair[0], IPC_DOOR, IPC_MASTER, 0, &handlers, NULL);
    send_raw(IPC_TYPE_start, &(union ipc_message){.start = {0}});
    turn();
    assert_int_equal(checked, 1);
    assert_int_equal(closed, 0);
    send_raw(IPC_TYPE_start, &(union ipc_message){.start = {0}});
    turn();
    turn();
    assert_int_equal(checked, 1);
    assert_int_equal(closed, 1);
}

static void open_worker(void)
{
    int pair[2];
    teardown(NULL);
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    other = pair[1];
    door = ipc_open(base, pair[0], IPC_WORKER, IPC_DOOR, 0, &worker_handlers, NULL);
}

static void descriptors_in(void **state)
{
    open_worker();
    int before = open_descriptors();
    send_raw(IPC_TYPE_handover, &(union ipc_message){.handover = {.socket = other}});
    turn();
    assert_int_equal(checked, 1);
    assert_int_equal(open_descriptors(), before); /* not taken: closed behind the handler */
    kept_fd = -2;
    send_raw(IPC_TYPE_handover, &(union ipc_message){.handover = {.socket = other}});
    turn();
    assert_int_equal(open_descriptors(), before + 1);
    fd_close(&kept_fd);
}

static void on_flushed(void *arg)
{
    assert_int_equal(flushed, *(int *)arg);
    flushed++;
}

/* What is said in one turn of the loop is one packet, in order, the descriptor with its message. */
static void one_packet(void **state)
{
    static uint8_t bytes[IPC_PACKET_MAX];
    int fds[FD_PASS_MAX], fd_count;
    enum ipc_type type;
    union ipc_message message;
    static int first = 0;
    assert_true(ipc_send_rcpt_check(door, &(struct ipc_rcpt_check){.request = 7}));
    assert_true(ipc_send_rcpt_check(door, &(struct ipc_rcpt_check){.request = 8}));
    assert_false(ipc_flushed(door));
    ipc_when_flushed(door, on_flushed, &first);
    assert_int_equal(fd_receive(other, bytes, sizeof(bytes), fds, &fd_count), -1);
    turn();
    assert_int_equal(flushed, 1);
    ssize_t got = fd_receive(other, bytes, sizeof(bytes), fds, &fd_count);
    assert_true(got > 0);
    struct cursor packet = cursor_make(slice_make(bytes, (size_t)got));
    for (uint64_t request = 7; request <= 8; request++) {
        assert_true(ipc_decode(cursor_packed(&packet), fds, fd_count, &type, &message));
        assert_int_equal(message.rcpt_check.request, request);
    }
    assert_true(cursor_done(&packet));
    assert_true(ipc_send_rcpt_check(door, &(struct ipc_rcpt_check){.request = 9}));
    assert_true(ipc_send_handover(door, &(struct ipc_handover){.socket = other}));
    got = fd_receive(other, bytes, sizeof(bytes), fds, &fd_count); /* needs no turn */
    assert_true(got > 0);
    assert_int_equal(fd_count, 1);
    fd_close(&fds[0]);
}

/* More than a packet holds. */
static void many_packets(void **state)
{
    static uint8_t bytes[IPC_PACKET_MAX], prefix[2000];
    int fds[FD_PASS_MAX], fd_count, count = 0, packets = 0;
    enum ipc_type type;
    union ipc_message message;
    for (uint64_t i = 0; i < 100; i++)
        assert_true(ipc_send_deliver_rcpt(
            door, &(struct ipc_deliver_rcpt){.delivery = i,
                                             .prefix = slice_make(prefix, sizeof(prefix) - i)}));
    turn();
    for (ssize_t got; (got = fd_receive(other, bytes, sizeof(bytes), fds, &fd_count)) > 0;) {
        struct cursor packet = cursor_make(slice_make(bytes, (size_t)got));
        packets++;
        while (packet.rest.size > 0) {
            assert_true(ipc_decode(cursor_packed(&packet), fds, fd_count, &type, &message));
            assert_int_equal(message.deliver_rcpt.delivery, count++);
        }
    }
    assert_int_equal(count, 100);
    assert_int_equal(packets, 4); /* 200 KB in packets of 64 */
}

static void close_says_it(void **state)
{
    uint8_t bytes[100];
    int fds[FD_PASS_MAX], fd_count;
    assert_true(ipc_send_rcpt_check(door, &(struct ipc_rcpt_check){.request = 7}));
    ipc_close(&door);
    assert_true(fd_receive(other, bytes, sizeof(bytes), fds, &fd_count) > 0);
}

static int fill_up(struct slice readahead)
{
    int sent = 0;
    while (ipc_flushed(door)) {
        assert_true(ipc_send_handover(door, &(struct ipc_handover){.conn = (uint64_t)++sent,
                                                                   .socket = other,
                                                                   .readahead = readahead}));
        assert_true(sent < 100000);
    }
    return sent;
}

static int receive_raw(void)
{
    static uint8_t bytes[IPC_PACKET_MAX];
    int fds[FD_PASS_MAX], fd_count;
    enum ipc_type type;
    union ipc_message message;
    ssize_t got = fd_receive(other, bytes, sizeof(bytes), fds, &fd_count);
    if (got <= 0)
        return 0;
    struct cursor packet = cursor_make(slice_make(bytes, (size_t)got));
    assert_true(ipc_decode(cursor_packed(&packet), fds, fd_count, &type, &message));
    assert_true(cursor_done(&packet));
    while (fd_count > 0)
        fd_close(&fds[--fd_count]);
    return (int)message.handover.conn;
}

/* The peer reads nothing for a while: all arrives, in order, once it does. */
static void back_pressure(void **state)
{
    static int first = 0, second = 1;
    int before = open_descriptors();
    int sent = fill_up(SLICE_NONE);
    ipc_when_flushed(door, on_flushed, &first);
    ipc_when_flushed(door, on_flushed, &second);
    assert_int_equal(flushed, 0);
    for (int next = 1; next <= sent;) {
        int got = receive_raw();
        if (got == 0) {
            turn();
            continue;
        }
        assert_int_equal(got, next);
        next++;
    }
    turn();
    assert_true(ipc_flushed(door));
    assert_int_equal(flushed, 2);
    assert_int_equal(open_descriptors(), before);
}

/* The peer never reads: the channel ends at the limit, and gives everything back. */
static void queue_full(void **state)
{
    static uint8_t bytes[32768];
    static int first = 0;
    int before = open_descriptors();
    fill_up(SLICE_NONE);
    ipc_when_flushed(door, on_flushed, &first);
    int more = 0;
    while (ipc_send_handover(
        door, &(struct ipc_handover){.socket = other, .readahead = slice_make(bytes, 32768)}))
        assert_true(++more < 1000);
    assert_true(more > 300); /* 16 MiB / 32 KiB = 512, less what was there */
    assert_int_equal(closed, 0);
    turn();
    assert_int_equal(closed, 1);
    assert_int_equal(flushed, 1); /* told that it is over */
    assert_int_equal(open_descriptors(), before - 1);
}

static void flush(void **state)
{
    fill_up(SLICE_NONE);
    ipc_flush(door, 1); /* gives up */
    assert_false(ipc_flushed(door));
    while (receive_raw() != 0) {
    }
    ipc_flush(door, 1000);
    assert_true(ipc_flushed(door));
}

static void close_door(void *arg)
{
    ipc_close(&door);
}

/* Who waits for the last packet may close the channel that it went through. */
static void closed_while_flushing(void **state)
{
    fill_up(SLICE_NONE);
    ipc_when_flushed(door, close_door, NULL);
    while (receive_raw() != 0) {
    }
    ipc_flush(door, 1000);
    assert_null(door);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(in_order),       TEST(drain),
        TEST(closed_inside),  TEST(last_words),
        TEST(malformed),      TEST(empty_packet),
        TEST(too_large),      TEST(wrong_sender),
        TEST(no_handler),     TEST(once_twice),
        TEST(back_pressure),  TEST(queue_full),
        TEST(flush),          TEST(closed_while_flushing),
        TEST(descriptors_in), TEST(malformed_with_fd),
        TEST(wrong_receiver), TEST(malformed_behind_good),
        TEST(surplus_fd),     TEST(one_packet),
        TEST(many_packets),   TEST(close_says_it),
    };
    base = event_base_new();
    log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    event_base_free(base);
    return failed;
}
