/*
 * The local engine: the conformance suite on a volume in a directory of its own, with the sizes a
 * server uses and with sizes so small that segments, checkpoints, snapshots and compaction come all
 * the time.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "store/conformance_priv.h"

static char directory[] = "test_local.XXXXXX";
static struct store_local_options options;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static void wipe(void *arg)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct store *open_local(void *arg, struct event_base *base)
{
    struct store *store = NULL;
    struct error error = {""};
    if (!store_local_open(base, directory, &options, &store, &error))
        fail_msg("%s", error.text);
    return store;
}

static void close_local(void *arg, struct store **store)
{
    store_close(store);
}

int main(void)
{
    struct conformance_engine engine = {.wipe = wipe, .open = open_local, .close = close_local};
    if (mkdtemp(directory) == NULL)
        return 1;
    engine.name = "local, small";
    options = (struct store_local_options){.segment_size = 256 << 10,
                                           .checkpoint_operations = 20,
                                           .checkpoint_bytes = 64 << 10,
                                           .checkpoint_ms = 5,
                                           .snapshot_operations = 50,
                                           .journal_keep_s = 1,
                                           .compact_percent = 70,
                                           .reader_threads = 2,
                                           .create = true};
    int failed = conformance_run(&engine);
    engine.name = "local";
    options = (struct store_local_options){.segment_size = 8 << 20, .create = true};
    failed += conformance_run(&engine);
    wipe(NULL);
    return failed;
}
