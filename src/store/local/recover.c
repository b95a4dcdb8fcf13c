/*
 * Recovery, at open and after a failed write, by the five rules of store/README.md: find the parts
 * of the log that count, go through them (replay.c), make the tail durable in a new segment, and
 * only then let anybody see anything. Runs on one thread with all others of the volume idle.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/files.h"
#include "store/local/local_priv.h"

struct plan {
    struct extent *extents; /* newest first */
    size_t count, room;
};

/* ---- what is in the directory -------------------------------------------------------------- */

static void forget_all(struct local *local)
{
    struct segment *segment;
    layer_finish(&local->active);
    checkpoint_abandon(local);
    local_blobs_clear(local);
    while ((segment = RB_ROOT(&local->segments)) != NULL) {
        RB_REMOVE(segments, &local->segments, segment);
        segment_drop(&segment);
    }
    local->frozen_count = 0;
    local->log_bytes = 0;
}

/* Only what can be read and is zeros from end to end was made ahead of need. */
static bool is_blank(struct segment *segment)
{
    static const uint8_t zeros[4096];
    uint8_t bytes[sizeof(zeros)];
    for (uint64_t at = 0; at < segment->size; at += sizeof(bytes)) {
        uint64_t left = segment->size - at;
        size_t size = left < sizeof(bytes) ? (size_t)left : sizeof(bytes);
        if (!files_read(segment->fd, at, bytes, size)) {
            segment->damaged = true;
            return false;
        }
        if (memcmp(bytes, zeros, size) != 0)
            return false;
    }
    return true;
}

/* Kind, and whether it was ever written. */
static void look_into(struct local *local, struct segment *segment, bool *used)
{
    struct frame frame;
    struct frame_segment info;
    segment->begun = scan_segment(segment, local->volume.uuid, &frame, &info);
    *used = segment->begun || !is_blank(segment);
    if (!segment->begun)
        return;
    segment->kind = (enum segment_kind)info.kind;
    segment->previous = info.previous;
    segment->previous_end = info.previous_end;
}

static bool take_segment(struct local *local, uint64_t generation, struct error *error)
{
    bool used;
    struct segment *segment = segment_open(&local->volume, generation);
    if (segment == NULL)
        return error_errno(error, "%s/segments/%s", local->volume.path,
                           segment_name(generation).text);
    if (generation > atomic_load(&local->generation))
        atomic_store(&local->generation, generation);
    look_into(local, segment, &used);
    if (used) {
        local_segment_add(local, segment);
        return true;
    }
    segment_drop(&segment);
    return segment_remove_file(&local->volume, generation) ||
           error_errno(error, "%s/segments/%s", local->volume.path, segment_name(generation).text);
}

static bool list_segments(struct local *local, struct error *error)
{
    int fd = openat(local->volume.directory, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    uint64_t generation;
    bool good = true;
    if (directory == NULL)
        return error_errno(error, "%s/segments", local->volume.path);
    while (good && (entry = readdir(directory)) != NULL) {
        size_t size = strlen(entry->d_name);
        if (segment_name_parse(entry->d_name, &generation))
            good = take_segment(local, generation, error);
        else if (size > 4 && strcmp(entry->d_name + size - 4, ".new") == 0)
            unlinkat(local->volume.segments, entry->d_name, 0);
    }
    closedir(directory);
    return good;
}

/* ---- what is in the index ------------------------------------------------------------------ */

static void each_live(void *arg, struct slice name, struct slice value)
{
    struct segment *segment = name.size == 8 ? local_segment(arg, bytes_get_be64(name.data)) : NULL;
    if (segment != NULL && value.size == 8)
        segment->live = segment->live_indexed = bytes_get_le64(value.data);
}

static void each_damaged(void *arg, struct slice name, struct slice value)
{
    struct segment *segment = name.size == 8 ? local_segment(arg, bytes_get_be64(name.data)) : NULL;
    if (segment != NULL)
        segment->damaged = true;
}

static void each_frozen(void *arg, struct slice name, struct slice value)
{
    struct id partition = {0};
    memcpy(partition.bytes, name.data,
           name.size < sizeof(partition.bytes) ? name.size : sizeof(partition.bytes));
    local_freeze(arg, partition);
}

/* ABSENT: it does not say where it stands. It is new, or the making of it was not finished: in
 * both cases what it holds does not count. */
static enum index_found read_index(struct local *local)
{
    MDB_txn *txn;
    if (mdb_txn_begin(local->index.env, NULL, MDB_RDONLY, &txn) != 0)
        return INDEX_FAILED;
    enum index_found found = index_get_position(&local->index, txn, &local->checkpoint);
    if (found == INDEX_FOUND &&
        (index_each_mark(&local->index, txn, "live", each_live, local) != 0 ||
         index_each_mark(&local->index, txn, "damaged", each_damaged, local) != 0 ||
         index_each_mark(&local->index, txn, "frozen", each_frozen, local) != 0))
        found = INDEX_CORRUPT;
    local->index_txn = mdb_txn_id(txn);
    mdb_txn_abort(txn);
    return found;
}

static void drop_reader_txns(struct local *local)
{
    for (uint32_t i = 0; i < local->options.reader_threads; i++) {
        if (local->reader_txns[i] != NULL)
            mdb_txn_abort(local->reader_txns[i]);
        local->reader_txns[i] = NULL;
    }
}

static bool discard(struct local *local, struct error *error)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    struct files_path index = files_path(local->volume.path, "index");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (unlink(files_path(index.text, "%s", names[i]).text) != 0 && errno != ENOENT)
            return error_errno(error, "%s/%s", index.text, names[i]);
    return true;
}

/* unfinished: nobody wants to see it again. */
static bool make_index(struct local *local, bool unfinished, struct error *error)
{
    drop_reader_txns(local);
    if (local->index.env != NULL)
        index_close(&local->index);
    if (!unfinished)
        log_warn("store_index_rebuild", "volume=%s", id_text(local->volume.uuid).text);
    if (!(unfinished ? discard(local, error) : index_set_aside(local->volume.path, error)) ||
        !index_open(&local->index, local->volume.path, error) || !local_rebuild(local, error))
        return false;
    return read_index(local) == INDEX_FOUND ||
           error_set(error, "%s/index cannot be read", local->volume.path);
}

static bool get_index(struct local *local, bool rebuild, struct error *error)
{
    struct error why;
    if (!rebuild && local->index.env == NULL &&
        !index_open(&local->index, local->volume.path, &why)) {
        log_error("store_index_damaged", "volume=%s reason=%s", id_text(local->volume.uuid).text,
                  log_value(slice_str(why.text)).text);
        rebuild = true;
    }
    enum index_found found = rebuild ? INDEX_FAILED : read_index(local);
    if (found == INDEX_FOUND)
        return true;
    local->frozen_count = 0;
    return make_index(local, found == INDEX_ABSENT, error);
}

/* ---- the parts of the log that count ------------------------------------------------------- */

static struct segment *log_segment_below(struct local *local, uint64_t generation)
{
    struct segment *segment, *found = NULL;
    RB_FOREACH (segment, segments, &local->segments)
        if (segment->kind == SEGMENT_LOG && segment->generation < generation)
            found = segment;
    return found;
}

/* From the newest segment back to where the checkpoint stands: each names the one that it continues
 * and where that ends. */
static void plan_extents(struct local *local, struct plan *plan)
{
    const struct position *from = &local->checkpoint;
    struct segment *segment = log_segment_below(local, UINT64_MAX);
    uint64_t end = UINT64_MAX;
    while (segment != NULL && segment->generation >= from->generation) {
        if (plan->count == plan->room) {
            plan->room = plan->room == 0 ? 16 : plan->room * 2;
            plan->extents = mem_grow(plan->extents, plan->room, sizeof(*plan->extents));
        }
        bool first = segment->generation == from->generation;
        plan->extents[plan->count++] = (struct extent){segment, first ? from->offset : 0, end};
        if (first)
            return;
        struct segment *previous = local_segment(local, segment->previous);
        bool known = segment->begun && previous != NULL;
        end = known ? segment->previous_end : UINT64_MAX;
        segment = known ? previous : log_segment_below(local, segment->generation);
    }
}

static void each_frame(struct local *local, struct plan *plan, bool payloads,
                       void (*each)(struct replay *replay, const struct scanned *found,
                                    enum scan_outcome outcome, struct segment *segment),
                       struct replay *replay)
{
    struct scan scan;
    struct scanned found;
    enum scan_outcome outcome;
    for (size_t i = plan->count; i-- > 0 && !replay->failed;) {
        struct extent *extent = &plan->extents[i];
        scan_init(&scan, extent->segment, local->volume.uuid, extent->start, extent->end);
        while ((outcome = scan_next(&scan, payloads, &found)) != SCAN_END && !replay->failed)
            each(replay, &found, outcome, extent->segment);
        scan_finish(&scan);
    }
}

static void note_proven(struct replay *replay, const struct scanned *found,
                        enum scan_outcome outcome, struct segment *segment)
{
    if (outcome != SCAN_BAD && found->frame.durable > replay->proven)
        replay->proven = found->frame.durable;
    if (outcome == SCAN_FRAME && found->frame.type == FRAME_COMMIT &&
        found->frame.lsn > replay->proven && fault_hit("control.trust") != 0)
        replay->proven = found->frame.lsn;
}

/* A long log, after a rebuild: into the index by pieces, only what is proven. */
static void commit_some(struct replay *replay)
{
    struct local *local = replay->local;
    struct checkpoint checkpoint = {.layer = &local->active, .position = replay->end};
    struct segment *segment;
    if (local->active.count + local->dirty_count < LOCAL_OVERLAY_COUNT / 2 &&
        local->active.bytes < LOCAL_OVERLAY_BYTES / 2)
        return;
    if (replay->txn != NULL)
        mdb_txn_abort(replay->txn);
    replay->txn = NULL;
    checkpoint.blob_count = local_blobs_freeze(local, &checkpoint.blobs);
    struct live_change *live = NULL;
    RB_FOREACH (segment, segments, &local->segments) {
        live = mem_grow(live, checkpoint.live_count + 1, sizeof(*live));
        live[checkpoint.live_count++] = (struct live_change){segment->generation, segment->live};
        segment->live_indexed = segment->live;
    }
    checkpoint.live = live;
    replay->failed = replay->failed || index_commit(&local->index, &checkpoint) != 0;
    local->checkpoint = checkpoint.position;
    local->index_txn = checkpoint.index_txn;
    local_blobs_thaw(local, checkpoint.blobs, checkpoint.blob_count);
    layer_finish(&local->active);
    layer_init(&local->active);
    free(checkpoint.blobs);
    free(live);
}

static void replay_each(struct replay *replay, const struct scanned *found,
                        enum scan_outcome outcome, struct segment *segment)
{
    bool ends_tick = outcome == SCAN_FRAME && found->frame.type == FRAME_COMMIT;
    replay_frame(replay, found, outcome, segment);
    if (ends_tick && !replay->stopped && replay->tail.size == 0 && replay->missing_count == 0)
        commit_some(replay);
}

/* ---- rule 1: the tail becomes durable ------------------------------------------------------ */

static void add_commit(struct replay *replay)
{
    uint8_t payload[FRAME_COMMIT_PAYLOAD] = {0};
    struct scanned found = {0};
    size_t count = replay->partitions.size / sizeof(struct id);
    struct buf whole = {0};
    bytes_put_le64(payload, replay->last - count + 1);
    bytes_put_le32(payload + 8, (uint32_t)count);
    buf_add(&whole, payload, sizeof(payload));
    buf_add_slice(&whole, buf_slice(&replay->partitions));
    found.frame = (struct frame){.type = FRAME_COMMIT,
                                 .volume = replay->local->volume.uuid,
                                 .generation = replay->generation,
                                 .lsn = replay->last,
                                 .durable = replay->proven,
                                 .size = (uint32_t)whole.size,
                                 .raw_size = (uint32_t)whole.size,
                                 .crc = crc32c(0, whole.data, whole.size)};
    frame_encode(&found.frame, buf_extend(&replay->tail, FRAME_HEADER));
    buf_add_slice(&replay->tail, buf_slice(&whole));
    buf_finish(&whole);
}

static void make_head(const struct replay *replay, uint8_t *out)
{
    struct frame_segment info = {replay->end.generation, replay->end.offset, SEGMENT_LOG};
    struct frame frame = {.type = FRAME_SEGMENT,
                          .volume = replay->local->volume.uuid,
                          .generation = replay->generation,
                          .lsn = replay->proven,
                          .durable = replay->proven,
                          .size = FRAME_SEGMENT_PAYLOAD,
                          .raw_size = FRAME_SEGMENT_PAYLOAD};
    frame_segment_encode(&info, out + FRAME_HEADER);
    frame.crc = crc32c(0, out + FRAME_HEADER, FRAME_SEGMENT_PAYLOAD);
    frame_encode(&frame, out);
}

static bool write_at(const struct segment *segment, uint64_t offset, struct slice bytes)
{
    if ((errno = fault_hit("store.recover.write")) != 0)
        return false;
    while (bytes.size > 0) {
        ssize_t written = pwrite(segment->fd, bytes.data, bytes.size, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        offset += (uint64_t)written;
        bytes = slice_sub(bytes, (size_t)written, bytes.size);
    }
    return true;
}

static bool rewrite_tail(struct replay *replay, struct error *error)
{
    uint8_t head[FRAME_HEADER + FRAME_SEGMENT_PAYLOAD];
    struct local *local = replay->local;
    struct blob *blob;
    add_commit(replay);
    make_head(replay, head);
    uint64_t size = sizeof(head) + replay->tail.size;
    struct segment *segment = segment_create(&local->volume, replay->generation, size, true);
    if (segment == NULL || !write_at(segment, 0, slice_make(head, sizeof(head))) ||
        !write_at(segment, sizeof(head), buf_slice(&replay->tail)) ||
        !segment_publish(&local->volume, segment)) {
        error_errno(error, "%s: the end of the log cannot be made durable", local->volume.path);
        segment_drop(&segment);
        return false;
    }
    segment->begun = true;
    segment->previous = replay->end.generation;
    segment->previous_end = replay->end.offset;
    local_segment_add(local, segment);
    RB_FOREACH (blob, blobs, &local->blobs)
        if (blob->place.segment == replay->generation && blob->refs > 0)
            local_blob_live(local, &blob->place, true);
    replay->end = (struct position){replay->last, replay->generation, size};
    log_info("store_tail_rewritten", "volume=%s batches=%llu bytes=%llu",
             id_text(local->volume.uuid).text, (unsigned long long)(replay->last - replay->proven),
             (unsigned long long)size);
    return true;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static bool go_through(struct replay *replay, struct error *error)
{
    struct local *local = replay->local;
    struct plan plan = {0};
    plan_extents(local, &plan);
    each_frame(local, &plan, false, note_proven, replay);
    each_frame(local, &plan, true, replay_each, replay);
    free(plan.extents);
    if (!replay->failed)
        replay_end(replay);
    if (replay->failed)
        return error_set(error, "%s/index cannot be read or written", local->volume.path);
    if (replay->doubtful) {
        local->volume.epoch++;
        if (!volume_save(&local->volume, error))
            return false;
    }
    return replay->tail.size == 0 || rewrite_tail(replay, error);
}

/* Names too are what the page cache says: whoever made them may have died before their sync. */
static bool sync_names(struct local *local, struct error *error)
{
    const char *path = local->volume.path;
    return ((errno = fault_hit("store.recover.names")) == 0 && fsync(local->volume.segments) == 0 &&
            files_sync_directory(files_path(path, "journal").text) &&
            files_sync_directory(files_path(path, "snapshots").text)) ||
           error_errno(error, "%s: its directories cannot be synced", path);
}

static bool attempt(struct local *local, bool rebuild, bool *index_bad, struct error *error)
{
    forget_all(local);
    if (!sync_names(local, error) || !list_segments(local, error) ||
        !get_index(local, rebuild, error))
        return false;
    struct replay replay = {.local = local,
                            .error = error,
                            .proven = local->checkpoint.lsn,
                            .last = local->checkpoint.lsn,
                            .end = local->checkpoint};
    replay.generation = local_next_generation(local);
    bool good = go_through(&replay, error);
    *index_bad = replay.failed;
    if (good) {
        local->tail = replay.end;
        local->tail.lsn = local->lsn = replay.last;
    }
    replay_finish(&replay);
    return good;
}

bool recover(struct local *local, bool rebuild, struct error *error)
{
    bool index_bad = false;
    if (attempt(local, rebuild, &index_bad, error))
        return true;
    if (!index_bad || rebuild)
        return false;
    *error = (struct error){0};
    return attempt(local, true, &index_bad, error);
}
