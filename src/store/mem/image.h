/* What the mem engine calls durable: keys, blobs and counters, changed by whole batches only. */
#pragma once
#include <bsd/sys/tree.h>

#include "store/store_priv.h"

struct image_value {
    RB_ENTRY(image_value) entry;
    struct id partition;
    struct slice key;   /* bytes behind the struct */
    struct slice value; /* bytes behind the key */
    bool damaged;       /* reads answer CORRUPT */
};

struct image_blob {
    RB_ENTRY(image_blob) entry;
    uint64_t id;
    uint64_t references;
    uint8_t *data;
    size_t size;
    bool damaged;
};

RB_HEAD(image_values, image_value);
RB_HEAD(image_blobs, image_blob);
RB_PROTOTYPE(image_values, image_value, entry, )
RB_PROTOTYPE(image_blobs, image_blob, entry, )

struct store_mem_image {
    struct image_values values;
    struct image_blobs blobs;
    struct id uuid;
    uint64_t epoch;
    uint64_t blob_last; /* the last blob id given out */
    uint64_t lsn;
    uint64_t blob_bytes;
};

struct store_mem_image *image_create(void);
void image_destroy(struct store_mem_image **image);

/* All of it or nothing: OK or CONFLICT. Copies the blobs' bytes. */
enum store_result image_apply(struct store_mem_image *image, const struct store_batch *batch);

struct image_value *image_find(struct store_mem_image *image, struct id partition,
                               struct slice key);
/* The first of the partition with at least that key, or NULL. */
struct image_value *image_from(struct store_mem_image *image, struct id partition,
                               struct slice key);
struct image_value *image_next(struct image_value *value); /* in the same partition, or NULL */
struct image_blob *image_find_blob(struct store_mem_image *image, uint64_t id);
