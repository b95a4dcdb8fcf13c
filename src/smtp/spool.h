/*
 * A message on its way in, in wire form and bounded: a short one (IPC_SHORT) in a buffer, a longer
 * one in a memfd that is sealed when it is whole, so that whoever gets the descriptor may trust
 * that it never changes.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "door/door.h"
#include "io/crlf.h"

enum spool_state {
    SPOOL_OK,
    SPOOL_TOO_LARGE, /* more than the limit came */
    SPOOL_NOSPACE,   /* memory or descriptors ran out */
};

/* After a failure the rest is swallowed, and what was there is dropped. */
struct spool {
    int fd; /* -1: all of it is pending */
    enum spool_state state;
    uint64_t size, limit; /* limit 0: not begun */
    struct buf pending;   /* not yet written, or all */
    struct crlf crlf;
};

void spool_init(struct spool *spool);
void spool_finish(struct spool *spool);

void spool_begin(struct spool *spool, uint64_t limit);
/* Lone LFs become CRLF, across calls too; everything else stays. */
void spool_add(struct spool *spool, struct slice bytes);
/* Drops what is there; the message has failed. */
void spool_fail(struct spool *spool, enum spool_state state);
/* Ends the message. With SPOOL_OK its descriptor, if there is one, is the caller's; its data is the
 * spool's until spool_finish(). Else it is empty, without a descriptor. */
enum spool_state spool_seal(struct spool *spool, struct door_message *message);
