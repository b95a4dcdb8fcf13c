/*
 * The state of a mem volume: two trees. A batch is applied operation by operation, with a list of
 * what was there before; when an operation does not hold, the list is walked back, so that nobody
 * sees half a batch. No time, no queue, no injected faults: those are mem.c's.
 */
#include "store/mem/image.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

static int compare_values(struct image_value *a, struct image_value *b)
{
    int order = id_compare(a->partition, b->partition);
    return order != 0 ? order : slice_compare(a->key, b->key);
}

static int compare_blobs(struct image_blob *a, struct image_blob *b)
{
    return (a->id > b->id) - (a->id < b->id);
}

RB_GENERATE(image_values, image_value, entry, compare_values)
RB_GENERATE(image_blobs, image_blob, entry, compare_blobs)

struct store_mem_image *image_create(void)
{
    struct store_mem_image *image = MEM_NEW(struct store_mem_image);
    RB_INIT(&image->values);
    RB_INIT(&image->blobs);
    image->uuid = id_random();
    image->epoch = 1;
    return image;
}

static void free_blob(struct image_blob *blob)
{
    free(blob->data);
    free(blob);
}

void image_destroy(struct store_mem_image **image)
{
    if (*image == NULL)
        return;
    struct image_value *value, *next_value;
    RB_FOREACH_SAFE (value, image_values, &(*image)->values, next_value) {
        RB_REMOVE(image_values, &(*image)->values, value);
        free(value);
    }
    struct image_blob *blob, *next_blob;
    RB_FOREACH_SAFE (blob, image_blobs, &(*image)->blobs, next_blob) {
        RB_REMOVE(image_blobs, &(*image)->blobs, blob);
        free_blob(blob);
    }
    free(*image);
    *image = NULL;
}

/* ---- looking ------------------------------------------------------------------------------- */

struct image_value *image_find(struct store_mem_image *image, struct id partition, struct slice key)
{
    struct image_value wanted = {.partition = partition, .key = key};
    return RB_FIND(image_values, &image->values, &wanted);
}

struct image_value *image_from(struct store_mem_image *image, struct id partition, struct slice key)
{
    struct image_value wanted = {.partition = partition, .key = key};
    struct image_value *found = RB_NFIND(image_values, &image->values, &wanted);
    return found != NULL && id_equal(found->partition, partition) ? found : NULL;
}

struct image_value *image_next(struct image_value *value)
{
    struct image_value *next = RB_NEXT(image_values, NULL, value);
    return next != NULL && id_equal(next->partition, value->partition) ? next : NULL;
}

struct image_blob *image_find_blob(struct store_mem_image *image, uint64_t id)
{
    struct image_blob wanted = {.id = id};
    return RB_FIND(image_blobs, &image->blobs, &wanted);
}

/* ---- changing, with a way back ------------------------------------------------------------- */

struct step {
    struct image_value *before, *after; /* a key: what was there, what is there now */
    struct image_blob *blob;            /* a blob: */
    uint64_t references;                /* as they were; 0: it is new */
};

struct change {
    struct store_mem_image *image;
    const struct store_batch *batch;
    struct step *steps;
    size_t count, room;
};

static struct step *add_step(struct change *change)
{
    if (change->count == change->room) {
        change->room = change->room == 0 ? 16 : change->room * 2;
        change->steps = mem_grow(change->steps, change->room, sizeof(struct step));
    }
    struct step *step = &change->steps[change->count++];
    *step = (struct step){0};
    return step;
}

static struct image_value *make_value(struct id partition, struct slice key, struct slice value)
{
    struct image_value *made = mem_zalloc(sizeof(*made) + key.size + value.size);
    uint8_t *bytes = (uint8_t *)(made + 1);
    made->partition = partition;
    made->key = slice_make(bytes, key.size);
    made->value = slice_make(bytes + key.size, value.size);
    if (key.size > 0)
        memcpy(bytes, key.data, key.size);
    if (value.size > 0)
        memcpy(bytes + key.size, value.data, value.size);
    return made;
}

/* Either may be NULL. */
static void replace(struct change *change, struct image_value *before, struct image_value *after)
{
    if (before != NULL)
        RB_REMOVE(image_values, &change->image->values, before);
    if (after != NULL)
        RB_INSERT(image_values, &change->image->values, after);
    struct step *step = add_step(change);
    step->before = before;
    step->after = after;
}

static void del_range(struct change *change, struct slice from, struct slice to)
{
    struct image_value *value = image_from(change->image, change->batch->partition, from);
    while (value != NULL && slice_compare(value->key, to) < 0) {
        struct image_value *next = image_next(value);
        replace(change, value, NULL);
        value = next;
    }
}

static bool patch(struct change *change, struct image_value *value, const struct store_op *op)
{
    if (value == NULL || op->offset + op->value.size > value->value.size)
        return false;
    struct image_value *patched = make_value(value->partition, value->key, value->value);
    patched->damaged = value->damaged;
    if (op->value.size > 0)
        memcpy((uint8_t *)(patched + 1) + patched->key.size + op->offset, op->value.data,
               op->value.size);
    replace(change, value, patched);
    return true;
}

static bool new_blob(struct change *change, const struct store_op *op)
{
    const struct store_batch_blob *given = store_batch_find_blob(change->batch, op->blob);
    ASSERT(given != NULL && given->bytes.size == op->size);
    if (image_find_blob(change->image, op->blob) != NULL)
        return false;
    struct image_blob *blob = MEM_NEW(struct image_blob);
    blob->id = op->blob;
    blob->references = 1;
    blob->size = given->bytes.size;
    blob->data = mem_alloc(blob->size + 1);
    if (blob->size > 0)
        memcpy(blob->data, given->bytes.data, blob->size);
    RB_INSERT(image_blobs, &change->image->blobs, blob);
    add_step(change)->blob = blob;
    return true;
}

static bool count_blob(struct change *change, const struct store_op *op)
{
    struct image_blob *blob = image_find_blob(change->image, op->blob);
    if (blob == NULL)
        return false;
    struct step *step = add_step(change);
    step->blob = blob;
    step->references = blob->references;
    blob->references += op->kind == STORE_OP_ADDREF ? 1 : (uint64_t)-1;
    if (blob->references == 0)
        RB_REMOVE(image_blobs, &change->image->blobs, blob);
    return true;
}

static bool apply(struct change *change, const struct store_op *op)
{
    struct id partition = change->batch->partition;
    struct image_value *value = image_find(change->image, partition, op->key);
    switch (op->kind) {
    case STORE_OP_PUT:
        replace(change, value, make_value(partition, op->key, op->value));
        return true;
    case STORE_OP_DEL:
        replace(change, value, NULL);
        return true;
    case STORE_OP_DEL_RANGE:
        del_range(change, op->key, op->value);
        return true;
    case STORE_OP_PATCH:
        return patch(change, value, op);
    case STORE_OP_EXPECT_EQUAL:
        return value != NULL && slice_equal(value->value, op->value);
    case STORE_OP_EXPECT_ABSENT:
        return value == NULL;
    case STORE_OP_BLOB:
        return new_blob(change, op);
    case STORE_OP_ADDREF:
    case STORE_OP_UNREF:
        return count_blob(change, op);
    }
    return false;
}

static void keep(struct change *change)
{
    for (size_t i = 0; i < change->count; i++) {
        struct step *step = &change->steps[i];
        free(step->before);
        if (step->blob == NULL)
            continue;
        if (step->references == 0)
            change->image->blob_bytes += step->blob->size;
    }
    /* A blob reaches zero at most once: after that the batch cannot find it again. */
    for (size_t i = change->count; i-- > 0;) {
        struct image_blob *blob = change->steps[i].blob;
        if (blob == NULL || blob->references != 0)
            continue;
        for (size_t j = 0; j < i; j++)
            if (change->steps[j].blob == blob)
                change->steps[j].blob = NULL;
        change->image->blob_bytes -= blob->size;
        free_blob(blob);
    }
    change->image->lsn++;
}

static void take_back(struct change *change)
{
    for (size_t i = change->count; i-- > 0;) {
        struct step *step = &change->steps[i];
        if (step->after != NULL) {
            RB_REMOVE(image_values, &change->image->values, step->after);
            free(step->after);
        }
        if (step->before != NULL)
            RB_INSERT(image_values, &change->image->values, step->before);
        if (step->blob == NULL)
            continue;
        if (step->references == 0) {
            RB_REMOVE(image_blobs, &change->image->blobs, step->blob);
            free_blob(step->blob);
            continue;
        }
        if (step->blob->references == 0)
            RB_INSERT(image_blobs, &change->image->blobs, step->blob);
        step->blob->references = step->references;
    }
}

enum store_result image_apply(struct store_mem_image *image, const struct store_batch *batch)
{
    struct change change = {.image = image, .batch = batch};
    struct store_ops ops = store_batch_ops(batch);
    struct store_op op;
    bool held = true;
    while (held && store_ops_next(&ops, &op))
        held = apply(&change, &op);
    ASSERT(!ops.failed);
    if (held)
        keep(&change);
    else
        take_back(&change);
    free(change.steps);
    return held ? STORE_OK : STORE_CONFLICT;
}
