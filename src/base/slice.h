/*
 * A run of bytes that somebody else owns. A slice never owns, is passed by value and is valid as
 * long as what it points into; every function that returns one says how long that is.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t size;
};

#define SLICE_NONE ((struct slice){NULL, 0})
#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)("" text), sizeof(text) - 1})
/* For printf("%.*s", SLICE_PRINT(s)); never longer than INT_MAX. */
#define SLICE_PRINT(s) (int)((s).size > 0x7fffffff ? 0x7fffffff : (s).size), (const char *)(s).data

static inline struct slice slice_make(const void *data, size_t size)
{
    return (struct slice){(const uint8_t *)data, size};
}

static inline struct slice slice_str(const char *text)
{
    return slice_make(text, text == NULL ? 0 : strlen(text));
}

/* The part from offset on, at most size bytes; clipped to what is there. */
struct slice slice_sub(struct slice s, size_t offset, size_t size);
bool slice_equal(struct slice a, struct slice b);
int slice_compare(struct slice a, struct slice b); /* memcmp order, shorter first */
/* ASCII letters only: the same whatever the locale says. */
bool slice_equal_nocase(struct slice a, struct slice b);
bool slice_equal_str(struct slice a, const char *text);
bool slice_equal_nocase_str(struct slice a, const char *text);
bool slice_starts(struct slice s, struct slice prefix);
/* Index of the first such byte, or s.size. */
size_t slice_find(struct slice s, uint8_t byte);
/* Takes the part before the separator off *s and skips the separator; all of it when there is none. */
struct slice slice_split(struct slice *s, uint8_t separator);
struct slice slice_trim(struct slice s); /* spaces and tabs, both ends */
/* Decimal digits alone, at least one; false on anything else and on overflow. */
bool slice_u64(struct slice s, uint64_t *value);
bool slice_u32(struct slice s, uint32_t *value);
/* NUL-terminated copy on the heap; the caller frees it. */
char *slice_strdup(struct slice s);

static inline uint8_t ascii_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static inline bool ascii_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}
