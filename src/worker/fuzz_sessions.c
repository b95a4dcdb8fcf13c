/*
 * A worker's part as a whole, fed by scripts: two IMAP sessions and a POP3 session of one account,
 * commands, vanishing clients and deliveries in any order, over the mailbox layer over the store in
 * memory. Properties: every command of the grammar gets exactly one answer, in order, in a stream
 * that a reader of its own can follow (sizes of literals, quotes, dots); whatever was said, also
 * outside of the grammar, afterwards a new session sees mail whose counts, sizes and UIDs agree;
 * and no session outlives its client.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "imap/test_world.h"
#include "door/fuzz_script.h"

enum { STEPS_MAX = 40, OPENED_MAX = 8, QUIET_TURNS = 60, LONG_TURNS = 5000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct client {
    struct connection *connection;
    bool pop3, quit;
    unsigned sent;            /* commands */
    bool many[STEPS_MAX + 1]; /* POP3: which have answers of many lines */
};

struct play {
    struct world world;
    struct script script;
    struct client clients[3]; /* the last speaks POP3 */
    bool damaged;
};

/* ---- streams of answers --------------------------------------------------------------------- */

/* Bytes of a line's literal that begins behind the line; false: it has none. */
static bool literal_of(struct slice line, size_t *size)
{
    if (line.size < 3 || line.data[line.size - 1] != '}')
        return false;
    size_t at = line.size - 1;
    while (at > 0 && ascii_is_digit(line.data[at - 1]))
        at--;
    uint64_t value = 0;
    if (at == 0 || line.data[at - 1] != '{' ||
        !slice_u64(slice_sub(line, at, line.size - 1 - at), &value))
        return false;
    *size = (size_t)value;
    return true;
}

static void check_quotes(struct slice line)
{
    bool quoted = false;
    for (size_t i = 0; i < line.size; i++) {
        ASSERT(line.data[i] != '\r' && line.data[i] != '\n' && line.data[i] != '\0');
        if (quoted && line.data[i] == '\\')
            i++;
        else if (line.data[i] == '"')
            quoted = !quoted;
    }
    ASSERT(!quoted);
}

/* One line with its literals; true: it is the answer to that command. */
static bool read_answer(struct slice *stream, unsigned number)
{
    bool start = true, mine = false;
    char tag[16];
    snprintf(tag, sizeof(tag), "t%u ", number);
    for (;;) {
        const uint8_t *end =
            stream->size < 2 ? NULL : memmem(stream->data, stream->size, "\r\n", 2);
        ASSERT(end != NULL);
        struct slice line = slice_sub(*stream, 0, (size_t)(end - stream->data));
        *stream = slice_sub(*stream, line.size + 2, stream->size);
        if (start) {
            mine = slice_starts(line, slice_str(tag));
            ASSERT(mine || line.data[0] == '*' || line.data[0] == '+');
        }
        size_t size;
        start = false;
        bool text = mine || line.data[0] == '+'; /* words for people may quote what they like */
        if (text || !literal_of(line, &size)) {
            if (!text && slice_starts(line, SLICE_LITERAL("* ")))
                check_quotes(line);
            return mine;
        }
        ASSERT(size <= stream->size);
        *stream = slice_sub(*stream, size, stream->size);
    }
}

static unsigned answered_imap(struct client *client)
{
    struct slice stream = buf_slice(&client->connection->input);
    unsigned number = 0;
    while (stream.size > 0)
        if (read_answer(&stream, number))
            number++;
    return number;
}

static unsigned answered_pop3(struct client *client)
{
    struct slice stream = buf_slice(&client->connection->input);
    unsigned number = 0;
    while (stream.size > 0) {
        const uint8_t *end = memmem(stream.data, stream.size, "\r\n", 2);
        ASSERT(end != NULL);
        bool good = slice_starts(stream, SLICE_LITERAL("+OK"));
        ASSERT(good || slice_starts(stream, SLICE_LITERAL("-ERR ")));
        stream = slice_sub(stream, (size_t)(end - stream.data) + 2, stream.size);
        bool many = good && number > 0 && client->many[number - 1]; /* first comes the greeting */
        number++;
        if (!many)
            continue;
        if (!slice_starts(stream, SLICE_LITERAL(".\r\n"))) {
            end = memmem(stream.data, stream.size, "\r\n.\r\n", 5);
            ASSERT(end != NULL);
            stream = slice_sub(stream, (size_t)(end - stream.data) + 2, stream.size);
        }
        stream = slice_sub(stream, 3, stream.size);
    }
    return number == 0 ? 0 : number - 1;
}

/* ---- clients -------------------------------------------------------------------------------- */

static struct connection *connect_pop3(struct world *world)
{
    struct connection *connection = MEM_NEW(struct connection);
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        abort();
    connection->world = world;
    connection->fd = fds[0];
    world->connections[world->count++] = connection;
    struct session_start start = {.fd = fds[1],
                                  .account = world->ref,
                                  .name = SLICE_LITERAL("alice"),
                                  .client = SLICE_LITERAL("192.0.2.7"),
                                  .id = "test"};
    connection->session = pop3_session.create(&world->host, &start);
    return connection;
}

static void turns(struct play *play)
{
    for (unsigned quiet = 0; quiet < QUIET_TURNS; quiet++) {
        world_turn(&play->world);
        for (size_t i = 0; i < play->world.count; i++) {
            size_t before = play->world.connections[i]->input.size;
            connection_take(play->world.connections[i]);
            if (play->world.connections[i]->input.size != before)
                quiet = 0;
        }
    }
}

/* Of those that end before all is answered. */
static bool may_end(const struct client *client)
{
    static const char deleted[] = "* BYE The mailbox was deleted.\r\n"; /* by another session */
    struct slice said = buf_slice(&client->connection->input);
    size_t size = sizeof(deleted) - 1;
    return client->quit ||
           (said.size >= size &&
            slice_equal_str(slice_sub(said, said.size - size, size), deleted));
}

static void finish(struct play *play, struct client *client)
{
    struct connection *connection = client->connection;
    for (unsigned rounds = 0; connection != NULL && !play->damaged; rounds += QUIET_TURNS) {
        turns(play);
        unsigned answered = client->pop3 ? answered_pop3(client) : answered_imap(client);
        if (answered == client->sent || (connection->eof && may_end(client)))
            break;
        ASSERT(rounds < LONG_TURNS);
    }
    if (connection != NULL)
        shutdown(connection->fd, SHUT_RDWR);
    *client = (struct client){.pop3 = client->pop3};
}

static void say(struct play *play, struct client *client)
{
    struct buf bytes = {0};
    if (client->connection == NULL) {
        if (play->world.count == OPENED_MAX)
            return;
        client->connection =
            client->pop3 ? connect_pop3(&play->world) : world_connect(&play->world, false);
    }
    if (client->quit)
        return;
    if (client->pop3) {
        script_pop3(&play->script, &bytes, &client->many[client->sent++]);
        client->quit = slice_starts(buf_slice(&bytes), SLICE_LITERAL("QUIT"));
    } else {
        buf_printf(&bytes, "t%u ", client->sent++);
        size_t start = bytes.size;
        script_imap(&play->script, &bytes);
        client->quit =
            slice_starts(slice_sub(buf_slice(&bytes), start, 6), SLICE_LITERAL("LOGOUT"));
    }
    if (play->damaged)
        script_damage(&play->script, &bytes);
    connection_send(client->connection, buf_slice(&bytes));
    buf_finish(&bytes);
}

static void step(struct play *play)
{
    unsigned what = script_pick(&play->script, 16);
    struct buf message = {0};
    if (what == 0) {
        turns(play);
    } else if (what == 1) {
        finish(play, &play->clients[script_pick(&play->script, 3)]);
    } else if (what == 2) {
        script_message(&play->script, &message);
        world_deliver(&play->world, SLICE_LITERAL("INBOX"), buf_slice(&message));
        buf_finish(&message);
    } else {
        say(play, &play->clients[what < 9 ? 0 : what < 14 ? 1 : 2]);
    }
}

/* ---- afterwards ----------------------------------------------------------------------------- */

static uint64_t number_behind(struct slice text, const char *word)
{
    uint64_t value = 0;
    const uint8_t *at = memmem(text.data, text.size, word, strlen(word));
    ASSERT(at != NULL);
    for (at += strlen(word); ascii_is_digit(*at); at++)
        value = value * 10 + (*at - '0');
    return value;
}

/* Every message: its sequence number, a larger UID than the one before, as many bytes as it says.
 */
static void check_mail(struct play *play)
{
    static const char ask[] = "t0 STATUS INBOX (MESSAGES UIDNEXT)\r\nt1 SELECT INBOX\r\n"
                              "t2 UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])\r\nt3 LOGOUT\r\n";
    struct connection *connection = world_connect(&play->world, false);
    connection_send(connection, slice_str(ask));
    for (unsigned rounds = 0; !connection->eof; rounds++) {
        turns(play);
        ASSERT(rounds < LONG_TURNS / QUIET_TURNS);
    }
    struct slice stream = buf_slice(&connection->input);
    unsigned number = 0;
    uint64_t messages = number_behind(stream, "(MESSAGES ");
    uint64_t next = number_behind(stream, "UIDNEXT "), last = 0, seen = 0;
    while (stream.size > 0) {
        struct slice line = slice_sub(
            stream, 0,
            (size_t)((const uint8_t *)memmem(stream.data, stream.size, "\r\n", 2) - stream.data));
        if (memmem(line.data, line.size, " FETCH (", 8) != NULL) {
            uint64_t uid = number_behind(line, "UID ");
            ASSERT(number_behind(line, "* ") == ++seen && uid > last && uid < next);
            size_t size;
            ASSERT(literal_of(line, &size) && size == number_behind(line, "RFC822.SIZE "));
            last = uid;
        }
        number += read_answer(&stream, number);
    }
    ASSERT(seen == messages && number == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool begun;
    struct play play = {.script = {data, size, 0}};
    if (size < 2 || size > 2000)
        return 0;
    if (!begun) {
        signal(SIGPIPE, SIG_IGN);
        log_init("fuzz", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    }
    begun = true;
    play.damaged = script_pick(&play.script, 4) == 3;
    play.clients[2].pop3 = true;
    world_open(&play.world);
    if (!play.damaged)
        play.world.settings.limit_bad_commands = 1000;
    for (unsigned i = 0; i < STEPS_MAX && !script_over(&play.script); i++)
        step(&play);
    for (size_t i = 0; i < 3; i++)
        finish(&play, &play.clients[i]);
    turns(&play);
    check_mail(&play);
    ASSERT(world_close(&play.world));
    return 0;
}
