/*
 * IMAP before login (RFC 3501 6.1, 6.2), in the process that holds the connection: CAPABILITY, ID,
 * NOOP, LOGOUT, STARTTLS, AUTHENTICATE and LOGIN; all else waits for login. A secret passes through
 * here on its way to auth, is judged there, and is wiped behind it.
 *
 * Not here: who may log in (auth), TLS (tls), anything about mail (imap/session.c, in the worker).
 */
#include <event2/buffer.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/log.h"
#include "base/mem.h"
#include "door/door.h"
#include "imap/capability.h"
#include "imap/parser.h"
#include "imap/reader.h"

enum {
    LINE_MAX_BYTES = 24 * 1024, /* an initial response of 16 KiB in base64 fits */
    LITERAL_MAX = 4096,
    RESPONSE_MAX = 16384, /* ipc/messages.h: auth_start, auth_response */
    TAG_MAX = 255,
};

struct imap_door {
    struct door_conn *conn;
    struct imap_reader reader;
    struct arena arena; /* of one command */
    struct buf tag;     /* of the login command in work */
    bool exchange;      /* between AUTHENTICATE and its end: lines are responses */
    bool malformed;     /* the exchange was called off by us */
    uint64_t bad;
};

struct door_command {
    const char *name;
    enum door_step (*run)(struct imap_door *door, struct slice tag, struct imap_parser *parser);
};

/* One word of a space-separated list. */
static bool has_word(const char *list, struct slice word)
{
    struct slice rest = slice_str(list);
    while (rest.size > 0)
        if (slice_equal_nocase(slice_split(&rest, ' '), word))
            return true;
    return false;
}

static void put_capability(struct imap_door *door)
{
    struct buf text = {0};
    const char *mechanisms = door_conn_mechanisms(door->conn);
    buf_add_str(&text, "CAPABILITY " IMAP_CAPABILITY_BEFORE);
    if (door_conn_can_starttls(door->conn))
        buf_add_str(&text, " STARTTLS");
    if (!has_word(mechanisms, SLICE_LITERAL("PLAIN")))
        buf_add_str(&text, " LOGINDISABLED");
    struct slice rest = slice_str(mechanisms);
    while (rest.size > 0) {
        struct slice mechanism = slice_split(&rest, ' ');
        buf_printf(&text, " AUTH=%.*s", SLICE_PRINT(mechanism));
    }
    door_conn_write(door->conn, text.data, text.size);
    buf_finish(&text);
}

static void answer(struct imap_door *door, struct slice tag, const char *text)
{
    door_conn_printf(door->conn, "%.*s %s\r\n", SLICE_PRINT(tag), text);
}

static enum door_step bad(struct imap_door *door, struct slice tag, const char *text)
{
    if (tag.size == 0)
        tag = SLICE_LITERAL("*");
    door_conn_printf(door->conn, "%.*s BAD %s\r\n", SLICE_PRINT(tag), text);
    if (++door->bad < door_settings(door->conn)->limit_bad_commands)
        return DOOR_AGAIN;
    door_conn_printf(door->conn, "* BYE Too many bad commands.\r\n");
    log_info("bad_commands", "protocol=imap id=%s rip=%s", door_session_id(door->conn),
             door_conn_client(door->conn));
    return DOOR_CLOSE;
}

/* ---- commands ------------------------------------------------------------------------------ */

static enum door_step run_capability(struct imap_door *door, struct slice tag,
                                     struct imap_parser *parser)
{
    if (!imap_parse_end(parser))
        return bad(door, tag, parser->problem);
    door_conn_printf(door->conn, "* ");
    put_capability(door);
    door_conn_printf(door->conn, "\r\n");
    answer(door, tag, "OK Capability completed.");
    return DOOR_AGAIN;
}

static enum door_step run_noop(struct imap_door *door, struct slice tag, struct imap_parser *parser)
{
    if (!imap_parse_end(parser))
        return bad(door, tag, parser->problem);
    answer(door, tag, "OK Noop completed.");
    return DOOR_AGAIN;
}

static enum door_step run_logout(struct imap_door *door, struct slice tag,
                                 struct imap_parser *parser)
{
    if (!imap_parse_end(parser))
        return bad(door, tag, parser->problem);
    door_conn_printf(door->conn, "* BYE Logging out.\r\n");
    answer(door, tag, "OK Logout completed.");
    return DOOR_CLOSE;
}

/* RFC 2971: what the client says of itself is taken and not kept. */
static enum door_step run_id(struct imap_door *door, struct slice tag, struct imap_parser *parser)
{
    struct slice value;
    bool good = imap_parse_space(parser);
    if (good && !imap_parse_keyword(parser, "NIL")) {
        good = imap_parse_open(parser);
        while (good && !imap_parse_sees(parser, ')'))
            good = imap_parse_nstring(parser, &value) &&
                   (imap_parse_sees(parser, ')') || imap_parse_space(parser));
        good = good && imap_parse_close(parser);
    }
    if (!good || !imap_parse_end(parser))
        return bad(door, tag, parser->problem);
    door_conn_printf(door->conn, "* ID (\"name\" \"Restante\")\r\n");
    answer(door, tag, "OK ID completed.");
    return DOOR_AGAIN;
}

static enum door_step run_starttls(struct imap_door *door, struct slice tag,
                                   struct imap_parser *parser)
{
    if (!imap_parse_end(parser))
        return bad(door, tag, parser->problem);
    if (!door_conn_can_starttls(door->conn))
        return bad(door, tag,
                   door_conn_secure(door->conn) ? "TLS is on already." : "There is no TLS here.");
    answer(door, tag, "OK Begin TLS negotiation now.");
    door_conn_starttls(door->conn);
    return DOOR_WAIT;
}

static enum door_step authenticate(struct imap_door *door, struct slice tag, struct slice mechanism,
                                   struct slice initial)
{
    buf_clear(&door->tag);
    buf_add_slice(&door->tag, tag);
    door->malformed = false;
    door_conn_authenticate(door->conn, mechanism, initial);
    return DOOR_WAIT;
}

static enum door_step refuse_mechanism(struct imap_door *door, struct slice tag,
                                       struct slice mechanism)
{
    bool clear =
        slice_equal_nocase_str(mechanism, "PLAIN") || slice_equal_nocase_str(mechanism, "LOGIN");
    answer(door, tag,
           clear && !door_conn_secure(door->conn)
               ? "NO [PRIVACYREQUIRED] A password may not be sent without TLS." /* RFC 5530 3 */
               : "NO [CANNOT] There is no such mechanism.");
    return DOOR_AGAIN;
}

static enum door_step run_login(struct imap_door *door, struct slice tag,
                                struct imap_parser *parser)
{
    struct slice name, password;
    if (!imap_parse_space(parser) || !imap_parse_astring(parser, &name) ||
        !imap_parse_space(parser) || !imap_parse_astring(parser, &password) ||
        !imap_parse_end(parser))
        return bad(door, tag, parser->problem);
    if (!has_word(door_conn_mechanisms(door->conn), SLICE_LITERAL("PLAIN")))
        return refuse_mechanism(door, tag, SLICE_LITERAL("PLAIN"));
    struct buf plain = {0}; /* RFC 4616 2 */
    buf_u8(&plain, 0);
    buf_add_slice(&plain, name);
    buf_u8(&plain, 0);
    buf_add_slice(&plain, password);
    enum door_step step = DOOR_AGAIN;
    if (plain.size > RESPONSE_MAX)
        answer(door, tag, "NO [AUTHENTICATIONFAILED] Login failed.");
    else
        step = authenticate(door, tag, SLICE_LITERAL("PLAIN"), buf_slice(&plain));
    mem_wipe(plain.data, plain.size);
    buf_finish(&plain);
    return step;
}

static enum door_step run_authenticate(struct imap_door *door, struct slice tag,
                                       struct imap_parser *parser)
{
    struct slice mechanism, initial = SLICE_NONE;
    if (!imap_parse_space(parser) || !imap_parse_atom(parser, &mechanism))
        return bad(door, tag, parser->problem);
    if (imap_parse_optional(parser, ' ')) { /* RFC 4959 3 */
        initial = slice_sub(parser->text, parser->at, parser->text.size);
        parser->at = parser->text.size;
    }
    if (!imap_parse_end(parser))
        return bad(door, tag, parser->problem);
    if (!has_word(door_conn_mechanisms(door->conn), mechanism))
        return refuse_mechanism(door, tag, mechanism);
    struct buf plain = {0};
    enum door_step step;
    if (initial.data != NULL && !slice_equal_str(initial, "=") &&
        (!base64_decode(initial, &plain) || plain.size > RESPONSE_MAX)) {
        step = bad(door, tag, "The initial response is not base64, or too long.");
    } else {
        door->exchange = true;
        door->reader.lines = true;
        struct slice first =
            slice_make(plain.data == NULL ? (const uint8_t *)"" : plain.data, plain.size);
        step = authenticate(door, tag, mechanism, initial.data == NULL ? SLICE_NONE : first);
    }
    if (plain.data != NULL)
        mem_wipe(plain.data, plain.size);
    buf_finish(&plain);
    return step;
}

static const struct door_command commands[] = {
    {"CAPABILITY", run_capability},
    {"NOOP", run_noop},
    {"LOGOUT", run_logout},
    {"ID", run_id},
    {"LOGIN", run_login},
    {"STARTTLS", run_starttls},
    {"AUTHENTICATE", run_authenticate},
};

static enum door_step run_command(struct imap_door *door)
{
    struct imap_parser parser;
    struct slice tag = SLICE_NONE, name;
    imap_parser_init(&parser, buf_slice(&door->reader.text), &door->arena,
                     (uint32_t)door_settings(door->conn)->limit_nesting);
    if (!imap_parse_tag(&parser, &tag) || tag.size > TAG_MAX)
        return bad(door, SLICE_NONE, "A command begins with a tag.");
    if (!imap_parse_space(&parser) || !imap_parse_word(&parser, &name))
        return bad(door, tag, "A command is missing.");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!slice_equal_nocase_str(name, commands[i].name))
            continue;
        uint64_t before = door->bad;
        enum door_step step = commands[i].run(door, tag, &parser);
        door->bad = door->bad == before ? 0 : door->bad;
        return step;
    }
    return bad(door, tag, "There is no such command before login.");
}

/* A line of an AUTHENTICATE exchange (RFC 3501 6.2.2). */
static enum door_step run_response(struct imap_door *door)
{
    struct slice line = buf_slice(&door->reader.text);
    struct buf plain = {0};
    if (slice_equal_str(line, "*")) {
        door_conn_auth_cancel(door->conn);
    } else if (!base64_decode(line, &plain) || plain.size > RESPONSE_MAX) {
        door->malformed = true;
        door_conn_auth_cancel(door->conn);
    } else {
        door_conn_auth_response(door->conn, buf_slice(&plain));
    }
    if (plain.data != NULL)
        mem_wipe(plain.data, plain.size);
    buf_finish(&plain);
    return DOOR_WAIT;
}

static enum door_step run_literal(struct imap_door *door)
{
    struct imap_reader *reader = &door->reader;
    if (reader->literal_size <= LITERAL_MAX && reader->text.size <= LINE_MAX_BYTES) {
        if (reader->literal_sync)
            door_conn_printf(door->conn, "+ OK\r\n");
        imap_reader_accept(reader);
        return DOOR_AGAIN;
    }
    if (!reader->literal_sync) { /* RFC 7888 4: its bytes are on the way, and nobody wants them */
        door_conn_printf(door->conn, "* BYE A literal is too long.\r\n");
        return DOOR_CLOSE;
    }
    struct imap_parser parser;
    struct slice tag = SLICE_NONE;
    imap_parser_init(&parser, buf_slice(&reader->text), &door->arena, 1);
    imap_parse_tag(&parser, &tag);
    enum door_step step = bad(door, tag, "A literal is too long.");
    imap_reader_refuse(reader);
    return step;
}

static enum door_step handle(struct imap_door *door, enum imap_reader_event event)
{
    enum door_step step;
    if (event == IMAP_READER_LITERAL)
        return run_literal(door);
    if (event == IMAP_READER_ENDLESS) {
        door_conn_printf(door->conn, "* BYE The line is too long.\r\n");
        return DOOR_CLOSE;
    }
    if (event == IMAP_READER_COMMAND)
        step = door->exchange ? run_response(door) : run_command(door);
    else if (door->exchange) { /* the exchange ends; its answer comes through auth_failed */
        door->malformed = true;
        door_conn_auth_cancel(door->conn);
        step = DOOR_WAIT;
    } else {
        struct imap_parser parser;
        struct slice tag = SLICE_NONE;
        imap_parser_init(&parser, buf_slice(&door->reader.text), &door->arena, 1);
        if (!imap_parse_tag(&parser, &tag) || tag.size > TAG_MAX)
            tag = SLICE_NONE;
        step = bad(door, tag,
                   event == IMAP_READER_TOO_LONG ? "The line is too long."
                                                 : "A line must end with CRLF.");
    }
    if (door->reader.text.data != NULL)
        mem_wipe(door->reader.text.data, door->reader.text.size);
    imap_reader_clear(&door->reader);
    arena_reset(&door->arena);
    return step;
}

static enum door_step imap_door_input(void *state, struct evbuffer *input)
{
    struct imap_door *door = state;
    while (evbuffer_get_length(input) > 0) {
        size_t size = evbuffer_get_contiguous_space(input);
        struct slice in = slice_make(evbuffer_pullup(input, (ev_ssize_t)size), size);
        enum imap_reader_event event = imap_reader_feed(&door->reader, &in);
        /* What was consumed goes before the event is handled: STARTTLS looks at what is left. */
        evbuffer_drain(input, size - in.size);
        if (event == IMAP_READER_MORE)
            continue;
        enum door_step step = handle(door, event);
        if (step != DOOR_AGAIN)
            return step;
    }
    return DOOR_MORE;
}

/* ---- what auth says ------------------------------------------------------------------------ */

static void imap_door_challenge(void *state, struct slice data)
{
    struct imap_door *door = state;
    struct buf line = {0};
    buf_add_str(&line, "+ ");
    base64_encode(data, &line);
    buf_add_str(&line, "\r\n");
    door_conn_write(door->conn, line.data, line.size);
    buf_finish(&line);
    door_conn_resume(door->conn);
}

static const char *failure_text(enum ipc_auth_result result, bool malformed)
{
    switch (result) { /* RFC 5530 3 */
    case IPC_AUTH_NOT_SECURE:
        return "NO [PRIVACYREQUIRED] A password may not be sent without TLS.";
    case IPC_AUTH_UNAVAILABLE:
        return "NO [UNAVAILABLE] Login is not possible at the moment; please try again.";
    case IPC_AUTH_NO_MECHANISM:
        return "NO [CANNOT] There is no such mechanism.";
    case IPC_AUTH_BAD_MESSAGE:
        return "BAD The exchange is not in the form of the mechanism.";
    case IPC_AUTH_CANCELLED:
        return malformed ? "BAD The response is not base64, or too long."
                         : "BAD The exchange was called off.";
    default:
        return "NO [AUTHENTICATIONFAILED] Login failed.";
    }
}

static void imap_door_auth_failed(void *state, enum ipc_auth_result result)
{
    struct imap_door *door = state;
    door->exchange = false;
    door->reader.lines = false;
    answer(door, buf_slice(&door->tag), failure_text(result, door->malformed));
    door_conn_resume(door->conn);
}

static void imap_door_logged_in(void *state, struct slice *tag)
{
    struct imap_door *door = state;
    *tag = buf_slice(&door->tag);
}

static void imap_door_farewell(void *state, const char *reason)
{
    struct imap_door *door = state;
    door_conn_printf(door->conn, "* BYE %s\r\n", reason);
}

static void *imap_door_open(struct door_conn *conn)
{
    struct imap_door *door = MEM_NEW(struct imap_door);
    door->conn = conn;
    imap_reader_init(&door->reader, LINE_MAX_BYTES);
    arena_init(&door->arena);
    if (!door_conn_after_starttls(conn)) {
        door_conn_printf(conn, "* OK [");
        put_capability(door);
        door_conn_printf(conn, "] %s Restante is ready.\r\n", door_hostname(conn));
    }
    return door;
}

static void imap_door_close(void *state)
{
    struct imap_door *door = state;
    if (door->reader.text.data != NULL)
        mem_wipe(door->reader.text.data, door->reader.text.size);
    imap_reader_finish(&door->reader);
    arena_finish(&door->arena);
    buf_finish(&door->tag);
    free(door);
}

const struct door_protocol imap_door = {
    .name = "imap",
    .protocol = IPC_IMAP,
    .open = imap_door_open,
    .close = imap_door_close,
    .input = imap_door_input,
    .challenge = imap_door_challenge,
    .auth_failed = imap_door_auth_failed,
    .logged_in = imap_door_logged_in,
    .farewell = imap_door_farewell,
};
