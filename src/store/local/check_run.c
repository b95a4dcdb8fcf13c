/*
 * Who runs check.c: store_local_check() on a volume that nobody has open, store_check() on an open
 * one, on a thread beside its housekeeper. Repair is here too: it is nothing but setting the index
 * aside and opening the volume, which makes it anew (rebuild.c).
 */
#include <dirent.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/local/check.h"
#include "store/local/files.h"
#include "store/local/scrub.h"

/* ---- a volume that nobody has open --------------------------------------------------------- */

static void open_segments(struct check *check)
{
    struct files_name *names;
    size_t count;
    if (!files_list(files_path(check->volume->path, "segments").text, ".seg", &names, &count))
        check_report(check, 2, "segments", 0, (struct id){{0}}, "the segments cannot be listed");
    check->segments = mem_array(count + 1, sizeof(*check->segments));
    for (size_t i = 0; i < count; i++) {
        struct segment *segment = segment_open(check->volume, names[i].first);
        if (segment == NULL)
            check_report(check, 2,
                         files_path("segments", "%s", segment_name(names[i].first).text).text, 0,
                         (struct id){{0}}, "this segment cannot be opened");
        else
            check->segments[check->segment_count++] = segment;
    }
    free(names);
}

/* LMDB believes its pages, and a damaged one may end the process: so another one tries first. */
static bool index_survives(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        struct index index;
        struct error error;
        uint64_t bad;
        (void)signal(SIGBUS, SIG_DFL); /* whatever the caller does about them: this one ends */
        (void)signal(SIGSEGV, SIG_DFL);
        _exit(index_open(&index, path, &error) && index_walk(&index, &bad) ? 0 : 1);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static bool has_index(const char *path)
{
    struct stat status;
    return stat(files_path(path, "index/data.mdb").text, &status) == 0;
}

static void open_index(struct check *check, struct index *index)
{
    struct error error = {""};
    if (!has_index(check->volume->path))
        check_report(check, 0, "index/data.mdb", 0, (struct id){{0}},
                     "there is no index; the next start makes it anew");
    else if (!index_survives(check->volume->path))
        check_report(check, 2, "index/data.mdb", 0, (struct id){{0}},
                     "the index cannot be read; --repair makes it anew");
    else if (!index_open(index, check->volume->path, &error))
        check_report(check, 2, "index/data.mdb", 0, (struct id){{0}}, "%s", error.text);
    else
        check->index = index;
}

static bool repair(const char *directory, const struct store_check_options *options,
                   struct error *error)
{
    struct store_local_options local = {0};
    struct store *store;
    if (!index_set_aside(directory, error))
        return false;
    scrub_forget(directory);
    struct event_base *base = event_base_new();
    bool opened = store_local_open(base, directory, &local, &store, error);
    if (opened) {
        store_close(&store);
        options->report(options->arg,
                        &(struct store_finding){1,
                                                "index/data.mdb",
                                                0,
                                                {{0}},
                                                "the index was made anew; the old one is kept "
                                                "beside it as index.bad"});
    }
    event_base_free(base);
    return opened;
}

bool store_local_check(const char *directory, const struct store_check_options *options,
                       struct error *error)
{
    struct volume volume;
    struct index index;
    if (!volume_open(&volume, directory, false, true, error))
        return false;
    struct check check = {.volume = &volume,
                          .report = options->report,
                          .progress = options->progress,
                          .arg = options->arg};
    open_segments(&check);
    open_index(&check, &index);
    check_volume(&check);
    if (check.index != NULL)
        index_close(check.index);
    for (size_t i = 0; i < check.segment_count; i++)
        segment_drop(&check.segments[i]);
    free(check.segments);
    volume_close(&volume);
    return !options->repair || repair(directory, options, error);
}

/* ---- an open volume ------------------------------------------------------------------------ */

void check_job_begin(struct check_job *job, struct local *local)
{
    struct segment *segment;
    struct check *check = &job->check;
    *job = (struct check_job){.local = local};
    *check = (struct check){.volume = &local->volume,
                            .index = local->state == LOCAL_SERVING ? &local->index : NULL,
                            .tail = local->tail,
                            .stopping = &local->stopping,
                            .arg = job};
    RB_FOREACH (segment, segments, &local->segments) {
        check->segments =
            mem_grow(check->segments, check->segment_count + 1, sizeof(*check->segments));
        check->segments[check->segment_count++] = segment_hold(segment);
    }
    local->jobs_out++;
}

void check_job_end(struct check_job *job)
{
    for (size_t i = 0; i < job->check.segment_count; i++)
        segment_drop(&job->check.segments[i]);
    free(job->check.segments);
    job->local->jobs_out--;
}

struct kept {
    STAILQ_ENTRY(kept) next;
    struct store_finding finding;
    char *file, *text;
};

struct checking {
    struct check_job job; /* first */
    struct store_check_options options;
    void (*done)(void *arg);
    void *arg;
    STAILQ_HEAD(, kept) findings; /* the thread's, until it is done */
};

static void keep_finding(void *arg, const struct store_finding *finding)
{
    struct checking *checking = arg;
    struct kept *kept = MEM_NEW(struct kept);
    kept->file = mem_strdup(finding->file);
    kept->text = mem_strdup(finding->text);
    kept->finding = *finding;
    kept->finding.file = kept->file;
    kept->finding.text = kept->text;
    STAILQ_INSERT_TAIL(&checking->findings, kept, next);
}

static void work(struct job *job, unsigned thread)
{
    struct checking *checking = (struct checking *)(void *)job;
    check_volume(&checking->job.check);
}

static void on_done(struct post_item *item)
{
    struct checking *checking =
        (struct checking *)(void *)((char *)item - offsetof(struct checking, job.job.done));
    struct local *local = checking->job.local;
    struct kept *kept;
    while ((kept = STAILQ_FIRST(&checking->findings)) != NULL) {
        STAILQ_REMOVE_HEAD(&checking->findings, next);
        checking->options.report(checking->options.arg, &kept->finding);
        free(kept->file);
        free(kept->text);
        free(kept);
    }
    checking->done(checking->arg);
    check_job_end(&checking->job);
    free(checking);
    local_recover_when_quiet(local);
}

void local_check(struct store *store, const struct store_check_options *options,
                 void (*done)(void *arg), void *arg)
{
    struct local *local = local_of(store);
    struct checking *checking = MEM_NEW(struct checking);
    check_job_begin(&checking->job, local);
    checking->options = *options;
    checking->done = done;
    checking->arg = arg;
    STAILQ_INIT(&checking->findings);
    checking->job.check.report = keep_finding;
    checking->job.job.work = work;
    checking->job.job.done.run = on_done;
    pool_submit(local->checker, &checking->job.job);
}
