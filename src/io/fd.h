/*
 * Descriptors: closing, flags, sealed memory, socket pairs, and passing descriptors between
 * processes. Every descriptor made here is close-on-exec.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct evbuffer;

enum { FD_PASS_MAX = 4 }; /* descriptors in one packet */

/* Closes *fd if it is open and sets it to -1. Keeps errno. */
void fd_close(int *fd);
bool fd_set_nonblock(int fd);
/* A stream socket of any family, and neither a file nor a pipe. */
bool fd_is_stream(int fd);
bool fd_set_cloexec(int fd, bool on);
/* type: SOCK_STREAM or SOCK_SEQPACKET. Non-blocking both. False with errno. */
bool fd_socketpair(int type, int pair[2]);

/* As evbuffer_write, for what a connection says last: it leaves in one packet with the end that the
 * caller's close() brings, which must follow when all of it is out. */
int fd_write_last(int socket, struct evbuffer *out);

/* ---- sealed memory: what processes hand each other; read with pread, never mapped ---------- */

/* name is for /proc only. -1 with errno. */
int fd_memory_create(const char *name);
/* Appends all of it; false with errno (ENOSPC, ENOMEM). */
bool fd_memory_write(int fd, const void *bytes, size_t size);
/* After this nobody can change a byte or the size of it. */
bool fd_memory_seal(int fd);
/* Sealed memory with these bytes; -1 with errno. */
int fd_memory_of(const char *name, const void *bytes, size_t size);
/* One that came from another process: true only if it is memory of exactly that size, sealed
 * against writing, growing, shrinking and unsealing. So a read of it can neither fail by a
 * truncation nor see two values. */
bool fd_memory_verify(int fd, uint64_t size);
/* Reads exactly size bytes from offset; false with errno (0 in errno: the end came before). */
bool fd_pread_all(int fd, void *bytes, size_t size, uint64_t offset);

/* ---- passing ------------------------------------------------------------------------------ */

/* One packet with count (at most FD_PASS_MAX) descriptors, which stay the caller's. As sendmsg:
 * bytes sent, or -1 with errno; never SIGPIPE, never blocks. */
ssize_t fd_send(int socket, const void *bytes, size_t size, const int *fds, int count);
/* As recvmsg: bytes, 0 at the end, -1 with errno. EMSGSIZE: the packet did not fit or brought more
 * than FD_PASS_MAX descriptors (they are closed). EMFILE: this process has no room for those it
 * brought; the packet is lost. fds: room for FD_PASS_MAX; *count of them are the
 * caller's now. */
ssize_t fd_receive(int socket, void *bytes, size_t room, int *fds, int *count);
