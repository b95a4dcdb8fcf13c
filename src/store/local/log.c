/*
 * The log thread: everything submitted since the last tick becomes one append and one fdatasync.
 * While one tick is being written the next is collected in the queue. It owns the segment it writes
 * and knows nothing of keys: batches come judged and encoded, bodies are written straight from the
 * caller's bytes and released once they are in the file.
 *
 * After a failed write or sync nothing is tried again: the tick says so, and the log stands still
 * until the loop has decided (recovery rule 2).
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

struct pieces { /* what one append consists of */
    struct iovec *vectors;
    size_t count;
    uint8_t *headers; /* memory for headers and small payloads */
    size_t headers_used;
    uint64_t bytes;
};

struct size {
    size_t frames;
    uint64_t bytes;
    uint32_t batches;
};

static struct size size_of(const struct txn_queue *txns)
{
    struct size size = {0};
    const struct txn *txn;
    STAILQ_FOREACH (txn, txns, in_log) {
        for (size_t i = 0; i < txn->batch->blob_count; i++)
            size.bytes += frame_total(txn->batch->blobs[i].bytes.size);
        size.bytes += frame_total(txn->batch->ops.size);
        size.frames += txn->batch->blob_count + 1;
        size.batches++;
    }
    size.bytes += frame_total(FRAME_COMMIT_PAYLOAD + size.batches * sizeof(struct id));
    size.frames++;
    return size;
}

static const uint8_t zeros[4096];

/* ---- building the append ------------------------------------------------------------------- */

static void piece(struct pieces *pieces, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    struct iovec *last = pieces->count == 0 ? NULL : &pieces->vectors[pieces->count - 1];
    pieces->bytes += size;
    if (last != NULL && (const uint8_t *)last->iov_base + last->iov_len == bytes)
        last->iov_len += size;
    else
        pieces->vectors[pieces->count++] = (struct iovec){(void *)(uintptr_t)bytes, size};
}

static uint8_t *small(struct pieces *pieces, size_t size)
{
    uint8_t *at = pieces->headers + pieces->headers_used;
    pieces->headers_used += size;
    return at;
}

static void add_frame(struct log *log, struct pieces *pieces, struct frame *frame,
                      struct slice payload)
{
    frame->volume = log->local->volume.uuid;
    frame->generation = log->segment->generation;
    frame->durable = log->durable;
    frame->size = (uint32_t)payload.size;
    frame->raw_size = frame->size;
    frame->crc = crc32c(0, payload.data, payload.size);
    uint8_t *header = small(pieces, FRAME_HEADER);
    frame_encode(frame, header);
    piece(pieces, header, FRAME_HEADER);
    piece(pieces, payload.data, payload.size);
    piece(pieces, zeros, frame_padding(payload.size));
}

static void add_segment(struct log *log, struct pieces *pieces)
{
    struct frame frame = {.type = FRAME_SEGMENT, .lsn = log->tail.lsn};
    struct frame_segment info = {log->tail.generation, log->tail.offset, SEGMENT_LOG};
    uint8_t *payload = small(pieces, FRAME_SEGMENT_PAYLOAD);
    frame_segment_encode(&info, payload);
    add_frame(log, pieces, &frame, slice_make(payload, FRAME_SEGMENT_PAYLOAD));
}

static void add_batch(struct log *log, struct pieces *pieces, struct txn *txn)
{
    const struct store_batch *batch = txn->batch;
    for (size_t i = 0; i < batch->blob_count; i++) {
        const struct store_batch_blob *blob = &batch->blobs[i];
        struct frame frame = {.type = FRAME_BODY,
                              .lsn = txn->lsn,
                              .partition = batch->partition,
                              .blob = blob->blob,
                              .label = blob->label};
        uint64_t offset = log->offset + pieces->bytes + FRAME_HEADER;
        add_frame(log, pieces, &frame, slice_make(blob->bytes.data, blob->bytes.size));
        txn->places[i] = (struct place){.segment = log->segment->generation,
                                        .offset = offset,
                                        .size = frame.size,
                                        .raw_size = frame.size,
                                        .crc = frame.crc};
    }
    struct frame frame = {.type = FRAME_OPS, .lsn = txn->lsn, .partition = batch->partition};
    add_frame(log, pieces, &frame, buf_slice(&batch->ops));
}

static void add_commit(struct log *log, struct pieces *pieces, const struct txn_queue *txns,
                       uint32_t batches, uint64_t last)
{
    struct frame frame = {.type = FRAME_COMMIT, .lsn = last};
    size_t size = FRAME_COMMIT_PAYLOAD + batches * sizeof(struct id);
    uint8_t *payload = small(pieces, size), *at = payload + FRAME_COMMIT_PAYLOAD;
    const struct txn *txn;
    memset(payload, 0, FRAME_COMMIT_PAYLOAD);
    bytes_put_le64(payload, STAILQ_FIRST(txns)->lsn);
    bytes_put_le32(payload + 8, batches);
    STAILQ_FOREACH (txn, txns, in_log) {
        memcpy(at, txn->batch->partition.bytes, sizeof(struct id));
        at += sizeof(struct id);
    }
    add_frame(log, pieces, &frame, slice_make(payload, size));
}

/* ---- writing ------------------------------------------------------------------------------- */

static bool append(struct log *log, struct pieces *pieces)
{
    struct iovec *at = pieces->vectors, *end = at + pieces->count;
    uint64_t offset = log->offset;
    if ((errno = fault_hit("store.log.write")) != 0)
        return false;
    while (at < end) {
        int count = end - at < IOV_MAX ? (int)(end - at) : IOV_MAX;
        count = fault_hit("store.log.short") != 0 ? 1 : count;
        ssize_t written = pwritev(log->segment->fd, at, count, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        offset += (uint64_t)written;
        size_t left = (size_t)written;
        for (; at < end && left >= at->iov_len; at++)
            left -= at->iov_len;
        if (left > 0) {
            at->iov_base = (uint8_t *)at->iov_base + left;
            at->iov_len -= left;
        }
    }
    return true;
}

static bool sync_segment(struct log *log)
{
    if ((errno = fault_hit("store.log.sync")) != 0 || fdatasync(log->segment->fd) != 0)
        return false;
    fault_hit("store.log.synced");
    return true;
}

/* A segment that has room for so many bytes; errno when there is none. */
static bool make_room(struct log *log, uint64_t bytes, struct tick *tick)
{
    if (log->segment != NULL && log->offset + bytes <= log->segment->size)
        return true;
    uint64_t size = bytes + frame_total(FRAME_SEGMENT_PAYLOAD);
    struct segment *next = supply_take(log, size);
    if (next == NULL)
        return false;
    segment_drop(&log->segment);
    log->segment = next;
    log->offset = 0;
    tick->opened = segment_hold(next);
    return true;
}

static void build(struct log *log, struct tick *tick, struct pieces *pieces,
                  const struct size *size)
{
    uint64_t last = 0;
    struct txn *txn;
    /* Headers, and the payloads of SEGMENT and COMMIT. */
    pieces->headers = mem_alloc((size->frames + 1) * FRAME_HEADER + FRAME_SEGMENT_PAYLOAD +
                                FRAME_COMMIT_PAYLOAD + size->batches * sizeof(struct id));
    pieces->vectors = mem_array((size->frames + 1) * 3 + 1, sizeof(*pieces->vectors));
    if (tick->opened != NULL)
        add_segment(log, pieces);
    STAILQ_FOREACH (txn, &tick->txns, in_log) {
        add_batch(log, pieces, txn);
        last = txn->lsn;
    }
    add_commit(log, pieces, &tick->txns, size->batches, last);
    tick->end = (struct position){last, log->segment->generation, log->offset + pieces->bytes};
    tick->bytes = pieces->bytes;
    /* Zeros to the end of the page, or the kernel would have to read it from the disk first. */
    piece(pieces, zeros, (size_t)(-tick->end.offset & (sizeof(zeros) - 1)));
}

static void write_tick(struct log *log, struct tick *tick)
{
    struct pieces pieces = {0};
    struct size size = size_of(&tick->txns);
    struct txn *txn;
    if (!make_room(log, size.bytes, tick)) {
        tick->error = errno;
        tick->result = errno == ENOSPC || errno == EDQUOT ? STORE_NOSPACE : STORE_UNAVAILABLE;
        return;
    }
    build(log, tick, &pieces, &size);
    bool written = append(log, &pieces);
    tick->error = errno;
    STAILQ_FOREACH (txn, &tick->txns, in_log)
        store_batch_release(txn->batch);
    if (written) {
        written = sync_segment(log);
        tick->error = errno;
    }
    tick->result = written ? STORE_OK : STORE_UNKNOWN;
    if (written) {
        log->tail = tick->end;
        log->offset = tick->end.offset;
        log->durable = tick->end.lsn;
    }
    free(pieces.headers);
    free(pieces.vectors);
}

/* ---- the thread ---------------------------------------------------------------------------- */

/* Under the mutex. */
static struct tick *collect(struct log *log)
{
    struct tick *tick = MEM_NEW(struct tick);
    struct txn *txn;
    uint64_t bytes = 0;
    tick->local = log->local;
    tick->item.run = tick_done;
    STAILQ_INIT(&tick->txns);
    while ((txn = STAILQ_FIRST(&log->queue)) != NULL) {
        bytes += txn->bytes;
        if (!STAILQ_EMPTY(&tick->txns) && bytes > LOCAL_TICK_BYTES)
            break;
        STAILQ_REMOVE_HEAD(&log->queue, in_log);
        STAILQ_INSERT_TAIL(&tick->txns, txn, in_log);
    }
    return tick;
}

static void *run(void *arg)
{
    struct log *log = arg;
    pthread_mutex_lock(&log->mutex);
    for (;;) {
        while ((STAILQ_EMPTY(&log->queue) || log->stopped) && !log->ending)
            pthread_cond_wait(&log->changed, &log->mutex);
        if (STAILQ_EMPTY(&log->queue) || log->stopped)
            break;
        struct tick *tick = collect(log);
        pthread_mutex_unlock(&log->mutex);
        write_tick(log, tick);
        pthread_mutex_lock(&log->mutex);
        log->stopped = log->stopped || tick->result != STORE_OK;
        if (tick->opened != NULL)
            supply_want(log, 0);
        if (log->segment != NULL)
            log->room = log->segment->size - log->offset;
        post_send(log->local->posts, &tick->item);
    }
    pthread_mutex_unlock(&log->mutex);
    return NULL;
}

void log_start(struct local *local, const struct position *tail)
{
    struct log *log = &local->log;
    sigset_t all, before;
    *log = (struct log){.local = local, .tail = *tail, .durable = tail->lsn};
    pthread_mutex_init(&log->mutex, NULL);
    pthread_cond_init(&log->changed, NULL);
    STAILQ_INIT(&log->queue);
    pthread_mutex_lock(&log->mutex);
    supply_want(log, 0);
    pthread_mutex_unlock(&log->mutex);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ASSERT(pthread_create(&log->thread, NULL, run, log) == 0);
    pthread_setname_np(log->thread, "store-log");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    log->started = true;
}

void log_finish(struct local *local, bool drain)
{
    struct log *log = &local->log;
    if (!log->started)
        return;
    pthread_mutex_lock(&log->mutex);
    log->ending = true;
    log->stopped = log->stopped || !drain;
    pthread_cond_broadcast(&log->changed);
    pthread_mutex_unlock(&log->mutex);
    pthread_join(log->thread, NULL);
    supply_finish(log);
    if (drain && !log->stopped && log->segment != NULL)
        (void)!ftruncate(log->segment->fd, (off_t)log->offset);
    segment_drop(&log->segment);
    pthread_cond_destroy(&log->changed);
    pthread_mutex_destroy(&log->mutex);
    log->started = false;
}

void log_submit(struct local *local, struct txn *txn)
{
    struct log *log = &local->log;
    pthread_mutex_lock(&log->mutex);
    bool first = STAILQ_EMPTY(&log->queue);
    STAILQ_INSERT_TAIL(&log->queue, txn, in_log);
    if (first)
        pthread_cond_broadcast(&log->changed);
    pthread_mutex_unlock(&log->mutex);
}

void log_resume(struct local *local)
{
    struct log *log = &local->log;
    pthread_mutex_lock(&log->mutex);
    STAILQ_INIT(&log->queue);
    log->stopped = false;
    pthread_mutex_unlock(&log->mutex);
}

uint64_t log_room(struct local *local)
{
    struct log *log = &local->log;
    pthread_mutex_lock(&log->mutex);
    uint64_t room = log->room + (log->next == NULL ? 0 : log->next->size);
    pthread_mutex_unlock(&log->mutex);
    return room;
}
