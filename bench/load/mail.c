/* Measures over LMTP and POP3. Accounts are bench0, bench1 ... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "message.h"

enum { POOL = 64, RECIPIENTS_MAX = 64 };

/* Bodies are made before the clock runs; each operation puts its own Message-ID line ahead. */
static struct message pool[POOL];
static unsigned recipients = 1;
static bool many_accounts;

static void fill_pool(const struct target *target)
{
    for (unsigned i = 0; i < POOL; i++)
        if (pool[i].bytes == NULL)
            pool[i] = message_make(target->seed, i, target->size);
}

static void lmtp_answered(struct conn *conn, enum outcome outcome, const char *text)
{
    struct run *run = conn->user;
    if (outcome == OUTCOME_GONE) {
        run_lost(run, conn);
        return;
    }
    run->units += recipients;
    run_next(run, conn, outcome == OUTCOME_OK);
}

/* DATA's answer is waited for, then the message goes out in one write (RFC 2920 3.1). */
static void lmtp_data(struct conn *conn, enum outcome outcome, const char *text)
{
    struct run *run = conn->user;
    static char head[65536][160];
    static uint64_t serial; /* no two messages are the same, or a server may store one of them */
    if (outcome != OUTCOME_OK) {
        lmtp_answered(conn, OUTCOME_GONE, text);
        return;
    }
    char *line = head[conn->step];
    struct message *body = &pool[serial++ % POOL];
    int size = snprintf(line, sizeof(head[0]), "X-Bench: %llu.%llu.%llu\r\n",
                        (unsigned long long)run->target->seed, (unsigned long long)serial,
                        (unsigned long long)run->start_us);
    run->bytes += body->size * recipients;
    conn->count = recipients;
    conn_ask(conn, line, (size_t)size, body->bytes, body->size, ".\r\n", 3, ANSWER_REPLY,
             lmtp_answered);
}

static void lmtp_operation(struct run *run, struct conn *conn)
{
    static char envelopes[65536][64 + RECIPIENTS_MAX * 32];
    char *text = envelopes[conn->step];
    int size = sprintf(text, "MAIL FROM:<sender@example.org>\r\n");
    for (unsigned i = 0; i < recipients; i++) {
        uint64_t account = many_accounts ? run->begun * recipients + i : conn->step + i;
        size += sprintf(text + size, "RCPT TO:<bench%u>\r\n", target_account(run->target, account));
    }
    size += sprintf(text + size, "DATA\r\n");
    conn->count = 2 + recipients;
    conn_ask(conn, text, (size_t)size, NULL, 0, NULL, 0, ANSWER_REPLY, lmtp_data);
}

static void lmtp_greeted(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
    else
        run_ready(conn->user, conn);
}

static void lmtp_setup(struct run *run, struct conn *conn)
{
    conn->count = 1;
    conn_ask_text(conn, "LHLO bench.example.org\r\n", ANSWER_REPLY, lmtp_greeted);
}

static void deliver(const struct target *target, const char *name)
{
    struct run run = {.target = target,
                      .name = name,
                      .operation = lmtp_operation,
                      .setup = lmtp_setup,
                      .port = target->lmtp};
    fill_pool(target);
    run_measure(&run);
}

static void lmtp(const struct target *target)
{
    deliver(target, "lmtp");
}

static void lmtp_recipients(const struct target *target)
{
    recipients = target->accounts < 10 ? target->accounts : 10;
    deliver(target, "lmtp10");
}

static void lmtp_first(const struct target *target)
{
    many_accounts = true;
    deliver(target, "lmtp_first");
}

/* ---- POP3: STAT UIDL RETR all QUIT --------------------------------------------------------- */

struct pop3_session {
    unsigned count, at;
    char command[64];
};

static struct pop3_session pop3_sessions[65536];

static void pop3_step(struct conn *conn, enum outcome outcome, const char *text);

static void pop3_ask(struct conn *conn, enum answer want, const char *command)
{
    conn_ask_text(conn, command, want, pop3_step);
}

enum { POP3_USER = 0, POP3_PASS, POP3_STAT, POP3_UIDL, POP3_RETR, POP3_QUIT, POP3_STEPS };

static unsigned pop3_at[65536];

static void pop3_step(struct conn *conn, enum outcome outcome, const char *text)
{
    struct run *run = conn->user;
    struct pop3_session *session = &pop3_sessions[conn->step];
    if (outcome != OUTCOME_OK) {
        run_lost(run, conn);
        return;
    }
    switch (pop3_at[conn->step]++) {
    case POP3_USER:
        snprintf(session->command, sizeof(session->command), "PASS %s\r\n", run->target->password);
        pop3_ask(conn, ANSWER_LINE, session->command);
        return;
    case POP3_PASS:
        pop3_ask(conn, ANSWER_LINE, "STAT\r\n");
        return;
    case POP3_STAT:
        session->count = (unsigned)strtoul(text + 4, NULL, 10);
        session->at = 0;
        pop3_ask(conn, ANSWER_DOT, "UIDL\r\n");
        return;
    case POP3_UIDL:
    case POP3_RETR:
        if (session->at < session->count) {
            pop3_at[conn->step] = POP3_RETR;
            snprintf(session->command, sizeof(session->command), "RETR %u\r\n", ++session->at);
            pop3_ask(conn, ANSWER_DOT, session->command);
            return;
        }
        pop3_at[conn->step] = POP3_QUIT;
        pop3_ask(conn, ANSWER_LINE, "QUIT\r\n");
        return;
    default:
        run->units += session->count;
        run->bytes += conn->received;
        run_next(run, conn, true);
    }
}

static void pop3_operation(struct run *run, struct conn *conn)
{
    struct pop3_session *session = &pop3_sessions[conn->step %= 65536];
    pop3_at[conn->step] = POP3_USER;
    snprintf(session->command, sizeof(session->command), "USER bench%u\r\n",
             target_account(run->target, conn->step));
    pop3_ask(conn, ANSWER_LINE, session->command);
}

static void pop3(const struct target *target)
{
    struct run run = {.target = target,
                      .name = "pop3",
                      .operation = pop3_operation,
                      .fresh = true,
                      .port = target->pop3};
    run_measure(&run);
}

const struct measure measures_mail[] = {
    {"lmtp", "deliveries, one recipient each", lmtp},
    {"lmtp10", "deliveries of one message to ten recipients (counted by recipient)",
     lmtp_recipients},
    {"lmtp_first", "first delivery to a new account", lmtp_first},
    {"pop3", "whole sessions: STAT UIDL RETR all QUIT (counted by message)", pop3},
    {NULL, NULL, NULL},
};
