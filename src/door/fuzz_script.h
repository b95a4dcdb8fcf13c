/*
 * Fuzzing support: what a client says, made from bytes by a grammar, so that a fuzzer that changes
 * a byte changes a command into another one that is mostly well-formed.
 */
#pragma once
#include "base/buf.h"

struct script {
    const uint8_t *data; /* of the fuzzer; when they are used up every choice is the first one */
    size_t size, at;
};

bool script_over(const struct script *script);
/* 0 to count - 1. */
unsigned script_pick(struct script *script, unsigned count);

/* Adds a command without its tag, with the CRLF at its end. */
void script_imap(struct script *script, struct buf *out);
/* The same before login. */
void script_imap_door(struct script *script, struct buf *out);
void script_pop3_door(struct script *script, struct buf *out);
/* many: the answer, if it is +OK, has many lines (RFC 1939 3). */
void script_pop3(struct script *script, struct buf *out, bool *many);
/* A message in wire form. */
void script_message(struct script *script, struct buf *out);
/* Changes a byte or two: outside of the grammar. */
void script_damage(struct script *script, struct buf *bytes);
