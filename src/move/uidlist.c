/*
 * What Dovecot and Courier wrote beside a Maildir:
 *
 *   dovecot-uidlist       3 V<uidvalidity> N<nextuid> G<guid>     then  <uid> [P<uidl>] [O<order>]
 *                                                                       ... :<file>
 *   courierimapuiddb      1 <uidvalidity> <nextuid>               then  <uid> <file>
 *   courierpop3dsizelist  /2 or /3 <nextuid> <uidv>               then  <file> <size> <n>:<uidv>...
 *
 * Messages with an order stand first in Dovecot's POP3 maildrop, by it; it begins at 1.
 *
 * Courier's POP3 server shows UID<n>-<uidv>, or UID<n> where uidv is 0. A line that is not
 * understood is passed over: its message then has no UID, nothing worse.
 */
#include <stdio.h>
#include <stdlib.h>

#include "move/source.h"

static int entry_compare(const void *a, const void *b)
{
    const struct uidlist_entry *x = a, *y = b;
    return slice_compare(x->base, y->base);
}

static struct slice base_of(struct slice name)
{
    return slice_sub(name, 0, slice_find(name, ':'));
}

static void entry_add(struct uidlist *list, struct arena *arena, struct uidlist_entry entry)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 64 : list->room * 2;
        struct uidlist_entry *grown = arena_array(arena, room, sizeof(*grown));
        if (list->count > 0)
            memcpy(grown, list->entries, list->count * sizeof(*grown));
        list->entries = grown;
        list->room = room;
    }
    list->entries[list->count++] = entry;
}

/* Of equal names the last counts: both servers add to the end. */
static void list_sort(struct uidlist *list)
{
    size_t kept = 0;
    if (list->count == 0)
        return;
    qsort(list->entries, list->count, sizeof(*list->entries), entry_compare);
    for (size_t i = 0; i < list->count; i++) {
        if (kept > 0 && slice_equal(list->entries[kept - 1].base, list->entries[i].base)) {
            if (list->entries[i].uid > list->entries[kept - 1].uid)
                list->entries[kept - 1] = list->entries[i];
        } else {
            list->entries[kept++] = list->entries[i];
        }
    }
    list->count = kept;
}

const struct uidlist_entry *uidlist_find(const struct uidlist *list, struct slice base)
{
    struct uidlist_entry wanted = {.base = base};
    if (list->count == 0)
        return NULL;
    return bsearch(&wanted, list->entries, list->count, sizeof(*list->entries), entry_compare);
}

static bool header_v3(struct slice line, struct uidlist *list)
{
    while (line.size > 0) {
        struct slice word = slice_split(&line, ' ');
        struct slice value = slice_sub(word, 1, word.size);
        if (word.size > 0 && word.data[0] == 'V' && !slice_u32(value, &list->uidvalidity))
            return false;
        if (word.size > 0 && word.data[0] == 'N' && !slice_u32(value, &list->uidnext))
            return false;
    }
    return true;
}

static bool line_v3(struct slice line, struct uidlist_entry *entry)
{
    if (!slice_u32(slice_split(&line, ' '), &entry->uid))
        return false;
    while (line.size > 0 && line.data[0] != ':') {
        struct slice word = slice_split(&line, ' ');
        struct slice value = slice_sub(word, 1, word.size);
        if (word.size > 0 && word.data[0] == 'P')
            entry->uidl = value;
        if (word.size > 0 && word.data[0] == 'O' && !slice_u32(value, &entry->pop3_order))
            entry->pop3_order = 0;
    }
    entry->base = base_of(slice_sub(line, 1, line.size));
    return true;
}

static bool imap_list(struct slice text, struct arena *arena, struct uidlist *list)
{
    struct slice header = slice_split(&text, '\n');
    struct slice version = slice_split(&header, ' ');
    bool v3 = slice_equal_str(version, "3");
    bool good = v3 ? header_v3(header, list)
                   : slice_equal_str(version, "1") &&
                         slice_u32(slice_split(&header, ' '), &list->uidvalidity) &&
                         slice_u32(slice_split(&header, ' '), &list->uidnext);
    if (!good || list->uidvalidity == 0) {
        list->uidvalidity = list->uidnext = 0;
        return false;
    }
    while (text.size > 0) {
        struct slice line = slice_split(&text, '\n');
        struct uidlist_entry entry = {.uid = 0};
        if (v3)
            good = line_v3(line, &entry);
        else if ((good = slice_u32(slice_split(&line, ' '), &entry.uid)))
            entry.base = base_of(line);
        if (!good || entry.uid == 0 || entry.base.size == 0)
            continue;
        if (entry.uid >= list->uidnext && entry.uid < UINT32_MAX)
            list->uidnext = entry.uid + 1;
        entry_add(list, arena, entry);
    }
    return true;
}

/* The last word of a line, cut off. */
static struct slice last_word(struct slice *line)
{
    size_t at = line->size;
    while (at > 0 && line->data[at - 1] != ' ')
        at--;
    struct slice word = slice_sub(*line, at, line->size);
    *line = slice_sub(*line, 0, at > 0 ? at - 1 : 0);
    return word;
}

/* Adds UIDLs to what the IMAP list knows; alone it says nothing of UIDs. */
static void pop3_list(struct slice text, struct arena *arena, struct uidlist *list)
{
    struct uidlist uidls = {.uidnext = 0};
    struct slice header = slice_split(&text, '\n');
    if (!slice_starts(header, SLICE_LITERAL("/2 ")) && !slice_starts(header, SLICE_LITERAL("/3 ")))
        return;
    list->courier_pop3 = true;
    while (text.size > 0) {
        struct slice line = slice_split(&text, '\n');
        struct slice numbers = last_word(&line);
        uint64_t size, number, validity = 0;
        if (!slice_u64(last_word(&line), &size) ||
            !slice_u64(slice_split(&numbers, ':'), &number) ||
            !slice_u64(slice_split(&numbers, ':'), &validity) || line.size == 0 || number == 0)
            continue;
        const char *uidl = validity > 0
                               ? arena_printf(arena, "UID%llu-%llu", (unsigned long long)number,
                                              (unsigned long long)validity)
                               : arena_printf(arena, "UID%llu", (unsigned long long)number);
        entry_add(&uidls, arena,
                  (struct uidlist_entry){.base = base_of(line), .uidl = slice_str(uidl)});
    }
    list_sort(&uidls);
    for (size_t i = 0; i < uidls.count; i++) {
        struct uidlist_entry *known =
            (struct uidlist_entry *)(uintptr_t)uidlist_find(list, uidls.entries[i].base);
        if (known != NULL)
            known->uidl = uidls.entries[i].uidl;
    }
    /* Those that IMAP never saw stand behind the others, without a UID. */
    size_t before = list->count;
    for (size_t i = 0; i < uidls.count; i++) {
        struct uidlist known = {.entries = list->entries, .count = before};
        if (uidlist_find(&known, uidls.entries[i].base) == NULL)
            entry_add(list, arena, uidls.entries[i]);
    }
    list_sort(list);
}

/* Empty where there is no such file. */
static struct slice beside(const char *directory, const char *name, struct arena *arena)
{
    struct buf bytes = {0};
    source_file(arena_printf(arena, "%s/%s", directory, name), &bytes);
    struct slice text = arena_copy(arena, buf_slice(&bytes));
    buf_finish(&bytes);
    return text;
}

void uidlist_parse(struct slice dovecot, struct slice courier, struct slice pop3,
                   struct arena *arena, struct uidlist *list)
{
    *list = (struct uidlist){.uidnext = 0};
    if (!imap_list(dovecot, arena, list))
        imap_list(courier, arena, list);
    list_sort(list);
    pop3_list(pop3, arena, list);
}

void uidlist_read(const char *directory, struct arena *arena, struct uidlist *list)
{
    uidlist_parse(beside(directory, "dovecot-uidlist", arena),
                  beside(directory, "courierimapuiddb", arena),
                  beside(directory, "courierpop3dsizelist", arena), arena, list);
}
