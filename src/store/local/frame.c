/*
 * The frame codec and nothing else: no files, no memory. Offsets are those of
 * doc/formats/segment.md. A frame that decodes is one that we wrote and that was not damaged;
 * whether it belongs here (volume, generation, order) is judged by scan.c and recover.c.
 */
#include "store/local/frame.h"

#include "base/bytes.h"
#include "base/crc32c.h"

enum {
    AT_MAGIC = 0,
    AT_TYPE = 4,
    AT_CODEC = 5,
    AT_VOLUME = 8,
    AT_GENERATION = 24,
    AT_LSN = 32,
    AT_DURABLE = 40,
    AT_PARTITION = 48,
    AT_BLOB = 64,
    AT_LABEL = 72,
    AT_SIZE = 88,
    AT_RAW_SIZE = 92,
    AT_CRC = 96,
    AT_HEADER_CRC = 100,
};

void frame_encode(const struct frame *frame, uint8_t *out)
{
    memset(out, 0, FRAME_HEADER);
    bytes_put_le32(out + AT_MAGIC, FRAME_MAGIC);
    out[AT_TYPE] = frame->type;
    out[AT_CODEC] = frame->codec;
    memcpy(out + AT_VOLUME, frame->volume.bytes, sizeof(frame->volume.bytes));
    bytes_put_le64(out + AT_GENERATION, frame->generation);
    bytes_put_le64(out + AT_LSN, frame->lsn);
    bytes_put_le64(out + AT_DURABLE, frame->durable);
    memcpy(out + AT_PARTITION, frame->partition.bytes, sizeof(frame->partition.bytes));
    bytes_put_le64(out + AT_BLOB, frame->blob);
    bytes_put_le32(out + AT_LABEL, frame->label.mailbox);
    bytes_put_le32(out + AT_LABEL + 4, frame->label.uidvalidity);
    bytes_put_le32(out + AT_LABEL + 8, frame->label.uid);
    bytes_put_le32(out + AT_LABEL + 12, frame->label.date);
    bytes_put_le32(out + AT_SIZE, frame->size);
    bytes_put_le32(out + AT_RAW_SIZE, frame->raw_size);
    bytes_put_le32(out + AT_CRC, frame->crc);
    bytes_put_le32(out + AT_HEADER_CRC, crc32c(0, out, AT_HEADER_CRC));
}

bool frame_decode(struct slice bytes, struct frame *frame)
{
    const uint8_t *in = bytes.data;
    *frame = (struct frame){0};
    if (bytes.size < FRAME_HEADER || bytes_get_le32(in + AT_MAGIC) != FRAME_MAGIC)
        return false;
    if (bytes_get_le32(in + AT_HEADER_CRC) != crc32c(0, in, AT_HEADER_CRC))
        return false;
    frame->type = in[AT_TYPE];
    frame->codec = in[AT_CODEC];
    memcpy(frame->volume.bytes, in + AT_VOLUME, sizeof(frame->volume.bytes));
    frame->generation = bytes_get_le64(in + AT_GENERATION);
    frame->lsn = bytes_get_le64(in + AT_LSN);
    frame->durable = bytes_get_le64(in + AT_DURABLE);
    memcpy(frame->partition.bytes, in + AT_PARTITION, sizeof(frame->partition.bytes));
    frame->blob = bytes_get_le64(in + AT_BLOB);
    frame->label.mailbox = bytes_get_le32(in + AT_LABEL);
    frame->label.uidvalidity = bytes_get_le32(in + AT_LABEL + 4);
    frame->label.uid = bytes_get_le32(in + AT_LABEL + 8);
    frame->label.date = bytes_get_le32(in + AT_LABEL + 12);
    frame->size = bytes_get_le32(in + AT_SIZE);
    frame->raw_size = bytes_get_le32(in + AT_RAW_SIZE);
    frame->crc = bytes_get_le32(in + AT_CRC);
    return frame->type >= FRAME_SEGMENT && frame->type <= FRAME_COMMIT &&
           frame->codec <= FRAME_ZSTD && frame->size <= STORE_BLOB_MAX &&
           frame->raw_size <= STORE_BLOB_MAX;
}

void frame_segment_encode(const struct frame_segment *segment, uint8_t *out)
{
    memset(out, 0, FRAME_SEGMENT_PAYLOAD);
    bytes_put_le64(out, segment->previous);
    bytes_put_le64(out + 8, segment->previous_end);
    bytes_put_le32(out + 16, segment->kind);
}

bool frame_segment_decode(struct slice payload, struct frame_segment *segment)
{
    *segment = (struct frame_segment){0};
    if (payload.size != FRAME_SEGMENT_PAYLOAD)
        return false;
    segment->previous = bytes_get_le64(payload.data);
    segment->previous_end = bytes_get_le64(payload.data + 8);
    segment->kind = bytes_get_le32(payload.data + 16);
    return segment->kind <= SEGMENT_COLD;
}

bool frame_commit_decode(struct slice payload, struct frame_commit *commit)
{
    *commit = (struct frame_commit){0};
    if (payload.size < FRAME_COMMIT_PAYLOAD)
        return false;
    commit->first = bytes_get_le64(payload.data);
    commit->count = bytes_get_le32(payload.data + 8);
    commit->partitions = payload.data + FRAME_COMMIT_PAYLOAD;
    return payload.size - FRAME_COMMIT_PAYLOAD == (size_t)commit->count * sizeof(struct id);
}

struct id frame_commit_partition(const struct frame_commit *commit, uint32_t at)
{
    struct id partition;
    memcpy(partition.bytes, commit->partitions + (size_t)at * sizeof(partition.bytes),
           sizeof(partition.bytes));
    return partition;
}
