/*
 * Compaction of bodies: what is still referenced in some segments is copied into one cold segment.
 * Runs on the housekeeper's thread; the loop then enters the new places and, after a checkpoint
 * that holds them, removes the old files (keep.c).
 */
#pragma once
#include "store/local/local_priv.h"

struct compaction {
    struct local *local; /* its volume, index, stopping: what a thread may touch */
    struct segment **victims;
    size_t victim_count;
    uint64_t lsn; /* of the checkpoint: goes into frames as what was durable */
    /* results */
    struct segment *cold;    /* published, one reference; NULL when there was nothing to copy */
    struct blob_move *moves; /* the caller frees */
    size_t move_count;
    uint64_t damaged; /* generation of a victim with a bad body; it keeps that body; 0: none */
};

/* False when the disk or the index failed, or the volume is stopping: nothing is left behind. */
bool compact(struct compaction *compaction, struct error *error);
