/*
 * Password verifiers: the text "{SCHEME}data" that an account keeps, in the schemes people bring
 * (Dovecot's names) and the one we make, {ARGON2ID}. No cryptography of our own: libsodium,
 * libxcrypt, OpenSSL's digests.
 *
 * Everything is thread-safe and slow on purpose; it runs on the hashing threads.
 */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"
#include "sasl/sasl.h"

struct buf;

enum {
    PASSWORD_VERIFIER_MAX = 512,
    /* What new secrets cost: about 25 ms and 19 MiB (OWASP's figures for argon2id). */
    PASSWORD_ARGON_PASSES = 2,
    PASSWORD_ARGON_BYTES = 19 << 20,
    /* SCRAM keys in a stolen database are as hard to guess from as the hash: about 70 ms. */
    PASSWORD_SCRAM_ITERATIONS = 100000,
    PASSWORD_FINGERPRINT = 16,
};

/* Loads what the libraries load late (digests); before the sandbox, while there is one thread. */
void password_warm_up(void);

/*
 * A hash as it stands in a password file, with or without {SCHEME}, into the form stored. False
 * with a reason: unknown scheme, damaged hash. *clear: it is no hash but the secret itself
 * ({PLAIN}); verifier is then the secret, to be hashed and wiped.
 */
bool password_take(struct slice given, struct buf *verifier, bool *clear, struct error *error);
/* Does the secret fit? Anything odd is false. */
bool password_verify(struct slice verifier, struct slice secret);
/* A new verifier; text gets a terminating NUL. False when there is no memory for it. */
bool password_hash(struct slice secret, char text[PASSWORD_VERIFIER_MAX]);
/* New SCRAM keys with a random salt. */
bool password_scram_keys(struct slice secret, struct sasl_scram_keys *keys);
/* The keys that a {SCRAM-SHA-256} verifier is made of; false for every other. */
bool password_verifier_keys(struct slice verifier, struct sasl_scram_keys *keys);
/* A value that says if a clear secret is the same as the one of an earlier import, as costly to
 * guess from as the hash. */
bool password_fingerprint(struct slice secret, const uint8_t salt[16],
                          uint8_t fingerprint[PASSWORD_FINGERPRINT]);
/* A verifier that no secret fits, of the cost of a new one. */
const char *password_dummy(void);
