/*
 * Where a server listens: "NAME=ADDRESS:PORT" or "NAME=unix:PATH,mode=0660,group=NAME", as given
 * with --listen or in the configuration. ADDRESS: IPv4, [IPv6], or * for all of both.
 */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/slice.h"

struct address {
    char name[16];              /* what stood before "="; the caller knows which there are */
    char path[104];             /* of a Unix socket; "" for TCP */
    char group[64];             /* with path: its group, or "" */
    mode_t mode;                /* with path; 0600 unless given */
    bool all;                   /* "*" */
    uint16_t port;              /* TCP; 0: any free one */
    struct sockaddr_storage ip; /* TCP, without port; unused with all */
};

struct address_text {
    char text[128];
};

enum address_result {
    ADDRESS_OK,
    ADDRESS_BUSY,   /* another program listens there */
    ADDRESS_FAILED, /* anything else */
};

/* False with a remedy in error. */
bool address_parse(struct slice text, struct address *address, struct error *error);
/* A listening socket, non-blocking. With port 0 the one taken is put into address->port. A Unix
 * socket that nobody serves any more is replaced. */
enum address_result address_listen(struct address *address, int *fd, struct error *error);
/* "127.0.0.1:1143", "[::1]:143", "*:143", "unix:/run/restante/lmtp" */
struct address_text address_text(const struct address *address);
bool address_is_loopback(const struct address *address); /* a Unix socket is, too */
/* The other end of a connection: "192.0.2.7", "::1" (an IPv4 in IPv6 as IPv4), or "unix". */
struct address_text address_client(const struct sockaddr *peer);
