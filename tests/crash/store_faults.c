/*
 * Housekeeping of a local volume on a disk that fails: each of its steps answers with an error, all
 * the time. Mail goes on as if nothing were, the volume says what is wrong, and when the disk is
 * well again all is as it must be. A rebuild that fails leaves the volume closed and can be
 * repeated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "store_work.h"

#ifdef RESTANTE_FAULTS

static char directory[] = "store_faults.XXXXXX";
static struct event_base *base;
static struct store *store;
static struct work_account accounts[WORK_ACCOUNTS];
static unsigned to_come;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static void wipe(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct store_local_options options = {.segment_size = 256 << 10,
                                             .checkpoint_operations = 60,
                                             .checkpoint_ms = 10,
                                             .snapshot_operations = 60,
                                             .journal_keep_s = 1,
                                             .compact_percent = 70,
                                             .create = true};

static bool open_volume(struct error *error)
{
    *error = (struct error){""};
    return store_local_open(base, directory, &options, &store, error);
}

static void open_and_verify(void)
{
    struct error error;
    char wrong[256];
    if (!open_volume(&error))
        fail_msg("%s", error.text);
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++) {
        uint32_t before = accounts[i].k;
        work_finish(&accounts[i]);
        work_init(&accounts[i], i);
        work_verify(&accounts[i], store, base, wrong, sizeof(wrong));
        assert_string_equal(wrong, "");
        assert_int_equal(accounts[i].k, before);
    }
}

static void on_done(void *arg, enum store_result result)
{
    assert_int_equal(result, STORE_OK);
    to_come--;
}

static void work(unsigned changes)
{
    for (unsigned i = 0; i < changes; i++) {
        for (unsigned j = 0; j < WORK_ACCOUNTS; j++, to_come++)
            store_submit(store, work_next(&accounts[j], store), on_done, NULL);
        while (to_come > 0)
            event_base_loop(base, EVLOOP_ONCE);
    }
}

/* Housekeeping runs on threads, and a journal file goes when it is a second old: work goes on until
 * a round has come back with trouble, or without. */
static void work_until(bool trouble, const char *step)
{
    struct store_stats stats;
    uint64_t end = clock_monotonic_us() + 60 * 1000000ull;
    for (;;) {
        store_stats(store, &stats);
        if ((stats.trouble[0] != '\0') == trouble)
            break;
        if (clock_monotonic_us() > end)
            fail_msg("%s: %s", step, trouble ? "was never met" : stats.trouble);
        work(2);
    }
    assert_false(stats.read_only);
}

static void on_finding(void *arg, const struct store_finding *finding)
{
    if (finding->severity == 2)
        fail_msg("%s: %s", finding->file, finding->text);
}

static void each_step_fails(void **state)
{
    static const char *const steps[] = {
        "store.journal.write",   "store.journal.sync",    "store.journal.rename",
        "store.journal.unlink",  "store.snapshot.write",  "store.snapshot.sync",
        "store.snapshot.rename", "store.snapshot.unlink", "store.journal.sync_directory",
        "store.compact.write",   "store.segment.publish", "store.snapshot.sync_directory",
        "store.segment.rename",  "store.segment.named"};
    static const char *const errors[] = {"EIO", "ENOSPC", "EDQUOT"};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        char fault[64];
        open_and_verify();
        snprintf(fault, sizeof(fault), "%s=%s", steps[i], errors[i % 3]);
        fault_set(fault);
        work(20);
        work_until(true, steps[i]);
        fault_set(NULL);
        work_until(false, steps[i]);
        work(20);
        store_close(&store);
    }
    open_and_verify();
    store_close(&store);
    struct error error = {""};
    struct store_check_options check = {.report = on_finding};
    assert_true(store_local_check(directory, &check, &error));
}

/* Every write takes only a part, as write(2) may. */
static void short_writes(void **state)
{
    struct error error = {""};
    struct store_check_options check = {.report = on_finding};
    struct store_stats stats;
    open_and_verify();
    fault_set("store.log.short=EINTR,store.files.short=EINTR");
    work(300);
    store_stats(store, &stats);
    assert_true(stats.compactions > 0 && stats.snapshots > 0);
    assert_string_equal(stats.trouble, "");
    store_close(&store);
    open_and_verify();
    store_close(&store);
    fault_set(NULL);
    assert_true(store_local_check(directory, &check, &error));
}

/* No snapshot, and the journal cannot be written: then the log segments are all there is. */
static void no_segment_goes_without_journal(void **state)
{
    struct store_stats stats;
    char index[64];
    wipe(directory);
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++) {
        work_finish(&accounts[i]);
        work_init(&accounts[i], i);
    }
    options.snapshot_operations = 1000000000;
    open_and_verify();
    fault_set("store.journal.write=ENOSPC");
    work(400);
    store_stats(store, &stats);
    store_close(&store);
    fault_set(NULL);
    assert_true(stats.segments > 10);
    snprintf(index, sizeof(index), "%s/index", directory);
    wipe(index);
    open_and_verify();
    work(400); /* now it can, and what was held back goes */
    store_stats(store, &stats);
    assert_true(stats.compactions > 0);
    store_close(&store);
    wipe(index);
    open_and_verify();
    store_close(&store);
}

static void a_rebuild_fails(void **state)
{
    static const char *const faults[] = {"store.rebuild.begin@1=EIO", "store.rebuild.commit@1=EIO",
                                         "store.rebuild.commit@2=ENOSPC"};
    char index[64];
    struct error error;
    snprintf(index, sizeof(index), "%s/index", directory);
    for (size_t i = 0; i < 3; i++) {
        wipe(index);
        fault_set(faults[i]);
        assert_false(open_volume(&error));
        assert_string_not_equal(error.text, "");
        fault_set(NULL);
        open_and_verify();
        work(5);
        store_close(&store);
    }
}

int main(void)
{
    if (mkdtemp(directory) == NULL)
        return 1;
    base = event_base_new();
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++)
        work_init(&accounts[i], i);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_fails),
        cmocka_unit_test(short_writes),
        cmocka_unit_test(no_segment_goes_without_journal),
        cmocka_unit_test(a_rebuild_fails),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++)
        work_finish(&accounts[i]);
    event_base_free(base);
    wipe(directory);
    return failed;
}
#else
int main(void)
{
    return 77; /* meson: skipped; needs -Dfaults=true */
}
#endif
