/*
 * Keys and values of an account as a broken disk (past its checksums) or a restore from elsewhere
 * could show them. Properties: what a decoder takes is inside of the value, is within its bounds,
 * and is taken again after it was written again; walks end.
 */
#include <string.h>

#include "base/assert.h"
#include "mailbox/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_head(struct slice value)
{
    struct account_record account, account_back;
    struct box_record box, box_back;
    struct buf out = {0};
    if (codec_account_get(value, &account)) {
        codec_account_put(&account, &out);
        ASSERT(codec_account_get(buf_slice(&out), &account_back));
        ASSERT(account.modseq == account_back.modseq && account.bytes == account_back.bytes);
    }
    buf_clear(&out);
    if (codec_box_get(value, &box)) {
        ASSERT(box.state <= BOX_DELETED && box.name.size <= value.size);
        codec_box_put(&box, &out);
        ASSERT(codec_box_get(buf_slice(&out), &box_back));
        ASSERT(slice_equal(box.name, box_back.name) && box.uidnext == box_back.uidnext);
    }
    buf_finish(&out);
}

static void try_page(struct slice value)
{
    struct mailbox_entry entry, back;
    uint32_t expunged, expunged_back;
    uint8_t again[ENTRY_SIZE];
    if (!codec_page_valid(value))
        return;
    ASSERT(value.size == PAGE_SIZE);
    for (uint32_t slot = 0; slot < PAGE_ENTRIES; slot++) {
        if (!codec_entry_get(value.data + codec_entry_offset(slot), &entry, &expunged))
            continue;
        memset(again, 0, sizeof(again));
        codec_entry_put(again, &entry, expunged);
        ASSERT(codec_entry_get(again, &back, &expunged_back));
        ASSERT(entry.uid == back.uid && expunged == expunged_back && entry.flags == back.flags);
    }
}

static void try_email(struct slice value)
{
    struct email_record email, email_back;
    struct delivery_record delivery, delivery_back;
    struct buf out = {0};
    if (codec_email_get(value, &email)) {
        ASSERT(email.prefix.size + email.uidl.size <= value.size);
        codec_email_put(&email, &out);
        ASSERT(codec_email_get(buf_slice(&out), &email_back));
        ASSERT(slice_equal(email.prefix, email_back.prefix) &&
               slice_equal(email.uidl, email_back.uidl) && email.blob == email_back.blob &&
               email.pop3_order == email_back.pop3_order);
    }
    buf_clear(&out);
    if (codec_delivery_get(value, &delivery)) {
        codec_delivery_put(&delivery, &out);
        ASSERT(codec_delivery_get(buf_slice(&out), &delivery_back));
        ASSERT(delivery.uid == delivery_back.uid);
    }
    buf_finish(&out);
}

static void try_changes(struct slice value)
{
    struct change_record record;
    size_t at = 0, before = 0;
    while (codec_change_next(value, &at, &record)) {
        ASSERT(at > before && at <= value.size);
        ASSERT(record.first <= record.last);
        before = at;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t page[PAGE_SIZE];
    uint32_t number;
    struct slice value = slice_make(data, size);
    try_head(value);
    try_email(value);
    try_changes(value);
    codec_page_empty(page); /* too large for a fuzzer to find */
    memcpy(page + PAGE_HEADER, data,
           size < PAGE_SIZE - PAGE_HEADER ? size : PAGE_SIZE - PAGE_HEADER);
    try_page(slice_make(page, PAGE_SIZE));
    try_page(value);
    for (size_t index = 0; index < 4; index++)
        codec_key_get_number(value, index, &number);
    return 0;
}
