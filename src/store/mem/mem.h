/*
 * The mem engine's own door: what a test does to it beside store.h.
 *
 * Time. Everything asked is answered after 1 + delay loop turns; a batch becomes durable in one
 * turn and its completion runs in the next, so that a crash fits between the two.
 *
 * Steps. Each batch made durable, each completion and each read's answer is one step. The engine
 * can be stopped after any step, as a process that was killed: nothing moves any more, no callback
 * runs; then store_mem_crash() drops what was not durable and the image is opened again.
 */
#pragma once
#include "store/store.h"

struct store_mem_image;

/* Every answer takes this many loop turns more (from now on). */
void store_mem_delay(struct store *store, unsigned turns);

/*
 * The nth submit from now (1: the next) is answered with result. CONFLICT, NOSPACE, UNAVAILABLE:
 * not applied. FENCED: neither is it, and the partition stays fenced until store_resume(). UNKNOWN:
 * applied or not as said, and what else of that partition was submitted before its completion runs
 * is UNKNOWN, not applied. Several may be pending.
 */
void store_mem_fail(struct store *store, unsigned nth, enum store_result result, bool applied);

/* From now on reads of this blob, or of this key (get and scan), answer CORRUPT. */
void store_mem_damage_blob(struct store *store, uint64_t blob);
void store_mem_damage_value(struct store *store, struct id partition, struct slice key);

/* store_epoch() grows at once, as if the volume had been restored (the next open sees it too). */
void store_mem_bump_epoch(struct store *store);

uint64_t store_mem_steps(const struct store *store); /* done since open */
/* Stops after that step (of store_mem_steps()); 0: at once. */
void store_mem_stop_at(struct store *store, uint64_t step);
bool store_mem_stopped(const struct store *store);

/* The process dies: what is not durable is gone, no callback runs, the blobs' bytes are released.
 * The image is the disk that stays; it belongs to the caller. */
struct store_mem_image *store_mem_crash(struct store **store);
/* store_close(), but the disk stays. */
struct store_mem_image *store_mem_close_keep(struct store **store);
/* Takes the image. */
struct store *store_mem_reopen(struct event_base *base, struct store_mem_image **image);
/* For an image that is not opened again. Accepts NULL. */
void store_mem_image_destroy(struct store_mem_image **image);
