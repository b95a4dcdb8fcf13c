/*
 * Everything that is listened on is bound here, before any child exists and while we may still be
 * root. The default set is high ports on loopback, and there a busy port is named and the next one
 * taken; installed it is the well-known ports; an address that somebody asked for is taken or the
 * start fails - after a moment, since the processes of a server that was killed just now may hold
 * it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/fd.h"
#include "master/master.h"

enum {
    NEXT_PORTS = 100,   /* how far a busy default port is moved */
    PATIENCE_MS = 2000, /* for all busy addresses of a start together */
};

static const char *const defaults_here[] = {"imap=127.0.0.1:1143",
                                            "imaps=127.0.0.1:1993",
                                            "pop3=127.0.0.1:1110",
                                            "pop3s=127.0.0.1:1995",
                                            "lmtp=127.0.0.1:10024",
                                            "http=127.0.0.1:8080",
                                            NULL};
static const char *const defaults_installed[] = {"imap=*:143",
                                                 "imaps=*:993",
                                                 "pop3=*:110",
                                                 "pop3s=*:995",
                                                 "lmtp=unix:/run/restante/lmtp,mode=0660",
                                                 "http=127.0.0.1:9143",
                                                 NULL};

static const struct {
    const char *name;
    enum ipc_protocol protocol;
    bool tls;
} names[] = {
    {"imap", IPC_IMAP, false}, {"imaps", IPC_IMAP, true}, {"pop3", IPC_POP3, false},
    {"pop3s", IPC_POP3, true}, {"lmtp", IPC_LMTP, false}, {"http", IPC_HTTP, false},
    {"auth", IPC_SASL, false},
};

static bool add(struct master *master, struct address *address, bool internal, bool may_move,
                struct error *error)
{
    struct listener *listener = &master->listeners[master->listener_count];
    if (strcmp(address->name, "auth") == 0 && address->path[0] == '\0')
        return error_set(error, "auth answers whether a password is right, so it listens on a Unix "
                                "socket only: auth=unix:PATH,mode=0660,group=NAME");
    *listener = (struct listener){.internal = internal};
    const uint16_t wanted = address->port;
    static unsigned left_ms = PATIENCE_MS;
    enum address_result result = address_listen(address, &listener->fd, error);
    while (result == ADDRESS_BUSY && !may_move && clock_pause(&left_ms))
        result = address_listen(address, &listener->fd, error);
    while (result == ADDRESS_BUSY && may_move && address->port - wanted < NEXT_PORTS) {
        address->port++;
        result = address_listen(address, &listener->fd, error);
    }
    if (result == ADDRESS_BUSY)
        return error_set(error,
                         "cannot listen for %s: another program listens on %s: stop that one, or "
                         "give another address with --listen",
                         address->name, address_text(address).text);
    if (result != ADDRESS_OK)
        return error_prefix(error, "cannot listen for %s", address->name);
    if (may_move && address->port != wanted) {
        listener->busy_port = wanted;
        log_warn("port_busy", "name=%s wanted=%u taken=%u", address->name, wanted, address->port);
    }
    listener->address = *address;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(address->name, names[i].name) != 0)
            continue;
        listener->protocol = names[i].protocol;
        listener->tls = names[i].tls;
    }
    master->listener_count++;
    return true;
}

static bool add_defaults(struct master *master, struct error *error)
{
    bool installed = geteuid() == 0 && strcmp(master->data.path, "/var/lib/restante") == 0;
    const char *const *set = installed ? defaults_installed : defaults_here;
    if (installed)
        mkdir("/run/restante", 0755);
    for (; *set != NULL; set++) {
        struct address address;
        if (!address_parse(slice_str(*set), &address, error) ||
            !add(master, &address, false, !installed, error))
            return false;
    }
    return true;
}

/* Relative to the data directory, in which we stand: a long path does not fit a socket address. */
static bool add_internal(struct master *master, const char *name, const char *path,
                         struct error *error)
{
    struct address address = {.mode = 0600};
    snprintf(address.name, sizeof(address.name), "%s", name);
    snprintf(address.path, sizeof(address.path), "%s", path);
    return add(master, &address, true, false, error);
}

bool listeners_bind(struct master *master, struct error *error)
{
    const struct config *given =
        master->options.listen.listen_count > 0 ? &master->options.listen : &master->config;
    if (!add_internal(master, "http", "run/control.sock", error) ||
        !add_internal(master, "lmtp", "run/lmtp.sock", error))
        return false;
    if (given->listen_count == 0)
        return add_defaults(master, error);
    for (size_t i = 0; i < given->listen_count; i++) {
        struct address address = given->listen[i];
        if (!add(master, &address, false, false, error))
            return false;
    }
    return true;
}
