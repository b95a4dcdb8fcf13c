/*
 * What a durable message costs: bodies of 35 KB, each with a page, a summary and a counter as a
 * delivery writes them, at 1, 8 and 64 in flight; beside it what the disk gives for a bare append
 * and fdatasync. Usage: bench-store DIRECTORY [SECONDS]. The directory is made and left there.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store.h"

enum { BODY = 35 << 10, PAGE = 4000, SUMMARY = 600 };

struct bench {
    struct event_base *base;
    struct store *store;
    uint8_t body[BODY];
    unsigned depth, in_flight;
    uint64_t until, done, failed;
    uint32_t uid;
};

static void no_release(void *arg)
{
}

static struct slice key(uint8_t out[8], uint8_t kind, uint32_t number)
{
    out[0] = kind;
    out[1] = (uint8_t)(number >> 24);
    out[2] = (uint8_t)(number >> 16);
    out[3] = (uint8_t)(number >> 8);
    out[4] = (uint8_t)number;
    return slice_make(out, 5);
}

static void deliver(struct bench *bench);

static void delivered(void *arg, enum store_result result)
{
    struct bench *bench = arg;
    bench->in_flight--;
    bench->done++;
    bench->failed += result != STORE_OK;
    if (clock_monotonic_us() < bench->until)
        deliver(bench);
    else if (bench->in_flight == 0)
        event_base_loopbreak(bench->base);
}

static void deliver(struct bench *bench)
{
    static uint8_t page[PAGE];
    uint8_t name[8];
    uint32_t uid = ++bench->uid;
    struct id account = {{(uint8_t)(uid % 100)}};
    struct store_batch *batch = store_batch_create(account);
    struct store_bytes bytes = {bench->body, BODY, no_release, NULL};
    store_batch_blob(batch, store_blob_new(bench->store), bytes,
                     (struct store_label){1, 1, uid, 0});
    if (uid <= 100)
        store_batch_put(batch, key(name, 'p', 1), slice_make(page, sizeof(page)));
    else
        store_batch_patch(batch, key(name, 'p', 1), uid % 100 * 32, slice_make(page, 32));
    store_batch_put(batch, key(name, 's', uid), slice_make(page, SUMMARY));
    store_batch_put(batch, key(name, 'm', 1), slice_make(page, 100));
    store_batch_put(batch, key(name, 'c', uid), slice_make(page, 40));
    bench->in_flight++;
    store_submit(bench->store, batch, delivered, bench);
}

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void run(struct bench *bench, unsigned depth, unsigned seconds)
{
    bench->done = bench->failed = 0;
    uint64_t began = clock_monotonic_us();
    double cpu = cpu_us();
    bench->until = began + seconds * UINT64_C(1000000);
    for (unsigned i = 0; i < depth; i++)
        deliver(bench);
    event_base_dispatch(bench->base);
    double took = (double)(clock_monotonic_us() - began) / 1e6;
    struct store_stats stats;
    store_stats(bench->store, &stats);
    printf("%3u in flight: %7.0f messages/s, %5.0f us CPU each, %llu failed, %llu ticks so far\n",
           depth, (double)bench->done / took, (cpu_us() - cpu) / (double)bench->done,
           (unsigned long long)bench->failed, (unsigned long long)stats.ticks);
}

static void bare(const char *directory, unsigned seconds)
{
    char path[4096];
    static uint8_t zeros[1 << 20], body[BODY + 1024];
    snprintf(path, sizeof(path), "%s/bare", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (unsigned i = 0; i < 64; i++)
        (void)!pwrite(fd, zeros, sizeof(zeros), (off_t)i << 20);
    fsync(fd);
    uint64_t began = clock_monotonic_us(), until = began + seconds * UINT64_C(1000000), syncs = 0;
    while (clock_monotonic_us() < until) {
        off_t at = (off_t)(syncs % 1800 * sizeof(body));
        if (pwrite(fd, body, sizeof(body), at) < 0 || fdatasync(fd) != 0)
            break;
        syncs++;
    }
    printf("bare: %.0f appends of 36 KB with fdatasync/s\n",
           (double)syncs * 1e6 / (double)(clock_monotonic_us() - began));
    close(fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    struct bench *bench = MEM_NEW(struct bench);
    struct store_local_options options = {.create = true};
    struct error error = {""};
    unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 3;
    if (argc < 2) {
        fprintf(stderr, "usage: bench-store DIRECTORY [SECONDS]\n");
        return 2;
    }
    log_init("bench", LOG_LEVEL_WARN, LOG_TARGET_STDERR);
    id_random_bytes(bench->body, sizeof(bench->body));
    bench->base = event_base_new();
    if (!store_local_open(bench->base, argv[1], &options, &bench->store, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    bare(argv[1], seconds);
    run(bench, 100, 0); /* every account has its page after this */
    run(bench, 1, seconds);
    run(bench, 8, seconds);
    run(bench, 64, seconds);
    bare(argv[1], seconds);
    store_close(&bench->store);
    event_base_free(bench->base);
    free(bench);
    return 0;
}
