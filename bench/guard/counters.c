/*
 * Preloaded into every process of a server that the guard measures (guard.py).
 *
 * Allocations: calls of malloc and its kin are counted in memory that all of them and the guard
 * share. The file behind it is named by GUARD_COUNTERS and mapped before main, thus before the
 * sandbox. free is not counted: what is taken is given back.
 *
 * Instructions: under callgrind, SIGUSR2 makes it write what it has counted to valgrind's log.
 * (vgdb could ask from outside, but not a process that has become another user.)
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_MONITOR_COMMAND(command) 0
#endif

struct counters { /* as guard.py reads them */
    _Atomic uint64_t calls, bytes;
};

static struct counters unshared;
static struct counters *counters = &unshared;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void tell_instructions(int number)
{
    (void)VALGRIND_MONITOR_COMMAND("status internal");
}

__attribute__((constructor)) static void prepare(void)
{
    if (RUNNING_ON_VALGRIND)
        signal(SIGUSR2, tell_instructions);
    const char *path = getenv("GUARD_COUNTERS");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *memory = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED)
        counters = memory;
    close(fd);
}

static void count(size_t size)
{
    atomic_fetch_add_explicit(&counters->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->bytes, size, memory_order_relaxed);
}

void *malloc(size_t size)
{
    count(size);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    count(number * size);
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
    count(size);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count(size);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    count(size);
    *result = __libc_memalign(alignment, size);
    return *result == NULL ? ENOMEM : 0;
}
