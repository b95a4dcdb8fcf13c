#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/utf8.h"

void buf_init(struct buf *buf)
{
    *buf = (struct buf){0};
}

void buf_finish(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
}

void buf_grow(struct buf *buf, size_t size)
{
    size_t need, room = buf->room < 64 ? 64 : buf->room;
    ASSERT(!__builtin_add_overflow(buf->size, size, &need) && need <= SIZE_MAX / 2);
    while (room < need)
        room += room / 2;
    if (room != buf->room)
        buf->data = mem_realloc(buf->data, room);
    buf->room = room;
}

void buf_number(struct buf *buf, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buf_add(buf, digits + at, sizeof(digits) - at);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    ASSERT(size >= 0);
    char *at = (char *)buf_extend(buf, (size_t)size + 1);
    vsnprintf(at, (size_t)size + 1, format, again);
    buf->size--;
    va_end(again);
    va_end(args);
}

void buf_u8(struct buf *buf, uint8_t value)
{
    *buf_extend(buf, 1) = value;
}

void buf_u16(struct buf *buf, uint16_t value)
{
    bytes_put_le16(buf_extend(buf, 2), value);
}

void buf_u32(struct buf *buf, uint32_t value)
{
    bytes_put_le32(buf_extend(buf, 4), value);
}

void buf_u64(struct buf *buf, uint64_t value)
{
    bytes_put_le64(buf_extend(buf, 8), value);
}

void buf_packed(struct buf *buf, struct slice s)
{
    ASSERT(s.size <= UINT32_MAX);
    buf_u32(buf, (uint32_t)s.size);
    buf_add_slice(buf, s);
}

struct slice cursor_bytes(struct cursor *cursor, size_t size)
{
    if (cursor->failed || cursor->rest.size < size) {
        cursor->failed = true;
        return SLICE_NONE;
    }
    struct slice bytes = slice_sub(cursor->rest, 0, size);
    cursor->rest = slice_sub(cursor->rest, size, cursor->rest.size);
    return bytes;
}

uint8_t cursor_u8(struct cursor *cursor)
{
    struct slice s = cursor_bytes(cursor, 1);
    return cursor->failed ? 0 : s.data[0];
}

uint16_t cursor_u16(struct cursor *cursor)
{
    struct slice s = cursor_bytes(cursor, 2);
    return cursor->failed ? 0 : bytes_get_le16(s.data);
}

uint32_t cursor_u32(struct cursor *cursor)
{
    struct slice s = cursor_bytes(cursor, 4);
    return cursor->failed ? 0 : bytes_get_le32(s.data);
}

uint64_t cursor_u64(struct cursor *cursor)
{
    struct slice s = cursor_bytes(cursor, 8);
    return cursor->failed ? 0 : bytes_get_le64(s.data);
}

struct slice cursor_packed(struct cursor *cursor)
{
    uint32_t size = cursor_u32(cursor);
    return cursor_bytes(cursor, size);
}

bool cursor_done(const struct cursor *cursor)
{
    return !cursor->failed && cursor->rest.size == 0;
}

void buf_json_string(struct buf *buf, struct slice text)
{
    buf_add_str(buf, "\"");
    for (size_t i = 0; i < text.size;) {
        size_t length = utf8_length(slice_sub(text, i, text.size));
        uint8_t c = text.data[i];
        if (length == 0) {
            buf_add_str(buf, "\xef\xbf\xbd");
            i++;
        } else if (length == 1 && (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)) {
            buf_printf(buf, "\\u%04x", c);
            i++;
        } else {
            buf_add(buf, text.data + i, length);
            i += length;
        }
    }
    buf_add_str(buf, "\"");
}
