/*
 * The local engine from the inside: for its own files, and for compaction, snapshot, journal,
 * rebuild and check, which stand on top of them. Read store/README.md and
 * doc/formats/segment.md first.
 *
 * Who owns what. Everything in struct local belongs to the loop's thread, unless a line here says
 * otherwise: judging, the overlay, the map of blobs, the list of segments, completions. Threads get
 * what they need with their job and answer by an item for the loop (io/post.h), so that there are
 * no locks on any of it:
 *   log           one append and one fdatasync per tick; owns the segment it writes (log.c)
 *   index         the only writer of LMDB (checkpoint.c)
 *   readers       read transactions, cold bodies, decompression (load.c, read.c)
 *   helper        makes segments ahead of need, looks at free space (supply.c)
 *   housekeeper   compaction, snapshots: may take minutes
 *   checker       checks and the scrub: may take hours, and holds up nothing
 *
 * What a key is now, for a read: active layer, frozen layer, LMDB. For judging a new batch: the
 * batches of its partition that are on their way to the log, then the same three.
 */
#pragma once
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "store/local/frame.h"
#include "store/local/layer.h"
#include "store/local/pool.h"
#include "store/store_priv.h"

struct local;
struct txn;

/* ---- bounds -------------------------------------------------------------------------------- */

enum {
    LOCAL_TICK_BYTES = 8 << 20,     /* a tick ends at about this; one batch may be larger */
    LOCAL_PARTITION_IN_FLIGHT = 64, /* judged batches of one partition; more wait in order */
    LOCAL_OVERLAY_BYTES = 128 << 20,
    LOCAL_OVERLAY_COUNT = 16000, /* of the active layer and its blobs: far below the 131,072
                                    dirty pages at which LMDB 0.9.24 begins to leak */
    LOCAL_IN_FLIGHT_BYTES = 512 << 20,
    LOCAL_CLEAN_BLOBS = 16384,   /* places remembered that are in the index too */
    LOCAL_LOOP_READ = 256 << 10, /* the loop reads no more than this, and only warm pages */
};

/* ---- volume.c: the directory, its identity, its lock --------------------------------------- */

struct volume {
    int directory, segments, lock; /* descriptors; directories are synced through them */
    char *path;
    struct id uuid;
    uint64_t epoch, created_us, opens;
    uint32_t unclean; /* lives in a row that ended without a clean close, this one included */
};

/* lock: take it (false, saying who may have it, when it is taken). */
bool volume_open(struct volume *volume, const char *path, bool create, bool lock,
                 struct error *error);
bool volume_save(struct volume *volume, struct error *error); /* durable when it returns true */
void volume_close(struct volume *volume);

/* ---- segment.c ----------------------------------------------------------------------------- */

struct segment {
    RB_ENTRY(segment) tree;
    uint64_t generation;
    int fd;
    atomic_uint refs;      /* the list's and those of reads on their way */
    uint64_t size;         /* of the file */
    uint64_t live;         /* stored bytes of bodies with references, by durable batches */
    uint64_t live_indexed; /* as the last checkpoint has it */
    uint64_t bodies;       /* stored bytes of all bodies, as far as known since open */
    enum segment_kind kind;
    bool begun;                      /* its SEGMENT frame was there at open; then: */
    uint64_t previous, previous_end; /* the log segment it continues, and where that one ends */
    bool writing;                    /* the log thread appends to it */
    bool filling; /* compaction made it, and its bodies' new places are not entered yet */
    bool damaged; /* has a bad frame that was durable: is kept (recovery rule 3) */
};

RB_HEAD(segments, segment);
RB_PROTOTYPE(segments, segment, tree, segment_compare)

struct segment_name {
    char text[32];
};
struct segment_name segment_name(uint64_t generation);           /* "00000000000000ab.seg" */
struct segment_name segment_name_new(uint64_t generation);       /* "00000000000000ab.new" */
bool segment_name_parse(const char *name, uint64_t *generation); /* a ".seg" */

/*
 * A file full of zeros, durable with its name, one reference. NULL with errno. size is rounded up
 * to pages. name_new: under its ".new" name, see segment_publish().
 */
struct segment *segment_create(const struct volume *volume, uint64_t generation, uint64_t size,
                               bool name_new);
/* Syncs the file, gives it its ".seg" name, syncs the directory. False with errno. */
bool segment_publish(const struct volume *volume, struct segment *segment);
struct segment *segment_open(const struct volume *volume, uint64_t generation); /* NULL: errno */
struct segment *segment_hold(struct segment *segment);                          /* any thread */
void segment_drop(struct segment **segment); /* any thread; the last closes the descriptor */
bool segment_remove_file(const struct volume *volume, uint64_t generation);

/* On the loop. NULL when there is none of that generation. */
struct segment *local_segment(struct local *local, uint64_t generation);
void local_segment_add(struct local *local, struct segment *segment); /* takes the reference */
/* Removes it from the list and its file from the directory (reads on their way go on). */
bool local_segment_remove(struct local *local, uint64_t generation);

/* ---- scan.c: the frames of a segment in order ---------------------------------------------- */

struct scan {
    const struct segment *segment;
    struct id volume;
    uint64_t offset; /* where the next frame is looked for */
    uint64_t end;    /* nothing is read from here on */
    struct buf payload;
};

enum scan_outcome {
    SCAN_FRAME,   /* whole, checksum right */
    SCAN_PAYLOAD, /* the header is good, the payload is not */
    SCAN_BAD,     /* no frame at `at`, but there is a good header at `next` */
    SCAN_END,     /* nothing but zeros or garbage without a good header up to the end */
};

struct scanned {
    struct frame frame;
    uint64_t at, next;    /* offsets of this frame and behind it */
    struct slice payload; /* FRAME: valid until the next call; none when payloads are not read */
};

void scan_init(struct scan *scan, const struct segment *segment, struct id volume, uint64_t offset,
               uint64_t end);
void scan_finish(struct scan *scan);
/* payloads: read them and verify their checksum; else every good header is a FRAME (COMMIT and
 * SEGMENT payloads are read all the same). */
enum scan_outcome scan_next(struct scan *scan, bool payloads, struct scanned *found);
/* The SEGMENT frame at the beginning; false when it is not there. */
bool scan_segment(const struct segment *segment, struct id volume, struct frame *frame,
                  struct frame_segment *info);

/* ---- index.c: LMDB ------------------------------------------------------------------------- */

struct place {
    uint64_t segment; /* generation; 0: lost, reads are CORRUPT */
    uint64_t offset;  /* of the payload */
    uint32_t size;    /* as stored */
    uint32_t raw_size;
    uint32_t crc; /* of the payload as stored */
    uint8_t codec;
};

struct blob_record {
    struct place place;
    uint32_t refs;
};

/* Where the log goes on behind a checkpoint; generation 0: at the first segment there is. */
struct position {
    uint64_t lsn;
    uint64_t generation;
    uint64_t offset;
};

struct index {
    MDB_env *env;
    MDB_dbi kv, blobs, meta;
    pthread_rwlock_t resize; /* read: around every transaction; write: while the map grows */
};

enum index_found { INDEX_FOUND, INDEX_ABSENT, INDEX_CORRUPT, INDEX_FAILED };

/* The directory "index" of the volume; made when it is not there. */
bool index_open(struct index *index, const char *volume_path, struct error *error);
void index_close(struct index *index);
/* Renames "index" to "index.bad", in place of an older one. It must be closed. */
bool index_set_aside(const char *volume_path, struct error *error);
/* Reads and verifies every record of every database; counts bad values, and one for a database that
 * hides records. False when the tree itself cannot be read. */
bool index_walk(struct index *index, uint64_t *bad);

/* LMDB's pages have no checksums: a byte flipped in one can hide whole records from reads. On a
 * walk through a database that shows: keys out of order, fewer than LMDB has counted, or the first
 * or last key of a leaf page that a search from the root does not find (a branch page is damaged;
 * a search for a key between those two takes the same way). */
struct index_order {
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_stat stat;
    uint64_t seen;
    bool broken;
    uintptr_t leaf; /* the page of the last key */
    size_t size;    /* of the last key */
    uint8_t last[512];
};
void index_order_init(struct index_order *order, MDB_txn *txn, MDB_dbi dbi);
void index_order_next(struct index_order *order, MDB_val key);
/* Behind the last record. */
bool index_order_whole(struct index_order *order);

/* Inside a transaction, any thread. value points into the map until the transaction ends. */
enum index_found index_get(const struct index *index, MDB_txn *txn, struct id partition,
                           struct slice key, struct slice *value);
enum index_found index_get_blob(const struct index *index, MDB_txn *txn, uint64_t blob,
                                struct blob_record *record);
enum index_found index_get_position(const struct index *index, MDB_txn *txn,
                                    struct position *position);
/* Value and checksum of a kv pair as the cursor gave them; false when the checksum is wrong. */
bool index_check_kv(MDB_val key, MDB_val stored, struct slice *value);
bool index_check_blob(MDB_val key, MDB_val stored, struct blob_record *record);
uint64_t index_blob_id(MDB_val key);

/* Writing, in a write transaction of the calling thread; all return 0, an LMDB code or errno. */
int index_put(const struct index *index, MDB_txn *txn, struct id partition, struct slice key,
              struct slice value);
int index_put_blob(const struct index *index, MDB_txn *txn, uint64_t blob,
                   const struct blob_record *record); /* refs 0: deleted */
int index_put_position(const struct index *index, MDB_txn *txn, const struct position *position);
int index_put_live(const struct index *index, MDB_txn *txn, uint64_t generation, uint64_t live);
int index_del(const struct index *index, MDB_txn *txn, struct id partition, struct slice key);
/* Adds to *deleted how many there were. */
int index_del_range(const struct index *index, MDB_txn *txn, struct id partition, struct slice from,
                    struct slice to, size_t *deleted);
/* Records of `meta` beside the position: "live", "frozen", "damaged". */
int index_put_mark(const struct index *index, MDB_txn *txn, const char *kind, struct slice name);
int index_each_mark(const struct index *index, MDB_txn *txn, const char *kind,
                    void (*each)(void *arg, struct slice name, struct slice value), void *arg);

struct blob_change {
    uint64_t blob;
    struct blob_record record;
};
struct live_change {
    uint64_t generation, live;
};
/* What one checkpoint writes, whole or not at all. */
struct checkpoint {
    struct layer *layer;
    struct blob_change *blobs;
    size_t blob_count;
    struct live_change *live;
    size_t live_count;
    struct position position;
    uint64_t index_txn; /* set: LMDB's number of the transaction */
};
/* commit.c. Begins, writes, commits; grows the map when it is full. 0, an LMDB code or errno. */
int index_commit(struct index *index, struct checkpoint *checkpoint);

/* ---- blobs.c: what is known in memory of blobs --------------------------------------------- */

/* A batch that is submitted and not judged counts on a blob: those behind it wait for it. */
struct claim {
    TAILQ_ENTRY(claim) next;
    struct txn *txn;
    struct blob *blob;
};

struct blob {
    RB_ENTRY(blob) tree;
    TAILQ_ENTRY(blob) in_dirty;
    TAILQ_ENTRY(blob) clean; /* while nothing but memory would be lost with it */
    uint64_t id;
    struct place place;         /* durable; not there while next > refs == 0 of a new one */
    uint32_t refs;              /* by durable batches */
    int64_t next;               /* by submitted ones */
    uint32_t pins;              /* batches on their way that change it */
    TAILQ_HEAD(, claim) claims; /* in the order of submission */
    bool known;                 /* else only its claims are here: the index has not been asked */
    bool dirty, frozen;         /* not in the index as it is here; being written to it */
    bool verified;              /* checksum seen to be right since open */
    bool listed;                /* on the list of clean ones */
};

RB_HEAD(blobs, blob);
RB_PROTOTYPE(blobs, blob, tree, blob_compare)
TAILQ_HEAD(blob_list, blob);

struct blob *local_blob(struct local *local, uint64_t id);     /* NULL: not in memory */
struct blob *local_blob_add(struct local *local, uint64_t id); /* must not be there */
/* What the index says, when nobody made the blob known since. */
struct blob *local_blob_loaded(struct local *local, uint64_t id, const struct blob_record *record);
void local_blob_dirty(struct local *local, struct blob *blob);
/* To be called when pins, dirty, frozen or claims may have become nothing: keeps it as clean, or
 * forgets it when it is dead. */
void local_blob_settle(struct local *local, struct blob *blob);
void local_blobs_clear(struct local *local);
/* The dirty ones, which are frozen from now on; the caller frees *changes. And back again. */
size_t local_blobs_freeze(struct local *local, struct blob_change **changes);
void local_blobs_thaw(struct local *local, const struct blob_change *changes, size_t count);
/* Live bytes of the segment: that body begins or ends to count. */
void local_blob_live(struct local *local, const struct place *place, bool alive);
/* refs by durable batches, with the live bytes of the segment. */
void local_blob_count(struct local *local, struct blob *blob, int64_t delta);

/* Compaction: bodies that were copied (durable) to another segment. */
struct blob_move {
    uint64_t blob;
    struct place from, to;
};
/*
 * Enters the new places of those that are still where they were, so that the next checkpoint holds
 * them; then calls done on the loop, with how many were moved. moves must stay until then. Where
 * something fails (the volume is down) they stay where they were.
 */
void local_blobs_moved(struct local *local, const struct blob_move *moves, size_t count,
                       void (*done)(void *arg, size_t moved), void *arg);

/* ---- load.c: asking the index from the loop ------------------------------------------------ */

enum load_kind { LOAD_KEY, LOAD_BLOB };

struct load_item {
    enum load_kind kind;
    struct id partition;
    struct slice key; /* in the load's memory */
    uint64_t blob;
    enum index_found found;
    struct value *value; /* KEY */
    struct blob_record record;
};

/* Several keys and blobs in one read transaction on a reader. */
struct load {
    struct job job;
    struct local *local;
    struct load_item *items;
    size_t count, room;
    uint64_t seen; /* the last transaction of the index that it saw */
    bool failed;   /* there was no transaction: all items are INDEX_FAILED */
    /* On the loop. What was loaded is the truth below the layers: a load that a checkpoint overtook
     * is done again before this runs. Blobs have been made known to blobs.c. ok is false when the
     * volume stopped. The load is the callee's then: load_destroy(). */
    void (*loaded)(struct load *load, bool ok);
    void *arg;
};

struct load *load_create(struct local *local, void (*loaded)(struct load *load, bool ok),
                         void *arg);
void load_key(struct load *load, struct id partition, struct slice key); /* copies the key */
void load_blob(struct load *load, uint64_t blob);
void load_start(struct load *load);
void load_destroy(struct load **load); /* accepts NULL */

/* A reader's transaction; NULL when LMDB has none to give. Ends with reader_end(). */
MDB_txn *reader_begin(struct local *local, unsigned thread);
void reader_end(struct local *local, unsigned thread);

/* ---- txn.c, judge.c: a batch on its way ---------------------------------------------------- */

struct txn_blob { /* what a batch does to a blob, all in all */
    struct blob *blob;
    int64_t delta;
    bool created;
};

struct txn {
    TAILQ_ENTRY(txn) in_partition; /* waiting, in flight, or unanswered */
    STAILQ_ENTRY(txn) in_log;
    struct partition *partition;
    struct store_batch *batch;
    store_done *done;
    void *arg;
    uint64_t order;           /* of submission, volume-wide */
    uint64_t lsn;             /* once judged good */
    uint64_t bytes;           /* in flight: operations and bodies */
    enum store_result preset; /* not OK: what it answers whatever it says (FENCED, UNAVAILABLE) */
    enum store_result result;
    struct layer layer;   /* its effect on keys, once judged */
    struct claim *claims; /* on blobs, until it is judged */
    size_t claim_count;
    struct txn_blob *blobs; /* its effect on blobs */
    size_t blob_count;
    struct place *places; /* of the new blobs, in order; set by the log thread */
    struct load *brought; /* what the last load brought, while it is judged again */
    bool loading;         /* a load is on its way */
    bool orphan;          /* answered meanwhile: freed when the load comes back */
};

TAILQ_HEAD(txn_list, txn);
STAILQ_HEAD(txn_queue, txn);

struct quiet {
    STAILQ_ENTRY(quiet) next;
    struct post_item item;
    struct local *local;
    struct id partition;
    void (*quiet)(void *arg);
    void *arg;
};

struct partition {
    RB_ENTRY(partition) tree;
    TAILQ_ENTRY(partition) in_blocked;
    struct id id;
    struct local *local;
    struct txn_list waiting;   /* in order; the first is being judged */
    struct txn_list in_flight; /* judged, on the way to the log */
    uint32_t in_flight_count;
    STAILQ_HEAD(, quiet) quiets;
    struct post_item settle;
    bool settling; /* the item is on its way */
    unsigned busy; /* callbacks are running that still need it */
    bool failing;  /* the first waiting one has a result, which is not OK */
    bool blocked;  /* on the list: waits for room or for a blob of another partition */
    bool fenced;
};

RB_HEAD(partitions, partition);
RB_PROTOTYPE(partitions, partition, tree, partition_compare)

void local_submit(struct store *store, struct store_batch *batch, store_done *done, void *arg);
void local_quiesce(struct store *store, struct id partition, void (*quiet)(void *arg), void *arg);
void local_resume(struct store *store, struct id partition);
void partition_go(struct partition *partition); /* judges what can be judged */
/* After a completion: goes on, answers what failed, quiets, or forgets it. */
void partition_turn(struct partition *partition);
void partition_forget(struct partition *partition); /* at the very end */
void local_unblock(struct local *local);            /* something that batches wait for has come */

enum judged { JUDGED_GOOD, JUDGED_WAIT, JUDGED_FAILED };
/* GOOD: layer and blobs are set. WAIT: a load was started (txn->loading), or a batch of another
 * partition must come first. FAILED: txn->result. */
enum judged judge(struct txn *txn);
void txn_loaded(struct load *load, bool ok);

/* Undoes what it did to blobs by being submitted. */
void txn_withdraw(struct txn *txn);
void txn_answer(struct txn *txn, enum store_result result); /* and frees it */

/*
 * Takes all batches on their way, as not applied or not known: those in flight get `first` (the
 * first of each partition) or `rest`, those waiting behind them `rest`, others UNAVAILABLE. They
 * are answered by local_answer().
 */
void local_take_all(struct local *local, enum store_result first, enum store_result rest,
                    struct txn_list *taken);
void local_answer(struct txn_list *taken);

/* ---- log.c, supply.c ----------------------------------------------------------------------- */

/*
 * One tick on its way back to the loop. NOSPACE, UNAVAILABLE: nothing of it was written. UNKNOWN: a
 * write or a sync failed. After one of these the log has stopped and hands out nothing more.
 */
struct tick {
    struct post_item item;
    struct local *local;
    struct txn_queue txns;
    enum store_result result;
    int error;              /* errno */
    struct segment *opened; /* a segment whose first tick this is; one reference, or NULL */
    struct position end;    /* the log goes on here */
    uint64_t bytes;
};

struct log {
    struct local *local;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* of what follows up to the next line */
    pthread_cond_t changed;
    struct txn_queue queue;
    bool ending, stopped;
    struct segment *next; /* made ahead of need */
    bool wanted;          /* the helper has been asked for one */
    int next_error;       /* why there is none */
    uint64_t supply_size;
    uint64_t room; /* of the segment that is written */
    /* the log thread's own, while it runs */
    struct segment *segment;
    uint64_t offset;
    struct position tail; /* of the last tick */
    uint64_t durable;
    struct job supply;
};

void log_start(struct local *local, const struct position *tail);
/* Ends the thread, gives up the segment. drain: writes what is in the queue before, unless it has
 * stopped, and cuts off the zeros that were not needed. */
void log_finish(struct local *local, bool drain);
void log_submit(struct local *local, struct txn *txn);
/* After a tick that was not written, when all batches have been taken: forgets the queue, goes on.
 */
void log_resume(struct local *local);
/* How many bytes can certainly be written: the rest of this segment and the next one. */
uint64_t log_room(struct local *local);
/* txn.c, on the loop: a tick has come back. */
void tick_done(struct post_item *item);
void supply_want(struct log *log, uint64_t size); /* under the mutex; 0: the usual size */
/* On the log thread: waits for one of at least that size. NULL with errno. */
struct segment *supply_take(struct log *log, uint64_t size);
void supply_finish(struct log *log);                 /* removes the one made ahead */
void supply_look(struct local *local);               /* any thread: how much space is there? */
uint64_t local_next_generation(struct local *local); /* any thread */

/* ---- checkpoint.c -------------------------------------------------------------------------- */

/* Freezes the overlay and gives it to the index thread when it is time (or `now`), and when there
 * is something and nothing is being written. */
void checkpoint_consider(struct local *local, bool now);
void checkpoint_on_timer(int fd, short what, void *arg);
/* Before recovery, when the index thread is idle: what was not written is forgotten. */
void checkpoint_abandon(struct local *local);

/*
 * Who wants to know of checkpoints: run on the loop after each, with local->checkpoint as its
 * position. For dropping segments, for journal and snapshots.
 */
struct checkpoint_hook {
    TAILQ_ENTRY(checkpoint_hook) next;
    void (*done)(struct checkpoint_hook *hook, struct local *local);
};

/* ---- recover.c ----------------------------------------------------------------------------- */

/*
 * Brings the overlay up to the last batch that is whole, by the rules of store/README.md, makes
 * durable what may not be, and sets the tail. No thread of the volume runs meanwhile, except the
 * one that calls. rebuild: set the index aside first and make a new one.
 */
bool recover(struct local *local, bool rebuild, struct error *error);

/* What recover() knows while it goes through the log; replay.c applies frames to it. */
struct extent { /* a part of the log that counts */
    struct segment *segment;
    uint64_t start, end;
};

struct replay_body {
    uint64_t blob;
    struct place place;
    bool whole; /* the payload is as it was written */
};

struct replay {
    struct local *local;
    MDB_txn *txn;        /* of the index, for what the layer does not have */
    uint64_t proven;     /* some frame says that all up to this LSN was durable */
    uint64_t last;       /* LSN up to which all is applied, or accounted for as damaged */
    struct position end; /* of the part of the log that is proven and was gone through */
    bool stopped;        /* a torn tail was met: the rest does not count */
    bool doubtful;       /* something valid stood behind it */
    bool failed;         /* the index cannot be read or written */
    struct error *error;
    struct segment *suspect; /* bytes there are no frame, and may or may not be the torn tail */
    uint64_t suspect_at;
    /* the batch whose BODY frames are being met */
    uint64_t bodies_lsn;
    struct replay_body *bodies;
    size_t body_count, body_room;
    /* LSNs that are missing and whose partition is not known yet */
    uint64_t *missing;
    size_t missing_count, missing_room;
    /* the unproven tail, as it will stand in the new segment */
    uint64_t generation;
    struct buf tail, partitions;
    size_t tail_whole; /* of it, batches that are whole */
};

void replay_frame(struct replay *replay, const struct scanned *found, enum scan_outcome outcome,
                  struct segment *segment);
void replay_end(struct replay *replay); /* what is missing at the end of the log */
void replay_finish(struct replay *replay);
bool replay_begin_txn(struct replay *replay);
void replay_freeze(struct replay *replay, struct id partition); /* zero: all */
/* replay_apply.c: a batch on the overlay. False when its partition had to be frozen. */
bool replay_apply(struct replay *replay, struct id partition, struct slice ops);

/*
 * Written by whoever writes snapshots and journal (rebuild.c). Called by recover() with an empty
 * index: fills kv, blobs (places from BODY headers of all segments) and live bytes from the newest
 * good snapshot, the journal and the segments, up to some LSN, and ends with a position from where
 * recover() goes on through the segments (generation 0: from the first; batches up to position.lsn
 * are skipped). Where not every durable batch is certainly there, the epoch grows.
 */
bool local_rebuild(struct local *local, struct error *error);

/* ---- the volume ---------------------------------------------------------------------------- */

enum local_state {
    LOCAL_SERVING,
    LOCAL_RECOVERING, /* after a failed write: nothing is asked or answered until it is over */
    LOCAL_DOWN,       /* recovery failed; everything is UNAVAILABLE */
    LOCAL_CLOSING,
};

struct frozen_partition {
    struct id partition; /* zero: all */
};

struct local {
    struct store store; /* first */
    struct event_base *base;
    struct post_queue *posts;
    struct store_local_options options;
    struct volume volume;
    enum local_state state;

    struct log log;
    struct pool *index_thread, *readers, *helper, *housekeeper, *checker;
    MDB_txn **reader_txns; /* one per reader thread, its own */
    struct index index;
    unsigned jobs_out; /* loads, reads, checkpoints on threads: recovery waits for them */

    struct layer active;
    struct layer *frozen; /* NULL: no checkpoint is being written */
    struct blob_list dirty_blobs;
    size_t dirty_count;
    uint64_t log_bytes;         /* since the last freeze */
    struct position tail;       /* of the last tick that came back */
    uint64_t index_txn;         /* LMDB's number of the last checkpoint */
    struct position checkpoint; /* of the index, as far as the layers were dropped for it */
    struct event *checkpoint_timer;
    bool checkpoint_due;     /* the timer has run */
    bool committing;         /* the index thread is writing it */
    bool checkpoint_failing; /* no space: it is tried again by the timer */
    struct checkpoint_job *checkpoint_job;
    TAILQ_HEAD(, checkpoint_hook) hooks;

    struct segments segments;
    atomic_uint_least64_t generation; /* the last given out */
    struct blobs blobs;
    struct blob_list clean_blobs;
    size_t clean_count;
    uint64_t blob_last; /* the last id given out */

    struct partitions partitions;
    TAILQ_HEAD(, partition) blocked;
    uint64_t order, lsn;                       /* last submitted, last judged good */
    uint64_t in_flight_bytes, in_flight_count; /* submitted, not answered */
    uint64_t judged_operations, judged_bytes;  /* of those on the way to the log, beside bodies */

    struct frozen_partition *frozen_partitions; /* read-only since damage was found */
    size_t frozen_count;

    struct keeper *keeper; /* keep.c */
    struct scrub *scrub;   /* scrub.c; NULL: none */
    struct event *settled_timer;
    struct job settle;
    struct job recovery;
    bool recovery_rebuild, recovery_started, recovery_ok;
    struct txn_list unanswered; /* until recovery is over */
    struct error recovery_error;

    atomic_bool space_low;  /* blobs are refused, the rest may still be written */
    atomic_bool space_gone; /* no segment could be made */
    atomic_uint_least64_t free_bytes;
    atomic_bool stopping; /* long work on the housekeeper ends soon when it sees this */
    atomic_uint_least64_t checksum_failures;
    struct store_stats stats;
};

static inline struct local *local_of(struct store *store)
{
    return (struct local *)(void *)store;
}

/* One line for the administrator, in the log and in stats.trouble. */
void local_trouble(struct local *local, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));
void local_freeze(struct local *local, struct id partition); /* in memory; zero: all */
bool local_is_frozen(const struct local *local, struct id partition);
/* A failed write or sync, a broken index: the volume stops and recovers (rule 2). On the loop. */
void local_stop_and_recover(struct local *local, bool rebuild);
void local_recover_when_quiet(struct local *local); /* when the last job has come back */

void local_check(struct store *store, const struct store_check_options *options,
                 void (*done)(void *arg), void *arg); /* check.c */
void local_get(struct store *store, struct id partition, struct slice key, store_got *got,
               void *arg);
void local_scan(struct store *store, struct id partition, struct slice from, struct slice to,
                size_t most, store_scanned *scanned, void *arg);
void local_read(struct store *store, uint64_t blob, uint64_t offset, uint64_t size,
                store_read_done *done, void *arg);
