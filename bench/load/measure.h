/*
 * What every measure shares: the target, the accounts, counted operations on many connections, and
 * the server's CPU (all its processes together) around them. Results are `name value unit` lines.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conn.h"

struct target {
    uint16_t imap, imaps, pop3, lmtp;
    int pid;                  /* of the server's first process; its descendants count; 0: no CPU */
    unsigned accounts, first; /* how many, and the number of the first */
    const char *password;
    SSL_CTX *tls;
    unsigned connections;
    uint64_t operations; /* at most */
    double seconds;      /* at most */
    size_t size;         /* of messages; 0: real ones */
    unsigned messages;   /* in the mailbox, where a measure picks one */
    uint64_t seed;
};

struct run;
/* Begins the next operation on a connection that is ready; ends in run_next() or run_lost(). */
typedef void run_operation(struct run *run, struct conn *conn);

struct run {
    const struct target *target;
    struct loop *loop;
    const char *name;
    run_operation *operation;
    run_operation
        *setup; /* after the greeting, once per connection; ends in run_ready(); or NULL */
    bool fresh; /* every operation on a connection of its own */
    uint16_t port;
    SSL_CTX *tls;
    /* as it goes */
    bool done;
    unsigned open, ready;
    uint64_t begun, finished, failed, bytes,
        units; /* units: messages and the like, beside operations */
    uint64_t deadline, start_us;
    double cpu_start;
    uint32_t *latency_us;
    uint64_t latency_room;
};

/* Opens the connections, sets them up, then measures the operations. */
void run_measure(struct run *run);
void run_ready(struct run *run, struct conn *conn);
void run_next(struct run *run, struct conn *conn, bool good);
void run_lost(struct run *run, struct conn *conn);

/* The account that connection or delivery `number` uses: benchN. */
unsigned target_account(const struct target *target, uint64_t number);
/* CPU seconds of the server's processes so far, dead children included. */
double target_cpu(const struct target *target);
void result(const char *name, const char *what, double value, const char *unit);

struct measure {
    const char *name;
    const char *what;
    void (*function)(const struct target *target);
};
extern const struct measure measures_imap[], measures_mail[], measures_idle[], measures_raw[];
