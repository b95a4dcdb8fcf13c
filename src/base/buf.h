/*
 * A growing byte buffer that its holder owns, and a cursor that reads packed values back.
 * Packed integers are little-endian; strings carry a u32 length.
 */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

struct buf {
    uint8_t *data;
    size_t size;
    size_t room;
};

void buf_init(struct buf *buf); /* allocates nothing; {0} is as good */
void buf_finish(struct buf *buf);
void buf_clear(struct buf *buf);             /* keeps the memory */
void buf_grow(struct buf *buf, size_t size); /* room for size more bytes */

/* size more bytes, not cleared. */
static inline uint8_t *buf_extend(struct buf *buf, size_t size)
{
    if (buf->data == NULL || size > buf->room - buf->size)
        buf_grow(buf, size);
    uint8_t *at = buf->data + buf->size;
    buf->size += size;
    return at;
}

static inline void buf_add(struct buf *buf, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(buf_extend(buf, size), bytes, size);
}

static inline void buf_add_slice(struct buf *buf, struct slice s)
{
    buf_add(buf, s.data, s.size);
}

static inline void buf_add_str(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull));
void buf_number(struct buf *buf, uint64_t number); /* in decimal */
void buf_u8(struct buf *buf, uint8_t value);
void buf_u16(struct buf *buf, uint16_t value);
void buf_u32(struct buf *buf, uint32_t value);
void buf_u64(struct buf *buf, uint64_t value);
void buf_packed(struct buf *buf, struct slice s); /* u32 length and the bytes */

/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void buf_json_string(struct buf *buf, struct slice text);

/* Valid until the buffer changes. */
static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_make(buf->data, buf->size);
}

/*
 * Reads what the buf_* functions packed. The first read past the end sets failed, and that and all
 * later ones give 0 or nothing, so that a decoder checks once, at its end.
 */
struct cursor {
    struct slice rest;
    bool failed;
};

static inline struct cursor cursor_make(struct slice s)
{
    return (struct cursor){.rest = s};
}

uint8_t cursor_u8(struct cursor *cursor);
uint16_t cursor_u16(struct cursor *cursor);
uint32_t cursor_u32(struct cursor *cursor);
uint64_t cursor_u64(struct cursor *cursor);
struct slice cursor_bytes(struct cursor *cursor, size_t size); /* points into the input */
struct slice cursor_packed(struct cursor *cursor);
/* True when nothing failed and nothing is left. */
bool cursor_done(const struct cursor *cursor);
