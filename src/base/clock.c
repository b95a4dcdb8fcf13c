#include "base/clock.h"

#include <time.h>

static uint64_t fake_us;

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;
    if (fake_us != 0)
        return fake_us;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_monotonic_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_real_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

void clock_set_fake(uint64_t real_us)
{
    fake_us = real_us;
}

bool clock_pause(unsigned *left_ms)
{
    enum { MOMENT_MS = 20 };
    const struct timespec moment = {.tv_nsec = MOMENT_MS * 1000000};
    if (*left_ms < MOMENT_MS)
        return false;
    *left_ms -= MOMENT_MS;
    nanosleep(&moment, NULL);
    return true;
}
