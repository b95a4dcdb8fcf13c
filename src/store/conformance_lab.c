/* The helpers of the conformance tests; see conformance_priv.h. Nothing here judges an engine. */
#include "store/conformance_priv.h"

#include <stdlib.h>

#include "base/mem.h"

unsigned answers_given;

void lab_open(struct lab *lab, const struct conformance_engine *engine)
{
    lab->engine = engine;
    lab->base = event_base_new();
    assert_non_null(lab->base);
    engine->wipe(engine->arg);
    lab->store = engine->open(engine->arg, lab->base);
    assert_non_null(lab->store);
}

void lab_reopen(struct lab *lab)
{
    lab->engine->close(lab->engine->arg, &lab->store);
    assert_null(lab->store);
    lab->store = lab->engine->open(lab->engine->arg, lab->base);
    assert_non_null(lab->store);
}

void lab_close(struct lab *lab)
{
    if (lab->store != NULL)
        lab->engine->close(lab->engine->arg, &lab->store);
    event_base_free(lab->base);
    lab->base = NULL;
}

/* ---- batches ------------------------------------------------------------------------------- */

static void answered(void *arg, enum store_result result)
{
    struct answer *answer = arg;
    assert_false(answer->ran);
    answer->ran = true;
    answer->result = result;
    answer->order = ++answers_given;
}

void lab_submit(struct lab *lab, struct store_batch *batch, struct answer *answer)
{
    *answer = (struct answer){0};
    store_submit(lab->store, batch, answered, answer);
    assert_false(answer->ran); /* never inside the call */
}

void lab_wait(struct lab *lab, const bool *flag)
{
    while (!*flag)
        assert_int_equal(event_base_loop(lab->base, EVLOOP_ONCE), 0);
}

enum store_result lab_do(struct lab *lab, struct store_batch *batch)
{
    struct answer answer;
    lab_submit(lab, batch, &answer);
    lab_wait(lab, &answer.ran);
    return answer.result;
}

struct id lab_partition(unsigned number)
{
    struct id id = {{0}};
    id.bytes[15] = (uint8_t)number;
    id.bytes[0] = (uint8_t)(number * 37);
    return id;
}

struct store_batch *lab_batch(unsigned partition)
{
    return store_batch_create(lab_partition(partition));
}

struct slice text(const char *text)
{
    return slice_str(text);
}

/* ---- keys ---------------------------------------------------------------------------------- */

struct get {
    bool ran, found;
    struct buf *value;
};

static void got(void *arg, enum store_result result, bool found, struct slice value)
{
    struct get *get = arg;
    assert_false(get->ran);
    assert_int_equal(result, STORE_OK);
    get->ran = true;
    get->found = found;
    buf_clear(get->value);
    buf_add_slice(get->value, value);
}

bool lab_get(struct lab *lab, unsigned partition, struct slice key, struct buf *value)
{
    struct get get = {.value = value};
    store_get(lab->store, lab_partition(partition), key, got, &get);
    assert_false(get.ran);
    lab_wait(lab, &get.ran);
    return get.found;
}

void lab_expect(struct lab *lab, unsigned partition, const char *key, const char *value)
{
    struct buf found = {0};
    assert_true(lab_get(lab, partition, text(key), &found));
    assert_true(slice_equal_str(buf_slice(&found), value));
    buf_finish(&found);
}

void lab_expect_none(struct lab *lab, unsigned partition, const char *key)
{
    struct buf found = {0};
    assert_false(lab_get(lab, partition, text(key), &found));
    buf_finish(&found);
}

struct dump {
    bool ran, more;
    size_t most;
    struct buf *out;
    struct buf last;
};

static void scanned(void *arg, enum store_result result, const struct store_item *items,
                    size_t count, bool more)
{
    struct dump *dump = arg;
    assert_int_equal(result, STORE_OK);
    assert_true(count <= dump->most);
    assert_true(!more || count > 0);
    for (size_t i = 0; i < count; i++) {
        buf_add_slice(dump->out, items[i].key);
        buf_u8(dump->out, '=');
        buf_add_slice(dump->out, items[i].value);
        buf_u8(dump->out, ';');
    }
    if (count > 0) {
        buf_clear(&dump->last);
        buf_add_slice(&dump->last, items[count - 1].key);
        buf_u8(&dump->last, 0);
    }
    dump->more = more;
    dump->ran = true;
}

void lab_dump(struct lab *lab, unsigned partition, size_t most, struct buf *out)
{
    uint8_t end[STORE_KEY_MAX];
    memset(end, 0xff, sizeof(end));
    struct dump dump = {.most = most, .out = out, .more = true};
    buf_clear(out);
    while (dump.more) {
        dump.ran = false;
        store_scan(lab->store, lab_partition(partition), buf_slice(&dump.last),
                   slice_make(end, sizeof(end)), most, scanned, &dump);
        assert_false(dump.ran);
        lab_wait(lab, &dump.ran);
    }
    buf_finish(&dump.last);
}

/* ---- blobs --------------------------------------------------------------------------------- */

uint8_t blob_byte(uint32_t seed, uint64_t offset)
{
    return (uint8_t)((seed * 2654435761u + offset * 97 + (offset >> 8) * 31) >> 3);
}

/* One allocation: the counter's address in front of the bytes. */
struct lent {
    unsigned *released;
    uint8_t bytes[];
};

static void give_back(void *arg)
{
    struct lent *lent = arg;
    if (lent->released != NULL)
        __atomic_add_fetch(lent->released, 1, __ATOMIC_SEQ_CST);
    free(lent);
}

void lab_blob(struct store_batch *batch, uint64_t blob, uint32_t seed, size_t size,
              unsigned *released)
{
    struct lent *lent = mem_alloc(sizeof(*lent) + size + 1);
    lent->released = released;
    for (size_t i = 0; i < size; i++)
        lent->bytes[i] = blob_byte(seed, i);
    struct store_label label = {.mailbox = 1, .uidvalidity = 2, .uid = seed, .date = 4};
    store_batch_blob(batch, blob, (struct store_bytes){lent->bytes, size, give_back, lent}, label);
}

struct reading {
    bool ran;
    enum store_result result;
    struct buf *bytes;
};

static void read_done(void *arg, enum store_result result, struct evbuffer *bytes)
{
    struct reading *reading = arg;
    assert_false(reading->ran);
    reading->ran = true;
    reading->result = result;
    if (result != STORE_OK)
        return;
    size_t size = evbuffer_get_length(bytes);
    buf_clear(reading->bytes);
    evbuffer_remove(bytes, buf_extend(reading->bytes, size), size);
}

enum store_result lab_read(struct lab *lab, uint64_t blob, uint64_t offset, uint64_t size,
                           struct buf *bytes)
{
    struct reading reading = {.bytes = bytes};
    store_read(lab->store, blob, offset, size, read_done, &reading);
    assert_false(reading.ran);
    lab_wait(lab, &reading.ran);
    return reading.result;
}

void lab_expect_blob(struct lab *lab, uint64_t blob, uint32_t seed, uint64_t size)
{
    struct buf bytes = {0};
    assert_int_equal(lab_read(lab, blob, 0, UINT64_MAX, &bytes), STORE_OK);
    assert_int_equal(bytes.size, size);
    for (size_t i = 0; i < bytes.size; i++)
        if (bytes.data[i] != blob_byte(seed, i))
            fail_msg("blob %llu differs at %zu", (unsigned long long)blob, i);
    buf_finish(&bytes);
}
