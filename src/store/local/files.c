/* Small things about files, each with its one right answer to EINTR, short counts and fsync of the
 * directory. No fault hooks: the steps are named by those who call. */
#include "store/local/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/mem.h"

struct files_path files_path(const char *directory, const char *format, ...)
{
    struct files_path path;
    int used = snprintf(path.text, sizeof(path.text), "%s/", directory);
    ASSERT(used > 0 && (size_t)used < sizeof(path.text));
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(path.text + used, sizeof(path.text) - (size_t)used, format, arguments);
    va_end(arguments);
    ASSERT(more >= 0 && (size_t)(used + more) < sizeof(path.text));
    return path;
}

bool files_write(int fd, struct slice bytes)
{
    while (bytes.size > 0) {
        size_t part = fault_hit("store.files.short") != 0 ? 1 + bytes.size / 2 : bytes.size;
        ssize_t size = write(fd, bytes.data, part);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return false;
        bytes = slice_sub(bytes, (size_t)size, bytes.size);
    }
    return true;
}

bool files_read(int fd, uint64_t offset, void *bytes, size_t size)
{
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = pread(fd, at, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? 0 : errno;
            return false;
        }
        at += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return true;
}

bool files_sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    int kept = errno;
    close(fd);
    errno = kept;
    return synced;
}

bool files_make_directory(const char *directory)
{
    bool made = mkdir(directory, 0700) == 0;
    if (!made && errno != EEXIST)
        return false;
    if (files_sync_directory(files_path(directory, "..").text))
        return true;
    /* In a sandbox that begins at this directory the one above is not ours: master made this one
     * and its name last (config/data.c). */
    return !made && errno == EACCES;
}

static bool hex16(const char **at, uint64_t *number)
{
    *number = 0;
    for (int i = 0; i < 16; i++, (*at)++) {
        char c = **at;
        if (c >= '0' && c <= '9')
            *number = *number << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *number = *number << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

static bool parse_name(const char *text, const char *suffix, struct files_name *name)
{
    if (!hex16(&text, &name->first))
        return false;
    name->last = name->first;
    if (*text == '-') {
        text++;
        if (!hex16(&text, &name->last))
            return false;
    }
    return strcmp(text, suffix) == 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct files_name *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

bool files_list(const char *directory, const char *suffix, struct files_name **names, size_t *count)
{
    *names = NULL;
    *count = 0;
    DIR *open = opendir(directory);
    if (open == NULL)
        return errno == ENOENT;
    struct dirent *entry;
    while ((entry = readdir(open)) != NULL) {
        struct files_name name;
        if (!parse_name(entry->d_name, suffix, &name))
            continue;
        *names = mem_grow(*names, *count + 1, sizeof(**names));
        (*names)[(*count)++] = name;
    }
    closedir(open);
    if (*count > 0)
        qsort(*names, *count, sizeof(**names), compare_names);
    return true;
}
