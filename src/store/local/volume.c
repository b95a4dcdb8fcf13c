/*
 * A volume's directory: making it, locking it, and the small file `volume` that says who it is and
 * how its lives ended (doc/formats/segment.md). That file is always replaced as a whole, so it is
 * the old or the new one after a crash. Nothing here knows what is in segments or index.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/mem.h"
#include "io/fd.h"
#include "store/local/files.h"
#include "store/local/local_priv.h"

enum {
    VOLUME_FILE = 64,
    VOLUME_VERSION = 1,
    LOCK_PATIENCE_MS = 2000, /* for the worker of a server that was killed a moment ago */
};

#define VOLUME_MAGIC 0x31567352u /* "RsV1", little-endian */

static void encode(const struct volume *volume, uint8_t out[VOLUME_FILE])
{
    memset(out, 0, VOLUME_FILE);
    bytes_put_le32(out, VOLUME_MAGIC);
    bytes_put_le32(out + 4, VOLUME_VERSION);
    memcpy(out + 8, volume->uuid.bytes, sizeof(volume->uuid.bytes));
    bytes_put_le64(out + 24, volume->epoch);
    bytes_put_le64(out + 32, volume->created_us);
    bytes_put_le64(out + 40, volume->opens);
    bytes_put_le32(out + 48, volume->unclean);
    bytes_put_le32(out + 60, crc32c(0, out, 60));
}

static bool decode(struct volume *volume, const uint8_t *in, size_t size, struct error *error)
{
    if (size >= 8 && bytes_get_le32(in) == VOLUME_MAGIC && bytes_get_le32(in + 4) > VOLUME_VERSION)
        return error_set(error,
                         "%s was written by a newer version (format %u, this program reads up to "
                         "%d): start the newer program, or restore a backup made before",
                         volume->path, bytes_get_le32(in + 4), VOLUME_VERSION);
    if (size != VOLUME_FILE || bytes_get_le32(in) != VOLUME_MAGIC ||
        bytes_get_le32(in + 4) != VOLUME_VERSION || bytes_get_le32(in + 60) != crc32c(0, in, 60))
        return error_set(error, "%s/volume is damaged: copy that file from a backup of this volume",
                         volume->path);
    memcpy(volume->uuid.bytes, in + 8, sizeof(volume->uuid.bytes));
    volume->epoch = bytes_get_le64(in + 24);
    volume->created_us = bytes_get_le64(in + 32);
    volume->opens = bytes_get_le64(in + 40);
    volume->unclean = bytes_get_le32(in + 48);
    return true;
}

static bool write_new(const struct volume *volume, int fd)
{
    uint8_t bytes[VOLUME_FILE];
    encode(volume, bytes);
    return (errno = fault_hit("store.volume.write")) == 0 &&
           files_write(fd, slice_make(bytes, sizeof(bytes))) &&
           (errno = fault_hit("store.volume.sync")) == 0 && fsync(fd) == 0;
}

bool volume_save(struct volume *volume, struct error *error)
{
    int fd =
        openat(volume->directory, "volume.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool saved = fd >= 0 && write_new(volume, fd);
    fd_close(&fd);
    saved = saved && (errno = fault_hit("store.volume.rename")) == 0 &&
            renameat(volume->directory, "volume.new", volume->directory, "volume") == 0 &&
            fsync(volume->directory) == 0;
    return saved || error_errno(error, "%s/volume cannot be written", volume->path);
}

static bool make_new(struct volume *volume, struct error *error)
{
    volume->uuid = id_random();
    volume->epoch = 1;
    volume->created_us = clock_real_us();
    return volume_save(volume, error);
}

static bool read_file(struct volume *volume, bool create, struct error *error)
{
    uint8_t bytes[VOLUME_FILE + 1];
    int fd = openat(volume->directory, "volume", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && create && faccessat(volume->directory, "index", F_OK, 0) != 0)
        return make_new(volume, error);
    if (fd < 0 && errno == ENOENT)
        return error_set(error, "%s is not a volume: there is no file `volume`", volume->path);
    if (fd < 0)
        return error_errno(error, "%s/volume", volume->path);
    ssize_t size = read(fd, bytes, sizeof(bytes));
    bool read_it = size >= 0 || error_errno(error, "%s/volume", volume->path);
    fd_close(&fd);
    return read_it && decode(volume, bytes, (size_t)size, error);
}

static bool take_lock(struct volume *volume, struct error *error)
{
    volume->lock = openat(volume->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (volume->lock < 0)
        return error_errno(error, "%s/lock", volume->path);
    unsigned left_ms = LOCK_PATIENCE_MS;
    int taken;
    while ((taken = flock(volume->lock, LOCK_EX | LOCK_NB)) != 0 && errno == EWOULDBLOCK &&
           clock_pause(&left_ms))
        ;
    if (taken == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return error_set(error, "%s is open in another process: stop that one first", volume->path);
    return error_errno(error, "%s cannot be locked", volume->path);
}

static bool open_segments(struct volume *volume, struct error *error)
{
    if (!files_make_directory(files_path(volume->path, "segments").text) ||
        !files_make_directory(files_path(volume->path, "journal").text) ||
        !files_make_directory(files_path(volume->path, "snapshots").text))
        return error_errno(error, "%s: cannot make its directories", volume->path);
    volume->segments = openat(volume->directory, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return volume->segments >= 0 || error_errno(error, "%s/segments", volume->path);
}

bool volume_open(struct volume *volume, const char *path, bool create, bool lock,
                 struct error *error)
{
    *volume = (struct volume){.directory = -1, .segments = -1, .lock = -1};
    volume->path = mem_strdup(path);
    if (create && !files_make_directory(path))
        return error_errno(error, "%s cannot be made", path);
    volume->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (volume->directory < 0)
        return error_errno(error, "%s", path);
    return (!lock || take_lock(volume, error)) && read_file(volume, create, error) &&
           open_segments(volume, error);
}

void volume_close(struct volume *volume)
{
    fd_close(&volume->segments);
    fd_close(&volume->directory);
    fd_close(&volume->lock);
    free(volume->path);
    volume->path = NULL;
}
