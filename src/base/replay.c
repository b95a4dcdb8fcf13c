/*
 * A fuzz target without a fuzzer, for the tests: its seeds (the files named), cut at every length,
 * and each changed by a generator that is the same every time. Targets that play whole sessions are
 * compiled with fewer rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

#ifndef REPLAY_ROUNDS
#define REPLAY_ROUNDS 3000
#endif
enum { SEED_MAX = 64 * 1024, CUT_STEP = REPLAY_ROUNDS < 1000 ? 7 : 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t random_next(void)
{
    static uint32_t state = 2463534242u; /* xorshift (Marsaglia 2003) */
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* In a block of its exact size, so that ASan sees a byte read behind it. */
static void try(const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL)
        abort();
    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void change(uint8_t *bytes, size_t size)
{
    for (uint32_t changes = 1 + random_next() % 4; changes > 0; changes--) {
        uint32_t what = random_next();
        size_t at = (what >> 8) % size;
        bytes[at] = (what & 1) != 0 ? (uint8_t)(what >> 24) : bytes[random_next() % size];
    }
}

static void replay(const char *name)
{
    static uint8_t seed[SEED_MAX], changed[SEED_MAX];
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        perror(name);
        exit(1);
    }
    size_t size = fread(seed, 1, sizeof(seed), file);
    fclose(file);
    for (size_t cut = 0; cut <= size; cut += size < 4096 ? CUT_STEP : 37)
        try(seed, cut);
    try(seed, size);
    for (int round = 0; size > 0 && round < REPLAY_ROUNDS; round++) {
        memcpy(changed, seed, size);
        change(changed, size);
        try(changed, round % 3 == 0 ? 1 + random_next() % size : size);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    puts("replayed");
    return 0;
}
