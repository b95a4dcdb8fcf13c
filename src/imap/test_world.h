/*
 * Test support: a worker's part in this process, on one loop: sessions of imap/session.c (or the
 * door's part, against a door in memory) over the mailbox layer over the store in memory.
 */
#pragma once
#include "base/buf.h"
#include "door/fake_door.h"
#include "store/store.h"
#include "worker/session.h"

struct event_base;

struct world {
    struct event_base *base;
    struct store *store;
    struct fold *fold; /* of the reader's part */
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
    int fd;          /* the client's end */
    void *session;   /* NULL: ended */
    char reason[20]; /* why it ended */
    bool door, eof;
    struct fake_door fake;
    size_t taken; /* of fake.output */
    struct buf input;
};

void world_open(struct world *world);
/* False: a session outlived its client. */
bool world_close(struct world *world);
/* One turn of the loop. */
void world_turn(struct world *world);
/* Stores a message, its internal date 17-Jul-1996 02:44:25 -0700. */
void world_deliver(struct world *world, struct slice mailbox, struct slice message);
/* After login (what was said then is taken), or the door with its greeting. */
struct connection *world_connect(struct world *world, bool door);

/* Takes what has come into connection->input, sets eof. */
void connection_take(struct connection *connection);
/* Sends all of it, with turns of the loop in between. */
void connection_send(struct connection *connection, struct slice bytes);
/* The next line without its end; 0: there is none and nothing more can come, -1: closed, 1: a line.
 */
int connection_line(struct connection *connection, struct buf *line);
