/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of every stored frame and value. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Continues crc (0 to begin) over more bytes: crc32c(crc32c(0, a), b) is that of a and b joined. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);
