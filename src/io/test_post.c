#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <pthread.h>

#include "io/post.h"

enum { THREADS = 4, EACH = 2000 };

struct work {
    struct post_item item;
    int thread, number;
};

static struct event_base *base;
static struct post_queue *queue;
static struct work works[THREADS][EACH];
static int next_of[THREADS];
static int done;

static void ran(struct post_item *item)
{
    struct work *work = (struct work *)item;
    assert_int_equal(work->number, next_of[work->thread]);
    next_of[work->thread]++;
    if (++done == THREADS * EACH)
        event_base_loopbreak(base);
}

static void *send_all(void *arg)
{
    struct work *mine = arg;
    for (int i = 0; i < EACH; i++)
        post_send(queue, &mine[i].item);
    return NULL;
}

/* Nothing is lost, and each thread's items keep their order. */
static void threads_to_loop(void **state)
{
    pthread_t threads[THREADS];
    base = event_base_new();
    queue = post_create(base);
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < EACH; i++)
            works[t][i] = (struct work){.item.run = ran, .thread = t, .number = i};
        pthread_create(&threads[t], NULL, send_all, works[t]);
    }
    event_base_dispatch(base);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(done, THREADS * EACH);
    post_destroy(&queue);
    assert_null(queue);
    post_destroy(&queue);
    event_base_free(base);
}

static int runs, between;
static struct post_item mine[3], theirs;

static void run_again(struct post_item *item)
{
    runs++;
    if (item == &mine[0])
        post_again(queue, &mine[2]); /* a turn of its own */
}

static void run_theirs(struct post_item *item)
{
    assert_int_equal(runs, 2); /* behind what the loop had sent before */
    between++;
}

static void *send_theirs(void *arg)
{
    post_send(queue, &theirs);
    return NULL;
}

/* What the loop sends itself runs in order with the rest, not at once, and ends a wait. */
static void loop_to_itself(void **state)
{
    pthread_t thread;
    base = event_base_new();
    queue = post_create(base);
    for (int i = 0; i < 3; i++)
        mine[i].run = run_again;
    theirs.run = run_theirs;
    post_again(queue, &mine[0]);
    post_again(queue, &mine[1]);
    assert_int_equal(runs, 0);
    pthread_create(&thread, NULL, send_theirs, NULL);
    pthread_join(thread, NULL);
    event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(runs, 2);
    assert_int_equal(between, 1);
    event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(runs, 3);
    post_again(queue, &mine[1]);
    post_wait(queue);
    assert_int_equal(runs, 4);
    post_destroy(&queue);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_to_loop),
                                       cmocka_unit_test(loop_to_itself)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
