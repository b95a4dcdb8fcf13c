/*
 * The account database without a server: under the lock of the data directory, opened as auth opens
 * it, asked by the same verbs. As root the files are written as the user who owns them, so that the
 * server, which gave up root, can use them afterwards.
 *
 * An account deleted here is wiped by the worker when the server runs next.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/admin.h"
#include "base/mem.h"
#include "config/data.h"
#include "ctl/ctl.h"

enum { SEGMENT = 4 << 20, THREADS = 2 };

static struct offline {
    bool open;
    struct data data;
    struct event_base *base;
    struct store *store;
    struct auth_accounts *accounts;
    struct hasher *hasher;
    struct admin_host host;
    int loaded; /* 1: yes, -1: no */
    char trouble[200];
    json_t *answer;
} offline;

static void on_opened(void *arg, bool good, const char *trouble)
{
    offline.loaded = good ? 1 : -1;
    snprintf(offline.trouble, sizeof(offline.trouble), "%s", trouble == NULL ? "" : trouble);
}

static bool database_open(const char *directory, struct error *error)
{
    struct store_local_options options = {.create = true, .segment_size = SEGMENT};
    uint32_t volumes[DATA_VOLUMES_MAX];
    if (!store_local_open(offline.base, directory, &options, &offline.store, error))
        return error_prefix(error, "account database");
    offline.accounts = auth_accounts_open(offline.store, on_opened, NULL);
    while (offline.loaded == 0)
        event_base_loop(offline.base, EVLOOP_ONCE);
    if (offline.loaded < 0)
        return error_set(error, "%s", offline.trouble);
    for (uint32_t i = 0; i < offline.data.volumes; i++)
        volumes[i] = i;
    auth_accounts_volumes(offline.accounts, volumes, offline.data.volumes);
    offline.hasher = hasher_create(offline.base, THREADS);
    offline.host = (struct admin_host){.accounts = offline.accounts, .hasher = offline.hasher};
    return true;
}

static bool offline_open(const struct ctl_data *data, struct error *error)
{
    char path[4100];
    struct stat about;
    snprintf(path, sizeof(path), "%s/restante.id", data->path);
    if (access(path, F_OK) != 0)
        return error_set(error,
                         "there is no store in %s: start one with restante serve, or say where it "
                         "is with --data DIR",
                         data->path);
    offline.data.lock = -1;
    if (!data_open(&offline.data, data->path, 0, error))
        return error_prefix(error, "no server answers there, and without one");
    snprintf(path, sizeof(path), "%s/auth", data->path);
    if (stat(path, &about) != 0)
        return error_errno(error, "%s", path);
    if (geteuid() == 0 && about.st_uid != 0 &&
        (setegid(about.st_gid) != 0 || seteuid(about.st_uid) != 0))
        return error_errno(error, "cannot work as the owner of %s", path);
    password_warm_up();
    offline.base = event_base_new();
    offline.open = true;
    return database_open(path, error);
}

static void on_answer(void *arg, bool ok, struct slice json)
{
    offline.answer = json_loadb((const char *)json.data, json.size, 0, NULL);
}

json_t *ctl_offline_ask(const struct ctl_data *data, json_t *request, struct error *error)
{
    struct slice verb = slice_str(json_string_value(json_object_get(request, "verb")));
    if (!offline.open && !offline_open(data, error))
        return NULL;
    char *text = json_dumps(request, JSON_COMPACT);
    offline.answer = NULL;
    bool known = admin_request(&offline.host, verb, slice_str(text), on_answer, NULL);
    while (known && (offline.answer == NULL || auth_accounts_busy(offline.accounts)))
        event_base_loop(offline.base, EVLOOP_ONCE);
    mem_wipe(text, strlen(text));
    free(text);
    if (!known)
        error_set(error, "only a running server can do that: restante serve");
    return offline.answer;
}

bool ctl_offline_is_open(void)
{
    return offline.open;
}

void ctl_offline_close(void)
{
    if (!offline.open)
        return;
    hasher_destroy(&offline.hasher);
    store_close(&offline.store);
    auth_accounts_close(&offline.accounts);
    event_base_free(offline.base);
    data_close(&offline.data);
    offline.open = false;
    if (geteuid() != getuid() && getuid() == 0 && (seteuid(0) != 0 || setegid(0) != 0))
        ctl_fail("cannot become root again");
}
