/*
 * Line ends become CRLF once, on the way in; lone CR, NUL and 8-bit bytes stay as they are, so that
 * the stored form is the wire form (store.md 4). Used for LMTP's DATA and IMAP's APPEND. Input may
 * be cut anywhere.
 */
#pragma once
#include <stdbool.h>

#include "base/buf.h"

struct crlf {
    bool after_cr; /* the last byte was CR; {0} is the beginning */
};

/* Appends the input to out with CR put before every LF that has none. */
void crlf_add(struct crlf *crlf, struct slice input, struct buf *out);
