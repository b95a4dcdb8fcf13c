/*
 * Was this message delivered to the account before, within the last day? "No" is certain, and
 * spares the store a look into its index, on another thread, for nearly every delivery; after
 * "perhaps" the batch says that it expects no such record, and the store judges; after "likely" the
 * record is looked at first. So nothing but speed depends on what stands here: 32 bits of the hash
 * of each delivery that is remembered.
 *
 * They are read from the store once an account that is open gets more than a few deliveries. What
 * is on its way at that moment is entered too; what the store forgets later stays until it is read
 * anew.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "mailbox/mailbox_priv.h"

enum {
    DELIVERIES_BEFORE = 4, /* answered "perhaps" until the records are read */
    PRINTS_MAX = 65536,    /* beyond: "perhaps" to all */
    RECORDS_PER_PAGE = 2000,
};

static uint32_t print_of(const uint8_t hash[16])
{
    uint32_t print = bytes_get_le32(hash);
    return print == 0 ? 1 : print; /* 0: a free slot */
}

static uint32_t *slot_of(const struct repeats *repeats, uint32_t print)
{
    size_t at = print & (repeats->room - 1);
    while (repeats->prints[at] != 0 && repeats->prints[at] != print)
        at = (at + 1) & (repeats->room - 1);
    return &repeats->prints[at];
}

static void grow(struct repeats *repeats)
{
    struct repeats old = *repeats;
    repeats->room = old.room == 0 ? 64 : old.room * 2;
    repeats->prints = mem_zalloc(repeats->room * sizeof(*repeats->prints));
    for (size_t i = 0; i < old.room; i++) {
        if (old.prints[i] != 0)
            *slot_of(repeats, old.prints[i]) = old.prints[i];
    }
    free(old.prints);
}

static void enter(struct repeats *repeats, const uint8_t hash[16])
{
    if (repeats->state == REPEATS_UNKNOWN)
        return;
    if (repeats->count >= PRINTS_MAX) {
        repeats->state = REPEATS_MANY;
        return;
    }
    if (repeats->count >= repeats->room / 2)
        grow(repeats);
    uint32_t *slot = slot_of(repeats, print_of(hash));
    repeats->count += *slot == 0;
    *slot = print_of(hash);
}

void repeats_forget(struct account *account)
{
    struct repeats *repeats = &account->repeats;
    free(repeats->prints);
    *repeats = (struct repeats){.reading = repeats->reading};
}

/* ---- reading them --------------------------------------------------------------------------- */

static void scanned(void *arg, enum store_result result, const struct store_item *items,
                    size_t count, bool more);

static void read_page(struct account *account, struct slice from)
{
    struct codec_key to = codec_key_kind(KEY_END);
    store_scan(account->store, account->id, from, codec_key_slice(&to), RECORDS_PER_PAGE, scanned,
               account);
}

static void scanned(void *arg, enum store_result result, const struct store_item *items,
                    size_t count, bool more)
{
    struct account *account = arg;
    struct repeats *repeats = &account->repeats;
    bool wanted = repeats->state == REPEATS_READING && account->state == ACCOUNT_READY;
    for (size_t i = 0; i < count && wanted; i++) {
        if (items[i].key.size == 17 && items[i].key.data[0] == KEY_DELIVERY)
            enter(repeats, items[i].key.data + 1);
    }
    if (wanted && result == STORE_OK && more && repeats->state == REPEATS_READING) {
        struct buf from = {0};
        buf_add_slice(&from, items[count - 1].key);
        buf_u8(&from, 0);
        read_page(account, buf_slice(&from));
        buf_finish(&from);
        return;
    }
    if (repeats->state == REPEATS_READING)
        repeats->state = wanted && result == STORE_OK ? REPEATS_KNOWN : REPEATS_MANY;
    repeats->reading = false;
    account_drop(account);
}

static void begin(struct account *account)
{
    struct codec_key from = codec_key_kind(KEY_DELIVERY);
    const struct change *change;
    account->repeats.state = REPEATS_READING;
    account->repeats.reading = true;
    TAILQ_FOREACH (change, &account->changes, link) {
        if (change->delivers)
            enter(&account->repeats, change->delivery);
    }
    account_hold(account);
    read_page(account, codec_key_slice(&from));
}

enum repeat repeats_ask(struct account *account, const uint8_t hash[16])
{
    struct repeats *repeats = &account->repeats;
    if (repeats->state == REPEATS_UNKNOWN && !repeats->reading &&
        ++repeats->deliveries > DELIVERIES_BEFORE)
        begin(account);
    if (repeats->state != REPEATS_KNOWN)
        return REPEAT_PERHAPS;
    return repeats->count > 0 && *slot_of(repeats, print_of(hash)) != 0 ? REPEAT_LIKELY : REPEAT_NO;
}

void repeats_enter(struct account *account, const uint8_t hash[16])
{
    enter(&account->repeats, hash);
}
