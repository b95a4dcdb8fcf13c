/*
 * Reads a whole volume and says what is wrong with it: every frame of every segment with its
 * checksum, every record of the index and the frame header of every body it points to, snapshots
 * and journal. Changes nothing, runs on whatever thread calls it.
 *
 * Bytes that are no whole frame are damage only where something later proves that they were
 * durable; else they are what a crash leaves at the end of the log, and a note (recovery rule 3).
 */
#include "store/local/check.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "store/local/journal.h"
#include "store/local/snapshot.h"

void check_report(struct check *check, int severity, const char *file, uint64_t offset,
                  struct id partition, const char *format, ...)
{
    char words[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    check->damages += severity == 2;
    check->report(check->arg, &(struct store_finding){severity, file, offset, partition, words});
}

static bool stopping(const struct check *check)
{
    return check->stopping != NULL && atomic_load(check->stopping);
}

static void progress(struct check *check, uint64_t done)
{
    check->done += done;
    if (check->progress != NULL)
        check->progress(check->arg, check->done, check->total);
}

static struct files_path segment_file(uint64_t generation)
{
    return files_path("segments", "%s", segment_name(generation).text);
}

/* A scrub reads 16 MiB a second: a pause of a 16th behind each MiB. */
static void walk_slowly(struct check *check, uint64_t bytes)
{
    enum { STRIDE = 1 << 20 };
    static const struct timespec pause = {.tv_nsec = 1000000000 / 16};
    uint64_t before = check->read / STRIDE;
    check->read += bytes;
    if (check->scrub && check->read / STRIDE != before)
        nanosleep(&pause, NULL);
}

/* ---- segments ------------------------------------------------------------------------------ */

/* Something that is no whole frame, until it is known whether it was durable. */
struct doubt {
    bool open;
    uint64_t offset;
    uint64_t lsn;       /* it would have had at least this one */
    struct frame frame; /* its header, where that is good */
};

/* Whether something still refers to that body. The index knows that up to its own position; of what
 * came later nothing is said to be deleted. */
static bool body_counts(struct check *check, const struct segment *segment,
                        const struct doubt *doubt)
{
    struct blob_record record;
    struct position position;
    MDB_txn *txn;
    bool counts = true;
    if (check->index == NULL || doubt->frame.type != FRAME_BODY)
        return true;
    pthread_rwlock_rdlock(&check->index->resize);
    if (mdb_txn_begin(check->index->env, NULL, MDB_RDONLY, &txn) == 0) {
        counts = index_get_position(check->index, txn, &position) != INDEX_FOUND ||
                 doubt->frame.lsn > position.lsn ||
                 (index_get_blob(check->index, txn, doubt->frame.blob, &record) == INDEX_FOUND &&
                  record.place.segment == segment->generation &&
                  record.place.offset == doubt->offset + FRAME_HEADER);
        mdb_txn_abort(txn);
    }
    pthread_rwlock_unlock(&check->index->resize);
    return counts;
}

static void resolve(struct check *check, const struct segment *segment, struct doubt *doubt,
                    bool proven)
{
    struct files_path file = segment_file(segment->generation);
    const struct frame *frame = &doubt->frame;
    if (!doubt->open)
        return;
    doubt->open = false;
    if (!proven)
        check_report(check, 0, file.text, doubt->offset, frame->partition,
                     "the log ends in an unfinished write; the next start takes care of it");
    else if (!body_counts(check, segment, doubt))
        check_report(check, 0, file.text, doubt->offset, frame->partition,
                     "damaged bytes of a deleted message; nothing is lost");
    else if (frame->type == FRAME_BODY)
        check_report(check, 2, file.text, doubt->offset, frame->partition,
                     "the message with UID %u of mailbox %u (blob %llx) is damaged",
                     frame->label.uid, frame->label.mailbox, (unsigned long long)frame->blob);
    else
        check_report(check, 2, file.text, doubt->offset, frame->partition,
                     "damaged bytes in the log, around change %llu",
                     (unsigned long long)doubt->lsn);
}

/* Where the log of that segment ends, and whether something lies behind that end. */
static uint64_t end_of(struct check *check, size_t at, bool *closed)
{
    const struct segment *segment = check->segments[at];
    *closed = true;
    if (segment->generation == check->tail.generation)
        return check->tail.offset;
    if (check->tail.generation != 0 && segment->generation > check->tail.generation)
        return 0; /* made ahead of need */
    for (size_t i = at + 1; i < check->segment_count; i++) {
        struct frame frame;
        struct frame_segment info;
        if (!scan_segment(check->segments[i], check->volume->uuid, &frame, &info) ||
            info.kind != SEGMENT_LOG)
            continue;
        return info.previous == segment->generation ? info.previous_end : segment->size;
    }
    *closed = false;
    return segment->size;
}

void check_segment(struct check *check, size_t at)
{
    const struct segment *segment = check->segments[at];
    struct files_path file = segment_file(segment->generation);
    struct frame head;
    struct frame_segment info;
    bool closed;
    uint64_t end = end_of(check, at, &closed), last = 0;
    struct doubt doubt = {0};
    struct scan scan;
    struct scanned found;
    enum scan_outcome outcome;
    if (end == 0)
        return;
    if (!scan_segment(segment, check->volume->uuid, &head, &info)) {
        /* One made ahead of need is still empty: only where it was used is that damage. */
        if (closed)
            check_report(check, 2, file.text, 0, (struct id){{0}},
                         "the beginning of this segment is damaged");
        return;
    }
    closed = closed || info.kind == SEGMENT_COLD;
    if (check->scrub)
        posix_fadvise(segment->fd, 0, 0, POSIX_FADV_DONTNEED);
    scan_init(&scan, segment, check->volume->uuid, 0,
              info.kind == SEGMENT_COLD ? segment->size : end);
    while (!stopping(check) && (outcome = scan_next(&scan, true, &found)) != SCAN_END) {
        walk_slowly(check, found.next - found.at);
        if (doubt.open && (found.frame.durable >= doubt.lsn || closed))
            resolve(check, segment, &doubt, true);
        if (outcome == SCAN_FRAME) {
            last = found.frame.lsn > last ? found.frame.lsn : last;
            continue;
        }
        resolve(check, segment, &doubt, closed);
        doubt = (struct doubt){true, found.at, last + 1, found.frame};
    }
    resolve(check, segment, &doubt, closed);
    scan_finish(&scan);
}

/* ---- the index ----------------------------------------------------------------------------- */

static bool body_is_there(struct check *check, uint64_t blob, const struct place *place)
{
    struct segment *segment = NULL, *opened = NULL;
    uint8_t header[FRAME_HEADER];
    struct frame frame;
    for (size_t i = 0; i < check->segment_count; i++)
        if (check->segments[i]->generation == place->segment)
            segment = check->segments[i];
    if (segment == NULL && place->segment != 0)
        segment = opened = segment_open(check->volume, place->segment);
    bool there = segment != NULL && place->offset >= FRAME_HEADER &&
                 files_read(segment->fd, place->offset - FRAME_HEADER, header, FRAME_HEADER) &&
                 frame_decode(slice_make(header, FRAME_HEADER), &frame) &&
                 frame.type == FRAME_BODY && frame.blob == blob && frame.size == place->size &&
                 frame.crc == place->crc && frame.generation == place->segment;
    segment_drop(&opened);
    return there;
}

/* Asked again in a transaction of now: a body may have moved since the other began. */
static bool still_missing(struct check *check, uint64_t blob)
{
    struct blob_record record;
    MDB_txn *txn;
    if (mdb_txn_begin(check->index->env, NULL, MDB_RDONLY, &txn) != 0)
        return true;
    enum index_found found = index_get_blob(check->index, txn, blob, &record);
    mdb_txn_abort(txn);
    return found == INDEX_CORRUPT ||
           (found == INDEX_FOUND && !body_is_there(check, blob, &record.place));
}

static void check_kv(struct check *check, MDB_val key, MDB_val stored)
{
    struct slice value;
    struct id partition = {{0}};
    if (index_check_kv(key, stored, &value))
        return;
    if (key.mv_size >= sizeof(partition.bytes))
        memcpy(partition.bytes, key.mv_data, sizeof(partition.bytes));
    check_report(check, 2, "index/data.mdb", 0, partition, "a damaged record of an account");
}

static void check_blob(struct check *check, MDB_val key, MDB_val stored)
{
    struct blob_record record;
    uint64_t blob = index_blob_id(key);
    if (!index_check_blob(key, stored, &record))
        check_report(check, 2, "index/data.mdb", 0, (struct id){{0}},
                     "a damaged record of where a message is");
    else if (!check->scrub && !body_is_there(check, blob, &record.place) &&
             still_missing(check, blob))
        check_report(check, 2, segment_file(record.place.segment).text, record.place.offset,
                     (struct id){{0}}, "the bytes of a message (blob %llx) are not there",
                     (unsigned long long)blob);
}

static void walk(struct check *check, MDB_txn *txn, MDB_dbi dbi,
                 void (*each)(struct check *check, MDB_val key, MDB_val stored))
{
    MDB_cursor *cursor;
    MDB_val key, stored;
    struct index_order order;
    int code = mdb_cursor_open(txn, dbi, &cursor);
    index_order_init(&order, txn, dbi);
    if (code == 0) {
        while (!stopping(check) && (code = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT)) == 0) {
            index_order_next(&order, key);
            each(check, key, stored);
        }
        mdb_cursor_close(cursor);
    }
    if (code != 0 && code != MDB_NOTFOUND)
        check_report(check, 2, "index/data.mdb", 0, (struct id){{0}},
                     "the index cannot be read: %s", mdb_strerror(code));
    else if (code == MDB_NOTFOUND && !index_order_whole(&order))
        check_report(check, 2, "index/data.mdb", 0, (struct id){{0}},
                     "a damaged page of the index hides records");
}

void check_index(struct check *check)
{
    MDB_txn *txn;
    struct position position;
    if (check->index == NULL)
        return;
    pthread_rwlock_rdlock(&check->index->resize);
    int code = mdb_txn_begin(check->index->env, NULL, MDB_RDONLY, &txn);
    if (code != 0) {
        check_report(check, 2, "index/data.mdb", 0, (struct id){{0}},
                     "the index cannot be read: %s", mdb_strerror(code));
    } else {
        if (index_get_position(check->index, txn, &position) == INDEX_CORRUPT)
            check_report(check, 2, "index/data.mdb", 0, (struct id){{0}},
                         "the index does not say where it stands");
        walk(check, txn, check->index->kv, check_kv);
        walk(check, txn, check->index->blobs, check_blob);
        mdb_txn_abort(txn);
    }
    pthread_rwlock_unlock(&check->index->resize);
}

/* ---- snapshots and journal ----------------------------------------------------------------- */

static void check_snapshots(struct check *check)
{
    uint64_t *lsns;
    size_t count;
    if (!snapshot_list(check->volume->path, &lsns, &count))
        return;
    for (size_t i = 0; i < count && !stopping(check); i++) {
        struct files_path path = snapshot_path(check->volume->path, lsns[i]);
        struct snapshot_head head;
        struct error error = {""};
        if (!snapshot_read(path.text, check->volume->uuid, &head, NULL, NULL, &error) &&
            access(path.text, F_OK) == 0) /* or housekeeping has just removed it */
            check_report(check, 2, path.text + strlen(check->volume->path) + 1, 0, (struct id){{0}},
                         "this snapshot is damaged: %s", error.text);
    }
    free(lsns);
}

static void check_journal(struct check *check)
{
    struct files_name *names;
    size_t count;
    if (!journal_list(check->volume->path, &names, &count))
        return;
    for (size_t i = 0; i < count && !stopping(check); i++) {
        struct files_path path = journal_path(check->volume->path, names[i]);
        struct error error = {""};
        if (!journal_read(check->volume->path, names[i], check->volume->uuid, 0, NULL, NULL,
                          &error) &&
            access(path.text, F_OK) == 0)
            check_report(check, 2, path.text + strlen(check->volume->path) + 1, 0, (struct id){{0}},
                         "this journal file is damaged: %s", error.text);
    }
    free(names);
}

void check_copies(struct check *check)
{
    check_snapshots(check);
    check_journal(check);
}

void check_volume(struct check *check)
{
    uint64_t segments = 0;
    for (size_t i = 0; i < check->segment_count; i++)
        segments += check->segments[i]->size;
    check->total = segments + segments / 4 + 1; /* the rest counted as a quarter */
    progress(check, 0);
    for (size_t i = 0; i < check->segment_count && !stopping(check); i++) {
        check_segment(check, i);
        progress(check, check->segments[i]->size);
    }
    check_index(check);
    check_copies(check);
    progress(check, check->total - check->done);
}
