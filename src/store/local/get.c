/*
 * store_get() and store_scan(): durable state is the active layer, the frozen one, LMDB, in this
 * order. The index is always asked first and the layers are laid over it when the answer is back on
 * the loop: so both belong to one moment, and a page never shows half of a batch. (An index that a
 * checkpoint has changed since is asked again; one that is newer than the layers does no harm, for
 * they hold whole values.)
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "store/local/local_priv.h"

/* ---- one key ------------------------------------------------------------------------------- */

struct get {
    struct post_item item;
    struct local *local;
    store_got *got;
    void *arg;
    enum store_result result;
    struct value *value;
    struct id partition;
    uint8_t key_size;
    uint8_t key[UINT8_MAX];
};

static struct slice get_key(const struct get *get)
{
    return slice_make(get->key, get->key_size);
}

static void answer_get(struct post_item *item)
{
    struct get *get = (struct get *)(void *)item;
    bool found = get->value != NULL || get->result == STORE_CORRUPT;
    get->got(get->arg, get->result, found,
             get->value != NULL ? value_slice(get->value) : SLICE_NONE);
    value_drop(&get->value);
    free(get);
}

static bool get_from_layers(struct get *get)
{
    struct local *local = get->local;
    struct value *value;
    enum layer_found found = layer_find(&local->active, get->partition, get_key(get), &value);
    if (found == LAYER_UNKNOWN && local->frozen != NULL)
        found = layer_find(local->frozen, get->partition, get_key(get), &value);
    if (found == LAYER_VALUE)
        get->value = value_hold(value);
    return found != LAYER_UNKNOWN;
}

static void get_loaded(struct load *load, bool ok)
{
    struct get *get = load->arg;
    struct load_item *item = &load->items[0];
    if (!ok || item->found == INDEX_FAILED) {
        get->result = STORE_UNAVAILABLE;
    } else if (!get_from_layers(get)) {
        if (item->found == INDEX_CORRUPT)
            get->result = STORE_CORRUPT;
        else if (item->found == INDEX_FOUND)
            get->value = value_hold(item->value);
    }
    load_destroy(&load);
    answer_get(&get->item);
}

void local_get(struct store *store, struct id partition, struct slice key, store_got *got,
               void *arg)
{
    struct local *local = local_of(store);
    struct get *get = MEM_NEW(struct get);
    ASSERT(key.size <= STORE_KEY_MAX);
    get->item.run = answer_get;
    get->local = local;
    get->got = got;
    get->arg = arg;
    get->partition = partition;
    get->key_size = (uint8_t)key.size;
    memcpy(get->key, key.data, key.size);
    bool serving = local->state == LOCAL_SERVING || local->state == LOCAL_CLOSING;
    if (!serving)
        get->result = STORE_UNAVAILABLE;
    if (!serving || get_from_layers(get)) {
        post_again(local->posts, &get->item);
        return;
    }
    struct load *load = load_create(local, get_loaded, get);
    load_key(load, partition, key);
    load_start(load);
}

/* ---- a page -------------------------------------------------------------------------------- */

struct scan_item {
    struct store_item item;
    bool corrupt;
};

struct page {
    struct job job; /* first */
    struct local *local;
    struct id partition;
    uint8_t from[STORE_SCAN_KEY_MAX], to[STORE_SCAN_KEY_MAX];
    uint16_t from_size, to_size;
    size_t most;
    store_scanned *scanned;
    void *arg;
    /* what the index has */
    struct arena arena;
    struct scan_item *read;
    size_t read_count, read_room;
    bool read_more; /* it has others behind the last of these */
    bool failed;
    uint64_t seen;
    /* what is answered */
    struct store_item *items;
    size_t count, room, bytes;
    bool more, corrupt;
};

static struct slice page_to(const struct page *page)
{
    return slice_make(page->to, page->to_size);
}

static void page_free(struct page *page)
{
    arena_finish(&page->arena);
    free(page->read);
    free(page->items);
    free(page);
}

/* On a reader. */
static void read_item(struct page *page, MDB_val key, MDB_val stored)
{
    struct slice value = SLICE_NONE;
    if (page->read_count == page->read_room) {
        page->read_room = page->read_room == 0 ? 64 : page->read_room * 2;
        page->read = mem_grow(page->read, page->read_room, sizeof(*page->read));
    }
    struct scan_item *item = &page->read[page->read_count++];
    item->corrupt = !index_check_kv(key, stored, &value);
    if (item->corrupt)
        atomic_fetch_add(&page->local->checksum_failures, 1);
    size_t prefix = sizeof(page->partition);
    item->item.key =
        arena_copy(&page->arena, slice_make((uint8_t *)key.mv_data + prefix, key.mv_size - prefix));
    item->item.value = item->corrupt ? SLICE_NONE : arena_copy(&page->arena, value);
}

static int read_page(struct page *page, MDB_txn *txn)
{
    uint8_t from[sizeof(struct id) + STORE_SCAN_KEY_MAX], to[sizeof(from)];
    size_t prefix = sizeof(page->partition), bytes = 0;
    MDB_val key = {prefix + page->from_size, from}, end = {prefix + page->to_size, to}, stored;
    MDB_cursor *cursor;
    memcpy(from, page->partition.bytes, prefix);
    memcpy(to, page->partition.bytes, prefix);
    memcpy(from + prefix, page->from, page->from_size);
    memcpy(to + prefix, page->to, page->to_size);
    int code = mdb_cursor_open(txn, page->local->index.kv, &cursor);
    if (code != 0)
        return code;
    code = mdb_cursor_get(cursor, &key, &stored, MDB_SET_RANGE);
    while (code == 0 && mdb_cmp(txn, page->local->index.kv, &key, &end) < 0) {
        /* One more than asked for, to know if there is more. */
        if (page->read_count > page->most || bytes > STORE_SCAN_BYTES) {
            page->read_more = true;
            break;
        }
        read_item(page, key, stored);
        bytes += key.mv_size + stored.mv_size;
        code = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

static void read_work(struct job *job, unsigned thread)
{
    struct page *page = (struct page *)(void *)job;
    MDB_txn *txn = reader_begin(page->local, thread);
    page->failed = true;
    if (txn == NULL)
        return;
    page->seen = mdb_txn_id(txn);
    page->failed = read_page(page, txn) != 0;
    reader_end(page->local, thread);
}

/* ---- laying the layers over it ------------------------------------------------------------- */

struct merge {
    struct page *page;
    struct layer_entry *active, *frozen;
    size_t read;
};

static struct slice least(const struct merge *merge)
{
    struct slice least = SLICE_NONE;
    const struct page *page = merge->page;
    if (merge->read < page->read_count)
        least = page->read[merge->read].item.key;
    if (merge->frozen != NULL &&
        (least.data == NULL || slice_compare(layer_key(merge->frozen), least) < 0))
        least = layer_key(merge->frozen);
    if (merge->active != NULL &&
        (least.data == NULL || slice_compare(layer_key(merge->active), least) < 0))
        least = layer_key(merge->active);
    return least;
}

enum merged { MERGED_VALUE, MERGED_NONE, MERGED_CORRUPT };

/* What is at that key, and past it in all three. */
static enum merged take(struct merge *merge, struct slice key, struct slice *value)
{
    struct page *page = merge->page;
    struct local *local = page->local;
    enum merged merged = MERGED_NONE;
    bool hidden = false;
    if (merge->active != NULL && slice_equal(layer_key(merge->active), key)) {
        hidden = true;
        if (merge->active->value != NULL) {
            merged = MERGED_VALUE;
            *value = value_slice(merge->active->value);
        }
        merge->active = layer_next(merge->active);
    }
    hidden = hidden || layer_covers(&local->active, page->partition, key);
    if (merge->frozen != NULL && slice_equal(layer_key(merge->frozen), key)) {
        if (!hidden && merge->frozen->value != NULL) {
            merged = MERGED_VALUE;
            *value = value_slice(merge->frozen->value);
        }
        hidden = true;
        merge->frozen = layer_next(merge->frozen);
    }
    hidden = hidden || (local->frozen != NULL && layer_covers(local->frozen, page->partition, key));
    if (merge->read < page->read_count && slice_equal(page->read[merge->read].item.key, key)) {
        const struct scan_item *item = &page->read[merge->read++];
        if (!hidden) {
            merged = item->corrupt ? MERGED_CORRUPT : MERGED_VALUE;
            *value = item->item.value;
        }
    }
    return merged;
}

static void add_item(struct page *page, struct slice key, struct slice value)
{
    if (page->count == page->room) {
        page->room = page->room == 0 ? 64 : page->room * 2;
        page->items = mem_grow(page->items, page->room, sizeof(*page->items));
    }
    page->items[page->count++] = (struct store_item){key, value};
    page->bytes += key.size + value.size;
}

/* Behind the last key that was read from an index which has more, nothing is known. */
static bool is_known(const struct page *page, struct slice key)
{
    return !page->read_more || slice_compare(key, page->read[page->read_count - 1].item.key) <= 0;
}

/* False: nothing to show was found and there is more; go on behind what was read. */
static bool merge_page(struct page *page)
{
    struct slice from = slice_make(page->from, page->from_size), to = page_to(page), key, value;
    struct merge merge = {.page = page};
    merge.active = layer_from(&page->local->active, page->partition, from);
    if (page->local->frozen != NULL)
        merge.frozen = layer_from(page->local->frozen, page->partition, from);
    while ((key = least(&merge)).data != NULL && slice_compare(key, to) < 0) {
        if (!is_known(page, key))
            break;
        bool full = page->count >= page->most || page->bytes >= STORE_SCAN_BYTES;
        enum merged merged = take(&merge, key, &value);
        if (merged != MERGED_NONE && full) {
            page->more = true;
            return true;
        }
        if (merged == MERGED_VALUE)
            add_item(page, key, value);
        else if (merged == MERGED_CORRUPT)
            page->corrupt = true;
    }
    page->more = page->read_more;
    return page->count > 0 || !page->read_more;
}

/* ---- back on the loop ---------------------------------------------------------------------- */

static void page_start(struct page *page);

static void answer_page(struct page *page, enum store_result result)
{
    page->scanned(page->arg, result, page->items, page->count, page->more);
    page_free(page);
}

static void go_on_behind(struct page *page)
{
    struct slice last = page->read[page->read_count - 1].item.key;
    memcpy(page->from, last.data, last.size);
    page->from[last.size] = 0;
    page->from_size = (uint16_t)(last.size + 1);
}

static void page_clear(struct page *page)
{
    arena_reset(&page->arena);
    page->read_count = page->count = page->bytes = 0;
    page->read_more = page->more = false;
}

static void on_page(struct post_item *item)
{
    struct page *page = (struct page *)(void *)((char *)item - offsetof(struct page, job.done));
    struct local *local = page->local;
    local->jobs_out--;
    if (local->state != LOCAL_SERVING && local->state != LOCAL_CLOSING) {
        page->count = 0;
        answer_page(page, STORE_UNAVAILABLE);
    } else if (page->failed) {
        answer_page(page, STORE_UNAVAILABLE);
    } else if (page->seen < local->index_txn) {
        page_clear(page);
        page_start(page);
    } else if (!merge_page(page)) {
        go_on_behind(page);
        page_clear(page);
        page_start(page);
    } else {
        answer_page(page, page->corrupt ? STORE_CORRUPT : STORE_OK);
    }
    local_recover_when_quiet(local);
}

static void page_start(struct page *page)
{
    page->local->jobs_out++;
    page->job.work = read_work;
    page->job.done.run = on_page;
    pool_submit(page->local->readers, &page->job);
}

static void page_refused(struct post_item *item)
{
    struct page *page = (struct page *)(void *)((char *)item - offsetof(struct page, job.done));
    answer_page(page, STORE_UNAVAILABLE);
}

void local_scan(struct store *store, struct id partition, struct slice from, struct slice to,
                size_t most, store_scanned *scanned, void *arg)
{
    struct local *local = local_of(store);
    struct page *page = MEM_NEW(struct page);
    ASSERT(from.size <= STORE_SCAN_KEY_MAX && to.size <= STORE_SCAN_KEY_MAX);
    page->local = local;
    page->partition = partition;
    page->from_size = (uint16_t)from.size;
    page->to_size = (uint16_t)to.size;
    if (from.size > 0)
        memcpy(page->from, from.data, from.size);
    if (to.size > 0)
        memcpy(page->to, to.data, to.size);
    page->most = most;
    page->scanned = scanned;
    page->arg = arg;
    arena_init(&page->arena);
    if (local->state == LOCAL_SERVING || local->state == LOCAL_CLOSING) {
        page_start(page);
        return;
    }
    page->job.done.run = page_refused;
    post_again(local->posts, &page->job.done);
}
