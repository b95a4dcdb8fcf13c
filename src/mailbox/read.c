/*
 * Reading messages: the record of an email (where its bytes are), its summary, its bytes. Records
 * are read in runs of neighbouring email numbers, all runs at once. One message that cannot be read
 * is CORRUPT by itself and hurts no other; a summary that cannot be read is as none.
 */
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"
#include "message/summary.h"

enum { LOAD_MAX = 1000, RUN_GAP = 8, READ_MAX = 1 << 20 };

struct loaded {
    uint32_t uid, email;
    bool found;
    struct mailbox_message message;
};

struct load_run;
struct load_request {
    struct request request;
    struct account *account;
    struct arena arena;
    struct loaded *items; /* by email number, then UID */
    size_t count, waiting;
    bool scattered; /* the two orders are not the same */
    uint32_t box, uidvalidity;
    uint32_t need;
    enum mailbox_result result;
    mailbox_loaded *loaded;
    void *arg;
    struct task task;
};

struct load_run {
    struct load_request *load;
    enum codec_kind kind;
    uint32_t last;
};

static int by_email(const void *a, const void *b)
{
    const struct loaded *x = a, *y = b;
    if (x->email != y->email)
        return x->email < y->email ? -1 : 1;
    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static int by_uid(const void *a, const void *b)
{
    uint32_t x = ((const struct mailbox_message *)a)->uid;
    uint32_t y = ((const struct mailbox_message *)b)->uid;
    return x < y ? -1 : x > y;
}

static void load_end(struct load_request *load)
{
    struct mailbox_message *messages =
        arena_array(&load->arena, load->count + 1, sizeof(*messages));

    for (size_t i = 0; i < load->count; i++) {
        messages[i] = load->items[i].message;
        if ((load->need & MAILBOX_NEED_EMAIL) != 0 && !load->items[i].found)
            messages[i].result = MAILBOX_CORRUPT;
    }
    if (load->scattered)
        qsort(messages, load->count, sizeof(*messages), by_uid);
    if (load->account->state == ACCOUNT_BROKEN)
        load->result = MAILBOX_BROKEN;
    if (request_detach(&load->request))
        load->loaded(load->arg, load->result, messages,
                     load->result == MAILBOX_OK ? load->count : 0);
    arena_finish(&load->arena);
    account_drop(load->account);
    free(load);
}

static void load_end_task(void *arg)
{
    load_end(arg);
}

static void load_email(struct load_request *load, struct loaded *item, struct slice value)
{
    struct email_record record;
    if (!codec_email_get(value, &record))
        return;
    item->found = true;
    item->message.size = record.prefix.size + record.blob_size;
    item->message.date_us = record.date_us;
    item->message.zone_minutes = record.zone_minutes;
    item->message.prefix_size = (uint32_t)record.prefix.size;
    item->message.place = (struct mailbox_place){.blob = record.blob,
                                                 .blob_size = record.blob_size,
                                                 .prefix = arena_copy(&load->arena, record.prefix)};
    if (record.home_box != load->box || record.home_uid != item->uid)
        return;
    item->message.pop3_order = record.pop3_order;
    if (record.uidl.size > 0)
        item->message.uidl = arena_copy(&load->arena, record.uidl);
}

static void load_folded(struct load_request *load, struct loaded *item, struct slice folded)
{
    if (folded.data != NULL)
        item->message.folded = arena_copy(&load->arena, folded);
}

static void load_value(struct load_request *load, enum codec_kind kind, uint32_t email,
                       struct slice value)
{
    size_t low = 0, high = load->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (load->items[middle].email < email)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < load->count && load->items[low].email == email; low++) {
        if (kind == KEY_EMAIL)
            load_email(load, &load->items[low], value);
        else if ((load->need & MAILBOX_NEED_FOLDED) != 0)
            load_folded(load, &load->items[low], summary_folded(value));
        else
            load->items[low].message.summary = arena_copy(&load->arena, value);
    }
}

static void run_scanned(void *arg, enum store_result result, const struct store_item *items,
                        size_t count, bool more);

static void run_scan(struct load_run *run, struct slice from)
{
    struct account *account = run->load->account;
    struct codec_key to = codec_key_number(run->kind, run->last + 1);
    store_scan(account->store, account->id, from, codec_key_slice(&to), 10000, run_scanned, run);
}

static void run_end(struct load_run *run, enum store_result result)
{
    struct load_request *load = run->load;
    /* What is damaged shows as not found, message by message. */
    if (result != STORE_OK && result != STORE_CORRUPT)
        load->result = read_result(result);
    if (--load->waiting == 0)
        load_end(load);
}

static void run_scanned(void *arg, enum store_result result, const struct store_item *items,
                        size_t count, bool more)
{
    struct load_run *run = arg;
    uint32_t email;

    for (size_t i = 0; i < count; i++) {
        if (codec_key_get_number(items[i].key, 0, &email))
            load_value(run->load, run->kind, email, items[i].value);
    }
    if (more && count > 0 && codec_key_get_number(items[count - 1].key, 0, &email)) {
        struct codec_key from = codec_key_number(run->kind, email + 1);
        run_scan(run, codec_key_slice(&from));
        return;
    }
    run_end(run, result);
}

static void run_got(void *arg, enum store_result result, bool found, struct slice value)
{
    struct load_run *run = arg;
    if (result == STORE_OK && found)
        load_value(run->load, run->kind, run->last, value);
    run_end(run, result);
}

static void load_run_start(struct load_request *load, enum codec_kind kind, uint32_t first,
                           uint32_t last)
{
    struct load_run *run = ARENA_NEW(&load->arena, struct load_run);
    struct codec_key key = codec_key_number(kind, first);
    *run = (struct load_run){load, kind, last};
    load->waiting++;
    if (first == last)
        store_get(load->account->store, load->account->id, codec_key_slice(&key), run_got, run);
    else
        run_scan(run, codec_key_slice(&key));
}

static void load_start(struct load_request *load, enum codec_kind kind)
{
    for (size_t i = 0; i < load->count;) {
        size_t end = i + 1;
        while (end < load->count && load->items[end].email - load->items[end - 1].email <= RUN_GAP)
            end++;
        load_run_start(load, kind, load->items[i].email, load->items[end - 1].email);
        i = end;
    }
}

/* "%08x%08x", which took as long as reading the record. */
static struct slice default_uidl(struct load_request *load, uint32_t uid)
{
    uint64_t number = (uint64_t)uid << 32 | load->uidvalidity;
    uint8_t *text = arena_alloc(&load->arena, 16);
    for (size_t i = 16; i-- > 0; number >>= 4)
        text[i] = (uint8_t) "0123456789abcdef"[number & 15];
    return slice_make(text, 16);
}

static void load_add(struct load_request *load, const struct mailbox_entry *entry)
{
    struct loaded *item = &load->items[load->count++];
    *item = (struct loaded){.uid = entry->uid, .email = entry->email};
    item->message.uid = entry->uid;
    item->message.size = entry->size;
    item->message.uidl = default_uidl(load, entry->uid);
}

/* Most mailboxes have their messages in the order in which these came to the account. */
static void load_sort(struct load_request *load)
{
    for (size_t i = 1; i < load->count && !load->scattered; i++)
        load->scattered = load->items[i].email <= load->items[i - 1].email;
    if (load->scattered)
        qsort(load->items, load->count, sizeof(*load->items), by_email);
}

void mailbox_load(struct mailbox_view *view, const uint32_t *uids, size_t count, uint32_t need,
                  mailbox_loaded *loaded, void *arg)
{
    struct load_request *load = MEM_NEW(struct load_request);
    struct mailbox_info info;

    ASSERT(count <= LOAD_MAX);
    arena_init(&load->arena);
    load->account = view->account;
    load->need = need;
    load->loaded = loaded;
    load->arg = arg;
    load->task = (struct task){.run = load_end_task, .arg = load};
    load->items = arena_array(&load->arena, count + 1, sizeof(*load->items));
    account_hold(load->account);
    request_attach(&load->request, &view->requests);
    mailbox_view_info(view, &info);
    load->uidvalidity = info.uidvalidity;
    load->box = view->contents != NULL && view->contents->box != NULL ? view->contents->box->id : 0;
    for (size_t i = 0; i < count; i++) {
        const struct mailbox_entry *entry = view_entry(view, uids[i]);
        if (entry != NULL && (i == 0 || uids[i] != uids[i - 1]))
            load_add(load, entry);
    }
    load_sort(load);
    load->waiting = 1;
    if ((need & MAILBOX_NEED_EMAIL) != 0)
        load_start(load, KEY_EMAIL);
    if ((need & (MAILBOX_NEED_SUMMARY | MAILBOX_NEED_FOLDED)) != 0)
        load_start(load, KEY_SUMMARY);
    if (--load->waiting == 0)
        env_defer(load->account->env, &load->task);
}

/* ---- bytes ---------------------------------------------------------------------------------- */

struct email_cache { /* of the message that a view read last: a long one is read piece by piece */
    uint32_t email;
    struct mailbox_place place; /* its prefix stands behind the struct */
};

struct read_request {
    struct request request;
    struct account *account;
    struct mailbox_view *view; /* valid while the request is wanted */
    uint32_t email;
    uint64_t offset, size, expected;
    struct evbuffer *out;
    enum mailbox_result result;
    mailbox_read_done *done;
    void *arg;
    struct task task;
};

void email_cache_free(struct email_cache **cache)
{
    free(*cache);
    *cache = NULL;
}

static void read_end(struct read_request *read, enum mailbox_result result)
{
    if (read->account->state == ACCOUNT_BROKEN)
        result = MAILBOX_BROKEN;
    if (request_detach(&read->request))
        read->done(read->arg, result, read->out);
    evbuffer_free(read->out);
    account_drop(read->account);
    free(read);
}

static void read_end_task(void *arg)
{
    struct read_request *read = arg;
    read_end(read, read->result);
}

static void read_blob_done(void *arg, enum store_result result, struct evbuffer *bytes)
{
    struct read_request *read = arg;
    if (result != STORE_OK) {
        read_end(read, read_result(result));
        return;
    }
    if (evbuffer_get_length(bytes) != read->expected) {
        read_end(read, MAILBOX_CORRUPT);
        return;
    }
    evbuffer_add_buffer(read->out, bytes);
    read_end(read, MAILBOX_OK);
}

static void read_bytes(struct read_request *read, const struct mailbox_place *place)
{
    uint64_t total = place->prefix.size + place->blob_size;
    uint64_t offset = read->offset < total ? read->offset : total;
    uint64_t size = read->size < total - offset ? read->size : total - offset;

    if (offset < place->prefix.size) {
        struct slice part = slice_sub(place->prefix, (size_t)offset, (size_t)size);
        evbuffer_add(read->out, part.data, part.size);
        offset += part.size;
        size -= part.size;
    }
    read->expected = size;
    if (size == 0) {
        env_defer(read->account->env, &read->task);
        return;
    }
    store_read(read->account->store, place->blob, offset - place->prefix.size, size, read_blob_done,
               read);
}

static void read_got_email(void *arg, enum store_result result, bool found, struct slice value)
{
    struct read_request *read = arg;
    struct email_record record;

    if (read->request.owner == NULL) {
        read_end(read, MAILBOX_OK);
        return;
    }
    if (result != STORE_OK || !found || !codec_email_get(value, &record)) {
        read_end(read, result == STORE_OK ? MAILBOX_CORRUPT : read_result(result));
        return;
    }
    struct email_cache *cache = mem_alloc(sizeof(*cache) + record.prefix.size);
    memcpy(cache + 1, record.prefix.data, record.prefix.size);
    *cache = (struct email_cache){.email = read->email,
                                  .place = {.blob = record.blob,
                                            .blob_size = record.blob_size,
                                            .prefix = slice_make(cache + 1, record.prefix.size)}};
    free(read->view->cache);
    read->view->cache = cache;
    read_bytes(read, &cache->place);
}

static struct read_request *read_create(struct mailbox_view *view, uint64_t offset, uint64_t size,
                                        mailbox_read_done *done, void *arg)
{
    struct read_request *read = MEM_NEW(struct read_request);
    read->account = view->account;
    read->view = view;
    read->offset = offset;
    read->size = size < READ_MAX ? size : READ_MAX;
    read->done = done;
    read->arg = arg;
    read->out = evbuffer_new();
    ASSERT(read->out != NULL);
    read->task = (struct task){.run = read_end_task, .arg = read};
    account_hold(read->account);
    request_attach(&read->request, &view->requests);
    return read;
}

void mailbox_read(struct mailbox_view *view, uint32_t uid, uint64_t offset, uint64_t size,
                  mailbox_read_done *done, void *arg)
{
    struct read_request *read = read_create(view, offset, size, done, arg);
    const struct mailbox_entry *entry = view_entry(view, uid);

    if (entry == NULL) {
        read->result = MAILBOX_EXPUNGED;
        env_defer(read->account->env, &read->task);
        return;
    }
    read->email = entry->email;
    if (view->cache != NULL && view->cache->email == entry->email) {
        read_bytes(read, &view->cache->place);
        return;
    }
    struct codec_key key = codec_key_number(KEY_EMAIL, entry->email);
    store_get(read->account->store, read->account->id, codec_key_slice(&key), read_got_email, read);
}

void mailbox_read_loaded(struct mailbox_view *view, const struct mailbox_place *place,
                         uint64_t offset, uint64_t size, mailbox_read_done *done, void *arg)
{
    read_bytes(read_create(view, offset, size, done, arg), place);
}
