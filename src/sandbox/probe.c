/*
 * Tries, from inside, what a broken process would try. A door is shut when the call answers EPERM,
 * EACCES or ENOSYS. Most calls get arguments that make them fail harmlessly when they are *not*
 * refused (connect on descriptor -1: EBADF), so that the probe changes nothing on a system without
 * fences either.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/sandbox.h"

static long try_open_read(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static long try_open_write(void)
{
    return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static long try_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long try_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long try_connect(void)
{
    return connect(-1, NULL, 0);
}

static long try_bind(void)
{
    return bind(-1, NULL, 0);
}

static long try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return pid < 0 ? -1 : -2; /* done, but no descriptor */
}

static long try_exec(void)
{
    char *const none[] = {NULL};
    return execve("/nonexistent", none, none);
}

static long try_kill(void)
{
    return kill(getppid(), 0) == 0 ? -2 : -1;
}

static long try_ptrace(void)
{
    return ptrace(PTRACE_PEEKUSER, getppid(), NULL, NULL);
}

static long try_mount(void)
{
    return mount("", "/nonexistent", "", 0, NULL);
}

static long try_setuid(void)
{
    return setuid(0) == 0 ? -2 : -1;
}

static long try_unshare(void)
{
    return syscall(SYS_unshare, 0) == 0 ? -2 : -1;
}

static long try_executable_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -1;
    munmap(page, 4096);
    return -2;
}

static const struct {
    const char *name;
    long (*try)(void); /* descriptor to close, -2 worked, -1 with errno */
} doors[] = {
    {"open", try_open_read},  {"write", try_open_write},
    {"socket", try_socket},   {"unix", try_unix_socket},
    {"connect", try_connect}, {"bind", try_bind},
    {"fork", try_fork},       {"exec", try_exec},
    {"kill", try_kill},       {"ptrace", try_ptrace},
    {"mount", try_mount},     {"setuid", try_setuid},
    {"unshare", try_unshare}, {"code", try_executable_memory},
};

const char *sandbox_probe(void)
{
    static char open_doors[256];
    size_t used = 0;
    open_doors[0] = '\0';
    for (size_t i = 0; i < sizeof(doors) / sizeof(*doors); i++) {
        errno = 0;
        long result = doors[i].try();
        if (result == -1 && (errno == EPERM || errno == EACCES || errno == ENOSYS))
            continue;
        if (result >= 0)
            close((int)result);
        used += (size_t)snprintf(open_doors + used, sizeof(open_doors) - used, "%s%s",
                                 used == 0 ? "" : " ", doors[i].name);
    }
    return open_doors;
}
