/* Measures over IMAP. Accounts are bench0, bench1 ...; their INBOX is filled before (lmtp, append).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "message.h"

enum { CONNECTIONS_MAX = 65536 };

static char texts[CONNECTIONS_MAX][512]; /* one command per connection, valid until its answer */
static const char *command;              /* what the operation sends, for the simple measures */
static const char *mailbox = "INBOX";    /* NULL: none is selected */

static void answered(struct conn *conn, enum outcome outcome, const char *text)
{
    struct run *run = conn->user;
    if (outcome == OUTCOME_GONE)
        run_lost(run, conn);
    else
        run_next(run, conn, outcome == OUTCOME_OK);
}

static void selected(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
    else
        run_ready(conn->user, conn);
}

static void logged_in(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK) {
        run_lost(conn->user, conn);
    } else if (mailbox == NULL) {
        run_ready(conn->user, conn);
    } else {
        snprintf(texts[conn->step], sizeof(texts[0]), "x SELECT %s\r\n", mailbox);
        conn_ask_text(conn, texts[conn->step], ANSWER_TAG, selected);
    }
}

static void login(struct conn *conn, const struct target *target, conn_answered *then)
{
    conn->step %= CONNECTIONS_MAX;
    snprintf(texts[conn->step], sizeof(texts[0]), "x LOGIN bench%u %s\r\n",
             target_account(target, conn->step), target->password);
    conn_ask_text(conn, texts[conn->step], ANSWER_TAG, then);
}

static void setup(struct run *run, struct conn *conn)
{
    login(conn, run->target, logged_in);
}

static void simple_operation(struct run *run, struct conn *conn)
{
    conn_ask_text(conn, command, ANSWER_TAG, answered);
}

static void simple(const struct target *target, const char *name, const char *text)
{
    struct run run = {.target = target,
                      .name = name,
                      .operation = simple_operation,
                      .setup = setup,
                      .port = target->imap};
    command = text;
    run_measure(&run);
}

/* ---- LOGIN + LOGOUT on fresh connections --------------------------------------------------- */

static void logged_out_next(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome != OUTCOME_OK)
        run_lost(conn->user, conn);
    else
        conn_ask_text(conn, "x LOGOUT\r\n", ANSWER_TAG, answered);
}

static void login_operation(struct run *run, struct conn *conn)
{
    login(conn, run->target, logged_out_next);
}

static void logins(const struct target *target)
{
    struct run run = {.target = target,
                      .name = "login",
                      .operation = login_operation,
                      .fresh = true,
                      .port = target->imap};
    run_measure(&run);
}

static void logins_tls(const struct target *target)
{
    struct run run = {.target = target,
                      .name = "login_tls",
                      .operation = login_operation,
                      .fresh = true,
                      .port = target->imaps,
                      .tls = target->tls};
    run_measure(&run);
}

/* ---- APPEND -------------------------------------------------------------------------------- */

static struct message body;

static void append_literal(struct conn *conn, enum outcome outcome, const char *text)
{
    if (outcome == OUTCOME_GONE || text[0] != '+')
        run_lost(conn->user, conn);
    else
        conn_ask(conn, body.bytes, body.size, "\r\n", 2, NULL, 0, ANSWER_TAG, answered);
}

static void append_operation(struct run *run, struct conn *conn)
{
    snprintf(texts[conn->step], sizeof(texts[0]), "x APPEND INBOX (\\Seen) {%zu}\r\n", body.size);
    run->bytes += body.size;
    conn_ask_text(conn, texts[conn->step], ANSWER_LINE, append_literal);
}

static void append(const struct target *target)
{
    struct run run = {.target = target,
                      .name = "append",
                      .operation = append_operation,
                      .setup = setup,
                      .port = target->imap};
    mailbox = NULL;
    body = message_make(target->seed, 1, target->size);
    run_measure(&run);
    free(body.bytes);
}

/* ---- FETCH, STORE, COPY, SEARCH of a whole mailbox ------------------------------------------ */

static void fetch_meta(const struct target *target)
{
    simple(target, "fetch_meta",
           "x FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)\r\n");
}

static void fetch_flags(const struct target *target)
{
    simple(target, "fetch_flags", "x FETCH 1:* (FLAGS)\r\n");
}

static void fetch_body(const struct target *target)
{
    simple(target, "fetch_body", "x FETCH 1:* (BODY.PEEK[])\r\n");
}

/* What a mail program asks for when it opens a folder. */
static void fetch_newest(const struct target *target)
{
    static char text[128];
    snprintf(text, sizeof(text),
             "x FETCH %u:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)\r\n",
             target->messages > 50 ? target->messages - 49 : 1);
    simple(target, "fetch_newest", text);
}

static void noop(const struct target *target)
{
    simple(target, "noop", "x NOOP\r\n");
}

static void search_subject(const struct target *target)
{
    simple(target, "search_subject", "x SEARCH SUBJECT invoice\r\n");
}

static void search_from(const struct target *target)
{
    simple(target, "search_from", "x SEARCH FROM sender77\r\n");
}

static void search_body(const struct target *target)
{
    simple(target, "search_body", "x SEARCH BODY zebrafish\r\n");
}

static void store_all(const struct target *target)
{
    simple(target, "store_all", "x STORE 1:* +FLAGS.SILENT (\\Answered)\r\n");
}

static void copy_all(const struct target *target)
{
    simple(target, "copy_all", "x COPY 1:* Archive\r\n");
}

static void select_inbox(const struct target *target)
{
    mailbox = NULL;
    simple(target, "select", "x SELECT INBOX\r\n");
}

/* ---- one message at a time ------------------------------------------------------------------ */

static uint32_t pick(struct run *run)
{
    uint64_t z = (run->begun + 1) * 0x9e3779b97f4a7c15u;
    return (uint32_t)((z ^ z >> 29) % run->target->messages) + 1;
}

static void fetch_one_operation(struct run *run, struct conn *conn)
{
    snprintf(texts[conn->step], sizeof(texts[0]), "x FETCH %u (BODY.PEEK[])\r\n", pick(run));
    conn_ask_text(conn, texts[conn->step], ANSWER_TAG, answered);
}

static void fetch_one(const struct target *target)
{
    struct run run = {.target = target,
                      .name = "fetch_one",
                      .operation = fetch_one_operation,
                      .setup = setup,
                      .port = target->imap};
    run_measure(&run);
}

static void store_one_operation(struct run *run, struct conn *conn)
{
    snprintf(texts[conn->step], sizeof(texts[0]), "x STORE %u %cFLAGS (\\Flagged)\r\n", pick(run),
             run->begun / 1000 % 2 == 0 ? '+' : '-');
    conn_ask_text(conn, texts[conn->step], ANSWER_TAG, answered);
}

static void store_one(const struct target *target)
{
    struct run run = {.target = target,
                      .name = "store_one",
                      .operation = store_one_operation,
                      .setup = setup,
                      .port = target->imap};
    run_measure(&run);
}

/* ---- users as they are: LOGIN SELECT FETCH STORE APPEND IDLE, counted by command ------------ */

static const char *const day[] = {
    "x SELECT INBOX\r\n",
    "x UID FETCH 1:* (FLAGS)\r\n",
    "x FETCH 1:20 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)\r\n",
    "x FETCH 3 (BODY.PEEK[])\r\n",
    "x FETCH 5 (BODY.PEEK[HEADER])\r\n",
    "x STORE 3 +FLAGS (\\Seen)\r\n",
    "x STORE 5 -FLAGS (\\Seen)\r\n",
    "x NOOP\r\n",
    "x STATUS Sent (MESSAGES UIDNEXT UNSEEN)\r\n",
    "x LOGOUT\r\n",
};

static unsigned day_at[CONNECTIONS_MAX];

static void mixed_step(struct conn *conn, enum outcome outcome, const char *text)
{
    struct run *run = conn->user;
    run->units++;
    if (outcome == OUTCOME_GONE)
        run_lost(run, conn);
    else if (day_at[conn->step] == sizeof(day) / sizeof(*day))
        run_next(run, conn, true);
    else
        conn_ask_text(conn, day[day_at[conn->step]++], ANSWER_TAG, mixed_step);
}

static void mixed_operation(struct run *run, struct conn *conn)
{
    conn->step %= CONNECTIONS_MAX;
    day_at[conn->step] = 0;
    login(conn, run->target, mixed_step);
}

static void mixed(const struct target *target)
{
    struct run run = {.target = target,
                      .name = "mixed",
                      .operation = mixed_operation,
                      .fresh = true,
                      .port = target->imap};
    run_measure(&run);
}

const struct measure measures_imap[] = {
    {"login", "LOGIN + LOGOUT on fresh connections", logins},
    {"login_tls", "the same over TLS", logins_tls},
    {"append", "APPEND", append},
    {"fetch_meta", "FETCH of UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE of all",
     fetch_meta},
    {"fetch_flags", "FETCH FLAGS of all", fetch_flags},
    {"fetch_body", "FETCH BODY.PEEK[] of all", fetch_body},
    {"fetch_newest", "the same of the newest 50 of --messages", fetch_newest},
    {"noop", "NOOP", noop},
    {"fetch_one", "FETCH BODY.PEEK[] of one message", fetch_one},
    {"store_one", "STORE of one flag of one message", store_one},
    {"store_all", "STORE of one flag of all", store_all},
    {"copy_all", "COPY of all", copy_all},
    {"select", "SELECT", select_inbox},
    {"search_subject", "SEARCH SUBJECT", search_subject},
    {"search_from", "SEARCH FROM", search_from},
    {"search_body", "SEARCH BODY", search_body},
    {"mixed", "users' mornings, counted by command", mixed},
    {NULL, NULL, NULL},
};
