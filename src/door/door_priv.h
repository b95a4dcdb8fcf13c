/*
 * The door's own header: what its files share. main.c holds the process together, accept.c lets
 * connections in, conn.c moves their bytes and ends them, starttls.c, login.c and delivery.c talk
 * to the other processes for them.
 */
#pragma once
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <sys/queue.h>

#include <bsd/sys/tree.h>

#include "base/buf.h"
#include "door/door.h"
#include "ipc/child.h"

enum {
    DOOR_INPUT = 16 * 1024,      /* read at once: what stands behind a login stays below 32 KB */
    DOOR_INPUT_LMTP = 64 * 1024, /* the same where there is no handover */
    DOOR_OUTPUT_MAX = 64 * 1024, /* above it commands wait for the client to read */
    DOOR_ROUND = 100,            /* steps before other connections get their turn */
    DOOR_ACCEPT_ROUND = 32,
    DOOR_LAST_WORD_S = 5, /* for a farewell to be taken */
};

enum conn_phase {
    CONN_HANDSHAKE, /* the socket is with tls */
    CONN_TALK,
    CONN_STARTTLS, /* the go-ahead leaves, then the socket */
    CONN_LEAVING,  /* logged in: what is queued leaves, then the socket */
    CONN_CLOSING,  /* what is queued leaves */
};

/* Whose answer the protocol waits for. */
enum conn_wait { WAIT_NOTHING, WAIT_AUTH, WAIT_LOOKUP, WAIT_ROOM, WAIT_DELIVERY };

struct address_count { /* connections of one address */
    RB_ENTRY(address_count) by_address;
    struct in6_addr address; /* IPv4 mapped; IPv6 its /64 */
    uint64_t connections;
};

struct lookup;   /* delivery.c */
struct delivery; /* delivery.c */

struct door_conn {
    RB_ENTRY(door_conn) by_id;
    TAILQ_ENTRY(door_conn) kicked;
    struct door *door;
    uint64_t id;
    int fd; /* -1 while it is with tls */
    enum conn_phase phase;
    enum conn_wait wait;
    bool waiting, is_kicked, eof;
    bool reading, wants_input; /* the socket is watched; and what comes is wanted now */
    bool tls, internal, after_starttls, local;
    bool undeliverable; /* answers of a delivery or lookup that could not be asked are due */
    bool auth_away;     /* the same for auth */
    bool exchange;      /* auth holds an exchange of ours */

    const struct door_protocol *protocol;
    void *state;
    struct event readable, timer;
    struct event *writable;          /* NULL until it was needed */
    struct evbuffer *input, *output; /* NULL while empty */
    uint64_t started_us, progress_us, output_us;
    uint64_t bytes_in, bytes_out, charged;

    struct address_count *counted; /* NULL: exempt, as loopback is */
    uint32_t tls_index, worker;
    const char *reason; /* why it closes; NULL: the protocol wanted it */
    uint8_t exporter[32];
    size_t exporter_size;
    struct buf final; /* of auth_done */
    struct lookup *lookup;
    struct delivery *delivery;
    char client[64];
    char session[20];
};

struct door_listener {
    SLIST_ENTRY(door_listener) next;
    struct door *door;
    int fd;
    enum ipc_protocol protocol;
    bool tls, internal;
    struct event accept, pause;
};

RB_HEAD(conn_tree, door_conn);
RB_HEAD(address_tree, address_count);
RB_HEAD(delivery_tree, delivery);
RB_PROTOTYPE(conn_tree, door_conn, by_id, conn_compare)

struct door {
    struct child *child;
    SLIST_HEAD(, door_listener) listeners;
    struct conn_tree conns;
    struct address_tree addresses;
    struct delivery_tree deliveries;
    TAILQ_HEAD(door_conn_list, door_conn) kicked; /* to run from the loop */
    struct event kick;
    uint64_t next_id, next_delivery;
    uint64_t connections, charged;
    bool draining;
    char hostname[256];
    bool listening;                                     /* auth has said what may be announced */
    char mechanisms_secure[201], mechanisms_clear[201]; /* as auth said */
    char mechanisms_local[201];     /* loopback without TLS: as secure, but for channel binding */
    uint8_t bytes[DOOR_INPUT_LMTP]; /* read into, then copied: idle connections hold nothing */
};

/* ---- accept.c ------------------------------------------------------------------------------ */

void door_listener_add(struct door *door, struct ipc_listener *message);
void door_listeners_begin(struct door *door);
void door_listeners_close(struct door *door);
void door_address_release(struct door *door, struct address_count **count);

/* ---- conn.c -------------------------------------------------------------------------------- */

/* Takes fd. With handshake the socket goes to tls first. */
void conn_create(struct door *door, const struct door_listener *listener, int fd,
                 const char *client, struct address_count *counted);
struct door_conn *conn_find(struct door *door, uint64_t id);
/* Runs it from the loop, soon. */
void conn_kick(struct door_conn *conn);
/* Frees it; one log line. reason: a stable word. */
void conn_end(struct door_conn *conn, const char *reason);
/* Frees it without a line: it goes on elsewhere. */
void conn_leave(struct door_conn *conn);
/* The protocol's last word, then the end. text: for the client; reason: for the log. */
void conn_farewell(struct door_conn *conn, const char *text, const char *reason);
void conn_begin(struct door_conn *conn); /* clear text flows: greet, read */
/* Takes fd. */
void conn_attach(struct door_conn *conn, int fd);
/* Takes the descriptor out of the loop; it may be passed on. */
void conn_detach(struct door_conn *conn);
void door_kicked(evutil_socket_t fd, short what, void *arg);

/* ---- starttls.c ---------------------------------------------------------------------------- */

bool starttls_available(const struct door *door);
void starttls_pass(struct door_conn *conn); /* may end the connection */
void starttls_cancel(struct door_conn *conn);
/* index: the tls process that says so; it is believed of the connections it was given. */
void starttls_established(struct door *door, uint32_t index, struct ipc_tls_established *message);
void starttls_failed(struct door *door, uint32_t index, const struct ipc_tls_failed *message);
void starttls_peer_down(struct door *door, uint32_t index);

/* ---- login.c ------------------------------------------------------------------------------- */

void login_challenge(struct door *door, const struct ipc_auth_challenge *message);
void login_done(struct door *door, const struct ipc_auth_done *message);
void login_hand_over(struct door_conn *conn); /* frees it */
void login_cancel(struct door_conn *conn);    /* it ends while auth is at work */
void login_away(struct door_conn *conn);      /* auth could not be asked, or is gone */
void login_auth_down(struct door *door);

/* ---- delivery.c ---------------------------------------------------------------------------- */

int delivery_compare(const struct delivery *a, const struct delivery *b);
RB_PROTOTYPE(delivery_tree, delivery, by_id, delivery_compare)
void delivery_found(struct door *door, const struct ipc_rcpt_found *message);
void delivery_checked(struct door *door, uint32_t worker, const struct ipc_rcpt_checked *message);
void delivery_delivered(struct door *door, uint32_t worker, const struct ipc_delivered *message);
void delivery_auth_down(struct door *door);
void delivery_worker_down(struct door *door, uint32_t index);
void delivery_late(struct door_conn *conn); /* answers what could not be asked */
void delivery_drop(struct door_conn *conn); /* the connection ends */
