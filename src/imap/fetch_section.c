/*
 * Where a section's bytes are (RFC 3501 6.4.5): part numbers against the summary's tree. The
 * message is its delivery prefix and its blob as one run, so the header of the whole message begins
 * at 0; offsets in the summary count from the end of the prefix.
 */
#include "imap/fetch.h"
#include "message/fields.h"

/* The n-th child, counted from 1; 0 when there is none (part 0 is nobody's child). */
static uint32_t child_of(const struct summary *summary, uint32_t parent, uint32_t n)
{
    uint32_t end = summary->parts[parent].next;
    for (uint32_t i = parent + 1; i < end && i < summary->part_count; i = summary->parts[i].next)
        if (--n == 0)
            return i;
    return 0;
}

/* Part numbers count in a multipart; a message that is none has one part, its body. */
static bool find_part(const struct summary *summary, const struct fetch_item *item, uint32_t *found)
{
    uint32_t part = 0;
    bool message = true; /* part is a message, not its body */
    for (size_t i = 0; i < item->depth; i++) {
        if (!message && summary->parts[part].kind == SUMMARY_MESSAGE) {
            part = child_of(summary, part, 1);
            message = true;
            if (part == 0)
                return false;
        }
        if (summary->parts[part].kind == SUMMARY_MULTIPART) {
            part = child_of(summary, part, item->path[i]);
            if (part == 0)
                return false;
        } else if (!message || item->path[i] != 1) {
            return false;
        }
        message = false;
    }
    *found = part;
    return true;
}

const struct summary_part *fetch_part(const struct summary *summary, const struct fetch_item *item)
{
    uint32_t index;
    return find_part(summary, item, &index) ? &summary->parts[index] : NULL;
}

bool fetch_locate(const struct summary *summary, uint64_t prefix_size,
                  const struct fetch_item *item, struct fetch_range *range)
{
    uint32_t index;
    if (!find_part(summary, item, &index))
        return false;
    bool whole = item->depth == 0;
    if (!whole && item->text != FETCH_ALL && item->text != FETCH_MIME) {
        if (summary->parts[index].kind != SUMMARY_MESSAGE)
            return false;
        index = child_of(summary, index, 1);
        if (index == 0)
            return false;
    }
    const struct summary_part *part = &summary->parts[index];
    uint64_t header = prefix_size + part->header_offset;
    uint64_t body = header + part->header_size;
    uint64_t begin = whole ? 0 : header; /* the prefix belongs to the message's own header */
    if (item->text == FETCH_ALL && whole)
        *range = (struct fetch_range){0, prefix_size + summary->size};
    else if (item->text == FETCH_ALL || item->text == FETCH_TEXT)
        *range = (struct fetch_range){body, part->body_size};
    else
        *range = (struct fetch_range){begin, body - begin};
    return true;
}

void fetch_clip(const struct fetch_item *item, struct fetch_range *range)
{
    if (!item->partial)
        return;
    uint64_t skip = item->offset < range->size ? item->offset : range->size;
    range->offset += skip;
    range->size -= skip;
    if (range->size > item->size)
        range->size = item->size;
}

static bool is_chosen(struct slice name, const struct fetch_item *item)
{
    bool named = false;
    for (size_t i = 0; i < item->field_count && !named; i++)
        named = slice_equal_nocase(name, item->fields[i]);
    return named == (item->text == FETCH_FIELDS);
}

void fetch_choose_fields(struct slice header, const struct fetch_item *item, struct buf *chosen)
{
    struct fields fields = fields_make(header);
    struct field field;
    while (fields_next(&fields, &field))
        if (is_chosen(field.name, item))
            buf_add_slice(chosen, field.lines);
    buf_add_str(chosen, "\r\n");
}
