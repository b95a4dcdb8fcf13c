/*
 * Writing and reading of snapshot files; the format is in doc/formats/snapshot.md. This file does
 * not decide when one is made nor what a volume does with it (keep.c, rebuild.c).
 */
#include "store/local/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/mem.h"
#include "store/local/files.h"
#include "store/store_priv.h"

enum {
    HEADER = 64,
    BLOCK_HEADER = 16,
    BLOCK_GOOD = 256 << 10, /* a block is closed when it holds this much */
    VALUE_MAX = STORE_VALUE_MAX + 8, /* the index puts a checksum behind */
    BLOCK_MAX = BLOCK_GOOD + 7 + 65535 + VALUE_MAX,
    VERSION = 1,
    END_PAYLOAD = 24,
};

#define MAGIC "RsSnap1\n"
#define BLOCK_MAGIC 0x42537352u /* "RsSB" */
#define END_MAGIC 0x45537352u   /* "RsSE" */

struct snapshot_writer {
    int fd;
    char volume[4096];
    struct snapshot_head head;
    struct buf block; /* header and records so far */
    uint32_t block_records;
    uint64_t records, blocks;
    struct buf last; /* table and key of the last record */
};

struct files_path snapshot_path(const char *volume, uint64_t lsn)
{
    return files_path(volume, "snapshots/%016llx.snapshot", (unsigned long long)lsn);
}

static struct files_path unnamed_path(const char *volume)
{
    return files_path(volume, "snapshots/new");
}

/* ---- writing ------------------------------------------------------------------------------- */

static void encode_header(const struct snapshot_head *head, uint8_t *out)
{
    memset(out, 0, HEADER);
    memcpy(out, MAGIC, 8);
    bytes_put_le32(out + 8, VERSION);
    bytes_put_le32(out + 12, head->created);
    memcpy(out + 16, head->volume.bytes, 16);
    bytes_put_le64(out + 32, head->lsn);
    bytes_put_le64(out + 40, head->epoch);
    bytes_put_le32(out + 60, crc32c(0, out, 60));
}

static bool write_out(struct snapshot_writer *writer, struct slice bytes, struct error *error)
{
    int fault = fault_hit("store.snapshot.write");
    if (fault == 0 && files_write(writer->fd, bytes))
        return true;
    errno = fault != 0 ? fault : errno;
    return error_errno(error, "writing a snapshot");
}

static void begin_block(struct snapshot_writer *writer)
{
    buf_clear(&writer->block);
    memset(buf_extend(&writer->block, BLOCK_HEADER), 0, BLOCK_HEADER);
    writer->block_records = 0;
}

static bool write_block(struct snapshot_writer *writer, uint32_t magic, struct error *error)
{
    uint8_t *data = writer->block.data;
    bytes_put_le32(data, magic);
    bytes_put_le32(data + 4, (uint32_t)(writer->block.size - BLOCK_HEADER));
    bytes_put_le32(data + 8, writer->block_records);
    uint32_t crc = crc32c(0, data, 12);
    crc = crc32c(crc, data + BLOCK_HEADER, writer->block.size - BLOCK_HEADER);
    bytes_put_le32(data + 12, crc);
    bool written = write_out(writer, buf_slice(&writer->block), error);
    writer->blocks++;
    begin_block(writer);
    return written;
}

struct snapshot_writer *snapshot_create(const char *volume, const struct snapshot_head *head,
                                        struct error *error)
{
    if (!files_make_directory(files_path(volume, "snapshots").text)) {
        error_errno(error, "making the directory of snapshots");
        return NULL;
    }
    int fd = open(unnamed_path(volume).text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        error_errno(error, "making a snapshot");
        return NULL;
    }
    struct snapshot_writer *writer = MEM_NEW(struct snapshot_writer);
    writer->fd = fd;
    writer->head = *head;
    snprintf(writer->volume, sizeof(writer->volume), "%s", volume);
    uint8_t header[HEADER];
    encode_header(head, header);
    begin_block(writer);
    if (!write_out(writer, slice_make(header, HEADER), error))
        snapshot_abandon(&writer);
    return writer;
}

static void free_writer(struct snapshot_writer **writer)
{
    close((*writer)->fd);
    buf_finish(&(*writer)->block);
    buf_finish(&(*writer)->last);
    free(*writer);
    *writer = NULL;
}

void snapshot_abandon(struct snapshot_writer **writer)
{
    if (*writer == NULL)
        return;
    unlink(unnamed_path((*writer)->volume).text);
    free_writer(writer);
}

/* Remembers (table, key) as the last; false when it does not come after the one before. */
static bool ascends(struct buf *last, uint8_t table, struct slice key)
{
    bool first = last->size == 0;
    bool after = first || table > last->data[0] ||
                 (table == last->data[0] &&
                  slice_compare(slice_make(last->data + 1, last->size - 1), key) < 0);
    buf_clear(last);
    buf_u8(last, table);
    buf_add_slice(last, key);
    return after;
}

bool snapshot_add(struct snapshot_writer *writer, uint8_t table, struct slice key,
                  struct slice value, struct error *error)
{
    ASSERT(key.size <= UINT16_MAX && value.size <= VALUE_MAX);
    bool after = ascends(&writer->last, table, key);
    ASSERT(after);
    buf_u8(&writer->block, table);
    buf_u16(&writer->block, (uint16_t)key.size);
    buf_u32(&writer->block, (uint32_t)value.size);
    buf_add_slice(&writer->block, key);
    buf_add_slice(&writer->block, value);
    writer->block_records++;
    writer->records++;
    return writer->block.size < BLOCK_GOOD || write_block(writer, BLOCK_MAGIC, error);
}

static bool end_file(struct snapshot_writer *writer, struct error *error)
{
    if (writer->block_records > 0 && !write_block(writer, BLOCK_MAGIC, error))
        return false;
    buf_u64(&writer->block, writer->records);
    buf_u64(&writer->block, writer->blocks);
    buf_u64(&writer->block, writer->head.lsn);
    if (!write_block(writer, END_MAGIC, error))
        return false;
    int fault = fault_hit("store.snapshot.sync");
    if (fault == 0 && fsync(writer->fd) == 0)
        return true;
    errno = fault != 0 ? fault : errno;
    return error_errno(error, "syncing a snapshot");
}

static bool give_name(const struct snapshot_writer *writer, struct error *error)
{
    struct files_path unnamed = unnamed_path(writer->volume);
    struct snapshot_head head;
    if (!snapshot_read(unnamed.text, writer->head.volume, &head, NULL, NULL, error))
        return error_prefix(error, "a snapshot just written reads back wrong");
    int fault = fault_hit("store.snapshot.rename");
    errno = fault;
    if (fault != 0 ||
        rename(unnamed.text, snapshot_path(writer->volume, writer->head.lsn).text) != 0)
        return error_errno(error, "naming a snapshot");
    fault = fault_hit("store.snapshot.sync_directory");
    errno = fault;
    if (fault != 0 || !files_sync_directory(files_path(writer->volume, "snapshots").text))
        return error_errno(error, "syncing the directory of snapshots");
    return true;
}

bool snapshot_finish(struct snapshot_writer **writer, struct error *error)
{
    bool good = end_file(*writer, error) && give_name(*writer, error);
    if (good)
        free_writer(writer);
    else
        snapshot_abandon(writer);
    return good;
}

/* ---- reading ------------------------------------------------------------------------------- */

struct reader {
    int fd;
    uint64_t at;
    struct buf block;
    uint64_t records, blocks;
    struct buf last;
    snapshot_visit *visit;
    void *arg;
};

static bool damaged(struct reader *reader, struct error *error, const char *what)
{
    return error_set(error, "%s at byte %llu", what, (unsigned long long)reader->at);
}

static bool read_header(struct reader *reader, struct id volume, struct snapshot_head *head,
                        struct error *error)
{
    uint8_t header[HEADER];
    if (!files_read(reader->fd, 0, header, HEADER) || memcmp(header, MAGIC, 8) != 0)
        return error_set(error, "this is no snapshot");
    if (crc32c(0, header, 60) != bytes_get_le32(header + 60))
        return damaged(reader, error, "damaged header");
    if (bytes_get_le32(header + 8) != VERSION)
        return error_set(error, "snapshot format %u is newer than this program, which reads 1",
                         bytes_get_le32(header + 8));
    head->created = bytes_get_le32(header + 12);
    memcpy(head->volume.bytes, header + 16, 16);
    head->lsn = bytes_get_le64(header + 32);
    head->epoch = bytes_get_le64(header + 40);
    if (!id_equal(head->volume, volume))
        return error_set(error, "this is a snapshot of another volume, %s",
                         id_text(head->volume).text);
    reader->at = HEADER;
    return true;
}

/* One block into reader->block, header first, its checksum verified. */
static bool read_block(struct reader *reader, struct error *error)
{
    uint8_t header[BLOCK_HEADER];
    if (!files_read(reader->fd, reader->at, header, BLOCK_HEADER))
        return damaged(reader, error, "cut off");
    uint32_t magic = bytes_get_le32(header), size = bytes_get_le32(header + 4);
    if ((magic != BLOCK_MAGIC && magic != END_MAGIC) || size > BLOCK_MAX)
        return damaged(reader, error, "damaged block header");
    buf_clear(&reader->block);
    buf_add(&reader->block, header, BLOCK_HEADER);
    uint8_t *payload = buf_extend(&reader->block, size);
    if (!files_read(reader->fd, reader->at + BLOCK_HEADER, payload, size))
        return damaged(reader, error, "cut off");
    if (crc32c(crc32c(0, header, 12), payload, size) != bytes_get_le32(header + 12))
        return damaged(reader, error, "damaged block");
    return true;
}

static bool visit_records(struct reader *reader, struct error *error)
{
    uint32_t count = bytes_get_le32(reader->block.data + 8);
    struct cursor cursor =
        cursor_make(slice_sub(buf_slice(&reader->block), BLOCK_HEADER, SIZE_MAX));
    for (uint32_t i = 0; i < count; i++) {
        uint8_t table = cursor_u8(&cursor);
        uint16_t key_size = cursor_u16(&cursor);
        uint32_t value_size = cursor_u32(&cursor);
        struct slice key = cursor_bytes(&cursor, key_size);
        struct slice value = cursor_bytes(&cursor, value_size);
        if (cursor.failed || value_size > VALUE_MAX || !ascends(&reader->last, table, key))
            return damaged(reader, error, "bad record");
        if (reader->visit != NULL && !reader->visit(reader->arg, table, key, value, error))
            return false;
    }
    reader->records += count;
    return cursor_done(&cursor) || damaged(reader, error, "bytes behind the last record");
}

static bool check_end(struct reader *reader, const struct snapshot_head *head, struct error *error)
{
    struct cursor cursor =
        cursor_make(slice_sub(buf_slice(&reader->block), BLOCK_HEADER, SIZE_MAX));
    bool right = cursor_u64(&cursor) == reader->records;
    right = cursor_u64(&cursor) == reader->blocks && right;
    right = cursor_u64(&cursor) == head->lsn && right;
    uint8_t more;
    bool longer = files_read(reader->fd, reader->at + reader->block.size, &more, 1);
    return (cursor_done(&cursor) && right && !longer) || damaged(reader, error, "wrong end");
}

static bool read_all(struct reader *reader, const struct snapshot_head *head, struct error *error)
{
    for (;;) {
        if (!read_block(reader, error))
            return false;
        if (bytes_get_le32(reader->block.data) == END_MAGIC)
            return check_end(reader, head, error);
        if (!visit_records(reader, error))
            return false;
        reader->blocks++;
        reader->at += reader->block.size;
    }
}

bool snapshot_read(const char *path, struct id volume, struct snapshot_head *head,
                   snapshot_visit *visit, void *arg, struct error *error)
{
    struct reader reader = {.visit = visit, .arg = arg};
    reader.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader.fd < 0)
        return error_errno(error, "opening a snapshot");
    bool good = read_header(&reader, volume, head, error) && read_all(&reader, head, error);
    close(reader.fd);
    buf_finish(&reader.block);
    buf_finish(&reader.last);
    return good;
}

/* ---- the directory ------------------------------------------------------------------------- */

bool snapshot_list(const char *volume, uint64_t **lsns, size_t *count)
{
    struct files_name *names;
    *lsns = NULL;
    if (!files_list(files_path(volume, "snapshots").text, ".snapshot", &names, count))
        return false;
    *lsns = mem_array(*count + 1, sizeof(**lsns));
    for (size_t i = 0; i < *count; i++)
        (*lsns)[i] = names[i].first;
    free(names);
    return true;
}

bool snapshot_prune(const char *volume, size_t keep)
{
    uint64_t *lsns;
    size_t count;
    if (!snapshot_list(volume, &lsns, &count))
        return false;
    bool good = true;
    for (size_t i = 0; i + keep < count; i++) {
        if (fault_hit("store.snapshot.unlink") != 0 ||
            unlink(snapshot_path(volume, lsns[i]).text) != 0)
            good = false;
    }
    unlink(unnamed_path(volume).text);
    free(lsns);
    return good;
}
