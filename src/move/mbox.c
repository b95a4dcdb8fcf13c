/*
 * mbox files (RFC 4155, and what Dovecot and others add): messages begin with a From_ line at the
 * start or behind an empty line. Content-Length is believed where a message or the end begins
 * there. X-IMAP or X-IMAPbase and X-UID bring UIDVALIDITY and UIDs, Status and X-Status flags,
 * X-Keywords keywords. ">From " stays as it is: nobody knows who wrote the ">".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "mailbox/mailbox.h"
#include "move/source.h"

/* ---- From_ lines ---------------------------------------------------------------------------- */

static bool month_number(struct slice word, int *month)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int i = 0; word.size == 3 && i < 12; i++) {
        if (slice_equal_nocase(word, slice_make(months + i * 3, 3))) {
            *month = i;
            return true;
        }
    }
    return false;
}

static struct slice next_word(struct slice *line)
{
    *line = slice_trim(*line);
    return slice_split(line, ' ');
}

static bool clock_read(struct slice word, struct tm *tm)
{
    uint32_t hour, minute, second = 0;
    if (!slice_u32(slice_split(&word, ':'), &hour) ||
        !slice_u32(slice_split(&word, ':'), &minute) ||
        (word.size > 0 && !slice_u32(word, &second)) || hour > 23 || minute > 59 || second > 60)
        return false;
    tm->tm_hour = (int)hour;
    tm->tm_min = (int)minute;
    tm->tm_sec = (int)second;
    return true;
}

/* "+0200": seconds east. */
static bool zone_read(struct slice word, int *seconds)
{
    uint32_t number;
    if (word.size != 5 || (word.data[0] != '+' && word.data[0] != '-') ||
        !slice_u32(slice_sub(word, 1, 4), &number))
        return false;
    int value = (int)(number / 100 * 3600 + number % 100 * 60);
    *seconds = word.data[0] == '-' ? -value : value;
    return true;
}

/* From sender Sun Nov 22 07:00:00 [zone] 2026 [zone] */
bool mbox_from_date(struct slice line, uint64_t *date_us)
{
    struct tm tm = {.tm_mday = 0};
    uint32_t day, year = 0;
    int east = 0;
    if (!slice_starts(line, SLICE_LITERAL("From ")))
        return false;
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    line = slice_sub(line, 5, line.size);
    do {
        if (line.size == 0)
            return false;
    } while (!month_number(next_word(&line), &tm.tm_mon));
    if (!slice_u32(next_word(&line), &day) || day < 1 || day > 31 ||
        !clock_read(next_word(&line), &tm))
        return false;
    while (line.size > 0) {
        struct slice word = next_word(&line);
        if (year == 0 && word.size == 4 && slice_u32(word, &year))
            continue;
        zone_read(word, &east);
    }
    if (year < 1970)
        return false;
    tm.tm_mday = (int)day;
    tm.tm_year = (int)year - 1900;
    int64_t seconds = (int64_t)timegm(&tm) - east;
    *date_us = seconds > 0 ? (uint64_t)seconds * 1000000 : 0;
    return true;
}

/* ---- the headers of a message ---------------------------------------------------------------- */

struct header {
    uint64_t content_length;
    bool has_length, internal;
    uint32_t uidvalidity, uidlast;
};

static void flags_take(struct slice letters, struct source_message *message)
{
    for (size_t i = 0; i < letters.size; i++) {
        uint8_t c = letters.data[i];
        message->flags |= c == 'R'   ? MAILBOX_SEEN
                          : c == 'A' ? MAILBOX_ANSWERED
                          : c == 'F' ? MAILBOX_FLAGGED
                          : c == 'T' ? MAILBOX_DRAFT
                          : c == 'D' ? MAILBOX_DELETED
                                     : 0u;
    }
}

static void keywords_take(struct slice value, struct arena *arena, struct source_message *message)
{
    enum { MOST = 100 };
    message->keywords = arena_array(arena, MOST, sizeof(*message->keywords));
    while ((value = slice_trim(value)).size > 0 && message->keyword_count < MOST) {
        struct slice word = slice_split(&value, ' ');
        if (utf8_valid(word))
            message->keywords[message->keyword_count++] = arena_copy(arena, word);
    }
}

static void field_take(struct slice name, struct slice value, struct arena *arena,
                       struct source_message *message, struct header *header)
{
    if (slice_equal_nocase_str(name, "content-length")) {
        header->has_length = slice_u64(value, &header->content_length);
    } else if (slice_equal_nocase_str(name, "status") || slice_equal_nocase_str(name, "x-status")) {
        flags_take(value, message);
    } else if (slice_equal_nocase_str(name, "x-keywords")) {
        keywords_take(value, arena, message);
    } else if (slice_equal_nocase_str(name, "x-uid")) {
        slice_u32(value, &message->uid);
    } else if (slice_equal_nocase_str(name, "x-imap") ||
               slice_equal_nocase_str(name, "x-imapbase")) {
        header->internal = slice_equal_nocase_str(name, "x-imap");
        slice_u32(slice_split(&value, ' '), &header->uidvalidity);
        slice_u32(slice_split(&value, ' '), &header->uidlast);
    }
}

/* Gives where the body begins. */
static size_t header_take(struct slice text, struct arena *arena, struct source_message *message,
                          struct header *header)
{
    size_t at = 0;
    while (at < text.size) {
        struct slice rest = slice_sub(text, at, text.size);
        struct slice line = slice_sub(rest, 0, slice_find(rest, '\n'));
        at += line.size + 1;
        if (line.size > 0 && line.data[line.size - 1] == '\r')
            line.size--;
        if (line.size == 0)
            break;
        size_t colon = slice_find(line, ':');
        field_take(slice_trim(slice_sub(line, 0, colon)),
                   slice_trim(slice_sub(line, colon + 1, line.size)), arena, message, header);
    }
    return at < text.size ? at : text.size;
}

/* ---- a file --------------------------------------------------------------------------------- */

static bool from_line_at(struct slice text, size_t at, uint64_t *date_us, size_t *size)
{
    struct slice rest = slice_sub(text, at, text.size);
    if (!slice_starts(rest, SLICE_LITERAL("From ")))
        return false;
    struct slice line = slice_sub(rest, 0, slice_find(rest, '\n'));
    *size = line.size < rest.size ? line.size + 1 : line.size;
    return mbox_from_date(line, date_us);
}

/* The end of the message whose body begins at `at`: before the empty line that stands ahead of the
 * next From_ line, or the end of the file without its last empty line. */
static size_t message_end(struct slice text, size_t at, size_t *next)
{
    uint64_t date_us;
    size_t size;
    for (size_t line = at; line < text.size;) {
        if (from_line_at(text, line, &date_us, &size) && line >= 2) {
            size_t empty = text.data[line - 2] == '\r' ? 2 : 1;
            bool after_empty =
                text.data[line - 1] == '\n' && line > empty && text.data[line - 1 - empty] == '\n';
            if (after_empty) {
                *next = line;
                return line - empty;
            }
        }
        struct slice rest = slice_sub(text, line, text.size);
        line += slice_find(rest, '\n') + 1;
    }
    *next = text.size;
    size_t end = text.size;
    if (end > at + 1 && text.data[end - 1] == '\n' && text.data[end - 2] == '\n')
        end--;
    return end;
}

static size_t body_end(struct slice text, size_t body, const struct header *header, size_t *next)
{
    uint64_t date_us;
    size_t size;
    if (header->has_length && header->content_length <= text.size - body) {
        size_t end = body + (size_t)header->content_length, at = end;
        if (at < text.size && text.data[at] == '\n')
            at++;
        bool begins =
            at > 0 && text.data[at - 1] == '\n' && from_line_at(text, at, &date_us, &size);
        if (at == text.size || begins) {
            *next = at;
            return end;
        }
    }
    return message_end(text, body, next);
}

bool source_mbox_parse(struct slice text, const char *path, struct source_folder *folder,
                       struct error *error)
{
    size_t at = 0, size = 0;
    uint64_t date_us;
    struct slice shared = slice_str(arena_strdup(&folder->arena, slice_str(path)));
    uint32_t last = 0;
    if (text.size > 0 && !from_line_at(text, 0, &date_us, &size))
        return error_set(error, "%s is no mbox: it does not begin with a From_ line", path);
    while (at < text.size && from_line_at(text, at, &date_us, &size)) {
        struct source_message message = {.path = shared, .offset = at + size, .date_us = date_us};
        struct header header = {.has_length = false};
        struct slice rest = slice_sub(text, at + size, text.size);
        size_t body = at + size + header_take(rest, &folder->arena, &message, &header);
        size_t end = body_end(text, body, &header, &at);
        message.length = end > message.offset ? end - message.offset : 0;
        if (header.uidvalidity != 0 && folder->uidvalidity == 0) {
            folder->uidvalidity = header.uidvalidity;
            last = header.uidlast;
        }
        if (header.internal)
            continue;
        last = message.uid > last ? message.uid : last;
        *source_message_add(folder) = message;
    }
    folder->uidnext = folder->uidvalidity != 0 && last < UINT32_MAX ? last + 1 : 0;
    for (size_t i = 0; i < folder->count && folder->uidvalidity == 0; i++)
        folder->messages[i].uid = 0;
    return true;
}

bool source_mbox_load(const char *path, struct source_folder *folder, struct error *error)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0)
        return error_errno(error, "%s", path);
    bool good = true;
    if (about.st_size > 0) {
        void *map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        good = map == MAP_FAILED
                   ? error_errno(error, "%s", path)
                   : source_mbox_parse(slice_make(map, (size_t)about.st_size), path, folder, error);
        if (map != MAP_FAILED)
            munmap(map, (size_t)about.st_size);
    }
    close(fd);
    return good;
}

/* ---- a tree of files ------------------------------------------------------------------------ */

/* Of "A.mbox", as an export and some programs call it, unless there is an "A". */
static void ending_cut(const char *below, char *name)
{
    static const char ending[] = ".mbox";
    size_t size = strlen(name), path_size = strlen(below), tail = sizeof(ending) - 1;
    struct stat about;
    if (size <= tail || name[size - tail - 1] == '/' || path_size <= tail ||
        strcmp(name + size - tail, ending) != 0)
        return;
    char *without = mem_strdup(below);
    without[path_size - tail] = '\0';
    if (stat(without, &about) != 0 || !S_ISREG(about.st_mode))
        name[size - tail] = '\0';
    free(without);
}

static bool tree_read(struct source *source, const char *path, const char *prefix,
                      struct error *error)
{
    const struct dirent *entry;
    DIR *directory = opendir(path);
    if (directory == NULL)
        return error_errno(error, "%s", path);
    bool good = true;
    while (good && (entry = readdir(directory)) != NULL) {
        struct stat about;
        char below[4096], name[2048];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        snprintf(name, sizeof(name), "%s%s", prefix, entry->d_name);
        if (stat(below, &about) != 0 || !utf8_valid(slice_str(name)))
            continue;
        if (S_ISREG(about.st_mode) && strcmp(entry->d_name, "subscriptions") != 0) {
            ending_cut(below, name);
            bool inbox = slice_equal_nocase_str(slice_str(name), "inbox");
            source_add(source, inbox ? SLICE_LITERAL("INBOX") : slice_str(name), below)
                ->subscribed = true;
        } else if (S_ISDIR(about.st_mode) && strlen(name) < 1000) {
            char deeper[2050];
            snprintf(deeper, sizeof(deeper), "%s/", name);
            good = tree_read(source, below, deeper, error);
        }
    }
    closedir(directory);
    return good;
}

static int name_compare(const void *a, const void *b)
{
    const struct source_name *x = a, *y = b;
    return strcmp(x->name, y->name);
}

bool source_mbox_open(struct source *source, const char *path, struct error *error)
{
    struct stat about;
    *source = (struct source){.mbox = true};
    if (stat(path, &about) != 0)
        return error_errno(error, "%s", path);
    if (S_ISREG(about.st_mode)) {
        source_add(source, SLICE_LITERAL("INBOX"), path)->subscribed = true;
        return true;
    }
    if (!tree_read(source, path, "", error))
        return false;
    if (source->count > 0)
        qsort(source->names, source->count, sizeof(*source->names), name_compare);
    return true;
}
