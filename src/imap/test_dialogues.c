/*
 * Plays tests/dialogues/imap, each in whole lines and byte by byte; "USE door" plays the part
 * before login against a door in memory.
 */
#include <glob.h>
#include <signal.h>
#include <stdio.h>

#include "../../tests/dialogues/dialogue.h"
#include "base/log.h"
#include "test_world.h"

static void *client_open(void *arg, int number, bool door)
{
    return world_connect(arg, door);
}

static void client_send(void *connection, struct slice bytes)
{
    connection_send(connection, bytes);
}

static enum dialogue_read client_read(void *connection, struct buf *line)
{
    int result = connection_line(connection, line);
    return result > 0 ? DIALOGUE_LINE : result < 0 ? DIALOGUE_CLOSED : DIALOGUE_NOTHING;
}

static void deliver(void *arg, struct slice mailbox, struct slice message)
{
    world_deliver(arg, mailbox, message);
}

static bool play(const char *path, bool byte_by_byte)
{
    struct world world;
    struct buf problem = {0};
    world_open(&world);
    const struct dialogue_peer peer = {client_open, client_send, client_read, deliver, &world};
    bool good = dialogue_play(path, byte_by_byte, &peer, &problem);
    if (!good)
        fprintf(stderr, "FAILED %s\n", (char *)problem.data);
    if (!world_close(&world)) {
        fprintf(stderr, "FAILED %s: a session outlives its client\n", path);
        good = false;
    }
    buf_finish(&problem);
    return good;
}

/* argv: the files, or directories of *.dlg. */
int main(int argc, char **argv)
{
    int played = 0, failed = 0;
    signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    for (int i = 1; i < argc; i++) {
        struct buf pattern = {0};
        glob_t files;
        buf_printf(&pattern, strstr(argv[i], ".dlg") == NULL ? "%s/*.dlg" : "%s", argv[i]);
        buf_u8(&pattern, 0);
        if (glob((char *)pattern.data, 0, NULL, &files) == 0) {
            for (size_t f = 0; f < files.gl_pathc; f++) {
                bool good = play(files.gl_pathv[f], false) && play(files.gl_pathv[f], true);
                played++;
                failed += !good;
            }
            globfree(&files);
        }
        buf_finish(&pattern);
    }
    printf("%d dialogues, %d failed\n", played, failed);
    return played == 0 || failed > 0;
}
