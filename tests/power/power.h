/* One life of a volume on the disk of disk.h, and the comparison of an image with what was told. */
#pragma once
#include "../crash/store_work.h"
#include "disk.h"

/* What a life has told so far; all of it must hold ever after. */
struct told {
    uint32_t acknowledged[WORK_ACCOUNTS], submitted[WORK_ACCOUNTS];
    uint64_t blob, lsn, epoch;
};

struct note {
    enum { NOTE_OPENED, NOTE_SUBMITTED, NOTE_ACKNOWLEDGED } what;
    uint32_t account, k;
    uint64_t blob, lsn, epoch;
};

/* Adds what the notes before that event say. */
void told_add(struct told *told, const struct disk *disk, uint32_t event);

struct session {
    const char *directory;
    const char *faults; /* for fault_set(); "" */
    uint32_t changes;
    bool may_fail; /* a sync fails in it */
};

/* In a child, attached to the disk; what is wrong goes to disk->failure. Returns at its end. */
void session_run(struct disk *disk, const struct session *session, const struct told *told);

/* In a child, not attached. flipped: a byte was changed, so damage may be named, never hidden.
 * again: also close it, open it once more, go on with it. */
void image_compare(struct disk *disk, const char *directory, const struct told *told, bool flipped,
                   bool again);
