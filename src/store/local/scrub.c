/*
 * When the scrub reads which piece, and what becomes of what it finds; check.c does the reading.
 * A piece takes its share of the round's time by its share of the bytes, so that the disk is asked
 * for little, evenly; a round that was held up does not hurry. The clock may be set: a last piece
 * that lies ahead of us was just now.
 */
#include "store/local/scrub.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "store/local/check.h"
#include "store/local/files.h"

#define TROUBLE "scrub: "

enum { FIRST_MS = 5000, LEAST_MS = 10, MOST_MS = 3600 * 1000, FINDING_MAX = 100 };

enum part { PART_SEGMENTS, PART_INDEX, PART_COPIES, PART_DONE };

/* What stands in the file. */
struct scrub_state {
    uint64_t began, last; /* this round, its last piece: seconds since 1970 */
    uint32_t part;        /* the next piece is of it */
    uint64_t generation;  /* segments up to this one are done */
    uint64_t damages;     /* of this round so far */
    char finding[FINDING_MAX + 1];
};

struct scrub {
    struct check_job job; /* first */
    struct event *timer;
    size_t at;      /* PART_SEGMENTS: of check.segments */
    uint64_t share; /* of scrub_s that the piece takes: milliseconds */
    bool whole;     /* it was not cut off */
    struct scrub_state state, next;
};

/* ---- the file ------------------------------------------------------------------------------ */

static void load(const struct volume *volume, struct scrub_state *state)
{
    char text[512] = "";
    int fd = openat(volume->directory, "scrub", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    fd_close(&fd);
    *state = (struct scrub_state){0};
    int fields = sscanf(text,
                        "restante-scrub 1\n%" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu64 " %" SCNu64
                        "\n%100[^\n]",
                        &state->began, &state->last, &state->part, &state->generation,
                        &state->damages, state->finding);
    if (size <= 0 || fields < 5 || state->part > PART_DONE)
        *state = (struct scrub_state){0};
}

/* Not synced: what is lost is only read again. */
static void save(const struct volume *volume, const struct scrub_state *state)
{
    char text[512];
    int size = snprintf(
        text, sizeof(text),
        "restante-scrub 1\n%" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu64 " %" PRIu64 "\n%s\n",
        state->began, state->last, state->part, state->generation, state->damages, state->finding);
    int fd = openat(volume->directory, "scrub.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && fault_hit("store.scrub.write") == 0 &&
                files_write(fd, slice_make(text, (size_t)size));
    fd_close(&fd);
    if (good && fault_hit("store.scrub.rename") == 0)
        (void)renameat(volume->directory, "scrub.new", volume->directory, "scrub");
}

void scrub_forget(const char *directory)
{
    (void)unlink(files_path(directory, "scrub").text);
}

/* ---- a piece, on the checker's thread ------------------------------------------------------ */

static void on_finding(void *arg, const struct store_finding *finding)
{
    struct scrub *scrub = arg;
    const struct volume *volume = scrub->job.check.volume;
    if (finding->severity < 2)
        return;
    counter_add(COUNTER_scrub_damages, 1);
    log_error("scrub_damage", "volume=%s file=%s offset=%" PRIu64 " account=%s reason=%s",
              id_text(volume->uuid).text, log_value(slice_str(finding->file)).text, finding->offset,
              id_text(finding->partition).text, log_value(slice_str(finding->text)).text);
    snprintf(scrub->next.finding, sizeof(scrub->next.finding), "%s at %" PRIu64 ": %s",
             finding->file, finding->offset, finding->text);
}

static void end_piece(struct scrub *scrub)
{
    const struct volume *volume = scrub->job.check.volume;
    struct scrub_state *next = &scrub->next;
    next->damages += scrub->job.check.damages;
    next->last = clock_real_s();
    if (next->part == PART_DONE) {
        if (next->damages == 0)
            next->finding[0] = '\0';
        counter_add(COUNTER_scrub_rounds, 1);
        log_info("scrub_round", "volume=%s seconds=%" PRIu64 " damages=%" PRIu64,
                 id_text(volume->uuid).text,
                 next->last > next->began ? next->last - next->began : 0, next->damages);
    }
    save(volume, next);
}

static void work(struct job *job, unsigned thread)
{
    struct scrub *scrub = (struct scrub *)(void *)job;
    struct check *check = &scrub->job.check;
    if (scrub->state.part == PART_SEGMENTS)
        check_segment(check, scrub->at);
    else if (scrub->state.part == PART_INDEX)
        check_index(check);
    else
        check_copies(check);
    counter_add(COUNTER_scrub_bytes, (int64_t)check->read);
    scrub->whole = !atomic_load(check->stopping);
    if (scrub->whole)
        end_piece(scrub);
}

/* ---- planning, on the loop ----------------------------------------------------------------- */

static void arm(struct scrub *scrub, uint64_t ms)
{
    ms = ms < LEAST_MS ? LEAST_MS : ms > MOST_MS ? MOST_MS : ms;
    struct timeval after = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (long)(ms % 1000) * 1000};
    event_add(scrub->timer, &after);
}

static void say(struct scrub *scrub)
{
    struct local *local = scrub->job.local;
    const char *finding = scrub->state.finding;
    char *trouble = local->stats.trouble;
    size_t ours = strlen(TROUBLE);
    bool said = strncmp(trouble, TROUBLE, ours) == 0;
    if (finding[0] == '\0' && said)
        trouble[0] = '\0';
    else if (finding[0] != '\0' && (said || trouble[0] == '\0') &&
             strcmp(trouble + (said ? ours : 0), finding) != 0)
        local_trouble(local, TROUBLE "%s", finding);
}

static void on_done(struct post_item *item)
{
    struct scrub *scrub =
        (struct scrub *)(void *)((char *)item - offsetof(struct scrub, job.job.done));
    struct local *local = scrub->job.local;
    local->stats.scrub_bytes += scrub->job.check.read;
    local->stats.scrub_damages += scrub->job.check.damages;
    check_job_end(&scrub->job);
    if (scrub->whole) {
        scrub->state = scrub->next;
        local->stats.scrub_rounds += scrub->state.part == PART_DONE;
        say(scrub);
    }
    arm(scrub, scrub->share);
    local_recover_when_quiet(local);
}

/* The first segment that is not done; the place behind all when there is none. */
static size_t next_segment(const struct scrub *scrub)
{
    const struct check *check = &scrub->job.check;
    size_t at = 0;
    while (at < check->segment_count && check->segments[at]->generation <= scrub->state.generation)
        at++;
    return at;
}

/* Index, snapshots and journal together count as a quarter of the segments. */
static void plan(struct scrub *scrub)
{
    const struct check *check = &scrub->job.check;
    uint64_t bytes = 0, piece;
    for (size_t i = 0; i < check->segment_count; i++)
        bytes += check->segments[i]->size;
    scrub->at = next_segment(scrub);
    if (scrub->state.part == PART_SEGMENTS && scrub->at == check->segment_count)
        scrub->state.part = PART_INDEX;
    scrub->next = scrub->state;
    piece = bytes / 8 + 1;
    if (scrub->state.part == PART_SEGMENTS) {
        scrub->next.generation = check->segments[scrub->at]->generation;
        piece = check->segments[scrub->at]->size;
    } else {
        scrub->next.part++;
    }
    double part = (double)piece / ((double)bytes * 1.25 + 1);
    scrub->share = (uint64_t)(part * 1000 * scrub->job.local->options.scrub_s);
}

static void begin_piece(struct scrub *scrub)
{
    struct local *local = scrub->job.local;
    if (scrub->state.part == PART_DONE || scrub->state.began == 0) {
        scrub->state.part = PART_SEGMENTS;
        scrub->state.began = clock_real_s();
        scrub->state.generation = scrub->state.damages = 0;
    }
    check_job_begin(&scrub->job, local);
    scrub->job.check.scrub = true;
    scrub->job.check.report = on_finding;
    plan(scrub);
    scrub->job.job.work = work;
    scrub->job.job.done.run = on_done;
    pool_submit(local->checker, &scrub->job.job);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct scrub *scrub = arg;
    if (scrub->job.local->state == LOCAL_SERVING)
        begin_piece(scrub);
    else
        arm(scrub, FIRST_MS);
}

struct scrub *scrub_create(struct local *local)
{
    if (local->options.scrub_s == 0)
        return NULL;
    struct scrub *scrub = MEM_NEW(struct scrub);
    scrub->job.local = local;
    scrub->timer = event_new(local->base, -1, 0, on_timer, scrub);
    ASSERT(scrub->timer != NULL);
    load(&local->volume, &scrub->state);
    say(scrub);
    arm(scrub, local->options.scrub_s < 60 ? LEAST_MS : FIRST_MS);
    return scrub;
}

void scrub_destroy(struct scrub **scrub)
{
    if (*scrub == NULL)
        return;
    event_free((*scrub)->timer);
    free(*scrub);
    *scrub = NULL;
}
