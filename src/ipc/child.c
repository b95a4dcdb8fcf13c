/*
 * The life of a child process (child.h has the order). Answers for: nothing from a peer is read
 * before the sandbox is entered, one channel per peer, and the verbs that every process knows
 * (status, metrics, sandbox-probe). There is one child in a process; handlers of the
 * table get the program's state as context, so child.c finds itself through `the_child`.
 */
#include "ipc/child.h"

#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/counter.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "ipc/child_priv.h"

enum {
    MASTER_FD = 3,
    LAST_WORD_MS = 2000, /* for what is queued to peers when we end */
    TIDY_MS = 250,       /* a burst lasts longer; oftener than this costs more than it gives */
};

static struct child *the_child;

/* ---- peers --------------------------------------------------------------------------------- */

static struct child_peer *find_peer(struct child *child, enum ipc_role role, uint32_t index)
{
    struct child_peer *peer;
    STAILQ_FOREACH (peer, &child->peers, next)
        if (peer->role == role && peer->index == index)
            return peer;
    return NULL;
}

static void open_peer(struct child *child, struct child_peer *peer)
{
    int fd = peer->fd;
    peer->fd = -1;
    peer->channel = ipc_open(child->base, fd, child->program->role, peer->role, peer->index,
                             &child->handlers, child->state);
    if (child->program->peer_up != NULL)
        child->program->peer_up(child->state, peer->channel);
}

static void drop_peer(struct child *child, struct child_peer *peer)
{
    bool was_up = peer->channel != NULL;
    ipc_close(&peer->channel);
    fd_close(&peer->fd);
    if (was_up && child->program->peer_down != NULL)
        child->program->peer_down(child->state, peer->role, peer->index);
}

static void on_peer(void *context, struct ipc_channel *channel, struct ipc_peer *m)
{
    struct child *child = the_child;
    struct child_peer *peer = find_peer(child, (enum ipc_role)m->role, m->index);
    if (peer == NULL) {
        peer = MEM_NEW(struct child_peer);
        peer->role = (enum ipc_role)m->role;
        peer->index = m->index;
        peer->fd = -1;
        STAILQ_INSERT_TAIL(&child->peers, peer, next);
    }
    drop_peer(child, peer);
    peer->fd = m->channel;
    m->channel = -1;
    if (child->running)
        open_peer(child, peer);
}

static void on_closed(void *context, struct ipc_channel *channel)
{
    struct child *child = the_child;
    if (channel == child->master) {
        ipc_close(&child->master);
        event_base_loopbreak(child->base);
        return;
    }
    struct child_peer *peer = find_peer(child, ipc_peer_role(channel), ipc_peer_index(channel));
    ASSERT(peer != NULL && peer->channel == channel);
    drop_peer(child, peer);
}

struct ipc_channel *child_peer(struct child *child, enum ipc_role role, uint32_t index)
{
    struct child_peer *peer = find_peer(child, role, index);
    return peer == NULL ? NULL : peer->channel;
}

uint32_t child_peer_limit(struct child *child, enum ipc_role role)
{
    uint32_t limit = 0;
    struct child_peer *peer;
    STAILQ_FOREACH (peer, &child->peers, next)
        if (peer->role == role && peer->index >= limit)
            limit = peer->index + 1;
    return limit;
}

struct ipc_channel *child_peer_next(struct child *child, enum ipc_role role)
{
    struct child_peer *least = NULL;
    struct child_peer *peer;
    STAILQ_FOREACH (peer, &child->peers, next)
        if (peer->role == role && peer->channel != NULL &&
            (least == NULL || peer->chosen < least->chosen))
            least = peer;
    if (least == NULL)
        return NULL;
    least->chosen++;
    return least->channel;
}

/* ---- start, reload, end -------------------------------------------------------------------- */

static void end_with(struct child *child, const struct error *error)
{
    log_error("start_failed", "reason=%s", log_value(slice_str(error->text)).text);
    child->status = 1;
    event_base_loopbreak(child->base);
}

static void on_setup(void *context, struct ipc_channel *channel, struct ipc_setup *m)
{
    struct child *child = the_child;
    struct error error = {""};
    if (m->role != (uint32_t)child->program->role ||
        !settings_read(&child->settings, m->settings, &error)) {
        end_with(child, &error);
        return;
    }
    child->index = m->index;
    child->uid = m->uid;
    child->gid = m->gid;
    snprintf(child->log_name, sizeof(child->log_name), "%s%u", child->program->name, m->index);
    log_init(child->log_name, (enum log_level)child->settings.log_level,
             (enum log_target)child->settings.log_target);
}

static void on_settings(void *context, struct ipc_channel *channel, struct ipc_settings *m)
{
    struct child *child = the_child;
    struct error error = {""};
    if (!settings_read(&child->settings, m->settings, &error))
        log_error("settings_refused", "reason=%s", log_value(slice_str(error.text)).text);
    log_init(child->log_name, (enum log_level)child->settings.log_level,
             (enum log_target)child->settings.log_target);
    if (child->running && child->program->reloaded != NULL)
        child->program->reloaded(child->state);
}

void child_hold(struct child *child)
{
    child->held = true;
}

void child_ready(struct child *child)
{
    struct child_peer *peer;
    child->running = true;
    STAILQ_FOREACH (peer, &child->peers, next)
        if (peer->fd >= 0)
            open_peer(child, peer);
    if (child->master != NULL)
        ipc_send_ready(child->master, &(struct ipc_ready){0});
}

static void on_start(void *context, struct ipc_channel *channel, struct ipc_start *m)
{
    struct child *child = the_child;
    const struct child_program *program = child->program;
    struct error error = {""};
    struct sandbox_options options = {
        .mode = (enum sandbox_mode)child->settings.process_sandbox,
        .uid = child->uid,
        .gid = child->gid,
        .landlock_abi_max = -1,
    };
    if ((program->warm_up != NULL && !program->warm_up(child->state, &options, &error)) ||
        !sandbox_enter(program->profile, &options, &error) ||
        (program->begin != NULL && !program->begin(child->state, &error))) {
        end_with(child, &error);
        return;
    }
    if (!child->held)
        child_ready(child);
}

static void on_drain(void *context, struct ipc_channel *channel, struct ipc_drain *m)
{
    struct child *child = the_child;
    child->draining = true;
    if (child->running && child->program->drain != NULL)
        child->program->drain(child->state);
    else
        child_finish(child);
}

void child_finish(struct child *child)
{
    struct child_peer *peer;
    STAILQ_FOREACH (peer, &child->peers, next)
        if (peer->channel != NULL)
            ipc_flush(peer->channel, LAST_WORD_MS);
    if (child->master != NULL)
        ipc_flush(child->master, LAST_WORD_MS);
    event_base_loopbreak(child->base);
}

/* ---- memory -------------------------------------------------------------------------------- */

static void on_tidy(evutil_socket_t fd, short what, void *arg)
{
    mem_trim();
}

void child_tidy(struct child *child)
{
    static const struct timeval after = {.tv_usec = TIDY_MS * 1000};
    if (!event_pending(child->tidy, EV_TIMEOUT, NULL))
        event_add(child->tidy, &after);
}

/* ---- main ---------------------------------------------------------------------------------- */

static struct ipc_handlers merge_handlers(const struct child_program *program)
{
    struct ipc_handlers handlers = *program->handlers;
    ASSERT(handlers.setup == NULL && handlers.settings == NULL && handlers.peer == NULL &&
           handlers.start == NULL && handlers.drain == NULL && handlers.admin_request == NULL &&
           handlers.closed == NULL);
    handlers.setup = on_setup;
    handlers.settings = on_settings;
    handlers.peer = on_peer;
    handlers.start = on_start;
    handlers.drain = on_drain;
    handlers.admin_request = child_admin_request;
    handlers.closed = on_closed;
    return handlers;
}

static void ignore_signals(void)
{
    const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        signal(signals[i], SIG_IGN);
}

int child_main(const struct child_program *program)
{
    struct child *child = MEM_NEW(struct child);
    the_child = child;
    child->program = program;
    STAILQ_INIT(&child->peers);
    STAILQ_INIT(&child->requests);
    ignore_signals();
    log_init(program->name, LOG_LEVEL_INFO, LOG_TARGET_STDERR);
    settings_defaults(&child->settings);
    if (!fd_set_cloexec(MASTER_FD, true)) {
        fprintf(stderr, "restante-%s is started by restante serve, not by hand.\n", program->name);
        return 2;
    }
    /* What master itself was started with, and what a library left open in it, is nobody's here. */
    close_range(MASTER_FD + 1, UINT_MAX, 0);
    child->handlers = merge_handlers(program);
    child->base = event_base_new();
    ASSERT(child->base != NULL);
    child->tidy = evtimer_new(child->base, on_tidy, child);
    ASSERT(child->tidy != NULL);
    child->state = program->create(child);
    ASSERT(child->state != NULL);
    child->master = ipc_open(child->base, MASTER_FD, program->role, IPC_MASTER, 0, &child->handlers,
                             child->state);
    event_base_dispatch(child->base);
    if (child->draining)
        log_debug("child_done", "%s", "");
    /* Threads may still run on what the state points to: the kernel takes all of it back. */
    fflush(NULL);
    fault_finish();
    _exit(child->status);
}

struct child *child_this(void)
{
    return the_child;
}

struct event_base *child_base(struct child *child)
{
    return child->base;
}

const struct settings *child_settings(struct child *child)
{
    return &child->settings;
}

uint32_t child_index(struct child *child)
{
    return child->index;
}

uid_t child_uid(struct child *child)
{
    return child->uid;
}

bool child_draining(struct child *child)
{
    return child->draining;
}

struct ipc_channel *child_master(struct child *child)
{
    return child->master;
}
