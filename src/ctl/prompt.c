/*
 * What is asked of the person at the terminal: passwords without echo, a yes before what cannot be
 * undone, and a bar while something takes long. Passwords never come from argv.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "ctl/ctl.h"

/* One line without its end. False at the end of input or when it is longer than room. */
static bool line_read(int fd, char *line, size_t room)
{
    size_t size = 0;
    char c;
    ssize_t got;
    while ((got = read(fd, &c, 1)) == 1 && c != '\n') {
        if (size + 1 >= room)
            return false;
        line[size++] = c;
    }
    if (size > 0 && line[size - 1] == '\r')
        size--;
    line[size] = '\0';
    return got == 1 || size > 0;
}

static bool ask_hidden(int tty, const char *question, char *secret, size_t room)
{
    struct termios before, quiet;
    bool echo = tcgetattr(tty, &before) == 0;
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO);
    dprintf(tty, "%s", question);
    if (echo)
        tcsetattr(tty, TCSAFLUSH, &quiet);
    bool good = line_read(tty, secret, room);
    if (echo)
        tcsetattr(tty, TCSAFLUSH, &before);
    dprintf(tty, "\n");
    return good;
}

bool ctl_password(bool from_stdin, const char *name, char *secret, size_t room)
{
    char question[300], again[1100];
    if (from_stdin) {
        if (line_read(STDIN_FILENO, secret, room) && secret[0] != '\0')
            return true;
        ctl_fail("no password on standard input: one line of at most %zu bytes", room - 1);
        return false;
    }
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (tty < 0) {
        ctl_fail("no terminal to ask for the password: use --password-stdin");
        return false;
    }
    snprintf(question, sizeof(question), "New password for %s: ", name);
    bool good = ask_hidden(tty, question, secret, room) &&
                ask_hidden(tty, "The same again: ", again, sizeof(again));
    bool same = good && strcmp(secret, again) == 0;
    mem_wipe(again, sizeof(again));
    close(tty);
    if (!good || secret[0] == '\0')
        ctl_fail("no password given; nothing was changed");
    else if (!same)
        ctl_fail("the two passwords differ; nothing was changed");
    return same && secret[0] != '\0';
}

bool ctl_confirm(const char *question, const char *expected)
{
    char typed[300];
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (tty < 0)
        return false;
    dprintf(tty, "%s", question);
    bool good = line_read(tty, typed, sizeof(typed)) && strcmp(typed, expected) == 0;
    close(tty);
    return good;
}

void ctl_progress(const char *what, uint64_t done, uint64_t total)
{
    static int shown = -1;
    enum { WIDTH = 40 };
    static const char bar[WIDTH + 1] = "########################################";
    if (!isatty(STDERR_FILENO))
        return;
    if (total == 0) {
        if (shown >= 0)
            fprintf(stderr, "\r%70s\r", "");
        shown = -1;
        return;
    }
    int percent = (int)(done * 100 / total);
    if (percent == shown)
        return;
    shown = percent;
    int filled = percent * WIDTH / 100;
    fprintf(stderr, "\r%-16.16s [%.*s%*s] %3d %%", what, filled, bar, WIDTH - filled, "", percent);
    fflush(stderr);
}
