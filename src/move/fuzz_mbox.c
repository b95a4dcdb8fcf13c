/*
 * mbox files. Properties: the messages lie in the file, in order and apart; ahead of each stands a
 * From_ line with its date; between two of them nothing but empty lines and From_ lines is lost,
 * but for the message that a mail server keeps for itself (X-IMAP); UIDs come with UIDVALIDITY
 * only, and once each.
 */
#include <stdio.h>

#include "base/assert.h"
#include "move/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The line that ends at `end`. */
static struct slice line_before(struct slice text, size_t end)
{
    size_t at = end > 0 ? end - 1 : 0;
    while (at > 0 && text.data[at - 1] != '\n')
        at--;
    return slice_sub(text, at, end > 0 ? end - 1 - at : 0);
}

static void check_place(struct slice text, const struct source_message *message, size_t *behind)
{
    uint64_t date_us = 0;
    ASSERT(message->offset <= text.size && message->length <= text.size - message->offset);
    ASSERT(message->offset > *behind);
    ASSERT(message->offset == text.size || text.data[message->offset - 1] == '\n');
    if (text.data[message->offset - 1] == '\n') {
        ASSERT(mbox_from_date(line_before(text, message->offset), &date_us));
        ASSERT(date_us == message->date_us);
    }
    *behind = message->offset + message->length;
}

/* From the end of a message to the next one. */
static void check_gap(struct slice gap)
{
    uint64_t date_us;
    while (gap.size > 0) {
        struct slice line = slice_split(&gap, '\n');
        ASSERT(line.size == 0 || slice_equal_str(line, "\r") || mbox_from_date(line, &date_us));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct source_folder folder = {.count = 0};
    struct error error = {0};
    size_t behind = 0;
    bool internal =
        memmem(data, size, "\nX-I", 4) != NULL || memmem(data, size, "\nx-i", 4) != NULL ||
        memmem(data, size, "\nX-i", 4) != NULL || memmem(data, size, "\nx-I", 4) != NULL;
    arena_init(&folder.arena);
    if (source_mbox_parse(text, "mbox", &folder, &error)) {
        for (size_t i = 0; i < folder.count; i++) {
            size_t before = behind;
            check_place(text, &folder.messages[i], &behind);
            if (!internal)
                check_gap(slice_sub(text, before, (size_t)folder.messages[i].offset - before));
            ASSERT(folder.messages[i].uid == 0 || folder.uidvalidity != 0);
        }
        if (!internal && folder.count > 0)
            check_gap(slice_sub(text, behind, text.size));
        source_sort(&folder);
        for (size_t i = 1; i < folder.count; i++)
            ASSERT(folder.messages[i].uid == 0 ||
                   folder.messages[i].uid > folder.messages[i - 1].uid);
    } else {
        ASSERT(error.text[0] != '\0');
    }
    source_folder_finish(&folder);
    return 0;
}
