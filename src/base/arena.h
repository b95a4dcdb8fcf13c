/*
 * Memory that is given back all at once. Three kinds live in a session: the session's own, one per
 * command, one scratch per event; they are passed as parameters, so that a lifetime can be read in
 * the call. Nothing is freed singly.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* bytes handed out since the last reset: what is charged */
};

void arena_init(struct arena *arena); /* allocates nothing */
void arena_finish(struct arena *arena);
/* Gives all back but keeps at most one small block for the next round. */
void arena_reset(struct arena *arena);

/* Aligned for any type; cleared; never NULL (see mem.h). */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_array(struct arena *arena, size_t count, size_t size);
struct slice arena_copy(struct arena *arena, struct slice bytes);
char *arena_strdup(struct arena *arena, struct slice bytes); /* NUL-terminated */
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull));

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
