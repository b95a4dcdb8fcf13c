/* Integers at any address: little-endian for stored formats, big-endian for keys that must sort. */
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
