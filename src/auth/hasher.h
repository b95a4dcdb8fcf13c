/*
 * The hashing threads: password work that takes tens of milliseconds, off the loop. They have no
 * files and share nothing with the loop but a job.
 *
 * Fair: jobs wait in one queue per client address, and the queues take turns, so that somebody who
 * guesses from one address delays nobody else much. The sum of what waits is bounded.
 */
#pragma once
#include "auth/password.h"

struct event_base;
struct hasher;
struct hash_job;

enum { HASHER_WAITING_MAX = 20000 };

enum hash_kind {
    HASH_VERIFY, /* does secret fit verifier? with want_keys also SCRAM keys, when it does */
    HASH_MAKE,   /* a new verifier and SCRAM keys of secret */
    HASH_IMPORT, /* the fingerprint of secret (salted by salt), then MAKE unless it is `imported` */
};

struct hash_ask {
    enum hash_kind kind;
    struct slice owner; /* whose turn: a client's address */
    struct slice secret;
    struct slice verifier;
    bool want_keys;
    uint8_t salt[16];
    uint8_t imported[PASSWORD_FINGERPRINT];
};

struct hash_result {
    bool failed; /* no memory for the work */
    bool match;  /* VERIFY: it fits; IMPORT: it is what was imported before, nothing was made */
    bool has_keys;
    struct sasl_scram_keys keys;
    char verifier[PASSWORD_VERIFIER_MAX];
    uint8_t fingerprint[PASSWORD_FINGERPRINT];
};

/* Starts the threads: after sandbox_enter(). */
struct hasher *hasher_create(struct event_base *base, unsigned threads);
/* More threads; a hasher may begin with none, then everything waits. */
void hasher_grow(struct hasher *hasher, unsigned threads);
/* Ends the threads after the job each is at; what waits is dropped. Accepts NULL. */
void hasher_destroy(struct hasher **hasher);

/* On the loop, once; result is wiped behind it. */
typedef void hash_done(void *arg, const struct hash_result *result);
/* Copies what ask points to. NULL: too much waits already. The job is the hasher's; the caller may
 * keep the pointer for hasher_forget() until done has run. */
struct hash_job *hasher_submit(struct hasher *hasher, const struct hash_ask *ask, hash_done *done,
                               void *arg);
/* done will not run; the work is left out where it has not begun. */
void hasher_forget(struct hash_job *job);

struct hasher_stats {
    uint64_t jobs[3]; /* done, by kind */
    uint64_t refused;
    unsigned waiting;
};
struct hasher_stats hasher_stats(const struct hasher *hasher);
