/*
 * The commands of the transaction state (RFC 1939 5-7, RFC 2449). Deletions are marks in this
 * session until QUIT; a session that ends in any other way deletes nothing (RFC 1939 6).
 */
#include <event2/buffer.h>
#include <inttypes.h>

#include "pop3/pop3_priv.h"

enum argument { NONE, NUMBER, OPTIONAL_NUMBER, TWO_NUMBERS };

struct request {
    bool given;
    uint32_t number, lines;
};

struct command {
    const char *name;
    enum argument argument;
    const char *syntax;
    enum pop3_step (*run)(struct pop3 *s, const struct request *request);
};

struct pop3_message *pop3_message(struct pop3 *s, uint32_t number)
{
    if (number == 0 || number > s->count || s->messages[number - 1].deleted) {
        return NULL;
    }
    return &s->messages[number - 1];
}

enum pop3_step pop3_bad(struct pop3 *s, const char *text)
{
    pop3_write(s, "%s\r\n", text);
    s->bad++;
    if (s->bad < s->host->settings->limit_bad_commands) {
        return POP3_NEXT;
    }
    pop3_write(s, "-ERR Too many bad commands\r\n");
    s->reason = "protocol";
    return POP3_CLOSE;
}

static void totals(const struct pop3 *s, uint32_t *count, uint64_t *size)
{
    *count = 0;
    *size = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        if (!s->messages[i].deleted) {
            *count += 1;
            *size += s->messages[i].size;
        }
    }
}

static enum pop3_step run_stat(struct pop3 *s, const struct request *request)
{
    uint32_t count;
    uint64_t size;
    totals(s, &count, &size);
    pop3_write(s, "+OK %u %" PRIu64 "\r\n", count, size);
    return POP3_NEXT;
}

/* ---- lists: in pieces, as the client takes them -------------------------------------------- */

static void write_size(struct pop3 *s, const struct pop3_message *message, uint32_t number,
                       const char *before)
{
    pop3_write(s, "%s%u %" PRIu64 "\r\n", before, number, message->size);
}

static void write_uidl(struct pop3 *s, const struct pop3_message *message, uint32_t number,
                       const char *before)
{
    char buffer[20];
    pop3_write(s, "%s%u %s\r\n", before, number, maildrop_uidl(s, message, buffer));
}

static enum pop3_step list_some(struct pop3 *s,
                                void (*write)(struct pop3 *, const struct pop3_message *, uint32_t,
                                              const char *))
{
    while (s->number < s->count && evbuffer_get_length(s->output) < POP3_OUTPUT) {
        const struct pop3_message *message = &s->messages[s->number++];
        if (!message->deleted) {
            write(s, message, s->number, "");
        }
    }
    if (s->number < s->count) {
        return POP3_MORE;
    }
    pop3_write(s, ".\r\n");
    return POP3_NEXT;
}

static enum pop3_step more_sizes(struct pop3 *s)
{
    return list_some(s, write_size);
}

static enum pop3_step more_uidls(struct pop3 *s)
{
    return list_some(s, write_uidl);
}

static enum pop3_step run_list(struct pop3 *s, const struct request *request)
{
    if (request->given) {
        const struct pop3_message *message = pop3_message(s, request->number);
        if (message == NULL) {
            return pop3_bad(s, "-ERR There is no such message");
        }
        write_size(s, message, request->number, "+OK ");
        return POP3_NEXT;
    }
    uint32_t count;
    uint64_t size;
    totals(s, &count, &size);
    pop3_write(s, "+OK %u messages (%" PRIu64 " octets)\r\n", count, size);
    s->number = 0;
    s->more = more_sizes;
    return POP3_MORE;
}

static enum pop3_step run_uidl(struct pop3 *s, const struct request *request)
{
    if (request->given) {
        const struct pop3_message *message = pop3_message(s, request->number);
        if (message == NULL) {
            return pop3_bad(s, "-ERR There is no such message");
        }
        write_uidl(s, message, request->number, "+OK ");
        return POP3_NEXT;
    }
    pop3_write(s, "+OK Unique ids follow\r\n");
    s->number = 0;
    s->more = more_uidls;
    return POP3_MORE;
}

/* ---- the others ---------------------------------------------------------------------------- */

static enum pop3_step run_retr(struct pop3 *s, const struct request *request)
{
    return pop3_retr(s, request->number);
}

static enum pop3_step run_top(struct pop3 *s, const struct request *request)
{
    return pop3_top(s, request->number, request->lines);
}

static enum pop3_step run_dele(struct pop3 *s, const struct request *request)
{
    struct pop3_message *message = pop3_message(s, request->number);
    if (message == NULL) {
        return pop3_bad(s, "-ERR There is no such message");
    }
    message->deleted = true;
    pop3_write(s, "+OK Goes at QUIT\r\n");
    return POP3_NEXT;
}

static enum pop3_step run_rset(struct pop3 *s, const struct request *request)
{
    for (uint32_t i = 0; i < s->count; i++) {
        s->messages[i].deleted = false;
    }
    pop3_write(s, "+OK Nothing is deleted\r\n");
    return POP3_NEXT;
}

static enum pop3_step run_noop(struct pop3 *s, const struct request *request)
{
    pop3_write(s, "+OK\r\n");
    return POP3_NEXT;
}

static enum pop3_step run_capa(struct pop3 *s, const struct request *request)
{
    pop3_write(s, "+OK Capabilities follow\r\n" POP3_CAPABILITIES
                  "USER\r\nIMPLEMENTATION Restante\r\n.\r\n");
    return POP3_NEXT;
}

static void on_removed(void *arg, enum mailbox_result result)
{
    struct pop3 *s = arg;
    s->reason = "logout";
    if (result == MAILBOX_OK) {
        pop3_write(s, "+OK Bye\r\n");
    } else if (result == MAILBOX_BROKEN) { /* nobody knows: neither yes nor no is said */
        s->reason = "broken";
        pop3_continue(s, POP3_BREAK);
        return;
    } else {
        pop3_write(s, "-ERR [SYS/TEMP] Messages could not be deleted\r\n");
    }
    pop3_continue(s, POP3_CLOSE);
}

static enum pop3_step run_quit(struct pop3 *s, const struct request *request)
{
    struct uidset uids;
    uidset_init(&uids);
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->messages[i].deleted) {
            uidset_add(&uids, s->messages[i].uid, s->messages[i].uid);
        }
    }
    enum pop3_step step = POP3_CLOSE;
    if (uids.count > 0) {
        s->wait = "store";
        mailbox_remove(s->view, &uids, on_removed, s);
        step = POP3_WAIT;
    } else {
        s->reason = "logout";
        pop3_write(s, "+OK Bye\r\n");
    }
    uidset_finish(&uids);
    return step;
}

static const struct command commands[] = {
    {"STAT", NONE, "-ERR STAT takes no argument", run_stat},
    {"LIST", OPTIONAL_NUMBER, "-ERR Syntax: LIST [message]", run_list},
    {"RETR", NUMBER, "-ERR Syntax: RETR message", run_retr},
    {"DELE", NUMBER, "-ERR Syntax: DELE message", run_dele},
    {"NOOP", NONE, "-ERR NOOP takes no argument", run_noop},
    {"RSET", NONE, "-ERR RSET takes no argument", run_rset},
    {"TOP", TWO_NUMBERS, "-ERR Syntax: TOP message lines", run_top},
    {"UIDL", OPTIONAL_NUMBER, "-ERR Syntax: UIDL [message]", run_uidl},
    {"QUIT", NONE, "-ERR QUIT takes no argument", run_quit},
    {"CAPA", NONE, "-ERR CAPA takes no argument", run_capa},
};

static bool check(const struct command *command, struct slice argument, struct request *request)
{
    argument = slice_trim(argument);
    request->given = argument.size > 0;
    switch (command->argument) {
    case NONE:
        return !request->given;
    case NUMBER:
        return pop3_parse_number(argument, &request->number);
    case OPTIONAL_NUMBER:
        return !request->given || pop3_parse_number(argument, &request->number);
    case TWO_NUMBERS:
        return pop3_parse_numbers(argument, &request->number, &request->lines);
    }
    return false;
}

enum pop3_step pop3_command(struct pop3 *s, struct slice line)
{
    struct slice verb, argument;
    if (!pop3_parse(line, &verb, &argument)) {
        return pop3_bad(s, "-ERR This is no command");
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct request request = {0};
        if (!slice_equal_nocase_str(verb, commands[i].name)) {
            continue;
        }
        if (!check(&commands[i], argument, &request)) {
            return pop3_bad(s, commands[i].syntax);
        }
        s->command = commands[i].name;
        unsigned bad = s->bad;
        enum pop3_step step = commands[i].run(s, &request);
        s->bad = s->bad == bad ? 0 : s->bad;
        return step;
    }
    return pop3_bad(s, "-ERR Unknown command");
}
