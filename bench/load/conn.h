/*
 * One connection of the load generator: non-blocking, plain or TLS, on the generator's own epoll
 * loop. It sends bytes and tells when the answer to them is complete; it knows just enough of IMAP,
 * POP3 and LMTP to see that.
 */
#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct conn;

enum answer {
    ANSWER_LINE,  /* one line: greetings, POP3, "+ idling" */
    ANSWER_TAG,   /* IMAP: all up to the line that begins with "x " (our only tag) */
    ANSWER_DOT,   /* POP3: a line, and when that is +OK, all up to the lone dot */
    ANSWER_REPLY, /* SMTP: `count` replies, each to its last line */
    ANSWER_MATCH, /* IMAP: up to a line that holds `match` */
};

enum outcome { OUTCOME_OK, OUTCOME_NO, OUTCOME_GONE };

/* text: the last line, NUL-terminated, valid during the call. */
typedef void conn_answered(struct conn *conn, enum outcome outcome, const char *text);

struct conn {
    struct loop *loop;
    int fd;
    SSL *ssl;
    bool connecting, handshaking, gone;
    void *user;
    /* what is to be sent: borrowed, stays valid until the answer */
    const char *out[3];
    size_t out_size[3];
    int out_at;
    /* what is waited for */
    enum answer want;
    unsigned count;
    const char *match;
    conn_answered *answered;
    bool dotted; /* inside the many lines of ANSWER_DOT */
    /* the line that has begun, and the literal that is being skipped */
    char line[4096];
    size_t line_size;
    bool line_long;
    uint64_t literal;
    uint64_t received; /* bytes, since it was made */
    unsigned step;     /* for the measure's own use */
    uint64_t started;  /* likewise, microseconds */
};

struct loop *loop_create(void);
void loop_destroy(struct loop *loop);
/* Runs until `done` is true or the deadline (monotonic microseconds) has passed; returns done. */
bool loop_run(struct loop *loop, const bool *done, uint64_t deadline);
uint64_t now_us(void);

/* Connects to loopback; tls NULL: plain. The greeting is the first answer. */
struct conn *conn_open(struct loop *loop, uint16_t port, SSL_CTX *tls, void *user,
                       conn_answered *greeted);
/* Sends up to three pieces, then waits. Pieces with NULL are left out. */
void conn_ask(struct conn *conn, const char *a, size_t a_size, const char *b, size_t b_size,
              const char *c, size_t c_size, enum answer want, conn_answered *answered);
void conn_ask_text(struct conn *conn, const char *text, enum answer want, conn_answered *answered);
void conn_close(struct conn *conn);
