/*
 * The protocol of sd_notify(3): one datagram to the socket named in NOTIFY_SOCKET. Written out so
 * that master need not link libsystemd for it.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "io/fd.h"
#include "master/master.h"

void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t length = path == NULL ? 0 : strlen(path);
    if (length < 2 || length >= sizeof(name.sun_path))
        return;
    memcpy(name.sun_path, path, length);
    if (name.sun_path[0] == '@') /* abstract */
        name.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&name,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    fd_close(&fd);
}
