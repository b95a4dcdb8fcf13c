/*
 * Plays a dialogue (README.md) against whoever can open a connection, send bytes and read lines.
 */
#pragma once
#include "base/buf.h"

enum dialogue_read { DIALOGUE_LINE, DIALOGUE_NOTHING, DIALOGUE_CLOSED };

struct dialogue_peer {
    /* number: 1 to 9. door: USE door was given. The connection is the peer's. */
    void *(*open)(void *arg, int number, bool door);
    void (*send)(void *connection, struct slice bytes);
    /* The next line, without its CRLF; waits until nothing more can come. */
    enum dialogue_read (*read)(void *connection, struct buf *line);
    void (*deliver)(void *arg, struct slice mailbox, struct slice message);
    void *arg;
};

/* False with words in problem: the file and the line, what was wanted and what came. */
bool dialogue_play(const char *path, bool byte_by_byte, const struct dialogue_peer *peer,
                   struct buf *problem);
