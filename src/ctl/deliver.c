/*
 * `restante deliver`: a client of the server's own LMTP socket (RFC 2033), so that a message takes
 * the same way as every other. Exit status as sysexits.h, which mail programs understand: 0 it is
 * on disk, 75 try again, 67 no such account, 65 refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "ctl/ctl.h"

struct lmtp {
    FILE *in;
    int fd;
    char last[1000]; /* the last line of the last answer */
};

void deliver_dot_encode(struct slice message, struct buf *out)
{
    bool line_start = true;
    uint8_t before = 0;
    for (size_t i = 0; i < message.size; i++) {
        uint8_t c = message.data[i];
        if (line_start && c == '.')
            buf_u8(out, '.');
        if (c == '\n' && before != '\r')
            buf_u8(out, '\r');
        buf_u8(out, c);
        line_start = c == '\n';
        before = c;
    }
    buf_add_str(out, line_start ? ".\r\n" : "\r\n.\r\n");
}

static bool send_all(int fd, struct slice bytes)
{
    while (bytes.size > 0) {
        ssize_t put = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        bytes = slice_sub(bytes, (size_t)put, bytes.size);
    }
    return true;
}

/* The code of a whole answer; 0: the connection is gone. */
static int answer_read(struct lmtp *lmtp)
{
    char line[1000];
    do {
        if (fgets(line, sizeof(line), lmtp->in) == NULL || strlen(line) < 4)
            return 0;
        line[strcspn(line, "\r\n")] = '\0';
        snprintf(lmtp->last, sizeof(lmtp->last), "%s", line);
    } while (line[3] == '-');
    return (int)strtol(line, NULL, 10);
}

static int ask(struct lmtp *lmtp, const char *command, const char *value, const char *end)
{
    struct buf text = {0};
    buf_add_str(&text, command);
    buf_add_str(&text, value);
    buf_add_str(&text, end);
    bool sent = send_all(lmtp->fd, buf_slice(&text));
    buf_finish(&text);
    return sent ? answer_read(lmtp) : 0;
}

/* What went wrong as an exit status; said. */
static int refused(const struct lmtp *lmtp, int code, const char *account)
{
    if (code == 0) {
        ctl_fail("the server broke off the connection; try again");
        return EX_TEMPFAIL;
    }
    ctl_fail("%s: the server says: %s", account, lmtp->last);
    if (code < 500)
        return EX_TEMPFAIL;
    return code == 550 ? EX_NOUSER : EX_DATAERR;
}

static int transaction(struct lmtp *lmtp, const char *account, const char *from,
                       struct slice message)
{
    int code;
    if ((code = answer_read(lmtp)) != 220 ||
        (code = ask(lmtp, "LHLO ", "localhost", "\r\n")) != 250 ||
        (code = ask(lmtp, "MAIL FROM:<", from, ">\r\n")) != 250 ||
        (code = ask(lmtp, "RCPT TO:<", account, ">\r\n")) / 10 != 25 ||
        (code = ask(lmtp, "DATA", "", "\r\n")) != 354)
        return refused(lmtp, code, account);
    struct buf body = {0};
    deliver_dot_encode(message, &body);
    code = send_all(lmtp->fd, buf_slice(&body)) ? answer_read(lmtp) : 0;
    buf_finish(&body);
    if (code / 10 != 25)
        return refused(lmtp, code, account);
    send_all(lmtp->fd, SLICE_LITERAL("QUIT\r\n"));
    return EX_OK;
}

static bool stdin_read(struct buf *message)
{
    size_t got;
    do {
        uint8_t *to = buf_extend(message, 65536);
        got = fread(to, 1, 65536, stdin);
        message->size -= 65536 - got;
    } while (got > 0);
    return ferror(stdin) == 0;
}

int ctl_deliver(const struct ctl_command *self, int argc, char **argv)
{
    struct ctl_data data;
    struct buf message = {0};
    const char *given = NULL, *from = "";
    const struct ctl_option options[] = {{.name = "data", .kind = CTL_TEXT, .text = &given},
                                         {.name = "from", .kind = CTL_TEXT, .text = &from},
                                         {.name = NULL}};
    int result = ctl_options(self, options, &argc, argv);
    if (result != CTL_OK)
        return result < 0 ? EX_OK : EX_USAGE;
    if (argc != 2 || strpbrk(argv[1], "<>\r\n ") != NULL || strpbrk(from, "<>\r\n ") != NULL) {
        ctl_misuse(self, "one account is needed");
        return EX_USAGE;
    }
    if (!ctl_data_find(given, &data))
        return EX_CONFIG;
    struct lmtp lmtp = {.fd = ctl_connect(&data, "lmtp.sock")};
    if (lmtp.fd < 0) {
        ctl_fail("no server takes mail in %s (%s): start it with restante serve", data.path,
                 strerror(errno));
        return EX_TEMPFAIL;
    }
    lmtp.in = fdopen(lmtp.fd, "r");
    if (lmtp.in == NULL || !stdin_read(&message)) {
        ctl_fail("the message cannot be read: %s", strerror(errno));
        return EX_NOINPUT;
    }
    int status = transaction(&lmtp, argv[1], from, buf_slice(&message));
    buf_finish(&message);
    fclose(lmtp.in);
    return status;
}
