/* Verifying a volume: what check.c does for a closed volume and on an open one alike, for `restante
 * check` and, piece by piece, for the scrub. */
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
    bool scrub; /* at a walk, from the disk and not from its cache; no body is read for the index */
    /* the check's own */
    uint64_t done, total;
    uint64_t read; /* bytes whose checksums were compared */
    uint64_t damages;
};

/* Reads everything: segments, index, snapshots, journal; reports what it finds. */
void check_volume(struct check *check);
/* Its parts: one of check->segments; the index; snapshots and journal. */
void check_segment(struct check *check, size_t at);
void check_index(struct check *check);
void check_copies(struct check *check);
/* One finding. file may be "". */
void check_report(struct check *check, int severity, const char *file, uint64_t offset,
                  struct id partition, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/*
 * A check of an open volume as a job of its own thread (local->checker). On the loop: begin holds
 * what is to be read; the caller sets check.report, which the thread calls with job as its arg,
 * job.work and job.done.run, and submits; done.run calls end.
 */
struct check_job {
    struct job job;
    struct local *local;
    struct check check;
};
void check_job_begin(struct check_job *job, struct local *local);
void check_job_end(struct check_job *job);
