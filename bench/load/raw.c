/*
 * What the machine itself can do, measured in the same run as the servers: no server can deliver
 * faster than the disk syncs, send faster than loopback does, or log in faster than the kernel
 * accepts connections.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

enum { BLOCK = 65536, RECORD = 4096, SPACE = 16 << 20 };

static void give_up(const char *what)
{
    perror(what);
    exit(3);
}

static uint64_t end_of(const struct target *target)
{
    return now_us() + (uint64_t)(target->seconds * 1e6);
}

static double since(uint64_t start)
{
    return (double)(now_us() - start) / 1e6;
}

/* Records of 4 KB over space that is written already, each synced: in the working directory. */
static void raw_sync(const struct target *target)
{
    char name[] = "bench-sync-XXXXXX";
    static char record[RECORD];
    int fd = mkstemp(name);
    if (fd < 0 || unlink(name) != 0)
        give_up(name);
    for (off_t at = 0; at < SPACE; at += RECORD) /* written, or each sync would convert an extent */
        if (pwrite(fd, record, RECORD, at) != RECORD)
            give_up("pwrite");
    if (fsync(fd) != 0)
        give_up("fsync");
    uint64_t start = now_us(), end = end_of(target), count = 0;
    for (; count < target->operations && now_us() < end; count++)
        if (pwrite(fd, record, RECORD, (off_t)(count * RECORD % SPACE)) != RECORD ||
            fdatasync(fd) != 0)
            give_up("fdatasync");
    result("raw_sync", "rate", (double)count / since(start), "/s");
    close(fd);
}

static void *swallow(void *argument)
{
    static char block[BLOCK * 4];
    while (read(*(int *)argument, block, sizeof(block)) > 0)
        ;
    return NULL;
}

/* Closes what it accepts, until the listener is shut down. */
static void *accept_all(void *argument)
{
    int fd;
    while ((fd = accept(*(int *)argument, NULL, NULL)) >= 0)
        close(fd);
    return NULL;
}

static int listener(struct sockaddr_in *address)
{
    socklen_t size = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, size) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) != 0)
        give_up("listen");
    return fd;
}

static int connected(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
        give_up("connect");
    return fd;
}

static void raw_send(const struct target *target)
{
    static char block[BLOCK];
    struct sockaddr_in address;
    pthread_t thread;
    int server = listener(&address), out = connected(&address);
    int in = accept(server, NULL, NULL);
    if (in < 0 || pthread_create(&thread, NULL, swallow, &in) != 0)
        give_up("accept");
    uint64_t start = now_us(), end = end_of(target), bytes = 0;
    while (now_us() < end)
        for (int i = 0; i < 64; i++) {
            ssize_t sent = write(out, block, BLOCK);
            if (sent < 0)
                give_up("write");
            bytes += (uint64_t)sent;
        }
    close(out);
    pthread_join(thread, NULL);
    result("raw_send", "rate", (double)bytes / since(start) / 1e6, "MB/s");
    close(in);
    close(server);
}

static void raw_connect(const struct target *target)
{
    struct sockaddr_in address;
    pthread_t thread;
    int server = listener(&address);
    if (pthread_create(&thread, NULL, accept_all, &server) != 0)
        give_up("thread");
    uint64_t start = now_us(), end = end_of(target), count = 0;
    for (; count < target->operations && now_us() < end; count++) {
        char byte;
        int fd = connected(&address);
        if (read(fd, &byte, 1) != 0)
            give_up("read");
        close(fd);
    }
    result("raw_connect", "rate", (double)count / since(start), "/s");
    shutdown(server, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(server);
}

static void raw_memcpy(const struct target *target)
{
    enum { AREA = 64 << 20 };
    char *from = malloc(AREA), *to = malloc(AREA);
    if (from == NULL || to == NULL)
        give_up("malloc");
    memset(from, 1, AREA);
    memset(to, 2, AREA);
    uint64_t start = now_us(), end = end_of(target), bytes = 0;
    for (; now_us() < end; bytes += AREA) {
        memcpy(to, from, AREA);
        __asm__ volatile("" : : "r"(to) : "memory"); /* somebody may look at it */
    }
    result("raw_memcpy", "rate", (double)bytes / since(start) / 1e6, "MB/s");
    free(from);
    free(to);
}

const struct measure measures_raw[] = {
    {"raw_sync", "the machine: pwrite of 4 KB + fdatasync in the working directory", raw_sync},
    {"raw_send", "the machine: loopback, blocks of 64 KB", raw_send},
    {"raw_memcpy", "the machine: memcpy of 64 MB", raw_memcpy},
    {"raw_connect", "the machine: connect + accept + close", raw_connect},
    {NULL, NULL, NULL},
};
