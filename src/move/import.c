/*
 * What is brought, what is passed over. For a folder whose UIDs are known and can be kept, going
 * up by UID (import_next as in mailbox_adopt(): all below it were brought before):
 *
 *   below import_next, and gone since      passed over: it was deleted here
 *   below import_next, same size and date  passed over: it is there
 *   from UIDNEXT on                        brought with its UID
 *   otherwise, or without a UID            by content: passed over when the mailbox has a message
 *                                          with the same date and the same bytes that no other
 *                                          message of the source accounts for; else brought with a
 *                                          new UID, and with the UIDL that the old server showed
 *
 * So running it again after any interruption ends the same as if it had never been interrupted, and
 * two equal messages in the source stay two.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "mailbox/mailbox.h"
#include "move/move.h"

struct known { /* a message that is there */
    uint64_t date_us, size;
    uint32_t uid;
    bool used;
};

struct import {
    struct move_link *link;
    const struct source *source;
    bool merge;
    move_progress *progress;
    struct move_counts *counts;
    /* the folder in work */
    const char *name;
    const struct source_folder *folder;
    struct move_listing listing;
    struct move_info info;
    bool keeps; /* UIDs are kept */
    struct known *by_uid, *by_content;
    size_t count;
    uint32_t uidnext; /* of the mailbox, with what was brought */
    size_t group;     /* messages on their way to STORE: all with a UID or all without */
    bool group_new;
    uint64_t group_bytes, group_renumbered;
};

static int content_compare(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    if (x->date_us != y->date_us)
        return x->date_us < y->date_us ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return (x->uid > y->uid) - (x->uid < y->uid);
}

static bool known_load(struct import *import, struct error *error)
{
    struct move_listing *listing = &import->listing;
    if (!move_open(import->link, slice_str(import->name), listing, error))
        return false;
    import->count = listing->count;
    import->by_content = mem_array(listing->count + 1, sizeof(*import->by_content));
    import->by_uid = mem_array(listing->count + 1, sizeof(*import->by_uid));
    for (size_t i = 0; i < listing->count; i++) {
        const struct move_head *head = &listing->heads[i];
        import->by_uid[i] =
            (struct known){.date_us = head->date_us, .size = head->size, .uid = head->uid};
        import->by_content[i] = import->by_uid[i];
    }
    qsort(import->by_content, import->count, sizeof(*import->by_content), content_compare);
    return true;
}

static const struct known *find_uid(const struct import *import, uint32_t uid)
{
    size_t low = 0, high = import->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (import->by_uid[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < import->count && import->by_uid[low].uid == uid ? &import->by_uid[low] : NULL;
}

/* The first that is not below. */
static size_t content_place(const struct import *import, const struct known *wanted)
{
    size_t low = 0, high = import->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (content_compare(&import->by_content[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void use(struct import *import, const struct known *known)
{
    size_t at = content_place(import, known);
    if (at < import->count)
        import->by_content[at].used = true;
}

static bool find_content(struct import *import, uint64_t date_us, struct slice bytes, bool *found,
                         struct error *error)
{
    struct known wanted = {.date_us = date_us, .size = bytes.size};
    struct buf there = {0};
    bool good = true;
    *found = false;
    for (size_t at = content_place(import, &wanted); good && !*found && at < import->count; at++) {
        struct known *known = &import->by_content[at];
        if (known->date_us != date_us || known->size != bytes.size)
            break;
        if (known->used)
            continue;
        good = move_read(import->link, known->uid, &there, error);
        *found = known->used = good && slice_equal(buf_slice(&there), bytes);
    }
    buf_finish(&there);
    return good;
}

/* ---- bringing ------------------------------------------------------------------------------- */

static bool group_store(struct import *import, struct error *error)
{
    struct buf body = {0};
    if (import->group == 0)
        return true;
    buf_packed(&body, slice_str(import->name));
    move_put(&import->link->out, MOVE_STORE, buf_slice(&body));
    buf_finish(&body);
    if (!move_link_must(import->link, NULL, NULL, import->name, error))
        return false;
    import->counts->stored += import->group;
    import->counts->renumbered += import->group_renumbered;
    import->group = 0;
    import->group_bytes = import->group_renumbered = 0;
    return true;
}

static bool bring(struct import *import, const struct source_message *message, uint32_t uid,
                  struct slice bytes, struct error *error)
{
    struct move_head head = {.uid = uid,
                             .size = bytes.size,
                             .date_us = message->date_us,
                             .flags = message->flags,
                             .uidl = message->uidl,
                             .pop3_order = message->pop3_order,
                             .keywords = message->keywords,
                             .keyword_count = message->keyword_count};
    char uidl[20];
    /* Without one of its own, the old server showed what we show by default, of the old UID. */
    if (uid == 0 && message->uid != 0 && import->folder->uidvalidity != 0 && head.uidl.size == 0) {
        snprintf(uidl, sizeof(uidl), "%08x%08x", message->uid, import->folder->uidvalidity);
        head.uidl = slice_str(uidl);
    }
    move_put_head(&import->link->out, MOVE_APPEND, &head);
    while (bytes.size > 0) {
        struct slice piece = slice_sub(bytes, 0, MOVE_BYTES);
        move_put(&import->link->out, MOVE_BYTES_FRAME, piece);
        bytes = slice_sub(bytes, piece.size, bytes.size);
    }
    import->group++;
    import->group_new = uid == 0;
    import->group_bytes += head.size;
    import->group_renumbered += uid == 0 && message->uid != 0;
    if (uid > 0)
        import->uidnext = uid + 1;
    if (import->group == MOVE_GROUP_MESSAGES || import->group_bytes >= MOVE_GROUP_BYTES)
        return group_store(import, error);
    return move_link_send(import->link, error);
}

static bool mailbox_ask(struct import *import, bool subscribed, struct error *error)
{
    move_listing_finish(&import->listing);
    move_put_mailbox(&import->link->out, slice_str(import->name), 0, subscribed);
    if (!move_link_must(import->link, move_take_info, &import->listing, import->name, error))
        return false;
    if (import->listing.mailbox_count != 1)
        return error_set(error, "%s: the server's answer is not understood", import->name);
    import->info = import->listing.mailboxes[0];
    return true;
}

static bool message_do(struct import *import, const struct source_message *message,
                       struct slice bytes, struct error *error)
{
    uint32_t uid = import->keeps ? message->uid : 0;
    bool found = false;
    if (import->group > 0 && import->group_new && uid > 0) {
        if (!group_store(import, error) || !mailbox_ask(import, false, error))
            return false;
        import->uidnext = import->info.uidnext; /* new UIDs may have gone past ours */
    }
    if (uid >= import->uidnext && uid > 0)
        return bring(import, message, uid, bytes, error);
    if (uid > 0 && uid < import->info.import_next) {
        const struct known *known = find_uid(import, uid);
        found = known == NULL || (known->size == bytes.size && known->date_us == message->date_us);
        if (known != NULL && found)
            use(import, known);
    }
    if (!found && !find_content(import, message->date_us, bytes, &found, error))
        return false;
    import->counts->passed += found;
    if (!found && import->group > 0 && !import->group_new && !group_store(import, error))
        return false;
    return found || bring(import, message, 0, bytes, error);
}

/* ---- a folder ------------------------------------------------------------------------------- */

static bool adopt(struct import *import, bool finished, struct error *error)
{
    const struct source_folder *folder = import->folder;
    uint32_t uidnext = folder->uidnext > 0 ? folder->uidnext : 1;
    move_put_adopt(&import->link->out, slice_str(import->name), folder->uidvalidity, uidnext,
                   finished);
    return move_link_ask(import->link, NULL, NULL, error);
}

static bool folder_begin(struct import *import, bool subscribed, struct error *error)
{
    const struct source_folder *folder = import->folder;
    if (!mailbox_ask(import, subscribed, error))
        return false;
    import->keeps = folder->uidvalidity != 0;
    if (import->keeps) {
        if (!adopt(import, false, error))
            return false;
        if (import->link->result == MAILBOX_CANNOT && !import->merge)
            return error_set(error,
                             "%s has or had mail of its own here, so it cannot take over the old "
                             "UIDs: use an account without mail, or --merge (new UIDs, clients "
                             "fetch this folder again)",
                             import->name);
        import->keeps = import->link->result == MAILBOX_OK;
        if (!import->keeps && import->link->result != MAILBOX_CANNOT)
            return error_set(error, "%s: %s", import->name, import->link->text);
        if (!mailbox_ask(import, false, error))
            return false;
    }
    import->uidnext = import->info.uidnext;
    return known_load(import, error);
}

static bool folder_import(struct import *import, const struct source_name *name,
                          struct error *error)
{
    struct source_folder folder;
    struct buf bytes = {0};
    bool good = source_folder_load(import->source, name, &folder, error);
    import->name = name->name;
    // cppcheck-suppress autoVariables ; taken back at the end
    import->folder = &folder;
    import->group = 0;
    import->count = 0;
    import->by_uid = import->by_content = NULL;
    arena_init(&import->listing.arena);
    good = good && folder_begin(import, name->subscribed, error);
    for (size_t i = 0; good && i < folder.count; i++) {
        import->progress(import->name, i, folder.count);
        good = source_read(import->source, &folder.messages[i], &bytes, error) &&
               message_do(import, &folder.messages[i], buf_slice(&bytes), error);
    }
    import->progress("", 0, 0);
    good = good && group_store(import, error);
    if (good && import->keeps)
        good = adopt(import, true, error) &&
               (import->link->result == MAILBOX_OK ||
                error_set(error, "%s: %s", import->name, import->link->text));
    free(import->by_uid);
    free(import->by_content);
    buf_finish(&bytes);
    move_listing_finish(&import->listing);
    import->folder = NULL;
    source_folder_finish(&folder);
    return good;
}

bool move_import(struct move_link *link, const struct source *source, bool merge,
                 move_progress *progress, struct move_counts *counts, struct error *error)
{
    struct import import = {
        .link = link, .source = source, .merge = merge, .progress = progress, .counts = counts};
    for (size_t i = 0; i < source->count; i++) {
        if (!folder_import(&import, &source->names[i], error))
            return false;
    }
    return true;
}
