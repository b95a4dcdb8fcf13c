/*
 * Names of mailboxes: UTF-8 in NFC (ICU), '/' between levels, the first level INBOX in any case
 * meaning INBOX (RFC 3501 5.1). They are data in records, never names of files, so that little has
 * to be refused: control characters, and what LIST could not ask for or show.
 */
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include "base/utf8.h"
#include "mailbox/mailbox_priv.h"

static bool name_has_control(struct slice name, bool *ascii)
{
    *ascii = true;
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < 0x20 || name.data[i] == 0x7f || name.data[i] == '*' ||
            name.data[i] == '%')
            return true;
        if (name.data[i] >= 0x80)
            *ascii = false;
    }
    return false;
}

static bool name_compose(struct slice name, struct arena *arena, struct slice *out)
{
    UErrorCode error = U_ZERO_ERROR;
    const UNormalizer2 *nfc = unorm2_getNFCInstance(&error);
    int32_t wide_size = 0, size = 0, room = MAILBOX_NAME_MAX * 3 + 1;
    UChar *wide = arena_array(arena, (size_t)room, sizeof(*wide));
    UChar *composed = arena_array(arena, (size_t)room, sizeof(*composed));
    char *text = arena_alloc(arena, (size_t)room);

    u_strFromUTF8(wide, room, &wide_size, (const char *)name.data, (int32_t)name.size, &error);
    int32_t composed_size = unorm2_normalize(nfc, wide, wide_size, composed, room, &error);
    u_strToUTF8(text, room, &size, composed, composed_size, &error);
    if (U_FAILURE(error))
        return false;
    *out = slice_make(text, (size_t)size);
    return true;
}

static bool name_levels_valid(struct slice name)
{
    int depth = 0;
    while (name.size > 0) {
        if (slice_find(name, MAILBOX_SEPARATOR) == 0 || ++depth > MAILBOX_DEPTH_MAX)
            return false;
        if (slice_split(&name, MAILBOX_SEPARATOR).size > MAILBOX_NAME_MAX)
            return false;
    }
    return depth > 0;
}

bool name_normalise(struct slice name, struct arena *arena, struct slice *out)
{
    bool ascii;
    /* CREATE "a/" says that mailboxes will be made below a (RFC 3501 6.3.3). */
    if (name.size > 1 && name.data[name.size - 1] == MAILBOX_SEPARATOR)
        name.size--;
    if (name.size == 0 || name.size > MAILBOX_NAME_MAX || name_has_control(name, &ascii) ||
        !utf8_valid(name))
        return false;
    if (ascii)
        *out = arena_copy(arena, name);
    else if (!name_compose(name, arena, out))
        return false;
    if (out->size > MAILBOX_NAME_MAX || out->data[out->size - 1] == MAILBOX_SEPARATOR ||
        !name_levels_valid(*out))
        return false;
    if (slice_equal_nocase(slice_sub(*out, 0, slice_find(*out, MAILBOX_SEPARATOR)),
                           SLICE_LITERAL("INBOX"))) {
        char *copy = arena_strdup(arena, *out);
        memcpy(copy, "INBOX", 5);
        *out = slice_make(copy, out->size);
    }
    return true;
}

struct slice name_first(struct slice *rest)
{
    return slice_split(rest, MAILBOX_SEPARATOR);
}
