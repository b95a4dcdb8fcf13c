/* See store_work.h. The changes are those of mail: deliveries with blobs, copies that share them,
 * flags patched into a page, expunges, ranges wiped. */
#include "store_work.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/mem.h"

enum { LIVE_MAX = 40, SUMMARY_MAX = 1500, VALUE = 16 };

static uint32_t mix(uint32_t a, uint32_t b, uint32_t c)
{
    uint64_t x = ((uint64_t)a << 40) ^ ((uint64_t)b << 8) ^ c ^ 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(x ^ (x >> 31));
}

static uint8_t byte_of(uint32_t seed, uint32_t offset)
{
    /* Words that compress a little, as mail does. */
    return offset % 3 == 0 ? 'a' : (uint8_t)(mix(seed, offset / 7, 5) & 0x3f);
}

static struct slice key_of(char room[16], char kind, uint32_t k)
{
    int size = snprintf(room, 16, "%c%08x", kind, k);
    return slice_make(room, (size_t)size);
}

void work_init(struct work_account *account, unsigned number)
{
    *account = (struct work_account){.number = number};
    account->partition.bytes[0] = (uint8_t)(number * 71);
    account->partition.bytes[15] = (uint8_t)(number + 1);
}

void work_finish(struct work_account *account)
{
    free(account->messages);
    account->messages = NULL;
}

/* ---- changes ------------------------------------------------------------------------------- */

static struct work_message *message(struct work_account *account, uint32_t k)
{
    if (k >= account->room) {
        uint32_t room = account->room == 0 ? 1024 : account->room * 2;
        account->messages = mem_grow(account->messages, room, sizeof(*account->messages));
        memset(account->messages + account->room, 0,
               (room - account->room) * sizeof(*account->messages));
        account->room = room;
    }
    return &account->messages[k];
}

/* The nth message that is there, from the oldest; 0: none. */
static uint32_t nth_live(const struct work_account *account, uint32_t n)
{
    for (uint32_t k = 1; k < account->room; k++)
        if (account->messages[k].there && n-- == 0)
            return k;
    return 0;
}

static void encode_message(const struct work_message *message, uint8_t out[VALUE])
{
    bytes_put_le64(out, message->blob);
    bytes_put_le32(out + 8, message->seed);
    bytes_put_le32(out + 12, message->size);
}

static size_t make_summary(uint32_t seed, uint8_t out[SUMMARY_MAX])
{
    size_t size = 100 + mix(seed, 1, 1) % (SUMMARY_MAX - 100);
    for (uint32_t i = 0; i < size; i++)
        out[i] = byte_of(seed ^ 0x5555, i);
    return size;
}

static void put_message(struct work_account *account, struct store_batch *batch, uint32_t k)
{
    uint8_t value[VALUE];
    char key[16];
    encode_message(message(account, k), value);
    store_batch_put(batch, key_of(key, 'm', k), slice_make(value, sizeof(value)));
}

static void deliver(struct work_account *account, struct store *store, struct store_batch *batch,
                    uint32_t k)
{
    struct work_message *m = message(account, k);
    uint32_t dice = mix(account->number, k, 2);
    *m = (struct work_message){.there = true,
                               .summary = true,
                               .origin = k,
                               .seed = dice,
                               .size = dice % 8 == 0 ? dice % 60000 : dice % 9000};
    account->live++;
    if (batch == NULL)
        return;
    uint8_t *bytes = mem_alloc(m->size + 1), summary[SUMMARY_MAX];
    char key[16];
    for (uint32_t i = 0; i < m->size; i++)
        bytes[i] = byte_of(m->seed, i);
    m->blob = store_blob_new(store);
    store_batch_blob(batch, m->blob, (struct store_bytes){bytes, m->size, free, bytes},
                     (struct store_label){1, 2, k, 4});
    put_message(account, batch, k);
    store_batch_put(batch, key_of(key, 's', k),
                    slice_make(summary, make_summary(m->seed, summary)));
}

static void copy(struct work_account *account, struct store_batch *batch, uint32_t k)
{
    uint32_t from =
        account->live == 0 ? 0 : nth_live(account, mix(account->number, k, 3) % account->live);
    if (from == 0)
        return;
    struct work_message *m = message(account, k);
    *m = account->messages[from];
    m->summary = false;
    account->live++;
    if (batch == NULL)
        return;
    store_batch_addref(batch, m->blob);
    put_message(account, batch, k);
}

static void expunge(struct work_account *account, struct store_batch *batch)
{
    uint32_t k = account->live == 0 ? 0 : nth_live(account, 0);
    if (k == 0)
        return;
    struct work_message *m = message(account, k);
    char key[16];
    if (batch != NULL) {
        store_batch_del(batch, key_of(key, 'm', k));
        store_batch_unref(batch, m->blob);
        if (m->summary)
            store_batch_del(batch, key_of(key, 's', k));
    }
    m->there = false;
    m->summary = false;
    account->live--;
}

static void set_flags(struct work_account *account, struct store_batch *batch, uint32_t k)
{
    uint32_t offset = mix(account->number, k, 4) % (WORK_PAGE - 8);
    bytes_put_le64(account->page + offset, mix(account->number, k, 5));
    if (batch != NULL)
        store_batch_patch(batch, SLICE_LITERAL("page"), offset,
                          slice_make(account->page + offset, 8));
}

static void wipe_summaries(struct work_account *account, struct store_batch *batch, uint32_t k)
{
    uint32_t from = mix(account->number, k, 6) % (k + 1), to = from + 5;
    char first[16], behind[16];
    if (batch != NULL)
        store_batch_del_range(batch, key_of(first, 's', from), key_of(behind, 's', to));
    for (uint32_t i = from; i < to && i < account->room; i++)
        account->messages[i].summary = false;
}

static void count_on(struct work_account *account, struct store_batch *batch, uint32_t k)
{
    uint8_t before[8], after[8];
    bytes_put_le64(before, k - 1);
    bytes_put_le64(after, k);
    if (k == 1) {
        store_batch_expect_absent(batch, SLICE_LITERAL("n"));
        store_batch_put(batch, SLICE_LITERAL("page"), slice_make(account->page, WORK_PAGE));
    } else {
        store_batch_expect_equal(batch, SLICE_LITERAL("n"), slice_make(before, 8));
    }
    store_batch_put(batch, SLICE_LITERAL("n"), slice_make(after, 8));
}

struct store_batch *work_next(struct work_account *account, struct store *store)
{
    struct store_batch *batch = store == NULL ? NULL : store_batch_create(account->partition);
    uint32_t k = ++account->k, dice = mix(account->number, k, 1) % 100;
    message(account, k);
    if (batch != NULL)
        count_on(account, batch, k);
    if (dice < 55)
        deliver(account, store, batch, k);
    else if (dice < 65)
        copy(account, batch, k);
    else if (dice < 80)
        set_flags(account, batch, k);
    else if (dice < 95)
        expunge(account, batch);
    else
        wipe_summaries(account, batch, k);
    while (account->live > LIVE_MAX)
        expunge(account, batch);
    return batch;
}

/* ---- comparing ----------------------------------------------------------------------------- */

struct found {
    struct work_account *account;
    bool ran, more;
    uint8_t from[STORE_KEY_MAX + 1];
    size_t from_size;
    uint32_t count;
    char *wrong;
    size_t room;
};

static void say(struct found *found, const char *what, struct slice key)
{
    if (found->wrong[0] == '\0')
        snprintf(found->wrong, found->room, "account %u at change %u: %s %.*s",
                 found->account->number, found->account->k, what, SLICE_PRINT(key));
}

static void compare_message(struct found *found, uint32_t k, struct slice key, struct slice value)
{
    struct work_message *m = message(found->account, k);
    uint8_t wanted[VALUE];
    if (!m->there || value.size != VALUE) {
        say(found, "is there and should not be, or has a wrong size:", key);
        return;
    }
    m->blob = bytes_get_le64(value.data);
    encode_message(m, wanted);
    if (memcmp(wanted, value.data, VALUE) != 0)
        say(found, "has a wrong value:", key);
}

static void compare_item(struct found *found, struct slice key, struct slice value)
{
    struct work_account *account = found->account;
    uint8_t summary[SUMMARY_MAX];
    char digits[16] = "";
    if (slice_equal_str(key, "n"))
        return;
    if (slice_equal_str(key, "page")) {
        if (!slice_equal(value, slice_make(account->page, WORK_PAGE)))
            say(found, "has a wrong value:", key);
        return;
    }
    if (key.size != 9) {
        say(found, "is none of ours:", key);
        return;
    }
    memcpy(digits, key.data + 1, 8);
    uint32_t k = (uint32_t)strtoul(digits, NULL, 16);
    if (k == 0 || k > account->k)
        say(found, "is of no change that was made:", key);
    else if (key.data[0] == 'm')
        compare_message(found, k, key, value);
    else if (!message(account, k)->summary ||
             !slice_equal(value,
                          slice_make(summary, make_summary(message(account, k)->seed, summary))))
        say(found, "should not be there or has a wrong value:", key);
}

static void on_page(void *arg, enum store_result result, const struct store_item *items,
                    size_t count, bool more)
{
    struct found *found = arg;
    found->ran = true;
    found->more = more && result == STORE_OK;
    if (result != STORE_OK)
        say(found, store_result_text(result), SLICE_LITERAL(""));
    for (size_t i = 0; i < count; i++, found->count++)
        compare_item(found, items[i].key, items[i].value);
    if (count > 0) {
        memcpy(found->from, items[count - 1].key.data, items[count - 1].key.size);
        found->from_size = items[count - 1].key.size;
        found->from[found->from_size++] = 0;
    }
}

static void on_counter(void *arg, enum store_result result, bool there, struct slice value)
{
    struct found *found = arg;
    found->ran = true;
    found->count = there && value.size == 8 ? (uint32_t)bytes_get_le64(value.data) : 0;
    if (result != STORE_OK)
        say(found, store_result_text(result), SLICE_LITERAL("n"));
}

static void on_blob(void *arg, enum store_result result, struct evbuffer *bytes)
{
    struct found *found = arg;
    const struct work_message *m = &found->account->messages[found->count];
    found->ran = true;
    size_t size = evbuffer_get_length(bytes);
    if (result != STORE_OK || size != m->size) {
        say(found, store_result_text(result), SLICE_LITERAL("(a body, or of a wrong size)"));
        return;
    }
    const uint8_t *data = evbuffer_pullup(bytes, -1);
    for (uint32_t i = 0; i < size; i++)
        if (data[i] != byte_of(m->seed, i)) {
            say(found, "a body has wrong bytes", SLICE_LITERAL(""));
            return;
        }
}

static void wait_for(struct found *found, struct event_base *base)
{
    while (!found->ran && event_base_loop(base, EVLOOP_ONCE) == 0) {
    }
    found->ran = false;
}

static uint32_t expected_count(const struct work_account *account)
{
    uint32_t count = account->k > 0 ? 2 : 0;
    for (uint32_t k = 1; k < account->room; k++)
        count += (uint32_t)account->messages[k].there + (uint32_t)account->messages[k].summary;
    return count;
}

static void compare_blobs(struct found *found, struct store *store, struct event_base *base)
{
    struct work_account *account = found->account;
    for (uint32_t k = 1; k <= account->k && found->wrong[0] == '\0'; k++) {
        struct work_message *m = &account->messages[k];
        if (!m->there)
            continue;
        for (uint32_t j = 1; j < k; j++)
            if (account->messages[j].there && (account->messages[j].blob == m->blob) !=
                                                  (account->messages[j].origin == m->origin))
                say(found, "two messages have one blob, or one message two", SLICE_LITERAL(""));
        found->count = k;
        store_read(store, m->blob, 0, UINT64_MAX, on_blob, found);
        wait_for(found, base);
    }
}

void work_verify(struct work_account *account, struct store *store, struct event_base *base,
                 char *wrong, size_t room)
{
    struct found found = {.account = account, .wrong = wrong, .room = room, .more = true};
    wrong[0] = '\0';
    store_get(store, account->partition, SLICE_LITERAL("n"), on_counter, &found);
    wait_for(&found, base);
    for (uint32_t k = found.count; account->k < k;)
        work_next(account, NULL);
    found.count = 0;
    while (found.more && wrong[0] == '\0') {
        store_scan(store, account->partition, slice_make(found.from, found.from_size),
                   SLICE_LITERAL("\xff"), 50, on_page, &found);
        wait_for(&found, base);
    }
    if (found.count != expected_count(account)) {
        char counts[64];
        snprintf(counts, sizeof(counts), "%u records instead of %u", found.count,
                 expected_count(account));
        say(&found, counts, SLICE_LITERAL(""));
    }
    compare_blobs(&found, store, base);
}
