/* See power.h. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "power.h"

enum { WINDOW = 3 };

static const struct store_local_options options = {.segment_size = 128 << 10,
                                                   .checkpoint_operations = 60,
                                                   .checkpoint_bytes = 128 << 10,
                                                   .checkpoint_ms = 10,
                                                   .snapshot_operations = 60,
                                                   .journal_keep_s = 1,
                                                   .compact_percent = 75,
                                                   .reader_threads = 1,
                                                   .create = true};

void told_add(struct told *told, const struct disk *disk, uint32_t event)
{
    for (uint32_t i = 0; i < event; i++) {
        struct note note;
        if (disk->events[i].kind != DISK_NOTE)
            continue;
        memcpy(&note, disk->log + disk->events[i].data, sizeof(note));
        if (note.what != NOTE_SUBMITTED && note.k > told->acknowledged[note.account])
            told->acknowledged[note.account] = note.k;
        if (note.what != NOTE_ACKNOWLEDGED)
            told->submitted[note.account] = note.k;
        told->blob = note.blob > told->blob ? note.blob : told->blob;
        told->lsn = note.lsn > told->lsn ? note.lsn : told->lsn;
        told->epoch = note.epoch > told->epoch ? note.epoch : told->epoch;
    }
}

/* ---- one open volume ----------------------------------------------------------------------- */

struct life {
    struct disk *disk;
    const struct session *session;
    struct event_base *base;
    struct store *store;
    struct work_account accounts[WORK_ACCOUNTS];
    uint32_t left, in_flight;
    bool failed; /* something answered UNKNOWN or the like */
};

struct flight {
    struct life *life;
    struct work_account *account;
    uint32_t k;
};

static void wrong(struct disk *disk, const char *what)
{
    if (disk->failure[0] == '\0')
        snprintf(disk->failure, sizeof(disk->failure), "%s", what);
}

static void note(struct life *life, struct note note)
{
    struct store_stats stats;
    store_stats(life->store, &stats);
    note.lsn = note.what == NOTE_SUBMITTED ? 0 : stats.lsn_durable;
    note.epoch = store_epoch(life->store);
    disk_note(life->disk, &note, sizeof(note));
}

static bool life_open(struct life *life, const char *directory)
{
    struct error error = {""};
    life->base = event_base_new();
    if (store_local_open(life->base, directory, &options, &life->store, &error))
        return true;
    wrong(life->disk, error.text);
    return false;
}

static void life_close(struct life *life)
{
    store_close(&life->store);
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++)
        work_finish(&life->accounts[i]);
    event_base_free(life->base);
}

/* All accounts as the volume has them; "" when they are as they must be. */
static void read_all(struct life *life, char *text, size_t room)
{
    text[0] = '\0';
    for (unsigned i = 0; i < WORK_ACCOUNTS && text[0] == '\0'; i++) {
        work_finish(&life->accounts[i]);
        work_init(&life->accounts[i], i);
        work_verify(&life->accounts[i], life->store, life->base, text, room);
    }
}

static void submit(struct life *life, struct work_account *account);

static void on_done(void *arg, enum store_result result)
{
    struct flight *flight = arg;
    struct life *life = flight->life;
    life->in_flight--;
    if (result == STORE_OK)
        note(life, (struct note){NOTE_ACKNOWLEDGED, flight->account->number, flight->k});
    else if (!life->session->may_fail)
        wrong(life->disk, store_result_text(result));
    life->failed = life->failed || result != STORE_OK;
    submit(life, flight->account);
    free(flight);
}

static void submit(struct life *life, struct work_account *account)
{
    if (life->left == 0 || life->failed)
        return;
    struct flight *flight = mem_alloc(sizeof(*flight));
    struct store_batch *batch = work_next(account, life->store);
    const struct work_message *message = &account->messages[account->k];
    *flight = (struct flight){life, account, account->k};
    life->left--;
    life->in_flight++;
    note(life, (struct note){NOTE_SUBMITTED, account->number, account->k,
                             message->origin == account->k ? message->blob : 0});
    store_submit(life->store, batch, on_done, flight);
}

static void work(struct life *life, uint32_t changes)
{
    life->left = changes;
    life->failed = false;
    for (unsigned j = 0; j < WINDOW; j++)
        for (unsigned i = 0; i < WORK_ACCOUNTS; i++)
            submit(life, &life->accounts[i]);
    while (life->in_flight > 0)
        event_base_loop(life->base, EVLOOP_ONCE);
}

static void set_faults(const char *faults)
{
#ifdef RESTANTE_FAULTS
    fault_set(faults);
#else
    (void)faults;
#endif
}

/* ---- a session ----------------------------------------------------------------------------- */

static bool begin(struct life *life, const struct told *told)
{
    char text[256];
    read_all(life, text, sizeof(text));
    if (text[0] != '\0') {
        if (!life->session->may_fail)
            wrong(life->disk, text);
        return false;
    }
    for (unsigned i = 0; i < WORK_ACCOUNTS; i++) {
        if (life->accounts[i].k < told->acknowledged[i])
            wrong(life->disk, "an acknowledged change was gone after a kill");
        note(life, (struct note){NOTE_OPENED, i, life->accounts[i].k});
    }
    return true;
}

void session_run(struct disk *disk, const struct session *session, const struct told *told)
{
    struct life life = {.disk = disk, .session = session};
    struct store_stats stats;
    set_faults(session->faults);
    if (!life_open(&life, session->directory)) {
        if (session->may_fail)
            disk->failure[0] = '\0';
        return;
    }
    if (begin(&life, told)) {
        work(&life, session->changes);
        if (life.failed && session->may_fail && begin(&life, told))
            work(&life, session->changes / 4);
    }
    store_stats(life.store, &stats);
    if (stats.trouble[0] != '\0' && !session->may_fail)
        wrong(disk, stats.trouble);
    life_close(&life);
}

/* ---- an image ------------------------------------------------------------------------------ */

struct probe {
    bool ran;
    enum store_result result;
};

static void on_probe(void *arg, enum store_result result)
{
    struct probe *probe = arg;
    *probe = (struct probe){true, result};
}

/* Frozen, that is: known to be damaged. */
static bool is_frozen(struct life *life, unsigned account)
{
    struct probe probe = {false, STORE_OK};
    struct store_batch *batch = store_batch_create(life->accounts[account].partition);
    store_batch_del(batch, SLICE_LITERAL("probe"));
    store_submit(life->store, batch, on_probe, &probe);
    while (!probe.ran)
        event_base_loop(life->base, EVLOOP_ONCE);
    return probe.result == STORE_CORRUPT;
}

static void compare_account(struct life *life, unsigned i, const struct told *told, bool flipped)
{
    struct work_account *account = &life->accounts[i];
    char text[256], said[512];
    work_init(account, i);
    work_verify(account, life->store, life->base, text, sizeof(text));
    if (text[0] == '\0' && account->k >= told->acknowledged[i] && account->k <= told->submitted[i])
        return;
    if (flipped && (strstr(text, store_result_text(STORE_CORRUPT)) != NULL || is_frozen(life, i)))
        return;
    snprintf(said, sizeof(said), "account %u is at change %u, acknowledged %u, submitted %u: %s", i,
             account->k, told->acknowledged[i], told->submitted[i], text);
    wrong(life->disk, said);
}

static void compare_figures(struct life *life, const struct told *told, bool flipped)
{
    struct store_stats stats;
    store_stats(life->store, &stats);
    if (store_blob_new(life->store) <= told->blob)
        wrong(life->disk, "a blob id can come again");
    if (store_epoch(life->store) < told->epoch)
        wrong(life->disk, "the epoch went back");
    if (flipped)
        return;
    if (stats.lsn_durable < told->lsn)
        wrong(life->disk, "the LSN went back");
    if (stats.frozen_partitions > 0)
        wrong(life->disk, "an account is frozen");
    if (stats.trouble[0] != '\0')
        wrong(life->disk, stats.trouble);
}

/* Enough changes for a checkpoint and a round of housekeeping, which must find nothing wrong. */
static void go_on(struct life *life)
{
    struct store_stats stats;
    work(life, 40);
    store_stats(life->store, &stats);
    if (stats.trouble[0] != '\0')
        wrong(life->disk, stats.trouble);
}

void image_compare(struct disk *disk, const char *directory, const struct told *told, bool flipped,
                   bool again)
{
    static const struct session quiet = {.faults = ""};
    struct told now = *told;
    for (int round = 0; round < (again && !flipped ? 3 : 1); round++) {
        struct life life = {.disk = disk, .session = &quiet};
        if (!life_open(&life, directory))
            return;
        compare_figures(&life, told, flipped);
        for (unsigned i = 0; i < WORK_ACCOUNTS; i++)
            compare_account(&life, i, &now, flipped);
        if (round == 1)
            go_on(&life);
        for (unsigned i = 0; i < WORK_ACCOUNTS; i++)
            now.acknowledged[i] = now.submitted[i] = life.accounts[i].k;
        life_close(&life);
        if (disk->failure[0] != '\0')
            return;
    }
}
