/*
 * The mem engine: the whole contract on an image in memory, with a clock of loop turns and faults
 * that tests inject (mem.h). It exists so that the layers above can be tried against every order,
 * delay, failure and crash that store.h allows, in milliseconds and without luck.
 *
 * One queue holds everything asked, in order. A batch is judged when it becomes durable: all that
 * was submitted before it has been judged by then, so this is "against everything submitted
 * before". A batch that fails marks its partition; whatever of the partition was submitted up to
 * its completion fails with it.
 */
#include "store/mem/mem.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/mem/image.h"

enum ask_kind { ASK_BATCH, ASK_GET, ASK_SCAN, ASK_READ, ASK_QUIET, ASK_CHECK };

struct ask {
    TAILQ_ENTRY(ask) entry;
    enum ask_kind kind;
    uint64_t number; /* of this ask; all are numbered in order */
    uint64_t due;    /* turn */
    struct partition *partition;
    void *arg;
    union {
        struct {
            struct store_batch *batch;
            store_done *done;
            enum store_result result;
            bool judged;
            enum store_result injected; /* OK: none */
            bool applied;               /* with UNKNOWN */
        } batch;
        struct {
            struct id partition;
            uint8_t from[STORE_SCAN_KEY_MAX], to[STORE_SCAN_KEY_MAX];
            uint16_t from_size, to_size;
            size_t most;
            store_got *got;
            store_scanned *scanned;
        } keys;
        struct {
            uint64_t blob, offset, size;
            store_read_done *done;
        } read;
        void (*quiet)(void *arg); /* ASK_QUIET, ASK_CHECK */
    };
};

/* Known while the store is open, once it was written to. */
struct partition {
    TAILQ_ENTRY(partition) entry;
    struct id id;
    uint64_t in_flight;
    bool fenced;
    bool failing;           /* a failed batch was judged, its completion has not run */
    enum store_result take; /* UNAVAILABLE or UNKNOWN: what those taken along answer */
    uint64_t doomed;        /* asks up to this number are taken along */
};

struct fault {
    TAILQ_ENTRY(fault) entry;
    uint64_t submit; /* number of the submit */
    enum store_result result;
    bool applied;
};

struct mem {
    struct store store;
    struct event *turn_event;
    struct store_mem_image *image;
    TAILQ_HEAD(, ask) asks;
    TAILQ_HEAD(, partition) partitions;
    TAILQ_HEAD(, fault) faults;
    uint64_t turn, delay, numbers, submits, steps, stop_at;
    bool stopped;
    struct store_stats stats;
};

static struct mem *mem_of(struct store *store)
{
    return (struct mem *)store;
}

/* ---- asking -------------------------------------------------------------------------------- */

static void wake(struct mem *mem)
{
    struct timeval now = {0};
    if (!mem->stopped && !TAILQ_EMPTY(&mem->asks))
        event_add(mem->turn_event, &now);
}

static struct ask *ask(struct mem *mem, enum ask_kind kind, void *arg)
{
    struct ask *made = MEM_NEW(struct ask);
    made->kind = kind;
    made->arg = arg;
    made->number = ++mem->numbers;
    made->due = mem->turn + 1 + mem->delay;
    TAILQ_INSERT_TAIL(&mem->asks, made, entry);
    wake(mem);
    return made;
}

static struct partition *find_partition(struct mem *mem, struct id id)
{
    struct partition *partition;
    TAILQ_FOREACH (partition, &mem->partitions, entry)
        if (id_equal(partition->id, id))
            return partition;
    partition = MEM_NEW(struct partition);
    partition->id = id;
    TAILQ_INSERT_TAIL(&mem->partitions, partition, entry);
    return partition;
}

static void take_fault(struct mem *mem, struct ask *asked)
{
    struct fault *fault, *next;
    for (fault = TAILQ_FIRST(&mem->faults); fault != NULL; fault = next) {
        next = TAILQ_NEXT(fault, entry);
        if (fault->submit != mem->submits)
            continue;
        asked->batch.injected = fault->result;
        asked->batch.applied = fault->applied;
        TAILQ_REMOVE(&mem->faults, fault, entry);
        free(fault);
        return;
    }
}

static void mem_submit(struct store *store, struct store_batch *batch, store_done *done, void *arg)
{
    struct mem *mem = mem_of(store);
    struct ask *asked = ask(mem, ASK_BATCH, arg);
    mem->submits++;
    asked->partition = find_partition(mem, batch->partition);
    asked->partition->in_flight++;
    asked->batch.batch = batch;
    asked->batch.done = done;
    take_fault(mem, asked);
    if (asked->batch.injected == STORE_FENCED)
        asked->partition->fenced = true;
    else if (asked->partition->fenced)
        asked->batch.injected = STORE_FENCED;
    mem->stats.lsn_submitted++;
}

static struct ask *ask_keys(struct mem *mem, enum ask_kind kind, struct id partition,
                            struct slice from, struct slice to, void *arg)
{
    struct ask *asked = ask(mem, kind, arg);
    asked->keys.partition = partition;
    asked->keys.from_size = (uint16_t)from.size;
    asked->keys.to_size = (uint16_t)to.size;
    if (from.size > 0)
        memcpy(asked->keys.from, from.data, from.size);
    if (to.size > 0)
        memcpy(asked->keys.to, to.data, to.size);
    return asked;
}

static void mem_get(struct store *store, struct id partition, struct slice key, store_got *got,
                    void *arg)
{
    ask_keys(mem_of(store), ASK_GET, partition, key, SLICE_NONE, arg)->keys.got = got;
}

static void mem_scan(struct store *store, struct id partition, struct slice from, struct slice to,
                     size_t most, store_scanned *scanned, void *arg)
{
    struct ask *asked = ask_keys(mem_of(store), ASK_SCAN, partition, from, to, arg);
    asked->keys.most = most;
    asked->keys.scanned = scanned;
}

static void mem_read(struct store *store, uint64_t blob, uint64_t offset, uint64_t size,
                     store_read_done *done, void *arg)
{
    struct ask *asked = ask(mem_of(store), ASK_READ, arg);
    asked->read.blob = blob;
    asked->read.offset = offset;
    asked->read.size = size;
    asked->read.done = done;
}

static void mem_quiesce(struct store *store, struct id partition, void (*quiet)(void *arg),
                        void *arg)
{
    struct ask *asked = ask(mem_of(store), ASK_QUIET, arg);
    asked->partition = find_partition(mem_of(store), partition);
    asked->partition->fenced = true;
    asked->quiet = quiet;
}

static void mem_resume(struct store *store, struct id partition)
{
    find_partition(mem_of(store), partition)->fenced = false;
}

/* ---- answering ----------------------------------------------------------------------------- */

static enum store_result judge(struct mem *mem, struct ask *asked)
{
    struct partition *partition = asked->partition;
    enum store_result injected = asked->batch.injected;
    if (partition->failing || asked->number <= partition->doomed)
        return partition->take;
    if (injected != STORE_OK && !(injected == STORE_UNKNOWN && asked->batch.applied))
        return injected;
    enum store_result result = image_apply(mem->image, asked->batch.batch);
    return result == STORE_OK ? injected : result;
}

static void make_durable(struct mem *mem, struct ask *asked)
{
    struct partition *partition = asked->partition;
    enum store_result result = judge(mem, asked);
    asked->batch.judged = true;
    asked->batch.result = result;
    asked->due = mem->turn + 1;
    store_batch_destroy(&asked->batch.batch);
    if (result == STORE_OK) {
        mem->stats.lsn_durable = mem->image->lsn;
        mem->stats.batches++;
    } else if (result != STORE_FENCED && !partition->failing) {
        partition->failing = true;
        partition->take = result == STORE_UNKNOWN ? STORE_UNKNOWN : STORE_UNAVAILABLE;
    }
}

static void complete(struct mem *mem, struct ask *asked)
{
    struct partition *partition = asked->partition;
    if (asked->batch.result != STORE_OK && asked->batch.result != STORE_FENCED) {
        partition->doomed = mem->numbers;
        partition->failing = false;
    }
    partition->in_flight--;
    asked->batch.done(asked->arg, asked->batch.result);
}

static void answer_get(struct mem *mem, struct ask *asked)
{
    struct image_value *value = image_find(mem->image, asked->keys.partition,
                                           slice_make(asked->keys.from, asked->keys.from_size));
    if (value != NULL && value->damaged)
        asked->keys.got(asked->arg, STORE_CORRUPT, true, SLICE_NONE);
    else
        asked->keys.got(asked->arg, STORE_OK, value != NULL,
                        value != NULL ? value->value : SLICE_NONE);
}

static void answer_scan(struct mem *mem, struct ask *asked)
{
    struct slice to = slice_make(asked->keys.to, asked->keys.to_size);
    struct store_item *items = NULL;
    size_t count = 0, room = 0, bytes = 0;
    enum store_result result = STORE_OK;
    struct image_value *value = image_from(mem->image, asked->keys.partition,
                                           slice_make(asked->keys.from, asked->keys.from_size));
    for (; value != NULL && slice_compare(value->key, to) < 0; value = image_next(value)) {
        if (count == asked->keys.most || bytes >= STORE_SCAN_BYTES)
            break;
        if (value->damaged) {
            result = STORE_CORRUPT;
            continue;
        }
        if (count == room) {
            room = room == 0 ? 64 : room * 2;
            items = mem_grow(items, room, sizeof(*items));
        }
        items[count++] = (struct store_item){value->key, value->value};
        bytes += value->key.size + value->value.size;
    }
    bool more = value != NULL && slice_compare(value->key, to) < 0;
    asked->keys.scanned(asked->arg, result, items, count, more);
    free(items);
}

static void answer_read(struct mem *mem, struct ask *asked)
{
    struct evbuffer *bytes = evbuffer_new();
    ASSERT(bytes != NULL);
    struct image_blob *blob = image_find_blob(mem->image, asked->read.blob);
    bool good = blob != NULL && !blob->damaged;
    if (good && asked->read.offset < blob->size) {
        uint64_t size = blob->size - asked->read.offset;
        if (size > asked->read.size)
            size = asked->read.size;
        evbuffer_add(bytes, blob->data + asked->read.offset, (size_t)size);
    }
    asked->read.done(asked->arg, good ? STORE_OK : STORE_CORRUPT, bytes);
    evbuffer_free(bytes);
}

static void answer(struct mem *mem, struct ask *asked)
{
    switch (asked->kind) {
    case ASK_BATCH:
        complete(mem, asked);
        break;
    case ASK_GET:
        answer_get(mem, asked);
        break;
    case ASK_SCAN:
        answer_scan(mem, asked);
        break;
    case ASK_READ:
        answer_read(mem, asked);
        break;
    case ASK_QUIET:
    case ASK_CHECK:
        asked->quiet(asked->arg);
        break;
    }
}

static void step(struct mem *mem)
{
    mem->steps++;
    if (mem->stop_at != 0 && mem->steps >= mem->stop_at)
        mem->stopped = true;
}

static bool must_wait(const struct mem *mem, const struct ask *asked, bool hurry)
{
    if (asked->kind == ASK_QUIET && asked->partition->in_flight > 0)
        return true;
    return !hurry && asked->due > mem->turn;
}

/* Everything due. A batch that is not judged holds up those behind it, as a log does. */
static void run_turn(struct mem *mem, bool hurry)
{
    struct ask *asked, *next;
    bool behind = false;
    uint64_t last = mem->numbers;
    mem->turn++;
    for (asked = TAILQ_FIRST(&mem->asks); asked != NULL && !mem->stopped; asked = next) {
        if (asked->number > last)
            break;
        next = TAILQ_NEXT(asked, entry);
        bool unjudged = asked->kind == ASK_BATCH && !asked->batch.judged;
        if (must_wait(mem, asked, hurry) || (behind && unjudged)) {
            behind = behind || unjudged;
            continue;
        }
        if (unjudged) {
            make_durable(mem, asked);
            step(mem);
            continue;
        }
        TAILQ_REMOVE(&mem->asks, asked, entry);
        answer(mem, asked);
        free(asked);
        step(mem);
        next = TAILQ_FIRST(&mem->asks); /* the callback may have changed the queue */
    }
    wake(mem);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    run_turn(arg, false);
}

/* ---- the volume ---------------------------------------------------------------------------- */

static uint64_t mem_blob_new(struct store *store)
{
    return ++mem_of(store)->image->blob_last;
}

static struct id mem_uuid(const struct store *store)
{
    return ((const struct mem *)store)->image->uuid;
}

static uint64_t mem_epoch(const struct store *store)
{
    return ((const struct mem *)store)->image->epoch;
}

static void mem_stats(const struct store *store, struct store_stats *stats)
{
    const struct mem *mem = (const struct mem *)store;
    *stats = mem->stats;
    stats->live_bytes = mem->image->blob_bytes;
}

static void mem_check(struct store *store, const struct store_check_options *options,
                      void (*done)(void *arg), void *arg)
{
    ask(mem_of(store), ASK_CHECK, arg)->quiet = done;
}

static struct store_mem_image *end(struct mem *mem)
{
    struct store_mem_image *image = mem->image;
    struct ask *asked;
    while ((asked = TAILQ_FIRST(&mem->asks)) != NULL) {
        TAILQ_REMOVE(&mem->asks, asked, entry);
        if (asked->kind == ASK_BATCH)
            store_batch_destroy(&asked->batch.batch);
        free(asked);
    }
    struct partition *partition;
    while ((partition = TAILQ_FIRST(&mem->partitions)) != NULL) {
        TAILQ_REMOVE(&mem->partitions, partition, entry);
        free(partition);
    }
    struct fault *fault;
    while ((fault = TAILQ_FIRST(&mem->faults)) != NULL) {
        TAILQ_REMOVE(&mem->faults, fault, entry);
        free(fault);
    }
    event_free(mem->turn_event);
    free(mem);
    return image;
}

static void drain(struct mem *mem)
{
    while (!mem->stopped && !TAILQ_EMPTY(&mem->asks))
        run_turn(mem, true);
}

static void mem_close(struct store *store)
{
    drain(mem_of(store));
    struct store_mem_image *image = end(mem_of(store));
    image_destroy(&image);
}

static const struct store_methods methods = {
    .name = "mem",
    .blob_new = mem_blob_new,
    .submit = mem_submit,
    .get = mem_get,
    .scan = mem_scan,
    .read = mem_read,
    .uuid = mem_uuid,
    .epoch = mem_epoch,
    .quiesce = mem_quiesce,
    .resume = mem_resume,
    .stats = mem_stats,
    .check = mem_check,
    .close = mem_close,
};

struct store *store_mem_reopen(struct event_base *base, struct store_mem_image **image)
{
    struct mem *mem = MEM_NEW(struct mem);
    mem->store.methods = &methods;
    mem->image = *image;
    *image = NULL;
    TAILQ_INIT(&mem->asks);
    TAILQ_INIT(&mem->partitions);
    TAILQ_INIT(&mem->faults);
    mem->turn_event = event_new(base, -1, 0, on_turn, mem);
    ASSERT(mem->turn_event != NULL);
    mem->stats.lsn_submitted = mem->stats.lsn_durable = mem->image->lsn;
    return &mem->store;
}

struct store *store_mem_open(struct event_base *base)
{
    struct store_mem_image *image = image_create();
    return store_mem_reopen(base, &image);
}

/* ---- what tests do to it (mem.h) ----------------------------------------------------------- */

void store_mem_delay(struct store *store, unsigned turns)
{
    mem_of(store)->delay = turns;
}

void store_mem_fail(struct store *store, unsigned nth, enum store_result result, bool applied)
{
    struct mem *mem = mem_of(store);
    struct fault *fault = MEM_NEW(struct fault);
    ASSERT(nth >= 1 && result != STORE_OK && result != STORE_CORRUPT);
    fault->submit = mem->submits + nth;
    fault->result = result;
    fault->applied = applied;
    TAILQ_INSERT_TAIL(&mem->faults, fault, entry);
}

void store_mem_damage_blob(struct store *store, uint64_t blob)
{
    struct image_blob *found = image_find_blob(mem_of(store)->image, blob);
    ASSERT(found != NULL);
    found->damaged = true;
}

void store_mem_damage_value(struct store *store, struct id partition, struct slice key)
{
    struct image_value *found = image_find(mem_of(store)->image, partition, key);
    ASSERT(found != NULL);
    found->damaged = true;
}

void store_mem_bump_epoch(struct store *store)
{
    mem_of(store)->image->epoch++;
}

uint64_t store_mem_steps(const struct store *store)
{
    return ((const struct mem *)store)->steps;
}

void store_mem_stop_at(struct store *store, uint64_t at)
{
    struct mem *mem = mem_of(store);
    mem->stop_at = at;
    mem->stopped = at == 0 || mem->steps >= at;
    if (mem->stopped)
        event_del(mem->turn_event);
}

bool store_mem_stopped(const struct store *store)
{
    return ((const struct mem *)store)->stopped;
}

struct store_mem_image *store_mem_crash(struct store **store)
{
    struct mem *mem = mem_of(*store);
    *store = NULL;
    return end(mem);
}

struct store_mem_image *store_mem_close_keep(struct store **store)
{
    struct mem *mem = mem_of(*store);
    *store = NULL;
    drain(mem);
    return end(mem);
}

void store_mem_image_destroy(struct store_mem_image **image)
{
    image_destroy(image);
}
