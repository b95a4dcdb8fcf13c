/*
 * POP3 before login (RFC 1939 4, RFC 2449, RFC 2595 4, RFC 5034), in the process that holds the
 * connection: CAPA, STLS, USER and PASS, AUTH, QUIT. USER and PASS become SASL's PLAIN, so that
 * auth has one way in. A secret passes through here and is wiped behind it.
 *
 * Not here: who may log in (auth); anything about mail (pop3_session.c, in the worker), which also
 * says the +OK of a login, once the maildrop is open.
 */
#include <event2/buffer.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "door/door.h"
#include "pop3/pop3.h"

enum { SECRET_MAX = 1024, RESPONSE_MAX = 16384 };

struct pop3_door {
    struct door_conn *conn;
    struct buf line;
    struct buf user; /* of USER; data NULL: none */
    bool exchange;   /* lines are SASL responses */
    bool skipping;   /* the rest of a line that was too long */
    bool malformed;  /* we called the exchange off */
    unsigned bad;
};

struct command {
    const char *name;
    bool argument; /* must have one; otherwise must not */
    enum door_step (*run)(struct pop3_door *door, struct slice argument);
};

static void reply(struct pop3_door *door, const char *text)
{
    door_conn_printf(door->conn, "%s\r\n", text);
}

static enum door_step bad(struct pop3_door *door, const char *text)
{
    reply(door, text);
    door->bad++;
    if (door->bad < door_settings(door->conn)->limit_bad_commands) {
        return DOOR_AGAIN;
    }
    reply(door, "-ERR Too many bad commands");
    return DOOR_CLOSE;
}

static bool has_mechanism(const struct pop3_door *door, struct slice name)
{
    struct slice rest = slice_str(door_conn_mechanisms(door->conn));
    while (rest.size > 0) {
        if (slice_equal_nocase(slice_split(&rest, ' '), name)) {
            return true;
        }
    }
    return false;
}

/* ---- commands ------------------------------------------------------------------------------ */

static enum door_step run_capa(struct pop3_door *door, struct slice argument)
{
    const char *mechanisms = door_conn_mechanisms(door->conn);
    reply(door, "+OK Capabilities follow");
    door_conn_printf(door->conn, POP3_CAPABILITIES);
    if (has_mechanism(door, SLICE_LITERAL("PLAIN"))) {
        reply(door, "USER");
    }
    if (mechanisms[0] != '\0') {
        door_conn_printf(door->conn, "SASL %s\r\n", mechanisms);
    }
    if (door_conn_can_starttls(door->conn)) {
        reply(door, "STLS");
    }
    reply(door, "IMPLEMENTATION Restante\r\n.");
    return DOOR_AGAIN;
}

static enum door_step run_stls(struct pop3_door *door, struct slice argument)
{
    if (door_conn_secure(door->conn)) {
        return bad(door, "-ERR TLS is on already");
    }
    if (!door_conn_can_starttls(door->conn)) {
        return bad(door, "-ERR [SYS/TEMP] TLS is not available at the moment");
    }
    reply(door, "+OK Go ahead");
    door_conn_starttls(door->conn);
    return DOOR_WAIT;
}

static enum door_step run_user(struct pop3_door *door, struct slice argument)
{
    if (!has_mechanism(door, SLICE_LITERAL("PLAIN"))) {
        return bad(door, "-ERR [AUTH] Not without TLS: say STLS first");
    }
    if (argument.size > SECRET_MAX) {
        return bad(door, "-ERR Name too long");
    }
    buf_clear(&door->user);
    buf_add_slice(&door->user, argument);
    reply(door, "+OK Password please"); /* whether there is such a user or not */
    return DOOR_AGAIN;
}

static enum door_step run_pass(struct pop3_door *door, struct slice argument)
{
    if (door->user.size == 0) {
        return bad(door, "-ERR Say USER first");
    }
    if (argument.size > SECRET_MAX) {
        return bad(door, "-ERR Password too long");
    }
    struct buf message = {0}; /* RFC 4616 2 */
    buf_u8(&message, 0);
    buf_add_slice(&message, buf_slice(&door->user));
    buf_u8(&message, 0);
    buf_add_slice(&message, argument);
    buf_clear(&door->user); /* RFC 1939 7: USER comes ahead of every PASS */
    door_conn_authenticate(door->conn, SLICE_LITERAL("PLAIN"), buf_slice(&message));
    mem_wipe(message.data, message.size);
    buf_finish(&message);
    return DOOR_WAIT;
}

static enum door_step run_auth(struct pop3_door *door, struct slice argument)
{
    struct slice rest = slice_trim(argument);
    struct slice mechanism = slice_split(&rest, ' ');
    struct buf initial = {0};
    rest = slice_trim(rest);
    bool empty = slice_equal_str(rest, "="); /* RFC 5034 4: an empty initial response */
    if (!has_mechanism(door, mechanism)) {
        return bad(door, "-ERR [AUTH] This mechanism is not offered here");
    }
    if (rest.size > 0 && !empty &&
        (!base64_decode(rest, &initial) || initial.size > RESPONSE_MAX)) {
        mem_wipe(initial.data, initial.size);
        buf_finish(&initial);
        return bad(door, "-ERR The response is not base64");
    }
    struct slice given = rest.size == 0 ? SLICE_NONE
                         : empty        ? SLICE_LITERAL("")
                                        : buf_slice(&initial);
    door->malformed = false;
    door_conn_authenticate(door->conn, mechanism, given);
    mem_wipe(initial.data, initial.size);
    buf_finish(&initial);
    return DOOR_WAIT;
}

static enum door_step run_quit(struct pop3_door *door, struct slice argument)
{
    reply(door, "+OK Bye");
    return DOOR_CLOSE;
}

static const struct command commands[] = {
    {"CAPA", false, run_capa}, {"STLS", false, run_stls}, {"USER", true, run_user},
    {"PASS", true, run_pass},  {"AUTH", true, run_auth},  {"QUIT", false, run_quit},
};

static enum door_step run_command(struct pop3_door *door, struct slice line)
{
    struct slice verb, argument;
    if (!pop3_parse(line, &verb, &argument)) {
        return bad(door, "-ERR This is no command");
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!slice_equal_nocase_str(verb, commands[i].name)) {
            continue;
        }
        if (commands[i].argument != (argument.size > 0)) {
            return bad(door, commands[i].argument ? "-ERR An argument is missing"
                                                  : "-ERR This command takes no argument");
        }
        return commands[i].run(door, argument);
    }
    return bad(door, "-ERR Not before login, or not known");
}

/* A line of an exchange (RFC 5034 4). */
static enum door_step run_response(struct pop3_door *door, struct slice line)
{
    struct buf data = {0};
    door->exchange = false;
    if (slice_equal_str(line, "*")) {
        door_conn_auth_cancel(door->conn);
    } else if (!base64_decode(line, &data) || data.size > RESPONSE_MAX) {
        door->malformed = true;
        door_conn_auth_cancel(door->conn);
    } else {
        door_conn_auth_response(door->conn, buf_slice(&data));
    }
    mem_wipe(data.data, data.size);
    buf_finish(&data);
    return DOOR_WAIT;
}

/* ---- lines --------------------------------------------------------------------------------- */

static enum door_step too_long(struct pop3_door *door)
{
    if (door->exchange) {
        door->exchange = false;
        door->malformed = true;
        door_conn_auth_cancel(door->conn);
        return DOOR_WAIT;
    }
    return bad(door, "-ERR Line too long");
}

static enum door_step input(void *state, struct evbuffer *bytes)
{
    struct pop3_door *door = state;
    size_t size = evbuffer_get_length(bytes);
    struct evbuffer_ptr end = evbuffer_search_eol(bytes, NULL, NULL, EVBUFFER_EOL_LF);
    bool ended = end.pos >= 0;
    if (ended) {
        size = (size_t)end.pos;
    }
    if (door->skipping || size > POP3_LINE_MAX) {
        bool answered = door->skipping;
        door->skipping = !ended;
        evbuffer_drain(bytes, ended ? size + 1 : size);
        return !answered ? too_long(door) : ended ? DOOR_AGAIN : DOOR_MORE;
    }
    if (!ended) {
        return DOOR_MORE;
    }
    buf_clear(&door->line);
    evbuffer_remove(bytes, buf_extend(&door->line, size), size);
    evbuffer_drain(bytes, 1);
    struct slice line = buf_slice(&door->line);
    if (line.size > 0 && line.data[line.size - 1] == '\r') {
        line.size--; /* a lone LF ends a line as well: nothing here can be smuggled by it */
    }
    enum door_step step = door->exchange ? run_response(door, line) : run_command(door, line);
    mem_wipe(door->line.data, door->line.size);
    return step;
}

/* ---- from the door ------------------------------------------------------------------------- */

static void *open_door(struct door_conn *conn)
{
    struct pop3_door *door = MEM_NEW(struct pop3_door);
    door->conn = conn;
    if (!door_conn_after_starttls(conn)) { /* RFC 2595 4: none after STLS */
        /* No "<...>" in it: that would announce APOP (RFC 1939 7). */
        door_conn_printf(conn, "+OK %s Restante ready\r\n", door_hostname(conn));
    }
    return door;
}

static void close_door(void *state)
{
    struct pop3_door *door = state;
    mem_wipe(door->line.data, door->line.size);
    buf_finish(&door->line);
    buf_finish(&door->user);
    free(door);
}

static void challenge(void *state, struct slice data)
{
    struct pop3_door *door = state;
    struct buf text = {0};
    buf_add_str(&text, "+ ");
    base64_encode(data, &text);
    buf_add_str(&text, "\r\n");
    door_conn_write(door->conn, text.data, text.size);
    buf_finish(&text);
    door->exchange = true;
    door_conn_resume(door->conn);
}

static void auth_failed(void *state, enum ipc_auth_result result)
{
    /* RFC 3206: [AUTH] is said of the secret alone, [SYS/TEMP] of what passes. */
    static const char *const answers[] = {
        [IPC_AUTH_OK] = "-ERR [SYS/TEMP] Please try again later",
        [IPC_AUTH_BAD_SECRET] = "-ERR [AUTH] Wrong name or password",
        [IPC_AUTH_BAD_MESSAGE] = "-ERR [AUTH] The exchange was broken",
        [IPC_AUTH_NO_MECHANISM] = "-ERR [AUTH] This mechanism is not offered here",
        [IPC_AUTH_NOT_SECURE] = "-ERR [AUTH] Not without TLS: say STLS first",
        [IPC_AUTH_UNAVAILABLE] = "-ERR [SYS/TEMP] Please try again later",
        [IPC_AUTH_CANCELLED] = "-ERR Called off",
    };
    struct pop3_door *door = state;
    bool malformed = door->malformed && result == IPC_AUTH_CANCELLED;
    door->exchange = door->malformed = false;
    reply(door, malformed ? "-ERR The response is not base64" : answers[result]);
    door_conn_resume(door->conn);
}

static void logged_in(void *state, struct slice *tag)
{
    *tag = SLICE_NONE;
}

static void farewell(void *state, const char *reason)
{
    struct pop3_door *door = state;
    door_conn_printf(door->conn, "-ERR [SYS/TEMP] %s\r\n", reason);
}

const struct door_protocol pop3_door = {
    .name = "pop3",
    .protocol = IPC_POP3,
    .open = open_door,
    .close = close_door,
    .input = input,
    .challenge = challenge,
    .auth_failed = auth_failed,
    .logged_in = logged_in,
    .farewell = farewell,
};
