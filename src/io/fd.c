/*
 * Thin words over system calls that take three lines each to use rightly. The rules that matter:
 * everything is close-on-exec from birth, received descriptors never leak on a bad packet, and
 * memory from another process is believed only after its seals were looked at.
 */
#include "io/fd.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fault.h"

static const int all_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

void fd_close(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

bool fd_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && ((flags & O_NONBLOCK) != 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

bool fd_set_cloexec(int fd, bool on)
{
    return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) == 0;
}

bool fd_is_stream(int fd)
{
    int type = 0;
    socklen_t size = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

bool fd_socketpair(int type, int pair[2])
{
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0;
}

int fd_write_last(int socket, struct evbuffer *out)
{
    enum { ONE_PACKET = 1024 };
    size_t size = evbuffer_get_length(out);
    if (size > ONE_PACKET)
        return evbuffer_write(out, socket);
    ssize_t sent = send(socket, evbuffer_pullup(out, -1), size, MSG_MORE | MSG_NOSIGNAL);
    if (sent > 0)
        evbuffer_drain(out, (size_t)sent);
    return (int)sent;
}

int fd_memory_create(const char *name)
{
    int fault = fault_hit("memory.create");
    if (fault != 0) {
        errno = fault;
        return -1;
    }
    return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

bool fd_memory_write(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        int fault = fault_hit("memory.write");
        ssize_t wrote = fault != 0 ? -1 : write(fd, at, size);
        if (fault != 0)
            errno = fault;
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return false;
        at += wrote;
        size -= (size_t)wrote;
    }
    return true;
}

bool fd_memory_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, all_seals) == 0;
}

int fd_memory_of(const char *name, const void *bytes, size_t size)
{
    int fd = fd_memory_create(name);
    if (fd >= 0 && (!fd_memory_write(fd, bytes, size) || !fd_memory_seal(fd)))
        fd_close(&fd);
    return fd;
}

bool fd_memory_verify(int fd, uint64_t size)
{
    struct stat about;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & all_seals) == all_seals && fstat(fd, &about) == 0 &&
           about.st_size >= 0 && (uint64_t)about.st_size == size;
}

bool fd_pread_all(int fd, void *bytes, size_t size, uint64_t offset)
{
    char *at = bytes;
    while (size > 0) {
        ssize_t got = pread(fd, at, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = 0;
        if (got <= 0)
            return false;
        at += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return true;
}

union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
};

ssize_t fd_send(int socket, const void *bytes, size_t size, const int *fds, int count)
{
    ASSERT(count >= 0 && count <= FD_PASS_MAX);
    union {
        const void *given;
        void *base;
    } data = {.given = bytes}; /* iovec has no const */
    struct iovec iov = {.iov_base = data.base, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
        memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * (size_t)count);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent;
}

ssize_t fd_receive(int socket, void *bytes, size_t room, int *fds, int *count)
{
    union control control;
    struct iovec iov = {.iov_base = bytes, .iov_len = room};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t got;
    *count = 0;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return got;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t size = header->cmsg_len - CMSG_LEN(0);
        ASSERT(size <= sizeof(int) * (size_t)(FD_PASS_MAX - *count));
        memcpy(fds + *count, CMSG_DATA(header), size);
        *count += (int)(size / sizeof(int));
    }
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
        return got;
    /* The kernel stops at the first that it cannot give us. */
    bool full = (message.msg_flags & MSG_TRUNC) == 0 && *count < FD_PASS_MAX;
    while (*count > 0)
        fd_close(&fds[--*count]);
    errno = full ? EMFILE : EMSGSIZE;
    return -1;
}
