/*
 * Files of a volume as a broken disk could show them, with the checksums made right again, since a
 * fuzzer does not find them and a disk may have written what it should not: frames and their
 * payloads, segments, snapshots. Properties: a scan moves forward and ends; what it gives lies
 * inside of the file; nothing but a whole snapshot is taken for one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "io/fd.h"
#include "store/local/local_priv.h"
#include "store/local/snapshot.h"

enum { FILE_MAX = 64 * 1024, SNAPSHOT_HEAD = 64, BLOCK_HEAD = 16 };

static const struct id volume = {{'v'}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- segments ------------------------------------------------------------------------------ */

/* Where a frame seems to begin, it becomes one of this volume with right checksums. */
static void mend_frames(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + FRAME_HEADER <= size; at += FRAME_ALIGN) {
        uint8_t *frame = bytes + at;
        if (bytes_get_le32(frame) != FRAME_MAGIC)
            continue;
        memcpy(frame + 8, volume.bytes, sizeof(volume.bytes));
        bytes_put_le64(frame + 24, 1); /* generation */
        uint32_t payload = bytes_get_le32(frame + 88);
        if (payload <= size - at - FRAME_HEADER)
            bytes_put_le32(frame + 96, crc32c(0, frame + FRAME_HEADER, payload));
        bytes_put_le32(frame + 100, crc32c(0, frame, 100));
    }
}

static void look_at(const struct scanned *found)
{
    struct frame_segment segment;
    struct frame_commit commit;
    ASSERT(found->payload.size == 0 || found->payload.size == found->frame.size);
    if (found->frame.type == FRAME_SEGMENT)
        frame_segment_decode(found->payload, &segment);
    if (found->frame.type == FRAME_COMMIT && frame_commit_decode(found->payload, &commit) &&
        commit.count > 0)
        frame_commit_partition(&commit, commit.count - 1);
    if (found->frame.type == FRAME_OPS) {
        struct store_ops ops = store_ops_make(found->payload);
        struct store_op op;
        while (store_ops_next(&ops, &op))
            continue;
    }
}

static void try_segment(int fd, uint64_t size, bool payloads)
{
    struct segment segment = {.generation = 1, .fd = fd, .size = size};
    struct scan scan;
    struct scanned found;
    struct frame frame;
    struct frame_segment info;
    uint64_t before = 0;
    scan_segment(&segment, volume, &frame, &info);
    scan_init(&scan, &segment, volume, 0, size);
    for (;;) {
        enum scan_outcome outcome = scan_next(&scan, payloads, &found);
        if (outcome == SCAN_END)
            break;
        ASSERT(found.at >= before && found.next > found.at && found.next <= size);
        before = found.next;
        if (outcome == SCAN_FRAME)
            look_at(&found);
    }
    scan_finish(&scan);
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static void mend_snapshot(uint8_t *bytes, size_t size)
{
    if (size < SNAPSHOT_HEAD)
        return;
    memcpy(bytes, "RsSnap1\n", 8);
    memcpy(bytes + 16, volume.bytes, sizeof(volume.bytes));
    bytes_put_le32(bytes + 60, crc32c(0, bytes, 60));
    for (size_t at = SNAPSHOT_HEAD; size - at >= BLOCK_HEAD;) {
        uint32_t payload = bytes_get_le32(bytes + at + 4);
        if (payload > size - at - BLOCK_HEAD)
            return;
        uint32_t crc = crc32c(0, bytes + at, 12);
        bytes_put_le32(bytes + at + 12, crc32c(crc, bytes + at + BLOCK_HEAD, payload));
        at += BLOCK_HEAD + payload;
    }
}

struct seen {
    uint64_t records, bytes;
};

static bool on_record(void *arg, uint8_t table, struct slice key, struct slice value,
                      struct error *error)
{
    struct seen *seen = arg;
    seen->records++;
    seen->bytes += key.size + value.size;
    return true;
}

static void try_snapshot(int fd, uint64_t size)
{
    char path[64];
    struct snapshot_head head;
    struct seen seen = {0};
    struct error error = {""};
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (!snapshot_read(path, volume, &head, on_record, &seen, &error))
        ASSERT(error.text[0] != '\0');
    ASSERT(seen.bytes <= size && id_equal(volume, volume));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILE_MAX];
    if (size < 1 || size > FILE_MAX)
        return 0;
    bool segment = data[0] != 's';
    size_t used = size - 1;
    memcpy(bytes, data + 1, used);
    if (segment)
        mend_frames(bytes, used);
    else
        mend_snapshot(bytes, used);
    int fd = fd_memory_create("disk");
    ASSERT(fd >= 0 && fd_memory_write(fd, bytes, used));
    if (segment) {
        try_segment(fd, used, true);
        try_segment(fd, used, false);
    } else {
        try_snapshot(fd, used);
    }
    fd_close(&fd);
    return 0;
}
