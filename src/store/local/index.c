/*
 * LMDB: the databases and the form of their values (each ends with a CRC32C over key and value).
 * Used by the index thread and by recovery to write, by readers to read. A write transaction
 * belongs to the thread that began it; commit from another "succeeds" and then hangs.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "store/local/files.h"
#include "store/local/local_priv.h"

enum { CRC = 4, PARTITION = 16, BLOB_VALUE = 33, POSITION_VALUE = 24 };

#define MAP_START (UINT64_C(16) << 30) /* address space, not memory */

/* What of a stored value is the value: 4,080 bytes are one overflow page of LMDB. */
_Static_assert(STORE_VALUE_GOOD + CRC == 4080, "a good value and its checksum fill one page");

static MDB_val val(const void *data, size_t size)
{
    return (MDB_val){.mv_size = size, .mv_data = (void *)(uintptr_t)data};
}

static uint32_t checksum(MDB_val key, struct slice value)
{
    return crc32c(crc32c(0, key.mv_data, key.mv_size), value.data, value.size);
}

static bool check(MDB_val key, MDB_val stored, struct slice *value)
{
    if (stored.mv_size < CRC)
        return false;
    *value = slice_make(stored.mv_data, stored.mv_size - CRC);
    return bytes_get_le32(value->data + value->size) == checksum(key, *value);
}

bool index_check_kv(MDB_val key, MDB_val stored, struct slice *value)
{
    return key.mv_size > PARTITION && check(key, stored, value);
}

/* ---- opening ------------------------------------------------------------------------------- */

static int open_databases(struct index *index)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(index->env, NULL, 0, &txn);
    if (code != 0)
        return code;
    if ((code = mdb_dbi_open(txn, "kv", MDB_CREATE, &index->kv)) != 0 ||
        (code = mdb_dbi_open(txn, "blobs", MDB_CREATE, &index->blobs)) != 0 ||
        (code = mdb_dbi_open(txn, "meta", MDB_CREATE, &index->meta)) != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* Twice what the file has, and never less than the start: growing later stops all readers. */
static int set_size(struct index *index, const char *path)
{
    struct stat status;
    uint64_t size = fault_hit("store.index.map") == 0 ? MAP_START : 256 << 10;
    if (stat(files_path(path, "data.mdb").text, &status) == 0)
        while (size < 2 * (uint64_t)status.st_size)
            size *= 2;
    return mdb_env_set_mapsize(index->env, size);
}

bool index_open(struct index *index, const char *volume_path, struct error *error)
{
    struct files_path path = files_path(volume_path, "index");
    *index = (struct index){0};
    pthread_rwlock_init(&index->resize, NULL);
    if (!files_make_directory(path.text))
        return error_errno(error, "%s cannot be made", path.text);
    int code = fault_hit("store.index.open");
    if (code == 0)
        code = mdb_env_create(&index->env);
    if (code != 0 || (code = mdb_env_set_maxdbs(index->env, 4)) != 0 ||
        (code = mdb_env_set_maxreaders(index->env, 64)) != 0 ||
        (code = set_size(index, path.text)) != 0 ||
        (code = mdb_env_open(index->env, path.text, MDB_NOTLS, 0600)) != 0 ||
        (code = open_databases(index)) != 0) {
        index_close(index);
        return error_set(error, "%s: %s", path.text, mdb_strerror(code));
    }
    /* LMDB does not care for the names of its files. */
    if (!files_sync_directory(path.text)) {
        index_close(index);
        return error_errno(error, "%s cannot be synced", path.text);
    }
    return true;
}

void index_close(struct index *index)
{
    if (index->env != NULL)
        mdb_env_close(index->env);
    index->env = NULL;
    pthread_rwlock_destroy(&index->resize);
}

bool index_set_aside(const char *volume_path, struct error *error)
{
    struct files_path from = files_path(volume_path, "index");
    struct files_path to = files_path(volume_path, "index.bad");
    if (access(from.text, F_OK) == 0) {
        (void)unlink(files_path(to.text, "data.mdb").text);
        (void)unlink(files_path(to.text, "lock.mdb").text);
        (void)rmdir(to.text);
    }
    return ((errno = fault_hit("store.index.aside")) == 0 &&
            (rename(from.text, to.text) == 0 || errno == ENOENT) &&
            files_sync_directory(volume_path)) ||
           error_errno(error, "%s cannot be set aside", from.text);
}

/* ---- reading ------------------------------------------------------------------------------- */

struct kv_key {
    uint8_t bytes[PARTITION + STORE_SCAN_KEY_MAX];
};

static MDB_val kv_key(struct kv_key *room, struct id partition, struct slice key)
{
    ASSERT(key.size <= STORE_SCAN_KEY_MAX);
    memcpy(room->bytes, partition.bytes, PARTITION);
    if (key.size > 0)
        memcpy(room->bytes + PARTITION, key.data, key.size);
    return val(room->bytes, PARTITION + key.size);
}

static enum index_found found_of(int code)
{
    return code == 0 ? INDEX_FOUND : code == MDB_NOTFOUND ? INDEX_ABSENT : INDEX_FAILED;
}

enum index_found index_get(const struct index *index, MDB_txn *txn, struct id partition,
                           struct slice key, struct slice *value)
{
    struct kv_key room;
    MDB_val at = kv_key(&room, partition, key), stored;
    enum index_found found = found_of(mdb_get(txn, index->kv, &at, &stored));
    if (found == INDEX_FOUND && !index_check_kv(at, stored, value))
        return INDEX_CORRUPT;
    return found;
}

bool index_check_blob(MDB_val key, MDB_val stored, struct blob_record *record)
{
    struct slice in;
    if (key.mv_size != 8 || !check(key, stored, &in) || in.size != BLOB_VALUE)
        return false;
    record->place.segment = bytes_get_le64(in.data);
    record->place.offset = bytes_get_le64(in.data + 8);
    record->place.size = bytes_get_le32(in.data + 16);
    record->place.raw_size = bytes_get_le32(in.data + 20);
    record->place.crc = bytes_get_le32(in.data + 24);
    record->refs = bytes_get_le32(in.data + 28);
    record->place.codec = in.data[32];
    return true;
}

uint64_t index_blob_id(MDB_val key)
{
    return key.mv_size == 8 ? bytes_get_be64(key.mv_data) : 0;
}

enum index_found index_get_blob(const struct index *index, MDB_txn *txn, uint64_t blob,
                                struct blob_record *record)
{
    uint8_t room[8];
    bytes_put_be64(room, blob);
    MDB_val at = val(room, sizeof(room)), stored;
    enum index_found found = found_of(mdb_get(txn, index->blobs, &at, &stored));
    if (found == INDEX_FOUND && !index_check_blob(at, stored, record))
        return INDEX_CORRUPT;
    return found;
}

enum index_found index_get_position(const struct index *index, MDB_txn *txn,
                                    struct position *position)
{
    MDB_val at = val("checkpoint", 10), stored;
    struct slice in;
    *position = (struct position){0};
    enum index_found found = found_of(mdb_get(txn, index->meta, &at, &stored));
    if (found != INDEX_FOUND)
        return found;
    if (!check(at, stored, &in) || in.size != POSITION_VALUE)
        return INDEX_CORRUPT;
    position->lsn = bytes_get_le64(in.data);
    position->generation = bytes_get_le64(in.data + 8);
    position->offset = bytes_get_le64(in.data + 16);
    return INDEX_FOUND;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int put(MDB_txn *txn, MDB_dbi dbi, MDB_val key, struct slice value)
{
    MDB_val stored = {.mv_size = value.size + CRC};
    int code = mdb_put(txn, dbi, &key, &stored, MDB_RESERVE);
    if (code != 0)
        return code;
    if (value.size > 0)
        memcpy(stored.mv_data, value.data, value.size);
    bytes_put_le32((uint8_t *)stored.mv_data + value.size, checksum(key, value));
    return 0;
}

static int del(MDB_txn *txn, MDB_dbi dbi, MDB_val key)
{
    int code = mdb_del(txn, dbi, &key, NULL);
    return code == MDB_NOTFOUND ? 0 : code;
}

int index_put(const struct index *index, MDB_txn *txn, struct id partition, struct slice key,
              struct slice value)
{
    struct kv_key room;
    return put(txn, index->kv, kv_key(&room, partition, key), value);
}

int index_del(const struct index *index, MDB_txn *txn, struct id partition, struct slice key)
{
    struct kv_key room;
    return del(txn, index->kv, kv_key(&room, partition, key));
}

int index_del_range(const struct index *index, MDB_txn *txn, struct id partition, struct slice from,
                    struct slice to, size_t *deleted)
{
    struct kv_key from_room, to_room;
    MDB_val at = kv_key(&from_room, partition, from), end = kv_key(&to_room, partition, to), stored;
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, index->kv, &cursor);
    if (code != 0)
        return code;
    code = mdb_cursor_get(cursor, &at, &stored, MDB_SET_RANGE);
    while (code == 0 && mdb_cmp(txn, index->kv, &at, &end) < 0) {
        code = mdb_cursor_del(cursor, 0);
        if (code == 0) /* the one that took its place */
            code = mdb_cursor_get(cursor, &at, &stored, MDB_NEXT);
        ++*deleted;
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

int index_put_blob(const struct index *index, MDB_txn *txn, uint64_t blob,
                   const struct blob_record *record)
{
    uint8_t key[8], out[BLOB_VALUE];
    bytes_put_be64(key, blob);
    if (record->refs == 0)
        return del(txn, index->blobs, val(key, sizeof(key)));
    bytes_put_le64(out, record->place.segment);
    bytes_put_le64(out + 8, record->place.offset);
    bytes_put_le32(out + 16, record->place.size);
    bytes_put_le32(out + 20, record->place.raw_size);
    bytes_put_le32(out + 24, record->place.crc);
    bytes_put_le32(out + 28, record->refs);
    out[32] = record->place.codec;
    return put(txn, index->blobs, val(key, sizeof(key)), slice_make(out, sizeof(out)));
}

int index_put_position(const struct index *index, MDB_txn *txn, const struct position *position)
{
    uint8_t out[POSITION_VALUE];
    bytes_put_le64(out, position->lsn);
    bytes_put_le64(out + 8, position->generation);
    bytes_put_le64(out + 16, position->offset);
    return put(txn, index->meta, val("checkpoint", 10), slice_make(out, sizeof(out)));
}

static MDB_val mark_key(uint8_t room[64], const char *kind, struct slice name)
{
    size_t size = strlen(kind);
    ASSERT(size + name.size <= 64);
    memcpy(room, kind, size);
    memcpy(room + size, name.data, name.size);
    return val(room, size + name.size);
}

int index_put_live(const struct index *index, MDB_txn *txn, uint64_t generation, uint64_t live)
{
    uint8_t room[64], name[8], out[8];
    bytes_put_be64(name, generation);
    bytes_put_le64(out, live);
    MDB_val key = mark_key(room, "live", slice_make(name, sizeof(name)));
    return live == 0 ? del(txn, index->meta, key)
                     : put(txn, index->meta, key, slice_make(out, sizeof(out)));
}

int index_put_mark(const struct index *index, MDB_txn *txn, const char *kind, struct slice name)
{
    uint8_t room[64];
    return put(txn, index->meta, mark_key(room, kind, name), SLICE_NONE);
}

int index_each_mark(const struct index *index, MDB_txn *txn, const char *kind,
                    void (*each)(void *arg, struct slice name, struct slice value), void *arg)
{
    size_t size = strlen(kind);
    MDB_cursor *cursor;
    MDB_val key = val(kind, size), stored;
    struct slice value;
    int code = mdb_cursor_open(txn, index->meta, &cursor);
    if (code != 0)
        return code;
    code = mdb_cursor_get(cursor, &key, &stored, MDB_SET_RANGE);
    while (code == 0 && key.mv_size > size && memcmp(key.mv_data, kind, size) == 0) {
        if (!check(key, stored, &value)) {
            code = MDB_CORRUPTED;
            break;
        }
        each(arg, slice_make((const uint8_t *)key.mv_data + size, key.mv_size - size), value);
        code = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* ---- walking all of it --------------------------------------------------------------------- */

void index_order_init(struct index_order *order, MDB_txn *txn, MDB_dbi dbi)
{
    *order = (struct index_order){.txn = txn, .dbi = dbi};
    order->broken = mdb_stat(txn, dbi, &order->stat) != 0;
}

/* Descends from the root, as every read does. */
static void must_be_found(struct index_order *order, MDB_val key)
{
    MDB_val stored;
    order->broken = order->broken || mdb_get(order->txn, order->dbi, &key, &stored) != 0;
}

void index_order_next(struct index_order *order, MDB_val key)
{
    uintptr_t leaf = (uintptr_t)key.mv_data / order->stat.ms_psize;
    MDB_val last = val(order->last, order->size);
    if (order->broken || key.mv_size > sizeof(order->last) ||
        (order->seen > 0 && mdb_cmp(order->txn, order->dbi, &last, &key) >= 0)) {
        order->broken = true;
        return;
    }
    if (leaf != order->leaf) {
        must_be_found(order, key);
        if (order->seen > 0)
            must_be_found(order, last);
        order->leaf = leaf;
    }
    order->seen++;
    order->size = key.mv_size;
    memcpy(order->last, key.mv_data, key.mv_size);
}

bool index_order_whole(struct index_order *order)
{
    if (order->seen > 0)
        must_be_found(order, val(order->last, order->size));
    return !order->broken && order->stat.ms_entries == order->seen;
}

static int walk(MDB_txn *txn, MDB_dbi dbi, uint64_t *bad)
{
    MDB_cursor *cursor;
    MDB_val key, stored;
    struct slice value;
    struct index_order order;
    int code = mdb_cursor_open(txn, dbi, &cursor);
    if (code != 0)
        return code;
    index_order_init(&order, txn, dbi);
    while ((code = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT)) == 0) {
        index_order_next(&order, key);
        *bad += !check(key, stored, &value);
    }
    mdb_cursor_close(cursor);
    *bad += code == MDB_NOTFOUND && !index_order_whole(&order);
    return code == MDB_NOTFOUND ? 0 : code;
}

bool index_walk(struct index *index, uint64_t *bad)
{
    MDB_txn *txn;
    *bad = 0;
    pthread_rwlock_rdlock(&index->resize);
    int code = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn);
    if (code == 0) {
        if ((code = walk(txn, index->kv, bad)) == 0 && (code = walk(txn, index->blobs, bad)) == 0)
            code = walk(txn, index->meta, bad);
        mdb_txn_abort(txn);
    }
    pthread_rwlock_unlock(&index->resize);
    return code == 0;
}
