/* What child.c and child_admin.c share. */
#pragma once
#include <sys/queue.h>

#include "base/buf.h"
#include "ipc/child.h"

struct child_peer {
    STAILQ_ENTRY(child_peer) next;
    enum ipc_role role;
    uint32_t index;
    int fd; /* until the sandbox is entered */
    struct ipc_channel *channel;
    uint64_t chosen; /* by child_peer_next */
};

struct child_request { /* an admin_request that comes in parts */
    STAILQ_ENTRY(child_request) next;
    uint64_t number;
    struct buf json;
};

struct child {
    const struct child_program *program;
    void *state;
    struct event_base *base;
    struct event *tidy;
    struct ipc_handlers handlers;
    struct ipc_channel *master;
    struct settings settings;
    STAILQ_HEAD(, child_peer) peers;
    STAILQ_HEAD(, child_request) requests;
    uint32_t index;
    uid_t uid;
    gid_t gid;
    bool running, draining, held;
    int status;
    char log_name[32];
};

struct child *child_this(void);
void child_admin_request(void *context, struct ipc_channel *channel, struct ipc_admin_request *m);
