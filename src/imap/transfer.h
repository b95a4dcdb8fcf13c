/*
 * Content-Transfer-Encodings taken off piece by piece, for BINARY (RFC 3516). As message/decode.h
 * does it, which has the whole at once: what is no base64 is skipped, what is no quoted-printable
 * is kept. A run of blanks behind "=" longer than TRANSFER_BLANKS is kept too.
 */
#pragma once
#include "base/buf.h"
#include "base/slice.h"

enum transfer_kind { TRANSFER_IDENTITY, TRANSFER_BASE64, TRANSFER_QUOTED_PRINTABLE };
enum { TRANSFER_BLANKS = 100 };

struct transfer {
    enum transfer_kind kind;
    uint32_t bits;                 /* base64: of the group */
    unsigned count;                /* characters of it */
    bool begun;                    /* quoted-printable: behind "=", */
    uint8_t held[TRANSFER_BLANKS]; /* with these */
    size_t held_size;
};

/* By the name of the encoding. False: nobody knows it. */
bool transfer_begin(struct transfer *transfer, struct slice encoding);
void transfer_feed(struct transfer *transfer, struct slice bytes, struct buf *out);
void transfer_end(struct transfer *transfer, struct buf *out);
