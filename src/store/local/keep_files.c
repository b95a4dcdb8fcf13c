/*
 * The parts of a housekeeping round that read segments and index and write journal and snapshots.
 * They run on the housekeeper's thread and touch of struct local only what never changes while the
 * volume serves (volume, index, options) and the flag that tells them to end soon.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "store/local/files.h"
#include "store/local/journal.h"
#include "store/local/keep.h"
#include "store/local/snapshot.h"
#include "store/local/tables.h"

static bool stopping(struct local *local, struct error *error)
{
    return atomic_load(&local->stopping) && !error_set(error, "the volume is stopping");
}

/* ---- journal ------------------------------------------------------------------------------- */

struct journaling {
    struct local *local;
    struct journal_writer *writer;
    uint64_t last; /* LSN that the journal ends with */
};

static bool add_batch(struct journaling *journaling, const struct scanned *found,
                      struct error *error)
{
    struct local *local = journaling->local;
    uint8_t header[FRAME_HEADER];
    if (journaling->writer != NULL && found->frame.lsn != journaling->last + 1 &&
        !journal_finish(&journaling->writer, error))
        return false;
    if (journaling->writer == NULL) {
        journaling->writer =
            journal_create(local->volume.path, local->volume.uuid, found->frame.lsn, error);
        if (journaling->writer == NULL)
            return false;
    }
    journaling->last = found->frame.lsn;
    frame_encode(&found->frame, header);
    return journal_add(journaling->writer, found->frame.lsn, slice_make(header, sizeof(header)),
                       found->payload, error);
}

/* The batches of one segment up to `end` and `lsn`: what stands behind is dead. */
static bool copy_segment(struct journaling *journaling, const struct segment *segment, uint64_t end,
                         uint64_t lsn, struct error *error)
{
    struct scan scan;
    struct scanned found;
    enum scan_outcome outcome;
    bool good = true;
    scan_init(&scan, segment, journaling->local->volume.uuid, 0, end);
    while (good && (outcome = scan_next(&scan, true, &found)) != SCAN_END) {
        if (stopping(journaling->local, error))
            good = false;
        else if (outcome == SCAN_FRAME && found.frame.type == FRAME_OPS &&
                 found.frame.lsn > journaling->last && found.frame.lsn <= lsn &&
                 store_ops_valid(found.payload))
            good = add_batch(journaling, &found, error);
    }
    scan_finish(&scan);
    if (!good)
        journal_abandon(&journaling->writer);
    else if (journaling->writer != NULL)
        good = journal_finish(&journaling->writer, error);
    return good;
}

static bool last_journaled(struct local *local, uint64_t *last, struct error *error)
{
    struct files_name *names;
    size_t count;
    *last = 0;
    if (!journal_list(local->volume.path, &names, &count))
        return error_errno(error, "listing the journal");
    if (count > 0)
        *last = names[count - 1].last;
    free(names);
    return true;
}

bool keep_journal(struct local *local, struct segment *const *segments, size_t count,
                  uint64_t *journaled, struct error *error)
{
    struct journaling journaling = {.local = local};
    if (!last_journaled(local, &journaling.last, error))
        return false;
    for (size_t i = 0; i + 1 < count; i++) {
        struct frame next;
        struct frame_segment info;
        size_t behind = i + 1;
        if (segments[i]->generation <= *journaled)
            continue;
        while (behind < count && !scan_segment(segments[behind], local->volume.uuid, &next, &info))
            behind++;
        if (behind == count)
            return true;
        /* One without a beginning is of a first tick that was torn, and nothing in it counts;
         * unless another says that it goes on from there. */
        if (behind > i + 1 && info.previous > segments[i]->generation)
            return error_set(error, "%s has no readable beginning",
                             segment_name(segments[i + 1]->generation).text);
        uint64_t end =
            info.previous == segments[i]->generation ? info.previous_end : segments[i]->size;
        if (next.lsn > journaling.last &&
            !copy_segment(&journaling, segments[i], end, next.lsn, error))
            return false;
        *journaled = segments[behind - 1]->generation;
        i = behind - 1;
    }
    return true;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static bool dump_table(struct local *local, MDB_txn *txn, MDB_dbi dbi, uint8_t table,
                       struct snapshot_writer *writer, struct error *error)
{
    MDB_cursor *cursor;
    MDB_val key, stored;
    int code = mdb_cursor_open(txn, dbi, &cursor);
    bool good = code == 0;
    while (good && (code = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT)) == 0) {
        struct slice name = slice_make(key.mv_data, key.mv_size);
        if (table == TABLE_META && !tables_meta_lasts(name))
            continue;
        good = !stopping(local, error) && tables_check(table, key, stored, error) &&
               snapshot_add(writer, table, name, slice_make(stored.mv_data, stored.mv_size), error);
    }
    if (code != 0 && code != MDB_NOTFOUND)
        good = error_set(error, "reading the index for a snapshot: %s", mdb_strerror(code));
    mdb_cursor_close(cursor);
    return good;
}

static bool dump(struct local *local, MDB_txn *txn, uint64_t *lsn, struct error *error)
{
    struct position position;
    if (index_get_position(&local->index, txn, &position) != INDEX_FOUND)
        return error_set(error, "the index does not say where it stands");
    struct snapshot_head head = {.volume = local->volume.uuid,
                                 .lsn = position.lsn,
                                 .epoch = local->volume.epoch,
                                 .created = clock_real_s()};
    struct snapshot_writer *writer = snapshot_create(local->volume.path, &head, error);
    if (writer == NULL)
        return false;
    bool good = dump_table(local, txn, local->index.kv, TABLE_KV, writer, error) &&
                dump_table(local, txn, local->index.blobs, TABLE_BLOBS, writer, error) &&
                dump_table(local, txn, local->index.meta, TABLE_META, writer, error);
    if (good)
        good = snapshot_finish(&writer, error);
    else
        snapshot_abandon(&writer);
    *lsn = position.lsn;
    return good;
}

/* Journal goes only behind two snapshots that are good: the new one was just read back. */
static bool prune(struct local *local, struct error *error)
{
    const char *path = local->volume.path;
    uint64_t *lsns;
    size_t count;
    struct snapshot_head head;
    if (!snapshot_list(path, &lsns, &count))
        return error_errno(error, "listing the snapshots");
    uint64_t second = count >= 2 ? lsns[count - 2] : 0;
    free(lsns);
    if (count < 2)
        return true;
    if (!snapshot_read(snapshot_path(path, second).text, local->volume.uuid, &head, NULL, NULL,
                       error))
        return error_prefix(error, "snapshot %016llx", (unsigned long long)second);
    if (!snapshot_prune(path, 2) || !journal_prune(path, second, local->options.journal_keep_s))
        return error_errno(error, "removing old snapshots and journal");
    return true;
}

bool keep_snapshot(struct local *local, uint64_t *lsn, struct error *error)
{
    MDB_txn *txn;
    bool good = false;
    pthread_rwlock_rdlock(&local->index.resize);
    int code = mdb_txn_begin(local->index.env, NULL, MDB_RDONLY, &txn);
    if (code == 0) {
        good = dump(local, txn, lsn, error);
        mdb_txn_abort(txn);
    } else {
        error_set(error, "reading the index for a snapshot: %s", mdb_strerror(code));
    }
    pthread_rwlock_unlock(&local->index.resize);
    return good && prune(local, error);
}
