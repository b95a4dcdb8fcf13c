/*
 * Batches: the builder that the layers above fill, and the walk over packed operations that every
 * engine, recovery and compaction use. There is one encoding, doc/formats/store-ops.md: what the
 * builder writes is what stands in OPS frames on disk, so a batch is logged without a second copy,
 * and what is applied live is decoded by the code that applies it after a crash.
 *
 * The builder is fed by our own code and asserts the limits; the walk is fed from files and
 * believes nothing.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "store/store_priv.h"

#include <stdlib.h>

struct store_batch *store_batch_create(struct id partition)
{
    struct store_batch *batch = MEM_NEW(struct store_batch);
    batch->partition = partition;
    buf_init(&batch->ops);
    return batch;
}

void store_batch_release(struct store_batch *batch)
{
    for (size_t i = 0; i < batch->blob_count; i++) {
        struct store_bytes *bytes = &batch->blobs[i].bytes;
        if (bytes->release != NULL)
            bytes->release(bytes->arg);
        *bytes = (struct store_bytes){0};
    }
}

void store_batch_destroy(struct store_batch **batch)
{
    if (*batch == NULL)
        return;
    store_batch_release(*batch);
    free((*batch)->blobs);
    buf_finish(&(*batch)->ops);
    free(*batch);
    *batch = NULL;
}

uint32_t store_batch_operations(const struct store_batch *batch)
{
    return batch->operations;
}

size_t store_batch_bytes(const struct store_batch *batch)
{
    return batch->bytes;
}

/* ---- building ------------------------------------------------------------------------------ */

static void begin(struct store_batch *batch, enum store_op_kind kind, size_t bytes)
{
    batch->operations++;
    batch->bytes += bytes;
    buf_u8(&batch->ops, (uint8_t)kind);
}

static void begin_key(struct store_batch *batch, enum store_op_kind kind, struct slice key,
                      size_t more)
{
    ASSERT(key.size >= 1 && key.size <= STORE_KEY_MAX);
    begin(batch, kind, key.size + more);
    buf_u8(&batch->ops, (uint8_t)key.size);
    buf_add_slice(&batch->ops, key);
}

static void key_and_value(struct store_batch *batch, enum store_op_kind kind, struct slice key,
                          struct slice value)
{
    ASSERT(value.size <= STORE_VALUE_MAX);
    begin_key(batch, kind, key, value.size);
    buf_packed(&batch->ops, value);
}

void store_batch_put(struct store_batch *batch, struct slice key, struct slice value)
{
    key_and_value(batch, STORE_OP_PUT, key, value);
}

void store_batch_del(struct store_batch *batch, struct slice key)
{
    begin_key(batch, STORE_OP_DEL, key, 0);
}

void store_batch_del_range(struct store_batch *batch, struct slice from, struct slice to)
{
    ASSERT(from.size <= STORE_KEY_MAX && to.size <= STORE_KEY_MAX);
    begin(batch, STORE_OP_DEL_RANGE, from.size + to.size);
    buf_u8(&batch->ops, (uint8_t)from.size);
    buf_add_slice(&batch->ops, from);
    buf_u8(&batch->ops, (uint8_t)to.size);
    buf_add_slice(&batch->ops, to);
}

void store_batch_patch(struct store_batch *batch, struct slice key, uint32_t offset,
                       struct slice bytes)
{
    ASSERT(bytes.size <= STORE_VALUE_MAX && offset <= STORE_VALUE_MAX - bytes.size);
    begin_key(batch, STORE_OP_PATCH, key, bytes.size);
    buf_u32(&batch->ops, offset);
    buf_packed(&batch->ops, bytes);
}

void store_batch_expect_equal(struct store_batch *batch, struct slice key, struct slice value)
{
    key_and_value(batch, STORE_OP_EXPECT_EQUAL, key, value);
}

void store_batch_expect_absent(struct store_batch *batch, struct slice key)
{
    begin_key(batch, STORE_OP_EXPECT_ABSENT, key, 0);
}

void store_batch_blob(struct store_batch *batch, uint64_t blob, struct store_bytes bytes,
                      struct store_label label)
{
    ASSERT(blob != 0 && bytes.size <= STORE_BLOB_MAX);
    ASSERT(store_batch_find_blob(batch, blob) == NULL);
    begin(batch, STORE_OP_BLOB, 0);
    buf_u64(&batch->ops, blob);
    buf_u64(&batch->ops, bytes.size);
    buf_u32(&batch->ops, label.mailbox);
    buf_u32(&batch->ops, label.uidvalidity);
    buf_u32(&batch->ops, label.uid);
    buf_u32(&batch->ops, label.date);
    if (batch->blob_count == batch->blob_room) {
        batch->blob_room = batch->blob_room == 0 ? 1 : batch->blob_room * 2;
        batch->blobs = mem_grow(batch->blobs, batch->blob_room, sizeof(*batch->blobs));
    }
    batch->blobs[batch->blob_count++] = (struct store_batch_blob){blob, bytes, label};
}

static void blob_only(struct store_batch *batch, enum store_op_kind kind, uint64_t blob)
{
    ASSERT(blob != 0);
    begin(batch, kind, 0);
    buf_u64(&batch->ops, blob);
}

void store_batch_addref(struct store_batch *batch, uint64_t blob)
{
    blob_only(batch, STORE_OP_ADDREF, blob);
}

void store_batch_unref(struct store_batch *batch, uint64_t blob)
{
    blob_only(batch, STORE_OP_UNREF, blob);
}

struct store_batch_blob *store_batch_find_blob(const struct store_batch *batch, uint64_t blob)
{
    for (size_t i = 0; i < batch->blob_count; i++)
        if (batch->blobs[i].blob == blob)
            return &batch->blobs[i];
    return NULL;
}

/* ---- walking ------------------------------------------------------------------------------- */

struct store_ops store_ops_make(struct slice packed)
{
    return (struct store_ops){.cursor = cursor_make(packed)};
}

static struct slice short_key(struct cursor *cursor)
{
    uint8_t size = cursor_u8(cursor);
    return cursor_bytes(cursor, size);
}

static void decode_blob(struct cursor *cursor, struct store_op *op)
{
    op->size = cursor_u64(cursor);
    op->label.mailbox = cursor_u32(cursor);
    op->label.uidvalidity = cursor_u32(cursor);
    op->label.uid = cursor_u32(cursor);
    op->label.date = cursor_u32(cursor);
}

/* False when the kind is none of ours or a field is out of its range; what is cut off shows in
 * cursor->failed. */
static bool decode(struct cursor *cursor, struct store_op *op)
{
    switch (op->kind) {
    case STORE_OP_PUT:
    case STORE_OP_EXPECT_EQUAL:
        op->key = short_key(cursor);
        op->value = cursor_packed(cursor);
        return op->key.size >= 1 && op->value.size <= STORE_VALUE_MAX;
    case STORE_OP_DEL:
    case STORE_OP_EXPECT_ABSENT:
        op->key = short_key(cursor);
        return op->key.size >= 1;
    case STORE_OP_DEL_RANGE:
        op->key = short_key(cursor);
        op->value = short_key(cursor);
        return true;
    case STORE_OP_PATCH:
        op->key = short_key(cursor);
        op->offset = cursor_u32(cursor);
        op->value = cursor_packed(cursor);
        return op->key.size >= 1 && op->value.size <= STORE_VALUE_MAX &&
               op->offset <= STORE_VALUE_MAX - op->value.size;
    case STORE_OP_BLOB:
        op->blob = cursor_u64(cursor);
        decode_blob(cursor, op);
        return op->blob != 0 && op->size <= STORE_BLOB_MAX;
    case STORE_OP_ADDREF:
    case STORE_OP_UNREF:
        op->blob = cursor_u64(cursor);
        return op->blob != 0;
    }
    return false;
}

bool store_ops_next(struct store_ops *ops, struct store_op *op)
{
    *op = (struct store_op){0};
    if (ops->failed || ops->cursor.rest.size == 0)
        return false;
    op->kind = (enum store_op_kind)cursor_u8(&ops->cursor);
    bool good = decode(&ops->cursor, op) && !ops->cursor.failed;
    ops->count++;
    ops->bytes += op->key.size + op->value.size;
    if (good && ops->count <= STORE_BATCH_OPERATIONS_MAX && ops->bytes <= STORE_BATCH_BYTES_MAX)
        return true;
    ops->failed = true;
    *op = (struct store_op){0};
    return false;
}

bool store_ops_valid(struct slice packed)
{
    struct store_ops ops = store_ops_make(packed);
    struct store_op op;
    while (store_ops_next(&ops, &op)) {
    }
    return !ops.failed;
}
