/* What snapshots, journal and rebuild need of files: whole writes, synced names, sorted listings.
 */
#pragma once
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

struct files_path {
    char text[4096];
};
/* "directory/name"; ends the process when it does not fit (our own names always do). */
struct files_path files_path(const char *directory, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* All of it or false with errno; EINTR and short writes are gone on with. */
bool files_write(int fd, struct slice bytes);
/* True when all size bytes were there; false with errno 0 at the end of the file. */
bool files_read(int fd, uint64_t offset, void *bytes, size_t size);
/* Makes names in a directory last. */
bool files_sync_directory(const char *directory);
/* mkdir, and its name made to last, also when it is there already: whoever made it may have died
 * before that. */
bool files_make_directory(const char *directory);

/* Names "<16 hex digits>[-<16 hex digits>]<suffix>", sorted by the first number. */
struct files_name {
    uint64_t first, last; /* last == first when there is one number */
};
/* The caller frees *names. A missing directory is an empty one. */
bool files_list(const char *directory, const char *suffix, struct files_name **names,
                size_t *count);
