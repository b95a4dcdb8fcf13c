/*
 * What auth remembers for a while, in memory only: secrets that were verified (as a keyed hash, so
 * that a polling client does not cost an argon2 each time) and failures (so that guessing gets
 * slower and slower). Both are bounded; what is oldest goes first.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/slice.h"

/* ---- verified secrets ------------------------------------------------------------------------ */

struct remember;

enum { REMEMBER_SECRETS_MAX = 65536, REMEMBER_FAILURES_MAX = 65536 };

struct remember *remember_create(void);
void remember_destroy(struct remember **remember);

/* Was this the account's secret within the last `seconds`? */
bool remember_secret_known(struct remember *remember, struct id account, struct slice secret,
                           uint64_t seconds);
void remember_secret(struct remember *remember, struct id account, struct slice secret);
/* Its password changed, it was disabled or deleted. */
void remember_forget(struct remember *remember, struct id account);

/* ---- failures -------------------------------------------------------------------------------- */

/*
 * A failure is counted for the client's address and for the pair of address and name, never for the
 * name alone: whoever guesses bob's password from one place does not keep bob out elsewhere. An
 * IPv6 address counts as its /64. Loopback and Unix sockets (webmail, a proxy) are counted by pair
 * only. One failure is forgiven each minute.
 */
void remember_failure(struct remember *remember, struct slice address, struct slice name);
/* A success clears the pair. */
void remember_success(struct remember *remember, struct slice address, struct slice name);
/* Milliseconds that an answer, good or bad, to this pair waits now; at most `most`. A pair waits
 * from its first failure on (1, 2, 4, ... seconds), an address from its eleventh. */
uint32_t remember_delay_ms(struct remember *remember, struct slice address, struct slice name,
                           uint32_t most);
