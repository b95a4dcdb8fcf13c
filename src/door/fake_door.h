/*
 * Test support: a door in memory, so that the protocols before login can be tried without
 * processes. It answers what the real door gets from auth, tls and workers, by the name asked for:
 *
 *   login   alice / "secret" goes well by PLAIN (and LOGIN as PLAIN's message); mechanism TEST
 *           challenges with "hello" and wants "world"; user busy: unavailable; all others fail
 *   lookup  local part before "+": alice, bob, postmaster, josé: fine, detail behind "+";
 *           full: over quota; disabled; busy: unavailable; damaged; all others: unknown
 *   deliver to alice, bob, postmaster, josé: kept; late: unavailable; lateful: no space
 *
 * Answers come like the real ones: later than the call, never inside it.
 */
#pragma once
#include "base/buf.h"
#include "door/door.h"

enum { FAKE_DELIVERIES = 64 };

struct fake_delivery {
    char account[400];
    char mailbox[257];
    struct buf prefix, message;
};

struct fake_door {
    struct settings settings; /* may be changed before open */
    const char *client;
    const char *mechanisms;
    bool secure, tls_available, after_starttls;
    bool spool_full; /* refuses every charge */

    struct buf output;    /* what the client got */
    bool closed;          /* the protocol closed the connection */
    bool handed_over;     /* login went well */
    struct buf tag;       /* of the handover */
    struct buf readahead; /* of the handover: what stood behind the login */
    bool injected;        /* bytes stood behind STARTTLS: the door ends such a connection */
    uint64_t charged;
    struct fake_delivery deliveries[FAKE_DELIVERIES];
    size_t delivery_count;

    struct door_conn *conn; /* of the connection open now */
};

void fake_door_init(struct fake_door *fake);
/* Opens a connection of that protocol: the greeting is in output. */
void fake_door_open(struct fake_door *fake, const struct door_protocol *protocol);
/* Bytes from the client; runs until the protocol wants more. */
void fake_door_feed(struct fake_door *fake, struct slice bytes);
/* The door ends the connection with a last word. */
void fake_door_farewell(struct fake_door *fake, const char *reason);
/* The client vanishes. Fails the test's process if charges were not given back. */
void fake_door_close(struct fake_door *fake);
void fake_door_finish(struct fake_door *fake);
