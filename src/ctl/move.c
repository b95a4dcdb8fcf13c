/*
 * `restante import` and `restante export`: options, and the connection: control is asked for the
 * account, and hands it to the worker that owns its mail (src/move/wire.h). Bytes never pass
 * control, and the store has one writer, the worker, whoever brings the mail.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "ctl/ctl.h"
#include "move/move.h"

/* The answer to the one line: up to its end and not a byte further, for what follows is frames. */
static bool line_read(int fd, struct buf *line)
{
    uint8_t byte;
    ssize_t got;
    while ((got = recv(fd, &byte, 1, 0)) == 1 || (got < 0 && errno == EINTR)) {
        if (got == 1 && byte == '\n')
            return true;
        if (got == 1)
            buf_u8(line, byte);
    }
    return false;
}

static bool account_ask(int fd, const char *account, struct error *error)
{
    json_t *request = json_pack("{s:s,s:s}", "verb", "move", "name", account);
    char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
    struct buf line = {0};
    json_decref(request);
    if (text == NULL)
        return error_set(error, "the account's name is not UTF-8");
    bool good = send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text) &&
                send(fd, "\n", 1, MSG_NOSIGNAL) == 1 && line_read(fd, &line);
    free(text);
    json_t *answer = good ? json_loadb((const char *)line.data, line.size, 0, NULL) : NULL;
    const char *failure = json_string_value(json_object_get(answer, "error"));
    if (!good || answer == NULL)
        good = error_set(error, "the server did not answer: only root and the user who runs it "
                                "may ask");
    else if (failure != NULL)
        good = error_set(error, "%s: %s", account, failure);
    json_decref(answer);
    buf_finish(&line);
    return good;
}

static bool link_open(struct move_link *link, const char *data, const char *account,
                      struct error *error)
{
    struct ctl_data at;
    *link = (struct move_link){.fd = -1};
    if (!ctl_data_find(data, &at))
        return false;
    int fd = ctl_connect(&at, "control.sock");
    if (fd < 0)
        return error_set(error, "no server answers in %s (%s): start it with restante serve",
                         at.path, strerror(errno));
    if (account_ask(fd, account, error) && move_link_begin(link, fd, error))
        return true;
    close(fd);
    link->fd = -1;
    return false;
}

static void link_close(struct move_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    move_link_finish(link);
}

enum format { MAILDIR, MBOX, NEITHER };

static enum format format_of(const char *word)
{
    return strcmp(word, "maildir") == 0 ? MAILDIR : strcmp(word, "mbox") == 0 ? MBOX : NEITHER;
}

int ctl_import_mail(const struct ctl_command *self, int argc, char **argv)
{
    const char *data = NULL;
    bool merge = false;
    const struct ctl_option options[] = {{.name = "data", .kind = CTL_TEXT, .text = &data},
                                         {.name = "merge", .kind = CTL_FLAG, .flag = &merge},
                                         {.name = NULL}};
    struct error error = {""};
    struct source source;
    struct move_link link;
    struct move_counts counts = {.stored = 0};
    int result = ctl_options(self, options, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    if (argc != 4 || format_of(argv[2]) == NEITHER)
        return ctl_misuse(self, "an account, maildir or mbox, and a path are needed");
    bool good = format_of(argv[2]) == MAILDIR ? source_maildir_open(&source, argv[3], &error)
                                              : source_mbox_open(&source, argv[3], &error);
    good = good && link_open(&link, data, argv[1], &error);
    if (good) {
        good = move_import(&link, &source, merge, ctl_progress, &counts, &error);
        link_close(&link);
        printf("%" PRIu64 " imported, %" PRIu64 " were there already", counts.stored,
               counts.passed);
        if (counts.renumbered > 0)
            printf(", %" PRIu64 " with new UIDs", counts.renumbered);
        printf("\n");
    }
    source_finish(&source);
    if (!good && error.text[0] != '\0')
        ctl_fail("%s", error.text);
    return good ? CTL_OK : CTL_FAILED;
}

int ctl_export_mail(const struct ctl_command *self, int argc, char **argv)
{
    const char *data = NULL;
    const struct ctl_option options[] = {{.name = "data", .kind = CTL_TEXT, .text = &data},
                                         {.name = NULL}};
    struct error error = {""};
    struct move_link link;
    struct move_counts counts = {.stored = 0};
    int result = ctl_options(self, options, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    if (argc != 4 || format_of(argv[2]) == NEITHER)
        return ctl_misuse(self, "an account, maildir or mbox, and a path are needed");
    bool good = link_open(&link, data, argv[1], &error);
    if (good) {
        good = format_of(argv[2]) == MAILDIR
                   ? move_export_maildir(&link, argv[3], ctl_progress, &counts, &error)
                   : move_export_mbox(&link, argv[3], ctl_progress, &counts, &error);
        link_close(&link);
        printf("%" PRIu64 " exported, %" PRIu64 " were there already\n", counts.stored,
               counts.passed);
    }
    if (!good && error.text[0] != '\0')
        ctl_fail("%s", error.text);
    return good ? CTL_OK : CTL_FAILED;
}
