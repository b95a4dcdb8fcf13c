/*
 * Keys and values of an account, byte for byte as doc/formats/mailbox.md has them. Pure functions;
 * decoders believe nothing and return false on anything that is not exactly the format.
 */
#pragma once
#include "base/buf.h"
#include "base/id.h"
#include "mailbox/mailbox.h"

enum { CODEC_FORMAT = 1, CODEC_FORMAT_BOX_IMPORTED = 2, CODEC_FORMAT_EMAIL_ORDERED = 2 };

/* The first byte of a key. What an open account needs stands together, so that one scan gets it. */
enum codec_kind {
    KEY_ACCOUNT = 0x01,
    KEY_BOX = 0x02,
    KEY_SUBSCRIPTION = 0x03,
    KEY_KEYWORD = 0x04,
    KEY_KEYWORD_SET = 0x05,
    KEY_HEAD_END = 0x06,
    KEY_PAGE = 0x10,
    KEY_EMAIL = 0x11,
    KEY_SUMMARY = 0x12,
    KEY_REFERENCE = 0x13,
    KEY_CHANGE = 0x14,
    KEY_DELIVERY = 0x15,
    KEY_END = 0x16,
};

struct codec_key {
    uint8_t bytes[32];
    size_t size;
};

static inline struct slice codec_key_slice(const struct codec_key *key)
{
    return slice_make(key->bytes, key->size);
}

struct codec_key codec_key_kind(enum codec_kind kind); /* KEY_ACCOUNT, and the ends of ranges */
/* KEY_BOX, KEY_KEYWORD, KEY_KEYWORD_SET, KEY_EMAIL, KEY_SUMMARY, and the begin of those longer */
struct codec_key codec_key_number(enum codec_kind kind, uint32_t number);
struct codec_key codec_key_page(uint32_t box, uint32_t page);
struct codec_key codec_key_reference(uint32_t email, uint32_t box, uint32_t uid);
struct codec_key codec_key_change(uint64_t modseq);
struct codec_key codec_key_delivery(const uint8_t hash[16]);
/* The number behind the kind byte; false when the key is shorter. */
bool codec_key_get_number(struct slice key, size_t index, uint32_t *number);

struct account_record {
    uint32_t email_next, box_next, uidvalidity_last;
    uint64_t modseq;
    uint64_t bytes, messages; /* sums over all mailboxes: quota */
    uint64_t epoch;
    uint64_t lost_from, lost_to; /* MODSEQs between may be of a future that a restore took back */
};
void codec_account_put(const struct account_record *record, struct buf *out);
bool codec_account_get(struct slice value, struct account_record *record);

enum box_state { BOX_LIVE, BOX_NOSELECT, BOX_DELETED };

struct box_record {
    uint32_t parent; /* mailbox id; 0: top level */
    enum box_state state;
    uint32_t special;
    struct id object;
    uint32_t uidvalidity, uidnext;
    uint64_t modseq;
    uint32_t messages, unseen, deleted;
    uint64_t size;
    uint32_t tail_page, tail_used; /* where the next entry goes; page 0: there is none */
    uint32_t unpublished;          /* entries up to below this uid may exist already; 0: none */
    uint32_t dead_below;     /* entries below this uid belong to a mailbox deleted under this id */
    uint32_t expunged;       /* entries that wait for the end of their grace; a hint */
    uint32_t expunged_since; /* the oldest of them, seconds; a hint */
    /* UIDs from import_next to below import_end are kept for messages that an import brings with
     * their UIDs; what comes in otherwise goes behind import_end. import_end 0: there was none. */
    uint32_t import_next, import_end;
    struct slice name; /* leaf, NFC; whoever has the record says who owns it */
};
void codec_box_put(const struct box_record *record, struct buf *out);
/* name points into value. */
bool codec_box_get(struct slice value, struct box_record *record);

enum { PAGE_ENTRIES = 120, PAGE_HEADER = 8, ENTRY_SIZE = 32 };
enum { PAGE_SIZE = PAGE_HEADER + PAGE_ENTRIES * ENTRY_SIZE };
enum { ENTRY_SYSTEM_FLAGS = 0x1f, ENTRY_EXPUNGED = 0x80, ENTRY_KEYWORD_SET_MAX = 0xffffff };

void codec_page_empty(uint8_t page[PAGE_SIZE]);
bool codec_page_valid(struct slice value);
/* expunged: seconds since 1970, 0 for an entry that is there. */
void codec_entry_put(uint8_t at[ENTRY_SIZE], const struct mailbox_entry *entry, uint32_t expunged);
/* False for a free slot. *expunged is as above, at least 1 for an expunged entry. */
bool codec_entry_get(const uint8_t at[ENTRY_SIZE], struct mailbox_entry *entry, uint32_t *expunged);
static inline uint32_t codec_entry_offset(uint32_t slot)
{
    return PAGE_HEADER + slot * ENTRY_SIZE;
}

struct email_record {
    uint64_t blob, blob_size, date_us;
    int32_t zone_minutes;
    uint32_t home_box, home_uid; /* where it came in: the message that a stored UIDL belongs to */
    uint32_t pop3_order;         /* of that message, too; 0: none */
    struct slice prefix, uidl;   /* uidl empty: the default */
};
void codec_email_put(const struct email_record *record, struct buf *out);
/* prefix and uidl point into value. */
bool codec_email_get(struct slice value, struct email_record *record);

enum codec_change { CHANGE_ADD = 1, CHANGE_FLAGS = 2, CHANGE_EXPUNGE = 3, CHANGE_BOX = 4 };
/* The value of a change is the format byte and any number of records; ascending UIDs join. */
void codec_change_add(struct buf *out, uint32_t box, enum codec_change kind, uint32_t uid);
struct change_record {
    uint32_t box;
    uint8_t kind;
    uint32_t first, last;
};
/* The record at *at, which is 0 for the first one and moves on. False: there is none. */
bool codec_change_next(struct slice value, size_t *at, struct change_record *record);

struct delivery_record {
    uint32_t time, box, uid;
};
void codec_delivery_put(const struct delivery_record *record, struct buf *out);
bool codec_delivery_get(struct slice value, struct delivery_record *record);
