/*
 * Frames: the unit of everything written to a segment (doc/formats/segment.md). A header of 104
 * bytes with its own CRC32C, a payload with its CRC32C in the header, zeros up to the next multiple
 * of 8. Every frame names its volume and its segment's generation, so that what a recycled or
 * misplaced file holds is never taken for ours, and the highest LSN that was durable when it was
 * written, so that any later frame proves what came before it (recovery rule 3).
 */
#pragma once
#include "base/id.h"
#include "store/store.h"

enum {
    FRAME_HEADER = 104,
    FRAME_ALIGN = 8,
};

#define FRAME_MAGIC 0x31467352u /* "RsF1", little-endian */

enum frame_type {
    FRAME_SEGMENT = 1, /* the first of a segment: what it continues */
    FRAME_BODY = 2,    /* the bytes of a blob; stands before the OPS of its batch */
    FRAME_OPS = 3,     /* a batch's packed operations (store_priv.h) */
    FRAME_COMMIT = 4,  /* the last of a tick: which batches it holds, whose they are */
};

enum frame_codec { FRAME_RAW = 0, FRAME_ZSTD = 1 };

struct frame {
    uint8_t type;
    uint8_t codec; /* of a BODY */
    struct id volume;
    uint64_t generation;
    uint64_t lsn;     /* BODY, OPS: of the batch; COMMIT: last of the tick; SEGMENT: last before */
    uint64_t durable; /* all up to this LSN was durable when this was written */
    struct id partition;      /* BODY, OPS */
    uint64_t blob;            /* BODY */
    struct store_label label; /* BODY */
    uint32_t size;            /* of the payload as stored */
    uint32_t raw_size;        /* decoded */
    uint32_t crc;             /* CRC32C of the payload as stored */
};

/* Writes FRAME_HEADER bytes. */
void frame_encode(const struct frame *frame, uint8_t *out);
/* False when these are not FRAME_HEADER bytes that frame_encode() made. The payload is not looked
 * at; that volume and generation are the right ones is for the caller to see. */
bool frame_decode(struct slice bytes, struct frame *frame);

/* Zeros behind a payload of that size. */
static inline size_t frame_padding(uint64_t size)
{
    return (size_t)(-size & (FRAME_ALIGN - 1));
}

/* Header, payload and padding. */
static inline uint64_t frame_total(uint64_t size)
{
    return FRAME_HEADER + size + frame_padding(size);
}

/* ---- payloads of SEGMENT and COMMIT -------------------------------------------------------- */

enum segment_kind { SEGMENT_LOG = 0, SEGMENT_COLD = 1 };

enum { FRAME_SEGMENT_PAYLOAD = 24, FRAME_COMMIT_PAYLOAD = 16 /* and 16 for each batch */ };

/*
 * The log goes on here from that byte of that segment; whatever stands behind it there is dead.
 * A cold segment (made by compaction: BODY frames only, no ticks) is not part of the log.
 */
struct frame_segment {
    uint64_t previous; /* generation; 0: this is the first */
    uint64_t previous_end;
    uint32_t kind;
};

void frame_segment_encode(const struct frame_segment *segment, uint8_t *out);
bool frame_segment_decode(struct slice payload, struct frame_segment *segment);

/* payload: u64 first LSN, u32 count, u32 0, then the partitions of first, first + 1, ... */
struct frame_commit {
    uint64_t first;
    uint32_t count;
    const uint8_t *partitions; /* count times 16 bytes, in the payload */
};

bool frame_commit_decode(struct slice payload, struct frame_commit *commit);
struct id frame_commit_partition(const struct frame_commit *commit, uint32_t at);
