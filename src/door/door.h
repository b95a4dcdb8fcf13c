/*
 * What a protocol needs before login, from the process that holds the connection. The door reads
 * strangers' bytes; it knows no mail, no account and no secret beyond the line it forwards.
 *
 * imap/imap_door.c, pop3/pop3_door.c and smtp/ implement struct door_protocol; the files of door/
 * implement the rest: accepting, limits, timeouts, TLS by the tls process, login by auth, handing
 * over to the worker.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "config/settings.h"
#include "ipc/messages.h"

struct event_base;
struct evbuffer;
struct door;
struct door_conn; /* one connection; the protocol's state hangs on it */

enum door_step {
    DOOR_MORE,  /* needs more input */
    DOOR_AGAIN, /* consumed something, call again */
    DOOR_WAIT,  /* waits for auth, tls, a worker: no input is given until door_conn_resume() */
    DOOR_CLOSE, /* send what is queued, then close */
};

struct door_protocol {
    const char *name;
    enum ipc_protocol protocol;
    /* All functions get state from open(). A connection after STARTTLS begins anew: close, open. */
    void *(*open)(struct door_conn *conn); /* also sends the greeting, unless after STARTTLS */
    void (*close)(void *state);
    /* Takes what it can from the input. */
    enum door_step (*input)(void *state, struct evbuffer *input);
    /* auth's answers to door_conn_authenticate(). */
    void (*challenge)(void *state, struct slice data);
    void (*auth_failed)(void *state, enum ipc_auth_result result);
    /* Login went well, and the connection stays: for a protocol that asks for others. name: the
     * account's. NULL: logged_in instead. */
    void (*verified)(void *state, struct slice name);
    /* Login went well: fills tag for the handover. The connection leaves after this. */
    void (*logged_in)(void *state, struct slice *tag);
    /* A last word before the door closes it: BYE, -ERR, 421. reason: text for the client. */
    void (*farewell)(void *state, const char *reason);
};

extern const struct door_protocol imap_door;
extern const struct door_protocol pop3_door;
extern const struct door_protocol lmtp_door;

/* ---- what a protocol may ask of its connection --------------------------------------------- */

void door_conn_write(struct door_conn *conn, const void *bytes, size_t size);
void door_conn_printf(struct door_conn *conn, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* After DOOR_WAIT: input may come again (from the loop, never inside). */
void door_conn_resume(struct door_conn *conn);

bool door_conn_secure(const struct door_conn *conn); /* TLS is on */
bool door_conn_can_starttls(
    const struct door_conn *conn); /* not yet on, and a tls process is there */
bool door_conn_after_starttls(
    const struct door_conn *conn); /* open() is after STARTTLS: no greeting */
const char *door_conn_client(const struct door_conn *conn); /* "192.0.2.7", "::1" or "unix" */
/* SASL names to announce now, space-separated; PLAIN and LOGIN absent where clear text may not be
 * used. */
const char *door_conn_mechanisms(const struct door_conn *conn);
const struct settings *door_settings(const struct door_conn *conn);
const char *door_hostname(const struct door_conn *conn);
const char *door_session_id(const struct door_conn *conn); /* for "id=" in log lines */
struct event_base *door_base(const struct door_conn *conn);

/* Memory that a stranger makes us hold beyond lines (a message being spooled). False: the door
 * holds as much as it may; nothing was charged then. What is left is given back when the connection
 * ends. */
bool door_conn_charge(struct door_conn *conn, uint64_t bytes);
void door_conn_uncharge(struct door_conn *conn, uint64_t bytes);

/* After the go-ahead has been queued; return DOOR_WAIT. Whatever was read behind the command ends
 * the connection (RFC 9051 11.1: STARTTLS injection). */
void door_conn_starttls(struct door_conn *conn);

/* One exchange at a time; answers through challenge, auth_failed, logged_in. initial.data NULL: no
 * initial response. Return DOOR_WAIT. */
void door_conn_authenticate(struct door_conn *conn, struct slice mechanism, struct slice initial);
/* The same on behalf of another client, whose address and TLS count instead of ours. */
void door_conn_authenticate_for(struct door_conn *conn, struct slice client, bool secure,
                                struct slice mechanism, struct slice initial);
void door_conn_auth_response(struct door_conn *conn, struct slice data);
void door_conn_auth_cancel(struct door_conn *conn); /* then auth_failed(CANCELLED) comes */

/* ---- delivery ------------------------------------------------------------------------------ */

struct door_rcpt { /* where a recipient's mail goes; filled by door_conn_lookup */
    enum ipc_rcpt_result result;
    struct id account;
    uint32_t volume, worker;
    uint64_t quota;
    char name[321];   /* the account's name: Delivered-To */
    char detail[257]; /* mailbox asked for, or "" */
};

/* Asks auth, then (size given and a worker there) the worker for room. found runs once, later,
 * unless the connection closes before. delivery: enum ipc_delivery_result of the room check. */
void door_conn_lookup(struct door_conn *conn, struct slice address, uint64_t size,
                      void (*found)(void *state, const struct door_rcpt *rcpt,
                                    enum ipc_delivery_result room));

struct door_delivery {
    const struct door_rcpt *rcpt;
    struct slice prefix;
};
struct door_message {
    int fd;           /* sealed memory, taken; -1: data, at most IPC_SHORT bytes */
    const void *data; /* copied before the call returns */
    uint64_t size;
};
/* Sends the message to the workers of its recipients; done runs once per recipient, unless the
 * connection closes before. A worker that dies answers UNAVAILABLE. */
void door_conn_deliver(struct door_conn *conn, const struct door_message *message,
                       const struct door_delivery *deliveries, size_t count,
                       void (*done)(void *state, size_t delivery, enum ipc_delivery_result result));
