/* A queue under a mutex and a few threads with all signals blocked. See pool.h. */
#include "store/local/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

struct pool_thread {
    struct pool *pool;
    pthread_t thread;
    unsigned number;
};

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    STAILQ_HEAD(, job) jobs;
    struct post_queue *posts;
    bool ending;
    unsigned count;
    struct pool_thread threads[];
};

static struct job *take(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    while (STAILQ_EMPTY(&pool->jobs) && !pool->ending)
        pthread_cond_wait(&pool->filled, &pool->mutex);
    struct job *job = STAILQ_FIRST(&pool->jobs);
    if (job != NULL)
        STAILQ_REMOVE_HEAD(&pool->jobs, next);
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

static void *run(void *arg)
{
    struct pool_thread *self = arg;
    struct job *job;
    while ((job = take(self->pool)) != NULL) {
        /* Without a done item the job may be gone once it has worked. */
        bool waited_for = job->done.run != NULL;
        job->work(job, self->number);
        if (waited_for)
            post_send(self->pool->posts, &job->done);
    }
    return NULL;
}

struct pool *pool_create(const char *name, unsigned threads, struct post_queue *posts)
{
    struct pool *pool = mem_zalloc(sizeof(*pool) + threads * sizeof(*pool->threads));
    sigset_t all, before;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->filled, NULL);
    STAILQ_INIT(&pool->jobs);
    pool->posts = posts;
    pool->count = threads;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < threads; i++) {
        struct pool_thread *thread = &pool->threads[i];
        thread->pool = pool;
        thread->number = i;
        ASSERT(pthread_create(&thread->thread, NULL, run, thread) == 0);
        pthread_setname_np(thread->thread, name);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool;
}

void pool_destroy(struct pool **pool)
{
    if (*pool == NULL)
        return;
    pthread_mutex_lock(&(*pool)->mutex);
    (*pool)->ending = true;
    pthread_cond_broadcast(&(*pool)->filled);
    pthread_mutex_unlock(&(*pool)->mutex);
    for (unsigned i = 0; i < (*pool)->count; i++)
        pthread_join((*pool)->threads[i].thread, NULL);
    pthread_cond_destroy(&(*pool)->filled);
    pthread_mutex_destroy(&(*pool)->mutex);
    free(*pool);
    *pool = NULL;
}

void pool_submit(struct pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->mutex);
    STAILQ_INSERT_TAIL(&pool->jobs, job, next);
    pthread_cond_signal(&pool->filled);
    pthread_mutex_unlock(&pool->mutex);
}
