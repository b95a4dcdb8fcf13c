/*
 * Who the children become when we are root. Installed, sysusers.d has made a user for each role;
 * elsewhere (a build tree, a container) numbers are taken from a range that systemd keeps free
 * (60578-60705 and 61184-65519 are its own; uids.md says 60706-61183 is unassigned), so that two
 * roles never share one and none is a person's.
 */
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "master/master.h"

enum { FREE_UID = 60710 };

static const struct {
    enum ipc_role role;
    const char *name;
} names[] = {
    {IPC_TLS, "restante-tls"},       {IPC_DOOR, "restante-door"},
    {IPC_AUTH, "restante-auth"},     {IPC_WORKER, "restante-mail"},
    {IPC_READER, "restante-reader"}, {IPC_CONTROL, "restante-control"},
};

struct user user_of(enum ipc_role role)
{
    static bool said;
    if (geteuid() != 0)
        return (struct user){0, 0};
    for (uint32_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (names[i].role != role)
            continue;
        const struct passwd *entry = getpwnam(names[i].name);
        if (entry != NULL && entry->pw_uid != 0)
            return (struct user){entry->pw_uid, entry->pw_gid};
        if (!said)
            log_info("users_numbered",
                     "reason=\"no user %s: processes take the unassigned uids %d to %d\"",
                     names[i].name, FREE_UID, FREE_UID + 5);
        said = true;
        return (struct user){FREE_UID + i, FREE_UID + i};
    }
    return (struct user){0, 0};
}

bool users_give_data(struct master *master, struct error *error)
{
    struct user auth = user_of(IPC_AUTH);
    struct user mail = user_of(IPC_WORKER);
    char name[32];
    if (geteuid() != 0)
        return true;
    if (chmod(master->data.path, 0711) != 0)
        return error_errno(error, "%s", master->data.path);
    if (!data_give(&master->data, "auth", auth.uid, auth.gid, error))
        return false;
    for (uint32_t i = 0; i < master->data.volumes; i++) {
        snprintf(name, sizeof(name), "volumes/%u", i);
        if (!data_give(&master->data, name, mail.uid, mail.gid, error))
            return false;
    }
    return true;
}
