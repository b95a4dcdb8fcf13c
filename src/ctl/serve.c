/*
 * `restante serve` becomes restante-master, with the arguments as they are: the one beside this
 * program (a build tree), else the installed one. What they mean is the master's to say. It is told
 * the name we were called by, so that what it tells people to type works.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"

int ctl_serve(const struct ctl_command *self, int argc, char **argv)
{
    char path[PATH_MAX + 32];
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX);
    argv[0] = program_invocation_name;
    if (size > 0) {
        path[size] = '\0';
        char *slash = strrchr(path, '/');
        strcpy(slash == NULL ? path : slash + 1, "restante-master");
        execv(path, argv);
    }
    execv(RESTANTE_LIBEXECDIR "/restante-master", argv);
    return ctl_fail("restante-master is not beside this program nor in %s: %s", RESTANTE_LIBEXECDIR,
                    strerror(errno));
}
