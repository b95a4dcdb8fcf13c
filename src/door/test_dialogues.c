/*
 * Plays tests/dialogues/lmtp and tests/dialogues/pop3 (README.md there): LMTP, and POP3 with "USE
 * door", against a door in memory; else POP3 sessions over the mailbox layer over the store in
 * memory. Each in whole lines and byte by byte.
 *
 * usage: test_dialogues lmtp|pop3 DIRECTORY
 */
#include "mailbox/test_lab.h"

#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tests/dialogues/dialogue.h"
#include "base/log.h"
#include "door/fake_door.h"
#include "io/fd.h"
#include "worker/session.h"

struct connection {
    bool door, eof;
    struct fake_door fake;
    size_t taken; /* of fake.output */
    int fd;       /* the client's end of a session */
    struct buf input;
};

static struct lab lab;
static struct settings settings;
static struct session_host host;
static const struct door_protocol *protocol;
static struct connection *connections[10];
static size_t connection_count;
static int sessions;

static void on_ended(void *arg, void *session, const char *reason)
{
    sessions--;
}

static void take_input(struct connection *c)
{
    uint8_t bytes[65536];
    ssize_t size;
    if (c->door) {
        struct buf *output = &c->fake.output;
        buf_add(&c->input, output->data + c->taken, output->size - c->taken);
        c->taken = output->size;
        c->eof = c->fake.closed;
        return;
    }
    while ((size = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        buf_add(&c->input, bytes, (size_t)size);
    }
    c->eof = c->eof || size == 0 || errno == ECONNRESET;
}

static bool cut_line(struct connection *c, struct buf *line)
{
    struct buf *input = &c->input;
    size_t end = slice_find(buf_slice(input), '\n');
    if (end == input->size) {
        return false;
    }
    buf_add(line, input->data, end > 0 && input->data[end - 1] == '\r' ? end - 1 : end);
    memmove(input->data, input->data + end + 1, input->size - end - 1);
    input->size -= end + 1;
    return true;
}

/* Nothing moves here but by turns of the loop: after so many, nothing more can come. */
static enum dialogue_read client_read(void *arg, struct buf *line)
{
    struct connection *c = arg;
    for (int turns = 0; turns < 300; turns++) {
        take_input(c);
        if (cut_line(c, line)) {
            return DIALOGUE_LINE;
        }
        if (c->eof) {
            return DIALOGUE_CLOSED;
        }
        event_base_loop(lab.base, EVLOOP_NONBLOCK);
    }
    return DIALOGUE_NOTHING;
}

static void client_send(void *arg, struct slice bytes)
{
    struct connection *c = arg;
    if (c->door) {
        fake_door_feed(&c->fake, bytes);
        return;
    }
    while (bytes.size > 0) {
        ssize_t size = send(c->fd, bytes.data, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0 && errno != EAGAIN) {
            return;
        }
        bytes = slice_sub(bytes, size > 0 ? (size_t)size : 0, bytes.size);
        event_base_loop(lab.base, EVLOOP_NONBLOCK);
    }
}

static void *client_open(void *arg, int number, bool door)
{
    struct connection *c = calloc(1, sizeof(*c));
    connections[connection_count++] = c;
    c->door = door || protocol == &lmtp_door;
    if (c->door) {
        fake_door_init(&c->fake);
        c->fake.settings.limit_bad_commands = 10;
        c->fake.settings.message_size = 1000;
        c->fake.settings.limit_recipients = 5;
        c->fake.settings.limit_line = 2000;
        fake_door_open(&c->fake, protocol);
        return c;
    }
    int pair[2];
    struct buf greeting = {0};
    if (!fd_socketpair(SOCK_STREAM, pair)) {
        abort();
    }
    c->fd = pair[0];
    struct session_start start = {.fd = pair[1],
                                  .account = lab.ref,
                                  .name = SLICE_LITERAL("alice"),
                                  .client = SLICE_LITERAL("192.0.2.7"),
                                  .id = "test"};
    sessions++;
    pop3_session.create(&host, &start);
    client_read(c, &greeting);
    buf_finish(&greeting);
    return c;
}

static void deliver(void *arg, struct slice mailbox, struct slice message)
{
    char *text = slice_strdup(message);
    int fd = lab_memfd(text);
    struct answer answer = {0};
    struct mailbox_source source = {.bytes = {fd, NULL, message.size}};
    lab_account(&lab);
    mailbox_append(lab.account, mailbox, &source, 1, on_append, &answer);
    lab_wait(&lab, &answer);
    if (answer.result != MAILBOX_OK) {
        abort();
    }
    answer_finish(&answer);
    mailbox_account_release(&lab.account);
    close(fd);
    free(text);
}

static void close_all(void)
{
    for (size_t i = 0; i < connection_count; i++) {
        struct connection *c = connections[i];
        if (c->door) {
            fake_door_finish(&c->fake);
        } else {
            close(c->fd);
        }
        buf_finish(&c->input);
        free(c);
    }
    connection_count = 0;
    for (int turns = 0; turns < 1000 && sessions > 0; turns++) {
        event_base_loop(lab.base, EVLOOP_NONBLOCK);
    }
}

static bool play(const char *path, bool byte_by_byte)
{
    static const struct dialogue_peer peer = {client_open, client_send, client_read, deliver, NULL};
    struct buf problem = {0};
    lab_init(&lab);
    settings =
        (struct settings){.limit_bad_commands = 10, .timeout_pop3 = 600, .timeout_stall = 300};
    host = (struct session_host){
        .base = lab.base, .mailboxes = lab.env, .settings = &settings, .ended = on_ended};
    bool good = dialogue_play(path, byte_by_byte, &peer, &problem);
    if (!good) {
        fprintf(stderr, "FAILED %s\n", (char *)problem.data);
    }
    close_all();
    if (sessions != 0) {
        fprintf(stderr, "FAILED %s: a session outlives its client\n", path);
        good = false;
    }
    lab_finish(&lab);
    buf_finish(&problem);
    return good;
}

int main(int argc, char **argv)
{
    char pattern[4096];
    glob_t files;
    int failed = 0;
    if (argc != 3) {
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    protocol = strcmp(argv[1], "lmtp") == 0 ? &lmtp_door : &pop3_door;
    snprintf(pattern, sizeof(pattern), "%s/*.dlg", argv[2]);
    if (glob(pattern, 0, NULL, &files) != 0) {
        return 1;
    }
    for (size_t i = 0; i < files.gl_pathc; i++) {
        failed += !(play(files.gl_pathv[i], false) && play(files.gl_pathv[i], true));
    }
    printf("%zu dialogues, %d failed\n", files.gl_pathc, failed);
    globfree(&files);
    return failed > 0;
}
