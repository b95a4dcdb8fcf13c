/*
 * Bytes that come in: a sealed memfd, mapped for as long as the store reads from it, or a copy of a
 * few, their summary from a reader process, and for deliveries the hash by which a repeat is known.
 */
#include <sodium.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "mailbox/mailbox_priv.h"

/* A field name at the start of a line of the header; nothing is parsed that one could get wrong. */
bool incoming_has_message_id(struct slice bytes)
{
    static const struct slice field = {(const uint8_t *)"message-id:", 11};
    while (bytes.size > 0) {
        size_t end = slice_find(bytes, '\n');
        struct slice line = slice_sub(bytes, 0, end);
        if (line.size == 0 || (line.size == 1 && line.data[0] == '\r'))
            return false;
        if (slice_equal_nocase(slice_sub(line, 0, field.size), field))
            return true;
        bytes = slice_sub(bytes, end + 1, bytes.size);
    }
    return false;
}

void incoming_release(void *arg)
{
    struct incoming *incoming = arg;
    if (__atomic_sub_fetch(&incoming->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (incoming->map != NULL)
        munmap(incoming->map, incoming->size);
    buf_finish(&incoming->summary);
    free(incoming);
}

struct store_bytes incoming_bytes(struct incoming *incoming)
{
    __atomic_add_fetch(&incoming->references, 1, __ATOMIC_ACQ_REL);
    return (struct store_bytes){.data = incoming->bytes,
                                .size = incoming->size,
                                .release = incoming_release,
                                .arg = incoming};
}

static void incoming_ready(void *arg)
{
    struct incoming *incoming = arg;
    incoming->ready(incoming->arg);
    incoming_release(incoming);
}

static void summarized(void *arg, struct slice summary)
{
    struct incoming *incoming = arg;
    if (summary.size <= STORE_VALUE_MAX)
        buf_add_slice(&incoming->summary, summary);
    incoming_ready(incoming);
}

static bool incoming_map(struct incoming *incoming, int fd)
{
    struct stat status;
    /* A shorter file would end the process when the store reads past its end. */
    if (fstat(fd, &status) != 0 || (uint64_t)status.st_size < incoming->size)
        return false;
    void *map = mmap(NULL, incoming->size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return false;
    incoming->bytes = incoming->map = map;
    return true;
}

struct incoming *incoming_create(struct mailbox_env *env, const struct mailbox_bytes *from,
                                 bool identify, void (*ready)(void *arg), void *arg)
{
    if (from->size > STORE_BLOB_MAX)
        return NULL;
    size_t size = (size_t)from->size, copied = from->fd < 0 ? size : 0;
    struct incoming *incoming = mem_alloc(sizeof(*incoming) + copied);
    *incoming = (struct incoming){
        .env = env,
        .ready = ready,
        .arg = arg,
        .references = 2, /* the caller's, and until it is ready */
        .task = {.run = incoming_ready, .arg = incoming},
        .bytes = (const uint8_t *)(incoming + 1),
        .size = size,
    };
    if (copied > 0)
        memcpy(incoming + 1, from->data, copied);
    if (copied < size && !incoming_map(incoming, from->fd)) {
        free(incoming);
        return NULL;
    }
    struct slice bytes = slice_make(incoming->bytes, size);
    if (identify && incoming_has_message_id(bytes)) {
        incoming->identified = true;
        crypto_generichash(incoming->hash, sizeof(incoming->hash), bytes.data, bytes.size, NULL, 0);
    }
    if (env->options.summarize == NULL)
        env_defer(env, &incoming->task);
    else
        env->options.summarize(env->options.arg, from->fd, bytes, summarized, incoming);
    return incoming;
}
