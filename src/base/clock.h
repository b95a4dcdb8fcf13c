/* Time. Tests in this process may set it; nothing in the server waits by sleeping. */
#pragma once
#include <stdint.h>

uint64_t clock_monotonic_us(void); /* never goes back; for durations and deadlines */
uint64_t clock_real_us(void);      /* since 1970, UTC; may jump */
static inline uint32_t clock_real_s(void)
{
    return (uint32_t)(clock_real_us() / 1000000); /* good until 2106, as stored formats are */
}

/* Test only: from now on both clocks stand at this real time; 0: the system's again. */
void clock_set_fake(uint64_t real_us);
