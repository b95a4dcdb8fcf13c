/* What a command says when it fails, and its help. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

int ctl_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("restante: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return CTL_FAILED;
}

int ctl_misuse(const struct ctl_command *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("restante: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (self->help != NULL) {
        const char *end = strchr(self->help, '\n');
        fprintf(stderr, "%.*s\n", (int)(end - self->help), self->help);
    }
    return CTL_USAGE;
}

void ctl_help(const struct ctl_command *self)
{
    fputs(self->help, stdout);
    if (strstr(self->help, "--data") != NULL)
        fputs(
            "\n  --data DIR      where the store is; default /var/lib/restante for root where it\n"
            "                  exists, else ~/.local/share/restante\n",
            stdout);
}
