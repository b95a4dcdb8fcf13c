/* The records of the account database as they are stored (doc/formats/accounts.md); auth/ only. */
#pragma once
#include "auth/accounts.h"
#include "base/buf.h"

enum { RECORD_FORMAT = 1, RECORD_SECRET = 32 };

/* The partition of every account database. */
extern const struct id record_partition;

enum record_name_kind { RECORD_NAME_ACCOUNT = 1, RECORD_NAME_ALIAS = 2 };

enum record_result {
    RECORD_OK,
    RECORD_DAMAGED,
    RECORD_NEWER, /* made by a newer Restante */
};

/* Keys; cleared first. */
void record_key_account(struct buf *key, struct id id);
void record_key_name(struct buf *key, struct slice folded);
void record_key_secret(struct buf *key);

/* Values; cleared first. The checksum covers the partition and the key, too. */
void record_put_account(struct buf *value, struct slice key, const struct auth_account *account);
void record_put_name(struct buf *value, struct slice key, enum record_name_kind kind, struct id id);
void record_put_secret(struct buf *value, struct slice key, const uint8_t secret[RECORD_SECRET]);

/* Slices of account point into value. */
enum record_result record_get_account(struct slice key, struct slice value,
                                      struct auth_account *account);
enum record_result record_get_name(struct slice key, struct slice value,
                                   enum record_name_kind *kind, struct id *id);
enum record_result record_get_secret(struct slice key, struct slice value,
                                     uint8_t secret[RECORD_SECRET]);
