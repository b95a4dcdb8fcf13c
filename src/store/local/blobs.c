/*
 * What is known in memory of blobs: those that batches on their way change, those that the index
 * does not have yet as they are, and a bounded number of others, so that a warm body is read
 * without asking the index and a checksum is verified once. There is one struct blob per blob, not
 * one per layer: the counts of references by durable and by submitted batches stand side by side,
 * so compaction can move a body while batches count on it.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

static int blob_compare(struct blob *a, struct blob *b)
{
    return a->id < b->id ? -1 : a->id > b->id;
}

RB_GENERATE(blobs, blob, tree, blob_compare)

struct blob *local_blob(struct local *local, uint64_t id)
{
    struct blob search = {.id = id};
    return RB_FIND(blobs, &local->blobs, &search);
}

struct blob *local_blob_add(struct local *local, uint64_t id)
{
    struct blob *blob = MEM_NEW(struct blob);
    blob->id = id;
    TAILQ_INIT(&blob->claims);
    ASSERT(RB_INSERT(blobs, &local->blobs, blob) == NULL);
    return blob;
}

static bool is_held(const struct blob *blob)
{
    return blob->pins > 0 || blob->dirty || blob->frozen || !TAILQ_EMPTY(&blob->claims);
}

static void forget(struct local *local, struct blob *blob)
{
    if (blob->listed) {
        TAILQ_REMOVE(&local->clean_blobs, blob, clean);
        local->clean_count--;
    }
    if (blob->dirty) {
        TAILQ_REMOVE(&local->dirty_blobs, blob, in_dirty);
        local->dirty_count--;
    }
    RB_REMOVE(blobs, &local->blobs, blob);
    free(blob);
}

/* A held blob stays on the list until it comes to its end: moving it at every change would cost
 * more than passing over it. */
static void shrink(struct local *local)
{
    struct blob *blob;
    while (local->clean_count > LOCAL_CLEAN_BLOBS) {
        blob = TAILQ_FIRST(&local->clean_blobs);
        if (!is_held(blob)) {
            forget(local, blob);
            continue;
        }
        TAILQ_REMOVE(&local->clean_blobs, blob, clean);
        blob->listed = false;
        local->clean_count--;
    }
}

void local_blob_settle(struct local *local, struct blob *blob)
{
    if (is_held(blob))
        return;
    if (!blob->known || blob->refs == 0) {
        forget(local, blob);
        return;
    }
    if (!blob->listed) {
        TAILQ_INSERT_TAIL(&local->clean_blobs, blob, clean);
        blob->listed = true;
        local->clean_count++;
        shrink(local);
    }
}

struct blob *local_blob_loaded(struct local *local, uint64_t id, const struct blob_record *record)
{
    struct blob *blob = local_blob(local, id);
    if (blob == NULL)
        blob = local_blob_add(local, id);
    if (blob->known)
        return blob;
    blob->known = true;
    blob->place = record->place;
    blob->refs = record->refs;
    blob->next = record->refs;
    return blob;
}

void local_blob_dirty(struct local *local, struct blob *blob)
{
    if (blob->dirty)
        return;
    blob->dirty = true;
    TAILQ_INSERT_TAIL(&local->dirty_blobs, blob, in_dirty);
    local->dirty_count++;
}

void local_blob_live(struct local *local, const struct place *place, bool alive)
{
    struct segment *segment = local_segment(local, place->segment);
    if (segment == NULL)
        return;
    if (alive)
        segment->live += place->size;
    else
        segment->live -= segment->live < place->size ? segment->live : place->size;
}

void local_blob_count(struct local *local, struct blob *blob, int64_t delta)
{
    bool before = blob->refs > 0;
    int64_t refs = (int64_t)blob->refs + delta;
    blob->refs = refs < 0 ? 0 : (uint32_t)refs;
    if (before != (blob->refs > 0))
        local_blob_live(local, &blob->place, !before);
    local_blob_dirty(local, blob);
}

void local_blobs_clear(struct local *local)
{
    struct blob *blob;
    while ((blob = RB_ROOT(&local->blobs)) != NULL)
        forget(local, blob);
}

size_t local_blobs_freeze(struct local *local, struct blob_change **changes)
{
    struct blob *blob;
    size_t count = 0;
    *changes = mem_array(local->dirty_count + 1, sizeof(**changes));
    while ((blob = TAILQ_FIRST(&local->dirty_blobs)) != NULL) {
        TAILQ_REMOVE(&local->dirty_blobs, blob, in_dirty);
        (*changes)[count++] = (struct blob_change){blob->id, {blob->place, blob->refs}};
        blob->dirty = false;
        blob->frozen = true;
    }
    ASSERT(count == local->dirty_count);
    local->dirty_count = 0;
    return count;
}

void local_blobs_thaw(struct local *local, const struct blob_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct blob *blob = local_blob(local, changes[i].blob);
        if (blob == NULL)
            continue;
        blob->frozen = false;
        local_blob_settle(local, blob);
    }
}

/* ---- compaction's moves -------------------------------------------------------------------- */

struct moving {
    struct local *local;
    const struct blob_move *moves;
    size_t count;
    void (*done)(void *arg, size_t moved);
    void *arg;
};

static bool same_place(const struct place *a, const struct place *b)
{
    return a->segment == b->segment && a->offset == b->offset;
}

static void enter_moves(struct load *load, bool ok)
{
    struct moving *moving = load->arg;
    struct local *local = moving->local;
    size_t moved = 0;
    for (size_t i = 0; ok && i < moving->count; i++) {
        const struct blob_move *move = &moving->moves[i];
        struct blob *blob = local_blob(local, move->blob);
        if (blob == NULL || !blob->known || blob->refs == 0 ||
            !same_place(&blob->place, &move->from))
            continue;
        ASSERT(local_segment(local, move->to.segment) != NULL);
        local_blob_live(local, &blob->place, false);
        blob->place = move->to;
        local_blob_live(local, &blob->place, true);
        local_blob_dirty(local, blob);
        moved++;
    }
    load_destroy(&load);
    moving->done(moving->arg, moved);
    free(moving);
}

void local_blobs_moved(struct local *local, const struct blob_move *moves, size_t count,
                       void (*done)(void *arg, size_t moved), void *arg)
{
    struct moving *moving = MEM_NEW(struct moving);
    *moving = (struct moving){local, moves, count, done, arg};
    struct load *load = load_create(local, enter_moves, moving);
    for (size_t i = 0; i < count; i++)
        load_blob(load, moves[i].blob);
    load_start(load);
}
