/*
 * Compaction beside checkpoints: the new places of the bodies are entered when the index has been
 * asked, which may take longer than any number of checkpoints. The new segment has to be there
 * then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/local/local_priv.h"

enum { BLOBS = 30, BLOB_SIZE = 9000, TURNS = 100000 };

static char directory[] = "test_compact.XXXXXX";
static const struct id partition = {{1}};
static struct event_base *base;
static struct store *store;
static uint64_t blobs[BLOBS];
static uint8_t bodies[BLOBS][BLOB_SIZE];
static sem_t barrier;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static void open_volume(void)
{
    static const struct store_local_options options = {.segment_size = 64 << 10,
                                                       .checkpoint_ms = 10,
                                                       .compact_percent = 75,
                                                       .reader_threads = 1,
                                                       .create = true};
    struct error error = {""};
    if (!store_local_open(base, directory, &options, &store, &error))
        fail_msg("%s", error.text);
}

static void on_done(void *arg, enum store_result result)
{
    assert_int_equal(result, STORE_OK);
    *(bool *)arg = true;
}

static void submit(struct store_batch *batch)
{
    bool done = false;
    store_submit(store, batch, on_done, &done);
    while (!done)
        event_base_loop(base, EVLOOP_ONCE);
}

static void put_something(void)
{
    static uint8_t value[4000];
    struct store_batch *batch = store_batch_create(partition);
    value[0]++;
    store_batch_put(batch, SLICE_LITERAL("something"), slice_make(value, sizeof(value)));
    submit(batch);
}

static void release(void *arg)
{
}

static void put_blobs(void)
{
    for (size_t i = 0; i < BLOBS; i++) {
        struct store_batch *batch = store_batch_create(partition);
        for (size_t j = 0; j < BLOB_SIZE; j++) /* nothing that could be compressed */
            bodies[i][j] = (uint8_t)(random() >> 8);
        blobs[i] = store_blob_new(store);
        store_batch_blob(batch, blobs[i], (struct store_bytes){bodies[i], BLOB_SIZE, release, NULL},
                         (struct store_label){0});
        submit(batch);
    }
}

static void drop_every_other(void)
{
    struct store_batch *batch = store_batch_create(partition);
    for (size_t i = 1; i < BLOBS; i += 2)
        store_batch_unref(batch, blobs[i]);
    submit(batch);
}

static struct segment *cold_segment(void)
{
    struct segment *segment;
    RB_FOREACH (segment, segments, &local_of(store)->segments)
        if (segment->kind == SEGMENT_COLD)
            return segment;
    return NULL;
}

static void checkpoints(uint64_t count)
{
    struct store_stats stats;
    store_stats(store, &stats);
    uint64_t until = stats.checkpoints + count;
    for (unsigned i = 0; i < TURNS && stats.checkpoints < until; i++) {
        put_something();
        store_stats(store, &stats);
    }
    assert_true(stats.checkpoints >= until);
}

static void on_read(void *arg, enum store_result result, struct evbuffer *bytes)
{
    size_t i = (size_t)((uint64_t *)arg - blobs);
    assert_int_equal(result, STORE_OK);
    assert_int_equal(evbuffer_get_length(bytes), BLOB_SIZE);
    assert_memory_equal(evbuffer_pullup(bytes, -1), bodies[i], BLOB_SIZE);
    blobs[i] |= UINT64_C(1) << 63; /* seen */
}

static void read_all(void)
{
    for (size_t i = 0; i < BLOBS; i += 2) {
        store_read(store, blobs[i], 0, UINT64_MAX, on_read, &blobs[i]);
        while (blobs[i] >> 63 == 0)
            event_base_loop(base, EVLOOP_ONCE);
        blobs[i] &= ~(UINT64_C(1) << 63);
    }
}

static void hold_up(struct job *job, unsigned thread)
{
    sem_wait(&barrier);
}

static void test_index_slower_than_checkpoints(void **state)
{
    struct job held = {.work = hold_up};
    struct store_stats stats;
    open_volume();
    put_blobs();
    checkpoints(2);
    pool_submit(local_of(store)->readers, &held);
    drop_every_other();
    for (unsigned i = 0; i < TURNS && cold_segment() == NULL; i++)
        put_something();
    assert_non_null(cold_segment());
    uint64_t generation = cold_segment()->generation;
    for (unsigned i = 0; i < TURNS && local_of(store)->checkpoint.generation <= generation; i++)
        put_something();
    checkpoints(5);
    assert_non_null(local_segment(local_of(store), generation));
    sem_post(&barrier);
    do {
        put_something();
        store_stats(store, &stats);
    } while (stats.compactions == 0);
    checkpoints(3);
    read_all();
    store_close(&store);
    open_volume();
    read_all();
    checkpoints(3);
    read_all();
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_index_slower_than_checkpoints)};
    if (mkdtemp(directory) == NULL)
        return 1;
    base = event_base_new();
    sem_init(&barrier, 0, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    event_base_free(base);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
