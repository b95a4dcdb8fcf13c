/*
 * Verified secrets and failures (remember.h). Two tables of the same shape: a tree by a 16-byte
 * keyed hash, and a list from the oldest to the newest. The key is random and of this process, so
 * nobody outside can make entries meet, and nothing here says a secret.
 */
#include "auth/remember.h"

#include <arpa/inet.h>
#include <bsd/sys/tree.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    HASH = 32,
    ADDRESS_FREE = 10, /* failures of one address that cost nothing: many people live there */
    FORGIVE_US = 60 * 1000000,
};

struct memory {
    RB_ENTRY(memory) link;
    TAILQ_ENTRY(memory) age;
    uint8_t key[16];
    uint8_t hash[HASH]; /* secrets: of the secret */
    uint32_t failures;
    uint64_t at; /* monotonic */
};

RB_HEAD(memory_tree, memory);
TAILQ_HEAD(memory_list, memory);

struct table {
    struct memory_tree tree;
    struct memory_list ages;
    size_t count, most;
};

struct remember {
    uint8_t key[crypto_generichash_KEYBYTES];
    struct table secrets, failures;
};

static int memory_compare(const struct memory *a, const struct memory *b)
{
    return memcmp(a->key, b->key, sizeof(a->key));
}

RB_PROTOTYPE(memory_tree, memory, link, memory_compare)
RB_GENERATE(memory_tree, memory, link, memory_compare)

/* ---- a table --------------------------------------------------------------------------------- */

static void table_init(struct table *table, size_t most)
{
    RB_INIT(&table->tree);
    TAILQ_INIT(&table->ages);
    table->most = most;
}

static struct memory *table_find(struct table *table, const uint8_t key[16])
{
    struct memory like;
    memcpy(like.key, key, sizeof(like.key));
    return RB_FIND(memory_tree, &table->tree, &like);
}

static void table_drop(struct table *table, struct memory *memory)
{
    RB_REMOVE(memory_tree, &table->tree, memory);
    TAILQ_REMOVE(&table->ages, memory, age);
    table->count--;
    mem_wipe(memory, sizeof(*memory));
    free(memory);
}

/* The entry of that key, now the newest. */
static struct memory *table_touch(struct table *table, const uint8_t key[16])
{
    struct memory *memory = table_find(table, key);
    if (memory != NULL) {
        TAILQ_REMOVE(&table->ages, memory, age);
    } else {
        if (table->count == table->most)
            table_drop(table, TAILQ_FIRST(&table->ages));
        memory = MEM_NEW(struct memory);
        memcpy(memory->key, key, sizeof(memory->key));
        memory->at = clock_monotonic_us();
        RB_INSERT(memory_tree, &table->tree, memory);
        table->count++;
    }
    TAILQ_INSERT_TAIL(&table->ages, memory, age);
    return memory;
}

/* ---- verified secrets ------------------------------------------------------------------------ */

static void secret_hash(const struct remember *remember, struct id account, struct slice secret,
                        uint8_t hash[HASH])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, remember->key, sizeof(remember->key), HASH);
    crypto_generichash_update(&state, account.bytes, sizeof(account.bytes));
    crypto_generichash_update(&state, secret.data, secret.size);
    crypto_generichash_final(&state, hash, HASH);
    mem_wipe(&state, sizeof(state));
}

bool remember_secret_known(struct remember *remember, struct id account, struct slice secret,
                           uint64_t seconds)
{
    uint8_t hash[HASH];
    struct memory *memory = table_find(&remember->secrets, account.bytes);
    if (memory == NULL)
        return false;
    if (clock_monotonic_us() - memory->at >= seconds * 1000000) {
        table_drop(&remember->secrets, memory);
        return false;
    }
    secret_hash(remember, account, secret, hash);
    return sodium_memcmp(hash, memory->hash, HASH) == 0;
}

void remember_secret(struct remember *remember, struct id account, struct slice secret)
{
    struct memory *memory = table_touch(&remember->secrets, account.bytes);
    memory->at = clock_monotonic_us();
    secret_hash(remember, account, secret, memory->hash);
}

void remember_forget(struct remember *remember, struct id account)
{
    struct memory *memory = table_find(&remember->secrets, account.bytes);
    if (memory != NULL)
        table_drop(&remember->secrets, memory);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* The part of an address that one customer has; false where it is this machine's. */
static bool address_site(struct slice address, char site[INET6_ADDRSTRLEN], struct slice *key)
{
    struct in6_addr six;
    *key = address;
    if (address.size >= INET6_ADDRSTRLEN)
        return true;
    memcpy(site, address.data, address.size);
    site[address.size] = '\0';
    if (slice_equal_str(address, "unix") || slice_equal_str(address, "::1") ||
        slice_starts(address, SLICE_LITERAL("127.")))
        return false;
    if (inet_pton(AF_INET6, site, &six) == 1) {
        memset(six.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &six, site, INET6_ADDRSTRLEN);
        *key = slice_str(site);
    }
    return true;
}

static void failure_key(const struct remember *remember, struct slice site,
                        const struct slice *name, uint8_t key[16])
{
    crypto_generichash_state state;
    uint8_t kind = name != NULL;
    crypto_generichash_init(&state, remember->key, sizeof(remember->key), 16);
    crypto_generichash_update(&state, &kind, 1);
    crypto_generichash_update(&state, site.data, site.size);
    crypto_generichash_update(&state, &kind, 1);
    for (size_t i = 0; name != NULL && i < name->size; i++) {
        uint8_t c = ascii_lower(name->data[i]);
        crypto_generichash_update(&state, &c, 1);
    }
    crypto_generichash_final(&state, key, 16);
}

/* Forgives what is due; the failures that still count. */
static uint32_t failures_now(struct memory *memory)
{
    if (memory == NULL)
        return 0;
    uint64_t due = (clock_monotonic_us() - memory->at) / FORGIVE_US;
    memory->at += due * FORGIVE_US;
    memory->failures = due >= memory->failures ? 0 : memory->failures - (uint32_t)due;
    return memory->failures;
}

static void failure_add(struct remember *remember, const uint8_t key[16])
{
    struct memory *memory = table_touch(&remember->failures, key);
    if (failures_now(memory) == 0)
        memory->at = clock_monotonic_us();
    if (memory->failures < 1000)
        memory->failures++;
}

void remember_failure(struct remember *remember, struct slice address, struct slice name)
{
    char room[INET6_ADDRSTRLEN];
    struct slice site;
    uint8_t key[16];
    if (address_site(address, room, &site)) {
        failure_key(remember, site, NULL, key);
        failure_add(remember, key);
    }
    failure_key(remember, site, &name, key);
    failure_add(remember, key);
}

void remember_success(struct remember *remember, struct slice address, struct slice name)
{
    char room[INET6_ADDRSTRLEN];
    struct slice site;
    uint8_t key[16];
    address_site(address, room, &site);
    failure_key(remember, site, &name, key);
    struct memory *memory = table_find(&remember->failures, key);
    if (memory != NULL)
        table_drop(&remember->failures, memory);
}

/* 1, 2, 4, ... seconds. */
static uint32_t delay_of(uint32_t failures, uint32_t most)
{
    if (failures == 0)
        return 0;
    uint64_t ms = failures > 20 ? UINT32_MAX : 1000ull << (failures - 1);
    return ms > most ? most : (uint32_t)ms;
}

uint32_t remember_delay_ms(struct remember *remember, struct slice address, struct slice name,
                           uint32_t most)
{
    char room[INET6_ADDRSTRLEN];
    struct slice site;
    uint8_t key[16];
    uint32_t from_address = 0;
    if (address_site(address, room, &site)) {
        failure_key(remember, site, NULL, key);
        uint32_t failures = failures_now(table_find(&remember->failures, key));
        from_address = failures > ADDRESS_FREE ? failures - ADDRESS_FREE : 0;
    }
    failure_key(remember, site, &name, key);
    uint32_t from_pair = failures_now(table_find(&remember->failures, key));
    return delay_of(from_pair > from_address ? from_pair : from_address, most);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct remember *remember_create(void)
{
    struct remember *remember = MEM_NEW(struct remember);
    id_random_bytes(remember->key, sizeof(remember->key));
    table_init(&remember->secrets, REMEMBER_SECRETS_MAX);
    table_init(&remember->failures, REMEMBER_FAILURES_MAX);
    return remember;
}

void remember_destroy(struct remember **pointer)
{
    struct remember *remember = *pointer;
    if (remember == NULL)
        return;
    struct table *const tables[] = {&remember->secrets, &remember->failures};
    for (int i = 0; i < 2; i++)
        while (!TAILQ_EMPTY(&tables[i]->ages))
            table_drop(tables[i], TAILQ_FIRST(&tables[i]->ages));
    mem_wipe(remember, sizeof(*remember));
    free(remember);
    *pointer = NULL;
}
