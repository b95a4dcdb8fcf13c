/*
 * Batches: sealed memory that is filled here and looked through by a reader. This file never looks
 * into what it packs, and believes of the answer nothing but the bits of the messages it asked for.
 * A batch outlives the session that asked, since a reader may still have it in hand.
 */
#include "imap/search_batch.h"

#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"

void search_wake(struct search *search)
{
    if (!search->waiting)
        return;
    search->waiting = false;
    imap_mailbox_done(search->session, MAILBOX_OK);
}

static struct search_batch *create(struct search *search, enum search_stage stage)
{
    struct search_batch *batch = MEM_NEW(struct search_batch);
    batch->search = search;
    batch->stage = stage;
    batch->fd = fault_hit("imap.search") != 0 ? -1 : fd_memory_create("search");
    if (batch->fd < 0) {
        log_warn("search_failed", "reason=memory id=%s", search->session->id);
        free(batch);
        return NULL;
    }
    return batch;
}

static void destroy(struct search_batch *batch)
{
    fd_close(&batch->fd);
    free(batch);
}

bool search_batch_begin(struct search *search, enum search_stage stage, uint32_t candidate,
                        uint64_t blob_size, uint64_t size)
{
    uint8_t head[NEEDLE_RECORD_SIZE];
    if (search->filling == NULL)
        search->filling = create(search, stage);
    if (search->filling == NULL)
        return false;
    search->filling->candidates[search->filling->records++] = candidate;
    needle_record_head(stage == SEARCH_MESSAGE ? NEEDLE_MESSAGE : NEEDLE_SUMMARY, blob_size, size,
                       head);
    return search_batch_add(search, head, sizeof(head));
}

bool search_batch_add(struct search *search, const void *bytes, size_t size)
{
    struct search_batch *batch = search->filling;
    batch->size += size;
    return fd_memory_write(batch->fd, bytes, size);
}

bool search_batch_is_full(const struct search *search)
{
    const struct search_batch *batch = search->filling;
    return batch != NULL &&
           (batch->size >= SEARCH_BATCH_BYTES || batch->records == SEARCH_PAGE_MAX);
}

static void take_bits(struct search *search, const struct search_batch *batch, struct slice bits)
{
    size_t each = needle_bits_size(search->program.needle_count);
    for (uint32_t i = 0; i < batch->records; i++) {
        struct candidate *candidate = &search->candidates[batch->candidates[i]];
        memcpy(candidate->bits, bits.data + i * each, each);
        if (candidate->open)
            search_settle(search, candidate, batch->stage);
    }
}

/* Folded ones are for looking into folded texts, where they cannot do more than not be found. */
static void take_needles(struct search *search, struct slice packed)
{
    struct arena *arena = &search->session->arena;
    struct needle *needles;
    size_t count;
    if (needle_unpack(arena_copy(arena, packed), arena, &needles, &count) &&
        count == search->program.needle_count)
        search->folded = needles;
}

/* Of a batch that no reader could look through: they are not found (the worker has logged it). */
static void give_up(struct search *search, const struct search_batch *batch)
{
    for (uint32_t i = 0; i < batch->records; i++)
        search->candidates[batch->candidates[i]].open = false;
    search->unavailable |= batch->records == 0;
}

static void on_found(void *arg, enum ipc_search_result result, struct slice bits)
{
    struct search_batch *batch = arg;
    struct search *search = batch->search;
    if (search != NULL) {
        LIST_REMOVE(batch, link);
        search->flying--;
        if (result == IPC_SEARCH_OK && batch->records == 0)
            take_needles(search, bits);
        else if (result == IPC_SEARCH_OK)
            take_bits(search, batch, bits);
        else if (result == IPC_SEARCH_BAD_CHARSET)
            search->bad_charset = true;
        else
            give_up(search, batch);
        search_wake(search);
    }
    destroy(batch);
}

static void hand_out(struct search *search, struct search_batch *batch)
{
    const struct session_host *host = search->session->host;
    if (!fd_memory_seal(batch->fd)) {
        search->unavailable = true;
        destroy(batch);
        return;
    }
    LIST_INSERT_HEAD(&search->flight, batch, link);
    search->flying++;
    host->search(host->arg,
                 &(struct session_search){.charset = search->program.charset,
                                          .needles = buf_slice(&search->needles),
                                          .needle_count = search->program.needle_count,
                                          .fd = batch->fd,
                                          .size = batch->size,
                                          .records = batch->records},
                 on_found, batch);
}

void search_batch_send(struct search *search)
{
    struct search_batch *batch = search->filling;
    search->filling = NULL;
    if (batch != NULL)
        hand_out(search, batch);
}

void search_probe(struct search *search)
{
    struct search_batch *batch = create(search, SEARCH_ENTRY);
    if (batch == NULL)
        search->unavailable = true;
    else
        hand_out(search, batch);
}

void search_batches_drop(struct search *search)
{
    struct search_batch *batch;
    if (search->filling != NULL)
        destroy(search->filling);
    search->filling = NULL;
    LIST_FOREACH(batch, &search->flight, link)
    batch->search = NULL;
}
