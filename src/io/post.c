/*
 * A list under a mutex and one eventfd that is written only when the list was empty; the loop
 * itself needs no descriptor to be called in its next turn. Answers for order and for waking; knows
 * nothing of what the items mean.
 */
#include "io/post.h"

#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "io/fd.h"

STAILQ_HEAD(post_list, post_item);

struct post_queue {
    pthread_mutex_t mutex;
    struct post_list items;
    struct event *woken; /* by a thread, through fd */
    struct event *turn;  /* by the loop */
    int fd;
};

void post_run(struct post_queue *queue)
{
    struct post_list items = STAILQ_HEAD_INITIALIZER(items);
    pthread_mutex_lock(&queue->mutex);
    STAILQ_CONCAT(&items, &queue->items);
    pthread_mutex_unlock(&queue->mutex);
    while (!STAILQ_EMPTY(&items)) {
        struct post_item *item = STAILQ_FIRST(&items);
        STAILQ_REMOVE_HEAD(&items, next);
        item->run(item);
    }
}

void post_wait(struct post_queue *queue)
{
    uint64_t count;
    struct pollfd woken = {.fd = queue->fd, .events = POLLIN};
    pthread_mutex_lock(&queue->mutex);
    bool none = STAILQ_EMPTY(&queue->items); /* else nobody needs to wake us */
    pthread_mutex_unlock(&queue->mutex);
    if (none && poll(&woken, 1, -1) == 1)
        (void)!read(queue->fd, &count, sizeof(count));
    post_run(queue);
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
    post_run(arg);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    post_run(arg);
}

struct post_queue *post_create(struct event_base *base)
{
    struct post_queue *queue = MEM_NEW(struct post_queue);
    pthread_mutex_init(&queue->mutex, NULL);
    STAILQ_INIT(&queue->items);
    queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(queue->fd >= 0);
    queue->woken = event_new(base, queue->fd, EV_READ | EV_PERSIST, on_woken, queue);
    queue->turn = event_new(base, -1, 0, on_turn, queue);
    ASSERT(queue->turn != NULL && queue->woken != NULL && event_add(queue->woken, NULL) == 0);
    return queue;
}

void post_destroy(struct post_queue **queue)
{
    if (*queue == NULL)
        return;
    event_free((*queue)->woken);
    event_free((*queue)->turn);
    fd_close(&(*queue)->fd);
    pthread_mutex_destroy(&(*queue)->mutex);
    free(*queue);
    *queue = NULL;
}

void post_send(struct post_queue *queue, struct post_item *item)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&queue->mutex);
    bool first = STAILQ_EMPTY(&queue->items);
    STAILQ_INSERT_TAIL(&queue->items, item, next);
    /* Under the lock: once it is released, the loop may take the item and destroy the queue. */
    if (first)
        (void)!write(queue->fd, &one, sizeof(one));
    pthread_mutex_unlock(&queue->mutex);
}

void post_again(struct post_queue *queue, struct post_item *item)
{
    static const struct timeval now = {0};
    pthread_mutex_lock(&queue->mutex);
    bool first = STAILQ_EMPTY(&queue->items);
    STAILQ_INSERT_TAIL(&queue->items, item, next);
    pthread_mutex_unlock(&queue->mutex);
    if (first)
        event_add(queue->turn, &now); /* behind what other descriptors have */
}
