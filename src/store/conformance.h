/*
 * What every engine must do, as cmocka tests over store.h alone. test_mem.c and test_local.c name
 * their engine; a new engine passes when this passes.
 */
#pragma once
#include "store/store.h"

struct conformance_engine {
    const char *name;
    /* A new, empty volume; what was there is forgotten. */
    void (*wipe)(void *arg);
    /* Opens the volume, again and again with what it held when it was closed. */
    struct store *(*open)(void *arg, struct event_base *base);
    void (*close)(void *arg, struct store **store);
    void *arg;
};

/* The number of tests that failed. */
int conformance_run(const struct conformance_engine *engine);
/* Random batches compared with a naive model, with reopens between; for one seed. Fails a cmocka
 * assertion; called by conformance_run() for some fixed seeds. */
void conformance_random(const struct conformance_engine *engine, uint32_t seed, unsigned rounds);
