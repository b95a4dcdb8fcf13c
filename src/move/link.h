/* The program's end of wire.h: questions, and the answers until DONE. Blocking. */
#pragma once
#include "base/error.h"
#include "move/wire.h"

struct move_link {
    int fd; /* stays the caller's */
    struct buf in, out;
    size_t taken;    /* of in */
    uint32_t result; /* enum mailbox_result of the last question */
    char text[200];  /* and its text */
};

typedef bool move_answer(void *arg, enum move_kind kind, struct slice body, struct error *error);

/* Waits until the worker has opened the account. False: error says why. */
bool move_link_begin(struct move_link *link, int fd, struct error *error);
void move_link_finish(struct move_link *link);
/* Sends what stands in link->out and gives each frame before DONE to answer (NULL: there are none).
 * False: the connection broke or answer said false; otherwise result is set. */
bool move_link_ask(struct move_link *link, move_answer *answer, void *arg, struct error *error);
/* Sends what stands in link->out, of which nothing is answered. */
bool move_link_send(struct move_link *link, struct error *error);
/* The same as move_link_ask, and a result that is not OK is an error, too: "what: text". */
bool move_link_must(struct move_link *link, move_answer *answer, void *arg, const char *what,
                    struct error *error);
