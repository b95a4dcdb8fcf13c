/*
 * Power cuts, tried by the thousand. A life is one to three processes, one after the other, on one
 * disk: each opens the volume, compares it, goes on with the workload of crash/store_work.h, and
 * ends well, is killed at any write, or meets a sync that fails. Then the power goes at some
 * moments of that life, anywhere in it; each image of the disk (disk.h) is opened and compared with
 * what had been told by then. One of the images is where the next life begins.
 *
 * RESTANTE_POWER_IMAGES: how many. RESTANTE_POWER_SEED: another course of chance. What the engine
 * logs goes to power.log.
 *
 * The controls: variants that are broken on purpose and must be caught, or this tests nothing.
 * Some are of the disk, some of the engine (base/fault.h, only in a build with -Dfaults=true).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "power.h"

#ifdef RESTANTE_SANITIZED
enum { IMAGES = 200, PATIENCE = 120 };
#else
enum { IMAGES = 1000, PATIENCE = 120 };
#endif
enum { PER_LIFE = 25, CONTROL_IMAGES = 1500 };

struct control {
    const char *name, *faults;
    bool no_fdatasync, no_directory_sync, flips;
};

static struct disk *disk;
static char live_directory[64], image_directory[64];
static uint32_t random_state, lives, images, kills, failed_syncs, flips;

static uint32_t dice(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return (uint32_t)(((uint64_t)random_state * below) >> 32);
}

/* ---- children ------------------------------------------------------------------------------ */

/* False when it neither ended well nor by the kill that was meant. */
static bool wait_for(pid_t pid, bool may_be_killed)
{
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) || (killed && may_be_killed))
        return true;
    if (disk->failure[0] == '\0')
        snprintf(disk->failure, sizeof(disk->failure), "the process ended with status %x", status);
    return false;
}

static bool run_session(const struct session *session, const struct told *told)
{
    bool may_be_killed = disk->ways.kill_at != 0 || disk->ways.fail_kills;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(PATIENCE);
        disk_attach(disk);
        session_run(disk, session, told);
        _exit(0);
    }
    return wait_for(pid, may_be_killed) && disk->failure[0] == '\0';
}

static bool run_compare(const struct told *told, const char *faults, bool flipped, bool again)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(PATIENCE);
#ifdef RESTANTE_FAULTS
        fault_set(faults);
#endif
        image_compare(disk, image_directory, told, flipped, again);
        _exit(0);
    }
    return wait_for(pid, false) && disk->failure[0] == '\0';
}

/* ---- a life -------------------------------------------------------------------------------- */

static bool live(const struct control *control, const struct told *before)
{
    uint32_t sessions = 1 + dice(3);
    lives++;
    for (uint32_t i = 0; i < sessions; i++) {
        struct told told = *before;
        told_add(&told, disk, disk->event_count);
        struct session session = {live_directory, control->faults, 20 + dice(150), false};
        uint32_t end = dice(4);
        disk->ways = (struct disk_ways){.no_fdatasync = control->no_fdatasync,
                                        .no_directory_sync = control->no_directory_sync};
        if (end == 1 || (end == 0 && i + 1 < sessions)) {
            disk->ways.kill_at = disk->event_count + 1 + dice(900);
            kills++;
        } else if (end == 2) {
            disk->ways.fail_sync_at = disk->sync_count + 1 + dice(150);
            disk->ways.fail_kills = dice(2) == 0;
            session.may_fail = true;
            failed_syncs++;
        }
        if (!run_session(&session, &told))
            return false;
    }
    return true;
}

/* ---- images -------------------------------------------------------------------------------- */

/* Anywhere; behind something that matters more than a page of the index; behind a tick that is not
 * synced yet. */
static uint32_t choose_event(void)
{
    uint32_t event = dice(disk->event_count + 1), kind = dice(3);
    if (kind == 0)
        return event;
    while (kind == 1 && event < disk->event_count && !disk->events[event].log)
        event++;
    if (kind == 1)
        return event < disk->event_count ? event + 1 : event;
    while (event < disk->event_count && disk->events[event].kind == DISK_WRITE)
        event++;
    uint32_t behind = event + dice(4);
    return behind < disk->event_count ? behind : disk->event_count;
}

static bool has_bytes(const struct disk_event *event, uint64_t *last)
{
    const uint8_t *data = disk->log + event->data;
    size_t size = event->size;
    while (size > 0 && data[size - 1] == 0)
        size--;
    *last = size;
    return size > 200;
}

/* A byte of a tick that a later tick proves to have been durable; where there is one, of a tick
 * that is not in the index yet. */
static void choose_flip(struct cut *cut)
{
    uint32_t later = UINT32_MAX, found = 0;
    uint64_t last;
    for (uint32_t i = cut->event; i-- > 0;) {
        const struct disk_event *event = &disk->events[i];
        if (event->kind == DISK_SYNC_WRITE && found > 0)
            break;
        if (!event->log || event->durable >= cut->event || !has_bytes(event, &last))
            continue;
        if (later != UINT32_MAX && event->durable < later && (found++ == 0 || dice(found) == 0)) {
            cut->flip_node = event->node;
            cut->flip_at = event->offset + dice((uint32_t)last);
        }
        later = later == UINT32_MAX ? i : later;
        if (found == 12)
            break;
    }
}

static bool try_image(const struct control *control, const struct tree *before,
                      const struct told *told_before, struct cut *cut)
{
    struct told told = *told_before;
    *cut = (struct cut){choose_event(), dice(UINT32_MAX), dice(6) == 0, 0, 0};
    if (control->flips && dice(2) == 0) {
        cut->nothing = true;
        choose_flip(cut);
        flips += cut->flip_node != 0;
    }
    told_add(&told, disk, cut->event);
    images++;
    if (!image_write(disk, before, cut, image_directory)) {
        snprintf(disk->failure, sizeof(disk->failure), "an image cannot be written");
        return false;
    }
    return run_compare(&told, control->faults, cut->flip_node != 0, dice(5) == 0);
}

/* Puts the disk where the next life begins, and keeps what was told by then. */
static bool go_on_from(const struct tree *before, struct told *told, const struct cut *cut)
{
    told_add(told, disk, cut->event);
    return image_write(disk, before, cut, live_directory);
}

static void explain(const struct control *control, const struct tree *before, const struct cut *cut)
{
    fprintf(stderr, "power%s%s: life %u, image %u: %s\n", control->name[0] == '\0' ? "" : " ",
            control->name, lives, images, disk->failure);
    if (cut == NULL)
        return;
    fprintf(stderr, "cut at event %u of %u, seed %u%s, flip %u at %llu; the image is in %s\n",
            cut->event, disk->event_count, cut->seed, cut->nothing ? ", only what was synced" : "",
            cut->flip_node, (unsigned long long)cut->flip_at, image_directory);
    image_write(disk, before, cut, image_directory);
}

/* Lives until so many images were tried. False: something is wrong; verbose says what. */
static bool try_many(const struct control *control, uint32_t count, bool verbose)
{
    struct told told = {0};
    uint32_t until = images + count;
    bool good = true;
    directory_clear(live_directory);
    disk->failure[0] = '\0';
    while (good && images < until) {
        struct cut cut, next = {0};
        struct tree *before = tree_read(live_directory);
        disk_begin(disk, live_directory);
        good = live(control, &told);
        if (!good && verbose)
            explain(control, before, NULL);
        disk_settle(disk);
        for (int i = 0; good && i < PER_LIFE && images < until; i++) {
            good = try_image(control, before, &told, &cut);
            if (!good && verbose)
                explain(control, before, &cut);
            if (next.event < cut.event && cut.flip_node == 0 && (i == 0 || dice(3) == 0))
                next = cut;
        }
        good = good && go_on_from(before, &told, &next);
        tree_destroy(&before);
    }
    return good;
}

/* ---- controls ------------------------------------------------------------------------------ */

static bool caught(const struct control *control)
{
    uint32_t before = images;
    bool good = try_many(control, CONTROL_IMAGES, false);
    if (good)
        fprintf(stderr, "power: NOT caught in %u images: %s\n", images - before, control->name);
    else
        printf("power: caught after %u images: %s (%s)\n", images - before, control->name,
               disk->failure);
    fflush(stdout);
    return !good;
}

static bool try_controls(void)
{
    static const struct control controls[] = {
        {.name = "fdatasync left out", .faults = "", .no_fdatasync = true},
        {.name = "directory fsync left out", .faults = "", .no_directory_sync = true},
#ifdef RESTANTE_FAULTS
        {.name = "checksum check left out", .faults = "control.checksum=EIO"},
        {.name = "recovery trusts the page cache", .faults = "control.trust=EIO"},
        {.name = "truncation at a flipped byte", .faults = "control.truncate=EIO", .flips = true},
#endif
    };
    bool all = true;
    for (size_t i = 0; i < sizeof(controls) / sizeof(*controls); i++)
        all = caught(&controls[i]) && all;
    return all;
}

static uint32_t number_of(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : (uint32_t)strtoul(text, NULL, 10);
}

/* For looking at an image that failed: opens it in this very process, in reach of a debugger. */
static int look_at(const char *directory)
{
    struct told anything = {0};
    memset(anything.submitted, 0xff, sizeof(anything.submitted));
    image_compare(disk, directory, &anything, false, true);
    puts(disk->failure);
    return disk->failure[0] != '\0';
}

int main(int argc, char **argv)
{
    static const struct control honest = {.name = "", .faults = "", .flips = true};
    struct stat status;
    const char *where = stat("/dev/shm", &status) == 0 ? "/dev/shm/" : "";
    random_state = number_of("RESTANTE_POWER_SEED", 1) * 2654435761u | 1;
    disk = disk_create();
    if (argc > 1)
        return look_at(argv[1]);
    snprintf(live_directory, sizeof(live_directory), "%spower-live.XXXXXX", where);
    snprintf(image_directory, sizeof(image_directory), "%spower-image.XXXXXX", where);
    if (mkdtemp(live_directory) == NULL || mkdtemp(image_directory) == NULL)
        return 1;
    if (!freopen("power.log", "w", stderr))
        return 1;
    bool good = try_many(&honest, number_of("RESTANTE_POWER_IMAGES", IMAGES), true);
    printf("power: %u images of %u lives, %u kills, %u failed syncs, %u flipped bytes: %s\n",
           images, lives, kills, failed_syncs, flips, good ? "all whole" : disk->failure);
    fflush(stdout);
    if (!good)
        return 1;
    good = try_controls();
    directory_clear(live_directory);
    directory_clear(image_directory);
    rmdir(live_directory);
    rmdir(image_directory);
    if (good)
        unlink("power.log");
    return !good;
}
