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
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

/* F_SETOWN and F_SETSIG make the kernel send any signal to any process of the same uid. */
static long try_signal_owner(void)
{
    return fcntl(-1, F_SETOWN, getppid());
}

/* Connects without connect(): a listening socket that was shut down can be used for it. */
static long try_fast_open(void)
{
    return sendto(-1, "", 0, MSG_FASTOPEN, NULL, 0);
}

static long try_fast_open_message(void)
{
    struct msghdr message = {0};
    return sendmsg(-1, &message, MSG_FASTOPEN);
}

/* Reaches every datagram socket of the machine (the journal, the service manager). */
static long try_datagrams(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    close(pair[1]);
    return pair[0];
}

static long try_send_to(void)
{
    const struct sockaddr address = {.sa_family = AF_UNIX};
    return sendto(-1, "", 0, MSG_NOSIGNAL, &address, sizeof(address));
}

/* A program of the attacker's runs in the kernel for each packet. */
static long try_socket_filter(void)
{
    return setsockopt(-1, SOL_SOCKET, SO_ATTACH_FILTER, "", 0);
}

static long try_terminal(void)
{
    return ioctl(-1, TIOCSTI, "x");
}

static long try_dumpable(void)
{
    return prctl(PR_GET_DUMPABLE) < 0 ? -1 : -2;
}

static long try_name_space(void)
{
    return syscall(SYS_clone, CLONE_THREAD | CLONE_NEWUSER, 0, 0, 0, 0);
}

static long try_clone3(void)
{
    return syscall(SYS_clone3, NULL, 0);
}

static long try_exec_descriptor(void)
{
    char *const none[] = {NULL};
    return syscall(SYS_execveat, -1, "", none, none, AT_EMPTY_PATH);
}

static long try_handle(void)
{
    return syscall(SYS_open_by_handle_at, -1, NULL, 0);
}

static long try_ring(void)
{
    return syscall(SYS_io_uring_setup, 0, NULL);
}

static long try_write_memory(void)
{
    return syscall(SYS_process_vm_writev, -1, NULL, 0, NULL, 0, 0);
}

static long try_process_descriptor(void)
{
    return syscall(SYS_pidfd_open, -1, 0);
}

static long try_take_descriptor(void)
{
    return syscall(SYS_pidfd_getfd, -1, 0, 0);
}

static long try_page_faults(void)
{
    return syscall(SYS_userfaultfd, -1);
}

static long try_kernel_program(void)
{
    return syscall(SYS_bpf, -1, NULL, 0);
}

static long try_keys(void)
{
    return syscall(SYS_keyctl, -1, 0, 0, 0, 0);
}

static long try_symlink(void)
{
    return symlink("x", "");
}

static long try_hard_link(void)
{
    return link("", "");
}

static long try_change_mode(void)
{
    return fchmod(-1, 06777);
}

static const struct {
    const char *name;
    long (*try)(void); /* descriptor to close, -2 worked, -1 with errno */
} doors[] = {
    {"open", try_open_read},
    {"write", try_open_write},
    {"socket", try_socket},
    {"unix", try_unix_socket},
    {"connect", try_connect},
    {"bind", try_bind},
    {"fork", try_fork},
    {"exec", try_exec},
    {"kill", try_kill},
    {"ptrace", try_ptrace},
    {"mount", try_mount},
    {"setuid", try_setuid},
    {"unshare", try_unshare},
    {"code", try_executable_memory},
    {"signal_owner", try_signal_owner},
    {"fast_open", try_fast_open},
    {"fast_open_message", try_fast_open_message},
    {"datagrams", try_datagrams},
    {"send_to", try_send_to},
    {"socket_filter", try_socket_filter},
    {"terminal", try_terminal},
    {"dumpable", try_dumpable},
    {"name_space", try_name_space},
    {"clone3", try_clone3},
    {"exec_descriptor", try_exec_descriptor},
    {"handle", try_handle},
    {"ring", try_ring},
    {"write_memory", try_write_memory},
    {"process_descriptor", try_process_descriptor},
    {"take_descriptor", try_take_descriptor},
    {"page_faults", try_page_faults},
    {"kernel_program", try_kernel_program},
    {"keys", try_keys},
    {"symlink", try_symlink},
    {"hard_link", try_hard_link},
    {"change_mode", try_change_mode},
};

const char *sandbox_probe(void)
{
    static char open_doors[640];
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
