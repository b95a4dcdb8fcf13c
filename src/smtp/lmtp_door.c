/*
 * LMTP at the door (RFC 2033; RFC 5321 for the commands): the table of commands, and the lines that
 * come in. What a command does is in lmtp_hello.c, lmtp_mail.c, lmtp_message.c, lmtp_deliver.c.
 *
 * A line ends with CRLF and nothing else (RFC 5321 2.3.8): one that ends with a lone LF, or holds a
 * CR or NUL, is refused whole, so that there are no two opinions about where a command ends.
 * Commands may come in a heap (RFC 2920); each is answered before the next is looked at.
 */
#include "smtp/lmtp.h"

#include <event2/buffer.h>
#include <stdlib.h>

#include "base/mem.h"

const struct lmtp_command lmtp_commands[] = {
    {"LHLO", LMTP_ANY & ~LMTP_BDAT, "503 5.5.1 Finish the message first", lmtp_check_hello,
     lmtp_lhlo},
    {"HELO", 0, "500 5.5.1 This is LMTP: say LHLO", lmtp_check_any, lmtp_helo},
    {"EHLO", 0, "500 5.5.1 This is LMTP: say LHLO", lmtp_check_any, lmtp_helo},
    {"STARTTLS", LMTP_READY, "503 5.5.1 Say LHLO first, outside of a transaction", lmtp_check_none,
     lmtp_starttls},
    {"MAIL", LMTP_READY, "503 5.5.1 Say LHLO first, and one MAIL at a time", lmtp_check_mail,
     lmtp_mail},
    {"RCPT", LMTP_MAIL | LMTP_RCPT, "503 5.5.1 Say MAIL first", lmtp_check_rcpt, lmtp_rcpt},
    {"DATA", LMTP_RCPT, "503 5.5.1 No valid recipients", lmtp_check_none, lmtp_data},
    {"BDAT", LMTP_ANY, "", lmtp_check_bdat, lmtp_bdat},
    {"RSET", LMTP_ANY, "", lmtp_check_none, lmtp_rset},
    {"NOOP", LMTP_ANY, "", lmtp_check_any, lmtp_noop},
    {"VRFY", LMTP_ANY, "", lmtp_check_any, lmtp_vrfy},
    {"EXPN", LMTP_ANY, "", lmtp_check_any, lmtp_expn},
    {"HELP", LMTP_ANY, "", lmtp_check_any, lmtp_help},
    {"QUIT", LMTP_ANY, "", lmtp_check_none, lmtp_quit},
    {NULL, 0, NULL, NULL, NULL},
};

const struct lmtp_command *lmtp_command_find(struct slice line, struct slice *argument)
{
    struct slice verb = slice_split(&line, ' ');
    *argument = line;
    for (const struct lmtp_command *c = lmtp_commands; c->name != NULL; c++) {
        if (slice_equal_nocase_str(verb, c->name)) {
            return c;
        }
    }
    return NULL;
}

void lmtp_reply(struct lmtp *lmtp, const char *text)
{
    door_conn_printf(lmtp->conn, "%s\r\n", text);
}

enum door_step lmtp_refuse(struct lmtp *lmtp, const char *text)
{
    lmtp_reply(lmtp, text);
    lmtp->bad++;
    if (lmtp->bad < door_settings(lmtp->conn)->limit_bad_commands) {
        return DOOR_AGAIN;
    }
    lmtp_reply(lmtp, "421 4.7.0 Too many bad commands");
    return DOOR_CLOSE;
}

static enum door_step run_line(struct lmtp *lmtp, struct slice line)
{
    if (line.size == 0 || line.data[line.size - 1] != '\r') {
        return lmtp_refuse(lmtp, "500 5.5.2 Lines end with CRLF");
    }
    line.size--;
    if (slice_find(line, '\r') < line.size || slice_find(line, '\0') < line.size) {
        return lmtp_refuse(lmtp, "500 5.5.2 A command holds no CR and no NUL");
    }
    struct lmtp_request request = {0};
    const struct lmtp_command *command = lmtp_command_find(slice_trim(line), &request.argument);
    if (command == NULL) {
        return lmtp_refuse(lmtp, "500 5.5.2 Unknown command");
    }
    if ((command->states & lmtp->state) == 0) {
        return lmtp_refuse(lmtp, command->elsewhere);
    }
    const char *trouble = command->check(&request);
    if (trouble != NULL) {
        enum door_step step = lmtp_refuse(lmtp, trouble);
        /* Nobody knows how long the chunk is that follows: its bytes must not become commands. */
        return command->proceed == lmtp_bdat ? DOOR_CLOSE : step;
    }
    return command->proceed(lmtp, &request);
}

/* Takes one line off the input. One that is too long is answered when that is known, not at its
 * end: perhaps it has none. */
static enum door_step next_line(struct lmtp *lmtp, struct evbuffer *input)
{
    size_t limit = (size_t)door_settings(lmtp->conn)->limit_line;
    size_t size = evbuffer_get_length(input);
    struct evbuffer_ptr end = evbuffer_search_eol(input, NULL, NULL, EVBUFFER_EOL_LF);
    bool ended = end.pos >= 0;
    if (ended) {
        size = (size_t)end.pos;
    }
    if (lmtp->mode == LMTP_SKIP_LINE || size > limit) {
        bool answered = lmtp->mode == LMTP_SKIP_LINE;
        lmtp->mode = ended ? LMTP_LINES : LMTP_SKIP_LINE;
        evbuffer_drain(input, ended ? size + 1 : size);
        return !answered ? lmtp_refuse(lmtp, "500 5.5.2 Line too long")
               : ended   ? DOOR_AGAIN
                         : DOOR_MORE;
    }
    if (!ended) {
        return DOOR_MORE;
    }
    buf_clear(&lmtp->line);
    evbuffer_remove(input, buf_extend(&lmtp->line, size), size);
    evbuffer_drain(input, 1);
    return run_line(lmtp, buf_slice(&lmtp->line));
}

static enum door_step input(void *state, struct evbuffer *input_buffer)
{
    struct lmtp *lmtp = state;
    if (evbuffer_get_length(input_buffer) == 0) {
        return DOOR_MORE;
    }
    switch (lmtp->mode) {
    case LMTP_LINES:
    case LMTP_SKIP_LINE:
        return next_line(lmtp, input_buffer);
    case LMTP_DATA:
    case LMTP_CHUNK:
        return lmtp_message_input(lmtp, input_buffer);
    }
    return DOOR_CLOSE;
}

static void *open_lmtp(struct door_conn *conn)
{
    struct lmtp *lmtp = MEM_NEW(struct lmtp);
    lmtp->conn = conn;
    lmtp->state = LMTP_FRESH;
    spool_init(&lmtp->spool);
    if (!door_conn_after_starttls(conn)) { /* RFC 3207 4.2: no second greeting */
        door_conn_printf(conn, "220 %s LMTP Restante\r\n", door_hostname(conn));
    }
    return lmtp;
}

static void close_lmtp(void *state)
{
    struct lmtp *lmtp = state;
    lmtp_reset(lmtp);
    free(lmtp->asked);
    buf_finish(&lmtp->line);
    free(lmtp);
}

static void farewell(void *state, const char *reason)
{
    struct lmtp *lmtp = state;
    /* RFC 5321 3.8: 421 may come at any time. */
    door_conn_printf(lmtp->conn, "421 4.3.2 %s %s\r\n", door_hostname(lmtp->conn), reason);
}

const struct door_protocol lmtp_door = {
    .name = "lmtp",
    .protocol = IPC_LMTP,
    .open = open_lmtp,
    .close = close_lmtp,
    .input = input,
    .farewell = farewell,
};
