/* Time. Tests in this process may set it; nothing in a running server waits by sleeping. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

uint64_t clock_monotonic_us(void); /* never goes back; for durations and deadlines */
uint64_t clock_real_us(void);      /* since 1970, UTC; may jump */
static inline uint32_t clock_real_s(void)
{
    return (uint32_t)(clock_real_us() / 1000000); /* good until 2106, as stored formats are */
}

/* For a start alone, which has no loop yet and finds something taken by a process that is about to
 * end: sleeps a moment and takes it off *left_ms; false, at once, when nothing is left. */
bool clock_pause(unsigned *left_ms);

/* Test only: from now on both clocks stand at this real time; 0: the system's again. */
void clock_set_fake(uint64_t real_us);
