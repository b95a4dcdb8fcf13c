/*
 * Making and locking the data directory. Everything is made so that a crash at any point leaves
 * something that the next start completes: restante.id is written aside, synced and renamed.
 */
#include "config/data.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"
#include "io/fd.h"

enum { FORMAT = 1, PATH_ROOM = 4096 };

static const char installed[] = "/var/lib/restante";

bool data_path(const char *given, char *path, size_t size, struct error *error)
{
    char text[PATH_ROOM];
    const char *share = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    if (given != NULL)
        snprintf(text, sizeof(text), "%s", given);
    else if (geteuid() == 0 && access(installed, F_OK) == 0)
        snprintf(text, sizeof(text), "%s", installed);
    else if (share != NULL && share[0] == '/')
        snprintf(text, sizeof(text), "%s/restante", share);
    else if (home != NULL && home[0] == '/')
        snprintf(text, sizeof(text), "%s/.local/share/restante", home);
    else
        return error_set(error, "no HOME: say where the mail is with --data DIR");
    char here[PATH_ROOM] = "";
    if (text[0] != '/' && getcwd(here, sizeof(here)) == NULL)
        return error_errno(error, "working directory");
    if (snprintf(path, size, "%s%s%s", here, text[0] == '/' ? "" : "/", text) >= (int)size)
        return error_set(error, "the path of the data directory is too long");
    return true;
}

/* All parents too: they get the usual mode, the last one 0711 for root (children of other users
 * pass through), else 0700. */
static bool make_path(const char *path, struct error *error)
{
    char text[PATH_ROOM];
    snprintf(text, sizeof(text), "%s", path);
    for (char *at = strchr(text + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(text, 0755) != 0 && errno != EEXIST)
            return error_errno(error, "%s", text);
        *at = '/';
    }
    if (mkdir(text, geteuid() == 0 ? 0711 : 0700) != 0 && errno != EEXIST)
        return error_errno(error, "%s", text);
    return true;
}

static bool make_directory(const struct data *data, const char *name, mode_t mode,
                           struct error *error)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/%s", data->path, name);
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return error_errno(error, "%s", path);
    return true;
}

static bool take_lock(struct data *data, struct error *error)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/lock", data->path);
    data->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (data->lock < 0)
        return error_errno(error, "%s", path);
    if (flock(data->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno != EWOULDBLOCK)
        return error_errno(error, "%s", path);
    return error_set(error, "%s is in use by another restante", data->path);
}

static bool read_id(struct data *data, const char *path, struct error *error)
{
    char text[128] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(error, "%s", path);
    ssize_t size = read(fd, text, sizeof(text) - 1);
    fd_close(&fd);
    struct slice rest = slice_make(text, size < 0 ? 0 : (size_t)size);
    struct slice line = slice_split(&rest, '\n');
    struct slice word = slice_split(&line, ' ');
    uint32_t format;
    if (!slice_equal_str(word, "restante") || !slice_u32(line, &format) ||
        !id_parse(slice_split(&rest, '\n'), &data->id))
        return error_set(error, "%s is not what restante wrote: restore it from a backup", path);
    if (format > FORMAT)
        return error_set(error, "%s was made by a newer restante (format %u, this one knows %d)",
                         data->path, format, FORMAT);
    return true;
}

static bool sync_directory(const char *path, struct error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (!good)
        error_errno(error, "%s", path);
    fd_close(&fd);
    return good;
}

static bool write_id(struct data *data, const char *path, struct error *error)
{
    char aside[PATH_ROOM + 8], text[128];
    data->id = id_random();
    int size = snprintf(text, sizeof(text), "restante %d\n%s\n", FORMAT, id_text(data->id).text);
    snprintf(aside, sizeof(aside), "%s.new", path);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool good = fd >= 0 && write(fd, text, (size_t)size) == size && fsync(fd) == 0 &&
                rename(aside, path) == 0;
    if (!good)
        error_errno(error, "%s", path);
    fd_close(&fd);
    return good && sync_directory(data->path, error);
}

static bool make_volumes(struct data *data, uint32_t wanted, struct error *error)
{
    char path[PATH_ROOM];
    for (data->volumes = 0; data->volumes < DATA_VOLUMES_MAX; data->volumes++) {
        snprintf(path, sizeof(path), "%s/volumes/%u", data->path, data->volumes);
        if (access(path, F_OK) == 0)
            continue;
        if (data->volumes >= wanted)
            break;
        if (mkdir(path, 0700) != 0)
            return error_errno(error, "%s", path);
    }
    snprintf(path, sizeof(path), "%s/volumes", data->path);
    return sync_directory(path, error);
}

bool data_open(struct data *data, const char *path, uint32_t volumes, struct error *error)
{
    char id_path[PATH_ROOM];
    *data = (struct data){.lock = -1};
    snprintf(data->path, sizeof(data->path), "%s", path);
    snprintf(id_path, sizeof(id_path), "%s/restante.id", data->path);
    bool good = make_path(path, error) && take_lock(data, error);
    bool fresh = good && access(id_path, F_OK) != 0;
    good = good && (fresh || read_id(data, id_path, error)) &&
           make_directory(data, "auth", 0700, error) && make_directory(data, "tls", 0700, error) &&
           make_directory(data, "run", 0755, error) &&
           make_directory(data, "volumes", 0711, error) && make_volumes(data, volumes, error) &&
           (!fresh || write_id(data, id_path, error));
    if (!good)
        data_close(data);
    return good;
}

void data_close(struct data *data)
{
    fd_close(&data->lock);
}

static uid_t give_uid;
static gid_t give_gid;

static int give_one(const char *path, const struct stat *about, int type, struct FTW *ftw)
{
    return lchown(path, give_uid, give_gid);
}

bool data_give(const struct data *data, const char *directory, uid_t uid, gid_t gid,
               struct error *error)
{
    char path[PATH_ROOM];
    struct stat about;
    snprintf(path, sizeof(path), "%s/%s", data->path, directory);
    if (stat(path, &about) == 0 && about.st_uid == uid)
        return true;
    give_uid = uid;
    give_gid = gid;
    /* Depth first: the top is his only when all below is, so a crash on the way is completed. */
    if (nftw(path, give_one, 16, FTW_PHYS | FTW_DEPTH) != 0)
        return error_errno(error, "cannot give %s to user %u", path, (unsigned)uid);
    return true;
}
