/*
 * Any bytes, walked as packed operations. Property: what the walk gives, built again, is the bytes
 * it was given from, and stays within the limits of store.h; there is one encoding of a batch.
 */
#include "base/assert.h"
#include "store/store_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build(struct store_batch *batch, const struct store_op *op)
{
    switch (op->kind) {
    case STORE_OP_PUT:
        store_batch_put(batch, op->key, op->value);
        break;
    case STORE_OP_DEL:
        store_batch_del(batch, op->key);
        break;
    case STORE_OP_DEL_RANGE:
        store_batch_del_range(batch, op->key, op->value);
        break;
    case STORE_OP_PATCH:
        store_batch_patch(batch, op->key, op->offset, op->value);
        break;
    case STORE_OP_EXPECT_EQUAL:
        store_batch_expect_equal(batch, op->key, op->value);
        break;
    case STORE_OP_EXPECT_ABSENT:
        store_batch_expect_absent(batch, op->key);
        break;
    case STORE_OP_BLOB:
        if (store_batch_find_blob(batch, op->blob) == NULL)
            store_batch_blob(batch, op->blob, (struct store_bytes){NULL, op->size, NULL, NULL},
                             op->label);
        break;
    case STORE_OP_ADDREF:
        store_batch_addref(batch, op->blob);
        break;
    case STORE_OP_UNREF:
        store_batch_unref(batch, op->blob);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_ops ops = store_ops_make(slice_make(data, size));
    struct store_batch *batch = store_batch_create((struct id){{0}});
    struct store_op op;
    size_t before = 0;
    while (store_ops_next(&ops, &op)) {
        size_t used = size - ops.cursor.rest.size;
        bool twice = op.kind == STORE_OP_BLOB && store_batch_find_blob(batch, op.blob) != NULL;
        size_t built = batch->ops.size;
        build(batch, &op);
        ASSERT(twice || slice_equal(slice_make(batch->ops.data + built, batch->ops.size - built),
                                    slice_make(data + before, used - before)));
        before = used;
    }
    ASSERT(store_batch_operations(batch) <= STORE_BATCH_OPERATIONS_MAX);
    ASSERT(store_batch_bytes(batch) <= STORE_BATCH_BYTES_MAX);
    ASSERT(ops.failed == !store_ops_valid(slice_make(data, size)));
    ASSERT(ops.failed || before == size);
    store_batch_destroy(&batch);
    return 0;
}
