/*
 * See turns.h. Who has waited goes on from the loop, never from within another session's work.
 */
#include "imap/turns.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

struct imap_turns {
    struct event *event;
    unsigned most, held;
    TAILQ_HEAD(, imap_turn) waiting;
};

static void on_free(evutil_socket_t fd, short what, void *arg)
{
    struct imap_turns *turns = arg;
    struct imap_turn *turn;
    while (turns->held < turns->most && (turn = TAILQ_FIRST(&turns->waiting)) != NULL) {
        TAILQ_REMOVE(&turns->waiting, turn, link);
        turn->state = IMAP_TURN_HELD;
        turns->held++;
        turn->granted(turn->arg);
    }
}

struct imap_turns *imap_turns_create(struct event_base *base, unsigned most)
{
    struct imap_turns *turns = MEM_NEW(struct imap_turns);
    turns->most = most;
    turns->event = event_new(base, -1, 0, on_free, turns);
    TAILQ_INIT(&turns->waiting);
    return turns;
}

void imap_turns_destroy(struct imap_turns **turns)
{
    if (*turns == NULL)
        return;
    ASSERT((*turns)->held == 0 && TAILQ_EMPTY(&(*turns)->waiting));
    event_free((*turns)->event);
    free(*turns);
    *turns = NULL;
}

bool imap_turn_take(struct imap_turns *turns, struct imap_turn *turn)
{
    ASSERT(turn->state == IMAP_TURN_NONE);
    bool free_one = turns->held < turns->most && TAILQ_EMPTY(&turns->waiting);
    turn->state = free_one ? IMAP_TURN_HELD : IMAP_TURN_WAITS;
    turns->held += free_one;
    if (!free_one)
        TAILQ_INSERT_TAIL(&turns->waiting, turn, link);
    return free_one;
}

void imap_turn_give(struct imap_turns *turns, struct imap_turn *turn)
{
    if (turn->state == IMAP_TURN_WAITS)
        TAILQ_REMOVE(&turns->waiting, turn, link);
    turns->held -= turn->state == IMAP_TURN_HELD;
    turn->state = IMAP_TURN_NONE;
    if (!TAILQ_EMPTY(&turns->waiting))
        event_active(turns->event, EV_TIMEOUT, 1);
}
