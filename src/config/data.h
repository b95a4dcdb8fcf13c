/*
 * The data directory, for master and for commands that work while no server runs:
 *
 *   restante.id    "restante 1" and the store's identity; a higher number is refused
 *   lock           held by whoever may write: master, or a command without a server
 *   auth/          auth's volume          volumes/N/   the mail, N from 0
 *   tls/           self-signed certificate and key
 *   run/           control.sock, lmtp.sock
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/id.h"

enum { DATA_VOLUMES_MAX = 256 };

struct data {
    char path[4000];
    struct id id;
    uint32_t volumes;
    int lock; /* descriptor */
};

/* given: --data, or NULL: /var/lib/restante for root where it exists, else
 * $XDG_DATA_HOME/restante, else ~/.local/share/restante. Made absolute. */
bool data_path(const char *given, char *path, size_t size, struct error *error);
/* Makes what is missing (volumes: how many a new store gets; later only more), takes the lock.
 * False: another server has it, it belongs to somebody else, it is newer than this program. */
bool data_open(struct data *data, const char *path, uint32_t volumes, struct error *error);
void data_close(struct data *data);
/* As root: gives a directory below data to the user who works in it, with all that is in it unless
 * it is his already. */
bool data_give(const struct data *data, const char *directory, uid_t uid, gid_t gid,
               struct error *error);
