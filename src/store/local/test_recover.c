/*
 * Recovery: what a crash, a torn write, a flipped byte, a failed sync and a full disk leave is
 * made, and what the rules of store/README.md promise is looked for. A crash is a process that
 * writes, waits for its completions and ends without a word.
 */
#include "store/conformance_priv.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/mem.h"
#include "store/local/files.h"
#include "store/local/local_priv.h"

static char directory[] = "test_recover.XXXXXX";
static const char copied[] = "test_recover.copy";
static uint64_t segment_size = 64 << 10;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static void wipe_path(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void wipe(void *arg)
{
    wipe_path(directory);
}

/* No checkpoint comes by itself: everything is in the log. */
static struct store *open_volume(void *arg, struct event_base *base)
{
    struct store_local_options options = {.segment_size = segment_size,
                                          .checkpoint_operations = 1000000,
                                          .checkpoint_bytes = 1 << 30,
                                          .checkpoint_ms = 3600000,
                                          .reader_threads = 1,
                                          .create = true};
    struct store *store = NULL;
    struct error error = {""};
    if (!store_local_open(base, directory, &options, &store, &error))
        fail_msg("%s", error.text);
    return store;
}

static void close_volume(void *arg, struct store **store)
{
    store_close(store);
}

static const struct conformance_engine engine = {"local", wipe, open_volume, close_volume, NULL};

static void open_lab(struct lab *lab)
{
    lab->engine = &engine;
    lab->base = event_base_new();
    lab->store = open_volume(NULL, lab->base);
}

/* Runs in a process that dies afterwards. */
static void crash_after(void (*life)(struct lab *lab))
{
    pid_t child = fork();
    if (child == 0) {
        struct lab lab;
        open_lab(&lab);
        life(&lab);
        _exit(7);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void put(struct lab *lab, unsigned partition, const char *key, const char *value)
{
    struct store_batch *batch = lab_batch(partition);
    store_batch_put(batch, text(key), text(value));
    ASSERT(lab_do(lab, batch) == STORE_OK);
}

/* The ids of a first life: opens << 40, then a count (doc/formats/segment.md). */
static const uint64_t first_blob = (UINT64_C(1) << 40) + 1;

static void mail(struct lab *lab, unsigned partition, const char *key, uint64_t blob, size_t size)
{
    struct store_batch *batch = lab_batch(partition);
    unsigned released;
    store_batch_put(batch, text(key), text("mail"));
    lab_blob(batch, blob, (uint32_t)blob, size, &released);
    ASSERT(lab_do(lab, batch) == STORE_OK);
}

/* ---- the segments of the volume ------------------------------------------------------------ */

struct image {
    char path[300];
    uint8_t *bytes;
    size_t size, used; /* used: behind the last frame */
    size_t last;       /* where the last tick begins */
    struct {
        size_t at;
        struct frame frame;
    } frames[64];
    size_t count;
};

/* The only written segment. */
static void read_image(struct image *image)
{
    struct files_name *names;
    size_t count;
    *image = (struct image){0};
    assert_true(files_list(files_path(directory, "segments").text, ".seg", &names, &count));
    assert_true(count >= 1);
    snprintf(image->path, sizeof(image->path), "%s/segments/%s", directory,
             segment_name(names[0].first).text);
    free(names);
    int fd = open(image->path, O_RDONLY);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    image->size = (size_t)status.st_size;
    image->bytes = mem_alloc(image->size);
    assert_true(files_read(fd, 0, image->bytes, image->size));
    close(fd);
    struct frame frame;
    while (
        frame_decode(slice_make(image->bytes + image->used, image->size - image->used), &frame)) {
        assert_true(image->count < 64);
        image->frames[image->count].at = image->used;
        image->frames[image->count++].frame = frame;
        if (frame.type != FRAME_COMMIT &&
            (image->count < 2 || image->frames[image->count - 2].frame.type == FRAME_COMMIT))
            image->last = image->used;
        image->used += frame_total(frame.size);
    }
}

static void write_image(const struct image *image)
{
    int fd = open(image->path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0 && files_write(fd, slice_make(image->bytes, image->size)));
    close(fd);
}

/* Copies of a whole volume, so that one crash can be tried many times. */
static void copy_volume(const char *from, const char *to)
{
    char command[256];
    snprintf(command, sizeof(command), "rm -rf %s && cp -a %s %s", to, from, to);
    assert_int_equal(system(command), 0);
}

static uint64_t epoch_of(struct lab *lab)
{
    return store_epoch(lab->store);
}

/* ---- crashes ------------------------------------------------------------------------------- */

static void life_of_mail(struct lab *lab)
{
    put(lab, 1, "a", "1");
    put(lab, 2, "b", "2");
    mail(lab, 1, "m1", first_blob, 3000);
    mail(lab, 2, "m2", first_blob + 1, 1);
    struct store_batch *batch = lab_batch(1);
    store_batch_patch(batch, text("a"), 0, text("9"));
    store_batch_addref(batch, first_blob + 1);
    ASSERT(lab_do(lab, batch) == STORE_OK);
    put(lab, 3, "last", "one");
}

static void expect_mail(struct lab *lab)
{
    lab_expect(lab, 1, "a", "9");
    lab_expect(lab, 2, "b", "2");
    lab_expect(lab, 1, "m1", "mail");
    lab_expect_blob(lab, first_blob, (uint32_t)first_blob, 3000);
    lab_expect_blob(lab, first_blob + 1, (uint32_t)(first_blob + 1), 1);
}

static void all_is_there_after_a_crash(void **state)
{
    struct lab lab;
    wipe(NULL);
    crash_after(life_of_mail);
    for (int i = 0; i < 3; i++) { /* the next opens find what recovery itself wrote */
        open_lab(&lab);
        assert_int_equal(epoch_of(&lab), 1);
        expect_mail(&lab);
        lab_expect(&lab, 3, "last", "one");
        put(&lab, 4, "again", i == 0 ? "0" : i == 1 ? "1" : "2");
        assert_true(store_blob_new(lab.store) > first_blob + 1);
        lab_close(&lab);
    }
}

static void life_of_nothing(struct lab *lab)
{
}

/* Whoever is killed again and again keeps the index: it is walked, found good, and kept. */
static void crashes_cost_no_rebuild(void **state)
{
    struct lab lab;
    wipe(NULL);
    crash_after(life_of_mail);
    for (int i = 0; i < 7; i++)
        crash_after(life_of_nothing);
    assert_int_not_equal(access(files_path(directory, "index.bad").text, F_OK), 0);
    open_lab(&lab);
    expect_mail(&lab);
    lab_close(&lab);
}

/* An index that kills its process (here: a file that LMDB takes for its own and is not): rebuilt,
 * and nothing is lost. */
static void a_broken_index_is_rebuilt(void **state)
{
    struct lab lab;
    wipe(NULL);
    crash_after(life_of_mail);
    open_lab(&lab);
    lab_close(&lab); /* all is in the index now */
    int fd = open(files_path(directory, "index/data.mdb").text, O_RDWR);
    assert_true(fd >= 0 && pwrite(fd, "damage", 6, 16) == 6 && pwrite(fd, "damage", 6, 4112) == 6);
    close(fd);
    open_lab(&lab);
    assert_int_equal(access(files_path(directory, "index.bad").text, F_OK), 0);
    expect_mail(&lab);
    lab_expect(&lab, 3, "last", "one");
    lab_close(&lab);
}

/* Recovery that is itself interrupted, at each of its steps, then goes on as if nothing was. */
static void recovery_may_crash(void **state)
{
    struct lab lab;
    char steps[32];
    wipe(NULL);
    crash_after(life_of_mail);
    copy_volume(directory, copied);
    for (int step = 1; step < 60; step++) {
        copy_volume(copied, directory);
        pid_t child = fork();
        if (child == 0) {
            snprintf(steps, sizeof(steps), "*@%d=kill", step);
            fault_set(steps);
            open_lab(&lab);
            life_of_nothing(&lab);
            _exit(7);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        open_lab(&lab);
        assert_int_equal(epoch_of(&lab), 1);
        expect_mail(&lab);
        lab_expect(&lab, 3, "last", "one");
        lab_close(&lab);
        if (WIFEXITED(status)) {
            assert_true(step > 3);
            return;
        }
    }
    fail_msg("opening takes more steps than expected");
}

/* The last tick is cut off at every byte: all before it is there, it is whole or not at all. */
static void torn_at_every_byte(void **state)
{
    struct lab lab;
    struct image image;
    wipe(NULL);
    crash_after(life_of_mail);
    copy_volume(directory, copied);
    read_image(&image);
    assert_true(image.last > 0 && image.last < image.used);
    size_t ops_end = image.frames[image.count - 1].at;
    for (size_t cut = image.last; cut <= image.used; cut++) {
        copy_volume(copied, directory);
        uint8_t *kept = mem_dup(image.bytes, image.size);
        memset(image.bytes + cut, 0, image.size - cut);
        write_image(&image);
        open_lab(&lab);
        expect_mail(&lab);
        assert_int_equal(epoch_of(&lab), 1);
        /* Zeros may be what was written; so near the end it may be whole. */
        if (cut + 8 <= ops_end)
            lab_expect_none(&lab, 3, "last");
        if (cut >= ops_end)
            lab_expect(&lab, 3, "last", "one");
        put(&lab, 3, "next", "two");
        lab_close(&lab);
        memcpy(image.bytes, kept, image.size);
        free(kept);
    }
    free(image.bytes);
}

/* ---- damage -------------------------------------------------------------------------------- */

/* Flips a byte of that many frames of that type (0: the first), in its header or its payload. */
static void flip(uint8_t type, unsigned nth, bool header)
{
    struct image image;
    read_image(&image);
    for (size_t i = 0; i < image.count; i++) {
        if (image.frames[i].frame.type != type || nth-- != 0)
            continue;
        image.bytes[image.frames[i].at + (header ? 33 : FRAME_HEADER)] ^= 0x10;
        write_image(&image);
        free(image.bytes);
        return;
    }
    fail_msg("no such frame");
}

static enum store_result try_put(struct lab *lab, unsigned partition)
{
    struct store_batch *batch = lab_batch(partition);
    store_batch_put(batch, text("more"), text("more"));
    return lab_do(lab, batch);
}

/* OPS of a batch that was durable: its partition is read-only, the others are not touched, the
 * epoch has grown; and so it stays. */
static void flipped_ops(bool header)
{
    struct lab lab;
    wipe(NULL);
    crash_after(life_of_mail);
    flip(FRAME_OPS, 1, header); /* that of partition 2, "b" */
    for (int i = 0; i < 2; i++) {
        open_lab(&lab);
        assert_int_equal(epoch_of(&lab), 2);
        lab_expect(&lab, 1, "a", "9");
        lab_expect(&lab, 1, "m1", "mail");
        lab_expect(&lab, 3, "last", "one");
        lab_expect_none(&lab, 2, "b");
        lab_expect(&lab, 2, "m2", "mail");
        assert_int_equal(try_put(&lab, 2), STORE_CORRUPT);
        assert_int_equal(try_put(&lab, 1), STORE_OK);
        assert_int_equal(try_put(&lab, 3), STORE_OK);
        struct store_stats stats;
        store_stats(lab.store, &stats);
        assert_int_equal(stats.frozen_partitions, 1);
        lab_close(&lab);
    }
}

static void flipped_ops_payload(void **state)
{
    flipped_ops(false);
}

static void flipped_ops_header(void **state)
{
    flipped_ops(true);
}

/* A body: only that blob cannot be read. */
static void flipped_body(bool header)
{
    struct lab lab;
    struct buf bytes = {0};
    wipe(NULL);
    crash_after(life_of_mail);
    flip(FRAME_BODY, 0, header);
    open_lab(&lab);
    lab_expect(&lab, 1, "a", "9");
    lab_expect(&lab, 1, "m1", "mail");
    assert_int_equal(lab_read(&lab, first_blob, 0, 10, &bytes), STORE_CORRUPT);
    lab_expect_blob(&lab, first_blob + 1, (uint32_t)(first_blob + 1), 1);
    for (unsigned partition = 1; partition < 4; partition++)
        assert_int_equal(try_put(&lab, partition), STORE_OK);
    lab_close(&lab);
    buf_finish(&bytes);
}

static void flipped_body_payload(void **state)
{
    flipped_body(false);
}

static void flipped_body_header(void **state)
{
    flipped_body(true);
}

static unsigned count_frames(uint8_t type)
{
    struct image image;
    unsigned count = 0;
    read_image(&image);
    for (size_t i = 0; i < image.count; i++)
        count += image.frames[i].frame.type == type;
    free(image.bytes);
    return count;
}

/* Each of them: also that of the last tick but one, which must not cost the last its life. */
static void flipped_commit(void **state)
{
    struct lab lab;
    unsigned count = 1;
    for (unsigned nth = 0; nth < count; nth++) {
        wipe(NULL);
        crash_after(life_of_mail);
        count = count_frames(FRAME_COMMIT);
        flip(FRAME_COMMIT, nth, true);
        open_lab(&lab);
        expect_mail(&lab);
        lab_expect(&lab, 3, "last", "one");
        assert_int_equal(try_put(&lab, 2), STORE_OK);
        lab_close(&lab);
    }
    assert_true(count > 3);
}

static void flipped_segment_head(void **state)
{
    struct lab lab;
    wipe(NULL);
    crash_after(life_of_mail);
    flip(FRAME_SEGMENT, 0, true);
    open_lab(&lab);
    expect_mail(&lab);
    lab_expect(&lab, 3, "last", "one");
    assert_int_equal(try_put(&lab, 2), STORE_OK);
    lab_close(&lab);
}

/* ---- the disk says no ---------------------------------------------------------------------- */

static void failed_sync(const char *fault)
{
    struct lab lab;
    struct answer answers[4];
    wipe(NULL);
    open_lab(&lab);
    put(&lab, 1, "before", "1");
    fault_set(fault);
    for (unsigned i = 0; i < 4; i++) {
        struct store_batch *batch = lab_batch(1 + i / 2);
        store_batch_put(batch, text("during"), text("x"));
        lab_submit(&lab, batch, &answers[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        lab_wait(&lab, &answers[i].ran);
        assert_true(answers[i].result == STORE_UNKNOWN || answers[i].result == STORE_UNAVAILABLE);
    }
    fault_set(NULL);
    lab_expect(&lab, 1, "before", "1");
    put(&lab, 1, "after", "2");
    struct store_stats stats;
    store_stats(lab.store, &stats);
    assert_false(stats.read_only);
    lab_reopen(&lab);
    lab_expect(&lab, 1, "before", "1");
    lab_expect(&lab, 1, "after", "2");
    lab_close(&lab);
}

static void a_sync_fails(void **state)
{
    failed_sync("store.log.sync=EIO");
}

static void a_write_fails(void **state)
{
    failed_sync("store.log.write=EIO");
}

static void recovery_fails_too(void **state)
{
    struct lab lab;
    struct store_stats stats;
    wipe(NULL);
    open_lab(&lab);
    put(&lab, 1, "before", "1");
    fault_set("store.log.sync=EIO,store.segment.publish=EIO");
    struct store_batch *batch = lab_batch(1);
    store_batch_put(batch, text("during"), text("x"));
    assert_int_equal(lab_do(&lab, batch), STORE_UNKNOWN);
    fault_set(NULL);
    store_stats(lab.store, &stats);
    assert_true(stats.read_only);
    assert_true(stats.trouble[0] != '\0');
    assert_int_equal(try_put(&lab, 1), STORE_UNAVAILABLE);
    lab_reopen(&lab);
    lab_expect(&lab, 1, "before", "1");
    assert_int_equal(try_put(&lab, 1), STORE_OK);
    lab_close(&lab);
}

static void no_space(void **state)
{
    struct lab lab;
    wipe(NULL);
    fault_set("store.segment.create=ENOSPC");
    open_lab(&lab);
    assert_int_equal(try_put(&lab, 1), STORE_NOSPACE);
    assert_int_equal(try_put(&lab, 2), STORE_NOSPACE);
    fault_set(NULL);
    while (try_put(&lab, 1) != STORE_OK) {
        /* the volume looks again by itself */
    }
    put(&lab, 2, "b", "2");
    lab_reopen(&lab);
    lab_expect(&lab, 1, "more", "more");
    lab_expect(&lab, 2, "b", "2");
    lab_close(&lab);
}

/* Below the reserve: no new bodies, but what makes room still passes. */
static void little_space(void **state)
{
    struct lab lab;
    unsigned released;
    wipe(NULL);
    fault_set("store.space=ENOSPC");
    open_lab(&lab);
    put(&lab, 1, "flags", "seen"); /* its segment is there by then, and space was looked at */
    struct store_batch *batch = lab_batch(1);
    lab_blob(batch, store_blob_new(lab.store), 5, 100, &released);
    assert_int_equal(lab_do(&lab, batch), STORE_NOSPACE);
    assert_int_equal(try_put(&lab, 1), STORE_OK);
    fault_set(NULL);
    lab_close(&lab);
}

/* A checkpoint that cannot be written: the index is made anew while the volume is open. */
static void index_fails(void **state)
{
    struct lab lab;
    wipe(NULL);
    open_lab(&lab);
    put(&lab, 1, "a", "1");
    mail(&lab, 1, "m", first_blob, 500);
    lab_reopen(&lab); /* it is in the index now */
    put(&lab, 1, "b", "2");
    fault_set("store.index.commit@1=EIO");
    checkpoint_consider(local_of(lab.store), true);
    struct files_path aside = files_path(directory, "index.bad");
    while (access(aside.text, F_OK) != 0) { /* those that come in between are told so */
        enum store_result result = try_put(&lab, 2);
        assert_true(result == STORE_OK || result == STORE_UNKNOWN || result == STORE_UNAVAILABLE);
    }
    while (try_put(&lab, 2) != STORE_OK) {
    }
    fault_set(NULL);
    lab_expect(&lab, 1, "a", "1");
    lab_expect(&lab, 1, "b", "2");
    lab_expect_blob(&lab, first_blob, (uint32_t)first_blob, 500);
    lab_close(&lab);
}

static uint64_t checkpoint_of(struct lab *lab)
{
    struct store_stats stats;
    store_stats(lab->store, &stats);
    return stats.lsn_checkpoint;
}

/* The index finds the disk full: what comes is kept in the log, and written when there is room. */
static void no_space_for_the_index(void **state)
{
    static const char *const faults[] = {"store.index.write@1=ENOSPC",
                                         "store.index.commit@1=EDQUOT",
                                         "store.space=ENOSPC,store.index.commit@1=EIO"};
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        struct lab lab;
        struct store_stats stats = {0};
        wipe(NULL);
        open_lab(&lab);
        put(&lab, 1, "a", "1");
        fault_set(faults[i]);
        checkpoint_consider(local_of(lab.store), true);
        while (stats.trouble[0] == '\0') {
            assert_int_equal(try_put(&lab, 2), STORE_OK);
            store_stats(lab.store, &stats);
        }
        assert_int_equal(stats.lsn_checkpoint, 0);
        lab_expect(&lab, 1, "a", "1");
        while (checkpoint_of(&lab) == 0)
            event_base_loop(lab.base, EVLOOP_ONCE);
        fault_set(NULL);
        store_stats(lab.store, &stats);
        assert_string_equal(stats.trouble, "");
        assert_int_not_equal(access(files_path(directory, "index.bad").text, F_OK), 0);
        lab_expect(&lab, 1, "a", "1");
        lab_close(&lab);
    }
}

/* The map of the index becomes too small while readers use it. */
static void the_map_grows(void **state)
{
    struct lab lab;
    MDB_envinfo before, after;
    char key[16], value[4000];
    wipe(NULL);
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    fault_set("store.index.map=ENOMEM");
    open_lab(&lab);
    struct index *index = &local_of(lab.store)->index;
    assert_int_equal(mdb_env_info(index->env, &before), 0);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(key, sizeof(key), "k%03u", i);
        put(&lab, 1, key, value);
        if (i % 50 == 0) {
            checkpoint_consider(local_of(lab.store), true);
            lab_expect(&lab, 1, "k000", value);
        }
    }
    lab_reopen(&lab);
    index = &local_of(lab.store)->index;
    assert_int_equal(mdb_env_info(index->env, &after), 0);
    assert_true(after.me_mapsize > 4 * before.me_mapsize);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(key, sizeof(key), "k%03u", i);
        lab_expect(&lab, 1, key, value);
    }
    fault_set(NULL);
    lab_close(&lab);
}

static void life_of_large_mail(struct lab *lab)
{
    for (unsigned i = 0; i < 4; i++)
        mail(lab, 1, "m", first_blob + i, 50000);
}

/* A rebuild that cannot prove that all is there dies at every step: whenever the volume opens, the
 * epoch has grown. */
static void unproven_rebuild_may_crash(void **state)
{
    struct lab lab;
    char steps[32];
    struct files_name *names;
    size_t count;
    wipe(NULL);
    crash_after(life_of_large_mail);
    struct files_path segments = files_path(directory, "segments");
    assert_true(files_list(segments.text, ".seg", &names, &count) && count > 2);
    assert_int_equal(
        unlink(files_path(segments.text, "%s", segment_name(names[0].first).text).text), 0);
    free(names);
    wipe_path(files_path(directory, "index").text);
    copy_volume(directory, copied);
    for (int step = 1; step < 60; step++) {
        copy_volume(copied, directory);
        pid_t child = fork();
        if (child == 0) {
            snprintf(steps, sizeof(steps), "*@%d=kill", step);
            fault_set(steps);
            open_lab(&lab);
            _exit(7);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        open_lab(&lab);
        assert_true(epoch_of(&lab) > 1);
        lab_close(&lab);
        if (WIFEXITED(status)) {
            assert_true(step > 3);
            return;
        }
    }
    fail_msg("opening takes more steps than expected");
}

/* A segment in which nothing can be made out is no reason to remove it. */
static void garbage_is_kept(void **state)
{
    struct lab lab;
    uint8_t garbage[8192];
    wipe(NULL);
    crash_after(life_of_mail);
    struct files_path path = files_path(directory, "segments/%016x.seg", 0x77);
    int fd = open(path.text, O_WRONLY | O_CREAT, 0600);
    memset(garbage, 0x5a, sizeof(garbage));
    assert_int_equal(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
    close(fd);
    open_lab(&lab);
    assert_int_equal(access(path.text, F_OK), 0);
    expect_mail(&lab);
    lab_expect(&lab, 3, "last", "one");
    assert_int_equal(try_put(&lab, 2), STORE_OK);
    lab_close(&lab);
    open_lab(&lab);
    expect_mail(&lab);
    lab_expect(&lab, 2, "more", "more");
    lab_close(&lab);
}

/* ---- the directory ------------------------------------------------------------------------- */

static void refused(const char *word)
{
    struct store_local_options options = {.segment_size = segment_size};
    struct event_base *base = event_base_new();
    struct store *store;
    struct error error = {""};
    assert_false(store_local_open(base, directory, &options, &store, &error));
    assert_non_null(strstr(error.text, word));
    event_base_free(base);
}

static void locked_newer_damaged(void **state)
{
    struct lab lab;
    uint8_t bytes[64];
    wipe(NULL);
    open_lab(&lab);
    refused("another process");
    lab_close(&lab);
    int fd = open(files_path(directory, "volume").text, O_RDWR);
    assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), 64);
    bytes[4] = 2;
    assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), 64);
    refused("newer version");
    bytes[4] = 1;
    bytes[20] ^= 1;
    assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), 64);
    refused("damaged");
    close(fd);
    wipe(NULL);
    refused("No such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_there_after_a_crash),
        cmocka_unit_test(crashes_cost_no_rebuild),
        cmocka_unit_test(a_broken_index_is_rebuilt),
        cmocka_unit_test(recovery_may_crash),
        cmocka_unit_test(torn_at_every_byte),
        cmocka_unit_test(flipped_ops_payload),
        cmocka_unit_test(flipped_ops_header),
        cmocka_unit_test(flipped_body_payload),
        cmocka_unit_test(flipped_body_header),
        cmocka_unit_test(flipped_commit),
        cmocka_unit_test(flipped_segment_head),
        cmocka_unit_test(a_sync_fails),
        cmocka_unit_test(a_write_fails),
        cmocka_unit_test(recovery_fails_too),
        cmocka_unit_test(no_space),
        cmocka_unit_test(little_space),
        cmocka_unit_test(index_fails),
        cmocka_unit_test(no_space_for_the_index),
        cmocka_unit_test(the_map_grows),
        cmocka_unit_test(unproven_rebuild_may_crash),
        cmocka_unit_test(garbage_is_kept),
        cmocka_unit_test(locked_newer_damaged),
    };
    if (mkdtemp(directory) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wipe(NULL);
    wipe_path(copied);
    return failed;
}
