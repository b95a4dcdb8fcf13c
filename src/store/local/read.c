/*
 * store_read(): part of a blob. The loop reads what is small and warm itself (RWF_NOWAIT: only from
 * the page cache), all else is read by a reader. The first read after open verifies the checksum of
 * the whole body; that it was right is remembered with the blob.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/files.h"
#include "store/local/local_priv.h"

struct body_read {
    struct job job; /* first */
    struct local *local;
    uint64_t blob, offset, size;
    store_read_done *done;
    void *arg;
    struct place place;
    struct segment *segment;
    bool verify;
    uint8_t *bytes; /* what was read: on the heap */
    size_t count;
    enum store_result result;
};

static struct body_read *read_of(struct post_item *item)
{
    return (struct body_read *)(void *)((char *)item - offsetof(struct body_read, job.done));
}

static void free_bytes(const void *bytes, size_t size, void *arg)
{
    free((void *)(uintptr_t)bytes);
}

static void answer(struct post_item *item)
{
    struct body_read *read = read_of(item);
    struct evbuffer *buffer = evbuffer_new();
    ASSERT(buffer != NULL);
    if (read->result != STORE_OK || read->count == 0)
        free(read->bytes);
    else
        ASSERT(evbuffer_add_reference(buffer, read->bytes, read->count, free_bytes, NULL) == 0);
    read->done(read->arg, read->result, buffer);
    evbuffer_free(buffer);
    segment_drop(&read->segment);
    free(read);
}

static void answer_later(struct body_read *read, enum store_result result)
{
    read->result = result;
    read->job.done.run = answer;
    post_again(read->local->posts, &read->job.done);
}

static void damaged(struct body_read *read)
{
    atomic_fetch_add(&read->local->checksum_failures, 1);
    log_error("store_blob_damaged", "volume=%s blob=%llu segment=%s offset=%llu",
              id_text(read->local->volume.uuid).text, (unsigned long long)read->blob,
              segment_name(read->place.segment).text, (unsigned long long)read->place.offset);
}

/* ---- on a reader --------------------------------------------------------------------------- */

static bool stored_bytes(struct body_read *read, void *to, uint64_t offset, size_t size)
{
    return fault_hit("store.read") == 0 &&
           files_read(read->segment->fd, read->place.offset + offset, to, size);
}

static bool verify_in_parts(struct body_read *read)
{
    enum { PART = 256 << 10 };
    uint8_t *part = mem_alloc(PART);
    uint32_t crc = 0;
    uint64_t at = 0;
    while (at < read->place.size) {
        size_t size = read->place.size - at < PART ? (size_t)(read->place.size - at) : PART;
        if (!stored_bytes(read, part, at, size))
            break;
        crc = crc32c(crc, part, size);
        at += size;
    }
    free(part);
    return at == read->place.size && crc == read->place.crc;
}

static enum store_result read_raw(struct body_read *read)
{
    if (read->verify && !verify_in_parts(read))
        return STORE_CORRUPT;
    read->bytes = mem_try(read->count + 1);
    if (read->bytes == NULL)
        return STORE_UNAVAILABLE;
    return stored_bytes(read, read->bytes, read->offset, read->count) ? STORE_OK : STORE_CORRUPT;
}

static enum store_result read_zstd(struct body_read *read)
{
    const struct place *place = &read->place;
    uint8_t *stored = mem_try(place->size + 1), *raw = mem_try((size_t)place->raw_size + 1);
    enum store_result result = stored == NULL || raw == NULL ? STORE_UNAVAILABLE : STORE_CORRUPT;
    if (result == STORE_CORRUPT && stored_bytes(read, stored, 0, place->size) &&
        crc32c(0, stored, place->size) == place->crc &&
        ZSTD_decompress(raw, place->raw_size, stored, place->size) == place->raw_size) {
        result = STORE_OK;
        memmove(raw, raw + read->offset, read->count);
        read->bytes = raw;
        raw = NULL;
    }
    free(stored);
    free(raw);
    return result;
}

static void work(struct job *job, unsigned thread)
{
    struct body_read *read = (struct body_read *)(void *)job;
    read->result = read->place.codec == FRAME_ZSTD ? read_zstd(read) : read_raw(read);
    if (read->result == STORE_CORRUPT)
        damaged(read);
}

/* ---- on the loop --------------------------------------------------------------------------- */

static void remember_verified(struct body_read *read)
{
    struct blob *blob = local_blob(read->local, read->blob);
    if (read->verify && blob != NULL && blob->place.segment == read->place.segment &&
        blob->place.offset == read->place.offset)
        blob->verified = true;
}

static void on_read(struct post_item *item)
{
    struct body_read *read = read_of(item);
    struct local *local = read->local;
    local->jobs_out--;
    if (read->result == STORE_OK)
        remember_verified(read);
    answer(item);
    local_recover_when_quiet(local);
}

/* True when it was all in the page cache: answered, or found damaged and answered. */
static bool read_warm(struct body_read *read)
{
    uint64_t from = read->verify ? 0 : read->offset;
    size_t size = read->verify ? read->place.size : read->count;
    if (read->place.codec != FRAME_RAW || size > LOCAL_LOOP_READ ||
        fault_hit("store.read.warm") != 0)
        return false;
    read->bytes = mem_alloc(size + 1);
    struct iovec vector = {read->bytes, size};
    ssize_t got =
        preadv2(read->segment->fd, &vector, 1, (off_t)(read->place.offset + from), RWF_NOWAIT);
    if (got != (ssize_t)size) {
        free(read->bytes);
        read->bytes = NULL;
        return false;
    }
    if (read->verify && crc32c(0, read->bytes, size) != read->place.crc) {
        damaged(read);
        answer_later(read, STORE_CORRUPT);
        return true;
    }
    remember_verified(read);
    if (read->verify && read->offset > 0)
        memmove(read->bytes, read->bytes + read->offset, read->count);
    answer_later(read, STORE_OK);
    return true;
}

static void read_body(struct body_read *read, const struct blob *blob)
{
    if (blob == NULL || !blob->known || blob->refs == 0) {
        answer_later(read, STORE_CORRUPT);
        return;
    }
    struct segment *segment = local_segment(read->local, blob->place.segment);
    uint64_t size = blob->place.raw_size;
    read->place = blob->place;
    read->verify = !blob->verified;
    read->offset = read->offset < size ? read->offset : size;
    read->count = (size_t)(read->size < size - read->offset ? read->size : size - read->offset);
    if (segment == NULL) {
        damaged(read);
        answer_later(read, STORE_CORRUPT);
        return;
    }
    read->segment = segment_hold(segment);
    if (read_warm(read))
        return;
    read->local->jobs_out++;
    read->job.work = work;
    read->job.done.run = on_read;
    pool_submit(read->local->readers, &read->job);
}

static void on_loaded(struct load *load, bool ok)
{
    struct body_read *read = load->arg;
    if (!ok || load->items[0].found == INDEX_FAILED)
        answer_later(read, STORE_UNAVAILABLE);
    else
        read_body(read, local_blob(read->local, read->blob));
    load_destroy(&load);
}

void local_read(struct store *store, uint64_t blob, uint64_t offset, uint64_t size,
                store_read_done *done, void *arg)
{
    struct local *local = local_of(store);
    struct body_read *read = MEM_NEW(struct body_read);
    *read = (struct body_read){
        .local = local, .blob = blob, .offset = offset, .size = size, .done = done, .arg = arg};
    const struct blob *known = local_blob(local, blob);
    if (local->state != LOCAL_SERVING && local->state != LOCAL_CLOSING) {
        answer_later(read, STORE_UNAVAILABLE);
    } else if (known != NULL && known->known) {
        read_body(read, known);
    } else {
        struct load *load = load_create(local, on_loaded, read);
        load_blob(load, blob);
        load_start(load);
    }
}
