/*
 * Every message between two processes of a server, in one table. From it come the structs, the
 * codec, the names in traces, and the fuzz target.
 *
 * A row: name, sender, receiver, how often (ONCE per channel, or ANY), fields. A field: kind, name,
 * limit. Kinds: u32, u64, id (16 bytes), bytes and text (limit = most bytes; text holds no NUL), fd.
 * A message that is not in the table, not for this receiver or from this sender, once too often, or
 * malformed closes that channel; the server goes on. What a receiver must further check (that an id
 * is one it knows) stands beside the row.
 *
 * Roles: M master, T tls, D door, A auth, W worker, R reader, C control, * any.
 */
#pragma once
#include <stdint.h>

#include "base/id.h"
#include "base/slice.h"

enum ipc_role {
    IPC_MASTER = 1,
    IPC_TLS = 2,
    IPC_DOOR = 4,
    IPC_AUTH = 8,
    IPC_WORKER = 16,
    IPC_READER = 32,
    IPC_CONTROL = 64,
    IPC_ANY_ROLE = 127,
};

enum {
    IPC_CHUNK = 48 * 1024, /* the largest bytes field */
    IPC_SHORT = 32 * 1024, /* a message up to this goes in the packet: copying it costs less than
                              memory that is made, sealed, mapped and unmapped for it */
};

/* clang-format off */
#define IPC_MESSAGES(M) \
/* ---- master and its children ------------------------------------------------------------- */ \
/* First on every child's channel: who it is, and the settings as "name=value" lines. */ \
M(setup,            MASTER, ANY_ROLE, ONCE, F(u32, role, 0) F(u32, index, 0) F(u32, uid, 0) \
                    F(u32, gid, 0) F(text, settings, IPC_CHUNK)) \
/* Settings were read again; only those marked reloadable may differ. */ \
M(settings,         MASTER, ANY_ROLE, ANY, F(text, settings, IPC_CHUNK)) \
/* A new channel to another process; replaces the one to {role, index}, which has died. */ \
M(peer,             MASTER, ANY_ROLE, ANY, F(u32, role, 0) F(u32, index, 0) F(fd, channel, 0)) \
/* All that stands before ready has been sent; the child enters its sandbox and answers ready. */ \
M(start,            MASTER, ANY_ROLE, ONCE, ) \
M(ready,            ANY_ROLE, MASTER, ONCE, ) \
/* Stop in order: no new work, tell clients (BYE, 421), finish what is acknowledged, exit 0. */ \
M(drain,            MASTER, ANY_ROLE, ONCE, ) \
/* protocol: enum ipc_protocol; tls: 1 for TLS from the first byte; name as in --listen. */ \
M(listener,         MASTER, DOOR | IPC_CONTROL, ANY, F(u32, protocol, 0) F(u32, tls, 0) \
                    F(u32, internal, 0) F(text, name, 200) F(fd, socket, 0)) \
/* Before start, and again after each reload; PEM files opened by master. */ \
M(certificate,      MASTER, TLS, ANY, F(fd, chain, 0) F(fd, key, 0)) \
/* A volume this worker owns (or auth's own, volume 2^32-1): a directory, relative to the data
 * directory, which is every child's working directory. crashes: how often in a row this process
 * has crashed without living a minute. */ \
M(volume,           MASTER, WORKER | IPC_AUTH, ANY, F(u32, volume, 0) F(u32, crashes, 0) \
                    F(text, directory, 4000)) \
/* Opened (or not: trouble says why and the worker goes on with its others). */ \
M(volume_state,     WORKER, MASTER, ANY, F(u32, volume, 0) F(id, uuid, 0) F(u64, free_bytes, 0) \
                    F(text, trouble, 200)) \
/* Which worker owns which volume, to those who route; sent again when it changes. */ \
M(route,            MASTER, AUTH | IPC_CONTROL, ANY, F(u32, volume, 0) F(u32, worker, 0)) \
\
/* ---- TLS ------------------------------------------------------------------------------------ */ \
/* Take this socket; nothing was read from it beyond the STARTTLS line. conn is the door's id. */ \
M(tls_start,        DOOR, TLS, ANY, F(u64, conn, 0) F(text, client, 64) F(fd, socket, 0)) \
M(tls_cancel,       DOOR, TLS, ANY, F(u64, conn, 0)) \
/* The clear-text end. exporter: tls-exporter of RFC 9266, 32 bytes. */ \
M(tls_established,  TLS, DOOR, ANY, F(u64, conn, 0) F(text, version, 16) F(text, cipher, 64) \
                    F(text, sni, 256) F(bytes, exporter, 32) F(fd, clear, 0)) \
M(tls_failed,       TLS, DOOR, ANY, F(u64, conn, 0) F(text, reason, 200)) \
\
/* ---- login ---------------------------------------------------------------------------------- */ \
/* initial: the initial response; has_initial 0: none was given (RFC 4422 5.1). */ \
M(auth_start,       DOOR, AUTH, ANY, F(u64, conn, 0) F(u32, protocol, 0) F(u32, secure, 0) \
                    F(text, client, 64) F(bytes, exporter, 32) F(text, mechanism, 32) \
                    F(u32, has_initial, 0) F(bytes, initial, 16384)) \
M(auth_response,    DOOR, AUTH, ANY, F(u64, conn, 0) F(bytes, data, 16384)) \
M(auth_cancel,      DOOR, AUTH, ANY, F(u64, conn, 0)) \
M(auth_challenge,   AUTH, DOOR, ANY, F(u64, conn, 0) F(bytes, data, 16384)) \
/* result: enum ipc_auth_result. final: SCRAM's server-final where the protocol must send it; for
 * IPC_SASL, which gets this verdict alone and no ticket, the account's name. */ \
M(auth_done,        AUTH, DOOR, ANY, F(u64, conn, 0) F(u32, result, 0) F(u32, worker, 0) \
                    F(bytes, final, 1024)) \
/* SASL names a door may announce now, space-separated; plain_clear: PLAIN/LOGIN without TLS is
 * allowed from anywhere. Sent at start and when it changes. */ \
M(auth_mechanisms,  AUTH, DOOR, ANY, F(text, secure, 200) F(text, clear, 200)) \
/* To the worker before auth_done goes to the door, which is `door`. One use. */ \
M(ticket,           AUTH, WORKER, ANY, F(u32, door, 0) F(u64, conn, 0) F(id, account, 0) \
                    F(u32, volume, 0) F(u64, quota, 0) F(text, name, 320) F(text, client, 64) \
                    F(u32, protocol, 0) F(u32, secure, 0)) \
/* The connection itself. readahead: bytes that came behind the login command. tag: IMAP's, to be
 * answered. final: to be sent with the OK where the protocol has a place for it. From control (its
 * ticket names IPC_TICKET_CONTROL as the door): the administrator's import or export, IPC_MOVE. */ \
M(handover,         DOOR | IPC_CONTROL, WORKER, ANY, F(u64, conn, 0) F(u32, protocol, 0) F(text, tag, 256) \
                    F(bytes, final, 1024) F(bytes, readahead, 32768) F(fd, socket, 0)) \
/* Password changed, account disabled or deleted: end its sessions. */ \
M(end_sessions,     AUTH, WORKER, ANY, F(id, account, 0) F(text, reason, 100)) \
\
/* ---- delivery ------------------------------------------------------------------------------- */ \
M(rcpt_lookup,      DOOR, AUTH, ANY, F(u64, request, 0) F(text, address, 1024)) \
/* result: enum ipc_rcpt_result. detail: what stands behind "+", as a mailbox name; may be empty. */ \
M(rcpt_found,       AUTH, DOOR, ANY, F(u64, request, 0) F(u32, result, 0) F(id, account, 0) \
                    F(u32, volume, 0) F(u32, worker, 0) F(u64, quota, 0) F(text, name, 320) \
                    F(text, detail, 256)) \
/* Is there room for size more bytes? result: enum ipc_delivery_result. */ \
M(rcpt_check,       DOOR, WORKER, ANY, F(u64, request, 0) F(id, account, 0) F(u32, volume, 0) \
                    F(u64, quota, 0) F(u64, size, 0)) \
M(rcpt_checked,     WORKER, DOOR, ANY, F(u64, request, 0) F(u32, result, 0)) \
/* One for each recipient of this worker, then deliver. prefix: its trace lines, CRLF. */ \
M(deliver_rcpt,     DOOR, WORKER, ANY, F(u64, delivery, 0) F(id, account, 0) F(u32, volume, 0) \
                    F(u64, quota, 0) F(text, mailbox, 256) F(bytes, prefix, 2048)) \
/* The message in wire form, a sealed memfd of that size. */ \
M(deliver,          DOOR, WORKER, ANY, F(u64, delivery, 0) F(u64, size, 0) F(fd, message, 0)) \
/* The same for a short one. */ \
M(deliver_short,    DOOR, WORKER, ANY, F(u64, delivery, 0) F(bytes, message, IPC_SHORT)) \
/* rcpt: place among the deliver_rcpt of that delivery, from 0. */ \
M(delivered,        WORKER, DOOR, ANY, F(u64, delivery, 0) F(u32, rcpt, 0) F(u32, result, 0)) \
\
/* ---- readers -------------------------------------------------------------------------------- */ \
M(summarize,        WORKER, READER, ANY, F(u64, request, 0) F(u64, size, 0) F(fd, message, 0)) \
M(summarize_short,  WORKER, READER, ANY, F(u64, request, 0) F(bytes, message, IPC_SHORT)) \
/* packed as in message/summary.h; empty: the reader could not. */ \
M(summary,          READER, WORKER, ANY, F(u64, request, 0) F(bytes, packed, IPC_CHUNK)) \
/* Which of the needles are in which of the messages? Both as in message/needle.h: messages is
 * sealed memory of size bytes with so many records (0: how are they folded?). charset: of the
 * needles' texts; empty: UTF-8, or what they look like. */ \
M(search,           WORKER, READER, ANY, F(u64, request, 0) F(u32, records, 0) F(u64, size, 0) \
                    F(text, charset, 64) F(bytes, needles, IPC_CHUNK) F(fd, messages, 0)) \
/* result: enum ipc_search_result; bits as in message/needle.h: as many as were asked for; of no \
 * records the needles, folded. */ \
M(found,            READER, WORKER, ANY, F(u64, request, 0) F(u32, result, 0) \
                    F(bytes, bits, IPC_CHUNK)) \
\
/* ---- administration ------------------------------------------------------------------------- */ \
/* verb and JSON arguments, as doc/control.md lists them. more: the text goes on in the next. */ \
M(admin_request,    CONTROL, ANY_ROLE, ANY, F(u64, request, 0) F(text, verb, 40) F(u32, more, 0) \
                    F(bytes, json, IPC_CHUNK)) \
M(admin_reply,      ANY_ROLE, CONTROL, ANY, F(u64, request, 0) F(u32, ok, 0) F(u32, more, 0) \
                    F(bytes, json, IPC_CHUNK)) \
/* auth tells that an account is gone for good, so that its mail is wiped. */ \
M(purge,            AUTH, WORKER, ANY, F(id, account, 0) F(u32, volume, 0)) \
M(purged,           WORKER, AUTH, ANY, F(id, account, 0) F(u32, result, 0))
/* clang-format on */

enum ipc_protocol { IPC_IMAP, IPC_POP3, IPC_LMTP, IPC_HTTP, IPC_MOVE, IPC_SASL };

static const uint32_t IPC_TICKET_CONTROL = UINT32_MAX; /* instead of a door's index */

enum ipc_auth_result {
    IPC_AUTH_OK,
    IPC_AUTH_BAD_SECRET,  /* wrong name or secret: never which */
    IPC_AUTH_BAD_MESSAGE, /* the exchange broke the mechanism's rules */
    IPC_AUTH_NO_MECHANISM,
    IPC_AUTH_NOT_SECURE, /* clear-text secret without TLS */
    IPC_AUTH_UNAVAILABLE,
    IPC_AUTH_CANCELLED,
};

enum ipc_rcpt_result {
    IPC_RCPT_OK,
    IPC_RCPT_UNKNOWN,
    IPC_RCPT_BAD_ADDRESS,
    IPC_RCPT_DISABLED,
    IPC_RCPT_UNAVAILABLE,
};

enum ipc_delivery_result {
    IPC_DELIVERY_OK,
    IPC_DELIVERY_OVER_QUOTA,
    IPC_DELIVERY_NOSPACE,
    IPC_DELIVERY_UNAVAILABLE,
    IPC_DELIVERY_DAMAGED, /* the account cannot be written; the administrator was told */
};

enum ipc_search_result {
    IPC_SEARCH_OK,
    IPC_SEARCH_BAD_CHARSET,
    IPC_SEARCH_FAILED, /* no reader could */
};

/* A struct for each row: struct ipc_ticket { ... }. Slices are valid during the handler's call; a
 * descriptor is the handler's when it sets the field to -1, else it is closed behind it. */
#define IPC_C_u32 uint32_t
#define IPC_C_u64 uint64_t
#define IPC_C_id struct id
#define IPC_C_bytes struct slice
#define IPC_C_text struct slice
#define IPC_C_fd int
#define F(kind, name, limit) IPC_C_##kind name;
#define M(name, from, to, often, fields)                                                           \
    struct ipc_##name {                                                                            \
        fields uint8_t ipc_end_;                                                                   \
    };
IPC_MESSAGES(M)
#undef M
#undef F

enum ipc_type {
    IPC_TYPE_NONE,
#define F(kind, name, limit)
#define M(name, from, to, often, fields) IPC_TYPE_##name,
    IPC_MESSAGES(M)
#undef M
#undef F
        IPC_TYPE_COUNT
};
