/*
 * Housekeeping of an open volume, in rounds after checkpoints: journal, snapshots, compaction,
 * removal of what is not needed any more. One round at a time, on the housekeeper's thread.
 */
#pragma once
#include "store/local/local_priv.h"

struct keeper;

/* On the loop, when the volume serves. */
struct keeper *keeper_create(struct local *local);
/* On the loop, when the housekeeper has ended and its items were run. Accepts NULL. */
void keeper_destroy(struct keeper **keeper);

/* Thread side of the rounds, also for tests: */

/* Copies the batches of log segments (ascending; the last one is only looked at for where the one
 * before it ends) into the journal, those that it lacks. *journaled: the generation up to which it
 * has all. False: the disk, or stopping. */
bool keep_journal(struct local *local, struct segment *const *segments, size_t count,
                  uint64_t *journaled, struct error *error);
/* A snapshot of the index as it is; *lsn: of it. Prunes older ones and the journal. */
bool keep_snapshot(struct local *local, uint64_t *lsn, struct error *error);
