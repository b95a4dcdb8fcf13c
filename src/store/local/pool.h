/*
 * Threads that work off jobs in order: the readers, the index thread, the helper, the housekeeper.
 * A job runs on one of the pool's threads, then its `done` item runs on the loop.
 */
#pragma once
#include "io/post.h"

struct pool;

struct job {
    STAILQ_ENTRY(job) next;
    void (*work)(struct job *job, unsigned thread); /* thread: 0 .. threads - 1 */
    struct post_item done;                          /* run NULL: nobody waits */
};

/* name: of the threads, at most 15 bytes. Ends the process when no thread can be made. */
struct pool *pool_create(const char *name, unsigned threads, struct post_queue *posts);
/* Finishes the jobs that are there, then ends the threads. Accepts NULL. */
void pool_destroy(struct pool **pool);
/* From any thread. */
void pool_submit(struct pool *pool, struct job *job);
