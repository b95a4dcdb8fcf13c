/*
 * A disk that can lose its power, in two halves.
 *
 * disk.c stands before libc in a test program: what the engine and LMDB write, create, rename,
 * remove and sync below one directory is done, and noted in order in memory that is shared with
 * children, so that a process can be killed and the next one goes on with the same disk. Syncs are
 * noted only; nothing waits for a real one.
 *
 * image.c makes from these notes what the disk may hold when the power goes at some moment: all
 * that was synced, and of the rest whatever it likes: nothing, all, any of the writes, any 512-byte
 * sectors of them, in any order. A name counts once its directory was synced, or when it likes.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DISK_SECTOR = 512, DISK_NODES = 8192, DISK_EVENTS = 1 << 17, DISK_LOG = 192 << 20 };

enum disk_kind {
    DISK_WRITE,      /* node, offset, data */
    DISK_TRUNCATE,   /* node, offset: the new size */
    DISK_SYNC,       /* node: all before is durable */
    DISK_SYNC_WRITE, /* offset: number of the one event that is durable (O_DSYNC) */
    DISK_LOST, /* node, a file: a sync failed; what it was to make durable never will be. Names wait
                  for the next sync: file systems keep a journal of them, or give up altogether */
    DISK_CREATE, /* node: directory, other: the file, data: name */
    DISK_MKDIR,  /* likewise */
    DISK_UNLINK, /* likewise */
    DISK_RENAME, /* node: directory, other: what, offset: new directory, data: both names */
    DISK_NOTE,   /* of the test: data */
};

struct disk_event {
    enum disk_kind kind;
    uint32_t node, other;
    bool log; /* a tick of the log: pwritev() into a segment */
    uint64_t offset;
    size_t data, size; /* in disk->log */
    uint32_t durable;  /* number of the event since which it is; UINT32_MAX: never */
};

struct disk_node {
    uint64_t inode; /* 0: it has no name any more */
    bool directory, segments, segment;
};

/* How it misbehaves, set before a life. */
struct disk_ways {
    bool no_fdatasync, no_directory_sync; /* controls: segments' fdatasync, all directories' fsync
                                             do nothing */
    uint32_t kill_at;                     /* the process dies at this event; 0: never */
    uint32_t fail_sync_at;                /* this sync fails with EIO; 0: none */
    bool fail_kills;                      /* and the process dies there */
};

struct disk {
    struct disk_ways ways;
    uint32_t event_count, node_count, sync_count;
    size_t used;
    char failure[512];                  /* what a child found wrong */
    struct disk_node nodes[DISK_NODES]; /* 1 is the directory itself */
    struct disk_event events[DISK_EVENTS];
    uint8_t log[DISK_LOG];
};

/* Shared with children; lives as long as the process. */
struct disk *disk_create(void);
/* What is in the directory now is durable; from here on it is noted. */
void disk_begin(struct disk *disk, const char *directory);
/* In a child: this process' calls are noted from now on. Opens nothing itself. */
void disk_attach(struct disk *disk);
/* Nothing where no disk is attached. */
void disk_note(struct disk *disk, const void *data, size_t size);

/* ---- image.c ------------------------------------------------------------------------------- */

struct tree; /* files and directories with their contents */

struct tree *tree_read(const char *directory); /* numbers nodes as disk_begin() does */
void tree_destroy(struct tree **tree);

/* What the power cut leaves. seed decides all that is left to chance. */
struct cut {
    uint32_t event; /* those before this one have happened */
    uint32_t seed;
    bool nothing;       /* only what was synced */
    uint32_t flip_node; /* of this file one byte is changed; 0: none */
    uint64_t flip_at;
};

/* To be called once, when the life is over: fills in disk_event.durable. */
void disk_settle(struct disk *disk);
/* Makes the directory what the disk holds. */
bool image_write(const struct disk *disk, const struct tree *before, const struct cut *cut,
                 const char *directory);
void directory_clear(const char *directory); /* removes what is in it */
