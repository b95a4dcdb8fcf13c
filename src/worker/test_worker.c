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
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/fd.h"
#include "ipc/ipc.h"

static const char *program;
static char directory[] = P_tmpdir "/restante-test-XXXXXX";
static struct event_base *base;
static struct ipc_channel *master, *auth, *door, *reader;
static pid_t pid;
static bool ready;
static int summarize_asked, delivered, purged;
static uint32_t delivered_result, checked_result, purged_result;
static bool checked, answer_summaries;
static const struct id account = {{1, 2, 3}};

/* ---- the peers ----------------------------------------------------------------------------- */

static void on_ready(void *context, struct ipc_channel *channel, struct ipc_ready *m)
{
    ready = true;
}

static void on_summarize(void *context, struct ipc_channel *channel, struct ipc_summarize *m)
{
    summarize_asked++;
    assert_true(fd_memory_verify(m->message, m->size));
    if (answer_summaries)
        ipc_send_summary(channel, &(struct ipc_summary){.request = m->request});
}

static void on_delivered(void *context, struct ipc_channel *channel, struct ipc_delivered *m)
{
    delivered++;
    delivered_result = m->result;
}

static void on_checked(void *context, struct ipc_channel *channel, struct ipc_rcpt_checked *m)
{
    checked = true;
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

static void on_closed(void *context, struct ipc_channel *channel)
{
    struct ipc_channel **all[] = {&master, &auth, &door, &reader};
    for (size_t i = 0; i < 4; i++)
        if (*all[i] == channel)
            ipc_close(all[i]);
}

static const struct ipc_handlers handlers = {
    .ready = on_ready,
    .summarize = on_summarize,
    .delivered = on_delivered,
    .rcpt_checked = on_checked,
    .purged = on_purged,
    .volume_state = on_volume_state,
    .closed = on_closed,
};

/* ---- life ---------------------------------------------------------------------------------- */

static void pump_until(bool (*done)(void *), void *arg, const char *what)
{
    uint64_t end = clock_monotonic_us() + 20000000;
    while (!done(arg)) {
        if (clock_monotonic_us() > end)
            fail_msg("waited in vain for %s", what);
        event_base_loop(base, EVLOOP_NONBLOCK);
        poll(NULL, 0, 1);
    }
}

static bool is_set(void *arg)
{
    return *(bool *)arg;
}

static bool is_positive(void *arg)
{
    return *(int *)arg > 0;
}

static struct ipc_channel *add_peer(enum ipc_role role)
{
    int pair[2];
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    ipc_send_peer(master, &(struct ipc_peer){.role = role, .channel = pair[1]});
    close(pair[1]);
    return ipc_open(base, pair[0], role, IPC_WORKER, 0, &handlers, NULL);
}

static int setup(void **state)
{
    int pair[2];
    base = event_base_new();
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    pid = fork();
    if (pid == 0) {
        if (pair[1] != 3)
            dup2(pair[1], 3);
        else
            fd_set_cloexec(3, false);
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    ready = checked = answer_summaries = false;
    summarize_asked = delivered = purged = 0;
    master = ipc_open(base, pair[0], IPC_MASTER, IPC_WORKER, 0, &handlers, NULL);
    ipc_send_setup(master,
                   &(struct ipc_setup){.role = IPC_WORKER,
                                       .settings = SLICE_LITERAL("log_level=error\n"
                                                                 "store_segment_size=1048576\n")});
    ipc_send_volume(master, &(struct ipc_volume){.volume = 0, .directory = slice_str(directory)});
    auth = add_peer(IPC_AUTH);
    door = add_peer(IPC_DOOR);
    reader = add_peer(IPC_READER);
    ipc_send_start(master, &(struct ipc_start){0});
    pump_until(is_set, &ready, "ready");
    return 0;
}

static bool has_exited(void *arg)
{
    return waitpid(pid, arg, WNOHANG) == pid;
}

static int teardown(void **state)
{
    int status = -1;
    ipc_send_drain(master, &(struct ipc_drain){0});
    pump_until(has_exited, &status, "the worker's end");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    ipc_close(&master);
    ipc_close(&auth);
    ipc_close(&door);
    ipc_close(&reader);
    event_base_free(base);
    return 0;
}

/* ---- clients ------------------------------------------------------------------------------- */

struct wanted {
    int fd;
    char text[8192];
    size_t size;
    const char *end; /* NULL: the end of the connection */
    bool closed;
};

static bool has_text(void *arg)
{
    struct wanted *w = arg;
    ssize_t size;
    while ((size = recv(w->fd, w->text + w->size, sizeof(w->text) - 1 - w->size, MSG_DONTWAIT)) > 0)
        w->size += (size_t)size;
    w->text[w->size] = '\0';
    w->closed = w->closed || size == 0;
    return w->end == NULL ? w->closed : strstr(w->text, w->end) != NULL;
}

static const char *hear(int fd, const char *end)
{
    static struct wanted w;
    w = (struct wanted){.fd = fd, .end = end};
    pump_until(has_text, &w, end == NULL ? "the end" : end);
    return w.text;
}

static void ticket(uint64_t conn)
{
    ipc_send_ticket(auth, &(struct ipc_ticket){.conn = conn,
                                               .account = account,
                                               .name = SLICE_LITERAL("alice"),
                                               .client = SLICE_LITERAL("192.0.2.7"),
                                               .protocol = IPC_POP3});
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
    int fd = fd_memory_create("test");
    assert_true(fd_memory_write(fd, text, strlen(text)) && fd_memory_seal(fd));
    delivered = 0;
    ipc_send_deliver_rcpt(door, &(struct ipc_deliver_rcpt){.delivery = id,
                                                           .account = account,
                                                           .volume = volume,
                                                           .prefix = SLICE_LITERAL("P: 1\r\n")});
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
    pump_until(is_positive, &summarize_asked, "the reader to be asked");
    for (int i = 0; i < 2 && delivered == 0; i++) {
        summarize_asked = 0;
        ipc_close(&reader);
        reader = add_peer(IPC_READER);
        while (delivered == 0 && summarize_asked == 0)
            event_base_loop(base, EVLOOP_NONBLOCK);
    }
    pump_until(is_positive, &delivered, "the delivery");
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
    pump_until(is_positive, &delivered, "an answer");
    assert_int_equal(delivered_result, IPC_DELIVERY_UNAVAILABLE);
    deliver(3, 5, 3, "x\r\n"); /* a volume of somebody else */
    pump_until(is_positive, &delivered, "an answer");
    assert_int_equal(delivered_result, IPC_DELIVERY_UNAVAILABLE);
    ipc_send_rcpt_check(door,
                        &(struct ipc_rcpt_check){.account = account, .quota = 10, .size = 100});
    pump_until(is_set, &checked, "a check");
    assert_int_equal(checked_result, IPC_DELIVERY_OVER_QUOTA);
    checked = false;
    ipc_send_rcpt_check(door, &(struct ipc_rcpt_check){.account = account, .size = 100});
    pump_until(is_set, &checked, "a check");
    assert_int_equal(checked_result, IPC_DELIVERY_OK);
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
    pump_until(is_positive, &purged, "the purge");
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
        cmocka_unit_test_setup_teardown(readers_die, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(survives, setup, teardown),
    };
    if (argc != 2 || mkdtemp(directory) == NULL)
        return 2;
    program = argv[1];
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
