/*
 * How fast messages are parsed: parse_bench DIRECTORY [ROUNDS]. Reads all files of the directory
 * into memory (LF becomes CRLF), parses each, reports the bytes per second of parsing alone, of
 * packing and of unpacking.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
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
    uint64_t parse_us = 0, pack_us = 0, unpack_us = 0, bytes = 0;
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < message_count; i++) {
            struct arena arena = {0};
            struct summary summary;
            uint64_t start = clock_monotonic_us();
            parse_message(messages[i], &arena, &summary);
            uint64_t parsed = clock_monotonic_us();
            buf_clear(&packed[i]);
            summary_encode(&summary, &packed[i]);
            parse_us += parsed - start;
            pack_us += clock_monotonic_us() - parsed;
            bytes += packed[i].size;
            arena_finish(&arena);
        }
        struct arena arena = {0};
        uint64_t start = clock_monotonic_us();
        for (size_t i = 0; i < message_count; i++) {
            struct summary summary;
            if (!summary_decode(buf_slice(&packed[i]), messages[i].size, &arena, &summary))
                abort();
            arena_reset(&arena);
        }
        unpack_us += clock_monotonic_us() - start;
        arena_finish(&arena);
    }
    printf("%zu messages, %.1f MB, %.0f bytes a packed summary\n", message_count,
           (double)total / 1e6, (double)bytes / rounds / (double)message_count);
    report("parse", parse_us, rounds);
    report("pack", pack_us, rounds);
    report("unpack", unpack_us, rounds);
    return 0;
}
