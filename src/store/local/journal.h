/*
 * The journal: the OPS frames of log segments, copied unchanged and in order into files
 * VOLUME/journal/<first lsn>-<last lsn>.journal (doc/formats/journal.md), so that segments may go
 * while the history stays. A file's LSNs have no gap; where one is missing a new file begins.
 */
#pragma once
#include "store/local/files.h"
#include "store/local/frame.h"

struct journal_writer;

/* Begins a file whose first batch is `first`. NULL with an error. */
struct journal_writer *journal_create(const char *volume, struct id uuid, uint64_t first,
                                      struct error *error);
/* The next batch; its LSN must follow the one before. header: FRAME_HEADER bytes as they were. */
bool journal_add(struct journal_writer *writer, uint64_t lsn, struct slice header,
                 struct slice payload, struct error *error);
/* Ends, syncs, reads back, names the file. The writer is gone either way. */
bool journal_finish(struct journal_writer **writer, struct error *error);
void journal_abandon(struct journal_writer **writer); /* accepts NULL */

/* payload: packed operations; they are store_ops_valid(). False ends the reading. */
typedef bool journal_visit(void *arg, const struct frame *frame, struct slice payload,
                           struct error *error);
/*
 * All batches of a file with an LSN above `after`, in order. Believes nothing: false at the first
 * thing wrong (what was visited before is good) and when visit says so. visit may be NULL.
 */
bool journal_read(const char *volume, struct files_name name, struct id uuid, uint64_t after,
                  journal_visit *visit, void *arg, struct error *error);

struct files_path journal_path(const char *volume, struct files_name name);
/* By first LSN, ascending; the caller frees. */
bool journal_list(const char *volume, struct files_name **names, size_t *count);
/* Removes the files that end at or before that LSN and are older than keep_s; never the newest. */
bool journal_prune(const char *volume, uint64_t lsn, uint32_t keep_s);
