/*
 * Sixteen bytes at a time where the machine can (every x86-64 has SSE2), else line by line with
 * memchr(). Both do the same; test_parse.c compares them with a plain loop.
 */
#include "message/scan.h"

#include <string.h>

/* The rest that is too short for blocks. */
static const uint8_t *scan_plain(const uint8_t *at, const uint8_t *end, uint64_t *lines)
{
    while (at < end) {
        const uint8_t *feed = memchr(at, '\n', (size_t)(end - at));
        if (feed == NULL)
            return end;
        (*lines)++;
        at = feed + 1;
        if (end - at >= 2 && at[0] == '-' && at[1] == '-')
            return at;
    }
    return end;
}

#ifdef __SSE2__
#include <emmintrin.h>

static inline __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

static inline uint64_t sum_bytes(__m128i bytes)
{
    __m128i sums = _mm_sad_epu8(bytes, _mm_setzero_si128());
    return (uint64_t)_mm_cvtsi128_si64(sums) +
           (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums));
}

enum {
    BLOCK = 16,
    ROUND = 255, /* blocks until a counter of one byte could overflow */
};

const uint8_t *scan_dashes(const uint8_t *at, const uint8_t *end, uint64_t *lines)
{
    const __m128i feed = _mm_set1_epi8('\n');
    const __m128i dash = _mm_set1_epi8('-');
    while (end - at >= BLOCK + 2) {
        __m128i counts = _mm_setzero_si128(); /* line feeds, per place in the block */
        int block = 0;
        for (; block < ROUND && end - at >= BLOCK + 2; block++, at += BLOCK) {
            __m128i feeds = _mm_cmpeq_epi8(load(at), feed);
            __m128i found = _mm_and_si128(feeds, _mm_and_si128(_mm_cmpeq_epi8(load(at + 1), dash),
                                                               _mm_cmpeq_epi8(load(at + 2), dash)));
            unsigned mask = (unsigned)_mm_movemask_epi8(found);
            if (mask != 0) {
                unsigned place = (unsigned)__builtin_ctz(mask);
                unsigned until = (2u << place) - 1;
                *lines += sum_bytes(counts) +
                          (unsigned)__builtin_popcount((unsigned)_mm_movemask_epi8(feeds) & until);
                return at + place + 1;
            }
            counts = _mm_sub_epi8(counts, feeds);
        }
        *lines += sum_bytes(counts);
    }
    return scan_plain(at, end, lines);
}
#else
const uint8_t *scan_dashes(const uint8_t *at, const uint8_t *end, uint64_t *lines)
{
    return scan_plain(at, end, lines);
}
#endif
