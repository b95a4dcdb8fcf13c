/*
 * A Maildir++ that Dovecot serves with the same UIDVALIDITY, UIDs, UIDNEXT and UIDLs: beside the
 * messages stand dovecot-uidlist (with the UIDL of each, so that no setting of Dovecot's changes
 * them, and the order in POP3 where it is another than that of UIDs), dovecot-keywords and
 * subscriptions.
 *
 * A file's name says which message it is, so a second run writes only what is missing and takes
 * away what is gone. It works only in a directory that is empty or that an export has made.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/id.h"
#include "base/mem.h"
#include "mailbox/mailbox.h"
#include "move/move.h"

static const char marker[] = "restante-export";
enum { KEYWORDS = 26 };

struct export
{
    struct move_link *link;
    const char *root;
    move_progress *progress;
    struct move_counts *counts;
    struct move_listing listing, messages;
    /* the folder in work */
    const struct move_info *info;
    const char *path;
    char **before; /* names in cur, ascending */
    size_t before_count;
    bool *kept;
    struct slice keywords[KEYWORDS];
    size_t keyword_count, keywords_lost;
};

/* ---- files ---------------------------------------------------------------------------------- */

static bool directory_make(const char *path, struct error *error)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST || error_errno(error, "%s", path);
}

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.size > 0) {
        ssize_t written = write(fd, bytes.data, bytes.size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        bytes = slice_sub(bytes, (size_t)written, bytes.size);
    }
    return true;
}

/* Under another name first: whoever sees the file sees all of it. */
static bool file_write(const char *path, const char *temporary, struct slice bytes,
                       uint64_t date_us, struct error *error)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(error, "%s", temporary);
    if (date_us > 0)
        times[1] = (struct timespec){.tv_sec = (time_t)(date_us / 1000000),
                                     .tv_nsec = (long)(date_us % 1000000) * 1000};
    bool good = write_all(fd, bytes) && futimens(fd, times) == 0 && fsync(fd) == 0;
    good = close(fd) == 0 && good && rename(temporary, path) == 0;
    return good || error_errno(error, "%s", path);
}

static bool text_write(struct export *export, const char *directory, const char *name,
                       const struct buf *text, struct error *error)
{
    struct arena *arena = &export->listing.arena;
    ASSERT(directory != NULL && name != NULL);
    return file_write(arena_printf(arena, "%s/%s", directory, name),
                      arena_printf(arena, "%s/.%s.tmp", directory, name), buf_slice(text), 0,
                      error);
}

/* LF alone is how Maildirs are kept; but only where CRLF can be made of it again. */
static void lf_ends(struct slice bytes, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < bytes.size; i++) {
        bool cr = bytes.data[i] == '\r' && i + 1 < bytes.size && bytes.data[i + 1] == '\n';
        if (bytes.data[i] == '\n' && (i == 0 || bytes.data[i - 1] != '\r')) {
            buf_clear(out);
            buf_add_slice(out, bytes);
            return;
        }
        /* CR CR LF: the CR that would be left alone would be joined to the LF. */
        if (cr && i > 0 && bytes.data[i - 1] == '\r') {
            buf_clear(out);
            buf_add_slice(out, bytes);
            return;
        }
        if (!cr)
            buf_u8(out, bytes.data[i]);
    }
}

static char *message_base(struct arena *arena, const struct move_info *info,
                          const struct move_head *head)
{
    return arena_printf(arena, "%llu.U%uV%u.restante,W=%llu",
                        (unsigned long long)(head->date_us / 1000000), head->uid, info->uidvalidity,
                        (unsigned long long)head->size);
}

/* In the order of the alphabet, as readers of Maildirs expect. */
static void message_letters(struct export *export, const struct move_head *head, char *letters)
{
    static const struct {
        char letter;
        uint32_t flag;
    } flags[] = {{'D', MAILBOX_DRAFT},
                 {'F', MAILBOX_FLAGGED},
                 {'R', MAILBOX_ANSWERED},
                 {'S', MAILBOX_SEEN},
                 {'T', MAILBOX_DELETED}};
    bool with[KEYWORDS] = {false};
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
        if ((head->flags & flags[i].flag) != 0)
            *letters++ = flags[i].letter;
    }
    for (size_t i = 0; i < head->keyword_count; i++) {
        size_t number = 0;
        while (number < export->keyword_count &&
               !slice_equal(export->keywords[number], head->keywords[i]))
            number++;
        if (number == KEYWORDS) {
            export->keywords_lost++;
            continue;
        }
        if (number == export->keyword_count)
            export->keywords[export->keyword_count++] = head->keywords[i];
        with[number] = true;
    }
    for (size_t i = 0; i < KEYWORDS; i++) {
        if (with[i])
            *letters++ = (char)('a' + i);
    }
    *letters = '\0';
}

/* ---- what an earlier run wrote ----------------------------------------------------------------
 */

static int string_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool before_load(struct export *export, const char *cur, struct error *error)
{
    struct arena *arena = &export->messages.arena;
    const struct dirent *entry;
    size_t room = 0;
    DIR *directory = opendir(cur);
    if (directory == NULL)
        return error_errno(error, "%s", cur);
    export->before_count = 0;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (export->before_count == room) {
            room = room == 0 ? 64 : room * 2;
            export->before = mem_grow(export->before, room, sizeof(*export->before));
        }
        export->before[export->before_count++] = arena_strdup(arena, slice_str(entry->d_name));
    }
    closedir(directory);
    if (export->before_count > 0)
        qsort(export->before, export->before_count, sizeof(*export->before), string_compare);
    free(export->kept);
    export->kept = mem_array(export->before_count + 1, sizeof(*export->kept));
    return true;
}

/* The file with that base, whatever its flags; before_count: there is none. */
static size_t before_find(const struct export *export, const char *base)
{
    size_t low = 0, high = export->before_count, size = strlen(base);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strncmp(export->before[middle], base, size) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < export->before_count && strncmp(export->before[low], base, size) == 0 &&
                 export->before[low][size] == ':';
    return found ? low : export->before_count;
}

/* ---- a folder ------------------------------------------------------------------------------- */

static bool message_write(struct export *export, const struct move_head *head, const char *base,
                          struct error *error)
{
    struct arena *arena = &export->messages.arena;
    struct buf wire = {0}, bytes = {0};
    char letters[5 + KEYWORDS + 1];
    ASSERT(base != NULL);
    message_letters(export, head, letters);
    const char *to = arena_printf(arena, "%s/cur/%s:2,%s", export->path, base, letters);
    size_t there = before_find(export, base);
    if (there < export->before_count) {
        const char *from = arena_printf(arena, "%s/cur/%s", export->path, export->before[there]);
        export->kept[there] = true;
        export->counts->passed++;
        return strcmp(from, to) == 0 || rename(from, to) == 0 || error_errno(error, "%s", to);
    }
    bool good = move_read(export->link, head->uid, &wire, error);
    if (good) {
        lf_ends(buf_slice(&wire), &bytes);
        good = file_write(to, arena_printf(arena, "%s/tmp/%s", export->path, base),
                          buf_slice(&bytes), head->date_us, error);
    }
    export->counts->stored += good;
    buf_finish(&wire);
    buf_finish(&bytes);
    return good;
}

static bool lists_write(struct export *export, struct error *error)
{
    const struct move_info *info = export->info;
    struct arena *arena = &export->messages.arena;
    struct buf text = {0};
    buf_printf(&text, "3 V%u N%u G%s\n", info->uidvalidity, info->uidnext,
               id_text(id_random()).text);
    for (size_t i = 0; i < export->messages.count; i++) {
        const struct move_head *head = &export->messages.heads[i];
        buf_printf(&text, "%u P%.*s", head->uid, SLICE_PRINT(head->uidl));
        if (head->pop3_order > 0)
            buf_printf(&text, " O%u", head->pop3_order);
        buf_printf(&text, " :%s\n", message_base(arena, info, head));
    }
    bool good = text_write(export, export->path, "dovecot-uidlist", &text, error);
    buf_clear(&text);
    for (size_t i = 0; i < export->keyword_count; i++)
        buf_printf(&text, "%zu %.*s\n", i, SLICE_PRINT(export->keywords[i]));
    good = good && text_write(export, export->path, "dovecot-keywords", &text, error);
    buf_finish(&text);
    return good;
}

static bool directories_make(struct export *export, struct error *error)
{
    static const char *const parts[] = {"", "/cur", "/new", "/tmp"};
    for (size_t i = 0; i < 4; i++) {
        if (!directory_make(arena_printf(&export->messages.arena, "%s%s", export->path, parts[i]),
                            error))
            return false;
    }
    return true;
}

static bool folder_write(struct export *export, const struct move_info *info, struct slice path,
                         struct error *error)
{
    struct arena *arena = &export->messages.arena;
    bool inbox = slice_equal_str(info->name, "INBOX");
    struct buf none = {0};
    export->info = info;
    export->keyword_count = 0;
    export->path =
        inbox ? export->root
              : arena_printf(&export->listing.arena, "%s/.%.*s", export->root, SLICE_PRINT(path));
    bool good = directories_make(export, error) &&
                (inbox || text_write(export, export->path, "maildirfolder", &none, error)) &&
                move_open(export->link, info->name, &export->messages, error) &&
                before_load(export, arena_printf(arena, "%s/cur", export->path), error);
    const char *name = arena_strdup(arena, info->name);
    for (size_t i = 0; good && i < export->messages.count; i++) {
        const struct move_head *head = &export->messages.heads[i];
        export->progress(name, i, export->messages.count);
        good = message_write(export, head, message_base(arena, info, head), error);
    }
    export->progress("", 0, 0);
    for (size_t i = 0; good && i < export->before_count; i++) {
        if (!export->kept[i] && strstr(export->before[i], ".restante,W=") != NULL)
            unlink(arena_printf(arena, "%s/cur/%s", export->path, export->before[i]));
    }
    return good && lists_write(export, error);
}

/* ---- the tree ------------------------------------------------------------------------------- */

static bool root_make(struct export *export, struct error *error)
{
    const struct dirent *entry;
    struct buf none = {0};
    bool ours = false, empty = true;
    if (!directory_make(export->root, error))
        return false;
    DIR *directory = opendir(export->root);
    if (directory == NULL)
        return error_errno(error, "%s", export->root);
    while ((entry = readdir(directory)) != NULL) {
        ours |= strcmp(entry->d_name, marker) == 0;
        empty &= strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    closedir(directory);
    if (!ours && !empty)
        return error_set(error, "%s is not empty and no earlier export: name a new directory",
                         export->root);
    return ours || text_write(export, export->root, marker, &none, error);
}

bool move_export_maildir(struct move_link *link, const char *path, move_progress *progress,
                         struct move_counts *counts, struct error *error)
{
    struct export export = {.link = link, .root = path, .progress = progress, .counts = counts};
    struct buf subscriptions = {0};
    struct slice *paths;
    arena_init(&export.listing.arena);
    bool good = root_make(&export, error) && move_list(link, &export.listing, error) &&
                move_names(&export.listing, true, &export.listing.arena, &paths, error);
    for (size_t i = 0; good && i < export.listing.mailbox_count; i++) {
        const struct move_info *info = &export.listing.mailboxes[i];
        if (!info->selectable)
            continue;
        arena_init(&export.messages.arena);
        good = folder_write(&export, info, paths[i], error);
        move_listing_finish(&export.messages);
        if (info->subscribed)
            buf_printf(&subscriptions, "%.*s\n", SLICE_PRINT(paths[i]));
    }
    good = good && text_write(&export, path, "subscriptions", &subscriptions, error);
    if (export.keywords_lost > 0)
        fprintf(stderr, "restante: a Maildir holds 26 keywords in a folder; %zu were left out\n",
                export.keywords_lost);
    buf_finish(&subscriptions);
    free(export.before);
    free(export.kept);
    move_listing_finish(&export.listing);
    return good;
}
