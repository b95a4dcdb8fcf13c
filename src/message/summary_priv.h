/* The packed form, shared by summary.c and summary_encode.c: doc/formats/summary.md. */
#pragma once

enum {
    SUMMARY_FIXED_SIZE = 1 + 4 + 4 + 2, /* format, parts, size of the texts, of the folded */
    SUMMARY_PART_NUMBERS_MIN = 9,   /* numbers of a part, a byte each at least */
    SUMMARY_KIND_MASK = 3,          /* of the first number of a part */
    SUMMARY_HAS_EXTRAS = 4,
    SUMMARY_DEPTH_SHIFT = 3,
};
