/*
 * Other programs ask whether a password is right: the part of Dovecot's auth-client protocol
 * (version 1) that Postfix' smtpd_sasl_type = dovecot uses, on a Unix socket. Lines of words set
 * apart by tabs:
 *
 *   S: VERSION 1 1, MECH PLAIN plaintext, MECH LOGIN plaintext, SPID, CUID, COOKIE, DONE
 *   C: VERSION 1 n, CPID pid
 *   C: AUTH id mechanism service=smtp [secured] [rip=address] ... [resp=base64]
 *   C: CONT id base64
 *   S: CONT id base64 | OK id user=name | FAIL id [user=name] [temp] [reason=text]
 *
 * One AUTH at a time for a connection, which is what Postfix does; what comes behind waits. rip is
 * believed: whoever may open the socket is trusted to say for whom it asks, and wrong passwords
 * slow that address down, not Postfix. Without "secured" a password counts as sent in clear text.
 * Who may log in is auth's to say; this passes secrets on and wipes them.
 */
#include "authsocket/auth_door.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"

enum { RESPONSE_MAX = 16384, LINE_MAX_BYTES = 24 * 1024, ID_MAX = 20 };

struct auth_door {
    struct door_conn *conn;
    struct buf line;
    bool asked;    /* an AUTH is in work */
    bool expected; /* its CONT */
    char id[ID_MAX + 1];
};

static bool id_valid(struct slice id)
{
    uint64_t number;
    return id.size <= ID_MAX && slice_u64(id, &number);
}

static void fail(struct auth_door *door, const char *why)
{
    door_conn_printf(door->conn, "FAIL\t%s%s\n", door->id, why);
    door->asked = door->expected = false;
}

/* ---- from the client ------------------------------------------------------------------------ */

struct request {
    struct slice client, initial; /* initial.data NULL: none */
    struct buf decoded;
    bool secure, good;
};

static bool client_valid(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    }
    return text.size > 0 && text.size < 64;
}

static void parameters_take(struct slice rest, struct request *request)
{
    static const struct slice rip = {(const uint8_t *)"rip=", 4};
    static const struct slice resp = {(const uint8_t *)"resp=", 5};
    while (rest.size > 0) {
        struct slice word = slice_split(&rest, '\t');
        if (slice_equal_str(word, "secured") || slice_starts(word, SLICE_LITERAL("secured="))) {
            request->secure = true;
        } else if (slice_starts(word, rip) && client_valid(slice_sub(word, 4, word.size))) {
            request->client = slice_sub(word, 4, word.size);
        } else if (slice_starts(word, resp)) {
            request->good = base64_decode(slice_sub(word, 5, word.size), &request->decoded) &&
                            request->decoded.size <= RESPONSE_MAX;
            request->initial =
                request->decoded.size > 0 ? buf_slice(&request->decoded) : SLICE_LITERAL("");
        }
    }
}

static enum door_step ask(struct auth_door *door, struct slice rest)
{
    struct slice id = slice_split(&rest, '\t'), mechanism = slice_split(&rest, '\t');
    struct request request = {.client = slice_str(door_conn_client(door->conn)), .good = true};
    if (!id_valid(id))
        return DOOR_CLOSE;
    memcpy(door->id, id.data, id.size);
    door->id[id.size] = '\0';
    parameters_take(rest, &request);
    if (!request.good || (!slice_equal_nocase_str(mechanism, "PLAIN") &&
                          !slice_equal_nocase_str(mechanism, "LOGIN"))) {
        fail(door, request.good ? "\treason=Unsupported authentication mechanism"
                                : "\treason=Invalid base64 data");
    } else {
        door->asked = true;
        door_conn_authenticate_for(door->conn, request.client, request.secure, mechanism,
                                   request.initial);
    }
    mem_wipe(request.decoded.data, request.decoded.size);
    buf_finish(&request.decoded);
    return door->asked ? DOOR_WAIT : DOOR_AGAIN;
}

static enum door_step go_on(struct auth_door *door, struct slice rest)
{
    struct slice id = slice_split(&rest, '\t');
    struct buf data = {0};
    if (!door->expected || !slice_equal_str(id, door->id))
        return DOOR_CLOSE;
    door->expected = false;
    if (base64_decode(rest, &data) && data.size <= RESPONSE_MAX)
        door_conn_auth_response(door->conn, buf_slice(&data));
    else
        door_conn_auth_cancel(door->conn);
    mem_wipe(data.data, data.size);
    buf_finish(&data);
    return DOOR_WAIT;
}

static enum door_step run(struct auth_door *door, struct slice line)
{
    struct slice verb = slice_split(&line, '\t');
    if (slice_equal_str(verb, "CONT"))
        return go_on(door, line);
    if (door->expected) { /* the client gave that one up */
        door->expected = false;
        door_conn_auth_cancel(door->conn);
        return DOOR_WAIT;
    }
    if (slice_equal_str(verb, "AUTH"))
        return ask(door, line);
    if (slice_equal_str(verb, "VERSION"))
        return slice_equal_str(slice_split(&line, '\t'), "1") ? DOOR_AGAIN : DOOR_CLOSE;
    return DOOR_AGAIN; /* CPID, CANCEL, and what newer clients say */
}

static enum door_step input(void *state, struct evbuffer *bytes)
{
    struct auth_door *door = state;
    struct evbuffer_ptr end = evbuffer_search_eol(bytes, NULL, NULL, EVBUFFER_EOL_LF);
    size_t size = end.pos >= 0 ? (size_t)end.pos : evbuffer_get_length(bytes);
    if (size > LINE_MAX_BYTES)
        return DOOR_CLOSE;
    if (end.pos < 0)
        return DOOR_MORE;
    buf_clear(&door->line);
    evbuffer_remove(bytes, buf_extend(&door->line, size), size);
    evbuffer_drain(bytes, 1);
    enum door_step step = run(door, buf_slice(&door->line));
    mem_wipe(door->line.data, door->line.size);
    return step;
}

/* ---- from auth ------------------------------------------------------------------------------ */

static void challenge(void *state, struct slice data)
{
    struct auth_door *door = state;
    struct buf text = {0};
    base64_encode(data, &text);
    door_conn_printf(door->conn, "CONT\t%s\t%.*s\n", door->id, SLICE_PRINT(buf_slice(&text)));
    buf_finish(&text);
    door->expected = true;
    door_conn_resume(door->conn);
}

static void auth_failed(void *state, enum ipc_auth_result result)
{
    struct auth_door *door = state;
    fail(door, result == IPC_AUTH_UNAVAILABLE  ? "\ttemp"
               : result == IPC_AUTH_NOT_SECURE ? "\treason=Not without TLS"
                                               : "");
    door_conn_resume(door->conn);
}

static void verified(void *state, struct slice name)
{
    struct auth_door *door = state;
    door_conn_printf(door->conn, "OK\t%s\tuser=%.*s\n", door->id, SLICE_PRINT(name));
    door->asked = false;
    door_conn_resume(door->conn);
}

/* ---- the connection ------------------------------------------------------------------------- */

static void *open_door(struct door_conn *conn)
{
    static unsigned clients;
    struct auth_door *door = MEM_NEW(struct auth_door);
    door->conn = conn;
    door_conn_printf(conn,
                     "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n"
                     "SPID\t%ld\nCUID\t%u\nCOOKIE\t%s\nDONE\n",
                     (long)getpid(), ++clients, id_text(id_random()).text);
    return door;
}

static void close_door(void *state)
{
    struct auth_door *door = state;
    buf_finish(&door->line);
    free(door);
}

static void logged_in(void *state, struct slice *tag)
{
}

static void farewell(void *state, const char *reason)
{
}

const struct door_protocol auth_door = {
    .name = "auth",
    .protocol = IPC_SASL,
    .open = open_door,
    .close = close_door,
    .input = input,
    .challenge = challenge,
    .auth_failed = auth_failed,
    .verified = verified,
    .logged_in = logged_in,
    .farewell = farewell,
};
