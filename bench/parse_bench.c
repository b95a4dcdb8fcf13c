/*
 * How fast messages are parsed: parse_bench DIRECTORY [ROUNDS]. Reads all files of the directory
 * into memory (LF becomes CRLF), parses each, reports the processor
 * time of parsing, packing and unpacking.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "message/parse.h"

static struct slice *messages;
static size_t message_count;
static uint64_t total;

static int read_message(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)place;
    FILE *file = kind == FTW_F ? fopen(path, "rb") : NULL;
    if (file == NULL)
        return 0;
    struct buf buf = {0};
    int before = 0;
    for (int c; (c = getc(file)) != EOF; before = c) {
        if (c == '\n' && before != '\r')
            buf_u8(&buf, '\r');
        buf_u8(&buf, (uint8_t)c);
    }
    fclose(file);
    messages = mem_grow(messages, message_count + 1, sizeof(*messages));
    messages[message_count++] = buf_slice(&buf);
    total += buf.size;
    return 0;
}

/* Of this process alone, whatever else the machine does. */
static uint64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

enum { PARSE, PARSE_AND_PACK, UNPACK };

static void run(int kind, struct slice message, struct buf *packed)
{
    static struct arena arena;
    struct summary summary;
    if (kind == UNPACK) {
        if (!summary_decode(buf_slice(packed), message.size, &arena, &summary))
            abort();
    } else {
        parse_message(message, &arena, &summary);
    }
    if (kind == PARSE_AND_PACK) {
        buf_clear(packed);
        summary_encode(&summary, packed);
    }
    arena_reset(&arena);
}

static void report(const char *what, uint64_t us, int rounds)
{
    printf("%-12s %8.3f us/message  %8.3f GB/s\n", what,
           (double)us / (double)message_count / rounds,
           (double)total * rounds / 1000.0 / (double)us);
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 20;
    if (argc < 2 || nftw(argv[1], read_message, 20, FTW_PHYS) != 0 || total == 0) {
        fprintf(stderr, "usage: parse_bench DIRECTORY [ROUNDS]\n");
        return 2;
    }
    struct buf *packed = mem_array(message_count, sizeof(*packed));
    uint64_t times[3] = {0};
    for (int round = 0; round < rounds; round++) {
        for (int kind = 0; kind < 3; kind++) {
            uint64_t start = cpu_us();
            for (size_t i = 0; i < message_count; i++)
                run(kind, messages[i], &packed[i]);
            times[kind] += cpu_us() - start;
        }
    }
    uint64_t bytes = 0;
    for (size_t i = 0; i < message_count; i++)
        bytes += packed[i].size;
    printf("%zu messages, %.1f MB, %.0f bytes a packed summary\n", message_count,
           (double)total / 1e6, (double)bytes / (double)message_count);
    report("parse", times[PARSE], rounds);
    report("pack", times[PARSE_AND_PACK] - times[PARSE], rounds);
    report("unpack", times[UNPACK], rounds);
    return 0;
}
