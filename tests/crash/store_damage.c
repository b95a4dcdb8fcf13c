/*
 * Flipped bytes in a local volume: in the middle of the log's tail, in the index, in a body, in a
 * snapshot, in the journal; files that are missing. Each is answered by its rule (src/store
 * README): never wrong data, never more refused than what the damage concerns, and repair brings
 * back the same keys, values and UIDs.
 *
 * Every look at a volume is taken by a child of its own, so that a crash of the library is a result
 * too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/local/files.h"
#include "store/local/frame.h"
#include "store_work.h"

static char directory[] = "store_damage.XXXXXX";

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static void wipe(void)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- looking at a volume, in a child ------------------------------------------------------- */

struct seen {
    bool ended; /* by itself */
    bool opened;
    char error[256];
    uint64_t epoch, frozen;
    uint32_t k[WORK_ACCOUNTS];
    char wrong[WORK_ACCOUNTS][200]; /* "": all of the account is as it must be */
};

struct load {
    unsigned changes; /* of each account, after the look */
    bool crash;       /* instead of closing */
};

static unsigned to_come;
static int last_result;

static void on_done(void *arg, enum store_result result)
{
    to_come--;
    last_result = result != STORE_OK ? (int)result : last_result;
}

static void work(struct work_account *accounts, struct store *store, struct event_base *base,
                 unsigned changes)
{
    for (unsigned i = 0; i < changes; i++) {
        for (unsigned j = 0; j < WORK_ACCOUNTS; j++, to_come++)
            store_submit(store, work_next(&accounts[j], store), on_done, NULL);
        while (to_come > 0)
            event_base_loop(base, EVLOOP_ONCE);
    }
    if (last_result != 0)
        _exit(3);
}

_Noreturn static void child(const struct store_local_options *options, const struct load *load,
                            int out)
{
    struct event_base *base = event_base_new();
    struct seen seen = {0};
    struct error error = {""};
    struct store *store;
    struct work_account accounts[WORK_ACCOUNTS];
    struct store_stats stats;
    (void)signal(SIGBUS, SIG_DFL); /* cmocka would go on with the next test, in this process */
    (void)signal(SIGSEGV, SIG_DFL);
    seen.opened = store_local_open(base, directory, options, &store, &error);
    snprintf(seen.error, sizeof(seen.error), "%s", error.text);
    if (seen.opened) {
        for (unsigned i = 0; i < WORK_ACCOUNTS; i++) {
            work_init(&accounts[i], i);
            work_verify(&accounts[i], store, base, seen.wrong[i], sizeof(seen.wrong[i]));
            seen.k[i] = accounts[i].k;
        }
        seen.epoch = store_epoch(store);
        store_stats(store, &stats);
        seen.frozen = stats.frozen_partitions;
        if (load != NULL)
            work(accounts, store, base, load->changes);
        for (unsigned i = 0; i < WORK_ACCOUNTS; i++)
            seen.k[i] = accounts[i].k;
    }
    seen.ended = true;
    if (load != NULL && load->crash) {
        if (write(out, &seen, sizeof(seen)) != sizeof(seen))
            _exit(2);
        kill(getpid(), SIGKILL);
    }
    if (seen.opened)
        store_close(&store);
    _exit(write(out, &seen, sizeof(seen)) == sizeof(seen) ? 0 : 2);
}

static void look(struct seen *seen, const struct store_local_options *options,
                 const struct load *load)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(options, load, ends[1]);
    close(ends[1]);
    *seen = (struct seen){0};
    if (read(ends[0], seen, sizeof(*seen)) != sizeof(*seen))
        *seen = (struct seen){0};
    close(ends[0]);
    waitpid(pid, NULL, 0);
}

static const struct store_local_options busy = {.segment_size = 512 << 10,
                                                .checkpoint_operations = 100,
                                                .checkpoint_ms = 20,
                                                .snapshot_operations = 100,
                                                .journal_keep_s = 100000,
                                                .compact_percent = 60,
                                                .create = true};
/* Nothing but the log: no checkpoint, so all is in the tail. */
static const struct store_local_options lazy = {.segment_size = 8 << 20,
                                                .checkpoint_operations = 1000000,
                                                .checkpoint_bytes = 1 << 30,
                                                .checkpoint_ms = 1000000,
                                                .snapshot_operations = 1000000,
                                                .compact_percent = 1,
                                                .create = true};

static void fill(struct seen *seen, const struct store_local_options *options, unsigned changes,
                 bool crash)
{
    wipe();
    look(seen, options, &(struct load){changes, crash});
    assert_true(seen->ended && seen->opened);
}

static void expect_all(const struct seen *seen, const struct seen *before)
{
    assert_true(seen->ended);
    assert_string_equal(seen->error, "");
    assert_true(seen->opened);
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++) {
        assert_string_equal(seen->wrong[i], "");
        assert_int_equal(seen->k[i], before->k[i]);
    }
}

/* ---- damaging files ------------------------------------------------------------------------ */

static void flip(const char *path, uint64_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static uint64_t size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

struct found_frame {
    char path[300];
    uint64_t payload;
    struct frame frame;
};

/* The nth frame (from 0) that fits, over all segments. */
static bool find_frame(unsigned nth, bool (*fits)(const struct frame *frame),
                       struct found_frame *found)
{
    struct files_name *names;
    size_t count;
    bool there = false;
    assert_true(files_list(files_path(directory, "segments").text, ".seg", &names, &count));
    for (size_t i = 0; i < count && !there; i++) {
        uint8_t header[FRAME_HEADER];
        snprintf(found->path, sizeof(found->path), "%s/segments/%016llx.seg", directory,
                 (unsigned long long)names[i].first);
        int fd = open(found->path, O_RDONLY);
        uint64_t at = 0;
        while (!there && files_read(fd, at, header, sizeof(header)) &&
               frame_decode(slice_make(header, sizeof(header)), &found->frame)) {
            found->payload = at + FRAME_HEADER;
            there = fits(&found->frame) && nth-- == 0;
            at += frame_total(found->frame.size);
        }
        close(fd);
    }
    free(names);
    return there;
}

static bool is_ops_of_account_2(const struct frame *frame)
{
    struct work_account account;
    work_init(&account, 2);
    return frame->type == FRAME_OPS && id_equal(frame->partition, account.partition);
}

static bool is_any(const struct frame *frame)
{
    return true;
}

static bool is_large_body(const struct frame *frame)
{
    return frame->type == FRAME_BODY && frame->size > 2000;
}

struct findings {
    unsigned damages, repaired;
    char text[300];
};

static void on_finding(void *arg, const struct store_finding *finding)
{
    struct findings *findings = arg;
    findings->repaired += finding->severity == 1;
    if (finding->severity == 2 && findings->damages++ == 0)
        snprintf(findings->text, sizeof(findings->text), "%s", finding->text);
}

static struct findings check(bool repair)
{
    struct findings findings = {0};
    struct error error = {""};
    struct store_check_options options = {.repair = repair, .report = on_finding, .arg = &findings};
    if (!store_local_check(directory, &options, &error))
        fail_msg("%s", error.text);
    return findings;
}

/* ---- the tail ------------------------------------------------------------------------------ */

static void byte_in_mid_tail(void **state)
{
    struct seen before, after;
    struct found_frame found;
    fill(&before, &lazy, 30, true);
    assert_true(find_frame(10, is_ops_of_account_2, &found));
    flip(found.path, found.payload + found.frame.size / 2);
    look(&after, &lazy, NULL);
    assert_true(after.ended && after.opened);
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++) {
        if (i == 2)
            continue;
        assert_string_equal(after.wrong[i], "");
        assert_int_equal(after.k[i], before.k[i]);
    }
    assert_int_equal(after.frozen, 1); /* the one that it concerns */
    assert_true(after.epoch > before.epoch);
    assert_true(size_of(found.path) > 0); /* the segment is kept */
    look(&before, &lazy, NULL);           /* and so it stays */
    assert_int_equal(before.frozen, 1);
    assert_int_equal(before.epoch, after.epoch);
}

static void torn_tail(void **state)
{
    struct seen before, after;
    struct found_frame found;
    fill(&before, &lazy, 30, true);
    /* Behind the last whole frame: the beginning of a write that was never finished. */
    uint8_t garbage[FRAME_HEADER];
    uint64_t end = 0;
    for (unsigned i = 0; find_frame(i, is_any, &found); i++)
        end = found.payload - FRAME_HEADER + frame_total(found.frame.size);
    assert_true(end > 0);
    for (unsigned i = 0; find_frame(i, is_any, &found) &&
                         found.payload - FRAME_HEADER + frame_total(found.frame.size) != end;)
        i++;
    memset(garbage, 0x5a, sizeof(garbage));
    int fd = open(found.path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, garbage, sizeof(garbage), (off_t)end), sizeof(garbage));
    close(fd);
    look(&after, &lazy, NULL);
    expect_all(&after, &before);
    assert_int_equal(after.frozen, 0);
    assert_int_equal(after.epoch, before.epoch);
}

/* ---- the index ----------------------------------------------------------------------------- */

static void index_gone(void **state)
{
    struct seen before, after;
    fill(&before, &busy, 150, false);
    char path[300];
    snprintf(path, sizeof(path), "%s/index", directory);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    look(&after, &busy, NULL);
    expect_all(&after, &before);
    assert_int_equal(after.epoch, before.epoch); /* all is provably there */
    assert_int_equal(check(false).damages, 0);
}

static void byte_in_an_index_page(void **state)
{
    struct seen before, after;
    fill(&before, &busy, 100, false);
    struct files_path path = files_path(directory, "index/data.mdb");
    for (uint64_t part = 0; part < 24; part++) {
        uint64_t pages = size_of(path.text) / 4096; /* each repair makes another file */
        assert_true(pages > 10);
        /* Anywhere in the page, and where LMDB keeps its own affairs. */
        uint64_t page = part * pages / 24;
        uint64_t offset = page * 4096 + (page * 277 + 8 * part) % (part % 2 == 0 ? 4096 : 128);
        flip(path.text, offset);
        look(&after, &busy, NULL);
        bool hidden = false; /* records that are not found: LMDB's pages have no checksums */
        for (unsigned i = 0; after.ended && after.opened && i < WORK_ACCOUNTS; i++)
            hidden = hidden || (after.wrong[i][0] != '\0' && !strstr(after.wrong[i], "damaged"));
        if (hidden) {
            struct findings findings = check(false);
            if (findings.damages == 0)
                fail_msg("page %llu, byte %llu: records are hidden and check does not say so",
                         (unsigned long long)page, (unsigned long long)(offset % 4096));
        }
        check(true);
        look(&after, &busy, NULL);
        expect_all(&after, &before);
        assert_int_equal(after.epoch, before.epoch);
    }
}

static void repair_keeps_all(void **state)
{
    struct seen before, after;
    fill(&before, &busy, 120, false);
    struct findings findings = check(true);
    assert_int_equal(findings.damages, 0);
    assert_int_equal(findings.repaired, 1);
    look(&after, &busy, &(struct load){20, false}); /* and it goes on from there */
    assert_true(after.ended);
    before = after;
    look(&after, &busy, NULL);
    expect_all(&after, &before);
}

/* ---- bodies -------------------------------------------------------------------------------- */

static void byte_in_a_body(void **state)
{
    struct seen before, after;
    struct found_frame found;
    fill(&before, &lazy, 12, false); /* few enough that nothing was expunged to make room */
    unsigned damaged = 0;
    for (unsigned i = 0; damaged == 0 && find_frame(i, is_large_body, &found); i++) {
        flip(found.path, found.payload + 1000);
        damaged = check(false).damages; /* 0: nobody needs it any more */
        if (damaged == 0)
            flip(found.path, found.payload + 1000);
    }
    assert_int_equal(damaged, 1);
    struct findings findings = check(false);
    assert_non_null(strstr(findings.text, "UID"));
    look(&after, &lazy, NULL);
    assert_true(after.ended && after.opened);
    unsigned hurt = 0;
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++) {
        assert_int_equal(after.k[i], before.k[i]);
        hurt += after.wrong[i][0] != '\0';
    }
    assert_int_equal(hurt, 1); /* the others are served as if nothing were */
    assert_int_equal(after.frozen, 0);
}

/* ---- snapshots and journal ----------------------------------------------------------------- */

static unsigned flip_all(const char *folder, const char *suffix, size_t keep_first)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", directory, folder);
    DIR *open = opendir(path);
    struct dirent *entry;
    char *names[200];
    unsigned count = 0;
    while (open != NULL && (entry = readdir(open)) != NULL && count < 200)
        if (strstr(entry->d_name, suffix) != NULL)
            names[count++] = strdup(entry->d_name);
    if (open != NULL)
        closedir(open);
    for (unsigned i = 0; i < count; i++) {
        unsigned earlier = 0;
        for (unsigned j = 0; j < count; j++)
            earlier += strcmp(names[j], names[i]) < 0;
        struct files_path file = files_path(path, "%s", names[i]);
        if (earlier >= keep_first)
            flip(file.text, size_of(file.text) / 2);
    }
    for (unsigned i = 0; i < count; i++)
        free(names[i]);
    return count;
}

static void remove_index(void)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/index", directory);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void byte_in_the_newest_snapshot(void **state)
{
    struct seen before, after;
    fill(&before, &busy, 200, false);
    assert_true(flip_all("snapshots", ".snapshot", 1) >= 2);
    assert_true(check(false).damages >= 1);
    remove_index();
    look(&after, &busy, NULL);
    expect_all(&after, &before); /* from the one before it and the journal */
    assert_int_equal(after.epoch, before.epoch);
}

static void bytes_in_all_snapshots(void **state)
{
    struct seen before, after;
    fill(&before, &busy, 200, false);
    assert_true(flip_all("snapshots", ".snapshot", 0) >= 2);
    remove_index();
    look(&after, &busy, NULL);
    expect_all(&after, &before); /* from the whole journal: its retention has not passed */
    assert_int_equal(after.epoch, before.epoch);
}

static void bytes_in_snapshots_and_journal(void **state)
{
    struct seen before, after;
    fill(&before, &busy, 300, false);
    assert_true(flip_all("snapshots", ".snapshot", 0) >= 2);
    assert_true(flip_all("journal", ".journal", 1) >= 2);
    remove_index();
    look(&after, &busy, NULL);
    assert_true(after.ended && after.opened); /* with what there is, and it says so: */
    assert_true(after.epoch > before.epoch);
}

int main(void)
{
    if (mkdtemp(directory) == NULL)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_in_mid_tail),
        cmocka_unit_test(torn_tail),
        cmocka_unit_test(index_gone),
        cmocka_unit_test(byte_in_an_index_page),
        cmocka_unit_test(repair_keeps_all),
        cmocka_unit_test(byte_in_a_body),
        cmocka_unit_test(byte_in_the_newest_snapshot),
        cmocka_unit_test(bytes_in_all_snapshots),
        cmocka_unit_test(bytes_in_snapshots_and_journal),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wipe();
    return failed;
}
