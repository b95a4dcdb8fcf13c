/*
 * Turns: how many of a worker's sessions may do at a time what holds memory (a page of a SEARCH
 * with its messages). The others wait in the order they came; whoever has a turn gives it back
 * after a page and stands behind them.
 */
#pragma once
#include <stdbool.h>
#include <sys/queue.h>

struct event_base;
struct imap_turns;

struct imap_turn { /* begin with {0} */
    TAILQ_ENTRY(imap_turn) link;
    enum { IMAP_TURN_NONE, IMAP_TURN_WAITS, IMAP_TURN_HELD } state;
    void (*granted)(void *arg);
    void *arg;
};

struct imap_turns *imap_turns_create(struct event_base *base, unsigned most);
/* Nobody waits or holds one any more. Accepts NULL. */
void imap_turns_destroy(struct imap_turns **turns);
/* True: it is held. Else granted runs later, from the loop, when it is. */
bool imap_turn_take(struct imap_turns *turns, struct imap_turn *turn);
/* Held, waiting or neither: it is neither now. */
void imap_turn_give(struct imap_turns *turns, struct imap_turn *turn);
