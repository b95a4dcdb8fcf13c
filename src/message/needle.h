/*
 * What SEARCH looks for in messages, and the batch of messages in which a reader looks for it, as
 * they go from worker to reader (ipc/messages.h: search, found). A worker packs, a reader unpacks
 * and matches (message/search.h).
 *
 * Needles: for each a u8 where, a packed field name and a packed text. A batch is sealed memory,
 * one record behind another: u8 kind, u64 blob size (of summaries; else 0), u64 size, and as many
 * bytes: a packed summary, or a message in wire form. Bits: for each record (needles + 7) / 8
 * bytes, bit n % 8 of byte n / 8 set when needle n is found there.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

enum {
    NEEDLES_MAX = 256,
    NEEDLE_BATCH_MAX = 1000,        /* records: their bits fit into one message of ipc */
    NEEDLE_RECORD_SIZE = 17,        /* ahead of the bytes */
    NEEDLE_FOLDED_MAX = 4096,       /* bytes of a folded text, and about that of all of them */
    NEEDLES_FOLDED_MAX = 32 * 1024, /* of packed needles */
};

enum needle_where {
    NEEDLE_SUBJECT, /* from here on: what the envelope answers */
    NEEDLE_FROM,
    NEEDLE_TO,
    NEEDLE_CC,
    NEEDLE_BCC,
    NEEDLE_SENDER,
    NEEDLE_REPLY_TO,
    NEEDLE_DATE,
    NEEDLE_IN_REPLY_TO,
    NEEDLE_MESSAGE_ID,
    NEEDLE_FIELD, /* from here on: what only the message answers */
    NEEDLE_BODY,
    NEEDLE_TEXT,
    NEEDLE_WHERES,
};

struct needle {
    enum needle_where where;
    struct slice field; /* its name, with NEEDLE_FIELD */
    struct slice text;  /* in the client's character set */
};

static inline bool needle_in_envelope(enum needle_where where)
{
    return where < NEEDLE_FIELD;
}

static inline size_t needle_bits_size(size_t needles)
{
    return (needles + 7) / 8;
}

static inline bool needle_bit(const uint8_t *bits, size_t needle)
{
    return (bits[needle / 8] >> needle % 8 & 1) != 0;
}

/*
 * Folded texts stand in summaries, so that a worker, which decodes nothing, can look for needles
 * that a reader has folded: for each text a u8 where, a u16 size, and its bytes. Those of the first
 * five wheres, which people search; all of them, or there are none.
 */
static inline bool needle_in_folded(enum needle_where where)
{
    return where <= NEEDLE_BCC;
}

void needle_folded_add(enum needle_where where, struct slice text, struct buf *out);
/* Sets the bits of the needles that are found. Bytes that are no such texts are not looked at. */
void needle_folded_look(const struct needle *needles, size_t count, struct slice folded,
                        uint8_t *bits);
/* An empty text is in every other. */
bool needle_is_in(struct slice needle, struct slice text);

void needle_pack(const struct needle *needle, struct buf *out);
/* At most NEEDLES_MAX, in the arena, pointing into packed. False: malformed. */
bool needle_unpack(struct slice packed, struct arena *arena, struct needle **needles,
                   size_t *count);

enum needle_record_kind { NEEDLE_SUMMARY, NEEDLE_MESSAGE };

struct needle_record {
    enum needle_record_kind kind;
    uint64_t blob_size;
    struct slice bytes;
};

/* What stands ahead of size bytes. */
void needle_record_head(enum needle_record_kind kind, uint64_t blob_size, uint64_t size,
                        uint8_t head[NEEDLE_RECORD_SIZE]);
/* Takes the first record off; false at the end, or with *malformed. */
bool needle_record_next(struct slice *batch, struct needle_record *record, bool *malformed);
