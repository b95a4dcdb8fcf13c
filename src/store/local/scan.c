/*
 * Walks the frames of a segment. Only says what is there: a whole frame, a good header with a bad
 * payload, bytes that are no frame with a good header behind them, or nothing more. What that
 * means (torn tail or damage) is recover.c's to judge. Bytes that the disk does not give are as bad
 * as wrong ones; what lies behind them is still found.
 */
#include <errno.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "store/local/files.h"
#include "store/local/local_priv.h"

enum { WINDOW = 256 << 10, SKIP = 4096 };

void scan_init(struct scan *scan, const struct segment *segment, struct id volume, uint64_t offset,
               uint64_t end)
{
    *scan = (struct scan){.segment = segment, .volume = volume, .offset = offset};
    scan->end = end < segment->size ? end : segment->size;
    buf_init(&scan->payload);
}

void scan_finish(struct scan *scan)
{
    buf_finish(&scan->payload);
}

/* A header of this volume and segment, whose frame ends where it may. */
static bool belongs(const struct scan *scan, struct slice bytes, uint64_t at, struct frame *frame)
{
    return frame_decode(bytes, frame) && id_equal(frame->volume, scan->volume) &&
           frame->generation == scan->segment->generation &&
           at + frame_total(frame->size) <= scan->end;
}

static bool header_at(const struct scan *scan, uint64_t at, struct frame *frame)
{
    uint8_t bytes[FRAME_HEADER];
    return at + FRAME_HEADER <= scan->end &&
           files_read(scan->segment->fd, at, bytes, sizeof(bytes)) &&
           belongs(scan, slice_make(bytes, sizeof(bytes)), at, frame);
}

/* The first good header from `at` on; scan->end when there is none. */
static uint64_t search(struct scan *scan, uint64_t at)
{
    struct frame frame;
    uint8_t *window = buf_extend((buf_clear(&scan->payload), &scan->payload), WINDOW);
    while (at + FRAME_HEADER <= scan->end) {
        size_t size = scan->end - at < WINDOW ? (size_t)(scan->end - at) : WINDOW;
        if (!files_read(scan->segment->fd, at, window, size)) {
            size = size < SKIP ? size : SKIP;
            if (!files_read(scan->segment->fd, at, window, size)) {
                at += SKIP;
                continue;
            }
        }
        size_t in = 0;
        for (; in + FRAME_HEADER <= size; in += FRAME_ALIGN)
            if (bytes_get_le32(window + in) == FRAME_MAGIC &&
                belongs(scan, slice_make(window + in, size - in), at + in, &frame))
                return at + in;
        at += in == 0 ? size : in;
    }
    return scan->end;
}

static bool read_payload(struct scan *scan, const struct scanned *found)
{
    buf_clear(&scan->payload);
    uint8_t *bytes = buf_extend(&scan->payload, found->frame.size);
    return files_read(scan->segment->fd, found->at + FRAME_HEADER, bytes, found->frame.size) &&
           (crc32c(0, bytes, found->frame.size) == found->frame.crc ||
            fault_hit("control.checksum") != 0);
}

enum scan_outcome scan_next(struct scan *scan, bool payloads, struct scanned *found)
{
    *found = (struct scanned){.at = scan->offset};
    if (!header_at(scan, found->at, &found->frame)) {
        found->frame = (struct frame){0};
        found->next = search(scan, found->at + FRAME_ALIGN);
        scan->offset = found->next;
        return found->next < scan->end ? SCAN_BAD : SCAN_END;
    }
    found->next = found->at + frame_total(found->frame.size);
    scan->offset = found->next;
    if (!payloads && found->frame.type != FRAME_COMMIT && found->frame.type != FRAME_SEGMENT)
        return SCAN_FRAME;
    if (!read_payload(scan, found))
        return SCAN_PAYLOAD;
    found->payload = buf_slice(&scan->payload);
    return SCAN_FRAME;
}

bool scan_segment(const struct segment *segment, struct id volume, struct frame *frame,
                  struct frame_segment *info)
{
    struct scan scan;
    struct scanned found;
    scan_init(&scan, segment, volume, 0, segment->size);
    bool there = header_at(&scan, 0, frame) && frame->type == FRAME_SEGMENT &&
                 scan_next(&scan, true, &found) == SCAN_FRAME &&
                 frame_segment_decode(found.payload, info);
    scan_finish(&scan);
    return there;
}
