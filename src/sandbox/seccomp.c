/*
 * The system calls a process may still make. What is not listed answers EPERM, so that a library
 * that tries something optional goes on, and a broken process gets nothing. clone3 answers ENOSYS:
 * its flags lie in memory where no filter sees them, and glibc then falls back to clone.
 *
 * No new executable memory either: mmap and mprotect with PROT_EXEC are refused, so libraries must
 * be loaded before sandbox_enter().
 *
 * Some calls are let through by their arguments only. fcntl: F_SETOWN and F_SETSIG would make the
 * kernel send any signal to any process of the same uid. sendto and sendmsg: with MSG_FASTOPEN a
 * listening socket, once shut down, connects anywhere without connect(), past Landlock too.
 * socketpair: one end of a datagram pair can send to every datagram socket of the machine. What
 * lies in memory (sendmsg's address) is seen by no filter; no process has a socket where it counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/sandbox_priv.h"

enum {
    SOCKET_TYPE = ~(SOCK_CLOEXEC | SOCK_NONBLOCK), /* the bits that say which type */
    NAME_SPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                  CLONE_NEWPID | CLONE_NEWNET,
    CLONE_CHOICE = CLONE_THREAD | CLONE_PTRACE | CLONE_PARENT | NAME_SPACES,
};

#define LIST(name, ...) static const int name[] = {__VA_ARGS__, __NR_SCMP_ERROR}
#define NR(call) SCMP_SYS(call)

LIST(always, /* memory, time, waiting, and what is already open */
     NR(read), NR(write), NR(readv), NR(writev), NR(pread64), NR(pwrite64), NR(preadv), NR(pwritev),
     NR(preadv2), NR(pwritev2), NR(recvmsg), NR(recvfrom), NR(close), NR(close_range), NR(fstat),
     NR(lseek), NR(dup), NR(dup3), NR(pipe2), NR(eventfd2), NR(timerfd_create), NR(timerfd_settime),
     NR(timerfd_gettime), NR(epoll_create1), NR(epoll_ctl), NR(epoll_wait), NR(epoll_pwait),
     NR(epoll_pwait2), NR(poll), NR(ppoll), NR(select), NR(pselect6), NR(munmap), NR(mremap),
     NR(madvise), NR(brk), NR(futex), NR(membarrier), NR(sched_yield), NR(sched_getaffinity),
     NR(getcpu), NR(clock_gettime), NR(clock_getres), NR(clock_nanosleep), NR(nanosleep),
     NR(gettimeofday), NR(time), NR(getrandom), NR(getpid), NR(gettid), NR(getppid), NR(getuid),
     NR(geteuid), NR(getgid), NR(getegid), NR(getrusage), NR(sysinfo), NR(uname), NR(times),
     NR(rt_sigaction), NR(rt_sigprocmask), NR(rt_sigreturn), NR(sigaltstack), NR(restart_syscall),
     NR(rseq), NR(set_robust_list), NR(set_tid_address), NR(exit), NR(exit_group));

LIST(accepting, NR(accept4), NR(accept));
LIST(socket_options, NR(getsockname), NR(getpeername), NR(getsockopt), NR(shutdown));
LIST(memory_files, NR(memfd_create), NR(ftruncate));
LIST(files, /* which ones is Landlock's and the uid's business */
     NR(open), NR(openat), NR(stat), NR(lstat), NR(newfstatat), NR(statx), NR(statfs), NR(fstatfs),
     NR(access), NR(faccessat), NR(faccessat2), NR(unlink), NR(unlinkat), NR(rename), NR(renameat),
     NR(renameat2), NR(mkdir), NR(mkdirat), NR(rmdir), NR(ftruncate), NR(fallocate), NR(fsync),
     NR(fdatasync), NR(sync_file_range), NR(syncfs), NR(flock), NR(getdents64), NR(fadvise64),
     NR(readahead), NR(msync), NR(mincore), NR(copy_file_range), NR(sendfile), NR(umask),
     NR(getcwd));

#ifdef RESTANTE_SANITIZED
/* The sanitizers' own needs: reports read /proc/self/maps, the leak check clones and traces. */
LIST(sanitizer, NR(openat), NR(readlink), NR(readlinkat), NR(newfstatat), NR(clone), NR(clone3),
     NR(ptrace), NR(wait4), NR(kill), NR(tgkill), NR(prctl), NR(arch_prctl), NR(mmap), NR(mprotect),
     NR(prlimit64), NR(personality), NR(process_vm_readv), NR(ioctl));
#endif

static int allow_list(scmp_filter_ctx filter, const int *calls)
{
    int failed = 0;
    for (; *calls != __NR_SCMP_ERROR && failed == 0; calls++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, *calls, 0);
    return failed;
}

/* Commands of fcntl: copies, flags, seals, and with files their locks (LMDB's). */
static int allow_fcntl(scmp_filter_ctx filter, bool locks)
{
    static const unsigned plain[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,    F_SETFD,
                                     F_GETFL, F_ADD_SEALS,     F_GET_SEALS};
    static const unsigned locking[] = {F_GETLK,     F_SETLK,     F_SETLKW,
                                       F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW};
    int failed =
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, NR(fcntl), 2, SCMP_A1_32(SCMP_CMP_EQ, F_SETFL),
                         SCMP_A2_64(SCMP_CMP_MASKED_EQ, O_ASYNC, 0));
    for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, NR(fcntl), 1,
                                   SCMP_A1_32(SCMP_CMP_EQ, plain[i]));
    for (size_t i = 0; locks && i < sizeof(locking) / sizeof(*locking); i++)
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, NR(fcntl), 1,
                                   SCMP_A1_32(SCMP_CMP_EQ, locking[i]));
    return failed;
}

/* Calls that are harmless only with certain arguments. */
static int allow_with_arguments(scmp_filter_ctx filter, unsigned allow)
{
    const uint64_t me = (uint64_t)getpid();
    int failed = allow_fcntl(filter, (allow & SANDBOX_FILES) != 0);
#define ALLOW(call, ...) failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, NR(call), __VA_ARGS__)
    ALLOW(mmap, 1, SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    ALLOW(mprotect, 1, SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* How glibc says fstat(); the size of a path's file is all that can be learnt beyond that. */
    ALLOW(newfstatat, 1, SCMP_A3_32(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
    ALLOW(ioctl, 1, SCMP_A1_32(SCMP_CMP_EQ, FIONREAD)); /* evbuffer_read */
    ALLOW(ioctl, 1, SCMP_A1_32(SCMP_CMP_EQ, FIONBIO));
    ALLOW(prctl, 1, SCMP_A0_32(SCMP_CMP_EQ, PR_SET_NAME));
    ALLOW(tgkill, 1, SCMP_A0_32(SCMP_CMP_EQ, me));                               /* abort() */
    ALLOW(prlimit64, 2, SCMP_A0_32(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0)); /* reading */
#ifdef RESTANTE_FAULTS
    ALLOW(kill, 2, SCMP_A0_32(SCMP_CMP_EQ, me), SCMP_A1_32(SCMP_CMP_EQ, SIGKILL)); /* fault.h */
#endif
    ALLOW(sendto, 2, SCMP_A3_32(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0),
          SCMP_A4_64(SCMP_CMP_EQ, 0)); /* no address: send() */
    ALLOW(sendmsg, 1, SCMP_A2_32(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
    if ((allow & SANDBOX_SOCKETPAIR) != 0)
        ALLOW(socketpair, 2, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX),
              SCMP_A1_32(SCMP_CMP_MASKED_EQ, SOCKET_TYPE, SOCK_STREAM));
    if ((allow & SANDBOX_SOCKET_OPTIONS) != 0) {
        ALLOW(setsockopt, 2, SCMP_A1_32(SCMP_CMP_EQ, IPPROTO_TCP),
              SCMP_A2_32(SCMP_CMP_EQ, TCP_NODELAY));
        ALLOW(setsockopt, 2, SCMP_A1_32(SCMP_CMP_EQ, IPPROTO_TCP),
              SCMP_A2_32(SCMP_CMP_EQ, TCP_QUICKACK));
    }
    if ((allow & SANDBOX_THREADS) != 0)
        ALLOW(clone, 1, SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_CHOICE, CLONE_THREAD));
#undef ALLOW
    return failed;
}

static int fill(scmp_filter_ctx filter, unsigned allow)
{
    int failed = allow_list(filter, always);
    if ((allow & SANDBOX_ACCEPT) != 0)
        failed |= allow_list(filter, accepting);
    if ((allow & SANDBOX_SOCKET_OPTIONS) != 0)
        failed |= allow_list(filter, socket_options);
    if ((allow & SANDBOX_MEMFD) != 0)
        failed |= allow_list(filter, memory_files);
    if ((allow & SANDBOX_FILES) != 0)
        failed |= allow_list(filter, files);
#ifdef RESTANTE_SANITIZED
    failed |= allow_list(filter, sanitizer);
#else
    failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), NR(clone3), 0);
#endif
    return failed | allow_with_arguments(filter, allow);
}

enum sandbox_fence sandbox_seccomp(unsigned allow, struct error *error)
{
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
        return SANDBOX_FENCE_MISSING;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL || fill(filter, allow) != 0) {
        error_set(error, "seccomp: the filter cannot be made");
        seccomp_release(filter);
        return SANDBOX_FENCE_FAILED;
    }
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* binary search, not a long list */
    int failed = seccomp_load(filter);
    seccomp_release(filter);
    if (failed == 0)
        return SANDBOX_FENCE_UP;
    errno = -failed;
    error_errno(error, "seccomp");
    return failed == -EINVAL || failed == -ENOSYS ? SANDBOX_FENCE_MISSING : SANDBOX_FENCE_FAILED;
}
