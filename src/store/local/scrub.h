/*
 * The scrub: in idle time, piece by piece, all of an open volume is read from the disk and its
 * checksums are compared, once in options.scrub_s seconds. A piece is a segment, the index, or the
 * snapshots with the journal; how far it came stands in the file `scrub` of the volume, so that it
 * goes on there after a restart. One piece at a time, on the checker's thread.
 *
 * What it finds is logged (scrub_damage), counted (store_stats, /metrics) and stays in
 * stats.trouble until a round finds nothing, or a repair.
 */
#pragma once
#include "store/local/local_priv.h"

struct scrub;

/* On the loop, when the volume serves. NULL when options.scrub_s is 0. */
struct scrub *scrub_create(struct local *local);
/* On the loop, when the checker has ended and its items were run. Accepts NULL. */
void scrub_destroy(struct scrub **scrub);
/* After a repair: the next round begins anew. */
void scrub_forget(const char *directory);
