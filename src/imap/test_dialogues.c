/*
 * Plays tests/dialogues/imap: sessions of imap/session.c over the mailbox layer over the store in
 * memory, all in this process and on one loop; "USE door" plays the part before login against a
 * door in memory. Each dialogue is played in whole lines and byte by byte.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tests/dialogues/dialogue.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "door/fake_door.h"
#include "message/parse.h"
#include "store/store.h"
#include "worker/session.h"

struct world {
    struct event_base *base;
    struct store *store;
    struct mailbox_env *mailboxes;
    struct mailbox_account *account;
    struct mailbox_account_ref ref;
    struct settings settings;
    struct session_host host;
    bool done;
    enum mailbox_result result;
    struct connection *connections[10];
    size_t count;
};

struct connection {
    struct world *world;
    int fd;        /* the client's end */
    void *session; /* NULL: ended */
    bool door, eof;
    struct fake_door fake;
    size_t taken; /* of fake.output */
    struct buf input;
};

/* ---- the worker's part --------------------------------------------------------------------- */

static struct store *volume(void *arg, uint32_t number)
{
    return ((struct world *)arg)->store;
}

struct summarizing {
    struct world *world;
    mailbox_summarized *summarized;
    void *arg;
    struct buf packed;
    struct event *event;
};

static void summarize_later(evutil_socket_t fd, short what, void *arg)
{
    struct summarizing *summarizing = arg;
    summarizing->summarized(summarizing->arg, buf_slice(&summarizing->packed));
    event_free(summarizing->event);
    buf_finish(&summarizing->packed);
    free(summarizing);
}

static void summarize(void *arg, int fd, uint64_t size, mailbox_summarized *summarized,
                      void *done_arg)
{
    struct summarizing *summarizing = MEM_NEW(struct summarizing);
    struct summary summary;
    struct arena arena;
    summarizing->world = arg;
    summarizing->summarized = summarized;
    summarizing->arg = done_arg;
    uint8_t *bytes = mem_alloc(size + 1);
    ssize_t got = pread(fd, bytes, size, 0);
    arena_init(&arena);
    parse_message(slice_make(bytes, got > 0 ? (size_t)got : 0), &arena, &summary);
    summary_encode(&summary, &summarizing->packed);
    arena_finish(&arena);
    free(bytes);
    summarizing->event = event_new(summarizing->world->base, -1, 0, summarize_later, summarizing);
    event_active(summarizing->event, EV_TIMEOUT, 1);
}

static void on_ended(void *arg, void *session, const char *reason)
{
    struct world *world = arg;
    for (size_t i = 0; i < world->count; i++)
        if (world->connections[i]->session == session)
            world->connections[i]->session = NULL;
}

/* ---- the client's part --------------------------------------------------------------------- */

static void take_input(struct connection *connection)
{
    uint8_t bytes[65536];
    ssize_t size;
    if (connection->door) {
        struct buf *output = &connection->fake.output;
        buf_add(&connection->input, output->data + connection->taken,
                output->size - connection->taken);
        connection->taken = output->size;
        connection->eof = connection->fake.closed;
        return;
    }
    while ((size = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        buf_add(&connection->input, bytes, (size_t)size);
    if (size == 0 || errno == ECONNRESET)
        connection->eof = true;
}

static bool cut_line(struct connection *connection, struct buf *line)
{
    struct buf *input = &connection->input;
    size_t end = slice_find(buf_slice(input), '\n');
    if (end == input->size)
        return false;
    buf_add(line, input->data, end > 0 && input->data[end - 1] == '\r' ? end - 1 : end);
    memmove(input->data, input->data + end + 1, input->size - end - 1);
    input->size -= end + 1;
    return true;
}

static void run_loop(struct world *world)
{
    event_base_loop(world->base, EVLOOP_NONBLOCK);
}

/* Nothing more can come when the loop has had nothing to do for a while; the store in memory has
 * no threads, so this is a matter of turns, not of time. */
static enum dialogue_read client_read(void *arg, struct buf *line)
{
    struct connection *connection = arg;
    for (int turns = 0; turns < 300; turns++) {
        take_input(connection);
        if (cut_line(connection, line))
            return DIALOGUE_LINE;
        if (connection->eof)
            return DIALOGUE_CLOSED;
        if (!connection->door)
            run_loop(connection->world);
    }
    return DIALOGUE_NOTHING;
}

static void client_send(void *arg, struct slice bytes)
{
    struct connection *connection = arg;
    if (connection->door && !connection->fake.closed)
        fake_door_feed(&connection->fake, bytes);
    while (!connection->door && bytes.size > 0) {
        ssize_t size = send(connection->fd, bytes.data, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0 && errno != EAGAIN)
            return;
        bytes = slice_sub(bytes, size > 0 ? (size_t)size : 0, bytes.size);
        run_loop(connection->world);
        take_input(connection);
    }
}

static void *client_open(void *arg, int number, bool door)
{
    struct world *world = arg;
    struct connection *connection = MEM_NEW(struct connection);
    connection->world = world;
    connection->door = door;
    world->connections[world->count++] = connection;
    if (door) {
        fake_door_init(&connection->fake);
        connection->fake.settings.limit_bad_commands = 5;
        fake_door_open(&connection->fake, &imap_door);
        return connection;
    }
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        abort();
    connection->fd = fds[0];
    struct session_start start = {.fd = fds[1],
                                  .account = world->ref,
                                  .name = SLICE_LITERAL("alice"),
                                  .client = SLICE_LITERAL("192.0.2.7"),
                                  .tag = SLICE_LITERAL("login"),
                                  .id = "test"};
    connection->session = imap_session.create(&world->host, &start);
    struct buf line = {0};
    client_read(connection, &line);
    buf_u8(&line, 0);
    if (strncmp((char *)line.data, "login OK [CAPABILITY IMAP4rev1 ", 31) != 0) {
        fprintf(stderr, "no greeting: %s\n", (char *)line.data);
        abort();
    }
    buf_finish(&line);
    return connection;
}

/* ---- a world ------------------------------------------------------------------------------- */

static void wait_done(struct world *world)
{
    for (int turns = 0; !world->done && turns < 10000; turns++)
        run_loop(world);
    if (!world->done || world->result != MAILBOX_OK) {
        fprintf(stderr, "the mailbox layer answers: %d\n", world->result);
        abort();
    }
}

static void on_account(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    struct world *world = arg;
    world->done = true;
    world->result = result;
}

static void on_appended(void *arg, enum mailbox_result result,
                        const struct mailbox_appended *appended)
{
    struct world *world = arg;
    world->done = true;
    world->result = result;
}

static void deliver(void *arg, struct slice mailbox, struct slice message)
{
    struct world *world = arg;
    struct mailbox_source source = {.fd = memfd_create("message", MFD_ALLOW_SEALING),
                                    .size = message.size,
                                    .date_us = 837596665ull * 1000000,
                                    .zone_minutes = -420};
    if (write(source.fd, message.data, message.size) != (ssize_t)message.size)
        abort();
    world->done = false;
    mailbox_append(world->account, mailbox, &source, 1, on_appended, world);
    wait_done(world);
    close(source.fd);
}

static void open_world(struct world *world)
{
    *world = (struct world){.base = event_base_new(), .ref = {.id = id_random()}};
    world->store = store_mem_open(world->base);
    struct mailbox_options options = {.base = world->base,
                                      .volume = volume,
                                      .summarize = summarize,
                                      .arg = world,
                                      .grace_s = 3600,
                                      .mailboxes_max = 100,
                                      .keywords_max = 100};
    world->mailboxes = mailbox_env_create(&options);
    settings_defaults(&world->settings);
    world->settings.limit_bad_commands = 5;
    world->settings.limit_line = 20000;
    world->settings.limit_literal = 20000;
    world->settings.message_size = 5000;
    world->host = (struct session_host){.base = world->base,
                                        .mailboxes = world->mailboxes,
                                        .settings = &world->settings,
                                        .ended = on_ended,
                                        .arg = world};
    world->account = mailbox_account_open(world->mailboxes, &world->ref, on_account, world);
    wait_done(world);
}

static bool close_world(struct world *world)
{
    bool good = true;
    for (size_t i = 0; i < world->count; i++) {
        struct connection *connection = world->connections[i];
        if (connection->door) {
            fake_door_close(&connection->fake);
            fake_door_finish(&connection->fake);
        } else {
            close(connection->fd); /* a vanished client ends its session */
            for (int turns = 0; turns < 1000 && connection->session != NULL; turns++)
                run_loop(world);
            good = good && connection->session == NULL;
        }
        buf_finish(&connection->input);
    }
    for (size_t i = 0; i < world->count; i++)
        free(world->connections[i]);
    mailbox_account_release(&world->account);
    mailbox_env_destroy(&world->mailboxes);
    store_close(&world->store);
    event_base_free(world->base);
    return good;
}

static bool play(const char *path, bool byte_by_byte)
{
    struct world world;
    struct buf problem = {0};
    open_world(&world);
    const struct dialogue_peer peer = {client_open, client_send, client_read, deliver, &world};
    bool good = dialogue_play(path, byte_by_byte, &peer, &problem);
    if (!good)
        fprintf(stderr, "FAILED %s\n", (char *)problem.data);
    if (!close_world(&world)) {
        fprintf(stderr, "FAILED %s: a session outlives its client\n", path);
        good = false;
    }
    buf_finish(&problem);
    return good;
}

/* argv: the files, or directories of *.dlg. */
int main(int argc, char **argv)
{
    int played = 0, failed = 0;
    signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    for (int i = 1; i < argc; i++) {
        struct buf pattern = {0};
        glob_t files;
        buf_printf(&pattern, strstr(argv[i], ".dlg") == NULL ? "%s/*.dlg" : "%s", argv[i]);
        buf_u8(&pattern, 0);
        if (glob((char *)pattern.data, 0, NULL, &files) == 0) {
            for (size_t f = 0; f < files.gl_pathc; f++) {
                bool good = play(files.gl_pathv[f], false) && play(files.gl_pathv[f], true);
                played++;
                failed += !good;
            }
            globfree(&files);
        }
        buf_finish(&pattern);
    }
    printf("%d dialogues, %d failed\n", played, failed);
    return played == 0 || failed > 0;
}
