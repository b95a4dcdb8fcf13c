/*
 * Accounts and names to bytes and back. Every value begins with a format byte and a CRC-32C over
 * partition, key, that byte and the rest, so that a damaged record is one account's trouble and is
 * named.
 */
#include "auth/record.h"

#include "base/bytes.h"
#include "base/crc32c.h"

const struct id record_partition = {
    {'r', 'e', 's', 't', 'a', 'n', 't', 'e', ' ', 'a', 'c', 'c', 'o', 'u', 'n', 't'}};

enum { HEAD = 5, FLAG_KEYS = 1, FLAG_IMPORTED = 2 };

static void key_begin(struct buf *key, char kind)
{
    buf_clear(key);
    buf_u8(key, (uint8_t)kind);
}

void record_key_account(struct buf *key, struct id id)
{
    key_begin(key, 'a');
    buf_add(key, id.bytes, sizeof(id.bytes));
}

void record_key_name(struct buf *key, struct slice folded)
{
    key_begin(key, 'n');
    buf_add_slice(key, folded);
}

void record_key_secret(struct buf *key)
{
    key_begin(key, 's');
}

static uint32_t value_sum(struct slice key, struct slice value)
{
    uint32_t crc = crc32c(0, record_partition.bytes, sizeof(record_partition.bytes));
    crc = crc32c(crc, key.data, key.size);
    crc = crc32c(crc, value.data, 1);
    return crc32c(crc, value.data + HEAD, value.size - HEAD);
}

static void value_begin(struct buf *value)
{
    buf_clear(value);
    buf_u8(value, RECORD_FORMAT);
    buf_u32(value, 0);
}

static void value_end(struct buf *value, struct slice key)
{
    bytes_put_le32(value->data + 1, value_sum(key, buf_slice(value)));
}

static enum record_result value_open(struct slice key, struct slice value, struct cursor *cursor)
{
    if (value.size < HEAD || bytes_get_le32(value.data + 1) != value_sum(key, value))
        return RECORD_DAMAGED;
    if (value.data[0] > RECORD_FORMAT)
        return RECORD_NEWER;
    if (value.data[0] == 0)
        return RECORD_DAMAGED;
    *cursor = cursor_make(slice_sub(value, HEAD, value.size));
    return RECORD_OK;
}

void record_put_account(struct buf *value, struct slice key, const struct auth_account *account)
{
    static const uint8_t none[PASSWORD_FINGERPRINT];
    bool imported = memcmp(account->imported, none, sizeof(none)) != 0;
    value_begin(value);
    buf_u8(value, (uint8_t)account->state);
    buf_u8(value, (uint8_t)((account->has_keys ? FLAG_KEYS : 0) | (imported ? FLAG_IMPORTED : 0)));
    buf_u32(value, account->volume);
    buf_u32(value, account->created);
    buf_u64(value, account->quota);
    buf_packed(value, account->name);
    buf_packed(value, account->verifier);
    if (account->has_keys) {
        buf_u32(value, account->keys.iterations);
        buf_packed(value, slice_make(account->keys.salt, account->keys.salt_size));
        buf_add(value, account->keys.stored_key, SASL_KEY_SIZE);
        buf_add(value, account->keys.server_key, SASL_KEY_SIZE);
    }
    if (imported)
        buf_add(value, account->imported, sizeof(account->imported));
    value_end(value, key);
}

static void take_bytes(struct cursor *cursor, uint8_t *out, size_t size)
{
    struct slice bytes = cursor_bytes(cursor, size);
    if (bytes.size == size)
        memcpy(out, bytes.data, size);
}

enum record_result record_get_account(struct slice key, struct slice value,
                                      struct auth_account *account)
{
    struct cursor cursor;
    memset(account, 0, sizeof(*account));
    enum record_result result = value_open(key, value, &cursor);
    if (result != RECORD_OK)
        return result;
    if (key.size != 1 + sizeof(account->id.bytes))
        return RECORD_DAMAGED;
    memcpy(account->id.bytes, key.data + 1, sizeof(account->id.bytes));
    account->state = cursor_u8(&cursor);
    uint8_t flags = cursor_u8(&cursor);
    account->volume = cursor_u32(&cursor);
    account->created = cursor_u32(&cursor);
    account->quota = cursor_u64(&cursor);
    account->name = cursor_packed(&cursor);
    account->verifier = cursor_packed(&cursor);
    if (flags & FLAG_KEYS) {
        account->has_keys = true;
        account->keys.iterations = cursor_u32(&cursor);
        struct slice salt = cursor_packed(&cursor);
        if (salt.size == 0 || salt.size > SASL_SALT_MAX)
            return RECORD_DAMAGED;
        account->keys.salt_size = (uint8_t)salt.size;
        memcpy(account->keys.salt, salt.data, salt.size);
        take_bytes(&cursor, account->keys.stored_key, SASL_KEY_SIZE);
        take_bytes(&cursor, account->keys.server_key, SASL_KEY_SIZE);
    }
    if (flags & FLAG_IMPORTED)
        take_bytes(&cursor, account->imported, sizeof(account->imported));
    if (!cursor_done(&cursor) || account->state > AUTH_DELETED || account->name.size == 0 ||
        account->name.size > AUTH_NAME_MAX || account->verifier.size > PASSWORD_VERIFIER_MAX)
        return RECORD_DAMAGED;
    return RECORD_OK;
}

void record_put_name(struct buf *value, struct slice key, enum record_name_kind kind, struct id id)
{
    value_begin(value);
    buf_u8(value, (uint8_t)kind);
    buf_add(value, id.bytes, sizeof(id.bytes));
    value_end(value, key);
}

enum record_result record_get_name(struct slice key, struct slice value,
                                   enum record_name_kind *kind, struct id *id)
{
    struct cursor cursor;
    enum record_result result = value_open(key, value, &cursor);
    if (result != RECORD_OK)
        return result;
    *kind = cursor_u8(&cursor);
    take_bytes(&cursor, id->bytes, sizeof(id->bytes));
    bool good = cursor_done(&cursor) && key.size > 1 &&
                (*kind == RECORD_NAME_ACCOUNT || *kind == RECORD_NAME_ALIAS);
    return good ? RECORD_OK : RECORD_DAMAGED;
}

void record_put_secret(struct buf *value, struct slice key, const uint8_t secret[RECORD_SECRET])
{
    value_begin(value);
    buf_add(value, secret, RECORD_SECRET);
    value_end(value, key);
}

enum record_result record_get_secret(struct slice key, struct slice value,
                                     uint8_t secret[RECORD_SECRET])
{
    struct cursor cursor;
    enum record_result result = value_open(key, value, &cursor);
    if (result != RECORD_OK)
        return result;
    take_bytes(&cursor, secret, RECORD_SECRET);
    return cursor_done(&cursor) ? RECORD_OK : RECORD_DAMAGED;
}
