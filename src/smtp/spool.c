/*
 * Bytes are gathered before they go to a memfd, which a short message never needs. The limit counts
 * the stored form, with the CRs that were added.
 */
#include "smtp/spool.h"

#include <errno.h>

#include "base/assert.h"
#include "base/fault.h"
#include "io/fd.h"

enum { PENDING = IPC_SHORT };

void spool_init(struct spool *spool)
{
    *spool = (struct spool){.fd = -1};
}

void spool_finish(struct spool *spool)
{
    fd_close(&spool->fd);
    buf_finish(&spool->pending);
    spool_init(spool);
}

void spool_fail(struct spool *spool, enum spool_state state)
{
    fd_close(&spool->fd);
    buf_finish(&spool->pending);
    spool->state = state;
}

void spool_begin(struct spool *spool, uint64_t limit)
{
    ASSERT(spool->limit == 0 && limit > 0);
    spool_init(spool);
    spool->limit = limit;
}

static void flush(struct spool *spool)
{
    if (spool->fd < 0 && fault_hit("spool.create") == 0) {
        spool->fd = fd_memory_create("message");
    }
    if (spool->fd < 0 || fault_hit("spool.write") != 0 ||
        !fd_memory_write(spool->fd, spool->pending.data, spool->pending.size)) {
        spool_fail(spool, SPOOL_NOSPACE);
    }
    buf_clear(&spool->pending);
}

void spool_add(struct spool *spool, struct slice bytes)
{
    while (bytes.size > 0 && spool->state == SPOOL_OK) {
        struct slice part = slice_sub(bytes, 0, PENDING);
        size_t before = spool->pending.size;
        crlf_add(&spool->crlf, part, &spool->pending);
        spool->size += spool->pending.size - before;
        if (spool->size > spool->limit) {
            spool_fail(spool, SPOOL_TOO_LARGE);
        } else if (spool->pending.size > PENDING) {
            flush(spool);
        }
        bytes = slice_sub(bytes, part.size, bytes.size);
    }
}

enum spool_state spool_seal(struct spool *spool, struct door_message *message)
{
    ASSERT(spool->limit > 0);
    bool in_memory = spool->fd >= 0;
    if (spool->state == SPOOL_OK && in_memory) {
        flush(spool);
    }
    if (spool->state == SPOOL_OK && in_memory &&
        (fault_hit("spool.seal") != 0 || !fd_memory_seal(spool->fd))) {
        spool_fail(spool, SPOOL_NOSPACE);
    }
    *message = (struct door_message){.fd = spool->fd};
    spool->fd = -1;
    if (spool->state == SPOOL_OK) {
        message->data = spool->pending.data;
        message->size = spool->size;
    }
    return spool->state;
}
