/*
 * Snapshots: all of the index at one LSN, in a file of our own format (doc/formats/snapshot.md),
 * VOLUME/snapshots/<lsn>.snapshot. They know nothing of LMDB: tables by number, keys and values.
 * Files are written under another name, synced, read back whole and only then given their name, so
 * that a snapshot that has its name was good at least once.
 */
#pragma once
#include "base/error.h"
#include "base/id.h"
#include "base/slice.h"
#include "store/local/files.h"

struct snapshot_head {
    struct id volume;
    uint64_t lsn; /* it holds all batches up to this one and none later */
    uint64_t epoch;
    uint32_t created; /* seconds since 1970 */
};

struct snapshot_writer;

/* volume: the volume's directory. NULL with an error. */
struct snapshot_writer *snapshot_create(const char *volume, const struct snapshot_head *head,
                                        struct error *error);
/* In ascending order of (table, key), else it is a broken invariant. False: the disk. */
bool snapshot_add(struct snapshot_writer *writer, uint8_t table, struct slice key,
                  struct slice value, struct error *error);
/* Ends, syncs, verifies and names the file. The writer is gone either way. */
bool snapshot_finish(struct snapshot_writer **writer, struct error *error);
/* Throws away what was written. Accepts NULL. */
void snapshot_abandon(struct snapshot_writer **writer);

/* Called for each record, in order; false ends the reading, which then returns false. */
typedef bool snapshot_visit(void *arg, uint8_t table, struct slice key, struct slice value,
                            struct error *error);
/*
 * Reads a whole file, believing nothing. visit may be NULL: only to verify. Records are visited
 * block by block as they are found good: only a true at the end says that all of it was there.
 */
bool snapshot_read(const char *path, struct id volume, struct snapshot_head *head,
                   snapshot_visit *visit, void *arg, struct error *error);

/* LSNs of the named snapshots, ascending; the caller frees. */
bool snapshot_list(const char *volume, uint64_t **lsns, size_t *count);
struct files_path snapshot_path(const char *volume, uint64_t lsn);
/* Keeps the newest `keep`; and what a crash left unnamed goes. */
bool snapshot_prune(const char *volume, size_t keep);
