/*
 * Puts up the fences of a process in the only order that works: what needs privileges first (uid,
 * groups), Landlock while files can still be opened, seccomp last since it refuses the calls that
 * made the others. Each fence stands by itself: a hole in one is not a hole in all.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/log.h"
#include "sandbox/sandbox_priv.h"

static char missing[64];

const char *sandbox_missing(void)
{
    return missing;
}

/* A container may have dropped some already; past the last one the kernel answers EINVAL. */
static bool drop_bounding_set(struct error *error)
{
    int held;
    for (int capability = 0; (held = prctl(PR_CAPBSET_READ, capability, 0, 0, 0)) >= 0;
         capability++)
        if (held == 1 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return error_errno(error, "cannot drop capability %d", capability);
    return true;
}

/* Even root without capabilities can do nothing root could; bounding set and no_new_privs keep
 * exec from giving them back. */
static bool drop_capabilities(struct error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (!drop_bounding_set(error))
        return false;
    if (syscall(SYS_capset, &header, none) != 0)
        return error_errno(error, "cannot drop capabilities");
    return true;
}

static bool drop_user(const struct sandbox_options *options, struct error *error)
{
    bool root = geteuid() == 0;
    gid_t gid = options->gid != 0 ? options->gid : getgid();
    if (root && options->uid != 0) {
        if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0)
            return error_errno(error, "cannot become group %u", (unsigned)gid);
        if (!drop_bounding_set(error))
            return false;
        if (setresuid(options->uid, options->uid, options->uid) != 0)
            return error_errno(error, "cannot become user %u", (unsigned)options->uid);
        if (geteuid() != options->uid || setuid(0) == 0)
            return error_set(error, "user %u could become root again", (unsigned)options->uid);
    } else if (root && !drop_capabilities(error)) {
        return false;
    }
    return true;
}

static bool note_missing(const struct sandbox_profile *profile, enum sandbox_mode mode,
                         const char *fence, enum sandbox_fence result, struct error *error)
{
    if (result == SANDBOX_FENCE_UP)
        return true;
    if (result == SANDBOX_FENCE_FAILED)
        return false;
    size_t used = strlen(missing);
    snprintf(missing + used, sizeof(missing) - used, "%s%s", used == 0 ? "" : " ", fence);
    counter_add(COUNTER_sandbox_missing, 1);
    if (mode == SANDBOX_REQUIRED)
        return error_set(error, "this kernel has no %s and process.sandbox is \"required\"", fence);
    log_warn("sandbox_missing", "process=%s fence=%s", profile->process, fence);
    return true;
}

bool sandbox_enter(const struct sandbox_profile *profile, const struct sandbox_options *options,
                   struct error *error)
{
    const struct rlimit none = {0, 0};
    const char *const *directories =
        (profile->allow & SANDBOX_FILES) != 0 ? options->directories : NULL;
    missing[0] = '\0';
    setrlimit(RLIMIT_CORE, &none);
    if (!drop_user(options, error))
        return false;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return error_errno(error, "no_new_privs");
#ifndef RESTANTE_SANITIZED /* the leak check at exit traces its own process */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return error_errno(error, "dumpable");
#endif
    /* Nobody stays behind with ports and volumes when master is killed. After drop_user(), which
     * would clear it; master gone before this line is noticed by its channel. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return error_errno(error, "parent death signal");
    if (options->mode == SANDBOX_OFF) {
        snprintf(missing, sizeof(missing), "off");
        log_warn("sandbox_off", "process=%s", profile->process);
        return true;
    }
    return note_missing(profile, options->mode, "landlock",
                        sandbox_landlock(directories, options->landlock_abi_max, error), error) &&
           note_missing(profile, options->mode, "seccomp", sandbox_seccomp(profile->allow, error),
                        error);
}
