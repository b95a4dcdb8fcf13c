/*
 * Landlock by raw system calls (glibc has no wrappers, and Debian 12's header ends at ABI 2; the
 * numbers below are the kernel's documentation, userspace-api/landlock). Without directories
 * nothing can be opened at all; with them, files below may be read, written, made, renamed and
 * removed, never executed. ABI 3 adds truncation, 4 TCP, 6 signals and abstract sockets: used where
 * they are, relied on nowhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/fd.h"
#include "sandbox/sandbox_priv.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum {
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    ALL_ABI_1 = (1 << 13) - 1,
    REFER = 1 << 13,     /* ABI 2 */
    TRUNCATE = 1 << 14,  /* ABI 3 */
    IOCTL_DEV = 1 << 15, /* ABI 5 */
    BELOW = WRITE_FILE | READ_FILE | READ_DIR | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG |
            REFER | TRUNCATE,
    NET_ALL = 3,   /* ABI 4: bind and connect of TCP */
    SCOPE_ALL = 3, /* ABI 6: abstract Unix sockets, signals */
    VERSION_QUERY = 1,
    RULE_PATH_BENEATH = 1,
};

struct ruleset { /* struct landlock_ruleset_attr of ABI 6; older kernels take its beginning */
    uint64_t fs, net, scoped;
};

struct beneath { /* struct landlock_path_beneath_attr */
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

static uint64_t fs_rights(int abi)
{
    uint64_t rights = ALL_ABI_1;
    if (abi >= 2)
        rights |= REFER;
    if (abi >= 3)
        rights |= TRUNCATE;
    if (abi >= 5)
        rights |= IOCTL_DEV;
    return rights;
}

static int create_ruleset(int abi)
{
    struct ruleset rules = {.fs = fs_rights(abi)};
    size_t size = sizeof(rules.fs);
    if (abi >= 4) {
        rules.net = NET_ALL;
        size += sizeof(rules.net);
    }
    if (abi >= 6) {
        rules.scoped = SCOPE_ALL;
        size += sizeof(rules.scoped);
    }
    return (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
}

static bool allow_directory(int ruleset, const char *path, int abi, struct error *error)
{
    struct beneath rule = {.allowed = BELOW & fs_rights(abi)};
    int fd = open(path, O_PATH | O_CLOEXEC | O_DIRECTORY);
    rule.fd = fd;
    bool good =
        fd >= 0 && syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0;
    if (!good)
        error_errno(error, "Landlock: %s", path);
    fd_close(&fd);
    return good;
}

enum sandbox_fence sandbox_landlock(const char *const *directories, int abi_max,
                                    struct error *error)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_QUERY);
    if (abi_max >= 0 && abi > abi_max)
        abi = abi_max;
    if (abi < 1)
        return SANDBOX_FENCE_MISSING;
    int ruleset = create_ruleset(abi);
    if (ruleset < 0) {
        error_errno(error, "Landlock ABI %d", abi);
        return SANDBOX_FENCE_FAILED;
    }
    bool good = true;
    for (; good && directories != NULL && *directories != NULL; directories++)
        good = allow_directory(ruleset, *directories, abi, error);
    if (good && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        good = error_errno(error, "Landlock ABI %d", abi);
    fd_close(&ruleset);
    return good ? SANDBOX_FENCE_UP : SANDBOX_FENCE_FAILED;
}
