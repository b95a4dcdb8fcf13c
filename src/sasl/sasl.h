/*
 * The server's side of SASL (RFC 4422) as resumable exchanges: bytes in, a named step out. Nothing
 * here knows an account, a file or a socket; whoever runs an exchange looks names up and checks
 * secrets, when and where it likes, and carries the bytes (base64 is the protocols' affair).
 *
 * What each step asks of the caller:
 *   SASL_CHALLENGE  send sasl_output() (may be empty), give the answer to sasl_respond()
 *   SASL_CHECK      is sasl_secret() the secret of sasl_name()? The exchange is over.
 *   SASL_KEYS       give the SCRAM keys of sasl_name() to sasl_scram_continue(): the next step
 *   SASL_PROVEN     sasl_name() has proven itself; the exchange is over
 *   SASL_WRONG      the proof is wrong, or it asked to act as somebody else; over
 *   SASL_MALFORMED  the client broke the mechanism's rules; over
 *   SASL_TROUBLE    no memory for the library's state; over
 *
 * SCRAM's last word (v=...) is a challenge that the client answers with nothing, as in every
 * protocol without a place for additional data with success (RFC 4422 3.6; IMAP and POP3 are such).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct sasl_exchange;

enum sasl_step {
    SASL_CHALLENGE,
    SASL_CHECK,
    SASL_KEYS,
    SASL_PROVEN,
    SASL_WRONG,
    SASL_MALFORMED,
    SASL_TROUBLE,
};

enum {
    SASL_MESSAGE_MAX = 4096, /* bytes of one message from a client */
    SASL_NAME_MAX = 255,
    SASL_SECRET_MAX = 1024,
    SASL_KEY_SIZE = 32, /* of SHA-256 */
    SASL_SALT_MAX = 64,
};

/* A mechanism we speak; the table in sasl.c is the list, in the order in which it is announced. */
struct sasl_mechanism {
    const char *name;
    bool shows_secret; /* the server sees the password: needs a secure channel */
    bool needs_keys;   /* SCRAM: the account needs keys */
    bool binds;        /* -PLUS: needs the channel's exporter value */
};

/* NULL behind the last. */
const struct sasl_mechanism *sasl_mechanism_at(size_t index);
/* Names are compared without case; NULL when there is none. */
const struct sasl_mechanism *sasl_mechanism_find(struct slice name);

/* What an account keeps for SCRAM-SHA-256 (RFC 5802 3): from these nobody can log in. */
struct sasl_scram_keys {
    uint32_t iterations;
    uint8_t salt_size; /* 1 to SASL_SALT_MAX */
    uint8_t salt[SASL_SALT_MAX];
    uint8_t stored_key[SASL_KEY_SIZE];
    uint8_t server_key[SASL_KEY_SIZE];
};

/* Derives the keys of a secret; salt, its size and iterations stand in *keys. Takes the time of
 * that many iterations; thread-safe. The secret is prepared by SASLprep (RFC 4013) where that can
 * be, else taken as it is. False when the library fails. */
bool sasl_scram_derive(struct slice secret, struct sasl_scram_keys *keys);
/* True when the secret gives these keys. As slow. */
bool sasl_scram_matches(struct slice secret, const struct sasl_scram_keys *keys);

/*
 * Begins an exchange. exporter: tls-exporter of the channel (RFC 9266), SLICE_NONE without one;
 * copied. initial: the initial response, data NULL when there was none (an empty one is not none).
 * *step is the first step. Destroy it whatever the step says.
 */
struct sasl_exchange *sasl_start(const struct sasl_mechanism *mechanism, struct slice exporter,
                                 struct slice initial, enum sasl_step *step);
/* Only after SASL_CHALLENGE. */
enum sasl_step sasl_respond(struct sasl_exchange *exchange, struct slice response);
/* Only after SASL_KEYS. keys are copied. */
enum sasl_step sasl_scram_continue(struct sasl_exchange *exchange,
                                   const struct sasl_scram_keys *keys);
/* Valid until the next call. */
struct slice sasl_output(const struct sasl_exchange *exchange);
struct slice sasl_name(const struct sasl_exchange *exchange);
struct slice sasl_secret(const struct sasl_exchange *exchange);
/* Wipes what was secret. Accepts NULL. */
void sasl_destroy(struct sasl_exchange **exchange);
