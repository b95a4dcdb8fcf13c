/*
 * The other processes: started, joined with channels, restarted, told to stop. A start is a restart
 * of something that was not there: whatever is spawned is wired to every living process it talks
 * to, so the first start, a crash and the end of a crash are one path.
 *
 * A child whose channel breaks is killed; only SIGCHLD counts it as gone. One that crashes waits
 * 100 ms, doubled each time until it has lived for a minute; the others go on meanwhile. One that
 * does not become ready in timeout.start is taken as crashed, unless it may be recovering a store:
 * that takes as long as it takes, and is said.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "master/master.h"

enum {
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 30000,
    LIVED_US = 60 * 1000000,
    GIVE_UP = 3, /* crashes of one process before the server was ever ready */
};

extern char **environ;

/* Which roles talk with each other, beside master with all. */
static const struct {
    unsigned one, other;
} pairs[] = {
    {IPC_DOOR, IPC_TLS},
    {IPC_DOOR, IPC_AUTH},
    {IPC_DOOR, IPC_WORKER},
    {IPC_AUTH, IPC_WORKER},
    {IPC_WORKER, IPC_READER},
    {IPC_CONTROL, IPC_TLS | IPC_DOOR | IPC_AUTH | IPC_WORKER | IPC_READER},
};

bool child_program_path(const char *name, char *path, size_t size)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length > 0) {
        self[length] = '\0';
        *strrchr(self, '/') = '\0';
        if (snprintf(path, size, "%s/%s", self, name) < (int)size && access(path, X_OK) == 0)
            return true;
    }
    return snprintf(path, size, "%s/%s", RESTANTE_LIBEXECDIR, name) < (int)size &&
           access(path, X_OK) == 0;
}

/* ---- wiring -------------------------------------------------------------------------------- */

static bool talk(enum ipc_role a, enum ipc_role b)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
        if (((pairs[i].one & a) != 0 && (pairs[i].other & b) != 0) ||
            ((pairs[i].one & b) != 0 && (pairs[i].other & a) != 0))
            return true;
    return false;
}

static void send_peer(struct process *to, const struct process *peer, int fd)
{
    ipc_send_peer(
        to->channel,
        &(struct ipc_peer){.role = (uint32_t)peer->role, .index = peer->index, .channel = fd});
}

static void wire(struct master *master, struct process *fresh)
{
    struct process *other;
    TAILQ_FOREACH (other, &master->processes, next) {
        int pair[2];
        if (other == fresh || other->channel == NULL || !talk(fresh->role, other->role))
            continue;
        if (!fd_socketpair(SOCK_SEQPACKET, pair)) {
            log_error("wire_failed", "process=%s%u peer=%s%u error=%d", ipc_role_name(fresh->role),
                      fresh->index, ipc_role_name(other->role), other->index, errno);
            continue;
        }
        send_peer(fresh, other, pair[0]);
        send_peer(other, fresh, pair[1]);
        fd_close(&pair[0]);
        fd_close(&pair[1]);
    }
}

static uint32_t count_of(const struct master *master, enum ipc_role role)
{
    uint32_t count = 0;
    const struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        count += process->role == role;
    return count;
}

static void send_settings(struct process *process, bool first)
{
    struct buf lines = {0};
    struct user user = user_of(process->role);
    settings_write(&process->master->config.settings, &lines);
    ASSERT(lines.size <= IPC_CHUNK);
    if (first)
        ipc_send_setup(process->channel, &(struct ipc_setup){.role = (uint32_t)process->role,
                                                             .index = process->index,
                                                             .uid = user.uid,
                                                             .gid = user.gid,
                                                             .settings = buf_slice(&lines)});
    else
        ipc_send_settings(process->channel, &(struct ipc_settings){.settings = buf_slice(&lines)});
    buf_finish(&lines);
}

static void send_listeners(struct process *process)
{
    const struct master *master = process->master;
    for (size_t i = 0; i < master->listener_count; i++) {
        const struct listener *listener = &master->listeners[i];
        bool for_control = listener->protocol == IPC_HTTP;
        if (for_control != (process->role == IPC_CONTROL))
            continue;
        struct address_text text = address_text(&listener->address);
        ipc_send_listener(process->channel,
                          &(struct ipc_listener){.protocol = (uint32_t)listener->protocol,
                                                 .tls = listener->tls,
                                                 .internal = listener->internal,
                                                 .name = slice_str(text.text),
                                                 .socket = listener->fd});
    }
}

static void send_certificate(struct process *process)
{
    const struct master *master = process->master;
    int chain = open(master->chain, O_RDONLY | O_CLOEXEC);
    int key = open(master->key, O_RDONLY | O_CLOEXEC);
    if (chain >= 0 && key >= 0)
        ipc_send_certificate(process->channel, &(struct ipc_certificate){chain, key, 0});
    else
        log_error("certificate_gone", "file=%s error=%d", master->chain, errno);
    fd_close(&chain);
    fd_close(&key);
}

static void send_volumes(struct process *process)
{
    const struct master *master = process->master;
    uint32_t workers = count_of(master, IPC_WORKER);
    for (uint32_t i = 0; i < master->data.volumes; i++) {
        char directory[32];
        snprintf(directory, sizeof(directory), "volumes/%u", i);
        if (process->role == IPC_WORKER && i % workers == process->index)
            ipc_send_volume(process->channel,
                            &(struct ipc_volume){.volume = i,
                                                 .crashes = process->crashes,
                                                 .directory = slice_str(directory)});
        if (process->role == IPC_AUTH || process->role == IPC_CONTROL)
            ipc_send_route(process->channel,
                           &(struct ipc_route){.volume = i, .worker = i % workers});
    }
    if (process->role == IPC_AUTH)
        ipc_send_volume(process->channel, &(struct ipc_volume){.volume = UINT32_MAX,
                                                               .crashes = process->crashes,
                                                               .directory = slice_str("auth")});
}

/* ---- what children say --------------------------------------------------------------------- */

static struct process *process_of(struct master *master, const struct ipc_channel *channel)
{
    struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        if (process->channel == channel)
            return process;
    return NULL;
}

static void go_on(struct master *master);

static void on_ready(void *context, struct ipc_channel *channel, struct ipc_ready *m)
{
    struct master *master = context;
    struct process *process = process_of(master, channel);
    process->state = PROCESS_READY;
    event_del(process->late);
    log_event(process->restarts > 0 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "child_ready",
              "child=%s%u pid=%d", ipc_role_name(process->role), process->index, process->pid);
    if (master->state == MASTER_STARTING)
        go_on(master);
}

static void on_volume_state(void *context, struct ipc_channel *channel, struct ipc_volume_state *m)
{
    if (m->trouble.size > 0)
        log_error("volume_trouble", "volume=%u reason=%s", m->volume, log_value(m->trouble).text);
    else
        log_info("volume_open", "volume=%u uuid=%s free=%llu", m->volume, id_text(m->uuid).text,
                 (unsigned long long)m->free_bytes);
}

static void on_closed(void *context, struct ipc_channel *channel)
{
    struct process *process = process_of(context, channel);
    ipc_close(&process->channel);
    if (process->pid > 0)
        kill(process->pid, SIGKILL);
}

static const struct ipc_handlers handlers = {
    .ready = on_ready,
    .volume_state = on_volume_state,
    .admin_request = master_admin_request,
    .closed = on_closed,
};

/* ---- starting ------------------------------------------------------------------------------ */

static bool spawn(struct process *process, int fd)
{
    char name[32], index[16], path[PATH_MAX];
    char *arguments[] = {name, index, NULL};
    posix_spawn_file_actions_t actions;
    snprintf(name, sizeof(name), "restante-%s", ipc_role_name(process->role));
    snprintf(index, sizeof(index), "%u", process->index);
    if (!child_program_path(name, path, sizeof(path))) {
        log_error("program_missing", "program=%s also=%s", name, RESTANTE_LIBEXECDIR);
        return false;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, 2, 1); /* the screen is master's */
    posix_spawn_file_actions_adddup2(&actions, fd, 3);
    int failed = posix_spawn(&process->pid, path, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0)
        log_error("spawn_failed", "program=%s error=%s", path, strerror(failed));
    return failed == 0;
}

static void again_later(struct process *process)
{
    uint64_t ms = BACKOFF_MS;
    for (uint32_t i = 1; i < process->crashes && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    struct timeval delay = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (long)(ms % 1000) * 1000};
    event_add(process->restart, &delay);
}

static void expect_ready(struct process *process)
{
    struct timeval limit = {.tv_sec = (time_t)process->master->config.settings.timeout_start};
    event_add(process->late, &limit);
}

static void start(struct process *process)
{
    struct master *master = process->master;
    int pair[2];
    process->state = PROCESS_STARTING;
    process->started_us = clock_monotonic_us();
    bool good = fd_socketpair(SOCK_SEQPACKET, pair);
    if (good) {
        good = spawn(process, pair[1]);
        fd_close(&pair[1]);
        if (!good)
            fd_close(&pair[0]);
    }
    if (!good) {
        process->state = PROCESS_DOWN;
        process->pid = 0;
        process->crashes++;
        if (master->state == MASTER_STARTING)
            master_failed(master, "a process cannot be started");
        else
            again_later(process);
        return;
    }
    process->channel = ipc_open(master->base, pair[0], IPC_MASTER, process->role, process->index,
                                &handlers, master);
    send_settings(process, true);
    if ((process->role & (IPC_DOOR | IPC_CONTROL)) != 0)
        send_listeners(process);
    if (process->role == IPC_TLS)
        send_certificate(process);
    send_volumes(process);
    wire(master, process);
    ipc_send_start(process->channel, &(struct ipc_start){0});
    expect_ready(process);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    struct process *process = arg;
    bool recovers = (process->role & (IPC_WORKER | IPC_AUTH)) != 0;
    log_error("child_late", "child=%s%u pid=%d seconds=%llu then=%s", ipc_role_name(process->role),
              process->index, process->pid,
              (unsigned long long)((clock_monotonic_us() - process->started_us) / 1000000),
              recovers ? "waits" : "killed");
    if (recovers)
        expect_ready(process);
    else
        kill(process->pid, SIGKILL);
}

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
    struct process *process = arg;
    if (process->master->state == MASTER_DRAINING)
        return;
    process->restarts++;
    start(process);
}

static void create(struct master *master, enum ipc_role role, uint64_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct process *process = MEM_NEW(struct process);
        process->master = master;
        process->role = role;
        process->index = i;
        process->restart = evtimer_new(master->base, on_restart, process);
        process->late = evtimer_new(master->base, on_late, process);
        ASSERT(process->restart != NULL && process->late != NULL);
        TAILQ_INSERT_TAIL(&master->processes, process, next);
    }
}

void children_create(struct master *master)
{
    const struct settings *settings = &master->config.settings;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t cores = online > 0 ? (uint64_t)online : 1, doors = settings->process_doors;
    create(master, IPC_CONTROL, 1);
    create(master, IPC_READER, settings->process_readers != 0 ? settings->process_readers : cores);
    create(master, IPC_AUTH, 1);
    create(master, IPC_WORKER, settings->process_workers != 0 ? settings->process_workers : cores);
    create(master, IPC_TLS, doors != 0 ? doors : cores);
    /* A connection that comes wakes every door: more than are needed cost all of them. */
    create(master, IPC_DOOR, doors != 0 ? doors : (cores + 1) / 2);
}

/* Doors come last, when all they need is there: clients wait in the listening queue meanwhile,
 * instead of being told that the server is not ready. */
static void start_roles(struct master *master, unsigned roles)
{
    struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        if (master->state == MASTER_STARTING && (process->role & roles) != 0)
            start(process);
}

void children_start(struct master *master)
{
    start_roles(master, (unsigned)IPC_ANY_ROLE & ~(unsigned)IPC_DOOR);
}

static bool all_ready(const struct master *master, unsigned roles)
{
    const struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        if ((process->role & roles) != 0 && process->state != PROCESS_READY)
            return false;
    return true;
}

static bool any_down(const struct master *master, enum ipc_role role)
{
    const struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        if (process->role == role && process->pid == 0 && process->crashes == 0)
            return true;
    return false;
}

static void go_on(struct master *master)
{
    if (!all_ready(master, (unsigned)IPC_ANY_ROLE & ~(unsigned)IPC_DOOR))
        return;
    if (any_down(master, IPC_DOOR)) /* not even started once */
        start_roles(master, IPC_DOOR);
    else if (all_ready(master, IPC_DOOR))
        master_all_ready(master);
}

/* ---- ends ---------------------------------------------------------------------------------- */

static void gone(struct process *process, int status)
{
    struct master *master = process->master;
    bool lived = clock_monotonic_us() - process->started_us > LIVED_US;
    ipc_close(&process->channel);
    event_del(process->late);
    process->pid = 0;
    if (master->state == MASTER_DRAINING) {
        process->state = PROCESS_GONE;
        return;
    }
    process->state = PROCESS_DOWN;
    process->crashes = lived ? 1 : process->crashes + 1;
    log_error("child_exit", "child=%s%u signal=%d status=%d crashes=%u",
              ipc_role_name(process->role), process->index,
              WIFSIGNALED(status) ? WTERMSIG(status) : 0,
              WIFEXITED(status) ? WEXITSTATUS(status) : 0, process->crashes);
    if (master->state == MASTER_STARTING && process->crashes >= GIVE_UP)
        master_failed(master, "a process fails at its start, see the lines above");
    else
        again_later(process);
}

static void drain_next(struct master *master);

void children_reaped(struct master *master)
{
    struct process *process;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        TAILQ_FOREACH (process, &master->processes, next)
            if (process->pid == pid) {
                gone(process, status);
                break;
            }
    if (master->state == MASTER_DRAINING)
        drain_next(master);
}

static bool any_alive(const struct master *master, unsigned roles)
{
    const struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        if ((process->role & roles) != 0 && process->pid > 0)
            return true;
    return false;
}

/* First nobody new comes in, then sessions end, then what they needed. tls is told at once, so that
 * it does not linger for clients, and goes when its last connection has ended. */
static void drain_next(struct master *master)
{
    static const struct {
        unsigned tell, wait;
    } order[] = {
        {IPC_DOOR | IPC_TLS, IPC_DOOR},
        {IPC_WORKER, IPC_WORKER},
        {IPC_AUTH | IPC_READER | IPC_CONTROL, IPC_TLS | IPC_AUTH | IPC_READER | IPC_CONTROL}};
    for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
        struct process *process;
        if ((master->draining_roles & order[i].tell) == 0) {
            master->draining_roles |= order[i].tell;
            TAILQ_FOREACH (process, &master->processes, next)
                if ((process->role & order[i].tell) != 0 && process->channel != NULL)
                    ipc_send_drain(process->channel, &(struct ipc_drain){0});
        }
        if (any_alive(master, order[i].wait))
            return;
    }
    master_finish(master);
}

void children_drain(struct master *master)
{
    struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        event_del(process->restart);
    drain_next(master);
}

void children_kill(struct master *master)
{
    struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        if (process->pid > 0) {
            log_warn("child_killed", "child=%s%u", ipc_role_name(process->role), process->index);
            kill(process->pid, SIGKILL);
        }
}

void children_send_settings(struct master *master)
{
    struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        if (process->channel != NULL)
            send_settings(process, false);
}

void children_send_certificate(struct master *master)
{
    struct process *process;
    TAILQ_FOREACH (process, &master->processes, next)
        if (process->channel != NULL && process->role == IPC_TLS)
            send_certificate(process);
}
