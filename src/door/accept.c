/*
 * Lets connections in. Several doors wait on the same listeners; each takes a bounded number at a
 * time, so that the others get theirs and those already in are not forgotten. Limits: connections
 * of this door, and of one address (a /64 for IPv6) unless it is this machine's own; whoever meets
 * one gets a line that says so.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "door/door_priv.h"
#include "io/address.h"
#include "io/fd.h"

static int address_compare(const struct address_count *a, const struct address_count *b)
{
    return memcmp(&a->address, &b->address, sizeof(a->address));
}
RB_GENERATE_INTERNAL(address_tree, address_count, by_address, address_compare,
                     __attribute__((unused)) static)

/* False: an address of this machine, which no limit holds. */
static bool address_key(const struct sockaddr *peer, struct in6_addr *key)
{
    memset(key, 0, sizeof(*key));
    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)peer;
        key->s6_addr[10] = key->s6_addr[11] = 0xff;
        memcpy(key->s6_addr + 12, &v4->sin_addr, 4);
        return key->s6_addr[12] != 127;
    }
    if (peer->sa_family != AF_INET6) {
        return false;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)peer;
    if (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr)) {
        return false;
    }
    *key = v6->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(key)) {
        return key->s6_addr[12] != 127;
    }
    memset(key->s6_addr + 8, 0, 8);
    return true;
}

/* One more of that address; NULL: there are too many. */
static struct address_count *address_take(struct door *door, const struct in6_addr *key)
{
    struct address_count wanted = {.address = *key};
    struct address_count *count = RB_FIND(address_tree, &door->addresses, &wanted);
    if (count == NULL) {
        count = MEM_NEW(struct address_count);
        count->address = *key;
        RB_INSERT(address_tree, &door->addresses, count);
    } else if (count->connections >= child_settings(door->child)->limit_connections_address) {
        return NULL;
    }
    count->connections++;
    return count;
}

void door_address_release(struct door *door, struct address_count **holder)
{
    struct address_count *count = *holder;
    *holder = NULL;
    if (count != NULL && --count->connections == 0) {
        RB_REMOVE(address_tree, &door->addresses, count);
        free(count);
    }
}

static void refuse(const struct door_listener *listener, int fd, const char *client,
                   const char *limit)
{
    static const char *const lines[] = {
        [IPC_IMAP] = "* BYE Too many connections\r\n",
        [IPC_POP3] = "-ERR [SYS/TEMP] Too many connections\r\n",
        [IPC_LMTP] = "421 4.7.0 Too many connections\r\n",
        [IPC_SASL] = "",
    };
    if (!listener->tls) { /* there is nobody yet who could say it in TLS */
        const char *line = lines[listener->protocol];
        (void)!send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    counter_add(COUNTER_connections_refused, 1);
    log_warn("connection_refused", "rip=%s limit=%s", client, limit);
    close(fd);
}

static void take(struct door_listener *listener, int fd, const struct sockaddr *peer)
{
    struct door *door = listener->door;
    struct address_text client = address_client(peer);
    struct address_count *counted = NULL;
    struct in6_addr key;
    if (door->connections >= child_settings(door->child)->limit_connections) {
        refuse(listener, fd, client.text, "connections");
        return;
    }
    if (address_key(peer, &key)) {
        counted = address_take(door, &key);
        if (counted == NULL) {
            refuse(listener, fd, client.text, "connections_address");
            return;
        }
    }
    conn_create(door, listener, fd, client.text, counted);
}

static void on_accept(evutil_socket_t socket, short what, void *arg)
{
    static const struct timeval pause = {.tv_usec = 100000};
    struct door_listener *listener = arg;
    for (int i = 0; i < DOOR_ACCEPT_ROUND; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t size = sizeof(peer);
        int fd = accept4(socket, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(listener, fd, (struct sockaddr *)&peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_error("accept_failed", "reason=\"%s\"", strerror(errno));
            event_del(&listener->accept); /* it would be ready at once, for ever */
            event_add(&listener->pause, &pause);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

static void on_pause(evutil_socket_t fd, short what, void *arg)
{
    struct door_listener *listener = arg;
    event_add(&listener->accept, NULL);
}

void door_listener_add(struct door *door, struct ipc_listener *message)
{
    struct door_listener *listener = MEM_NEW(struct door_listener);
    listener->door = door;
    listener->fd = message->socket;
    message->socket = -1;
    listener->protocol = (enum ipc_protocol)message->protocol;
    listener->tls = message->tls != 0;
    listener->internal = message->internal != 0;
    fd_set_nonblock(listener->fd);
    struct event_base *base = child_base(door->child);
    event_assign(&listener->accept, base, listener->fd, EV_READ | EV_PERSIST, on_accept, listener);
    event_assign(&listener->pause, base, -1, 0, on_pause, listener);
    SLIST_INSERT_HEAD(&door->listeners, listener, next);
}

void door_listeners_begin(struct door *door)
{
    struct door_listener *listener;
    SLIST_FOREACH(listener, &door->listeners, next)
    {
        event_add(&listener->accept, NULL);
    }
}

void door_listeners_close(struct door *door)
{
    while (!SLIST_EMPTY(&door->listeners)) {
        struct door_listener *listener = SLIST_FIRST(&door->listeners);
        SLIST_REMOVE_HEAD(&door->listeners, next);
        event_del(&listener->accept);
        event_del(&listener->pause);
        fd_close(&listener->fd);
        free(listener);
    }
}
