/*
 * Writing and reading of journal files; the format is in doc/formats/journal.md. When a segment is
 * copied into the journal is keep.c's, what a rebuild does with it is rebuild.c's.
 */
#include "store/local/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/mem.h"
#include "store/store_priv.h"

enum { HEADER = 48, VERSION = 1, BUFFER = 1 << 20 };

#define MAGIC "RsJrnl1\n"

struct journal_writer {
    int fd;
    char volume[4096];
    struct id uuid;
    struct files_name name; /* last == first - 1: nothing yet */
    struct buf buffer;
};

struct files_path journal_path(const char *volume, struct files_name name)
{
    return files_path(volume, "journal/%016llx-%016llx.journal", (unsigned long long)name.first,
                      (unsigned long long)name.last);
}

static struct files_path unnamed_path(const char *volume)
{
    return files_path(volume, "journal/new");
}

bool journal_list(const char *volume, struct files_name **names, size_t *count)
{
    return files_list(files_path(volume, "journal").text, ".journal", names, count);
}

/* ---- writing ------------------------------------------------------------------------------- */

static bool flush(struct journal_writer *writer, struct error *error)
{
    int fault = fault_hit("store.journal.write");
    bool written = fault == 0 && files_write(writer->fd, buf_slice(&writer->buffer));
    errno = fault != 0 ? fault : errno;
    buf_clear(&writer->buffer);
    return written || error_errno(error, "writing the journal");
}

struct journal_writer *journal_create(const char *volume, struct id uuid, uint64_t first,
                                      struct error *error)
{
    if (!files_make_directory(files_path(volume, "journal").text)) {
        error_errno(error, "making the directory of the journal");
        return NULL;
    }
    int fd = open(unnamed_path(volume).text, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        error_errno(error, "making a journal file");
        return NULL;
    }
    struct journal_writer *writer = MEM_NEW(struct journal_writer);
    writer->fd = fd;
    writer->uuid = uuid;
    writer->name = (struct files_name){first, first - 1};
    snprintf(writer->volume, sizeof(writer->volume), "%s", volume);
    uint8_t *header = buf_extend(&writer->buffer, HEADER);
    memset(header, 0, HEADER);
    memcpy(header, MAGIC, 8);
    bytes_put_le32(header + 8, VERSION);
    memcpy(header + 16, uuid.bytes, 16);
    bytes_put_le64(header + 32, first);
    bytes_put_le32(header + 44, crc32c(0, header, 44));
    return writer;
}

bool journal_add(struct journal_writer *writer, uint64_t lsn, struct slice header,
                 struct slice payload, struct error *error)
{
    ASSERT(lsn == writer->name.last + 1 && header.size == FRAME_HEADER);
    writer->name.last = lsn;
    buf_add_slice(&writer->buffer, header);
    buf_add_slice(&writer->buffer, payload);
    size_t padding = frame_padding(payload.size);
    memset(buf_extend(&writer->buffer, padding), 0, padding);
    return writer->buffer.size < BUFFER || flush(writer, error);
}

static void free_writer(struct journal_writer **writer)
{
    close((*writer)->fd);
    buf_finish(&(*writer)->buffer);
    free(*writer);
    *writer = NULL;
}

void journal_abandon(struct journal_writer **writer)
{
    if (*writer == NULL)
        return;
    unlink(unnamed_path((*writer)->volume).text);
    free_writer(writer);
}

static bool read_file(int fd, struct files_name name, struct id uuid, uint64_t after,
                      journal_visit *visit, void *arg, struct error *error);

static bool end_file(struct journal_writer *writer, struct error *error)
{
    if (!flush(writer, error))
        return false;
    int fault = fault_hit("store.journal.sync");
    errno = fault;
    if (fault != 0 || fsync(writer->fd) != 0)
        return error_errno(error, "syncing a journal file");
    if (!read_file(writer->fd, writer->name, writer->uuid, 0, NULL, NULL, error))
        return error_prefix(error, "a journal file just written reads back wrong");
    fault = fault_hit("store.journal.rename");
    errno = fault;
    if (fault != 0 || rename(unnamed_path(writer->volume).text,
                             journal_path(writer->volume, writer->name).text) != 0)
        return error_errno(error, "naming a journal file");
    fault = fault_hit("store.journal.sync_directory");
    errno = fault;
    if (fault != 0 || !files_sync_directory(files_path(writer->volume, "journal").text))
        return error_errno(error, "syncing the directory of the journal");
    return true;
}

bool journal_finish(struct journal_writer **writer, struct error *error)
{
    ASSERT((*writer)->name.last + 1 != (*writer)->name.first);
    bool good = end_file(*writer, error);
    if (good)
        free_writer(writer);
    else
        journal_abandon(writer);
    return good;
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool read_header(int fd, struct files_name name, struct id uuid, struct error *error)
{
    uint8_t header[HEADER];
    if (!files_read(fd, 0, header, HEADER) || memcmp(header, MAGIC, 8) != 0 ||
        crc32c(0, header, 44) != bytes_get_le32(header + 44))
        return error_set(error, "no journal file, or its header is damaged");
    if (bytes_get_le32(header + 8) != VERSION)
        return error_set(error, "journal format %u is newer than this program, which reads 1",
                         bytes_get_le32(header + 8));
    if (memcmp(header + 16, uuid.bytes, 16) != 0)
        return error_set(error, "this journal file is of another volume");
    if (bytes_get_le64(header + 32) != name.first)
        return error_set(error, "this journal file begins at another batch than its name says");
    return true;
}

/* One frame at *at into payload. */
static bool read_frame(int fd, uint64_t *at, struct id uuid, uint64_t lsn, struct frame *frame,
                       struct buf *payload, struct error *error)
{
    uint8_t header[FRAME_HEADER];
    buf_clear(payload);
    bool good = files_read(fd, *at, header, FRAME_HEADER) &&
                frame_decode(slice_make(header, FRAME_HEADER), frame) && frame->type == FRAME_OPS &&
                frame->lsn == lsn && frame->size <= STORE_OPS_MAX &&
                id_equal(frame->volume, uuid) &&
                files_read(fd, *at + FRAME_HEADER, buf_extend(payload, frame->size), frame->size) &&
                crc32c(0, payload->data, payload->size) == frame->crc &&
                store_ops_valid(buf_slice(payload));
    if (!good)
        return error_set(error, "damaged at byte %llu, batch %llu", (unsigned long long)*at,
                         (unsigned long long)lsn);
    *at += frame_total(frame->size);
    return true;
}

static bool read_file(int fd, struct files_name name, struct id uuid, uint64_t after,
                      journal_visit *visit, void *arg, struct error *error)
{
    struct buf payload = {0};
    uint64_t at = HEADER;
    bool good = read_header(fd, name, uuid, error);
    for (uint64_t lsn = name.first; good && lsn <= name.last; lsn++) {
        struct frame frame;
        good = read_frame(fd, &at, uuid, lsn, &frame, &payload, error);
        if (good && visit != NULL && lsn > after)
            good = visit(arg, &frame, buf_slice(&payload), error);
    }
    buf_finish(&payload);
    uint8_t more;
    if (good && files_read(fd, at, &more, 1))
        return error_set(error, "there is more behind the last batch");
    return good;
}

bool journal_read(const char *volume, struct files_name name, struct id uuid, uint64_t after,
                  journal_visit *visit, void *arg, struct error *error)
{
    int fd = open(journal_path(volume, name).text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(error, "opening a journal file");
    bool good = read_file(fd, name, uuid, after, visit, arg, error);
    close(fd);
    return good;
}

/* ---- the directory ------------------------------------------------------------------------- */

static bool older_than(const char *path, uint32_t keep_s)
{
    struct stat status;
    return stat(path, &status) == 0 && status.st_mtime + (time_t)keep_s <= (time_t)clock_real_s();
}

bool journal_prune(const char *volume, uint64_t lsn, uint32_t keep_s)
{
    struct files_name *names;
    size_t count;
    if (!journal_list(volume, &names, &count))
        return false;
    bool good = true;
    for (size_t i = 0; i + 1 < count && names[i].last <= lsn; i++) {
        struct files_path path = journal_path(volume, names[i]);
        if (!older_than(path.text, keep_s))
            break; /* those behind it are younger: what stays has no hole */
        if (fault_hit("store.journal.unlink") != 0 || unlink(path.text) != 0)
            good = false;
    }
    free(names);
    return good;
}
