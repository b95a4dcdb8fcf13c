/*
 * What others wrote of accounts: passwd-files of other servers, password hashes, and our own
 * records as a broken disk could show them. Properties: everything given back lies inside of what
 * was given; a record that is taken is, written again, the bytes it was read from.
 */
#include "auth/admin_priv.h"
#include "auth/record.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice part, struct slice whole)
{
    ASSERT(part.size == 0 ||
           (part.data >= whole.data && part.data + part.size <= whole.data + whole.size));
}

static void try_lines(struct slice text)
{
    while (text.size > 0) {
        struct slice line = slice_split(&text, '\n');
        struct passwd_line found;
        struct error error = {""};
        enum passwd_line_result result = passwd_line_read(line, &found, &error);
        ASSERT(result != PASSWD_BAD || error.text[0] != '\0');
        if (result != PASSWD_LINE)
            continue;
        inside(found.name, line);
        inside(found.hash, line);
        ASSERT(found.hash.size > 0);
    }
}

static void try_account(struct slice key, struct slice value)
{
    struct auth_account account, back;
    struct buf again = {0};
    if (record_get_account(key, value, &account) != RECORD_OK)
        return;
    inside(account.name, value);
    inside(account.verifier, value);
    record_put_account(&again, key, &account);
    ASSERT(record_get_account(key, buf_slice(&again), &back) == RECORD_OK);
    ASSERT(slice_equal(back.name, account.name) && slice_equal(back.verifier, account.verifier) &&
           back.quota == account.quota && back.volume == account.volume);
    buf_finish(&again);
}

static void try_name(struct slice key, struct slice value)
{
    enum record_name_kind kind;
    struct id id;
    struct buf again = {0};
    if (record_get_name(key, value, &kind, &id) == RECORD_OK) {
        record_put_name(&again, key, kind, id);
        ASSERT(slice_equal(buf_slice(&again), value));
    }
    buf_finish(&again);
}

static void try_secret(struct slice key, struct slice value)
{
    uint8_t secret[RECORD_SECRET];
    struct buf again = {0};
    if (record_get_secret(key, value, secret) == RECORD_OK) {
        record_put_secret(&again, key, secret);
        ASSERT(slice_equal(buf_slice(&again), value));
    }
    buf_finish(&again);
}

/* As it stands, and with the checksum that a fuzzer does not find (doc/formats/accounts.md). */
static void try_record(struct slice bytes, void (*record)(struct slice key, struct slice value),
                       struct slice key)
{
    struct buf value = {0};
    record(key, bytes);
    if (bytes.size >= 5) {
        uint32_t crc = crc32c(0, record_partition.bytes, sizeof(record_partition.bytes));
        crc = crc32c(crc, key.data, key.size);
        crc = crc32c(crc, bytes.data, 1);
        buf_add_slice(&value, bytes);
        bytes_put_le32(value.data + 1, crc32c(crc, value.data + 5, value.size - 5));
        record(key, buf_slice(&value));
    }
    buf_finish(&value);
}

static void try_records(struct slice bytes)
{
    struct buf key = {0};
    record_key_account(&key, (struct id){{1}});
    try_record(bytes, try_account, buf_slice(&key));
    record_key_name(&key, SLICE_LITERAL("alice"));
    try_record(bytes, try_name, buf_slice(&key));
    record_key_secret(&key);
    try_record(bytes, try_secret, buf_slice(&key));
    buf_finish(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t bytes;
    if (size == 0)
        return 0;
    struct slice rest = slice_make(data + 1, size - 1);
    if (data[0] == 'l')
        try_lines(rest);
    else if (data[0] == 's')
        admin_size(rest, &bytes);
    else
        try_records(rest);
    return 0;
}
