/* What a disk holds after a power cut: see disk.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

struct file {
    bool directory;
    uint8_t *data;
    size_t size, room;
};

struct entry {
    uint32_t directory, node;
    char name[64];
};

struct tree {
    struct file files[DISK_NODES];
    struct entry *entries;
    size_t count, room;
    uint32_t node_count;
};

/* ---- trees --------------------------------------------------------------------------------- */

static struct tree *tree_create(void)
{
    struct tree *tree = calloc(1, sizeof(*tree));
    tree->node_count = 2;
    tree->files[1].directory = true;
    return tree;
}

void tree_destroy(struct tree **tree)
{
    if (*tree == NULL)
        return;
    for (uint32_t i = 0; i < DISK_NODES; i++)
        free((*tree)->files[i].data);
    free((*tree)->entries);
    free(*tree);
    *tree = NULL;
}

static void resize(struct file *file, size_t size)
{
    if (size > file->room) {
        file->room = size * 2;
        file->data = realloc(file->data, file->room);
    }
    if (size > file->size)
        memset(file->data + file->size, 0, size - file->size);
    file->size = size;
}

static void put(struct file *file, uint64_t offset, const uint8_t *data, size_t size)
{
    if (offset + size > file->size)
        resize(file, offset + size);
    memcpy(file->data + offset, data, size);
}

static void link_name(struct tree *tree, uint32_t directory, const char *name, uint32_t node)
{
    for (size_t i = 0; i < tree->count; i++)
        if (tree->entries[i].directory == directory && strcmp(tree->entries[i].name, name) == 0) {
            tree->entries[i].node = node;
            return;
        }
    if (tree->count == tree->room) {
        tree->room = tree->room == 0 ? 64 : tree->room * 2;
        tree->entries = realloc(tree->entries, tree->room * sizeof(*tree->entries));
    }
    struct entry *entry = &tree->entries[tree->count++];
    *entry = (struct entry){directory, node, ""};
    snprintf(entry->name, sizeof(entry->name), "%s", name);
}

static void unlink_name(struct tree *tree, uint32_t directory, const char *name, uint32_t node)
{
    for (size_t i = 0; i < tree->count; i++) {
        const struct entry *entry = &tree->entries[i];
        if (entry->directory == directory && entry->node == node &&
            strcmp(entry->name, name) == 0) {
            tree->entries[i] = tree->entries[--tree->count];
            return;
        }
    }
}

static struct tree *copy(const struct tree *from)
{
    struct tree *tree = tree_create();
    for (uint32_t i = 1; i < from->node_count; i++) {
        tree->files[i].directory = from->files[i].directory;
        if (from->files[i].size > 0)
            put(&tree->files[i], 0, from->files[i].data, from->files[i].size);
    }
    for (size_t i = 0; i < from->count; i++)
        link_name(tree, from->entries[i].directory, from->entries[i].name, from->entries[i].node);
    tree->node_count = from->node_count;
    return tree;
}

/* ---- reading and writing them -------------------------------------------------------------- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void read_file(struct file *file, const char *path, size_t size)
{
    int fd = open(path, O_RDONLY);
    resize(file, size);
    for (size_t at = 0; at < size;) {
        ssize_t got = read(fd, file->data + at, size - at);
        if (got <= 0)
            abort();
        at += (size_t)got;
    }
    close(fd);
}

static void read_into(struct tree *tree, const char *directory, uint32_t self)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, by_name);
    for (int i = 0; i < count; i++) {
        char path[4096];
        struct stat status;
        const char *name = entries[i]->d_name;
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        if (name[0] != '.' && lstat(path, &status) == 0) {
            uint32_t node = tree->node_count++;
            link_name(tree, self, name, node);
            tree->files[node].directory = S_ISDIR(status.st_mode);
            if (S_ISDIR(status.st_mode))
                read_into(tree, path, node);
            else
                read_file(&tree->files[node], path, (size_t)status.st_size);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

struct tree *tree_read(const char *directory)
{
    struct tree *tree = tree_create();
    read_into(tree, directory, 1);
    return tree;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return walk->level == 0 ? 0 : remove(path);
}

void directory_clear(const char *directory)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* An hour old, so that what is kept for some time has been kept. */
static bool write_file(const struct file *file, const char *path)
{
    struct timespec old[2] = {{0}, {0}};
    struct stat status;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return false;
    bool good = true;
    for (size_t at = 0; good && at < file->size;) {
        ssize_t put_size = write(fd, file->data + at, file->size - at);
        good = put_size > 0;
        at += good ? (size_t)put_size : 0;
    }
    if (fstat(fd, &status) == 0) {
        old[0].tv_sec = old[1].tv_sec = status.st_mtim.tv_sec - 3600;
        futimens(fd, old);
    }
    close(fd);
    return good;
}

static bool write_from(const struct tree *tree, uint32_t self, const char *directory)
{
    bool good = true;
    for (size_t i = 0; good && i < tree->count; i++) {
        const struct entry *entry = &tree->entries[i];
        char path[4096];
        if (entry->directory != self)
            continue;
        snprintf(path, sizeof(path), "%s/%s", directory, entry->name);
        if (tree->files[entry->node].directory)
            good = mkdir(path, 0700) == 0 && write_from(tree, entry->node, path);
        else
            good = write_file(&tree->files[entry->node], path);
    }
    return good;
}

/* ---- what was durable ---------------------------------------------------------------------- */

void disk_settle(struct disk *disk)
{
    uint32_t *next = calloc(DISK_EVENTS, sizeof(*next)); /* event number plus 1 */
    uint32_t *first = calloc(DISK_NODES, sizeof(*first));
    for (uint32_t i = 0; i < disk->event_count; i++) {
        struct disk_event *event = &disk->events[i];
        event->durable = UINT32_MAX;
        switch (event->kind) {
        case DISK_SYNC:
        case DISK_LOST:
            for (uint32_t at = first[event->node]; at != 0; at = next[at - 1])
                if (event->kind == DISK_SYNC && disk->events[at - 1].durable == UINT32_MAX)
                    disk->events[at - 1].durable = i;
            first[event->node] = 0;
            break;
        case DISK_SYNC_WRITE:
            disk->events[event->offset].durable = i;
            break;
        case DISK_NOTE:
            break;
        default:
            next[i] = first[event->node];
            first[event->node] = i + 1;
        }
    }
    free(next);
    free(first);
}

/* ---- chance -------------------------------------------------------------------------------- */

enum way { NOTHING, ALL, SOME, SECTORS, EARLY, WAYS };

struct chance {
    uint32_t state;
    enum way writes, names;
    uint32_t percent, early; /* EARLY: what happened before that event */
};

static uint32_t dice(struct chance *chance, uint32_t below)
{
    chance->state ^= chance->state << 13;
    chance->state ^= chance->state >> 17;
    chance->state ^= chance->state << 5;
    return (uint32_t)(((uint64_t)chance->state * below) >> 32);
}

static struct chance choose(const struct cut *cut)
{
    struct chance chance = {.state = cut->seed * 2654435761u | 1};
    for (int i = 0; i < 8; i++)
        dice(&chance, 2);
    chance.writes = cut->nothing ? NOTHING : (enum way)dice(&chance, WAYS);
    chance.names = cut->nothing ? NOTHING : (enum way)dice(&chance, WAYS);
    chance.percent = dice(&chance, 2) == 0 ? 99 : 10 + dice(&chance, 85);
    uint32_t back = dice(&chance, 40);
    chance.early = cut->event > back ? cut->event - back : 0;
    return chance;
}

static bool lucky(struct chance *chance, enum way way, uint32_t event)
{
    return way == ALL || (way == EARLY && event < chance->early) ||
           ((way == SOME || way == SECTORS) && dice(chance, 100) < chance->percent);
}

static void put_sectors(struct file *file, struct chance *chance, const struct disk_event *event,
                        const uint8_t *data)
{
    for (size_t at = 0; at < event->size;) {
        size_t part = DISK_SECTOR - (event->offset + at) % DISK_SECTOR;
        part = part < event->size - at ? part : event->size - at;
        if (dice(chance, 100) < chance->percent)
            put(file, event->offset + at, data + at, part);
        at += part;
    }
}

/* ---- the image ----------------------------------------------------------------------------- */

static void apply_name(struct tree *tree, const struct disk_event *event, const char *name)
{
    switch (event->kind) {
    case DISK_MKDIR:
        tree->files[event->other].directory = true;
        link_name(tree, event->node, name, event->other);
        break;
    case DISK_CREATE:
        link_name(tree, event->node, name, event->other);
        break;
    case DISK_UNLINK:
        unlink_name(tree, event->node, name, event->other);
        break;
    default:
        unlink_name(tree, event->node, name, event->other);
        link_name(tree, (uint32_t)event->offset, name + strlen(name) + 1, event->other);
    }
}

static void apply(struct tree *tree, const struct disk *disk, uint32_t number, bool durable,
                  struct chance *chance)
{
    const struct disk_event *event = &disk->events[number];
    const uint8_t *data = disk->log + event->data;
    struct file *file = &tree->files[event->node];
    switch (event->kind) {
    case DISK_WRITE:
        if (!durable && chance->writes == SECTORS)
            put_sectors(file, chance, event, data);
        else if (durable || lucky(chance, chance->writes, number))
            put(file, event->offset, data, event->size);
        break;
    case DISK_TRUNCATE:
        if (durable || lucky(chance, chance->writes, number))
            resize(file, event->offset);
        break;
    case DISK_CREATE:
    case DISK_MKDIR:
    case DISK_UNLINK:
    case DISK_RENAME:
        if (durable || lucky(chance, chance->names, number))
            apply_name(tree, event, (const char *)data);
        break;
    case DISK_SYNC:
    case DISK_SYNC_WRITE:
    case DISK_LOST:
    case DISK_NOTE:
        break;
    }
}

bool image_write(const struct disk *disk, const struct tree *before, const struct cut *cut,
                 const char *directory)
{
    struct tree *tree = copy(before);
    struct chance chance = choose(cut);
    for (uint32_t i = 0; i < cut->event; i++)
        apply(tree, disk, i, disk->events[i].durable < cut->event, &chance);
    struct file *flipped = &tree->files[cut->flip_node];
    if (cut->flip_node != 0 && cut->flip_at < flipped->size)
        flipped->data[cut->flip_at] ^= (uint8_t)(1u << dice(&chance, 8));
    directory_clear(directory);
    bool good = write_from(tree, 1, directory);
    tree_destroy(&tree);
    return good;
}
