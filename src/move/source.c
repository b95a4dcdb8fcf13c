/* What Maildir and mbox have in common: the list of folders, the order of messages, their bytes in
 * wire form. */
#include "move/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/crlf.h"

struct source_name *source_add(struct source *source, struct slice name, const char *path)
{
    if (source->count == source->room) {
        source->room = source->room == 0 ? 16 : source->room * 2;
        source->names = mem_grow(source->names, source->room, sizeof(*source->names));
    }
    struct source_name *added = &source->names[source->count++];
    *added = (struct source_name){.name = slice_strdup(name), .path = mem_strdup(path)};
    return added;
}

void source_finish(struct source *source)
{
    for (size_t i = 0; i < source->count; i++) {
        free(source->names[i].name);
        free(source->names[i].path);
    }
    free(source->names);
}

struct source_message *source_message_add(struct source_folder *folder)
{
    if (folder->count == folder->room) {
        folder->room = folder->room == 0 ? 64 : folder->room * 2;
        folder->messages = mem_grow(folder->messages, folder->room, sizeof(*folder->messages));
    }
    struct source_message *added = &folder->messages[folder->count++];
    *added = (struct source_message){.length = UINT64_MAX};
    return added;
}

static int message_compare(const void *a, const void *b)
{
    const struct source_message *x = a, *y = b;
    uint32_t left = x->uid - 1, right = y->uid - 1; /* 0, not known, becomes the last */
    if (left != right)
        return left < right ? -1 : 1;
    if (x->date_us != y->date_us)
        return x->date_us < y->date_us ? -1 : 1;
    int order = slice_compare(x->path, y->path);
    return order != 0 ? order : (x->offset > y->offset) - (x->offset < y->offset);
}

void source_sort(struct source_folder *folder)
{
    if (folder->count == 0)
        return;
    qsort(folder->messages, folder->count, sizeof(*folder->messages), message_compare);
    bool twice = false;
    for (size_t i = 1; i < folder->count; i++) {
        if (folder->messages[i].uid != 0 && folder->messages[i].uid == folder->messages[i - 1].uid)
            twice = true;
    }
    if (!twice)
        return;
    /* Two files under one UID: the second is a message that the list does not know. */
    uint32_t before = 0;
    for (size_t i = 0; i < folder->count; i++) {
        uint32_t uid = folder->messages[i].uid;
        if (uid != 0 && uid == before)
            folder->messages[i].uid = 0;
        before = uid;
    }
    qsort(folder->messages, folder->count, sizeof(*folder->messages), message_compare);
}

bool source_folder_load(const struct source *source, const struct source_name *name,
                        struct source_folder *folder, struct error *error)
{
    *folder = (struct source_folder){.count = 0};
    arena_init(&folder->arena);
    bool good = source->mbox ? source_mbox_load(name->path, folder, error)
                             : source_maildir_load(name->path, folder, error);
    source_sort(folder);
    return good;
}

void source_folder_finish(struct source_folder *folder)
{
    free(folder->messages);
    folder->messages = NULL;
    arena_finish(&folder->arena);
}

/* At most length bytes from offset. */
static bool file_part(const char *path, uint64_t offset, uint64_t length, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (fd < 0)
        return false;
    bool good = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
    if (!good)
        errno = EINVAL;
    while (good && length > 0) {
        size_t room = length < 65536 ? (size_t)length : 65536;
        uint8_t *to = buf_extend(out, room);
        ssize_t got = pread(fd, to, room, (off_t)offset);
        out->size -= room - (size_t)(got > 0 ? got : 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            good = got == 0;
            break;
        }
        offset += (uint64_t)got;
        length -= (uint64_t)got;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return good;
}

bool source_file(const char *path, struct buf *out)
{
    return file_part(path, 0, UINT64_MAX, out);
}

bool source_uidl_valid(struct slice uidl)
{
    for (size_t i = 0; i < uidl.size; i++) {
        if (uidl.data[i] < 0x21 || uidl.data[i] > 0x7e)
            return false;
    }
    return uidl.size > 0 && uidl.size <= 70;
}

/* What Dovecot and others write into an mbox for themselves, and show to nobody. */
static bool is_own_field(struct slice line)
{
    static const char *const own[] = {"status", "x-status",   "x-uid",         "x-keywords",
                                      "x-imap", "x-imapbase", "content-length"};
    struct slice name = slice_trim(slice_sub(line, 0, slice_find(line, ':')));
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        if (slice_equal_nocase_str(name, own[i]))
            return true;
    }
    return false;
}

static void mbox_strip(struct slice bytes, struct buf *out)
{
    bool own = false;
    while (bytes.size > 0) {
        size_t end = slice_find(bytes, '\n');
        struct slice line = slice_sub(bytes, 0, end + 1);
        if (line.data[0] == '\n' || (line.data[0] == '\r' && line.size == 2)) {
            buf_add_slice(out, bytes);
            return;
        }
        if (line.data[0] != ' ' && line.data[0] != '\t')
            own = is_own_field(line);
        if (!own)
            buf_add_slice(out, line);
        bytes = slice_sub(bytes, line.size, bytes.size);
    }
}

bool source_read(const struct source *source, const struct source_message *message, struct buf *out,
                 struct error *error)
{
    struct buf raw = {0}, stripped = {0};
    struct crlf crlf = {.after_cr = false};
    const char *path = (const char *)message->path.data;
    bool good = file_part(path, message->offset, message->length, &raw);
    if (!good)
        error_errno(error, "%s", path);
    buf_clear(out);
    if (good && source->mbox) {
        mbox_strip(buf_slice(&raw), &stripped);
        crlf_add(&crlf, buf_slice(&stripped), out);
    } else if (good) {
        crlf_add(&crlf, buf_slice(&raw), out);
    }
    buf_finish(&raw);
    buf_finish(&stripped);
    return good;
}
