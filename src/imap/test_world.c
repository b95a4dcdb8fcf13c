/* See test_world.h. The store in memory has no threads, so all is a matter of turns, not of time.
 */
#include "test_world.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "imap/turns.h"
#include "message/match.h"
#include "message/parse.h"

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

static void summarize(void *arg, int fd, struct slice bytes, mailbox_summarized *summarized,
                      void *done_arg)
{
    struct summarizing *summarizing = MEM_NEW(struct summarizing);
    struct summary summary;
    struct arena arena;
    summarizing->world = arg;
    summarizing->summarized = summarized;
    summarizing->arg = done_arg;
    arena_init(&arena);
    parse_message(bytes, &arena, &summary);
    struct buf folded = {0};
    if (match_fold(summarizing->world->fold, &summary, &folded) && folded.size > 0)
        summary.folded = buf_slice(&folded);
    summary_encode(&summary, &summarizing->packed);
    buf_finish(&folded);
    arena_finish(&arena);
    summarizing->event = event_new(summarizing->world->base, -1, 0, summarize_later, summarizing);
    event_active(summarizing->event, EV_TIMEOUT, 1);
}

struct searching {
    session_found *found;
    void *arg;
    enum ipc_search_result result;
    struct buf bits;
    struct event *event;
};

static void search_later(evutil_socket_t fd, short what, void *arg)
{
    struct searching *searching = arg;
    searching->found(searching->arg, searching->result, buf_slice(&searching->bits));
    event_free(searching->event);
    buf_finish(&searching->bits);
    free(searching);
}

/* What a reader process does. */
static void search(void *arg, const struct session_search *search, session_found *found,
                   void *found_arg)
{
    struct world *world = arg;
    struct searching *searching = MEM_NEW(struct searching);
    enum match_problem problem;
    struct match *match = match_create(world->fold, search->charset, search->needles, &problem);
    uint8_t *bytes = mem_alloc(search->size + 1);
    ssize_t got = pread(search->fd, bytes, search->size, 0);
    searching->found = found;
    searching->arg = found_arg;
    searching->result = IPC_SEARCH_OK;
    if (match == NULL)
        searching->result =
            problem == MATCH_PROBLEM_CHARSET ? IPC_SEARCH_BAD_CHARSET : IPC_SEARCH_FAILED;
    else if (got != (ssize_t)search->size || !match_batch(match, slice_make(bytes, search->size),
                                                          search->records, &searching->bits))
        abort();
    match_destroy(&match);
    free(bytes);
    searching->event = event_new(world->base, -1, 0, search_later, searching);
    event_active(searching->event, EV_TIMEOUT, 1);
}

static void on_ended(void *arg, void *session, const char *reason)
{
    struct world *world = arg;
    for (size_t i = 0; i < world->count; i++)
        if (world->connections[i]->session == session) {
            snprintf(world->connections[i]->reason, sizeof(world->connections[i]->reason), "%s",
                     reason);
            world->connections[i]->session = NULL;
        }
}

/* ---- the client's part --------------------------------------------------------------------- */

void connection_take(struct connection *connection)
{
    static uint8_t bytes[65536]; /* on the stack it would be cleared at each call */
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

void world_turn(struct world *world)
{
    event_base_loop(world->base, EVLOOP_NONBLOCK);
}

/* Nothing more can come when the loop has had nothing to do for a while; the store in memory has
 * no threads, so this is a matter of turns, not of time. */
int connection_line(struct connection *connection, struct buf *line)
{
    for (int turns = 0; turns < 300; turns++) {
        connection_take(connection);
        if (cut_line(connection, line))
            return 1;
        if (connection->eof)
            return -1;
        if (!connection->door)
            world_turn(connection->world);
    }
    return 0;
}

void connection_send(struct connection *connection, struct slice bytes)
{
    if (connection->door && !connection->fake.closed)
        fake_door_feed(&connection->fake, bytes);
    while (!connection->door && bytes.size > 0) {
        ssize_t size = send(connection->fd, bytes.data, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0 && errno != EAGAIN)
            return;
        bytes = slice_sub(bytes, size > 0 ? (size_t)size : 0, bytes.size);
        world_turn(connection->world);
        connection_take(connection);
    }
}

struct connection *world_connect(struct world *world, bool door)
{
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
    connection_line(connection, &line);
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
        world_turn(world);
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

void world_deliver(struct world *world, struct slice mailbox, struct slice message)
{
    struct mailbox_source source = {
        .bytes = {memfd_create("message", MFD_ALLOW_SEALING), NULL, message.size},
        .date_us = 837596665ull * 1000000,
        .zone_minutes = -420};
    if (write(source.bytes.fd, message.data, message.size) != (ssize_t)message.size)
        abort();
    world->done = false;
    mailbox_append(world->account, mailbox, &source, 1, on_appended, world);
    wait_done(world);
    close(source.bytes.fd);
}

void world_open(struct world *world)
{
    *world = (struct world){.base = event_base_new(), .ref = {.id = id_random()}};
    world->store = store_mem_open(world->base);
    world->fold = fold_create();
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
                                        .search = search,
                                        .searching = imap_turns_create(world->base, 2),
                                        .arg = world};
    world->account = mailbox_account_open(world->mailboxes, &world->ref, on_account, world);
    wait_done(world);
}

bool world_close(struct world *world)
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
                world_turn(world);
            good = good && connection->session == NULL;
        }
        buf_finish(&connection->input);
    }
    for (size_t i = 0; i < world->count; i++)
        free(world->connections[i]);
    mailbox_account_release(&world->account);
    mailbox_env_destroy(&world->mailboxes);
    store_close(&world->store);
    fold_destroy(&world->fold);
    imap_turns_destroy(&world->host.searching);
    event_base_free(world->base);
    return good;
}
