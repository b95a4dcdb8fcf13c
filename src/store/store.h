/*
 * The store contract: what keeps mail, behind one header for every engine (mem, local, later
 * rados). conformance.c runs against each. The design behind it, with the rules that lose mail when
 * broken, is in store/README.md.
 *
 * Words. A volume is what one struct store opens. A partition is the unit of order and atomicity:
 * an account. A batch is a set of changes to one partition that happen together or not at all. A
 * blob is an immutable run of bytes, counted by references. The LSN of a batch is its place in the
 * volume's one order.
 *
 * Threads. Every function is called on the loop's thread and every callback runs on it, exactly
 * once, later than the call that asked for it (never inside it). No call blocks on the disk, except
 * open, close and the check functions.
 *
 * Order. Batches of one partition complete in the order submitted. A batch that is known not to be
 * applied (CONFLICT, NOSPACE, UNAVAILABLE) takes with it, as UNAVAILABLE, all batches of the same
 * partition that were submitted before its completion ran: whoever prepared those did so on top of
 * it. Batches of other partitions are not touched, except those that ADDREF a blob of a failed
 * batch (CONFLICT).
 *
 * Durable. When a completion with STORE_OK runs, the batch survives kill and power loss. Reads see
 * durable state only, and see a batch at the latest when its completion runs.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/slice.h"

struct event_base;
struct evbuffer;
struct store;
struct store_batch;

enum {
    STORE_KEY_MAX = 255,
    STORE_VALUE_MAX = 65536 - 64,
    STORE_VALUE_GOOD = 4076, /* a larger one costs a page more: the engine adds 4 bytes */
    STORE_BATCH_OPERATIONS_MAX = 1000,
    STORE_BATCH_BYTES_MAX = 4 << 20, /* keys and values, beside blobs */
    STORE_BLOB_MAX = 1 << 30,
};

/* STORE_RESULT(name, text for the log, what a session does) */
#define STORE_RESULTS(X)                                                                           \
    X(OK, "ok", "answers")                                                                         \
    X(CONFLICT, "an expectation did not hold; not applied", "looks again, then tries again")       \
    X(NOSPACE, "no space; not applied", "NO or 452; the next may succeed")                         \
    X(UNAVAILABLE, "not applied; try again", "NO or 451")                                          \
    X(FENCED, "no longer the owner", "closes without an answer; all memory is dropped")            \
    X(UNKNOWN, "applied or not: recovery decides", "closes without an answer; memory is dropped")  \
    X(CORRUPT, "the bytes are damaged", "NO or [SYS/PERM] for what was asked, nothing else")

enum store_result {
#define X(name, text, session) STORE_##name,
    STORE_RESULTS(X)
#undef X
};

const char *store_result_text(enum store_result result);

/* ---- batches ------------------------------------------------------------------------------- */

/* The builder copies keys and values. Operations apply in the order added. */
struct store_batch *store_batch_create(struct id partition);
/* For a batch that was not submitted; releases its blobs' bytes. Accepts NULL. */
void store_batch_destroy(struct store_batch **batch);

void store_batch_put(struct store_batch *batch, struct slice key, struct slice value);
void store_batch_del(struct store_batch *batch, struct slice key);
/* All keys with from <= key < to (bytewise). */
void store_batch_del_range(struct store_batch *batch, struct slice from, struct slice to);
/* Overwrites part of a value that is there and long enough, else the batch is CONFLICT. */
void store_batch_patch(struct store_batch *batch, struct slice key, uint32_t offset,
                       struct slice bytes);
/* Judged against everything submitted before, and the operations of this batch before it. */
void store_batch_expect_equal(struct store_batch *batch, struct slice key, struct slice value);
void store_batch_expect_absent(struct store_batch *batch, struct slice key);

/* The last resort of a rebuild: written beside the bytes, never read otherwise. */
struct store_label {
    uint32_t mailbox;
    uint32_t uidvalidity;
    uint32_t uid;
    uint32_t date; /* seconds since 1970 */
};

/* Bytes that must stay unchanged until release(arg) is called, on any thread, exactly once. */
struct store_bytes {
    const void *data;
    size_t size; /* at most STORE_BLOB_MAX */
    void (*release)(void *arg);
    void *arg;
};

/* A new blob under an id from store_blob_new(), with one reference. */
void store_batch_blob(struct store_batch *batch, uint64_t blob, struct store_bytes bytes,
                      struct store_label label);
/* Both: CONFLICT when there is no such blob. The bytes of a blob without references are reclaimed.
 */
void store_batch_addref(struct store_batch *batch, uint64_t blob);
void store_batch_unref(struct store_batch *batch, uint64_t blob);

uint32_t store_batch_operations(const struct store_batch *batch); /* blobs count as one each */
size_t store_batch_bytes(const struct store_batch *batch);        /* beside blobs */

/* A blob id that was never given out before by this volume, also across crashes. Never 0. */
uint64_t store_blob_new(struct store *store);

typedef void store_done(void *arg, enum store_result result);

/* Takes the batch. One over the limits above is a broken invariant (assert). */
void store_submit(struct store *store, struct store_batch *batch, store_done *done, void *arg);

/* ---- reads --------------------------------------------------------------------------------- */

/* value is valid during the call. found is false with STORE_OK when there is no such key. */
typedef void store_got(void *arg, enum store_result result, bool found, struct slice value);
void store_get(struct store *store, struct id partition, struct slice key, store_got *got,
               void *arg);

struct store_item {
    struct slice key;
    struct slice value;
};

/*
 * One page: items with from <= key < to in key order, until `most` items or about 1 MiB. more: the
 * page ended early; go on from the last key with a zero byte appended. Items are valid during the
 * call. With STORE_CORRUPT the items that could be read are given, without the damaged ones.
 */
typedef void store_scanned(void *arg, enum store_result result, const struct store_item *items,
                           size_t count, bool more);
void store_scan(struct store *store, struct id partition, struct slice from, struct slice to,
                size_t most, store_scanned *scanned, void *arg);

/*
 * Part of a blob, clipped to its size. The bytes are moved out of `bytes` by the callee; what it
 * leaves is dropped. They may be references into a mapped segment: valid as long as the evbuffer
 * chain lives. The checksum of the whole blob is verified at the first read after open. A blob that
 * is not there is CORRUPT: whoever asks was told of it by a record.
 */
typedef void store_read_done(void *arg, enum store_result result, struct evbuffer *bytes);
void store_read(struct store *store, uint64_t blob, uint64_t offset, uint64_t size,
                store_read_done *done, void *arg);

/* ---- the volume ---------------------------------------------------------------------------- */

struct id store_uuid(const struct store *store);

/*
 * Grows when the engine can no longer prove that it holds the last durable LSN (restore, rebuild
 * from damaged files, skipped frames). Whoever keeps counters that a client has seen compares it
 * with the epoch it noted; on a difference it moves them forward (recovery rule 4) before the first
 * session and notes the new epoch in the same batch.
 */
uint64_t store_epoch(const struct store *store);

/*
 * Stops submissions of a partition (they answer FENCED), waits for what is on its way, then calls
 * quiet. store_resume() lets it go on. For moving an account and for fencing.
 */
void store_quiesce(struct store *store, struct id partition, void (*quiet)(void *arg), void *arg);
void store_resume(struct store *store, struct id partition);

/* Figures for status and metrics; cheap. */
struct store_stats {
    uint64_t lsn_submitted, lsn_durable, lsn_checkpoint;
    uint64_t batches, ticks, syncs, bytes_written; /* since open */
    uint64_t segments, segment_bytes, live_bytes;
    uint64_t overlay_operations, overlay_bytes;
    uint64_t checkpoints, compactions, snapshots;
    uint64_t checksum_failures;
    uint64_t scrub_bytes, scrub_rounds, scrub_damages; /* since open */
    uint64_t frozen_partitions;
    uint64_t free_bytes; /* of the file system */
    bool read_only;      /* the volume is down after a failure that recovery could not mend */
    char trouble[128];   /* "" or one line for the administrator */
};
void store_stats(const struct store *store, struct store_stats *stats);

/* Waits for all that was submitted, runs the completions, closes. Accepts NULL. */
void store_close(struct store **store);

/* ---- engines ------------------------------------------------------------------------------- */

/* Everything in memory, for tests; see store/mem/mem.h for injected faults. */
struct store *store_mem_open(struct event_base *base);

struct store_local_options {
    uint64_t segment_size;          /* 0: the default of each */
    uint32_t checkpoint_operations; /* operations in the overlay */
    uint32_t checkpoint_bytes;
    uint32_t checkpoint_ms;
    uint32_t snapshot_operations; /* operations between two snapshots */
    uint32_t journal_keep_s;      /* journal is kept this long behind the second-last snapshot */
    uint32_t scrub_s;             /* all is read and compared once in that time; 0: never */
    uint32_t compact_percent;     /* a segment below this share of live bytes is compacted */
    uint32_t reader_threads;
    bool create; /* make the volume when the directory is empty or missing */
};

/*
 * Opens the volume in a directory, after recovery; takes its exclusive lock. False with a line that
 * says what to do: locked by another process, a newer format, the disk.
 */
bool store_local_open(struct event_base *base, const char *directory,
                      const struct store_local_options *options, struct store **store,
                      struct error *error);

/* ---- check and repair ---------------------------------------------------------------------- */

/* One finding, in words an administrator understands; severity: 0 note, 1 repaired, 2 damage. */
struct store_finding {
    int severity;
    const char *file;    /* relative to the volume; "" when it concerns none */
    uint64_t offset;     /* in that file */
    struct id partition; /* zero when it concerns none or is not known */
    const char *text;
};
typedef void store_report(void *arg, const struct store_finding *finding);
typedef void store_progress(void *arg, uint64_t done, uint64_t total);

struct store_check_options {
    bool repair; /* only on a volume that nobody has open: sets the index aside and rebuilds it */
    store_report *report;
    store_progress *progress; /* may be NULL */
    void *arg;
};

/* A volume that nobody has open. True when it was checked, whatever was found. */
bool store_local_check(const char *directory, const struct store_check_options *options,
                       struct error *error);
/*
 * The same, reading only, on an open volume while it serves: runs on a thread of its own, reports
 * on the loop, then calls done. Damage found here is what a read would find.
 */
void store_check(struct store *store, const struct store_check_options *options,
                 void (*done)(void *arg), void *arg);
