/*
 * A workload whose whole state follows from one number per account: change k of account p is the
 * same whenever it is made. So after any crash the volume says how far it came (the record "n"),
 * and everything else in it can be foretold and compared, byte by byte.
 */
#pragma once
#include "store/store.h"

enum { WORK_ACCOUNTS = 4, WORK_PAGE = 4000 };

struct work_message {
    bool there, summary;
    uint32_t origin; /* the message whose blob it shares; itself */
    uint32_t seed, size;
    uint64_t blob; /* 0: not known yet */
};

struct work_account {
    struct id partition;
    unsigned number;
    uint32_t k; /* changes made */
    struct work_message *messages;
    uint32_t room, live;
    uint8_t page[WORK_PAGE];
};

void work_init(struct work_account *account, unsigned number);
void work_finish(struct work_account *account);

/* Makes change k + 1: to the model, and to a batch when store is given (else NULL). */
struct store_batch *work_next(struct work_account *account, struct store *store);

/*
 * Reads what the volume has of the account, brings a fresh model to the same change and compares.
 * Empty text: all is right; else what is not. Blocks, running the loop.
 */
void work_verify(struct work_account *account, struct store *store, struct event_base *base,
                 char *wrong, size_t room);
