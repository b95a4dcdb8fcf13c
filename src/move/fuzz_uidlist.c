/*
 * dovecot-uidlist, courierimapuiddb and courierpop3dsizelist as another program left them, or half
 * of them. Properties: each name is there once, in order, and is found; a UID is below UIDNEXT and
 * never without UIDVALIDITY; what was understood, written as Dovecot writes it, is understood as
 * the same. The input: the three files, set apart by zero bytes.
 */
#include "base/assert.h"
#include "move/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct uidlist *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct uidlist_entry *entry = &list->entries[i];
        ASSERT(i == 0 || slice_compare(list->entries[i - 1].base, entry->base) < 0);
        ASSERT(uidlist_find(list, entry->base) == entry);
        ASSERT(entry->uid == 0 || list->uidvalidity != 0);
        ASSERT(entry->uid < list->uidnext || entry->uid == 0 || entry->uid == UINT32_MAX);
    }
}

static void write_again(const struct uidlist *list, struct buf *out)
{
    buf_printf(out, "3 V%u N%u\n", list->uidvalidity, list->uidnext);
    for (size_t i = 0; i < list->count; i++) {
        const struct uidlist_entry *entry = &list->entries[i];
        if (entry->uid == 0)
            continue;
        buf_printf(out, "%u", entry->uid);
        if (entry->uidl.size > 0) {
            buf_add_str(out, " P");
            buf_add_slice(out, entry->uidl);
        }
        if (entry->pop3_order > 0)
            buf_printf(out, " O%u", entry->pop3_order);
        buf_add_str(out, " :");
        buf_add_slice(out, entry->base);
        buf_u8(out, '\n');
    }
}

static void check_again(const struct uidlist *list, struct slice text, struct arena *arena)
{
    struct uidlist again;
    uidlist_parse(text, SLICE_NONE, SLICE_NONE, arena, &again);
    ASSERT(again.uidvalidity == list->uidvalidity && again.uidnext == list->uidnext);
    for (size_t i = 0; i < list->count; i++) {
        const struct uidlist_entry *entry = &list->entries[i];
        const struct uidlist_entry *back = uidlist_find(&again, entry->base);
        ASSERT((back != NULL) == (entry->uid > 0));
        if (back != NULL)
            ASSERT(back->uid == entry->uid && slice_equal(back->uidl, entry->uidl) &&
                   back->pop3_order == entry->pop3_order);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_make(data, size);
    struct slice dovecot = slice_split(&rest, 0), courier = slice_split(&rest, 0);
    struct uidlist list;
    struct arena arena;
    struct buf text = {0};
    arena_init(&arena);
    uidlist_parse(dovecot, courier, rest, &arena, &list);
    check(&list);
    if (list.uidvalidity != 0) {
        write_again(&list, &text);
        check_again(&list, buf_slice(&text), &arena);
    }
    buf_finish(&text);
    arena_finish(&arena);
    return 0;
}
