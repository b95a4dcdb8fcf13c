/* What tests of the account database share: a store in memory, calls that wait for their answer. */
#pragma once
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <event2/event.h>

#include "auth/accounts.h"
#include "base/mem.h"
#include "store/mem/mem.h"

#define S(text) SLICE_LITERAL(text)

struct db {
    struct event_base *base;
    struct store *store;
    struct auth_accounts *accounts;
    int opened; /* 0: not yet, 1: good, -1: bad */
    char trouble[200];
};

static inline void db_opened(void *arg, bool good, const char *trouble)
{
    struct db *db = arg;
    db->opened = good ? 1 : -1;
    snprintf(db->trouble, sizeof(db->trouble), "%s", trouble == NULL ? "" : trouble);
}

static inline void db_load(struct db *db)
{
    static const uint32_t volumes[] = {0, 1, 2};
    db->opened = 0;
    db->accounts = auth_accounts_open(db->store, db_opened, db);
    while (db->opened == 0)
        event_base_loop(db->base, EVLOOP_ONCE);
    auth_accounts_volumes(db->accounts, volumes, 3);
}

static inline struct db *db_create(void)
{
    struct db *db = MEM_NEW(struct db);
    db->base = event_base_new();
    db->store = store_mem_open(db->base);
    db_load(db);
    assert_int_equal(db->opened, 1);
    return db;
}

/* As after a restart. */
static inline void db_reload(struct db *db)
{
    auth_accounts_close(&db->accounts);
    struct store_mem_image *image = store_mem_crash(&db->store);
    db->store = store_mem_reopen(db->base, &image);
    db_load(db);
}

static inline void db_destroy(struct db *db)
{
    auth_accounts_close(&db->accounts);
    store_close(&db->store);
    event_base_free(db->base);
    free(db);
}

static inline void db_changed(void *arg)
{
    *(bool *)arg = true;
}

static inline enum auth_outcome db_change(struct db *db, struct auth_edit *edits, size_t count)
{
    bool done = false;
    auth_accounts_change(db->accounts, edits, count, db_changed, &done);
    assert_false(done); /* later, never inside */
    while (!done)
        event_base_loop(db->base, EVLOOP_ONCE);
    return edits[0].outcome;
}

static inline enum auth_outcome db_add(struct db *db, const char *name)
{
    struct auth_edit edit = {.kind = AUTH_EDIT_ADD,
                             .name = slice_str(name),
                             .verifier = S("{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=")};
    return db_change(db, &edit, 1);
}

static inline enum auth_outcome db_alias(struct db *db, const char *name, const char *alias)
{
    struct auth_edit edit = {
        .kind = AUTH_EDIT_ALIAS, .name = slice_str(name), .alias = slice_str(alias)};
    return db_change(db, &edit, 1);
}
