/* The frames of wire.h. The worker believes nothing of what it decodes; the program does not
 * either, since a worker reads what strangers sent. */
#include "move/wire.h"

enum { KEYWORDS_MAX = 2000 };

static size_t frame_begin(struct buf *out, enum move_kind kind)
{
    size_t at = out->size;
    buf_u32(out, 0);
    buf_u8(out, (uint8_t)kind);
    return at;
}

static void frame_end(struct buf *out, size_t at)
{
    uint32_t size = (uint32_t)(out->size - at - 4);
    for (int i = 0; i < 4; i++)
        out->data[at + (size_t)i] = (uint8_t)(size >> (8 * i));
}

void move_put(struct buf *out, enum move_kind kind, struct slice body)
{
    size_t at = frame_begin(out, kind);
    buf_add_slice(out, body);
    frame_end(out, at);
}

void move_put_info(struct buf *out, const struct move_info *info)
{
    size_t at = frame_begin(out, MOVE_INFO);
    buf_packed(out, info->name);
    buf_u32(out, info->uidvalidity);
    buf_u32(out, info->uidnext);
    buf_u32(out, info->import_next);
    buf_u32(out, info->messages);
    buf_u32(out, info->special);
    buf_u8(out, info->subscribed);
    buf_u8(out, info->selectable);
    frame_end(out, at);
}

bool move_get_info(struct slice body, struct move_info *info)
{
    struct cursor cursor = cursor_make(body);
    info->name = cursor_packed(&cursor);
    info->uidvalidity = cursor_u32(&cursor);
    info->uidnext = cursor_u32(&cursor);
    info->import_next = cursor_u32(&cursor);
    info->messages = cursor_u32(&cursor);
    info->special = cursor_u32(&cursor);
    info->subscribed = cursor_u8(&cursor) != 0;
    info->selectable = cursor_u8(&cursor) != 0;
    return cursor_done(&cursor);
}

void move_put_head(struct buf *out, enum move_kind kind, const struct move_head *head)
{
    size_t at = frame_begin(out, kind);
    buf_u32(out, head->uid);
    buf_u64(out, head->size);
    buf_u64(out, head->date_us);
    buf_u32(out, (uint32_t)head->zone_minutes);
    buf_u32(out, head->flags);
    buf_u32(out, head->pop3_order);
    buf_packed(out, head->uidl);
    buf_u32(out, (uint32_t)head->keyword_count);
    for (size_t i = 0; i < head->keyword_count; i++)
        buf_packed(out, head->keywords[i]);
    frame_end(out, at);
}

bool move_get_head(struct slice body, struct arena *arena, struct move_head *head)
{
    struct cursor cursor = cursor_make(body);
    head->uid = cursor_u32(&cursor);
    head->size = cursor_u64(&cursor);
    head->date_us = cursor_u64(&cursor);
    head->zone_minutes = (int32_t)cursor_u32(&cursor);
    head->flags = cursor_u32(&cursor);
    head->pop3_order = cursor_u32(&cursor);
    head->uidl = cursor_packed(&cursor);
    head->keyword_count = cursor_u32(&cursor);
    if (cursor.failed || head->keyword_count > KEYWORDS_MAX)
        return false;
    head->keywords = arena_array(arena, head->keyword_count + 1, sizeof(*head->keywords));
    for (size_t i = 0; i < head->keyword_count; i++)
        head->keywords[i] = cursor_packed(&cursor);
    return cursor_done(&cursor);
}

void move_put_adopt(struct buf *out, struct slice name, uint32_t uidvalidity, uint32_t uidnext,
                    bool finished)
{
    size_t at = frame_begin(out, MOVE_ADOPT);
    buf_packed(out, name);
    buf_u32(out, uidvalidity);
    buf_u32(out, uidnext);
    buf_u8(out, finished);
    frame_end(out, at);
}

void move_put_mailbox(struct buf *out, struct slice name, uint32_t special, bool subscribe)
{
    size_t at = frame_begin(out, MOVE_MAILBOX);
    buf_packed(out, name);
    buf_u32(out, special);
    buf_u8(out, subscribe);
    frame_end(out, at);
}

void move_put_done(struct buf *out, uint32_t result, struct slice text)
{
    size_t at = frame_begin(out, MOVE_DONE);
    buf_u32(out, result);
    buf_packed(out, text);
    frame_end(out, at);
}
