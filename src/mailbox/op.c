/*
 * Requests that change something. The ops of an account stand in a queue; the first one prepares,
 * submits one or several changes, and makes room for the next long before its own are durable: so
 * that sixteen sessions and the deliveries of an account share one tick of the store.
 *
 * An op that submitted nothing (all was so already) answers when the last change on its way is
 * durable, for that is what it found; when that one fails, it looks again. An op whose change
 * failed because of another's (UNAVAILABLE by rollback) or met a CONFLICT is prepared again.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "mailbox/mailbox_priv.h"

static void op_end_task(void *arg);

void *op_create(size_t size, const struct op_kind *kind, struct account *account,
                struct requests *owner)
{
    struct op *op = mem_zalloc(size);
    op->kind = kind;
    op->account = account;
    op->task = (struct task){.run = op_end_task, .arg = op};
    arena_init(&op->arena);
    request_attach(&op->request, owner);
    account_hold(account);
    return op;
}

static void op_begin(struct op *op)
{
    op->outcome = MAILBOX_OK;
    op->submitted = op->completed = 0;
    op->prepared = op->waiting = false;
    op->cursor = op->confirmed;
    if (op->kind->restart != NULL)
        op->kind->restart(op);
}

void op_enqueue(struct op *op)
{
    op_begin(op);
    TAILQ_INSERT_TAIL(&op->account->queue, op, link);
    account_run(op->account);
}

void op_enqueue_first(struct op *op)
{
    op_begin(op);
    TAILQ_INSERT_HEAD(&op->account->queue, op, link);
    account_run(op->account);
}

enum op_step op_fail(struct op *op, enum mailbox_result result)
{
    op->outcome = (int)result;
    return OP_PREPARED;
}

static void op_end(struct op *op)
{
    struct account *account = op->account;
    if (op->outcome == OP_RETRY && ++op->tries < OP_TRIES_MAX && account->state != ACCOUNT_BROKEN) {
        op_enqueue(op);
        return;
    }
    enum mailbox_result result = account->state == ACCOUNT_BROKEN && op->outcome == OP_RETRY
                                     ? MAILBOX_BROKEN
                                 : op->outcome == OP_RETRY ? MAILBOX_UNAVAILABLE
                                                           : (enum mailbox_result)op->outcome;
    op->kind->finish(op, result, request_detach(&op->request));
    arena_finish(&op->arena);
    free(op);
    account_drop(account);
}

static void op_end_task(void *arg)
{
    op_end(arg);
}

static void op_prepared(struct op *op)
{
    struct account *account = op->account;
    struct change *last = TAILQ_LAST(&account->changes, changes);

    op->prepared = true;
    if (op->completed < op->submitted)
        return;
    if (op->submitted == 0 && op->outcome == MAILBOX_OK && last != NULL &&
        last->generation == account->generation) {
        op->submitted++;
        TAILQ_INSERT_TAIL(&last->followers, op, link);
        return;
    }
    env_defer(account->env, &op->task);
}

void op_completed(struct op *op, struct change *change, int outcome)
{
    op->completed++;
    if (outcome == MAILBOX_OK && change != NULL) {
        op->confirmed = change->cursor;
        if (op->kind->applied != NULL)
            op->kind->applied(op, change);
    }
    if (outcome != MAILBOX_OK && (op->outcome == MAILBOX_OK || op->outcome == OP_RETRY))
        op->outcome = outcome;
    if (op->prepared && op->completed == op->submitted)
        op_end(op);
}

void op_resume(struct op *op)
{
    op->waiting = false;
    account_run(op->account);
}

void account_fail_ops(struct account *account)
{
    struct op *op;
    while ((op = TAILQ_FIRST(&account->queue)) != NULL) {
        TAILQ_REMOVE(&account->queue, op, link);
        op->outcome = MAILBOX_BROKEN;
        op_prepared(op);
    }
}

/* The next op, when none is preparing; NULL when there is nothing to do now. */
static struct op *account_next(struct account *account)
{
    struct op *op = account->running;
    if (op == NULL && (op = TAILQ_FIRST(&account->queue)) != NULL) {
        TAILQ_REMOVE(&account->queue, op, link);
        account->running = op;
    }
    return op == NULL || op->waiting ? NULL : op;
}

void account_run(struct account *account)
{
    struct op *op;
    unsigned turns = 0;

    if (account->in_run)
        return;
    account->in_run = true;
    while ((op = account_next(account)) != NULL) {
        if (++turns > OP_BATCHES_PER_TURN) {
            env_defer(account->env, &account->run_task);
            break;
        }
        enum op_step step = OP_PREPARED;
        if (account->state == ACCOUNT_BROKEN)
            op->outcome = MAILBOX_BROKEN;
        else if (op->outcome == MAILBOX_OK)
            step = op->kind->prepare(op);
        op->waiting = step == OP_WAIT;
        if (step == OP_PREPARED) {
            account->running = NULL;
            op_prepared(op);
        }
    }
    account->in_run = false;
}
