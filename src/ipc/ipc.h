/*
 * Channels: SOCK_SEQPACKET socket pairs that carry the messages of messages.h, non-blocking, with a
 * bounded queue for what the kernel does not take at once. One channel joins two processes; when
 * one of them dies, both ends are dropped and master sends a new one (message peer).
 */
#pragma once
#include <stdbool.h>

#include "ipc/messages.h"

struct event_base;
struct ipc_channel;

/*
 * What a process does with what it may receive: one function per message, NULL where its role
 * never gets it (such a message then closes the channel). The message may be changed by the handler
 * only to take a descriptor out. A handler may send, and may close this or any channel.
 */
struct ipc_handlers {
#define F(kind, name, limit)
#define M(name, from, to, often, fields)                                                           \
    void (*name)(void *context, struct ipc_channel *channel, struct ipc_##name *message);
    IPC_MESSAGES(M)
#undef M
#undef F
    /* The peer is gone or broke the rules (logged); the channel must be closed by ipc_close(). */
    void (*closed)(void *context, struct ipc_channel *channel);
};

/* Takes fd. self and peer decide which messages may go which way. handlers and context by
 * reference. A peer that lets more than 16 MiB or 32,768 messages pile up is closed. */
struct ipc_channel *ipc_open(struct event_base *base, int fd, enum ipc_role self,
                             enum ipc_role peer, uint32_t peer_index,
                             const struct ipc_handlers *handlers, void *context);
/* Drops what the kernel did not take. Accepts NULL. Safe inside handlers. */
void ipc_close(struct ipc_channel **channel);

enum ipc_role ipc_peer_role(const struct ipc_channel *channel);
uint32_t ipc_peer_index(const struct ipc_channel *channel);
/* Nothing waits: all that was sent is in the peer's socket, ahead of what anybody sends later.
 * What is sent in a turn of the loop waits for the end of that turn, unless it has a descriptor. */
bool ipc_flushed(const struct ipc_channel *channel);
/* Bytes that wait because the peer does not read. Above IPC_BACKLOG what is large should go as a
 * descriptor, or a slow peer is taken for a dead one. */
size_t ipc_backlog(const struct ipc_channel *channel);
enum { IPC_BACKLOG = 4 * 1024 * 1024 };
/* Called once, when the queue has run empty (at once, inside, when it is); when the channel ends
 * before, at its ipc_close(). Several may wait; they are called in order. */
void ipc_when_flushed(struct ipc_channel *channel, void (*flushed)(void *arg), void *arg);
/* Handles everything that has arrived, now: "has auth said anything of this connection?" */
void ipc_drain(struct ipc_channel *channel);
/* Blocks until everything queued is sent or ms passed: for a last word before exit. */
void ipc_flush(struct ipc_channel *channel, int ms);

/* ipc_send_ticket(channel, &(struct ipc_ticket){...}): queued or sent; a descriptor is duplicated
 * and stays the caller's. False: the channel is ending (its closed handler runs later from the
 * loop); the message is dropped. Limits of fields are asserted. */
#define F(kind, name, limit)
#define M(name, from, to, often, fields)                                                           \
    bool ipc_send_##name(struct ipc_channel *channel, const struct ipc_##name *message);
IPC_MESSAGES(M)
#undef M
#undef F

const char *ipc_type_name(enum ipc_type type);
const char *ipc_role_name(enum ipc_role role);

/* The codec by itself, for tests and the fuzz target. Decoding believes nothing: false unless the
 * packet is exactly one message (without its size before it). message: room for the largest struct
 * (union ipc_message). */
union ipc_message {
#define F(kind, name, limit)
#define M(name, from, to, often, fields) struct ipc_##name name;
    IPC_MESSAGES(M)
#undef M
#undef F
};
bool ipc_decode(struct slice packet, const int *fds, int fd_count, enum ipc_type *type,
                union ipc_message *message);
struct buf;
void ipc_encode(enum ipc_type type, const union ipc_message *message, struct buf *packet, int *fds,
                int *fd_count);
