/*
 * The inner loop of the parser: finding the few lines that matter among all others, and counting
 * lines on the way.
 */
#pragma once
#include <stdint.h>

/*
 * The start of the next line after `at` that begins with "--", or end. Adds to *lines the line
 * feeds between at and the result. The line that starts at `at` itself is not looked at.
 */
const uint8_t *scan_dashes(const uint8_t *at, const uint8_t *end, uint64_t *lines);
