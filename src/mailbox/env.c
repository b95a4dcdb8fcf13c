/*
 * The environment of a worker: who waits for an answer (requests), what is to run in a later turn
 * (tasks), and the timer by which accounts that nobody holds are forgotten, mailboxes that nobody
 * has open are dropped over the budget, and housekeeping is begun.
 */
#include <event2/event.h>
#include <stdlib.h>

#include "base/clock.h"
#include "mailbox/mailbox_priv.h"

enum { TIMER_S = 10, BUDGET_DEFAULT = 64 << 20, GRACE_DEFAULT_S = 14 * 24 * 3600 };

void request_attach(struct request *request, struct requests *owner)
{
    request->owner = owner;
    TAILQ_INSERT_TAIL(owner, request, link);
}

bool request_detach(struct request *request)
{
    if (request->owner == NULL)
        return false;
    TAILQ_REMOVE(request->owner, request, link);
    request->owner = NULL;
    return true;
}

void requests_cancel(struct requests *owner)
{
    struct request *request;
    while ((request = TAILQ_FIRST(owner)) != NULL)
        request_detach(request);
}

static void tasks_run(evutil_socket_t fd, short what, void *arg)
{
    struct mailbox_env *env = arg;
    struct task last = {0};

    /* Those deferred while these run belong to the next turn: a mark stands between. */
    TAILQ_INSERT_TAIL(&env->tasks, &last, link);
    for (;;) {
        struct task *task = TAILQ_FIRST(&env->tasks);
        TAILQ_REMOVE(&env->tasks, task, link);
        if (task == &last)
            break;
        task->queued = false;
        env->account_count++; /* keeps the environment while it runs */
        task->run(task->arg);
        env->account_count--;
    }
    if (!TAILQ_EMPTY(&env->tasks))
        event_active(env->task_event, EV_TIMEOUT, 0);
    env_account_gone(env);
}

void env_defer(struct mailbox_env *env, struct task *task)
{
    if (task->queued)
        return;
    task->queued = true;
    if (TAILQ_EMPTY(&env->tasks))
        event_active(env->task_event, EV_TIMEOUT, 0);
    TAILQ_INSERT_TAIL(&env->tasks, task, link);
}

void env_undefer(struct mailbox_env *env, struct task *task)
{
    if (task->queued)
        TAILQ_REMOVE(&env->tasks, task, link);
    task->queued = false;
}

void env_shrink(struct mailbox_env *env)
{
    struct contents *contents;
    while (env->idle_bytes > env->options.memory_budget &&
           (contents = TAILQ_FIRST(&env->idle)) != NULL)
        contents_free(contents);
}

void env_sweep(struct mailbox_env *env, uint64_t before_us)
{
    struct account *account, *next;
    RB_FOREACH_SAFE (account, accounts, &env->accounts, next) {
        if (account->holds == 0 && account->idle_since_us < before_us)
            account_free(account);
    }
}

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    struct mailbox_env *env = arg;
    uint64_t now_us = clock_monotonic_us();
    struct account *account;

    RB_FOREACH (account, accounts, &env->accounts) {
        if (account->state == ACCOUNT_READY && account->housekeeping_due_us <= now_us)
            housekeeping_start(account, NULL, NULL);
    }
    if (now_us > (uint64_t)ACCOUNT_IDLE_S * 1000000)
        env_sweep(env, now_us - (uint64_t)ACCOUNT_IDLE_S * 1000000);
}

struct mailbox_env *mailbox_env_create(const struct mailbox_options *options)
{
    struct mailbox_env *env = MEM_NEW(struct mailbox_env);
    struct timeval every = {TIMER_S, 0};

    env->options = *options;
    if (env->options.memory_budget == 0)
        env->options.memory_budget = BUDGET_DEFAULT;
    if (env->options.mailboxes_max == 0)
        env->options.mailboxes_max = 10000;
    if (env->options.keywords_max == 0)
        env->options.keywords_max = KEYWORDS_MAX;
    RB_INIT(&env->accounts);
    TAILQ_INIT(&env->tasks);
    TAILQ_INIT(&env->idle);
    TAILQ_INIT(&env->due);
    TAILQ_INIT(&env->requests);
    env->task_event = event_new(options->base, -1, 0, tasks_run, env);
    env->timer = event_new(options->base, -1, EV_PERSIST, timer_fired, env);
    ASSERT(env->task_event != NULL && env->timer != NULL);
    event_add(env->timer, &every);
    return env;
}

/* Frees a destroyed environment when its last account is gone: batches may still be on their way.
 */
void env_account_gone(struct mailbox_env *env)
{
    if (!env->destroyed || env->account_count > 0 || !TAILQ_EMPTY(&env->tasks))
        return;
    event_free(env->task_event);
    free(env);
}

void mailbox_env_destroy(struct mailbox_env **env)
{
    struct mailbox_env *gone = *env;
    if (gone == NULL)
        return;
    *env = NULL;
    event_free(gone->timer);
    requests_cancel(&gone->requests);
    gone->account_count++;
    env_sweep(gone, UINT64_MAX);
    gone->account_count--;
    gone->destroyed = true;
    env_account_gone(gone);
}
