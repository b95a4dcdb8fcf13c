/* See disk.h. The functions of libc that change files are defined here under their own names, with
 * both sizes of offset, and reach the kernel by syscall(). One mutex makes each an event of its
 * own: what is noted is the order in which it happened. */
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS = 1024 };

static struct disk *noted; /* NULL: calls pass through */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    uint32_t node;
    bool dsync;
} fds[FDS];

/* ---- notes --------------------------------------------------------------------------------- */

static struct disk_event *add(enum disk_kind kind, uint32_t node, const void *data, size_t size)
{
    struct disk *disk = noted;
    if (disk->event_count == DISK_EVENTS || disk->used + size > DISK_LOG ||
        disk->node_count == DISK_NODES) {
        fprintf(stderr, "power: a life is too long for the notes\n");
        abort();
    }
    struct disk_event *event = &disk->events[disk->event_count];
    *event = (struct disk_event){kind, node, .data = disk->used, .size = size};
    if (size > 0)
        memcpy(disk->log + disk->used, data, size);
    disk->used += size;
    disk->event_count++;
    return event;
}

static void maybe_die(void)
{
    if (noted->ways.kill_at != 0 && noted->event_count >= noted->ways.kill_at)
        kill(getpid(), SIGKILL);
}

void disk_note(struct disk *disk, const void *data, size_t size)
{
    if (noted != disk)
        return;
    pthread_mutex_lock(&mutex);
    add(DISK_NOTE, 0, data, size);
    maybe_die();
    pthread_mutex_unlock(&mutex);
}

static uint32_t find(uint64_t inode)
{
    for (uint32_t i = noted->node_count; i-- > 1;)
        if (noted->nodes[i].inode == inode)
            return i;
    return 0;
}

static uint32_t node_at(int at, const char *path)
{
    struct stat status;
    return fstatat(at, path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? find(status.st_ino) : 0;
}

static uint32_t new_node(struct disk *disk, uint64_t inode, bool directory, const char *name,
                         bool in_segments)
{
    uint32_t node = disk->node_count++;
    disk->nodes[node] = (struct disk_node){inode, directory,
                                           directory && strcmp(name, "segments") == 0, in_segments};
    return node;
}

/* The directory that holds the last part of the path, when it is one of ours; else 0. */
static uint32_t parent_of(int at, const char *path, const char **name)
{
    char copy[4096];
    const char *slash = strrchr(path, '/');
    *name = slash == NULL ? path : slash + 1;
    if (noted == NULL)
        return 0;
    if (slash == NULL)
        return node_at(at, ".");
    snprintf(copy, sizeof(copy), "%.*s", (int)(slash - path + 1), path);
    return node_at(at, copy);
}

static void name_event(enum disk_kind kind, uint32_t directory, uint32_t node, const char *name)
{
    add(kind, directory, name, strlen(name) + 1)->other = node;
    maybe_die();
}

static uint32_t node_of(int fd)
{
    return noted != NULL && fd >= 0 && fd < FDS ? fds[fd].node : 0;
}

/* ---- opening and closing ------------------------------------------------------------------- */

static int do_open(int at, const char *path, int flags, mode_t mode)
{
    const char *name;
    struct stat status;
    pthread_mutex_lock(&mutex);
    uint32_t directory = (flags & O_CREAT) != 0 ? parent_of(at, path, &name) : 0;
    bool there = faccessat(at, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    int why = errno;
    if (noted != NULL && fd >= 0 && fd < FDS && fstat(fd, &status) == 0) {
        fds[fd].node = find(status.st_ino);
        fds[fd].dsync = (flags & O_DSYNC) != 0;
        if (directory != 0 && !there) {
            fds[fd].node =
                new_node(noted, status.st_ino, false, name, noted->nodes[directory].segments);
            name_event(DISK_CREATE, directory, fds[fd].node, name);
        } else if (fds[fd].node != 0 && (flags & O_TRUNC) != 0) {
            add(DISK_TRUNCATE, fds[fd].node, NULL, 0);
        }
    }
    pthread_mutex_unlock(&mutex);
    errno = why;
    return fd;
}

#define WITH_MODE(flags, mode)                                                                     \
    mode_t mode = 0;                                                                               \
    if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {                                                  \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode = va_arg(list, mode_t);                                                               \
        va_end(list);                                                                              \
    }

int disk_open(const char *path, int flags, ...) __asm__("open");
int disk_open64(const char *path, int flags, ...) __asm__("open64");
int disk_openat(int at, const char *path, int flags, ...) __asm__("openat");
int disk_openat64(int at, const char *path, int flags, ...) __asm__("openat64");
int disk_close(int fd) __asm__("close");

int disk_open(const char *path, int flags, ...)
{
    WITH_MODE(flags, mode)
    return do_open(AT_FDCWD, path, flags, mode);
}

int disk_open64(const char *path, int flags, ...)
{
    WITH_MODE(flags, mode)
    return do_open(AT_FDCWD, path, flags, mode);
}

int disk_openat(int at, const char *path, int flags, ...)
{
    WITH_MODE(flags, mode)
    return do_open(at, path, flags, mode);
}

int disk_openat64(int at, const char *path, int flags, ...)
{
    WITH_MODE(flags, mode)
    return do_open(at, path, flags, mode);
}

int disk_close(int fd)
{
    pthread_mutex_lock(&mutex);
    if (fd >= 0 && fd < FDS)
        fds[fd].node = 0;
    int result = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&mutex);
    return result;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void wrote(int fd, const struct iovec *vectors, int count, off_t offset, ssize_t written,
                  bool log)
{
    size_t left = (size_t)written;
    uint32_t first = noted->event_count;
    struct disk_event *event = add(DISK_WRITE, node_of(fd), NULL, 0);
    event->offset = (uint64_t)offset;
    event->log = log && noted->nodes[node_of(fd)].segment;
    for (int i = 0; i < count && left > 0; i++) {
        size_t part = vectors[i].iov_len < left ? vectors[i].iov_len : left;
        if (noted->used + part > DISK_LOG)
            abort();
        memcpy(noted->log + noted->used, vectors[i].iov_base, part);
        noted->used += part;
        event->size += part;
        left -= part;
    }
    maybe_die();
    if (fds[fd].dsync) {
        add(DISK_SYNC_WRITE, node_of(fd), NULL, 0)->offset = first;
        maybe_die();
    }
}

static ssize_t do_write(int fd, const struct iovec *vectors, int count, off_t offset, bool log)
{
    if (node_of(fd) == 0)
        return offset < 0 ? syscall(SYS_writev, fd, vectors, count)
                          : syscall(SYS_pwritev, fd, vectors, count, offset, 0);
    pthread_mutex_lock(&mutex);
    off_t at = offset < 0 ? lseek(fd, 0, SEEK_CUR) : offset;
    ssize_t written = offset < 0 ? syscall(SYS_writev, fd, vectors, count)
                                 : syscall(SYS_pwritev, fd, vectors, count, offset, 0);
    int why = errno;
    if (written > 0)
        wrote(fd, vectors, count, at, written, log);
    pthread_mutex_unlock(&mutex);
    errno = why;
    return written;
}

ssize_t disk_write(int fd, const void *data, size_t size) __asm__("write");
ssize_t disk_pwrite(int fd, const void *data, size_t size, off_t offset) __asm__("pwrite");
ssize_t disk_pwrite64(int fd, const void *data, size_t size, off_t offset) __asm__("pwrite64");
ssize_t disk_writev(int fd, const struct iovec *vectors, int count) __asm__("writev");
ssize_t disk_pwritev(int fd, const struct iovec *vectors, int count, off_t o) __asm__("pwritev");
ssize_t disk_pwritev64(int fd, const struct iovec *v, int count, off_t o) __asm__("pwritev64");

ssize_t disk_write(int fd, const void *data, size_t size)
{
    if (node_of(fd) == 0)
        return syscall(SYS_write, fd, data, size);
    return do_write(fd, &(struct iovec){(void *)(uintptr_t)data, size}, 1, -1, false);
}

ssize_t disk_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return do_write(fd, &(struct iovec){(void *)(uintptr_t)data, size}, 1, offset, false);
}

ssize_t disk_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return disk_pwrite(fd, data, size, offset);
}

ssize_t disk_writev(int fd, const struct iovec *vectors, int count)
{
    return do_write(fd, vectors, count, -1, false);
}

ssize_t disk_pwritev(int fd, const struct iovec *vectors, int count, off_t offset)
{
    return do_write(fd, vectors, count, offset, true);
}

ssize_t disk_pwritev64(int fd, const struct iovec *vectors, int count, off_t offset)
{
    return do_write(fd, vectors, count, offset, true);
}

int disk_ftruncate(int fd, off_t size) __asm__("ftruncate");
int disk_ftruncate64(int fd, off_t size) __asm__("ftruncate64");
int disk_fallocate(int fd, off_t offset, off_t size) __asm__("posix_fallocate");
int disk_fallocate64(int fd, off_t offset, off_t size) __asm__("posix_fallocate64");

int disk_ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&mutex);
    int result = (int)syscall(SYS_ftruncate, fd, size), why = errno;
    if (result == 0 && node_of(fd) != 0) {
        add(DISK_TRUNCATE, node_of(fd), NULL, 0)->offset = (uint64_t)size;
        maybe_die();
    }
    pthread_mutex_unlock(&mutex);
    errno = why;
    return result;
}

int disk_ftruncate64(int fd, off_t size)
{
    return disk_ftruncate(fd, size);
}

int disk_fallocate(int fd, off_t offset, off_t size)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return errno;
    return status.st_size >= offset + size || disk_ftruncate(fd, offset + size) == 0 ? 0 : errno;
}

int disk_fallocate64(int fd, off_t offset, off_t size)
{
    return disk_fallocate(fd, offset, size);
}

/* ---- syncs --------------------------------------------------------------------------------- */

static int do_sync(int fd, bool data)
{
    uint32_t node = node_of(fd);
    int why = 0;
    if (node == 0)
        return 0;
    pthread_mutex_lock(&mutex);
    const struct disk_ways *ways = &noted->ways;
    if (++noted->sync_count == ways->fail_sync_at) {
        if (!noted->nodes[node].directory)
            add(DISK_LOST, node, NULL, 0);
        if (ways->fail_kills)
            kill(getpid(), SIGKILL);
        why = EIO;
    } else if (!(ways->no_directory_sync && noted->nodes[node].directory) &&
               !(ways->no_fdatasync && data && noted->nodes[node].segment)) {
        add(DISK_SYNC, node, NULL, 0);
        maybe_die();
    }
    pthread_mutex_unlock(&mutex);
    errno = why;
    return why == 0 ? 0 : -1;
}

int disk_fsync(int fd) __asm__("fsync");
int disk_fdatasync(int fd) __asm__("fdatasync");

int disk_fsync(int fd)
{
    return do_sync(fd, false);
}

int disk_fdatasync(int fd)
{
    return do_sync(fd, true);
}

/* ---- names --------------------------------------------------------------------------------- */

int disk_unlinkat(int at, const char *path, int flags) __asm__("unlinkat");
int disk_unlink(const char *path) __asm__("unlink");
int disk_rmdir(const char *path) __asm__("rmdir");
int disk_mkdir(const char *path, mode_t mode) __asm__("mkdir");
int disk_renameat(int from_at, const char *from, int to_at, const char *to) __asm__("renameat");
int disk_rename(const char *from, const char *to) __asm__("rename");

int disk_unlinkat(int at, const char *path, int flags)
{
    const char *name;
    pthread_mutex_lock(&mutex);
    uint32_t directory = parent_of(at, path, &name);
    uint32_t node = directory == 0 ? 0 : node_at(at, path);
    int result = (int)syscall(SYS_unlinkat, at, path, flags), why = errno;
    if (result == 0 && node != 0) {
        noted->nodes[node].inode = 0;
        name_event(DISK_UNLINK, directory, node, name);
    }
    pthread_mutex_unlock(&mutex);
    errno = why;
    return result;
}

int disk_unlink(const char *path)
{
    return disk_unlinkat(AT_FDCWD, path, 0);
}

int disk_rmdir(const char *path)
{
    return disk_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int disk_mkdir(const char *path, mode_t mode)
{
    const char *name;
    struct stat status;
    pthread_mutex_lock(&mutex);
    uint32_t directory = parent_of(AT_FDCWD, path, &name);
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode), why = errno;
    if (result == 0 && directory != 0 && stat(path, &status) == 0)
        name_event(DISK_MKDIR, directory, new_node(noted, status.st_ino, true, name, false), name);
    pthread_mutex_unlock(&mutex);
    errno = why;
    return result;
}

int disk_renameat(int from_at, const char *from, int to_at, const char *to)
{
    const char *old, *new;
    char names[512] = "";
    pthread_mutex_lock(&mutex);
    uint32_t directory = parent_of(from_at, from, &old), target = parent_of(to_at, to, &new);
    uint32_t node = directory == 0 ? 0 : node_at(from_at, from);
    uint32_t replaced = directory == 0 ? 0 : node_at(to_at, to);
    int result = (int)syscall(SYS_renameat2, from_at, from, to_at, to, 0), why = errno;
    if (result == 0 && node != 0) {
        size_t first = strlen(old) + 1, second = strlen(new) + 1;
        memcpy(names, old, first);
        memcpy(names + first, new, second);
        if (replaced != 0)
            noted->nodes[replaced].inode = 0;
        struct disk_event *event = add(DISK_RENAME, directory, names, first + second);
        event->other = node;
        event->offset = target;
        maybe_die();
    }
    pthread_mutex_unlock(&mutex);
    errno = why;
    return result;
}

int disk_rename(const char *from, const char *to)
{
    return disk_renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* ---- a life -------------------------------------------------------------------------------- */

struct disk *disk_create(void)
{
    struct disk *disk = mmap(NULL, sizeof(*disk), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (disk == MAP_FAILED)
        abort();
    return disk;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void number(struct disk *disk, const char *directory, uint32_t self)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, by_name);
    for (int i = 0; i < count; i++) {
        char path[4096];
        struct stat status;
        const char *name = entries[i]->d_name;
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        if (name[0] != '.' && lstat(path, &status) == 0) {
            bool is_directory = S_ISDIR(status.st_mode);
            uint32_t node =
                new_node(disk, status.st_ino, is_directory, name, disk->nodes[self].segments);
            if (is_directory)
                number(disk, path, node);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

void disk_begin(struct disk *disk, const char *directory)
{
    struct stat status;
    if (stat(directory, &status) != 0)
        abort();
    disk->ways = (struct disk_ways){0};
    disk->event_count = disk->sync_count = 0;
    disk->used = 0;
    disk->node_count = 1;
    new_node(disk, status.st_ino, true, "", false);
    number(disk, directory, 1);
}

void disk_attach(struct disk *disk)
{
    noted = disk;
}
