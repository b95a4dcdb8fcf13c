/* The byte forms of doc/formats/mailbox.md. Whoever changes one raises its format byte and keeps
 * reading the old one. */
#include "mailbox/codec.h"

#include "base/bytes.h"
#include "store/store.h"

_Static_assert((int)PAGE_SIZE <= (int)STORE_VALUE_GOOD,
               "a page of entries takes one page of the index");

struct codec_key codec_key_kind(enum codec_kind kind)
{
    return (struct codec_key){.bytes = {(uint8_t)kind}, .size = 1};
}

static void key_add(struct codec_key *key, uint32_t number)
{
    bytes_put_be32(key->bytes + key->size, number);
    key->size += 4;
}

struct codec_key codec_key_number(enum codec_kind kind, uint32_t number)
{
    struct codec_key key = codec_key_kind(kind);
    key_add(&key, number);
    return key;
}

struct codec_key codec_key_page(uint32_t box, uint32_t page)
{
    struct codec_key key = codec_key_number(KEY_PAGE, box);
    key_add(&key, page);
    return key;
}

struct codec_key codec_key_reference(uint32_t email, uint32_t box, uint32_t uid)
{
    struct codec_key key = codec_key_number(KEY_REFERENCE, email);
    key_add(&key, box);
    key_add(&key, uid);
    return key;
}

struct codec_key codec_key_change(uint64_t modseq)
{
    struct codec_key key = codec_key_kind(KEY_CHANGE);
    bytes_put_be64(key.bytes + key.size, modseq);
    key.size += 8;
    return key;
}

struct codec_key codec_key_delivery(const uint8_t hash[16])
{
    struct codec_key key = codec_key_kind(KEY_DELIVERY);
    memcpy(key.bytes + key.size, hash, 16);
    key.size += 16;
    return key;
}

bool codec_key_get_number(struct slice key, size_t index, uint32_t *number)
{
    if (key.size < 1 + 4 * (index + 1))
        return false;
    *number = bytes_get_be32(key.data + 1 + 4 * index);
    return true;
}

void codec_account_put(const struct account_record *record, struct buf *out)
{
    buf_u8(out, CODEC_FORMAT);
    buf_u32(out, record->email_next);
    buf_u32(out, record->box_next);
    buf_u32(out, record->uidvalidity_last);
    buf_u64(out, record->modseq);
    buf_u64(out, record->bytes);
    buf_u64(out, record->messages);
    buf_u64(out, record->epoch);
    buf_u64(out, record->lost_from);
    buf_u64(out, record->lost_to);
}

bool codec_account_get(struct slice value, struct account_record *record)
{
    struct cursor cursor = cursor_make(value);
    if (cursor_u8(&cursor) != CODEC_FORMAT)
        return false;
    record->email_next = cursor_u32(&cursor);
    record->box_next = cursor_u32(&cursor);
    record->uidvalidity_last = cursor_u32(&cursor);
    record->modseq = cursor_u64(&cursor);
    record->bytes = cursor_u64(&cursor);
    record->messages = cursor_u64(&cursor);
    record->epoch = cursor_u64(&cursor);
    record->lost_from = cursor_u64(&cursor);
    record->lost_to = cursor_u64(&cursor);
    return cursor_done(&cursor);
}

void codec_box_put(const struct box_record *record, struct buf *out)
{
    bool imported = record->import_end > 0;
    buf_u8(out, imported ? CODEC_FORMAT_BOX_IMPORTED : CODEC_FORMAT);
    buf_u8(out, (uint8_t)record->state);
    buf_u32(out, record->parent);
    buf_u32(out, record->special);
    buf_add(out, record->object.bytes, sizeof(record->object.bytes));
    buf_u32(out, record->uidvalidity);
    buf_u32(out, record->uidnext);
    buf_u64(out, record->modseq);
    buf_u32(out, record->messages);
    buf_u32(out, record->unseen);
    buf_u32(out, record->deleted);
    buf_u64(out, record->size);
    buf_u32(out, record->tail_page);
    buf_u32(out, record->tail_used);
    buf_u32(out, record->unpublished);
    buf_u32(out, record->dead_below);
    buf_u32(out, record->expunged);
    buf_u32(out, record->expunged_since);
    if (imported) {
        buf_u32(out, record->import_next);
        buf_u32(out, record->import_end);
    }
    buf_packed(out, record->name);
}

bool codec_box_get(struct slice value, struct box_record *record)
{
    struct cursor cursor = cursor_make(value);
    uint8_t format = cursor_u8(&cursor);
    if (format != CODEC_FORMAT && format != CODEC_FORMAT_BOX_IMPORTED)
        return false;
    bool imported = format == CODEC_FORMAT_BOX_IMPORTED;
    record->state = (enum box_state)cursor_u8(&cursor);
    record->parent = cursor_u32(&cursor);
    record->special = cursor_u32(&cursor);
    struct slice object = cursor_bytes(&cursor, sizeof(record->object.bytes));
    if (cursor.failed)
        return false;
    memcpy(record->object.bytes, object.data, sizeof(record->object.bytes));
    record->uidvalidity = cursor_u32(&cursor);
    record->uidnext = cursor_u32(&cursor);
    record->modseq = cursor_u64(&cursor);
    record->messages = cursor_u32(&cursor);
    record->unseen = cursor_u32(&cursor);
    record->deleted = cursor_u32(&cursor);
    record->size = cursor_u64(&cursor);
    record->tail_page = cursor_u32(&cursor);
    record->tail_used = cursor_u32(&cursor);
    record->unpublished = cursor_u32(&cursor);
    record->dead_below = cursor_u32(&cursor);
    record->expunged = cursor_u32(&cursor);
    record->expunged_since = cursor_u32(&cursor);
    record->import_next = imported ? cursor_u32(&cursor) : 0;
    record->import_end = imported ? cursor_u32(&cursor) : 0;
    record->name = cursor_packed(&cursor);
    return cursor_done(&cursor) && record->state <= BOX_DELETED && record->uidnext > 0 &&
           record->tail_used <= PAGE_ENTRIES && record->name.size > 0 &&
           imported == (record->import_end > 0);
}

void codec_page_empty(uint8_t page[PAGE_SIZE])
{
    memset(page, 0, PAGE_SIZE);
    page[0] = CODEC_FORMAT;
}

bool codec_page_valid(struct slice value)
{
    return value.size == PAGE_SIZE && value.data[0] == CODEC_FORMAT;
}

void codec_entry_put(uint8_t at[ENTRY_SIZE], const struct mailbox_entry *entry, uint32_t expunged)
{
    uint32_t flags = (entry->flags & ENTRY_SYSTEM_FLAGS) | (expunged > 0 ? ENTRY_EXPUNGED : 0);
    bytes_put_le32(at, entry->uid);
    bytes_put_le32(at + 4, entry->email);
    bytes_put_le32(at + 8, entry->size);
    bytes_put_le32(at + 12, flags | entry->keyword_set << 8);
    bytes_put_le64(at + 16, entry->modseq);
    bytes_put_le32(at + 24, entry->save_date);
    bytes_put_le32(at + 28, expunged);
}

bool codec_entry_get(const uint8_t at[ENTRY_SIZE], struct mailbox_entry *entry, uint32_t *expunged)
{
    uint32_t flags = bytes_get_le32(at + 12);
    *entry = (struct mailbox_entry){
        .uid = bytes_get_le32(at),
        .email = bytes_get_le32(at + 4),
        .size = bytes_get_le32(at + 8),
        .flags = flags & ENTRY_SYSTEM_FLAGS,
        .keyword_set = flags >> 8,
        .modseq = bytes_get_le64(at + 16),
        .save_date = bytes_get_le32(at + 24),
    };
    *expunged = bytes_get_le32(at + 28);
    if ((flags & ENTRY_EXPUNGED) == 0)
        *expunged = 0;
    else if (*expunged == 0)
        *expunged = 1;
    return entry->uid > 0;
}

void codec_email_put(const struct email_record *record, struct buf *out)
{
    buf_u8(out, record->pop3_order > 0 ? CODEC_FORMAT_EMAIL_ORDERED : CODEC_FORMAT);
    buf_u16(out, (uint16_t)record->zone_minutes);
    buf_u64(out, record->blob);
    buf_u64(out, record->blob_size);
    buf_u64(out, record->date_us);
    buf_u32(out, record->home_box);
    buf_u32(out, record->home_uid);
    if (record->pop3_order > 0)
        buf_u32(out, record->pop3_order);
    buf_packed(out, record->prefix);
    buf_packed(out, record->uidl);
}

bool codec_email_get(struct slice value, struct email_record *record)
{
    struct cursor cursor = cursor_make(value);
    uint8_t format = cursor_u8(&cursor);
    if (format != CODEC_FORMAT && format != CODEC_FORMAT_EMAIL_ORDERED)
        return false;
    record->zone_minutes = (int16_t)cursor_u16(&cursor);
    record->blob = cursor_u64(&cursor);
    record->blob_size = cursor_u64(&cursor);
    record->date_us = cursor_u64(&cursor);
    record->home_box = cursor_u32(&cursor);
    record->home_uid = cursor_u32(&cursor);
    record->pop3_order = format == CODEC_FORMAT_EMAIL_ORDERED ? cursor_u32(&cursor) : 0;
    if (format == CODEC_FORMAT_EMAIL_ORDERED && record->pop3_order == 0)
        return false;
    record->prefix = cursor_packed(&cursor);
    record->uidl = cursor_packed(&cursor);
    return cursor_done(&cursor);
}

enum { CHANGE_RECORD = 13 };

bool codec_change_next(struct slice value, size_t *at, struct change_record *record)
{
    if (*at == 0 && (value.size == 0 || value.data[0] != CODEC_FORMAT))
        return false;
    struct cursor cursor = cursor_make(slice_sub(value, *at == 0 ? 1 : *at, CHANGE_RECORD));
    record->box = cursor_u32(&cursor);
    record->kind = cursor_u8(&cursor);
    record->first = cursor_u32(&cursor);
    record->last = cursor_u32(&cursor);
    *at = (*at == 0 ? 1 : *at) + CHANGE_RECORD;
    return cursor_done(&cursor) && record->first <= record->last;
}

void codec_change_add(struct buf *out, uint32_t box, enum codec_change kind, uint32_t uid)
{
    if (out->size == 0)
        buf_u8(out, CODEC_FORMAT);
    if (out->size > CHANGE_RECORD) {
        uint8_t *last = out->data + out->size - CHANGE_RECORD;
        if (bytes_get_le32(last) == box && last[4] == (uint8_t)kind &&
            bytes_get_le32(last + 9) == uid - 1) {
            bytes_put_le32(last + 9, uid);
            return;
        }
    }
    buf_u32(out, box);
    buf_u8(out, (uint8_t)kind);
    buf_u32(out, uid);
    buf_u32(out, uid);
}

void codec_delivery_put(const struct delivery_record *record, struct buf *out)
{
    buf_u8(out, CODEC_FORMAT);
    buf_u32(out, record->time);
    buf_u32(out, record->box);
    buf_u32(out, record->uid);
}

bool codec_delivery_get(struct slice value, struct delivery_record *record)
{
    struct cursor cursor = cursor_make(value);
    if (cursor_u8(&cursor) != CODEC_FORMAT)
        return false;
    record->time = cursor_u32(&cursor);
    record->box = cursor_u32(&cursor);
    record->uid = cursor_u32(&cursor);
    return cursor_done(&cursor);
}
