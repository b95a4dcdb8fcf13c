/*
 * A Maildir++ tree: the root is INBOX, ".A.B" beside cur, new and tmp is the folder A/B (names in
 * modified UTF-7; older or other programs' UTF-8 is taken, too). Flags stand in file names behind
 * ":2,"; letters a to z are the keywords of dovecot-keywords.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "imap/utf7.h"
#include "mailbox/mailbox.h"
#include "move/source.h"

enum { KEYWORDS = 26 };

/* ---- folders -------------------------------------------------------------------------------- */

/* "A.B" in modified UTF-7 to "A/B" in UTF-8; false: cannot be read. */
static bool name_decode(struct slice text, char separator, struct buf *name)
{
    struct buf slashed = {0};
    buf_add_slice(&slashed, text);
    for (size_t i = 0; i < slashed.size; i++) {
        if (slashed.data[i] == (uint8_t)separator)
            slashed.data[i] = '/';
    }
    buf_clear(name);
    bool good = utf7_decode(buf_slice(&slashed), name);
    if (!good && utf8_valid(buf_slice(&slashed))) {
        buf_add_slice(name, buf_slice(&slashed));
        good = true;
    }
    buf_finish(&slashed);
    return good && name->size > 0;
}

static int name_compare(const void *a, const void *b)
{
    const struct source_name *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void subscribe(struct source *source, struct slice name)
{
    for (size_t i = 0; i < source->count; i++) {
        if (slice_equal_str(name, source->names[i].name))
            source->names[i].subscribed = true;
    }
}

/* Dovecot: names as in folders, "V\t2" on top where levels are set apart by tabs. Courier: with
 * "INBOX." before each. */
static void subscriptions_read(struct source *source, const char *root, const char *file)
{
    struct buf text = {0}, name = {0};
    size_t room = strlen(root) + strlen(file) + 2;
    char *path = mem_alloc(room);
    snprintf(path, room, "%s/%s", root, file);
    if (source_file(path, &text)) {
        struct slice rest = buf_slice(&text);
        bool tabs = slice_starts(rest, SLICE_LITERAL("V\t2\n"));
        source->subscriptions = true;
        while (rest.size > 0) {
            struct slice line = slice_split(&rest, '\n');
            if (slice_starts(line, SLICE_LITERAL("INBOX.")) && strstr(file, "courier") != NULL)
                line = slice_sub(line, 6, line.size);
            if (name_decode(line, tabs ? '\t' : '.', &name))
                subscribe(source, buf_slice(&name));
        }
    }
    free(path);
    buf_finish(&text);
    buf_finish(&name);
}

static bool is_directory(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static bool is_maildir(const char *path)
{
    size_t room = strlen(path) + 5;
    char *cur = mem_alloc(room);
    snprintf(cur, room, "%s/cur", path);
    bool good = is_directory(cur);
    free(cur);
    return good;
}

bool source_maildir_open(struct source *source, const char *path, struct error *error)
{
    const struct dirent *entry;
    struct buf name = {0};
    *source = (struct source){.mbox = false};
    if (!is_maildir(path))
        return error_set(error, "%s is no Maildir: there is no directory cur in it", path);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return error_errno(error, "%s", path);
    while ((entry = readdir(directory)) != NULL) {
        size_t room = strlen(path) + strlen(entry->d_name) + 2;
        char *below = mem_alloc(room);
        snprintf(below, room, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.' && entry->d_name[1] != '.' && entry->d_name[1] != '\0' &&
            is_maildir(below)) {
            if (name_decode(slice_str(entry->d_name + 1), '.', &name))
                source_add(source, buf_slice(&name), below);
            else
                fprintf(stderr, "restante: the folder's name cannot be read, not imported: %s\n",
                        below);
        }
        free(below);
    }
    closedir(directory);
    buf_finish(&name);
    if (source->count > 0)
        qsort(source->names, source->count, sizeof(*source->names), name_compare);
    source_add(source, SLICE_LITERAL("INBOX"), path);
    struct source_name inbox = source->names[source->count - 1];
    memmove(source->names + 1, source->names, (source->count - 1) * sizeof(inbox));
    source->names[0] = inbox;
    subscriptions_read(source, path, "subscriptions");
    if (!source->subscriptions)
        subscriptions_read(source, path, "courierimapsubscribed");
    for (size_t i = 0; i < source->count && !source->subscriptions; i++)
        source->names[i].subscribed = true;
    source->names[0].subscribed = true;
    return true;
}

/* ---- messages ------------------------------------------------------------------------------- */

struct maildir {
    struct source_folder *folder;
    struct uidlist list;
    struct slice keywords[KEYWORDS];
};

static void keywords_read(struct maildir *maildir, const char *path)
{
    struct arena *arena = &maildir->folder->arena;
    struct buf text = {0};
    if (source_file(arena_printf(arena, "%s/dovecot-keywords", path), &text)) {
        struct slice rest = arena_copy(arena, buf_slice(&text));
        while (rest.size > 0) {
            struct slice line = slice_split(&rest, '\n');
            uint32_t number;
            if (slice_u32(slice_split(&line, ' '), &number) && number < KEYWORDS)
                maildir->keywords[number] = line;
        }
    }
    buf_finish(&text);
}

static void flags_read(struct maildir *maildir, struct slice letters,
                       struct source_message *message)
{
    struct arena *arena = &maildir->folder->arena;
    message->keywords = arena_array(arena, KEYWORDS + 1, sizeof(*message->keywords));
    for (size_t i = 0; i < letters.size && letters.data[i] != ','; i++) {
        uint8_t c = letters.data[i];
        message->flags |= c == 'S'   ? MAILBOX_SEEN
                          : c == 'R' ? MAILBOX_ANSWERED
                          : c == 'F' ? MAILBOX_FLAGGED
                          : c == 'T' ? MAILBOX_DELETED
                          : c == 'D' ? MAILBOX_DRAFT
                                     : 0u;
        struct slice keyword = c == 'P'               ? SLICE_LITERAL("$Forwarded")
                               : c >= 'a' && c <= 'z' ? maildir->keywords[c - 'a']
                                                      : SLICE_NONE;
        if (keyword.size > 0 && utf8_valid(keyword) && message->keyword_count < KEYWORDS + 1)
            message->keywords[message->keyword_count++] = keyword;
    }
}

static void message_take(struct maildir *maildir, const char *path, const char *name)
{
    struct arena *arena = &maildir->folder->arena;
    struct slice file = slice_str(name);
    size_t colon = slice_find(file, ':');
    const struct uidlist_entry *known = uidlist_find(&maildir->list, slice_sub(file, 0, colon));
    char *full = arena_printf(arena, "%s/%s", path, name);
    struct stat about;
    if (name[0] == '.' || stat(full, &about) != 0 || !S_ISREG(about.st_mode))
        return;
    struct source_message *message = source_message_add(maildir->folder);
    message->path = slice_str(full);
    message->date_us =
        (uint64_t)about.st_mtim.tv_sec * 1000000 + (uint64_t)about.st_mtim.tv_nsec / 1000;
    if (known != NULL) {
        message->uid = known->uid;
        message->uidl = source_uidl_valid(known->uidl) ? known->uidl : SLICE_NONE;
        message->pop3_order = known->pop3_order;
    }
    struct slice info = slice_sub(file, colon, file.size);
    if (slice_starts(info, SLICE_LITERAL(":2,")))
        flags_read(maildir, slice_sub(info, 3, info.size), message);
}

static struct slice message_base(const struct source_message *message)
{
    struct slice name = message->path;
    for (size_t at = slice_find(name, '/'); at < name.size; at = slice_find(name, '/'))
        name = slice_sub(name, at + 1, name.size);
    return slice_sub(name, 0, slice_find(name, ':'));
}

/* Courier's POP3 numbers messages by when they came: the number that the name begins with. */
static int arrival_compare(const void *a, const void *b)
{
    struct slice x = message_base(*(struct source_message *const *)a);
    struct slice y = message_base(*(struct source_message *const *)b);
    uint64_t left = 0, right = 0;
    slice_u64(slice_sub(x, 0, slice_find(x, '.')), &left);
    slice_u64(slice_sub(y, 0, slice_find(y, '.')), &right);
    if (left != right)
        return left < right ? -1 : 1;
    return slice_compare(x, y);
}

/* Only where it is not the order of UIDs: that needs no numbers. */
static void order_by_arrival(struct source_folder *folder)
{
    bool differs = false;
    struct source_message **sorted =
        arena_array(&folder->arena, folder->count + 1, sizeof(struct source_message *));
    source_sort(folder);
    for (size_t i = 0; i < folder->count; i++)
        sorted[i] = &folder->messages[i];
    qsort(sorted, folder->count, sizeof(struct source_message *), arrival_compare);
    for (size_t i = 0; i < folder->count; i++)
        differs |= sorted[i] != &folder->messages[i];
    for (size_t i = 0; differs && i < folder->count; i++)
        sorted[i]->pop3_order = (uint32_t)i + 1;
}

bool source_maildir_load(const char *path, struct source_folder *folder, struct error *error)
{
    static const char *const parts[] = {"cur", "new"};
    struct maildir maildir = {.folder = folder};
    uidlist_read(path, &folder->arena, &maildir.list);
    folder->uidvalidity = maildir.list.uidvalidity;
    folder->uidnext = maildir.list.uidnext;
    keywords_read(&maildir, path);
    for (size_t i = 0; i < 2; i++) {
        const struct dirent *entry;
        const char *part = arena_printf(&folder->arena, "%s/%s", path, parts[i]);
        DIR *directory = opendir(part);
        if (directory == NULL && errno == ENOENT)
            continue;
        if (directory == NULL)
            return error_errno(error, "%s", part);
        while ((entry = readdir(directory)) != NULL)
            message_take(&maildir, part, entry->d_name);
        closedir(directory);
    }
    if (maildir.list.courier_pop3)
        order_by_arrival(folder);
    return true;
}
