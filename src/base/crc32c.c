#include "base/crc32c.h"

#include <stdbool.h>

#include "base/bytes.h"

#define POLYNOMIAL 0x82f63b78u

static uint32_t by_bits(uint32_t crc, const uint8_t *at, size_t size)
{
    for (; size > 0; size--) {
        crc ^= *at++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    }
    return crc;
}

#ifdef __x86_64__
/*
 * The instruction has its answer three cycles later, and takes another question in each: so three
 * neighbouring parts go side by side. To join them, the sum of a part is moved past the bytes
 * behind it, n of them: multiplied by x^(8n) modulo the polynomial. The carry-less product of two
 * reflected 32 bit numbers stands one bit too low in 64, and the instruction multiplies by x^32
 * while it reduces: so the factors are x^(8n-33), reflected.
 */
enum { PART = 128 };
#define PAST_ONE_PART 0x0d3b6092
#define PAST_TWO_PARTS 0xb9e02b86

typedef long long two_words __attribute__((vector_size(16)));

__attribute__((target("sse4.2,pclmul"))) static uint64_t moved(uint64_t crc, uint32_t factor)
{
    two_words product = __builtin_ia32_pclmulqdq128((two_words){(long long)crc, 0},
                                                    (two_words){(long long)factor, 0}, 0);
    return __builtin_ia32_crc32di(0, (uint64_t)product[0]);
}

__attribute__((target("sse4.2,pclmul"))) static uint64_t
by_three(uint64_t crc, const uint8_t **bytes, size_t *size)
{
    const uint8_t *at = *bytes;
    for (; *size >= 3 * PART; at += 2 * PART, *size -= 3 * PART) {
        uint64_t second = 0, third = 0;
        for (const uint8_t *end = at + PART; at < end; at += 8) {
            crc = __builtin_ia32_crc32di(crc, bytes_get_le64(at));
            second = __builtin_ia32_crc32di(second, bytes_get_le64(at + PART));
            third = __builtin_ia32_crc32di(third, bytes_get_le64(at + 2 * PART));
        }
        crc = moved(crc, PAST_TWO_PARTS) ^ moved(second, PAST_ONE_PART) ^ third;
    }
    *bytes = at;
    return crc;
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *at,
                                                                 size_t size)
{
    uint64_t wide = crc;
    if (size >= 3 * PART && __builtin_cpu_supports("pclmul"))
        wide = by_three(wide, &at, &size);
    for (; size >= 8; size -= 8, at += 8)
        wide = __builtin_ia32_crc32di(wide, bytes_get_le64(at));
    crc = (uint32_t)wide;
    for (; size > 0; size--)
        crc = __builtin_ia32_crc32qi(crc, *at++);
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t size)
{
    crc = ~crc;
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return ~by_instruction(crc, bytes, size);
#endif
    return ~by_bits(crc, bytes, size);
}
