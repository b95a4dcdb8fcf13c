/* Measures of waiting: what an idle connection costs, and how soon it hears of new mail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"
#include "message.h"

static char logins[65536][96];

static void idling(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
    else
        run_ready(conn->user, conn);
}

static void selected(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
    else
        conn_ask_text(conn, "x IDLE\r\n", ANSWER_LINE, idling);
}

static void logged_in(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
    else
        conn_ask_text(conn, "x SELECT INBOX\r\n", ANSWER_TAG, selected);
}

static void setup(struct run *run, struct conn *conn)
{
    conn->step %= 65536;
    snprintf(logins[conn->step], sizeof(logins[0]), "x LOGIN bench%u %s\r\n",
             target_account(run->target, conn->step), run->target->password);
    conn_ask_text(conn, logins[conn->step], ANSWER_TAG, logged_in);
}

/* All connections in IDLE until standard input ends; what else is measured runs beside it. */
static void all_held(struct run *run, struct conn *conn)
{
    static bool told;
    char byte;
    if (!told) {
        result(run->name, "ready", run->target->connections, "connections");
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
        told = true;
    }
    run_next(run, conn, true);
}

static void hold_with(const struct target *target, uint16_t port, SSL_CTX *tls)
{
    struct target all = *target;
    all.operations = target->connections;
    struct run run = {.target = &all,
                      .name = "hold",
                      .operation = all_held,
                      .setup = setup,
                      .port = port,
                      .tls = tls};
    run_measure(&run);
}

static void hold(const struct target *target)
{
    hold_with(target, target->imap, NULL);
}

static void hold_tls(const struct target *target)
{
    hold_with(target, target->imaps, target->tls);
}

/* ---- push: from the last byte of a delivery to "* n EXISTS" at an IDLE connection ----------- */

static struct conn *sender; /* LMTP, one for all */
static struct message body;
static char envelope[160], head[96];
static struct conn *watcher;

static void told(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
    else
        run_next(conn->user, conn, true);
}

static void taken(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
}

static void data(struct conn *conn, enum outcome outcome, const char *text)
{
    struct run *run = conn->user;
    if (outcome != OUTCOME_OK) {
        run_lost(run, conn);
        return;
    }
    int size = snprintf(head, sizeof(head), "X-Bench: %llu.%llu\r\n",
                        (unsigned long long)run->start_us, (unsigned long long)run->begun);
    watcher->started = now_us();
    conn->count = 1;
    conn_ask(conn, head, (size_t)size, body.bytes, body.size, ".\r\n", 3, ANSWER_REPLY, taken);
}

static void deliver(struct conn *conn)
{
    conn->count = 3;
    conn_ask_text(conn, envelope, ANSWER_REPLY, data);
}

static void greeted(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
    else
        deliver(conn);
}

static void connected(struct conn *conn, enum outcome outcome, const char *text)
{
    conn->count = 1;
    conn_ask_text(conn, "LHLO bench.example.org\r\n", ANSWER_REPLY, greeted);
}

static void push_operation(struct run *run, struct conn *conn)
{
    watcher = conn;
    conn->want = ANSWER_MATCH;
    conn->match = "EXISTS";
    conn->answered = told;
    if (sender == NULL)
        sender = conn_open(run->loop, run->target->lmtp, NULL, run, connected);
    else if (sender->answered == NULL)
        deliver(sender);
    else
        sender->answered = greeted; /* its 250 has not come yet: it goes on with the next */
}

static void push(const struct target *target)
{
    struct target one = *target;
    one.connections = 1;
    struct run run = {.target = &one,
                      .name = "push",
                      .operation = push_operation,
                      .setup = setup,
                      .port = target->imap};
    body = message_make(target->seed, 1, target->size != 0 ? target->size : 4096);
    snprintf(envelope, sizeof(envelope),
             "MAIL FROM:<s@example.org>\r\nRCPT TO:<bench%u>\r\nDATA\r\n", target->first);
    run_measure(&run);
    free(body.bytes);
}

const struct measure measures_idle[] = {
    {"hold", "connections in IDLE until standard input ends (tells when all are)", hold},
    {"hold_tls", "the same over TLS", hold_tls},
    {"push", "delivery until an IDLE connection is told", push},
    {NULL, NULL, NULL},
};
