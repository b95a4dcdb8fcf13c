/*
 * For tests: a child of master as a process, while the test plays master and the child's peers
 * on its own loop. Every failure is a failed cmocka assertion.
 *
 *     play_start(&play, program, IPC_DOOR, "log_level=error\n", &handlers);
 *     auth = play_peer(&play, IPC_AUTH, 0);
 *     play_run(&play);                                  (start sent, "ready" heard)
 *     ... ipc_send_x(auth, ...); play_until(&play, done, arg, "what"); ...
 *     play_end(&play);                                  (drained, exit status 0)
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/ipc.h"

enum { PLAY_CHANNELS = 8 };

struct play {
    struct event_base *base;
    pid_t pid;
    enum ipc_role role;         /* of the child */
    struct ipc_channel *master; /* the test's end; NULL once the child is gone */
    struct ipc_handlers handlers;
    struct ipc_channel **channels[PLAY_CHANNELS];
    size_t channel_count;
    bool ready, draining;
};

/* Starts the program with its channel to master and sends its settings. All channels get these
 * handlers, with the play as their context; .ready and .closed are the play's own. */
void play_start(struct play *play, const char *program, enum ipc_role role, const char *settings,
                const struct ipc_handlers *handlers);

/* A peer of the child, played here. *channel is the test's end; it is NULL once the child has
 * closed it or play_end() has. The test may close it too (ipc_close). */
void play_peer(struct play *play, enum ipc_role role, uint32_t index, struct ipc_channel **channel);

/* Tells the child to start and waits until it says that it is ready. */
void play_run(struct play *play);

/* Runs the loop until done(arg); fails after 20 seconds with "waited in vain for WHAT". */
void play_until(struct play *play, bool (*done)(void *arg), void *arg, const char *what);
bool play_is_set(void *arg);      /* of a bool */
bool play_is_positive(void *arg); /* of an int */

/* What a client's socket says up to and with that text; NULL: up to its end. Good until the next
 * call. */
const char *play_hear(struct play *play, int fd, const char *end);

/* Asks the child to end; play_end() does so too when nobody did. */
void play_drain(struct play *play);
/* The child ends in order, with status 0; then all is closed. */
void play_end(struct play *play);
