/*
 * Parsing and binding of listening addresses. Runs in master only, with text from the
 * administrator; numbers only, no names are looked up, so a start never waits for a resolver.
 */
#include "io/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/fd.h"

enum { BACKLOG = 4096 };

static bool copy_text(char *to, size_t room, struct slice from)
{
    if (from.size == 0 || from.size >= room || slice_find(from, '\0') < from.size)
        return false;
    memcpy(to, from.data, from.size);
    to[from.size] = '\0';
    return true;
}

static bool parse_unix(struct slice text, struct address *address, struct error *error)
{
    struct slice path = slice_split(&text, ',');
    if (!copy_text(address->path, sizeof(address->path), path) || address->path[0] != '/')
        return error_set(error, "unix: needs an absolute path of at most %zu characters",
                         sizeof(address->path) - 1);
    while (text.size > 0) {
        struct slice value = slice_split(&text, ',');
        struct slice key = slice_split(&value, '=');
        char number[8];
        char *end = number;
        if (slice_equal_str(key, "mode") && copy_text(number, sizeof(number), value)) {
            address->mode = (mode_t)strtoul(number, &end, 8);
            if (*end != '\0' || address->mode > 0777)
                return error_set(error, "mode=%s: write it in octal, as mode=0660", number);
        } else if (!slice_equal_str(key, "group") ||
                   !copy_text(address->group, sizeof(address->group), value)) {
            return error_set(error,
                             "\"%.*s\": behind unix:PATH may stand ,mode=0660 and ,group=NAME",
                             SLICE_PRINT(key));
        }
    }
    return true;
}

static bool parse_ip(struct slice host, struct address *address)
{
    char text[64];
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->ip;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->ip;
    if (slice_equal_str(host, "*")) {
        address->all = true;
        return true;
    }
    if (host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']') {
        v6->sin6_family = AF_INET6;
        return copy_text(text, sizeof(text), slice_sub(host, 1, host.size - 2)) &&
               inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
    }
    if (slice_equal_str(host, "localhost"))
        host = slice_str("127.0.0.1");
    v4->sin_family = AF_INET;
    return copy_text(text, sizeof(text), host) && inet_pton(AF_INET, text, &v4->sin_addr) == 1;
}

bool address_parse(struct slice text, struct address *address, struct error *error)
{
    struct slice rest = text;
    struct slice name = slice_split(&rest, '=');
    *address = (struct address){.mode = 0600};
    if (rest.size == 0 || !copy_text(address->name, sizeof(address->name), name))
        return error_set(error, "\"%.*s\": write NAME=ADDRESS:PORT, as imap=127.0.0.1:1143",
                         SLICE_PRINT(text));
    if (slice_starts(rest, slice_str("unix:")))
        return parse_unix(slice_sub(rest, 5, rest.size), address, error);
    size_t colon = rest.size;
    while (colon > 0 && rest.data[colon - 1] != ':')
        colon--;
    uint32_t port;
    if (colon == 0 || !slice_u32(slice_sub(rest, colon, rest.size), &port) || port > 65535)
        return error_set(error, "\"%.*s\": the port after the last colon must be 0 to 65535",
                         SLICE_PRINT(text));
    address->port = (uint16_t)port;
    if (!parse_ip(slice_sub(rest, 0, colon - 1), address))
        return error_set(error, "\"%.*s\": the address must be IPv4, [IPv6] or *",
                         SLICE_PRINT(text));
    return true;
}

static enum address_result listen_unix(struct address *address, int fd, struct error *error)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    gid_t group = (gid_t)-1;
    if (address->group[0] != '\0') {
        struct group *entry = getgrnam(address->group);
        if (entry == NULL) {
            error_set(error, "unix:%s: there is no group \"%s\"", address->path, address->group);
            return ADDRESS_FAILED;
        }
        group = entry->gr_gid;
    }
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", address->path);
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0 || errno == EAGAIN) {
        error_set(error, "unix:%s: another program listens there", address->path);
        return ADDRESS_BUSY;
    }
    struct stat about;
    if (lstat(address->path, &about) == 0 && S_ISSOCK(about.st_mode))
        unlink(address->path);
    mode_t mask = umask(0177);
    int bound = bind(fd, (struct sockaddr *)&name, sizeof(name));
    umask(mask);
    if (bound != 0 || (group != (gid_t)-1 && chown(address->path, (uid_t)-1, group) != 0) ||
        chmod(address->path, address->mode) != 0 || listen(fd, BACKLOG) != 0) {
        error_errno(error, "unix:%s", address->path);
        return ADDRESS_FAILED;
    }
    return ADDRESS_OK;
}

static enum address_result listen_tcp(struct address *address, int fd,
                                      const struct sockaddr_storage *ip, struct error *error)
{
    const int on = 1;
    const int off = 0;
    bool v6 = ip->ss_family == AF_INET6;
    socklen_t size = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* Inherited by every connection. We write answers whole; a second small write (TLS's ticket,
     * then the greeting) would wait 40 ms for an acknowledgement. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, address->all ? &off : &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)ip, size) != 0 || listen(fd, BACKLOG) != 0) {
        bool busy = errno == EADDRINUSE;
        error_errno(error, "%s", address_text(address).text);
        return busy ? ADDRESS_BUSY : ADDRESS_FAILED;
    }
    struct sockaddr_in6 taken = {0};
    size = sizeof(taken);
    /* sin_port and sin6_port lie at the same place. */
    if (getsockname(fd, (struct sockaddr *)&taken, &size) == 0)
        address->port = ntohs(taken.sin6_port);
    return ADDRESS_OK;
}

static enum address_result listen_ip(struct address *address, int *fd,
                                     const struct sockaddr_storage *ip, struct error *error)
{
    *fd = socket(ip->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) {
        error_errno(error, "%s", address_text(address).text);
        return ADDRESS_FAILED;
    }
    return listen_tcp(address, *fd, ip, error);
}

enum address_result address_listen(struct address *address, int *fd, struct error *error)
{
    enum address_result result;
    struct sockaddr_storage ip = address->ip;
    if (address->path[0] != '\0') {
        *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        result = listen_unix(address, *fd, error);
    } else {
        if (address->all)
            *(struct sockaddr_in6 *)&ip =
                (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
        ((struct sockaddr_in6 *)&ip)->sin6_port = htons(address->port);
        result = listen_ip(address, fd, &ip, error);
        if (result == ADDRESS_FAILED && address->all) { /* a kernel without IPv6 */
            fd_close(fd);
            *(struct sockaddr_in *)&ip =
                (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(address->port)};
            result = listen_ip(address, fd, &ip, error);
        }
    }
    if (result != ADDRESS_OK)
        fd_close(fd);
    return result;
}

struct address_text address_text(const struct address *address)
{
    struct address_text out;
    char ip[INET6_ADDRSTRLEN] = "";
    if (address->path[0] != '\0')
        snprintf(out.text, sizeof(out.text), "unix:%s", address->path);
    else if (address->all)
        snprintf(out.text, sizeof(out.text), "*:%u", address->port);
    else if (address->ip.ss_family == AF_INET6)
        snprintf(out.text, sizeof(out.text), "[%s]:%u",
                 inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)&address->ip)->sin6_addr, ip,
                           sizeof(ip)),
                 address->port);
    else
        snprintf(out.text, sizeof(out.text), "%s:%u",
                 inet_ntop(AF_INET, &((const struct sockaddr_in *)&address->ip)->sin_addr, ip,
                           sizeof(ip)),
                 address->port);
    return out;
}

static bool ip_is_loopback(const struct sockaddr_storage *ip)
{
    if (ip->ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)ip)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)ip)->sin_addr.s_addr) >> 24 == 127;
}

bool address_is_loopback(const struct address *address)
{
    return address->path[0] != '\0' || (!address->all && ip_is_loopback(&address->ip));
}

struct address_text address_client(const struct sockaddr *peer)
{
    struct address_text out = {"unix"};
    char ip[INET6_ADDRSTRLEN];
    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)peer;
        snprintf(out.text, sizeof(out.text), "%s",
                 inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip)));
    } else if (peer->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)peer;
        const uint8_t *bytes = v6->sin6_addr.s6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
            inet_ntop(AF_INET, bytes + 12, ip, sizeof(ip));
        else
            inet_ntop(AF_INET6, bytes, ip, sizeof(ip));
        snprintf(out.text, sizeof(out.text), "%s", ip);
    }
    return out;
}
