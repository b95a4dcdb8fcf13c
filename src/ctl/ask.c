/*
 * Asking a running server: one JSON object on a line to DATA/run/control.sock, JSON values on lines
 * back, then it closes. And for account verbs: who answers, the server or the database itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/data.h"
#include "ctl/ctl.h"

bool ctl_data_find(const char *given, struct ctl_data *data)
{
    struct error error = {""};
    if (data_path(given, data->path, sizeof(data->path), &error))
        return true;
    ctl_fail("%s", error.text);
    return false;
}

int ctl_connect(const struct ctl_data *data, const char *name)
{
    char directory[4100];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(directory, sizeof(directory), "%s/run", data->path);
    /* Through the descriptor: the path itself may be longer than a socket's address. */
    int at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", at, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof(address));
    int saved = errno;
    close(at);
    if (fd >= 0 && result != 0) {
        close(fd);
        fd = -1;
    }
    errno = saved;
    return fd;
}

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t put = send(fd, bytes, size, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        bytes += put;
        size -= (size_t)put;
    }
    return true;
}

/* Every whole line in the buffer; what remains stays in it. */
static bool lines_take(struct buf *input, ctl_line *line, void *arg)
{
    struct slice rest = buf_slice(input);
    while (slice_find(rest, '\n') < rest.size) {
        struct slice text = slice_split(&rest, '\n');
        json_t *value = json_loadb((const char *)text.data, text.size, JSON_DECODE_ANY, NULL);
        if (value == NULL)
            return false;
        line(arg, value);
        json_decref(value);
    }
    memmove(input->data, rest.data, rest.size);
    input->size = rest.size;
    return true;
}

static bool answer_read(int fd, ctl_line *line, void *arg, struct error *error)
{
    struct buf input = {0};
    ssize_t got;
    bool good = true;
    do {
        uint8_t *to = buf_extend(&input, 65536);
        got = recv(fd, to, 65536, 0);
        input.size -= 65536 - (size_t)(got > 0 ? got : 0);
        good = lines_take(&input, line, arg);
    } while (good && (got > 0 || (got < 0 && errno == EINTR)));
    if (!good || got < 0 || input.size > 0)
        good = error_set(error, "the server's answer broke off; see its log");
    buf_finish(&input);
    return good;
}

enum ctl_asked ctl_ask_server(const struct ctl_data *data, json_t *request, ctl_line *line,
                              void *arg, struct error *error)
{
    int fd = ctl_connect(data, "control.sock");
    if (fd < 0 && (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR))
        return CTL_NO_SERVER;
    if (fd < 0) {
        error_errno(error, "the server in %s cannot be asked (are you the user who runs it?)",
                    data->path);
        return CTL_UNREACHABLE;
    }
    char *text = json_dumps(request, JSON_COMPACT);
    bool good = write_all(fd, text, strlen(text)) && write_all(fd, "\n", 1);
    if (!good)
        error_set(error, "the server refused to be asked: only root and the user who runs it may");
    good = good && answer_read(fd, line, arg, error);
    mem_wipe(text, strlen(text));
    free(text);
    close(fd);
    return good ? CTL_ANSWERED : CTL_UNREACHABLE;
}

static void keep_first(void *arg, json_t *value)
{
    json_t **kept = arg;
    if (*kept == NULL)
        *kept = json_incref(value);
}

json_t *ctl_account_ask(const struct ctl_data *data, json_t *request, struct error *error)
{
    json_t *answer = NULL;
    /* Once it is open here, under the lock, no server can have started meanwhile. */
    switch (ctl_offline_is_open() ? CTL_NO_SERVER
                                  : ctl_ask_server(data, request, keep_first, &answer, error)) {
    case CTL_NO_SERVER:
        answer = ctl_offline_ask(data, request, error);
        break;
    case CTL_UNREACHABLE:
        json_decref(answer);
        return NULL;
    case CTL_ANSWERED:
        break;
    }
    if (answer == NULL && error->text[0] == '\0')
        error_set(error, "the server did not answer: only root and the user who runs it may ask");
    const char *failure = json_string_value(json_object_get(answer, "error"));
    if (failure != NULL) {
        error_set(error, "%s", failure);
        json_decref(answer);
        return NULL;
    }
    return answer;
}
