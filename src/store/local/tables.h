/* The tables of the index by number, as they stand in snapshots (doc/formats/snapshot.md). */
#pragma once
#include "store/local/local_priv.h"

enum { TABLE_KV = 1, TABLE_BLOBS = 2, TABLE_META = 3 };

/* A stored pair with its checksum; false with an error that names it. */
static inline bool tables_check(uint8_t table, MDB_val key, MDB_val stored, struct error *error)
{
    struct slice value;
    struct blob_record record;
    bool good = table == TABLE_BLOBS ? index_check_blob(key, stored, &record)
                                     : table != TABLE_KV || index_check_kv(key, stored, &value);
    return good || error_set(error, "a damaged record in table %u of the index", table);
}

/* Marks stay with the account; where the checkpoint is and live bytes are of one index. */
static inline bool tables_meta_lasts(struct slice name)
{
    return slice_starts(name, SLICE_LITERAL("frozen")) ||
           slice_starts(name, SLICE_LITERAL("damaged"));
}
