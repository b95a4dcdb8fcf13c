/*
 * Random batches, pipelined over three partitions and shared blobs, compared with a model that is
 * nothing but arrays: results, then every value and every blob byte, before and after reopens. The
 * model judges batch by batch in the order submitted, which is what store.h promises.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "store/conformance_priv.h"

enum { PARTITIONS = 3, KEYS = 24, BLOBS = 60, VALUE = 5000, ROUND = 8, OPERATIONS = 7 };

struct model {
    struct {
        bool there;
        uint16_t size;
        uint8_t bytes[VALUE];
    } values[PARTITIONS][KEYS];
    struct {
        uint64_t id;
        unsigned held[PARTITIONS]; /* references */
        uint32_t seed, size;
        bool shared, dropped; /* in this round, see count_blob() */
    } blobs[BLOBS];
    unsigned blob_count;
};

static struct lab lab;
static uint32_t random_state;

static uint32_t dice(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % below;
}

/* Key i; some are prefixes of others, lengths differ. Sorted by number. */
static struct slice key_of(unsigned i)
{
    static char key[64];
    int size = snprintf(key, sizeof(key), "k%02u%s", i / 2, i % 2 == 0 ? "" : "/a longer tail");
    return slice_make(key, (size_t)size);
}

static void fill(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)dice(256);
}

static void random_put(struct store_batch *batch, struct model *model, unsigned p, unsigned k)
{
    uint16_t size = (uint16_t)(dice(8) == 0 ? dice(VALUE) : dice(60));
    fill(model->values[p][k].bytes, size);
    model->values[p][k].size = size;
    model->values[p][k].there = true;
    store_batch_put(batch, key_of(k), slice_make(model->values[p][k].bytes, size));
}

static bool random_patch(struct store_batch *batch, struct model *model, unsigned p, unsigned k)
{
    uint8_t bytes[16];
    uint32_t size = dice(sizeof(bytes)), offset = dice(10);
    fill(bytes, size);
    store_batch_patch(batch, key_of(k), offset, slice_make(bytes, size));
    if (!model->values[p][k].there || offset + size > model->values[p][k].size)
        return false;
    memcpy(model->values[p][k].bytes + offset, bytes, size);
    return true;
}

static void random_del_range(struct store_batch *batch, struct model *model, unsigned p)
{
    unsigned from = dice(KEYS), to = from + dice(6);
    struct buf copy = {0};
    buf_add_slice(&copy, key_of(from));
    struct slice end = to >= KEYS ? text("z") : key_of(to);
    store_batch_del_range(batch, buf_slice(&copy), end);
    buf_finish(&copy);
    for (unsigned k = from; k < to && k < KEYS; k++)
        model->values[p][k].there = false;
}

static unsigned references(const struct model *model, unsigned b)
{
    unsigned sum = 0;
    for (unsigned p = 0; p < PARTITIONS; p++)
        sum += model->blobs[b].held[p];
    return sum;
}

static void new_blob(struct store_batch *batch, struct model *model, unsigned p, unsigned b)
{
    memset(&model->blobs[b], 0, sizeof(model->blobs[b]));
    model->blobs[b].id = store_blob_new(lab.store);
    model->blobs[b].seed = dice(1000000);
    model->blobs[b].size = dice(3) == 0 ? dice(70000) : dice(3000);
    model->blobs[b].held[p] = 1;
    model->blobs[b].shared = true;
    lab_blob(batch, model->blobs[b].id, model->blobs[b].seed, model->blobs[b].size, NULL);
}

/*
 * Order is promised within a partition only. So a partition drops its own references alone, and
 * within a round a blob is either taken by others or dropped, never both.
 */
static bool count_blob(struct store_batch *batch, struct model *model, unsigned p, unsigned b)
{
    bool up = dice(5) < 2, dead = references(model, b) == 0;
    if (dead && (model->blobs[b].shared || model->blobs[b].dropped))
        return true; /* it died in this round: for others it may not be dead yet */
    if (!dead && up && model->blobs[b].held[p] == 0) {
        if (model->blobs[b].dropped)
            return true;
        model->blobs[b].shared = true;
    }
    if (!dead && !up) {
        if (model->blobs[b].shared || model->blobs[b].held[p] == 0)
            return true;
        model->blobs[b].dropped = true;
    }
    if (up)
        store_batch_addref(batch, model->blobs[b].id);
    else
        store_batch_unref(batch, model->blobs[b].id);
    if (!dead)
        model->blobs[b].held[p] += up ? 1 : -1u;
    return !dead;
}

static bool random_blob(struct store_batch *batch, struct model *model, unsigned p)
{
    unsigned b = dice(BLOBS);
    if (b < model->blob_count)
        return count_blob(batch, model, p, b);
    if (model->blob_count < BLOBS)
        new_blob(batch, model, p, model->blob_count++);
    return true;
}

/* Adds one operation to the batch and does the same to the model; false: it does not hold. */
static bool random_operation(struct store_batch *batch, struct model *model, unsigned p)
{
    unsigned k = dice(KEYS);
    bool there = model->values[p][k].there;
    switch (dice(16)) {
    case 0:
        store_batch_del(batch, key_of(k));
        model->values[p][k].there = false;
        return true;
    case 1:
        random_del_range(batch, model, p);
        return true;
    case 2:
    case 3:
        /* mostly on what is there, or nearly every batch would fail */
        if (!there && dice(10) != 0)
            return true;
        return random_patch(batch, model, p, k);
    case 4:
        if (there && dice(10) != 0)
            return true;
        store_batch_expect_absent(batch, key_of(k));
        return !there;
    case 5:
        if (!there)
            return true;
        store_batch_expect_equal(batch, key_of(k),
                                 slice_make(model->values[p][k].bytes, model->values[p][k].size));
        return true;
    case 6:
    case 7:
    case 8:
        return random_blob(batch, model, p);
    default:
        random_put(batch, model, p, k);
        return true;
    }
}

/* A batch of a partition; *model changes when it holds. */
static bool random_batch(struct store_batch *batch, struct model *model, struct model *spare,
                         unsigned p)
{
    *spare = *model;
    bool held = true;
    for (unsigned i = 1 + dice(OPERATIONS); i > 0; i--)
        held = random_operation(batch, spare, p) && held;
    unsigned blobs = spare->blob_count;
    if (held) {
        *model = *spare;
        return true;
    }
    /* The ids of a failed batch are used up: there never is such a blob. */
    for (unsigned b = 0; b < blobs; b++) {
        if (b >= model->blob_count) {
            model->blobs[b] = spare->blobs[b];
            memset(model->blobs[b].held, 0, sizeof(model->blobs[b].held));
        }
        model->blobs[b].shared = spare->blobs[b].shared;
        model->blobs[b].dropped = spare->blobs[b].dropped;
    }
    model->blob_count = blobs;
    return false;
}

static void round_of_batches(struct model *model, struct model *spare)
{
    struct answer answers[ROUND];
    enum store_result wanted[ROUND];
    bool failing[PARTITIONS] = {false};
    for (unsigned b = 0; b < BLOBS; b++)
        model->blobs[b].shared = model->blobs[b].dropped = false;
    for (unsigned i = 0; i < ROUND; i++) {
        unsigned p = dice(PARTITIONS);
        struct store_batch *batch = lab_batch(p);
        if (failing[p]) { /* taken along, whatever it says */
            store_batch_put(batch, key_of(0), text("never"));
            wanted[i] = STORE_UNAVAILABLE;
        } else if (random_batch(batch, model, spare, p)) {
            wanted[i] = STORE_OK;
        } else {
            wanted[i] = STORE_CONFLICT;
            failing[p] = true;
        }
        lab_submit(&lab, batch, &answers[i]);
    }
    for (unsigned i = 0; i < ROUND; i++) {
        lab_wait(&lab, &answers[i].ran);
        assert_int_equal(answers[i].result, wanted[i]);
    }
}

static void compare_partition(const struct model *model, unsigned p)
{
    struct buf wanted = {0}, found = {0};
    for (unsigned k = 0; k < KEYS; k++) {
        if (!model->values[p][k].there)
            continue;
        buf_add_slice(&wanted, key_of(k));
        buf_u8(&wanted, '=');
        buf_add(&wanted, model->values[p][k].bytes, model->values[p][k].size);
        buf_u8(&wanted, ';');
    }
    lab_dump(&lab, p, 1 + dice(30), &found);
    assert_int_equal(found.size, wanted.size);
    assert_true(slice_equal(buf_slice(&found), buf_slice(&wanted)));
    buf_finish(&wanted);
    buf_finish(&found);
    unsigned k = dice(KEYS);
    bool there = lab_get(&lab, p, key_of(k), &found);
    assert_int_equal(there, model->values[p][k].there);
    assert_true(!there || found.size == model->values[p][k].size);
    buf_finish(&found);
}

static void compare(const struct model *model)
{
    for (unsigned p = 0; p < PARTITIONS; p++)
        compare_partition(model, p);
    for (unsigned b = 0; b < model->blob_count; b++)
        if (references(model, b) > 0)
            lab_expect_blob(&lab, model->blobs[b].id, model->blobs[b].seed, model->blobs[b].size);
}

/* References that ended make room for new blobs. */
static void forget_dead_blobs(struct model *model)
{
    unsigned kept = 0;
    for (unsigned b = 0; b < model->blob_count; b++)
        if (references(model, b) > 0 || dice(4) != 0)
            model->blobs[kept++] = model->blobs[b];
    model->blob_count = kept;
}

void conformance_random(const struct conformance_engine *engine, uint32_t seed, unsigned rounds)
{
    struct model *model = MEM_NEW(struct model), *spare = MEM_NEW(struct model);
    random_state = seed * 2654435761u | 1;
    lab_open(&lab, engine);
    for (unsigned i = 0; i < rounds; i++) {
        round_of_batches(model, spare);
        if (dice(4) == 0)
            compare(model);
        if (dice(12) == 0) {
            lab_reopen(&lab);
            compare(model);
        }
        forget_dead_blobs(model);
    }
    compare(model);
    lab_close(&lab);
    free(model);
    free(spare);
}
