#include "measure.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void result(const char *name, const char *what, double value, const char *unit)
{
    printf("%s.%s %.6g %s\n", name, what, value, unit);
    fflush(stdout);
}

/*
 * Its own CPU from the process's clock, to the nanosecond; that of children that are gone from
 * /proc/PID/stat (behind the command name, which may hold anything), in ticks of 10 ms.
 */
static bool read_stat(int pid, int *parent, double *cpu)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = '\0';
    char *rest = strrchr(text, ')');
    long dead_user, dead_system;
    clockid_t clock;
    struct timespec own;
    if (rest == NULL ||
        sscanf(rest + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %ld %ld", parent,
               &dead_user, &dead_system) != 3 ||
        clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &own) != 0)
        return false;
    *cpu = (double)own.tv_sec + (double)own.tv_nsec / 1e9 +
           (double)(dead_user + dead_system) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

struct process {
    int pid, parent;
    bool ours;
    double cpu;
};

/* The server's first process and all below it. */
static size_t processes(const struct target *target, struct process *list, size_t room)
{
    size_t count = 0;
    struct dirent *entry;
    DIR *proc = target->pid == 0 ? NULL : opendir("/proc");
    if (proc == NULL)
        return 0;
    while ((entry = readdir(proc)) != NULL && count < room) {
        int pid = atoi(entry->d_name);
        if (pid > 0 && read_stat(pid, &list[count].parent, &list[count].cpu)) {
            list[count].pid = pid;
            list[count++].ours = pid == target->pid;
        }
    }
    closedir(proc);
    for (bool grown = true; grown;) {
        grown = false;
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < count && !list[i].ours; k++)
                if (list[k].ours && list[k].pid == list[i].parent)
                    grown = list[i].ours = true;
    }
    size_t ours = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].ours)
            list[ours++] = list[i];
    return ours;
}

enum { PROCESSES_MAX = 4096 };
static struct process list[PROCESSES_MAX];

unsigned target_account(const struct target *target, uint64_t number)
{
    return target->first + (unsigned)(number % target->accounts);
}

double target_cpu(const struct target *target)
{
    double sum = 0;
    for (size_t count = processes(target, list, PROCESSES_MAX); count > 0; count--)
        sum += list[count - 1].cpu;
    return sum;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(struct run *run)
{
    double seconds = (double)(now_us() - run->start_us) / 1e6;
    double cpu = target_cpu(run->target) - run->cpu_start;
    double units = run->units != 0 ? (double)run->units : (double)run->finished;
    uint64_t samples = run->finished < run->latency_room ? run->finished : run->latency_room;
    result(run->name, "rate", units / seconds, "/s");
    if (run->target->pid != 0 && units > 0)
        result(run->name, "cpu", cpu * 1e6 / units, "us");
    if (samples > 0) {
        qsort(run->latency_us, samples, sizeof(uint32_t), by_size);
        result(run->name, "p50", run->latency_us[samples / 2], "us");
        result(run->name, "p99", run->latency_us[samples * 99 / 100], "us");
        result(run->name, "max", run->latency_us[samples - 1], "us");
    }
    if (run->bytes > 0)
        result(run->name, "bytes", (double)run->bytes / seconds / 1e6, "MB/s");
    result(run->name, "count", (double)run->finished, "operations");
    if (run->failed > 0)
        result(run->name, "failed", (double)run->failed, "operations");
}

static void start_operation(struct run *run, struct conn *conn)
{
    if (run->begun == run->target->operations || now_us() >= run->deadline) {
        conn_close(conn);
        if (--run->open == 0)
            run->done = true;
        return;
    }
    run->begun++;
    conn->started = now_us();
    run->operation(run, conn);
}

static void greeted(struct conn *conn, enum outcome outcome, const char *text)
{
    struct run *run = conn->user;
    if (outcome != OUTCOME_OK)
        run_lost(run, conn);
    else if (run->fresh)
        run->operation(run, conn);
    else if (run->setup != NULL)
        run->setup(run, conn);
    else
        run_ready(run, conn);
}

static void open_one(struct run *run, unsigned number)
{
    struct conn *conn = conn_open(run->loop, run->port, run->tls, run, greeted);
    conn->step = number;
    conn->started = now_us();
    run->open++;
}

static void begin(struct run *run)
{
    run->cpu_start = target_cpu(run->target);
    run->start_us = now_us();
    run->deadline = run->start_us + (uint64_t)(run->target->seconds * 1e6);
}

/* All connections begin at once, so that the time measured has no set-up in it. */
void run_ready(struct run *run, struct conn *conn)
{
    static struct conn *waiting[65536];
    waiting[run->ready++] = conn;
    if (run->ready < run->target->connections)
        return;
    begin(run);
    for (unsigned i = 0; i < run->ready; i++)
        start_operation(run, waiting[i]);
}

void run_next(struct run *run, struct conn *conn, bool good)
{
    uint64_t took = now_us() - conn->started;
    if (run->finished < run->latency_room)
        run->latency_us[run->finished] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    run->finished++;
    run->failed += !good;
    if (!run->fresh) {
        start_operation(run, conn);
        return;
    }
    conn_close(conn);
    run->open--;
    if (run->begun < run->target->operations && now_us() < run->deadline)
        open_one(run, (unsigned)run->begun++);
    else if (run->open == 0)
        run->done = true;
}

void run_lost(struct run *run, struct conn *conn)
{
    fprintf(stderr, "%s: connection lost or refused: %s\n", run->name, conn->line);
    exit(3);
}

void run_measure(struct run *run)
{
    const struct target *target = run->target;
    run->loop = loop_create();
    run->latency_room = 4000000;
    run->latency_us = malloc(run->latency_room * sizeof(uint32_t));
    if (run->latency_us == NULL)
        abort();
    if (run->fresh)
        begin(run);
    else
        run->deadline = now_us() + (uint64_t)(target->seconds * 1e6) + 60000000;
    for (unsigned i = 0; i < target->connections; i++)
        open_one(run, (unsigned)(run->fresh ? run->begun++ : i));
    if (!loop_run(run->loop, &run->done, now_us() + (uint64_t)(target->seconds * 1e6) + 90000000))
        fprintf(stderr, "%s: stopped by its time bound\n", run->name);
    report(run);
    free(run->latency_us);
    loop_destroy(run->loop);
}
