/* Verifying a volume: what check.c does for a closed volume and on an open one alike. */
#pragma once
#include "store/local/local_priv.h"

struct check {
    const struct volume *volume;
    struct index *index;       /* NULL: cannot be opened, which was reported */
    struct segment **segments; /* ascending; what is there */
    size_t segment_count;
    struct position tail; /* where the log ends; generation 0: not known (nobody has it open) */
    const atomic_bool *stopping; /* may be NULL */
    store_report *report;
    store_progress *progress; /* may be NULL */
    void *arg;
    /* the check's own */
    uint64_t done, total;
    uint64_t damages;
};

/* Reads everything: segments, index, snapshots, journal; reports what it finds. */
void check_volume(struct check *check);
/* One finding. file may be "". */
void check_report(struct check *check, int severity, const char *file, uint64_t offset,
                  struct id partition, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* store_check() of the local engine. */
void local_check(struct store *store, const struct store_check_options *options,
                 void (*done)(void *arg), void *arg);
