/*
 * Heap memory. The plain functions never return NULL: a process that cannot get a few bytes ends
 * with a log line and is started again by its master; what was acknowledged is on disk. Whatever a
 * stranger can make large (literals, messages, result sets) uses mem_try() and answers its failure.
 * In a test build the faults mem.alloc and mem.try stand for memory that is not there.
 */
#pragma once
#include <stddef.h>

void *mem_alloc(size_t size);                         /* not cleared */
void *mem_zalloc(size_t size);                        /* cleared */
void *mem_realloc(void *old, size_t size);            /* keeps the content */
void *mem_array(size_t count, size_t size);           /* cleared; the product is checked */
void *mem_grow(void *old, size_t count, size_t size); /* realloc to count * size, checked */
char *mem_strdup(const char *text);                   /* NULL gives NULL */
void *mem_dup(const void *bytes, size_t size);
void *mem_try(size_t size);               /* NULL when there is none */
void mem_wipe(void *secret, size_t size); /* clears; never optimised away */

/* Gives what the heap holds and nobody uses back to the kernel, when that is much: malloc keeps the
 * room of a burst. Takes up to some milliseconds. */
void mem_trim(void);

#define MEM_NEW(type) ((type *)mem_zalloc(sizeof(type)))
