/*
 * Integers at any address: little-endian for stored formats, big-endian for keys that must sort.
 * And eight characters at a time in an integer, the first in its lowest byte (bytes_get_le64): what
 * is found in a character shows in the highest bit of its byte, BYTES_MARK.
 */
#pragma once
#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_FUNCTIONS(bits)                                                                      \
    static inline uint##bits##_t bytes_get_le##bits(const void *at)                                \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        memcpy(&value, at, sizeof(value));                                                         \
        return le##bits##toh(value);                                                               \
    }                                                                                              \
    static inline void bytes_put_le##bits(void *at, uint##bits##_t value)                          \
    {                                                                                              \
        value = htole##bits(value);                                                                \
        memcpy(at, &value, sizeof(value));                                                         \
    }                                                                                              \
    static inline uint##bits##_t bytes_get_be##bits(const void *at)                                \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        memcpy(&value, at, sizeof(value));                                                         \
        return be##bits##toh(value);                                                               \
    }                                                                                              \
    static inline void bytes_put_be##bits(void *at, uint##bits##_t value)                          \
    {                                                                                              \
        value = htobe##bits(value);                                                                \
        memcpy(at, &value, sizeof(value));                                                         \
    }

BYTES_FUNCTIONS(16)
BYTES_FUNCTIONS(32)
BYTES_FUNCTIONS(64)
#undef BYTES_FUNCTIONS

#define BYTES_ALL(c) (UINT64_C(0x0101010101010101) * (c))
#define BYTES_MARK BYTES_ALL(0x80)

/* Marks the characters that are c, and no others. */
static inline uint64_t bytes_mark(uint64_t eight, uint8_t c)
{
    uint64_t other = eight ^ BYTES_ALL(c);
    return ~(((other & ~BYTES_MARK) + ~BYTES_MARK) | other | ~BYTES_MARK);
}

/* Not 0 when one is below c (at most 0x80); which one it does not say. */
static inline uint64_t bytes_any_below(uint64_t eight, uint8_t c)
{
    return (eight - BYTES_ALL(c)) & ~eight & BYTES_MARK;
}

/* ASCII letters in lower case; all of eight must be below 0x80. */
static inline uint64_t bytes_lower(uint64_t eight)
{
    uint64_t capital = (eight + BYTES_ALL(0x80 - 'A')) & ~(eight + BYTES_ALL(0x7f - 'Z'));
    return eight | (capital & BYTES_MARK) >> 2;
}
