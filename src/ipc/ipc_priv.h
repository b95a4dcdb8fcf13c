/* What codec.c tells channel.c about the rows of messages.h, and the limits of a channel. */
#pragma once
#include "ipc/ipc.h"

enum {
    /* A packet is one message or several, each with its size as u32 before it. Longer than any
     * message can be: test_codec checks it over the whole table. */
    IPC_PACKET_MAX = 64 * 1024,
    IPC_SIZE = 4,
    /* What may wait for a peer that does not read, in bytes and in packets (each may hold
     * FD_PASS_MAX descriptors open). */
    IPC_QUEUE_BYTES = 16 * 1024 * 1024,
    IPC_QUEUE_PACKETS = 32768,
};

struct ipc_row {
    const char *name;
    unsigned from, to; /* bits of enum ipc_role */
    bool once;
    int descriptors;
};

/* Never NULL; that of IPC_TYPE_NONE is from and to nobody. */
const struct ipc_row *ipc_row(enum ipc_type type);
/* How many descriptors go with that message by its row; 0 when it is none. */
int ipc_descriptors(struct slice message);
