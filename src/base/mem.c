#include "base/mem.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"

/* In a test build, where there is to be no memory. */
static bool none(void)
{
    return fault_fails("mem.alloc") != 0;
}

static void *need(void *memory, size_t size)
{
    if (memory != NULL)
        return memory;
    log_error("out_of_memory", "bytes=%zu", size);
    abort();
}

void *mem_alloc(size_t size)
{
    return need(none() ? NULL : malloc(size ? size : 1), size);
}

void *mem_zalloc(size_t size)
{
    return need(none() ? NULL : calloc(1, size ? size : 1), size);
}

void *mem_realloc(void *old, size_t size)
{
    return need(none() ? NULL : realloc(old, size ? size : 1), size);
}

void *mem_array(size_t count, size_t size)
{
    return need(none() ? NULL : calloc(count ? count : 1, size ? size : 1), size);
}

void *mem_grow(void *old, size_t count, size_t size)
{
    return need(none() ? NULL : reallocarray(old, count ? count : 1, size ? size : 1), size);
}

char *mem_strdup(const char *text)
{
    return text == NULL ? NULL : mem_dup(text, strlen(text) + 1);
}

void *mem_dup(const void *bytes, size_t size)
{
    void *copy = mem_alloc(size);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

void *mem_try(size_t size)
{
    if (fault_fails("mem.try") != 0)
        return NULL;
    return malloc(size ? size : 1);
}

void mem_wipe(void *secret, size_t size)
{
    if (size > 0)
        explicit_bzero(secret, size);
}

void mem_trim(void)
{
#ifndef RESTANTE_SANITIZED
    enum { MUCH = 256 * 1024 };
    struct mallinfo2 heap = mallinfo2();
    if (heap.fordblks > MUCH && heap.fordblks > heap.uordblks / 8)
        malloc_trim(MUCH / 4);
#endif
}
