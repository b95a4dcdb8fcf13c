/*
 * The index made anew from what does not depend on it: the newest good snapshot, the journal behind
 * it, and the places of bodies from the frame headers of all segments. recover() then goes on
 * through the log segments, as after any crash.
 *
 * A batch that is missing (a damaged journal file, say) is named in the log and passed over;
 * operations that do not hold without it are passed over too. Then nothing proves any more that the
 * counters clients have seen are here, and the epoch grows (recovery rule 4).
 *
 * The position is written last. Until then the index says nothing of where it stands, which
 * recover() takes for "to be made anew": a crash in here costs the time, nothing else.
 */
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/journal.h"
#include "store/local/snapshot.h"
#include "store/local/tables.h"

enum { COMMIT_AFTER = 4000 }; /* writes; far below where LMDB begins to spill */

struct located {
    uint64_t blob;
    struct place place;
};

struct rebuild {
    struct local *local;
    MDB_txn *txn;
    unsigned writes;
    struct located *places; /* by blob, one each */
    size_t place_count, place_room;
    uint64_t lsn;
    uint64_t misfits; /* operations that did not hold */
    bool proven;
};

/* ---- writing to the index ------------------------------------------------------------------ */

static bool lmdb(int code, struct error *error)
{
    return code == 0 || error_set(error, "rebuilding the index: %s", mdb_strerror(code));
}

static bool begin(struct rebuild *rebuild, struct error *error)
{
    rebuild->writes = 0;
    int code = fault_hit("store.rebuild.begin");
    return lmdb(code != 0 ? code : mdb_txn_begin(rebuild->local->index.env, NULL, 0, &rebuild->txn),
                error);
}

static bool commit(struct rebuild *rebuild, struct error *error)
{
    int code = fault_hit("store.rebuild.commit");
    if (code != 0) {
        mdb_txn_abort(rebuild->txn);
    } else {
        code = mdb_txn_commit(rebuild->txn);
    }
    rebuild->txn = NULL;
    return lmdb(code, error);
}

/* After each write. */
static bool wrote(struct rebuild *rebuild, int code, struct error *error)
{
    if (!lmdb(code, error))
        return false;
    if (++rebuild->writes < COMMIT_AFTER)
        return true;
    return commit(rebuild, error) && begin(rebuild, error);
}

/* ---- places -------------------------------------------------------------------------------- */

static int compare_located(const void *a, const void *b)
{
    const struct located *x = a, *y = b;
    if (x->blob != y->blob)
        return x->blob > y->blob ? 1 : -1;
    /* the newest copy first: an older one may be in a segment that was about to go */
    return (x->place.segment < y->place.segment) - (x->place.segment > y->place.segment);
}

static void locate_in(struct rebuild *rebuild, const struct segment *segment)
{
    struct scan scan;
    struct scanned found;
    enum scan_outcome outcome;
    scan_init(&scan, segment, rebuild->local->volume.uuid, 0, segment->size);
    while ((outcome = scan_next(&scan, false, &found)) != SCAN_END) {
        const struct frame *frame = &found.frame;
        if (outcome != SCAN_FRAME || frame->type != FRAME_BODY)
            continue;
        if (rebuild->place_count == rebuild->place_room) {
            rebuild->place_room = rebuild->place_room == 0 ? 1024 : rebuild->place_room * 2;
            rebuild->places =
                mem_grow(rebuild->places, rebuild->place_room, sizeof(*rebuild->places));
        }
        rebuild->places[rebuild->place_count++] =
            (struct located){frame->blob,
                             {segment->generation, found.at + FRAME_HEADER, frame->size,
                              frame->raw_size, frame->crc, frame->codec}};
    }
    scan_finish(&scan);
}

static void locate_all(struct rebuild *rebuild)
{
    struct segment *segment;
    size_t kept = 0;
    RB_FOREACH (segment, segments, &rebuild->local->segments)
        locate_in(rebuild, segment);
    if (rebuild->place_count > 0)
        qsort(rebuild->places, rebuild->place_count, sizeof(*rebuild->places), compare_located);
    for (size_t i = 0; i < rebuild->place_count; i++)
        if (kept == 0 || rebuild->places[kept - 1].blob != rebuild->places[i].blob)
            rebuild->places[kept++] = rebuild->places[i];
    rebuild->place_count = kept;
}

static int find_located(const void *key, const void *element)
{
    uint64_t blob = *(const uint64_t *)key, other = ((const struct located *)element)->blob;
    return (blob > other) - (blob < other);
}

/* The place of a body; a lost one has none, and reads of it are CORRUPT. */
static struct place locate(struct rebuild *rebuild, uint64_t blob)
{
    struct located *found = NULL;
    if (rebuild->place_count > 0)
        found = bsearch(&blob, rebuild->places, rebuild->place_count, sizeof(*found), find_located);
    return found != NULL ? found->place : (struct place){0};
}

/* ---- the snapshot -------------------------------------------------------------------------- */

static bool load_kv(struct rebuild *rebuild, MDB_val key, MDB_val stored, struct error *error)
{
    struct slice value;
    struct id partition;
    if (!index_check_kv(key, stored, &value))
        return error_set(error, "a damaged value in a snapshot");
    memcpy(partition.bytes, key.mv_data, sizeof(partition.bytes));
    struct slice name = slice_sub(slice_make(key.mv_data, key.mv_size), 16, SIZE_MAX);
    return wrote(rebuild, index_put(&rebuild->local->index, rebuild->txn, partition, name, value),
                 error);
}

static bool load_blob_record(struct rebuild *rebuild, MDB_val key, MDB_val stored,
                             struct error *error)
{
    struct blob_record record;
    uint64_t blob = index_blob_id(key);
    if (!index_check_blob(key, stored, &record))
        return error_set(error, "a damaged blob record in a snapshot");
    record.place = locate(rebuild, blob);
    return wrote(rebuild, index_put_blob(&rebuild->local->index, rebuild->txn, blob, &record),
                 error);
}

static bool load_mark(struct rebuild *rebuild, struct slice key, struct error *error)
{
    static const char *const kinds[] = {"frozen", "damaged"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        size_t size = strlen(kinds[i]);
        if (slice_starts(key, slice_str(kinds[i])))
            return wrote(rebuild,
                         index_put_mark(&rebuild->local->index, rebuild->txn, kinds[i],
                                        slice_sub(key, size, SIZE_MAX)),
                         error);
    }
    return true;
}

static bool load_record(void *arg, uint8_t table, struct slice key, struct slice value,
                        struct error *error)
{
    MDB_val k = {key.size, (void *)(uintptr_t)key.data};
    MDB_val v = {value.size, (void *)(uintptr_t)value.data};
    switch (table) {
    case TABLE_KV:
        return load_kv(arg, k, v, error);
    case TABLE_BLOBS:
        return load_blob_record(arg, k, v, error);
    case TABLE_META:
        return load_mark(arg, key, error);
    default:
        return error_set(error, "a snapshot has a table %u that this program does not know", table);
    }
}

/* The newest one that is good from end to end; without any, all comes from the journal. */
static bool load_snapshot(struct rebuild *rebuild, struct error *error)
{
    const struct volume *volume = &rebuild->local->volume;
    uint64_t *lsns;
    size_t count;
    bool good = true, found = false;
    if (!snapshot_list(volume->path, &lsns, &count))
        return error_errno(error, "listing the snapshots");
    while (good && !found && count-- > 0) {
        struct files_path path = snapshot_path(volume->path, lsns[count]);
        struct snapshot_head head;
        struct error why = {""};
        if (!snapshot_read(path.text, volume->uuid, &head, NULL, NULL, &why)) {
            log_error("snapshot_damaged", "file=%s error=%s", path.text,
                      log_value(slice_str(why.text)).text);
            continue;
        }
        found = true;
        good = snapshot_read(path.text, volume->uuid, &head, load_record, rebuild, error);
        rebuild->lsn = head.lsn;
    }
    free(lsns);
    return good;
}

/* ---- the journal --------------------------------------------------------------------------- */

static bool patch(struct rebuild *rebuild, struct id partition, const struct store_op *op,
                  struct error *error)
{
    const struct index *index = &rebuild->local->index;
    struct slice value;
    if (index_get(index, rebuild->txn, partition, op->key, &value) != INDEX_FOUND ||
        value.size < op->value.size || op->offset > value.size - op->value.size) {
        rebuild->misfits++;
        return true;
    }
    uint8_t *copy = mem_alloc(value.size + 1);
    memcpy(copy, value.data, value.size);
    if (op->value.size > 0)
        memcpy(copy + op->offset, op->value.data, op->value.size);
    int code = index_put(index, rebuild->txn, partition, op->key, slice_make(copy, value.size));
    free(copy);
    return wrote(rebuild, code, error);
}

static bool count_blob(struct rebuild *rebuild, const struct store_op *op, struct error *error)
{
    const struct index *index = &rebuild->local->index;
    struct blob_record record = {.refs = 0};
    enum index_found found = index_get_blob(index, rebuild->txn, op->blob, &record);
    if ((op->kind == STORE_OP_BLOB) != (found == INDEX_ABSENT)) {
        rebuild->misfits++;
        return true;
    }
    if (op->kind == STORE_OP_BLOB)
        record = (struct blob_record){locate(rebuild, op->blob), 1};
    else
        record.refs += op->kind == STORE_OP_ADDREF ? 1 : -1u;
    return wrote(rebuild, index_put_blob(index, rebuild->txn, op->blob, &record), error);
}

static bool apply(struct rebuild *rebuild, struct id partition, const struct store_op *op,
                  struct error *error)
{
    const struct index *index = &rebuild->local->index;
    size_t deleted = 0;
    int code = 0;
    switch (op->kind) {
    case STORE_OP_PUT:
        code = index_put(index, rebuild->txn, partition, op->key, op->value);
        break;
    case STORE_OP_DEL:
        code = index_del(index, rebuild->txn, partition, op->key);
        break;
    case STORE_OP_DEL_RANGE:
        code = index_del_range(index, rebuild->txn, partition, op->key, op->value, &deleted);
        rebuild->writes += (unsigned)deleted;
        break;
    case STORE_OP_PATCH:
        return patch(rebuild, partition, op, error);
    case STORE_OP_BLOB:
    case STORE_OP_ADDREF:
    case STORE_OP_UNREF:
        return count_blob(rebuild, op, error);
    case STORE_OP_EXPECT_EQUAL:
    case STORE_OP_EXPECT_ABSENT:
        return true;
    }
    return wrote(rebuild, code, error);
}

static bool replay_batch(void *arg, const struct frame *frame, struct slice payload,
                         struct error *error)
{
    struct rebuild *rebuild = arg;
    struct store_ops ops = store_ops_make(payload);
    struct store_op op;
    while (store_ops_next(&ops, &op))
        if (!apply(rebuild, frame->partition, &op, error))
            return false;
    rebuild->lsn = frame->lsn;
    return true;
}

static void miss(struct rebuild *rebuild, uint64_t next)
{
    log_error("batches_missing", "from=%llu to=%llu", (unsigned long long)rebuild->lsn + 1,
              (unsigned long long)next - 1);
    rebuild->lsn = next - 1;
    rebuild->proven = false;
}

/* segments: the LSN behind which the log segments have everything. */
static bool replay_journal(struct rebuild *rebuild, uint64_t segments, struct error *error)
{
    const struct volume *volume = &rebuild->local->volume;
    struct files_name *names;
    size_t count;
    if (!journal_list(volume->path, &names, &count))
        return error_errno(error, "listing the journal");
    for (size_t i = 0; i < count && rebuild->txn != NULL; i++) {
        struct error why = {""};
        if (names[i].last <= rebuild->lsn)
            continue;
        if (names[i].first > rebuild->lsn + 1) {
            if (segments <= rebuild->lsn)
                break; /* what is missing here is in the segments */
            miss(rebuild, names[i].first);
        }
        if (!journal_read(volume->path, names[i], volume->uuid, rebuild->lsn, replay_batch, rebuild,
                          &why))
            log_error("journal_damaged", "file=%s error=%s",
                      journal_path(volume->path, names[i]).text,
                      log_value(slice_str(why.text)).text);
        if (rebuild->txn == NULL)
            error_set(error, "%s", why.text); /* not the file: the index */
    }
    free(names);
    if (rebuild->txn == NULL)
        return false;
    if (rebuild->lsn < segments)
        miss(rebuild, segments + 1);
    return true;
}

/* ---- the end ------------------------------------------------------------------------------- */

/* The LSN before the first batch of the oldest log segment. */
static uint64_t segments_begin(struct rebuild *rebuild)
{
    struct segment *segment;
    struct frame frame;
    struct frame_segment info;
    RB_FOREACH (segment, segments, &rebuild->local->segments)
        if (segment->kind == SEGMENT_LOG &&
            scan_segment(segment, rebuild->local->volume.uuid, &frame, &info))
            return frame.lsn;
    return 0;
}

/*
 * The segment that has the next batch. Not simply the oldest: one that it continued may be gone,
 * and then nothing says any more where an older one ends and what behind that is dead.
 */
static uint64_t goes_on_at(struct rebuild *rebuild)
{
    struct segment *segment;
    struct frame frame;
    struct frame_segment info;
    uint64_t generation = 0;
    RB_FOREACH (segment, segments, &rebuild->local->segments)
        if (segment->kind == SEGMENT_LOG &&
            scan_segment(segment, rebuild->local->volume.uuid, &frame, &info) &&
            frame.lsn <= rebuild->lsn)
            generation = segment->generation;
    return generation;
}

static bool count_live(struct rebuild *rebuild, struct error *error)
{
    struct local *local = rebuild->local;
    struct segment *segment;
    MDB_cursor *cursor;
    MDB_val key, stored;
    struct blob_record record;
    RB_FOREACH (segment, segments, &local->segments)
        segment->live = 0;
    if (!lmdb(mdb_cursor_open(rebuild->txn, local->index.blobs, &cursor), error))
        return false;
    while (mdb_cursor_get(cursor, &key, &stored, MDB_NEXT) == 0) {
        if (!index_check_blob(key, stored, &record))
            continue;
        segment = local_segment(local, record.place.segment);
        if (segment != NULL) /* else its end stands in the log that comes, or it is lost */
            segment->live += record.place.size;
    }
    mdb_cursor_close(cursor);
    RB_FOREACH (segment, segments, &local->segments)
        if (!lmdb(index_put_live(&local->index, rebuild->txn, segment->generation, segment->live),
                  error))
            return false;
    return true;
}

static bool run(struct rebuild *rebuild, struct error *error)
{
    locate_all(rebuild);
    if (!begin(rebuild, error) || !load_snapshot(rebuild, error) ||
        !replay_journal(rebuild, segments_begin(rebuild), error))
        return false;
    if (!commit(rebuild, error) || !begin(rebuild, error) || !count_live(rebuild, error))
        return false;
    struct position position = {.lsn = rebuild->lsn, .generation = goes_on_at(rebuild)};
    /* Before the position: a crash between them must not leave an index that looks proven. */
    if (rebuild->misfits > 0 || !rebuild->proven) {
        rebuild->local->volume.epoch++;
        if (!volume_save(&rebuild->local->volume, error))
            return false;
    }
    return lmdb(index_put_position(&rebuild->local->index, rebuild->txn, &position), error) &&
           commit(rebuild, error);
}

bool local_rebuild(struct local *local, struct error *error)
{
    struct rebuild rebuild = {.local = local, .proven = true};
    bool good = run(&rebuild, error);
    if (rebuild.txn != NULL)
        mdb_txn_abort(rebuild.txn);
    free(rebuild.places);
    if (good && rebuild.misfits > 0)
        log_error("rebuild_misfits", "count=%llu", (unsigned long long)rebuild.misfits);
    log_info("index_rebuilt", "lsn=%llu bodies=%zu proven=%d", (unsigned long long)rebuild.lsn,
             rebuild.place_count, rebuild.proven && rebuild.misfits == 0);
    return good;
}
