/*
 * The threads that compute hashes and the queue in front of them. A job belongs to the queue, then
 * to a thread, then to the loop again (io/post.h); only the queue is shared, under one lock.
 */
#include "auth/hasher.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "io/post.h"

struct hash_job {
    struct post_item item;
    TAILQ_ENTRY(hash_job) link;
    struct hasher *hasher;
    struct hash_ask ask; /* slices point into bytes */
    struct buf bytes;
    struct hash_result result;
    hash_done *done;
    void *arg;
    atomic_bool forgotten; /* nobody waits for it: not worth the work */
};

/* One client address with jobs that wait. */
struct hash_owner {
    TAILQ_ENTRY(hash_owner) link;
    TAILQ_HEAD(, hash_job) jobs;
};
TAILQ_HEAD(hash_owners, hash_owner);

struct hasher {
    struct post_queue *post;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct hash_owners owners; /* the first is next; shared */
    bool ending;               /* shared */
    unsigned threads;
    pthread_t *thread;
    struct hasher_stats stats; /* the loop's */
};

/* ---- the work, on a thread ------------------------------------------------------------------ */

static void job_make(struct hash_job *job)
{
    job->result.has_keys = password_scram_keys(job->ask.secret, &job->result.keys);
    job->result.failed = !password_hash(job->ask.secret, job->result.verifier);
}

static void job_import(struct hash_job *job)
{
    struct hash_result *result = &job->result;
    if (!password_fingerprint(job->ask.secret, job->ask.salt, result->fingerprint)) {
        result->failed = true;
        return;
    }
    result->match =
        memcmp(result->fingerprint, job->ask.imported, sizeof(result->fingerprint)) == 0;
    if (!result->match)
        job_make(job);
}

static void job_work(struct hash_job *job)
{
    switch (job->ask.kind) {
    case HASH_VERIFY:
        job->result.match = password_verify(job->ask.verifier, job->ask.secret);
        if (job->result.match && job->ask.want_keys)
            job->result.has_keys = password_verifier_keys(job->ask.verifier, &job->result.keys) ||
                                   password_scram_keys(job->ask.secret, &job->result.keys);
        break;
    case HASH_MAKE:
        job_make(job);
        break;
    case HASH_IMPORT:
        job_import(job);
        break;
    }
}

static struct hash_job *job_take(struct hasher *hasher)
{
    struct hash_job *job = NULL;
    pthread_mutex_lock(&hasher->lock);
    while (TAILQ_EMPTY(&hasher->owners) && !hasher->ending)
        pthread_cond_wait(&hasher->work, &hasher->lock);
    if (!hasher->ending) {
        struct hash_owner *owner = TAILQ_FIRST(&hasher->owners);
        job = TAILQ_FIRST(&owner->jobs);
        TAILQ_REMOVE(&owner->jobs, job, link);
        TAILQ_REMOVE(&hasher->owners, owner, link);
        if (TAILQ_EMPTY(&owner->jobs))
            free(owner);
        else
            TAILQ_INSERT_TAIL(&hasher->owners, owner, link);
    }
    pthread_mutex_unlock(&hasher->lock);
    return job;
}

static void *thread_run(void *arg)
{
    struct hasher *hasher = arg;
    struct hash_job *job;
    while ((job = job_take(hasher)) != NULL) {
        if (!atomic_load(&job->forgotten))
            job_work(job);
        post_send(hasher->post, &job->item);
    }
    return NULL;
}

/* ---- the loop's side ------------------------------------------------------------------------ */

static void job_destroy(struct hash_job *job)
{
    if (job->bytes.data != NULL)
        mem_wipe(job->bytes.data, job->bytes.size);
    buf_finish(&job->bytes);
    mem_wipe(job, sizeof(*job));
    free(job);
}

static void job_done(struct post_item *item)
{
    struct hash_job *job = (struct hash_job *)(void *)item;
    job->hasher->stats.waiting--;
    if (!atomic_load(&job->forgotten)) {
        job->hasher->stats.jobs[job->ask.kind]++;
        job->done(job->arg, &job->result);
    }
    job_destroy(job);
}

static struct slice job_keep(struct hash_job *job, struct slice bytes)
{
    size_t at = job->bytes.size;
    buf_add_slice(&job->bytes, bytes);
    return slice_make(job->bytes.data + at, bytes.size);
}

static struct slice job_owner(const struct hash_job *job)
{
    return job->ask.owner;
}

static void job_queue(struct hasher *hasher, struct hash_job *job)
{
    struct hash_owner *owner;
    pthread_mutex_lock(&hasher->lock);
    TAILQ_FOREACH (owner, &hasher->owners, link)
        if (slice_equal(job_owner(TAILQ_FIRST(&owner->jobs)), job_owner(job)))
            break;
    if (owner == NULL) {
        owner = MEM_NEW(struct hash_owner);
        TAILQ_INIT(&owner->jobs);
        TAILQ_INSERT_TAIL(&hasher->owners, owner, link);
    }
    TAILQ_INSERT_TAIL(&owner->jobs, job, link);
    pthread_cond_signal(&hasher->work);
    pthread_mutex_unlock(&hasher->lock);
}

struct hash_job *hasher_submit(struct hasher *hasher, const struct hash_ask *ask, hash_done *done,
                               void *arg)
{
    if (hasher->stats.waiting >= HASHER_WAITING_MAX) {
        hasher->stats.refused++;
        return NULL;
    }
    hasher->stats.waiting++;
    struct hash_job *job = MEM_NEW(struct hash_job);
    job->item.run = job_done;
    job->hasher = hasher;
    job->done = done;
    job->arg = arg;
    job->ask = *ask;
    /* Room for all at once, so that no copy of a secret is left behind by a move. */
    buf_extend(&job->bytes, ask->owner.size + ask->secret.size + ask->verifier.size + 1);
    buf_clear(&job->bytes);
    job->ask.owner = job_keep(job, ask->owner);
    job->ask.secret = job_keep(job, ask->secret);
    job->ask.verifier = job_keep(job, ask->verifier);
    job_queue(hasher, job);
    return job;
}

void hasher_forget(struct hash_job *job)
{
    atomic_store(&job->forgotten, true);
}

struct hasher_stats hasher_stats(const struct hasher *hasher)
{
    return hasher->stats;
}

void hasher_grow(struct hasher *hasher, unsigned threads)
{
    sigset_t all, before;
    hasher->thread = mem_grow(hasher->thread, hasher->threads + threads, sizeof(*hasher->thread));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < threads; i++) {
        int result = pthread_create(&hasher->thread[hasher->threads++], NULL, thread_run, hasher);
        ASSERT(result == 0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct hasher *hasher_create(struct event_base *base, unsigned threads)
{
    struct hasher *hasher = MEM_NEW(struct hasher);
    hasher->post = post_create(base);
    pthread_mutex_init(&hasher->lock, NULL);
    pthread_cond_init(&hasher->work, NULL);
    TAILQ_INIT(&hasher->owners);
    if (threads > 0)
        hasher_grow(hasher, threads);
    return hasher;
}

void hasher_destroy(struct hasher **pointer)
{
    struct hasher *hasher = *pointer;
    if (hasher == NULL)
        return;
    pthread_mutex_lock(&hasher->lock);
    hasher->ending = true;
    pthread_cond_broadcast(&hasher->work);
    pthread_mutex_unlock(&hasher->lock);
    for (unsigned i = 0; i < hasher->threads; i++)
        pthread_join(hasher->thread[i], NULL);
    post_run(hasher->post);
    post_destroy(&hasher->post);
    struct hash_owner *owner;
    while ((owner = TAILQ_FIRST(&hasher->owners)) != NULL) {
        struct hash_job *job;
        while ((job = TAILQ_FIRST(&owner->jobs)) != NULL) {
            TAILQ_REMOVE(&owner->jobs, job, link);
            job_destroy(job);
        }
        TAILQ_REMOVE(&hasher->owners, owner, link);
        free(owner);
    }
    pthread_mutex_destroy(&hasher->lock);
    pthread_cond_destroy(&hasher->work);
    free(hasher->thread);
    free(hasher);
    *pointer = NULL;
}
