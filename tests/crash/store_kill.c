/*
 * kill -9 of a local volume under load, again and again on the same volume. A child opens it,
 * compares all of it with what the acknowledged changes foretell (store_work.h), goes on with the
 * load and writes each acknowledgement to a pipe; it is killed from outside after some of them, or
 * from inside at some step of the engine (base/fault.h), which also hits recovery itself.
 *
 * RESTANTE_KILL_ROUNDS: how many lives (80).
 *
 * Nothing acknowledged may be lost, no change be there in half, no blob id come twice, and the
 * epoch must stay: a killed process loses no durable change, so no counter need jump.
 */
#include <event2/event.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "store_work.h"

enum { ROUNDS = 80, WINDOW = 6, TELL_EPOCH = 100, TELL_STATS = 101, TELL_DONE = 102 };

struct told {
    uint32_t what; /* number of an account, or TELL_ */
    uint32_t k;
    uint64_t value; /* blob id of the change, epoch, ... */
    uint64_t other;
};

/* ---- the child ----------------------------------------------------------------------------- */

struct flight {
    struct work_account *account;
    uint32_t k;
    uint64_t blob;
};

static int out;
static struct store *store;
static struct work_account accounts[WORK_ACCOUNTS];
static unsigned acknowledged;

static void tell(uint32_t what, uint32_t k, uint64_t value, uint64_t other)
{
    struct told told = {what, k, value, other};
    if (write(out, &told, sizeof(told)) != sizeof(told))
        _exit(1);
}

_Noreturn static void fail(const char *text)
{
    fprintf(stderr, "store_kill: %s\n", text);
    _exit(1);
}

static void next_change(struct work_account *account);

static void on_done(void *arg, enum store_result result)
{
    struct flight *flight = arg;
    if (result != STORE_OK)
        fail(store_result_text(result));
    tell(flight->account->number, flight->k, flight->blob, 0);
    if (++acknowledged % 50 == 0) {
        struct store_stats stats;
        store_stats(store, &stats);
        tell(TELL_STATS, 0, stats.compactions, stats.snapshots);
    }
    next_change(flight->account);
    free(flight);
}

static void next_change(struct work_account *account)
{
    struct flight *flight = calloc(1, sizeof(*flight));
    struct store_batch *batch = work_next(account, store);
    flight->account = account;
    flight->k = account->k;
    flight->blob =
        account->messages[account->k].origin == account->k ? account->messages[account->k].blob : 0;
    store_submit(store, batch, on_done, flight);
}

static const struct store_local_options options = {.segment_size = 256 << 10,
                                                   .checkpoint_operations = 100,
                                                   .checkpoint_bytes = 256 << 10,
                                                   .checkpoint_ms = 30,
                                                   .snapshot_operations = 100,
                                                   .journal_keep_s = 1,
                                                   .compact_percent = 75,
                                                   .reader_threads = 2,
                                                   .create = true};

static void open_and_verify(struct event_base *base, const char *directory, const uint32_t *acked)
{
    struct error error = {""};
    char wrong[256];
    if (!store_local_open(base, directory, &options, &store, &error))
        fail(error.text);
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++) {
        work_init(&accounts[i], i);
        work_verify(&accounts[i], store, base, wrong, sizeof(wrong));
        if (wrong[0] != '\0')
            fail(wrong);
        if (accounts[i].k < acked[i])
            fail("an acknowledged change is lost");
    }
    tell(TELL_EPOCH, 0, store_epoch(store), 0);
}

static void child(const char *directory, const uint32_t *acked, const char *fault, bool work)
{
    struct event_base *base = event_base_new();
#ifdef RESTANTE_FAULTS
    fault_set(fault);
#endif
    open_and_verify(base, directory, acked);
    for (unsigned i = 0; work && i < WORK_ACCOUNTS; i++)
        for (unsigned j = 0; j < WINDOW; j++)
            next_change(&accounts[i]);
    if (work)
        event_base_dispatch(base);
    store_close(&store);
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++)
        work_finish(&accounts[i]);
    event_base_free(base);
    tell(TELL_DONE, 0, 0, 0);
}

/* ---- the parent ---------------------------------------------------------------------------- */

static uint32_t acked[WORK_ACCOUNTS];
static uint64_t epoch, blob_max, blob_max_before, compactions, snapshots;
static uint32_t random_state = 20240607;

static uint32_t dice(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % below;
}

static int hear(const struct told *told, uint64_t *round_compactions, uint64_t *round_snapshots)
{
    if (told->what == TELL_EPOCH) {
        if (epoch != 0 && told->value != epoch) {
            fprintf(stderr, "the epoch went from %llu to %llu\n", (unsigned long long)epoch,
                    (unsigned long long)told->value);
            return 1;
        }
        epoch = told->value;
    } else if (told->what == TELL_STATS) {
        *round_compactions = told->value;
        *round_snapshots = told->other;
    } else if (told->what < WORK_ACCOUNTS) {
        if (told->k <= acked[told->what]) {
            fprintf(stderr, "change %u of account %u was acknowledged twice\n", told->k,
                    told->what);
            return 1;
        }
        acked[told->what] = told->k;
        if (told->value != 0 && told->value <= blob_max_before) {
            fprintf(stderr, "blob id %llu came again\n", (unsigned long long)told->value);
            return 1;
        }
        blob_max = told->value > blob_max ? told->value : blob_max;
    }
    return 0;
}

/* One life of the child. kill_after: acknowledgements; 0: it only verifies and closes. */
static int live(const char *directory, const char *fault, unsigned kill_after)
{
    int ends[2], status, failed = 0;
    unsigned heard = 0;
    uint64_t round_compactions = 0, round_snapshots = 0;
    struct told told = {0};
    if (pipe(ends) != 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        out = ends[1];
        child(directory, acked, fault, kill_after > 0);
        _exit(0);
    }
    close(ends[1]);
    blob_max_before = blob_max;
    while (failed == 0 && read(ends[0], &told, sizeof(told)) == sizeof(told)) {
        failed = hear(&told, &round_compactions, &round_snapshots);
        if (kill_after > 0 && told.what < WORK_ACCOUNTS && ++heard == kill_after)
            kill(pid, SIGKILL);
    }
    if (failed != 0)
        kill(pid, SIGKILL);
    close(ends[0]);
    waitpid(pid, &status, 0);
    compactions += round_compactions;
    snapshots += round_snapshots;
    bool right = kill_after > 0 ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                                : WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return failed != 0 || !right;
}

static void on_finding(void *arg, const struct store_finding *finding)
{
    if (finding->severity == 0)
        return;
    ++*(int *)arg;
    fprintf(stderr, "check: %s at %llu: %s\n", finding->file, (unsigned long long)finding->offset,
            finding->text);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

/* Every other life ends at a step of the engine: an early one, which is of recovery, any one, or
 * one around a checkpoint or a removal, where compaction would show that it was too quick. */
static void choose_fault(unsigned round, char *fault, size_t room)
{
    static const char *const steps[] = {"store.index.commit", "store.index.write",
                                        "store.segment.remove", "store.index.committed",
                                        "store.journal.rename"};
    fault[0] = '\0';
    if (round % 4 == 1)
        snprintf(fault, room, "*@%u=kill", 1 + dice(round % 8 == 1 ? 60 : 1500));
    else if (round % 2 == 1)
        snprintf(fault, room, "%s@%u=kill", steps[dice(5)], 1 + dice(10));
}

static int rounds(const char *directory, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char fault[64];
        choose_fault(i, fault, sizeof(fault));
        if (live(directory, fault, 20 + dice(600)) != 0) {
            fprintf(stderr, "round %u of %u failed (fault \"%s\")\n", i, count, fault);
            return 1;
        }
        /* After some crashes in a row the index is made anew whatever it holds (rule 5). Mostly it
         * must stand for itself, so a life that ends well comes between; at times it does not. */
        if (i % 20 < 15 && i % 3 != 0 && live(directory, "", 0) != 0) {
            fprintf(stderr, "after round %u of %u (fault \"%s\")\n", i, count, fault);
            return 1;
        }
    }
    return live(directory, "", 0);
}

int main(void)
{
    char directory[] = "store_kill.XXXXXX";
    struct error error = {""};
    if (mkdtemp(directory) == NULL)
        return 1;
    const char *wanted = getenv("RESTANTE_KILL_ROUNDS");
    unsigned count = wanted == NULL ? ROUNDS : (unsigned)strtoul(wanted, NULL, 10);
    int failed = rounds(directory, count);
    struct store_check_options check = {.report = on_finding, .arg = &failed};
    if (failed == 0 && !store_local_check(directory, &check, &error)) {
        fprintf(stderr, "check: %s\n", error.text);
        failed = 1;
    }
    printf("%u lives, changes %u %u %u %u, %llu compactions, %llu snapshots\n", count, acked[0],
           acked[1], acked[2], acked[3], (unsigned long long)compactions,
           (unsigned long long)snapshots);
    if (failed == 0 && (compactions == 0 || snapshots == 0)) {
        fprintf(stderr, "nothing was compacted or no snapshot made: this tried too little\n");
        failed = 1;
    }
    if (failed == 0)
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
