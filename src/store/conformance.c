/*
 * The contract of store.h, sentence by sentence. Each test opens an empty volume; what is written
 * is looked at before and after a reopen, so that an engine with a memory in front of its disk is
 * asked about both.
 */
#include "store/conformance_priv.h"

#include <stdlib.h>

#include "base/mem.h"

static struct lab lab;
static const struct conformance_engine *engine;

static int setup(void **state)
{
    lab_open(&lab, engine);
    return 0;
}

static int teardown(void **state)
{
    lab_close(&lab);
    return 0;
}

static void expect_dump(unsigned partition, const char *wanted)
{
    struct buf out = {0};
    for (size_t most = 1; most < 100; most *= 3) {
        lab_dump(&lab, partition, most, &out);
        buf_u8(&out, 0);
        assert_string_equal((const char *)out.data, wanted);
    }
    buf_finish(&out);
}

/* Now, and after a reopen. */
static void expect_lasting(unsigned partition, const char *wanted)
{
    expect_dump(partition, wanted);
    lab_reopen(&lab);
    expect_dump(partition, wanted);
}

static void put_all(unsigned partition, const char *const *pairs)
{
    struct store_batch *batch = lab_batch(partition);
    for (; *pairs != NULL; pairs += 2)
        store_batch_put(batch, text(pairs[0]), text(pairs[1]));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
}

/* ---- keys and values ----------------------------------------------------------------------- */

static void empty_volume(void **state)
{
    lab_expect_none(&lab, 1, "a");
    expect_lasting(1, "");
    assert_false(id_is_zero(store_uuid(lab.store)));
}

static void put_and_delete(void **state)
{
    put_all(1, (const char *const[]){"a", "1", "b", "2", "c", "", NULL});
    lab_expect(&lab, 1, "a", "1");
    lab_expect(&lab, 1, "c", "");
    lab_expect_none(&lab, 2, "a");
    struct store_batch *batch = lab_batch(1);
    store_batch_put(batch, text("a"), text("one"));
    store_batch_del(batch, text("b"));
    store_batch_del(batch, text("never there"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    expect_lasting(1, "a=one;c=;");
}

static void operations_apply_in_order(void **state)
{
    struct store_batch *batch = lab_batch(1);
    store_batch_put(batch, text("a"), text("1"));
    store_batch_del(batch, text("a"));
    store_batch_expect_absent(batch, text("a"));
    store_batch_put(batch, text("a"), text("2"));
    store_batch_expect_equal(batch, text("a"), text("2"));
    store_batch_put(batch, text("b"), text("x"));
    store_batch_del_range(batch, text("a"), text("z"));
    store_batch_put(batch, text("c"), text("stays"));
    assert_int_equal(store_batch_operations(batch), 8);
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    expect_lasting(1, "c=stays;");
}

static void empty_batch(void **state)
{
    assert_int_equal(lab_do(&lab, lab_batch(1)), STORE_OK);
    struct store_batch *unused = lab_batch(1);
    unsigned released = 0;
    lab_blob(unused, store_blob_new(lab.store), 1, 100, &released);
    store_batch_destroy(&unused);
    assert_null(unused);
    assert_int_equal(released, 1);
    store_batch_destroy(&unused);
}

static void largest_key_and_value(void **state)
{
    uint8_t key[STORE_KEY_MAX];
    memset(key, 0xfe, sizeof(key));
    uint8_t *value = mem_zalloc(STORE_VALUE_MAX);
    for (size_t i = 0; i < STORE_VALUE_MAX; i++)
        value[i] = blob_byte(3, i);
    struct store_batch *batch = lab_batch(1);
    store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, STORE_VALUE_MAX));
    store_batch_put(batch, slice_make(key, 1), slice_make(value, STORE_VALUE_GOOD));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    struct buf found = {0};
    for (int again = 0; again < 2; again++) {
        assert_true(lab_get(&lab, 1, slice_make(key, sizeof(key)), &found));
        assert_int_equal(found.size, STORE_VALUE_MAX);
        assert_memory_equal(found.data, value, STORE_VALUE_MAX);
        assert_true(lab_get(&lab, 1, slice_make(key, 1), &found));
        assert_int_equal(found.size, STORE_VALUE_GOOD);
        lab_reopen(&lab);
    }
    buf_finish(&found);
    free(value);
}

static void largest_batch(void **state)
{
    enum { SIZE = STORE_BATCH_BYTES_MAX / STORE_BATCH_OPERATIONS_MAX - 4 };
    uint8_t value[SIZE] = {0};
    struct store_batch *batch = lab_batch(1);
    for (uint32_t i = 0; i < STORE_BATCH_OPERATIONS_MAX; i++) {
        char key[8];
        snprintf(key, sizeof(key), "%04u", i);
        memset(value, (int)(i & 0xff), sizeof(value));
        store_batch_put(batch, text(key), slice_make(value, sizeof(value)));
    }
    assert_true(store_batch_bytes(batch) > STORE_BATCH_BYTES_MAX - 1000);
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    lab_reopen(&lab);
    struct buf found = {0};
    assert_true(lab_get(&lab, 1, text("0999"), &found));
    assert_int_equal(found.size, SIZE);
    assert_int_equal(found.data[SIZE - 1], 999 & 0xff);
    lab_dump(&lab, 1, 100000, &found); /* pages of about 1 MiB whatever `most` says */
    assert_int_equal(found.size, STORE_BATCH_OPERATIONS_MAX * (SIZE + 6));
    buf_finish(&found);
}

/* ---- expectations and failures ------------------------------------------------------------- */

static void expectations(void **state)
{
    put_all(1, (const char *const[]){"a", "1", NULL});
    struct store_batch *batch = lab_batch(1);
    store_batch_expect_equal(batch, text("a"), text("1"));
    store_batch_expect_absent(batch, text("b"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    batch = lab_batch(1);
    store_batch_expect_equal(batch, text("a"), text("2"));
    assert_int_equal(lab_do(&lab, batch), STORE_CONFLICT);
    batch = lab_batch(1);
    store_batch_expect_equal(batch, text("b"), text(""));
    assert_int_equal(lab_do(&lab, batch), STORE_CONFLICT);
    batch = lab_batch(1);
    store_batch_expect_absent(batch, text("a"));
    assert_int_equal(lab_do(&lab, batch), STORE_CONFLICT);
    lab_reopen(&lab);
    batch = lab_batch(1);
    store_batch_expect_equal(batch, text("a"), text("1"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
}

static void all_or_nothing(void **state)
{
    put_all(1, (const char *const[]){"a", "1", "b", "2", NULL});
    uint64_t blob = store_blob_new(lab.store);
    unsigned released = 0;
    struct store_batch *batch = lab_batch(1);
    store_batch_put(batch, text("a"), text("changed"));
    store_batch_put(batch, text("new"), text("1"));
    store_batch_del_range(batch, text("b"), text("c"));
    lab_blob(batch, blob, 1, 5000, &released);
    store_batch_patch(batch, text("a"), 0, text("X"));
    store_batch_expect_absent(batch, text("a"));
    assert_int_equal(lab_do(&lab, batch), STORE_CONFLICT);
    assert_int_equal(__atomic_load_n(&released, __ATOMIC_SEQ_CST), 1);
    batch = lab_batch(1);
    store_batch_addref(batch, blob);
    assert_int_equal(lab_do(&lab, batch), STORE_CONFLICT);
    expect_lasting(1, "a=1;b=2;");
}

static void judged_against_submitted(void **state)
{
    struct answer answers[4];
    struct store_batch *batch = lab_batch(1);
    store_batch_put(batch, text("n"), text("1"));
    lab_submit(&lab, batch, &answers[0]);
    batch = lab_batch(1);
    store_batch_expect_equal(batch, text("n"), text("1"));
    store_batch_put(batch, text("n"), text("2"));
    lab_submit(&lab, batch, &answers[1]);
    batch = lab_batch(1);
    store_batch_expect_equal(batch, text("n"), text("2"));
    store_batch_del_range(batch, text("a"), text("z"));
    lab_submit(&lab, batch, &answers[2]);
    batch = lab_batch(1);
    store_batch_expect_absent(batch, text("n"));
    store_batch_put(batch, text("n"), text("3"));
    lab_submit(&lab, batch, &answers[3]);
    for (int i = 0; i < 4; i++) {
        lab_wait(&lab, &answers[i].ran);
        assert_int_equal(answers[i].result, STORE_OK);
        assert_true(i == 0 || answers[i].order == answers[i - 1].order + 1);
    }
    expect_lasting(1, "n=3;");
}

static void failure_takes_later_ones(void **state)
{
    struct answer answers[4], other[2];
    put_all(1, (const char *const[]){"there", "1", NULL});
    for (unsigned i = 0; i < 4; i++) {
        struct store_batch *batch = lab_batch(1);
        char key[2] = {(char)('a' + i), 0};
        store_batch_put(batch, text(key), text("x"));
        if (i == 1)
            store_batch_expect_absent(batch, text("there"));
        lab_submit(&lab, batch, &answers[i]);
        if (i == 1 || i == 2) {
            batch = lab_batch(2);
            store_batch_put(batch, text(key), text("y"));
            lab_submit(&lab, batch, &other[i - 1]);
        }
    }
    static const enum store_result wanted[] = {STORE_OK, STORE_CONFLICT, STORE_UNAVAILABLE,
                                               STORE_UNAVAILABLE};
    for (int i = 0; i < 4; i++) {
        lab_wait(&lab, &answers[i].ran);
        assert_int_equal(answers[i].result, wanted[i]);
        assert_true(i == 0 || answers[i].order > answers[i - 1].order);
    }
    for (int i = 0; i < 2; i++) {
        lab_wait(&lab, &other[i].ran);
        assert_int_equal(other[i].result, STORE_OK);
    }
    put_all(1, (const char *const[]){"later", "ok", NULL});
    expect_lasting(1, "a=x;later=ok;there=1;");
    expect_dump(2, "b=y;c=y;");
}

/* ---- patch and del_range ------------------------------------------------------------------- */

static enum store_result patch(const char *key, uint32_t offset, const char *bytes)
{
    struct store_batch *batch = lab_batch(1);
    store_batch_patch(batch, text(key), offset, text(bytes));
    return lab_do(&lab, batch);
}

static void patch_parts(void **state)
{
    put_all(1, (const char *const[]){"a", "0123456789", "b", "bbbb", NULL});
    assert_int_equal(patch("a", 2, "XY"), STORE_OK);
    lab_expect(&lab, 1, "a", "01XY456789");
    lab_reopen(&lab);
    assert_int_equal(patch("a", 8, "ZZ"), STORE_OK); /* to its end, on a value from the disk */
    assert_int_equal(patch("a", 0, ""), STORE_OK);
    lab_expect(&lab, 1, "a", "01XY4567ZZ");
    assert_int_equal(patch("a", 9, "ZZ"), STORE_CONFLICT);
    assert_int_equal(patch("a", 11, ""), STORE_CONFLICT);
    assert_int_equal(patch("none", 0, "Z"), STORE_CONFLICT);
    struct store_batch *batch = lab_batch(1);
    store_batch_patch(batch, text("a"), 0, text("p"));
    store_batch_patch(batch, text("a"), 1, text("q"));
    store_batch_expect_equal(batch, text("a"), text("pqXY4567ZZ"));
    store_batch_put(batch, text("b"), text("other"));
    store_batch_patch(batch, text("b"), 4, text("!"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    expect_lasting(1, "a=pqXY4567ZZ;b=othe!;");
}

static void patch_after_deletes(void **state)
{
    put_all(1, (const char *const[]){"a", "aaaa", "b", "bbbb", "c", "cccc", NULL});
    lab_reopen(&lab);
    struct answer answers[2];
    struct store_batch *batch = lab_batch(1);
    store_batch_del_range(batch, text("a"), text("c"));
    lab_submit(&lab, batch, &answers[0]);
    batch = lab_batch(1);
    store_batch_patch(batch, text("b"), 0, text("X"));
    lab_submit(&lab, batch, &answers[1]);
    lab_wait(&lab, &answers[1].ran);
    assert_int_equal(answers[0].result, STORE_OK);
    assert_int_equal(answers[1].result, STORE_CONFLICT);
    batch = lab_batch(1);
    store_batch_put(batch, text("b"), text("1234"));
    store_batch_patch(batch, text("b"), 3, text("X"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    batch = lab_batch(1);
    store_batch_del(batch, text("c"));
    store_batch_patch(batch, text("c"), 0, text("X"));
    assert_int_equal(lab_do(&lab, batch), STORE_CONFLICT);
    expect_lasting(1, "b=123X;c=cccc;");
}

static void delete_ranges(void **state)
{
    const char *const all[] = {"a", "1", "b", "2", "bb", "3", "c", "4", "d", "5", NULL};
    put_all(1, all);
    put_all(2, all);
    lab_reopen(&lab);
    put_all(1, (const char *const[]){"ba", "6", "ca", "7", NULL});
    struct store_batch *batch = lab_batch(1);
    store_batch_del_range(batch, text("b"), text("c")); /* from is in it, to is not */
    store_batch_del_range(batch, text("d"), text("d"));
    store_batch_del_range(batch, text("z"), text("a"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    expect_dump(1, "a=1;c=4;ca=7;d=5;");
    lab_expect_none(&lab, 1, "bb");
    put_all(1, (const char *const[]){"bb", "again", NULL});
    batch = lab_batch(1);
    store_batch_del_range(batch, SLICE_NONE, text("b"));
    store_batch_del_range(batch, text("c"), text("cb"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    expect_lasting(1, "bb=again;d=5;");
    expect_dump(2, "a=1;b=2;bb=3;c=4;d=5;");
    batch = lab_batch(2);
    store_batch_del_range(batch, SLICE_NONE, text("\xff"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    expect_lasting(2, "");
}

/* ---- scans --------------------------------------------------------------------------------- */

struct page {
    bool ran, more;
    size_t count;
    char keys[16][8];
};

static void keep_page(void *arg, enum store_result result, const struct store_item *items,
                      size_t count, bool more)
{
    struct page *page = arg;
    assert_int_equal(result, STORE_OK);
    assert_true(count <= 16);
    *page = (struct page){.ran = true, .more = more, .count = count};
    for (size_t i = 0; i < count; i++)
        snprintf(page->keys[i], sizeof(page->keys[i]), "%.*s", SLICE_PRINT(items[i].key));
}

static void scan(struct page *page, struct slice from, struct slice to, size_t most)
{
    page->ran = false;
    store_scan(lab.store, lab_partition(1), from, to, most, keep_page, page);
    lab_wait(&lab, &page->ran);
}

static void scan_pages(void **state)
{
    put_all(1, (const char *const[]){"a", "", "b", "", "d", "", "f", "", NULL});
    put_all(2, (const char *const[]){"c", "not ours", NULL});
    lab_reopen(&lab);
    put_all(1, (const char *const[]){"c", "", "e", "", NULL});
    struct page page = {0};
    scan(&page, text("b"), text("e"), 16);
    assert_int_equal(page.count, 3);
    assert_string_equal(page.keys[0], "b");
    assert_string_equal(page.keys[2], "d");
    assert_false(page.more);
    scan(&page, text("a"), text("z"), 3);
    assert_true(page.more);
    assert_string_equal(page.keys[2], "c");
    /* What lies ahead changes between two pages: the next page shows it as it is now. */
    struct store_batch *batch = lab_batch(1);
    store_batch_del(batch, text("d"));
    store_batch_put(batch, text("ca"), text(""));
    store_batch_put(batch, text("aa"), text(""));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    scan(&page, slice_make("c\0", 2), text("z"), 16);
    assert_int_equal(page.count, 3);
    assert_string_equal(page.keys[0], "ca");
    assert_string_equal(page.keys[1], "e");
    assert_string_equal(page.keys[2], "f");
    scan(&page, text("z"), text("a"), 16);
    assert_int_equal(page.count, 0);
    assert_false(page.more);
}

static void binary_keys_sort_bytewise(void **state)
{
    struct store_batch *batch = lab_batch(1);
    store_batch_put(batch, slice_make("\x80", 1), text("3"));
    store_batch_put(batch, slice_make("\x00", 1), text("1"));
    store_batch_put(batch, slice_make("\x7f\xff", 2), text("2"));
    store_batch_put(batch, slice_make("\x80\x00", 2), text("4"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    static const uint8_t wanted[] = "\0=1;\x7f\xff=2;\x80=3;\x80\0=4;";
    struct buf out = {0};
    for (int again = 0; again < 2; again++) {
        lab_dump(&lab, 1, 2, &out);
        assert_true(slice_equal(buf_slice(&out), slice_make(wanted, sizeof(wanted) - 1)));
        lab_reopen(&lab);
    }
    buf_finish(&out);
}

/* ---- completions --------------------------------------------------------------------------- */

struct chain {
    unsigned left;
    bool ran;
};

static void chain_got(void *arg, enum store_result result, bool found, struct slice value);

static void chain_done(void *arg, enum store_result result)
{
    assert_int_equal(result, STORE_OK);
    /* A read asked for inside the completion must see the batch. */
    store_get(lab.store, lab_partition(1), text("chain"), chain_got, arg);
}

static void chain_submit(struct chain *chain)
{
    struct store_batch *batch = lab_batch(1);
    char value[16];
    snprintf(value, sizeof(value), "%u", chain->left);
    store_batch_put(batch, text("chain"), text(value));
    store_submit(lab.store, batch, chain_done, chain);
}

static void chain_got(void *arg, enum store_result result, bool found, struct slice value)
{
    struct chain *chain = arg;
    char wanted[16];
    snprintf(wanted, sizeof(wanted), "%u", chain->left);
    assert_int_equal(result, STORE_OK);
    assert_true(found);
    assert_true(slice_equal_str(value, wanted));
    if (chain->left-- == 0)
        chain->ran = true;
    else
        chain_submit(chain);
}

static void completions_are_visible(void **state)
{
    struct chain chain = {.left = 20};
    chain_submit(&chain);
    lab_wait(&lab, &chain.ran);
}

static void close_drains(void **state)
{
    enum { COUNT = 50 };
    struct answer answers[COUNT];
    unsigned released = 0;
    uint64_t blob = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        struct store_batch *batch = lab_batch(i % 3);
        char key[8];
        snprintf(key, sizeof(key), "%02u", i);
        store_batch_put(batch, text(key), text("x"));
        lab_blob(batch, blob = store_blob_new(lab.store), i, 1000, &released);
        lab_submit(&lab, batch, &answers[i]);
    }
    struct page page = {0};
    store_scan(lab.store, lab_partition(1), text("a"), text("b"), 10, keep_page, &page);
    lab_reopen(&lab);
    assert_true(page.ran);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(answers[i].ran);
        assert_int_equal(answers[i].result, STORE_OK);
    }
    assert_int_equal(__atomic_load_n(&released, __ATOMIC_SEQ_CST), COUNT);
    lab_expect(&lab, 1, "49", "x");
    lab_expect_blob(&lab, blob, COUNT - 1, 1000);
}

/* ---- blobs --------------------------------------------------------------------------------- */

static void blob_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 4095, 4096, 4097, 100000, 3000000};
    enum { COUNT = sizeof(sizes) / sizeof(*sizes) };
    uint64_t ids[COUNT];
    unsigned released = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        ids[i] = store_blob_new(lab.store);
        struct store_batch *batch = lab_batch(1);
        lab_blob(batch, ids[i], i, sizes[i], &released);
        store_batch_put(batch, text("last"), text("x"));
        assert_int_equal(lab_do(&lab, batch), STORE_OK);
        assert_int_equal(__atomic_load_n(&released, __ATOMIC_SEQ_CST), i + 1);
    }
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < COUNT; i++)
            lab_expect_blob(&lab, ids[i], i, sizes[i]);
        lab_reopen(&lab);
    }
}

static void blob_parts(void **state)
{
    enum { SIZE = 50000 };
    uint64_t blob = store_blob_new(lab.store);
    struct store_batch *batch = lab_batch(1);
    lab_blob(batch, blob, 9, SIZE, NULL);
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    static const uint64_t parts[][2] = {{0, 1},          {1, 0},       {17, 100},
                                        {49999, 1},      {49999, 50},  {50000, 1},
                                        {60000, 10},     {4096, 8192}, {UINT64_MAX, UINT64_MAX},
                                        {10, UINT64_MAX}};
    struct buf bytes = {0};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        uint64_t offset = parts[i][0];
        uint64_t there = offset >= SIZE ? 0 : SIZE - offset;
        uint64_t wanted = parts[i][1] < there ? parts[i][1] : there;
        buf_clear(&bytes);
        assert_int_equal(lab_read(&lab, blob, offset, parts[i][1], &bytes), STORE_OK);
        assert_int_equal(bytes.size, wanted);
        for (size_t j = 0; j < bytes.size; j++)
            assert_int_equal(bytes.data[j], blob_byte(9, offset + j));
    }
    buf_finish(&bytes);
}

static enum store_result count(unsigned partition, uint64_t blob, bool up)
{
    struct store_batch *batch = lab_batch(partition);
    if (up)
        store_batch_addref(batch, blob);
    else
        store_batch_unref(batch, blob);
    return lab_do(&lab, batch);
}

static void blob_references(void **state)
{
    uint64_t blob = store_blob_new(lab.store);
    assert_int_equal(count(1, blob, true), STORE_CONFLICT);
    struct store_batch *batch = lab_batch(1);
    lab_blob(batch, blob, 5, 2000, NULL);
    store_batch_addref(batch, blob);
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    assert_int_equal(count(2, blob, true), STORE_OK); /* shared across partitions */
    lab_reopen(&lab);
    assert_int_equal(count(1, blob, false), STORE_OK);
    assert_int_equal(count(1, blob, false), STORE_OK);
    lab_reopen(&lab);
    lab_expect_blob(&lab, blob, 5, 2000);
    assert_int_equal(count(2, blob, false), STORE_OK);
    assert_int_equal(count(2, blob, true), STORE_CONFLICT);
    assert_int_equal(count(2, blob, false), STORE_CONFLICT);
    lab_reopen(&lab);
    assert_int_equal(count(2, blob, true), STORE_CONFLICT);
    struct buf bytes = {0};
    assert_int_equal(lab_read(&lab, store_blob_new(lab.store), 0, 10, &bytes), STORE_CORRUPT);
    buf_finish(&bytes);
}

static void blob_of_a_failed_batch(void **state)
{
    put_all(1, (const char *const[]){"there", "1", NULL});
    struct answer failed, other, third;
    uint64_t blob = store_blob_new(lab.store);
    struct store_batch *batch = lab_batch(1);
    lab_blob(batch, blob, 5, 2000, NULL);
    store_batch_expect_absent(batch, text("there"));
    lab_submit(&lab, batch, &failed);
    batch = lab_batch(2);
    store_batch_addref(batch, blob);
    lab_submit(&lab, batch, &other);
    batch = lab_batch(3);
    store_batch_put(batch, text("a"), text("fine"));
    lab_submit(&lab, batch, &third);
    lab_wait(&lab, &failed.ran);
    lab_wait(&lab, &other.ran);
    lab_wait(&lab, &third.ran);
    assert_int_equal(failed.result, STORE_CONFLICT);
    assert_int_equal(other.result, STORE_CONFLICT);
    assert_int_equal(third.result, STORE_OK);
}

static void blob_shared_before_durable(void **state)
{
    struct answer first, second;
    uint64_t blob = store_blob_new(lab.store);
    struct store_batch *batch = lab_batch(1);
    lab_blob(batch, blob, 5, 2000, NULL);
    lab_submit(&lab, batch, &first);
    batch = lab_batch(2);
    store_batch_addref(batch, blob);
    lab_submit(&lab, batch, &second);
    lab_wait(&lab, &first.ran);
    lab_wait(&lab, &second.ran);
    assert_int_equal(first.result, STORE_OK);
    assert_int_equal(second.result, STORE_OK);
    assert_int_equal(count(1, blob, false), STORE_OK);
    lab_reopen(&lab);
    lab_expect_blob(&lab, blob, 5, 2000);
}

static void blob_ids_are_new(void **state)
{
    uint64_t last = 0;
    for (int again = 0; again < 3; again++) {
        for (int i = 0; i < 3000; i++) {
            uint64_t blob = store_blob_new(lab.store);
            assert_true(blob > last); /* growing is the simplest way of being new */
            last = blob;
        }
        lab_reopen(&lab);
    }
}

/* ---- the volume ---------------------------------------------------------------------------- */

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void quiesce_and_resume(void **state)
{
    struct answer before, during, other;
    bool quiet = false;
    struct store_batch *batch = lab_batch(1);
    store_batch_put(batch, text("a"), text("1"));
    lab_submit(&lab, batch, &before);
    store_quiesce(lab.store, lab_partition(1), set_flag, &quiet);
    assert_false(quiet);
    batch = lab_batch(1);
    store_batch_put(batch, text("a"), text("2"));
    lab_submit(&lab, batch, &during);
    batch = lab_batch(2);
    store_batch_put(batch, text("a"), text("3"));
    lab_submit(&lab, batch, &other);
    lab_wait(&lab, &quiet);
    assert_true(before.ran);
    lab_wait(&lab, &during.ran);
    lab_wait(&lab, &other.ran);
    assert_int_equal(before.result, STORE_OK);
    assert_int_equal(during.result, STORE_FENCED);
    assert_int_equal(other.result, STORE_OK);
    lab_expect(&lab, 1, "a", "1");
    store_resume(lab.store, lab_partition(1));
    put_all(1, (const char *const[]){"a", "4", NULL});
    expect_lasting(1, "a=4;");
}

static void quiesce_an_idle_partition(void **state)
{
    bool quiet = false;
    store_quiesce(lab.store, lab_partition(7), set_flag, &quiet);
    assert_false(quiet);
    lab_wait(&lab, &quiet);
    store_resume(lab.store, lab_partition(7));
    put_all(7, (const char *const[]){"a", "1", NULL});
}

static void identity_lasts(void **state)
{
    struct id uuid = store_uuid(lab.store);
    uint64_t epoch = store_epoch(lab.store);
    put_all(1, (const char *const[]){"a", "1", NULL});
    struct store_stats stats;
    store_stats(lab.store, &stats);
    assert_int_equal(stats.lsn_durable, stats.lsn_submitted);
    assert_false(stats.read_only);
    assert_string_equal(stats.trouble, "");
    for (int i = 0; i < 2; i++) {
        lab_reopen(&lab);
        assert_true(id_equal(uuid, store_uuid(lab.store)));
        assert_int_equal(store_epoch(lab.store), epoch); /* an orderly close proves all */
    }
}

static void count_damage(void *arg, const struct store_finding *finding)
{
    if (finding->severity == 2)
        ++*(unsigned *)arg;
}

static void check_while_open(void **state)
{
    struct store_batch *batch = lab_batch(1);
    lab_blob(batch, store_blob_new(lab.store), 1, 20000, NULL);
    store_batch_put(batch, text("a"), text("1"));
    assert_int_equal(lab_do(&lab, batch), STORE_OK);
    unsigned damage = 0;
    bool done = false;
    struct store_check_options options = {.report = count_damage, .arg = &damage};
    store_check(lab.store, &options, set_flag, &done);
    assert_false(done);
    lab_wait(&lab, &done);
    assert_int_equal(damage, 0);
}

static void random_against_a_model(void **state)
{
    lab_close(&lab);
    for (uint32_t seed = 1; seed <= 4; seed++)
        conformance_random(engine, seed, 120);
    lab_open(&lab, engine);
}

int conformance_run(const struct conformance_engine *wanted)
{
    engine = wanted;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(empty_volume),
        TEST(put_and_delete),
        TEST(operations_apply_in_order),
        TEST(empty_batch),
        TEST(largest_key_and_value),
        TEST(largest_batch),
        TEST(expectations),
        TEST(all_or_nothing),
        TEST(judged_against_submitted),
        TEST(failure_takes_later_ones),
        TEST(patch_parts),
        TEST(patch_after_deletes),
        TEST(delete_ranges),
        TEST(scan_pages),
        TEST(binary_keys_sort_bytewise),
        TEST(completions_are_visible),
        TEST(close_drains),
        TEST(blob_sizes),
        TEST(blob_parts),
        TEST(blob_references),
        TEST(blob_of_a_failed_batch),
        TEST(blob_shared_before_durable),
        TEST(blob_ids_are_new),
        TEST(quiesce_and_resume),
        TEST(quiesce_an_idle_partition),
        TEST(identity_lasts),
        TEST(check_while_open),
        TEST(random_against_a_model),
    };
    return cmocka_run_group_tests_name(wanted->name, tests, NULL, NULL);
}
