/*
 * One mbox file for each mailbox, below a new directory (A/B is "A/B.mbox"; names.c), with the
 * fields by which Dovecot keeps UIDVALIDITY and UIDs: X-IMAPbase in the first message, X-UID,
 * Status, X-Status, X-Keywords. An mbox cannot hold everything exactly: a line that begins with
 * "From " gets ">" before it, and an empty mailbox has no place for its UIDVALIDITY.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "mailbox/mailbox.h"
#include "move/move.h"

static void body_put(struct slice wire, struct buf *out)
{
    while (wire.size > 0) {
        size_t end = slice_find(wire, '\n');
        struct slice line = slice_sub(wire, 0, end);
        wire = slice_sub(wire, end + 1, wire.size);
        if (line.size > 0 && line.data[line.size - 1] == '\r')
            line.size--;
        if (slice_starts(line, SLICE_LITERAL("From ")))
            buf_u8(out, '>');
        buf_add_slice(out, line);
        buf_u8(out, '\n');
    }
    buf_u8(out, '\n');
}

/* Behind the header, ahead of the empty line. */
static size_t header_size(struct slice wire)
{
    for (size_t at = 0; at < wire.size;) {
        struct slice rest = slice_sub(wire, at, wire.size);
        if (rest.data[0] == '\n' || slice_starts(rest, SLICE_LITERAL("\r\n")))
            return at;
        at += slice_find(rest, '\n') + 1;
    }
    return wire.size;
}

static void fields_put(const struct move_info *info, const struct move_head *head, bool first,
                       struct buf *out)
{
    if (first)
        buf_printf(out, "X-IMAPbase: %u %u\n", info->uidvalidity, info->uidnext - 1);
    buf_printf(out, "X-UID: %u\n", head->uid);
    buf_printf(out, "Status: %sO\n", (head->flags & MAILBOX_SEEN) != 0 ? "R" : "");
    buf_printf(out, "X-Status: %s%s%s%s\n", (head->flags & MAILBOX_ANSWERED) != 0 ? "A" : "",
               (head->flags & MAILBOX_FLAGGED) != 0 ? "F" : "",
               (head->flags & MAILBOX_DRAFT) != 0 ? "T" : "",
               (head->flags & MAILBOX_DELETED) != 0 ? "D" : "");
    if (head->keyword_count > 0) {
        buf_add_str(out, "X-Keywords:");
        for (size_t i = 0; i < head->keyword_count; i++)
            buf_printf(out, " %.*s", SLICE_PRINT(head->keywords[i]));
        buf_u8(out, '\n');
    }
}

static void message_put(const struct move_info *info, const struct move_head *head, bool first,
                        struct slice wire, struct buf *out)
{
    time_t seconds = (time_t)(head->date_us / 1000000);
    struct tm tm;
    char date[40], *end = date;
    gmtime_r(&seconds, &tm);
    if (asctime_r(&tm, date) == NULL)
        end[0] = '\0';
    date[strcspn(date, "\n")] = '\0';
    buf_printf(out, "From MAILER-DAEMON %s\n", date);
    size_t header = header_size(wire);
    struct buf lines = {0};
    body_put(slice_sub(wire, 0, header), &lines);
    buf_add(out, lines.data, lines.size - 1); /* without the empty line */
    fields_put(info, head, first, out);
    if (header == wire.size)
        buf_u8(out, '\n');
    body_put(slice_sub(wire, header, wire.size), out);
    buf_finish(&lines);
}

static bool parents_make(char *path, size_t from, struct error *error)
{
    for (char *at = path + from; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        bool good = mkdir(path, 0700) == 0 || errno == EEXIST;
        *at = '/';
        if (!good)
            return error_errno(error, "%s", path);
    }
    return true;
}

static bool mailbox_write(struct move_link *link, const char *path, const struct move_info *info,
                          struct move_listing *messages, move_progress *progress,
                          struct move_counts *counts, struct error *error)
{
    struct buf wire = {0}, out = {0};
    FILE *file = fopen(path, "wxe");
    if (file == NULL)
        return error_errno(error, "%s", path);
    bool good = move_open(link, info->name, messages, error);
    char *name = slice_strdup(info->name);
    for (size_t i = 0; good && i < messages->count; i++) {
        progress(name, i, messages->count);
        good = move_read(link, messages->heads[i].uid, &wire, error);
        buf_clear(&out);
        message_put(info, &messages->heads[i], i == 0, buf_slice(&wire), &out);
        if (good && fwrite(out.data, 1, out.size, file) != out.size)
            good = error_errno(error, "%s", path);
        counts->stored += good;
    }
    progress("", 0, 0);
    bool written = fflush(file) == 0 && fsync(fileno(file)) == 0;
    written = fclose(file) == 0 && written;
    if (good && !written)
        good = error_errno(error, "%s", path);
    free(name);
    buf_finish(&wire);
    buf_finish(&out);
    return good;
}

bool move_export_mbox(struct move_link *link, const char *path, move_progress *progress,
                      struct move_counts *counts, struct error *error)
{
    struct move_listing listing = {.count = 0};
    struct slice *paths;
    ASSERT(path != NULL);
    arena_init(&listing.arena);
    if (mkdir(path, 0700) != 0)
        return error_errno(error, "%s: an export of mboxes makes a new directory", path);
    bool good = move_list(link, &listing, error) &&
                move_names(&listing, false, &listing.arena, &paths, error);
    for (size_t i = 0; good && i < listing.mailbox_count; i++) {
        const struct move_info *info = &listing.mailboxes[i];
        struct move_listing messages = {.count = 0};
        if (!info->selectable || (info->messages == 0 && !slice_equal_str(info->name, "INBOX")))
            continue;
        /* A mailbox with mailboxes below is a directory and cannot be a file. */
        char *file = arena_printf(&listing.arena, "%s/%.*s.mbox", path, SLICE_PRINT(paths[i]));
        arena_init(&messages.arena);
        good = parents_make(file, strlen(path) + 1, error) &&
               mailbox_write(link, file, info, &messages, progress, counts, error);
        move_listing_finish(&messages);
    }
    move_listing_finish(&listing);
    return good;
}
