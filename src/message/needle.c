/*
 * Packing only: nothing here looks into a message. Both ends check, though only the reader has to:
 * a worker is believed by nobody either.
 */
#include "message/needle.h"

#include "base/bytes.h"

bool needle_is_in(struct slice needle, struct slice text)
{
    return needle.size == 0 || (text.size >= needle.size &&
                                memmem(text.data, text.size, needle.data, needle.size) != NULL);
}

void needle_folded_add(enum needle_where where, struct slice text, struct buf *out)
{
    buf_u8(out, (uint8_t)where);
    buf_u16(out, (uint16_t)text.size);
    buf_add_slice(out, text);
}

void needle_folded_look(const struct needle *needles, size_t count, struct slice folded,
                        uint8_t *bits)
{
    const uint8_t *at = folded.data, *end = folded.data + folded.size;
    while (end - at >= 3) {
        struct slice text = slice_make(at + 3, bytes_get_le16(at + 1));
        if (text.size > (size_t)(end - text.data))
            return;
        for (size_t i = 0; i < count; i++)
            if (needles[i].where == at[0] && needle_is_in(needles[i].text, text))
                bits[i / 8] |= (uint8_t)(1u << i % 8);
        at = text.data + text.size;
    }
}

void needle_pack(const struct needle *needle, struct buf *out)
{
    buf_u8(out, (uint8_t)needle->where);
    buf_packed(out, needle->field);
    buf_packed(out, needle->text);
}

bool needle_unpack(struct slice packed, struct arena *arena, struct needle **needles, size_t *count)
{
    struct cursor cursor = cursor_make(packed);
    *needles = arena_array(arena, NEEDLES_MAX, sizeof(**needles));
    *count = 0;
    while (cursor.rest.size > 0 && !cursor.failed) {
        if (*count == NEEDLES_MAX)
            return false;
        struct needle *needle = &(*needles)[(*count)++];
        uint8_t where = cursor_u8(&cursor);
        if (where >= NEEDLE_WHERES)
            return false;
        needle->where = where;
        needle->field = cursor_packed(&cursor);
        needle->text = cursor_packed(&cursor);
    }
    return cursor_done(&cursor);
}

void needle_record_head(enum needle_record_kind kind, uint64_t blob_size, uint64_t size,
                        uint8_t head[NEEDLE_RECORD_SIZE])
{
    head[0] = (uint8_t)kind;
    bytes_put_le64(head + 1, blob_size);
    bytes_put_le64(head + 9, size);
}

bool needle_record_next(struct slice *batch, struct needle_record *record, bool *malformed)
{
    *malformed = false;
    if (batch->size == 0)
        return false;
    struct cursor cursor = cursor_make(*batch);
    uint8_t kind = cursor_u8(&cursor);
    record->kind = kind;
    record->blob_size = cursor_u64(&cursor);
    uint64_t size = cursor_u64(&cursor);
    *malformed = cursor.failed || kind > NEEDLE_MESSAGE || size > cursor.rest.size;
    if (*malformed)
        return false;
    record->bytes = cursor_bytes(&cursor, (size_t)size);
    *batch = cursor.rest;
    return true;
}
