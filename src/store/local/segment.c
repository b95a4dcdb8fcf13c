/*
 * Segment files: names, making them full of zeros, references to an open one, and the loop's list
 * of them. What is written into them is for log.c, recover.c and compaction; here only the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/mem.h"
#include "io/fd.h"
#include "store/local/local_priv.h"

enum { ZEROS = 1 << 20 };

static int segment_compare(struct segment *a, struct segment *b)
{
    return a->generation < b->generation ? -1 : a->generation > b->generation;
}

RB_GENERATE(segments, segment, tree, segment_compare)

static struct segment_name name_of(uint64_t generation, const char *suffix)
{
    struct segment_name name;
    snprintf(name.text, sizeof(name.text), "%016llx%s", (unsigned long long)generation, suffix);
    return name;
}

struct segment_name segment_name(uint64_t generation)
{
    return name_of(generation, ".seg");
}

struct segment_name segment_name_new(uint64_t generation)
{
    return name_of(generation, ".new");
}

bool segment_name_parse(const char *name, uint64_t *generation)
{
    char *end;
    if (strlen(name) != 20 || strspn(name, "0123456789abcdef") != 16)
        return false;
    *generation = strtoull(name, &end, 16);
    return *generation != 0 && strcmp(end, ".seg") == 0;
}

static struct segment *make(uint64_t generation, int fd, uint64_t size)
{
    struct segment *segment = MEM_NEW(struct segment);
    segment->generation = generation;
    segment->fd = fd;
    segment->size = size;
    atomic_init(&segment->refs, 1);
    return segment;
}

/* Past the page cache where the file system lets us: through it, the zeros cost more than the mail
 * that will stand there. */
static bool fill(int fd, uint64_t size)
{
    static _Alignas(4096) const uint8_t zeros[ZEROS];
    int flags = fcntl(fd, F_GETFL);
    bool direct = fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
    for (uint64_t at = 0; at < size;) {
        size_t part = size - at < ZEROS ? (size_t)(size - at) : ZEROS;
        if ((errno = fault_hit("store.segment.fill")) != 0)
            return false;
        ssize_t written = pwrite(fd, zeros, part, (off_t)at);
        if (written < 0 && errno == EINVAL && direct) {
            direct = false;
            fcntl(fd, F_SETFL, flags);
            continue;
        }
        if (written < 0 && errno != EINTR)
            return false;
        at += written > 0 ? (uint64_t)written : 0;
    }
    fcntl(fd, F_SETFL, flags);
    return (errno = fault_hit("store.segment.sync")) == 0 && fsync(fd) == 0;
}

struct segment *segment_create(const struct volume *volume, uint64_t generation, uint64_t size,
                               bool name_new)
{
    struct segment_name name = name_new ? segment_name_new(generation) : segment_name(generation);
    if ((errno = fault_hit("store.segment.create")) != 0)
        return NULL;
    int fd = openat(volume->segments, name.text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return NULL;
    size = (size + 4095) & ~UINT64_C(4095);
    /* Tells at once that there is no room, and asks for one piece of it. */
    int full = posix_fallocate(fd, 0, (off_t)size);
    errno = full == EOPNOTSUPP || full == EINVAL ? 0 : full;
    if (errno != 0 || !fill(fd, size) || (!name_new && fsync(volume->segments) != 0)) {
        int why = errno;
        unlinkat(volume->segments, name.text, 0);
        fd_close(&fd);
        errno = why;
        return NULL;
    }
    /* Reads are of whole bodies; reading ahead of them would only fill the cache. */
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return make(generation, fd, size);
}

bool segment_publish(const struct volume *volume, struct segment *segment)
{
    struct segment_name before = segment_name_new(segment->generation);
    struct segment_name after = segment_name(segment->generation);
    return (errno = fault_hit("store.segment.publish")) == 0 && fsync(segment->fd) == 0 &&
           (errno = fault_hit("store.segment.rename")) == 0 &&
           renameat(volume->segments, before.text, volume->segments, after.text) == 0 &&
           (errno = fault_hit("store.segment.named")) == 0 && fsync(volume->segments) == 0;
}

struct segment *segment_open(const struct volume *volume, uint64_t generation)
{
    struct stat status;
    int fd = openat(volume->segments, segment_name(generation).text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) != 0) {
        fd_close(&fd);
        return NULL;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return make(generation, fd, (uint64_t)status.st_size);
}

struct segment *segment_hold(struct segment *segment)
{
    atomic_fetch_add(&segment->refs, 1);
    return segment;
}

void segment_drop(struct segment **segment)
{
    if (*segment != NULL && atomic_fetch_sub(&(*segment)->refs, 1) == 1) {
        fd_close(&(*segment)->fd);
        free(*segment);
    }
    *segment = NULL;
}

bool segment_remove_file(const struct volume *volume, uint64_t generation)
{
    return (errno = fault_hit("store.segment.remove")) == 0 &&
           unlinkat(volume->segments, segment_name(generation).text, 0) == 0;
}

/* ---- the loop's list ----------------------------------------------------------------------- */

struct segment *local_segment(struct local *local, uint64_t generation)
{
    struct segment search = {.generation = generation};
    return RB_FIND(segments, &local->segments, &search);
}

void local_segment_add(struct local *local, struct segment *segment)
{
    ASSERT(RB_INSERT(segments, &local->segments, segment) == NULL);
}

bool local_segment_remove(struct local *local, uint64_t generation)
{
    struct segment *segment = local_segment(local, generation);
    ASSERT(segment != NULL && !segment->writing && !segment->damaged);
    if (!segment_remove_file(&local->volume, generation))
        return false;
    RB_REMOVE(segments, &local->segments, segment);
    segment_drop(&segment);
    return true;
}
