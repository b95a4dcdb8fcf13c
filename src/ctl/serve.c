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
    /* A build tree; an installed tree, wherever it was put; the installed one. */
    static const char *const places[] = {".", RESTANTE_LIBEXEC_FROM_BIN, NULL};
    char here[PATH_MAX], path[PATH_MAX + 100];
    ssize_t size = readlink("/proc/self/exe", here, sizeof(here) - 1);
    argv[0] = program_invocation_name;
    here[size < 0 ? 0 : size] = '\0';
    char *slash = strrchr(here, '/');
    if (slash != NULL)
        *slash = '\0';
    for (size_t i = 0; slash != NULL && places[i] != NULL; i++) {
        snprintf(path, sizeof(path), "%s/%s/restante-master", here, places[i]);
        execv(path, argv);
    }
    execv(RESTANTE_LIBEXECDIR "/restante-master", argv);
    return ctl_fail("restante-master is not beside this program nor in %s: %s", RESTANTE_LIBEXECDIR,
                    strerror(errno));
}
