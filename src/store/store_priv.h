/*
 * For engines, recovery, compaction and tools: the table of functions an engine fills, what is in
 * a batch, and the packed operations that stand in batches and in OPS frames alike
 * (doc/formats/store-ops.md).
 */
#pragma once
#include "base/buf.h"
#include "store/store.h"

struct store_methods {
    const char *name;
    uint64_t (*blob_new)(struct store *store);
    void (*submit)(struct store *store, struct store_batch *batch, store_done *done, void *arg);
    void (*get)(struct store *store, struct id partition, struct slice key, store_got *got,
                void *arg);
    void (*scan)(struct store *store, struct id partition, struct slice from, struct slice to,
                 size_t most, store_scanned *scanned, void *arg);
    void (*read)(struct store *store, uint64_t blob, uint64_t offset, uint64_t size,
                 store_read_done *done, void *arg);
    struct id (*uuid)(const struct store *store);
    uint64_t (*epoch)(const struct store *store);
    void (*quiesce)(struct store *store, struct id partition, void (*quiet)(void *arg), void *arg);
    void (*resume)(struct store *store, struct id partition);
    void (*stats)(const struct store *store, struct store_stats *stats);
    void (*check)(struct store *store, const struct store_check_options *options,
                  void (*done)(void *arg), void *arg);
    void (*close)(struct store *store); /* frees it */
};

/* The first member of every engine's own struct. */
struct store {
    const struct store_methods *methods;
};

enum {
    STORE_SCAN_BYTES = 1 << 20,             /* a page of a scan ends at about this */
    STORE_SCAN_KEY_MAX = STORE_KEY_MAX + 1, /* "the last key with a zero byte appended" */
    STORE_OPS_MAX = STORE_BATCH_BYTES_MAX + STORE_BATCH_OPERATIONS_MAX * 48, /* packed size */
};

/* ---- packed operations --------------------------------------------------------------------- */

enum store_op_kind {
    STORE_OP_PUT = 1,
    STORE_OP_DEL = 2,
    STORE_OP_DEL_RANGE = 3,
    STORE_OP_PATCH = 4,
    STORE_OP_EXPECT_EQUAL = 5,
    STORE_OP_EXPECT_ABSENT = 6,
    STORE_OP_BLOB = 7,
    STORE_OP_ADDREF = 8,
    STORE_OP_UNREF = 9,
};

/* Slices point into the packed bytes. */
struct store_op {
    enum store_op_kind kind;
    struct slice key;         /* DEL_RANGE: from; none for the blob kinds */
    struct slice value;       /* PUT, EXPECT_EQUAL: the value; PATCH: the bytes; DEL_RANGE: to */
    uint32_t offset;          /* PATCH */
    uint64_t blob;            /* BLOB, ADDREF, UNREF */
    uint64_t size;            /* BLOB: its bytes */
    struct store_label label; /* BLOB */
};

/*
 * Walks packed operations. Nothing is believed: kinds, lengths, the limits of store.h. The first
 * thing wrong sets failed and ends the walk; what was given before is whole but must not be applied
 * without the rest, so a reader of files walks twice: store_ops_valid(), then to apply.
 */
struct store_ops {
    struct cursor cursor;
    uint32_t count; /* operations given so far */
    size_t bytes;   /* of their keys and values */
    bool failed;
};

struct store_ops store_ops_make(struct slice packed);
bool store_ops_next(struct store_ops *ops, struct store_op *op);
bool store_ops_valid(struct slice packed);

/* ---- inside a batch ------------------------------------------------------------------------ */

struct store_batch_blob {
    uint64_t blob;
    struct store_bytes bytes; /* release NULL: nothing to release, or it was done */
    struct store_label label;
};

struct store_batch {
    struct id partition;
    struct buf ops; /* packed */
    uint32_t operations;
    size_t bytes;                   /* of keys and values */
    struct store_batch_blob *blobs; /* in the order of the BLOB operations */
    size_t blob_count, blob_room;
};

static inline struct store_ops store_batch_ops(const struct store_batch *batch)
{
    return store_ops_make(buf_slice(&batch->ops));
}

/* The blob of that id among the batch's new ones, or NULL. */
struct store_batch_blob *store_batch_find_blob(const struct store_batch *batch, uint64_t blob);
/* Gives the blobs' bytes back early; store_batch_destroy() does so too. */
void store_batch_release(struct store_batch *batch);
