/*
 * From a thread to the loop: the thread puts an item into the queue, the loop runs it. The only
 * way in which a helper thread of any process talks to its loop.
 */
#pragma once
#include <sys/queue.h>

struct event_base;
struct post_queue;

/* Stands inside what the sender owns; may not be sent again before it has run. run is called on the
 * loop and may free the item. */
struct post_item {
    STAILQ_ENTRY(post_item) next;
    void (*run)(struct post_item *item);
};

/* Ends the process when there is no descriptor to be had. */
struct post_queue *post_create(struct event_base *base);
/* On the loop, when no thread sends any more. Items that have not run are forgotten. */
void post_destroy(struct post_queue **queue);
/* From any thread. Items run in the order sent. */
void post_send(struct post_queue *queue, struct post_item *item);
/* From the loop itself, in the same order as what threads send. */
void post_again(struct post_queue *queue, struct post_item *item);
/* On the loop: runs what has been sent by now, without waiting for the loop's turn. */
void post_run(struct post_queue *queue);
/* On the loop: the same, but waits until something has been sent. For closing down. */
void post_wait(struct post_queue *queue);
