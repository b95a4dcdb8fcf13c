/*
 * The first process: reads the configuration, binds, starts the others and keeps them running. It
 * reads no byte from the network. Files: main.c (command line, order of a start and of an end),
 * listeners.c, children.c (spawn, wire, restart), users.c, certificate.c, notify.c (systemd),
 * screen.c (what a person sees).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "config/config.h"
#include "config/data.h"
#include "ipc/ipc.h"

struct event;
struct event_base;

enum { LISTENERS_MAX = CONFIG_LISTEN_MAX + 2 };

struct options {
    const char *self;   /* what to type for `restante` */
    const char *config; /* absolute, or NULL */
    const char *data;
    const char *cert, *key;
    bool allow_plain;
    struct config listen; /* its listen list: from --listen */
};

struct listener {
    struct address address;
    enum ipc_protocol protocol;
    bool tls;
    uint16_t busy_port; /* the one wanted, where another had to be taken */
    bool internal;      /* lmtp.sock and control.sock of the data directory */
    int fd;
};

enum process_state {
    PROCESS_DOWN, /* waits for its turn to start again */
    PROCESS_STARTING,
    PROCESS_READY,
    PROCESS_GONE, /* ended in order */
};

struct process {
    TAILQ_ENTRY(process) next;
    struct master *master;
    enum ipc_role role;
    uint32_t index;
    enum process_state state;
    int pid;
    struct ipc_channel *channel;
    struct event *restart;
    struct event *late; /* while it starts */
    uint64_t started_us;
    uint32_t crashes; /* in a row, none of which lived a minute */
    uint32_t restarts;
};

struct user {
    uint32_t uid, gid; /* 0: who we are */
};

enum master_state { MASTER_STARTING, MASTER_RUNNING, MASTER_DRAINING };

struct master {
    struct event_base *base;
    struct options options;
    struct config config;
    struct data data;
    struct listener listeners[LISTENERS_MAX];
    size_t listener_count;
    TAILQ_HEAD(, process) processes;
    char chain[4096], key[4096]; /* the certificate in use: paths */
    char fingerprint[128];
    enum master_state state;
    unsigned draining_roles; /* the roles that have been told to stop */
    struct event *drain_deadline;
    uint64_t draining_since_us;
    bool finished;
    int status; /* exit status */
};

/* ---- listeners.c: all bound before any child starts ---------------------------------------- */
bool listeners_bind(struct master *master, struct error *error);

/* ---- users.c ------------------------------------------------------------------------------- */
/* As root: the system user of that role, or a number of the unassigned range (said in one line);
 * otherwise {0, 0}. */
struct user user_of(enum ipc_role role);
bool users_give_data(struct master *master, struct error *error);

/* ---- certificate.c: by short-lived runs of restante-tls, so that master links no OpenSSL --------
 */
/* Checks the configured pair, or makes a self-signed one; fills chain, key, fingerprint. On false
 * the old ones stay. */
bool certificate_load(struct master *master, struct error *error);

/* ---- children.c ---------------------------------------------------------------------------- */
/* Where a program lies: beside this one, else in the libexec directory. */
bool child_program_path(const char *name, char *path, size_t size);
void children_create(struct master *master);
void children_start(struct master *master);
void children_reaped(struct master *master); /* SIGCHLD */
void children_send_settings(struct master *master);
void children_send_certificate(struct master *master);
void children_drain(struct master *master);
void children_kill(struct master *master);

/* ---- notify.c ------------------------------------------------------------------------------ */
void notify(const char *state); /* sd_notify(3), when NOTIFY_SOCKET is set */

/* ---- admin.c: what control asks of master ---------------------------------------------------- */
void master_admin_request(void *context, struct ipc_channel *channel,
                          struct ipc_admin_request *message);

/* ---- main.c -------------------------------------------------------------------------------- */
void master_reload(struct master *master);
void master_all_ready(struct master *master);
void master_failed(struct master *master, const char *reason);
void master_finish(struct master *master);

/* ---- screen.c ------------------------------------------------------------------------------ */
void screen_print(const struct master *master);
