/*
 * Packed summaries as a broken reader could forge them, or a disk show them. Property: what
 * summary_decode() takes is sound: every part lies in its parent and behind the one before, texts
 * hold no line ends, and packing it again gives the same. The first byte is the message's size.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "message/invariants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void is_clean(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        ASSERT(text.data[i] != '\r' && text.data[i] != '\n' && text.data[i] != '\0');
}

static void look_at(const struct summary *summary)
{
    for (uint32_t i = 0; i < summary->part_count; i++) {
        const struct summary_part *part = &summary->parts[i];
        const struct summary_part *parent = &summary->parts[part->parent];
        uint64_t body = part->header_offset + part->header_size;
        ASSERT(body + part->body_size <= summary->size && part->next > i);
        ASSERT(part->next <= summary->part_count && part->depth <= SUMMARY_DEPTH_MAX);
        if (i > 0)
            ASSERT(part->parent < i && parent->next > i &&
                   part->header_offset >= parent->header_offset + parent->header_size &&
                   body + part->body_size <=
                       parent->header_offset + parent->header_size + parent->body_size);
        is_clean(part->type);
        is_clean(part->disposition);
        for (uint32_t p = 0; p < part->parameter_count; p++)
            is_clean(part->parameters[p].value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct summary summary;
    if (size > 1 && summary_decode(slice_make(data + 1, size - 1), data[0], &arena, &summary)) {
        look_at(&summary);
        const char *wrong = invariants_of_packing(&summary);
        if (wrong != NULL) {
            fprintf(stderr, "%s\n", wrong);
            abort();
        }
    }
    arena_finish(&arena);
    return 0;
}
