/*
 * What a process gives up, once, before it reads its first byte from outside. A profile is a
 * constant beside the process's main, so that it can be read on one screen.
 *
 * Order in every main: open what is needed, warm up libraries that load files lazily (OpenSSL
 * providers, ICU converters, time zone), sandbox_enter() while there is one thread, then threads,
 * then the loop.
 *
 * Three fences, each as far as the kernel has it: uid and gid dropped with all capabilities and
 * no_new_privs; Landlock (ABI 1 or 2 is enough; more is used where it is) so that no file is
 * reachable but those below the profile's directories; seccomp with a list of allowed calls, all
 * others answer EPERM.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

enum sandbox_allow {           /* bits, beyond memory, time, polling, and I/O on open descriptors */
    SANDBOX_ACCEPT = 1,        /* accept4 on listening sockets it was handed */
    SANDBOX_SOCKETPAIR = 2,    /* socketpair of AF_UNIX */
    SANDBOX_MEMFD = 4,         /* memfd_create and its seals */
    SANDBOX_FILES = 8,         /* files below the directories of the call to sandbox_enter only */
    SANDBOX_THREADS = 16,      /* threads, never a process */
    SANDBOX_SOCKET_OPTIONS = 32, /* getpeername, getsockname, get/setsockopt, shutdown */
};

struct sandbox_profile {
    const char *process;
    unsigned allow;
};

enum sandbox_mode { SANDBOX_AUTO, SANDBOX_REQUIRED, SANDBOX_OFF };

struct sandbox_options {
    enum sandbox_mode mode;
    uid_t uid; /* 0: stay who we are */
    gid_t gid;
    const char *const *directories; /* with SANDBOX_FILES; NULL-terminated; may be NULL */
    int landlock_abi_max;           /* -1: the kernel's; tests cap it at 0, 1, 2 */
};

/*
 * Enters for good. With AUTO a fence that the kernel lacks is one warning (event=sandbox_missing)
 * and a counter; with REQUIRED it is false and a line that says what is missing. Failing to drop
 * the uid is always false. Sanitizer builds widen the list (what they need is named in the source).
 */
bool sandbox_enter(const struct sandbox_profile *profile, const struct sandbox_options *options,
                   struct error *error);

/* Fences that were missing at sandbox_enter, as words for status and metrics; "" for none. */
const char *sandbox_missing(void);

/*
 * Tries every door that a broken process would (open /etc/passwd, open for writing, socket, connect,
 * bind, fork, exec, kill of the parent, ptrace of the parent, mount, setuid, executable memory) and
 * returns the names of those that were not refused, space-separated; "" when all are shut.
 */
const char *sandbox_probe(void);
