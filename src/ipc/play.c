/*
 * The other side of ipc/child.c, for tests: see play.h. What the peers answer is each test's own.
 */
#include "ipc/play.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/fd.h"

static void on_ready(void *context, struct ipc_channel *channel, struct ipc_ready *message)
{
    struct play *play = context;
    play->ready = true;
}

static void on_closed(void *context, struct ipc_channel *channel)
{
    struct play *play = context;
    for (size_t i = 0; i < play->channel_count; i++)
        if (*play->channels[i] == channel)
            ipc_close(play->channels[i]);
}

static void open_channel(struct play *play, int fd, enum ipc_role self,
                         struct ipc_channel **channel)
{
    assert_true(play->channel_count < PLAY_CHANNELS);
    *channel = ipc_open(play->base, fd, self, play->role, 0, &play->handlers, play);
    play->channels[play->channel_count++] = channel;
}

void play_start(struct play *play, const char *program, enum ipc_role role, const char *settings,
                const struct ipc_handlers *handlers)
{
    int pair[2];
    *play = (struct play){.base = event_base_new(), .role = role, .handlers = *handlers};
    play->handlers.ready = on_ready;
    play->handlers.closed = on_closed;
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    play->pid = fork();
    if (play->pid == 0) {
        if (pair[1] != 3)
            dup2(pair[1], 3);
        else
            fd_set_cloexec(3, false);
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    open_channel(play, pair[0], IPC_MASTER, &play->master);
    ipc_send_setup(play->master,
                   &(struct ipc_setup){.role = role, .settings = slice_str(settings)});
}

void play_peer(struct play *play, enum ipc_role role, uint32_t index, struct ipc_channel **channel)
{
    int pair[2];
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    ipc_send_peer(play->master,
                  &(struct ipc_peer){.role = role, .index = index, .channel = pair[1]});
    close(pair[1]);
    open_channel(play, pair[0], role, channel);
}

void play_run(struct play *play)
{
    ipc_send_start(play->master, &(struct ipc_start){0});
    play_until(play, play_is_set, &play->ready, "ready");
}

/* ---- waiting ------------------------------------------------------------------------------- */

static void on_tick(int fd, short what, void *arg)
{
}

void play_until(struct play *play, bool (*done)(void *arg), void *arg, const char *what)
{
    uint64_t end = clock_monotonic_us() + 20000000;
    /* done() may look at what no event of the loop tells of: a client's socket, a child's end. */
    struct event *tick = event_new(play->base, -1, EV_PERSIST, on_tick, NULL);
    event_add(tick, &(struct timeval){.tv_usec = 1000});
    while (!done(arg)) {
        if (clock_monotonic_us() > end)
            fail_msg("waited in vain for %s", what);
        event_base_loop(play->base, EVLOOP_ONCE);
    }
    event_free(tick);
}

bool play_is_set(void *arg)
{
    return *(bool *)arg;
}

bool play_is_positive(void *arg)
{
    return *(int *)arg > 0;
}

struct hearing {
    int fd;
    char text[8192];
    size_t size;
    const char *end;
    bool closed;
};

static bool has_text(void *arg)
{
    struct hearing *h = arg;
    ssize_t size;
    while ((size = recv(h->fd, h->text + h->size, sizeof(h->text) - 1 - h->size, MSG_DONTWAIT)) > 0)
        h->size += (size_t)size;
    h->text[h->size] = '\0';
    h->closed = h->closed || size == 0 || (size < 0 && errno == ECONNRESET);
    return h->end == NULL ? h->closed : strstr(h->text, h->end) != NULL;
}

const char *play_hear(struct play *play, int fd, const char *end)
{
    static struct hearing hearing;
    hearing = (struct hearing){.fd = fd, .end = end};
    play_until(play, has_text, &hearing, end == NULL ? "the end of a connection" : end);
    return hearing.text;
}

/* ---- the end ------------------------------------------------------------------------------- */

struct ending {
    pid_t pid;
    int status;
};

static bool has_exited(void *arg)
{
    struct ending *ending = arg;
    return waitpid(ending->pid, &ending->status, WNOHANG) == ending->pid;
}

void play_drain(struct play *play)
{
    if (!play->draining && play->master != NULL)
        ipc_send_drain(play->master, &(struct ipc_drain){0});
    play->draining = true;
}

void play_end(struct play *play)
{
    struct ending ending = {.pid = play->pid};
    play_drain(play);
    play_until(play, has_exited, &ending, "the child's end");
    assert_true(WIFEXITED(ending.status));
    assert_int_equal(WEXITSTATUS(ending.status), 0);
    for (size_t i = 0; i < play->channel_count; i++)
        ipc_close(play->channels[i]);
    event_base_free(play->base);
}
