/* The frame codec: the table of doc/formats/segment.md by hand, every truncation, every flip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "store/local/frame.h"

static struct frame sample(void)
{
    struct frame frame = {.type = FRAME_BODY,
                          .codec = FRAME_ZSTD,
                          .generation = 0x0102030405060708,
                          .lsn = 77,
                          .durable = 76,
                          .blob = 0x1122334455667788,
                          .label = {1, 2, 3, 4},
                          .size = 1000,
                          .raw_size = 5000,
                          .crc = 0xdeadbeef};
    for (unsigned i = 0; i < 16; i++) {
        frame.volume.bytes[i] = (uint8_t)(0xa0 + i);
        frame.partition.bytes[i] = (uint8_t)(0xb0 + i);
    }
    return frame;
}

/* Offsets are those of the page in doc/formats, not of the code. */
static void stands_as_written(void **state)
{
    uint8_t out[FRAME_HEADER];
    struct frame frame = sample();
    frame_encode(&frame, out);
    assert_memory_equal(out, "RsF1", 4);
    assert_int_equal(out[4], 2);
    assert_int_equal(out[5], 1);
    assert_int_equal(bytes_get_le16(out + 6), 0);
    assert_memory_equal(out + 8, frame.volume.bytes, 16);
    assert_int_equal(bytes_get_le64(out + 24), 0x0102030405060708);
    assert_int_equal(bytes_get_le64(out + 32), 77);
    assert_int_equal(bytes_get_le64(out + 40), 76);
    assert_memory_equal(out + 48, frame.partition.bytes, 16);
    assert_int_equal(bytes_get_le64(out + 64), 0x1122334455667788);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(bytes_get_le32(out + 72 + 4 * i), i + 1);
    assert_int_equal(bytes_get_le32(out + 88), 1000);
    assert_int_equal(bytes_get_le32(out + 92), 5000);
    assert_int_equal(bytes_get_le32(out + 96), 0xdeadbeef);
    assert_int_equal(bytes_get_le32(out + 100), crc32c(0, out, 100));
}

static void comes_back(void **state)
{
    uint8_t out[FRAME_HEADER];
    struct frame frame = sample(), back;
    frame_encode(&frame, out);
    assert_true(frame_decode(slice_make(out, sizeof(out)), &back));
    assert_int_equal(back.type, frame.type);
    assert_int_equal(back.codec, frame.codec);
    assert_true(id_equal(back.volume, frame.volume));
    assert_true(id_equal(back.partition, frame.partition));
    assert_int_equal(back.generation, frame.generation);
    assert_int_equal(back.lsn, frame.lsn);
    assert_int_equal(back.durable, frame.durable);
    assert_int_equal(back.blob, frame.blob);
    assert_memory_equal(&back.label, &frame.label, sizeof(frame.label));
    assert_int_equal(back.size, frame.size);
    assert_int_equal(back.raw_size, frame.raw_size);
    assert_int_equal(back.crc, frame.crc);
}

static void truncations_and_flips(void **state)
{
    uint8_t out[FRAME_HEADER];
    struct frame frame = sample(), back;
    frame_encode(&frame, out);
    for (size_t size = 0; size < sizeof(out); size++)
        assert_false(frame_decode(slice_make(out, size), &back));
    for (size_t at = 0; at < sizeof(out); at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            out[at] ^= (uint8_t)(1u << bit);
            assert_false(frame_decode(slice_make(out, sizeof(out)), &back));
            out[at] ^= (uint8_t)(1u << bit);
        }
    }
}

/* A right checksum over values that we never write. */
static void out_of_range(void **state)
{
    uint8_t out[FRAME_HEADER];
    struct frame frame = sample(), back;
    frame.type = 5;
    frame_encode(&frame, out);
    assert_false(frame_decode(slice_make(out, sizeof(out)), &back));
    frame = sample();
    frame.codec = 2;
    frame_encode(&frame, out);
    assert_false(frame_decode(slice_make(out, sizeof(out)), &back));
    frame = sample();
    frame.size = STORE_BLOB_MAX + 1u;
    frame_encode(&frame, out);
    assert_false(frame_decode(slice_make(out, sizeof(out)), &back));
}

static void payloads(void **state)
{
    uint8_t out[FRAME_SEGMENT_PAYLOAD], commit_bytes[FRAME_COMMIT_PAYLOAD + 32] = {0};
    struct frame_segment segment = {12, 345, SEGMENT_COLD}, back;
    struct frame_commit commit;
    frame_segment_encode(&segment, out);
    for (size_t size = 0; size < sizeof(out); size++)
        assert_false(frame_segment_decode(slice_make(out, size), &back));
    assert_true(frame_segment_decode(slice_make(out, sizeof(out)), &back));
    assert_int_equal(back.previous, 12);
    assert_int_equal(back.previous_end, 345);
    assert_int_equal(back.kind, SEGMENT_COLD);
    bytes_put_le64(commit_bytes, 9);
    bytes_put_le32(commit_bytes + 8, 2);
    commit_bytes[FRAME_COMMIT_PAYLOAD + 16] = 0x5a;
    for (size_t size = 0; size < sizeof(commit_bytes); size++)
        assert_false(frame_commit_decode(slice_make(commit_bytes, size), &commit));
    assert_true(frame_commit_decode(slice_make(commit_bytes, sizeof(commit_bytes)), &commit));
    assert_int_equal(commit.first, 9);
    assert_int_equal(frame_commit_partition(&commit, 1).bytes[0], 0x5a);
    bytes_put_le32(commit_bytes + 8, 0xffffffff);
    assert_false(frame_commit_decode(slice_make(commit_bytes, sizeof(commit_bytes)), &commit));
}

static void sizes(void **state)
{
    assert_int_equal(frame_total(0), 104);
    assert_int_equal(frame_total(1), 112);
    assert_int_equal(frame_total(8), 112);
    assert_int_equal(frame_total(9), 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stands_as_written),
        cmocka_unit_test(comes_back),
        cmocka_unit_test(truncations_and_flips),
        cmocka_unit_test(out_of_range),
        cmocka_unit_test(payloads),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
