/* Helpers of the conformance tests: an open engine, and store.h called as if it were synchronous.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/event.h>

#include "base/buf.h"
#include "store/conformance.h"

struct lab {
    const struct conformance_engine *engine;
    struct event_base *base;
    struct store *store;
};

void lab_open(struct lab *lab, const struct conformance_engine *engine);
void lab_reopen(struct lab *lab);
void lab_close(struct lab *lab);

/* One answer to come. */
struct answer {
    bool ran;
    enum store_result result;
    unsigned order; /* counts up over all answers to batches */
};
extern unsigned answers_given;

void lab_submit(struct lab *lab, struct store_batch *batch, struct answer *answer);
void lab_wait(struct lab *lab, const bool *flag);
/* Submits and waits. */
enum store_result lab_do(struct lab *lab, struct store_batch *batch);

/* A partition by number, for readable tests. */
struct id lab_partition(unsigned number);
struct store_batch *lab_batch(unsigned partition);
struct slice text(const char *text);

/* The value, copied into *value; false when there is no such key. */
bool lab_get(struct lab *lab, unsigned partition, struct slice key, struct buf *value);
void lab_expect(struct lab *lab, unsigned partition, const char *key, const char *value);
void lab_expect_none(struct lab *lab, unsigned partition, const char *key);

/* All of a partition, by pages of `most`: "key=value;" each. */
void lab_dump(struct lab *lab, unsigned partition, size_t most, struct buf *out);

/* Adds a blob of `size` bytes made of seed; counts in *released when it is given back. */
void lab_blob(struct store_batch *batch, uint64_t blob, uint32_t seed, size_t size,
              unsigned *released);
uint8_t blob_byte(uint32_t seed, uint64_t offset);
enum store_result lab_read(struct lab *lab, uint64_t blob, uint64_t offset, uint64_t size,
                           struct buf *bytes);
void lab_expect_blob(struct lab *lab, uint64_t blob, uint32_t seed, uint64_t size);
