/*
 * Copies live bodies into a cold segment. What is live is asked of the index as of a checkpoint
 * behind which the victims lie: a body that died since is copied for nothing, and
 * local_blobs_moved() leaves it. Every body is verified as it is read, and the new segment is read
 * back whole before it gets its name. A body whose checksum is wrong is never copied: it stays
 * where it is, and its segment with it.
 *
 * Fresh mail is raw; here, where it is cold, bodies of 4 KB and more are compressed when that saves
 * more than 12 %.
 */
#include "store/local/compact.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "base/crc32c.h"
#include "base/fault.h"
#include "base/mem.h"
#include "store/local/files.h"

enum { COMPRESS_FROM = 4096, COMPRESS_LEVEL = 1, WORTH_PERCENT = 88, PAGE = 4096 };
/* At a time; the rest of a segment is for the next round. All moves are in one checkpoint. */
enum { BODIES_MAX = 4000, BYTES_MAX = 64 << 20 };

struct body {
    const struct segment *segment;
    struct frame frame;
    uint64_t offset; /* of the payload */
};

struct copying {
    struct compaction *compaction;
    struct body *bodies;
    size_t count, room;
    uint64_t bytes; /* of their frames */
    uint64_t at;    /* in the cold segment */
    struct buf payload, packed, out;
    ZSTD_CCtx *zstd;
};

/* ---- what is live -------------------------------------------------------------------------- */

static bool is_live(struct index *index, MDB_txn *txn, const struct segment *segment,
                    const struct scanned *found)
{
    struct blob_record record;
    return index_get_blob(index, txn, found->frame.blob, &record) == INDEX_FOUND &&
           record.place.segment == segment->generation &&
           record.place.offset == found->at + FRAME_HEADER;
}

static bool is_full(const struct copying *copying)
{
    return copying->count >= BODIES_MAX || copying->bytes >= BYTES_MAX;
}

static bool list_segment(struct copying *copying, MDB_txn *txn, struct segment *segment)
{
    struct local *local = copying->compaction->local;
    struct scan scan;
    struct scanned found;
    scan_init(&scan, segment, local->volume.uuid, 0, segment->size);
    while (!atomic_load(&local->stopping) && !is_full(copying)) {
        enum scan_outcome outcome = scan_next(&scan, false, &found);
        if (outcome == SCAN_END)
            break;
        if (outcome != SCAN_FRAME || found.frame.type != FRAME_BODY ||
            !is_live(&local->index, txn, segment, &found))
            continue;
        if (copying->count == copying->room) {
            copying->room = copying->room == 0 ? 256 : copying->room * 2;
            copying->bodies = mem_grow(copying->bodies, copying->room, sizeof(struct body));
        }
        copying->bodies[copying->count++] =
            (struct body){segment, found.frame, found.at + FRAME_HEADER};
        copying->bytes += frame_total(found.frame.size);
    }
    scan_finish(&scan);
    return !atomic_load(&local->stopping);
}

static bool list_live(struct copying *copying, struct error *error)
{
    struct compaction *compaction = copying->compaction;
    struct index *index = &compaction->local->index;
    MDB_txn *txn;
    bool good = true;
    pthread_rwlock_rdlock(&index->resize);
    int code = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn);
    if (code == 0) {
        for (size_t i = 0; good && i < compaction->victim_count; i++)
            good = list_segment(copying, txn, compaction->victims[i]);
        mdb_txn_abort(txn);
    }
    pthread_rwlock_unlock(&index->resize);
    if (code != 0)
        return error_set(error, "compaction cannot read the index: %s", mdb_strerror(code));
    return good || error_set(error, "the volume is stopping");
}

/* ---- copying ------------------------------------------------------------------------------- */

static bool write_frame(struct copying *copying, const struct frame *frame, struct slice payload,
                        struct error *error)
{
    struct segment *cold = copying->compaction->cold;
    size_t padding = frame_padding(payload.size);
    buf_clear(&copying->out);
    frame_encode(frame, buf_extend(&copying->out, FRAME_HEADER));
    buf_add_slice(&copying->out, payload);
    memset(buf_extend(&copying->out, padding), 0, padding);
    int fault = fault_hit("store.compact.write");
    errno = fault;
    if (fault != 0 || lseek(cold->fd, (off_t)copying->at, SEEK_SET) < 0 ||
        !files_write(cold->fd, buf_slice(&copying->out)))
        return error_errno(error, "writing a cold segment");
    copying->at += copying->out.size;
    return true;
}

/* The payload as it is to be stored: packed when that is worth it. */
static struct slice pack(struct copying *copying, struct frame *frame)
{
    struct slice raw = buf_slice(&copying->payload);
    if (frame->codec != FRAME_RAW || raw.size < COMPRESS_FROM)
        return raw;
    buf_clear(&copying->packed);
    uint8_t *room = buf_extend(&copying->packed, ZSTD_compressBound(raw.size));
    size_t size = ZSTD_compressCCtx(copying->zstd, room, copying->packed.size, raw.data, raw.size,
                                    COMPRESS_LEVEL);
    if (ZSTD_isError(size) || size * 100 > raw.size * WORTH_PERCENT)
        return raw;
    frame->codec = FRAME_ZSTD;
    frame->raw_size = (uint32_t)raw.size;
    frame->size = (uint32_t)size;
    frame->crc = crc32c(0, room, size);
    return slice_make(room, size);
}

static bool copy_body(struct copying *copying, const struct body *body, struct error *error)
{
    struct compaction *compaction = copying->compaction;
    struct frame frame = body->frame;
    buf_clear(&copying->payload);
    uint8_t *bytes = buf_extend(&copying->payload, frame.size);
    if (!files_read(body->segment->fd, body->offset, bytes, frame.size) ||
        crc32c(0, bytes, frame.size) != frame.crc) {
        compaction->damaged = body->segment->generation;
        return true;
    }
    struct blob_move *move = &compaction->moves[compaction->move_count];
    move->blob = frame.blob;
    move->from = (struct place){body->segment->generation,
                                body->offset,
                                frame.size,
                                frame.raw_size,
                                frame.crc,
                                frame.codec};
    struct slice payload = pack(copying, &frame);
    frame.generation = compaction->cold->generation;
    frame.durable = compaction->lsn;
    move->to = (struct place){frame.generation, copying->at + FRAME_HEADER,
                              frame.size,       frame.raw_size,
                              frame.crc,        frame.codec};
    compaction->move_count++;
    return write_frame(copying, &frame, payload, error);
}

static bool copy_all(struct copying *copying, struct error *error)
{
    struct compaction *compaction = copying->compaction;
    uint8_t info[FRAME_SEGMENT_PAYLOAD];
    frame_segment_encode(&(struct frame_segment){.kind = SEGMENT_COLD}, info);
    struct frame head = {.type = FRAME_SEGMENT,
                         .volume = compaction->local->volume.uuid,
                         .generation = compaction->cold->generation,
                         .lsn = compaction->lsn,
                         .durable = compaction->lsn,
                         .size = sizeof(info),
                         .raw_size = sizeof(info),
                         .crc = crc32c(0, info, sizeof(info))};
    if (!write_frame(copying, &head, slice_make(info, sizeof(info)), error))
        return false;
    compaction->moves = mem_array(copying->count, sizeof(*compaction->moves));
    for (size_t i = 0; i < copying->count; i++) {
        if (atomic_load(&compaction->local->stopping))
            return error_set(error, "the volume is stopping");
        if (!copy_body(copying, &copying->bodies[i], error))
            return false;
    }
    return true;
}

/* ---- the new segment ----------------------------------------------------------------------- */

/* Reads all of it back: as many good bodies as were written, nothing bad between. */
static bool verify(struct copying *copying, struct error *error)
{
    struct compaction *compaction = copying->compaction;
    struct scan scan;
    struct scanned found;
    size_t bodies = 0;
    enum scan_outcome outcome;
    scan_init(&scan, compaction->cold, compaction->local->volume.uuid, 0, copying->at);
    while ((outcome = scan_next(&scan, true, &found)) == SCAN_FRAME)
        bodies += found.frame.type == FRAME_BODY;
    scan_finish(&scan);
    return (outcome == SCAN_END && bodies == compaction->move_count) ||
           error_set(error, "a cold segment just written reads back wrong");
}

/* What compression saved goes back to the disk. */
static bool trim(struct copying *copying, struct error *error)
{
    struct segment *cold = copying->compaction->cold;
    uint64_t size = (copying->at + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    if (size < cold->size && ftruncate(cold->fd, (off_t)size) != 0)
        return error_errno(error, "trimming a cold segment");
    cold->size = size < cold->size ? size : cold->size;
    cold->kind = SEGMENT_COLD;
    return true;
}

static void undo(struct compaction *compaction)
{
    if (compaction->cold != NULL) {
        struct segment_name name = segment_name_new(compaction->cold->generation);
        unlinkat(compaction->local->volume.segments, name.text, 0);
        segment_remove_file(&compaction->local->volume, compaction->cold->generation);
        segment_drop(&compaction->cold);
    }
    free(compaction->moves);
    compaction->moves = NULL;
    compaction->move_count = 0;
}

static bool make_cold(struct copying *copying, struct error *error)
{
    struct compaction *compaction = copying->compaction;
    struct local *local = compaction->local;
    uint64_t size = frame_total(FRAME_SEGMENT_PAYLOAD) + copying->bytes;
    compaction->cold = segment_create(&local->volume, local_next_generation(local), size, true);
    if (compaction->cold == NULL)
        return error_errno(error, "making a cold segment");
    if (!copy_all(copying, error) || !verify(copying, error) || !trim(copying, error))
        return false;
    if (!segment_publish(&local->volume, compaction->cold))
        return error_errno(error, "publishing a cold segment");
    return true;
}

bool compact(struct compaction *compaction, struct error *error)
{
    struct copying copying = {.compaction = compaction, .zstd = ZSTD_createCCtx()};
    bool good = list_live(&copying, error);
    if (good && copying.count > 0)
        good = make_cold(&copying, error);
    if (!good)
        undo(compaction);
    ZSTD_freeCCtx(copying.zstd);
    free(copying.bodies);
    buf_finish(&copying.payload);
    buf_finish(&copying.packed);
    buf_finish(&copying.out);
    return good;
}
