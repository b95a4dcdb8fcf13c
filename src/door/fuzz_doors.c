/*
 * The part before login as a whole, fed by scripts: IMAP and POP3 at a door in memory. Properties:
 * answers, the end and what is handed over do not depend on how the bytes were cut; what is handed
 * over is the end of what was sent; no answer comes twice or out of order; nothing behind STARTTLS
 * in the same packet is carried out (RFC 3501 11.1, the command injection of 2011).
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "door/fake_door.h"
#include "door/fuzz_script.h"

enum { COMMANDS_MAX = 12 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct play {
    const struct door_protocol *protocol;
    bool tls, damaged;
    unsigned commands;
    struct buf sent;
};

static void compose(struct play *play, struct script *script)
{
    while (play->commands < COMMANDS_MAX && !script_over(script)) {
        struct buf command = {0};
        if (play->protocol == &imap_door) {
            buf_printf(&command, "t%u ", play->commands);
            script_imap_door(script, &command);
        } else {
            script_pop3_door(script, &command);
        }
        play->commands++;
        if (play->damaged)
            script_damage(script, &command);
        buf_add_slice(&play->sent, buf_slice(&command));
        buf_finish(&command);
    }
}

static void run(const struct play *play, struct fake_door *fake, size_t split, size_t step)
{
    struct slice sent = buf_slice(&play->sent);
    fake_door_init(fake);
    fake->settings.limit_bad_commands = 5;
    fake->settings.limit_line = 1000;
    fake->tls_available = play->tls;
    fake_door_open(fake, play->protocol);
    fake_door_feed(fake, slice_sub(sent, 0, split));
    for (size_t at = split; at < sent.size; at += step)
        fake_door_feed(fake, slice_sub(sent, at, step));
}

/* t0, t1, ...: each once at most and none before its elders. */
static void check_order(const struct fake_door *fake)
{
    struct slice rest = buf_slice(&fake->output);
    int last = -1;
    while (rest.size > 0) {
        struct slice line = slice_split(&rest, '\n');
        unsigned number;
        char text[24] = "";
        ASSERT(line.size > 0 && line.data[line.size - 1] == '\r');
        memcpy(text, line.data, line.size < sizeof(text) ? line.size : sizeof(text) - 1);
        if (sscanf(text, "t%u ", &number) != 1)
            continue;
        ASSERT((int)number > last);
        last = (int)number;
    }
}

static bool ends_with(const struct buf *text, const struct buf *end)
{
    return end->size <= text->size &&
           slice_equal(slice_sub(buf_slice(text), text->size - end->size, end->size),
                       buf_slice(end));
}

static void check_same(const struct fake_door *whole, const struct fake_door *parts)
{
    ASSERT(slice_equal(buf_slice(&whole->output), buf_slice(&parts->output)));
    ASSERT(whole->closed == parts->closed && whole->handed_over == parts->handed_over);
    if (!whole->handed_over)
        return;
    ASSERT(slice_equal(buf_slice(&whole->tag), buf_slice(&parts->tag)));
    ASSERT(slice_starts(buf_slice(&whole->readahead), buf_slice(&parts->readahead)));
}

/* The last word before the end is the one that answers STARTTLS. */
static void check_injection(const struct fake_door *fake)
{
    struct slice said = buf_slice(&fake->output), line = SLICE_NONE;
    while (said.size > 0)
        line = slice_split(&said, '\n');
    ASSERT(fake->closed && !fake->handed_over);
    ASSERT(slice_starts(line, SLICE_LITERAL("+OK Go ahead")) ||
           memmem(line.data, line.size, " OK Begin", 9) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake_door whole, parts;
    struct script script = {data, size, 0};
    if (size < 4 || size > 1000)
        return 0;
    log_init("fuzz", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    unsigned mode = script_pick(&script, 8);
    struct play play = {.protocol = (mode & 1) != 0 ? &imap_door : &pop3_door,
                        .tls = (mode & 2) != 0,
                        .damaged = (mode & 4) != 0};
    size_t split = script_pick(&script, 256) * 3, step = 1 + script_pick(&script, 64);
    compose(&play, &script);
    run(&play, &whole, play.sent.size, 1);
    run(&play, &parts, split, step);
    if (play.protocol == &imap_door && !play.damaged)
        check_order(&whole);
    if (whole.injected)
        check_injection(&whole);
    else
        check_same(&whole, &parts);
    if (whole.handed_over)
        ASSERT(ends_with(&play.sent, &whole.readahead));
    fake_door_finish(&whole);
    fake_door_finish(&parts);
    buf_finish(&play.sent);
    return 0;
}
