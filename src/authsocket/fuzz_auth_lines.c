/*
 * What Postfix, or anybody who may open the socket, says to the authentication socket. Properties:
 * answers do not depend on how the bytes were cut; each is CONT, OK or FAIL with the number of an
 * AUTH that was asked; OK comes for the right secret alone, and no AUTH has two verdicts.
 * The input: where to cut, how long the pieces are, then lines.
 */
#include <stdlib.h>
#include <string.h>

#include "authsocket/auth_door.h"
#include "base/assert.h"
#include "base/log.h"
#include "door/fake_door.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Without the greeting, which has numbers of its own. */
static struct slice answers(const struct fake_door *fake)
{
    struct slice rest = buf_slice(&fake->output);
    while (rest.size > 0 && !slice_equal_str(slice_split(&rest, '\n'), "DONE"))
        ;
    return rest;
}

static void run(struct slice sent, struct fake_door *fake, size_t split, size_t step)
{
    fake_door_init(fake);
    fake_door_open(fake, &auth_door);
    fake_door_feed(fake, slice_sub(sent, 0, split));
    for (size_t at = split; at < sent.size; at += step)
        fake_door_feed(fake, slice_sub(sent, at, step));
}

static size_t count_asked(struct slice sent, struct slice id)
{
    size_t asked = 0;
    while (sent.size > 0) {
        struct slice line = slice_split(&sent, '\n');
        if (slice_equal_str(slice_split(&line, '\t'), "AUTH"))
            asked += slice_equal(slice_split(&line, '\t'), id);
    }
    return asked;
}

static void check(struct slice said, struct slice sent)
{
    static const char secret[] = "AGFsaWNlAHNlY3JldA"; /* \0alice\0secret */
    struct slice all = said;
    while (said.size > 0) {
        struct slice line = slice_split(&said, '\n'), word = line;
        struct slice verb = slice_split(&word, '\t'), id = slice_split(&word, '\t');
        bool verdict = slice_equal_str(verb, "OK") || slice_equal_str(verb, "FAIL");
        size_t verdicts = 0;
        ASSERT(verdict || slice_equal_str(verb, "CONT"));
        ASSERT(count_asked(sent, id) > 0);
        if (slice_equal_str(verb, "OK"))
            ASSERT(memmem(sent.data, sent.size, secret, sizeof(secret) - 1) != NULL);
        for (struct slice rest = all; rest.size > 0;) {
            struct slice other = slice_split(&rest, '\n');
            bool cont = slice_equal_str(slice_split(&other, '\t'), "CONT");
            verdicts += !cont && slice_equal(slice_split(&other, '\t'), id);
        }
        ASSERT(verdicts <= count_asked(sent, id));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake_door whole, parts;
    if (size < 3 || size > 3000)
        return 0;
    log_init("fuzz", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    struct slice sent = slice_make(data + 2, size - 2);
    run(sent, &whole, sent.size, 1);
    run(sent, &parts, data[0], 1 + data[1]);
    ASSERT(whole.closed == parts.closed);
    ASSERT(slice_equal(answers(&whole), answers(&parts)));
    check(answers(&whole), sent);
    fake_door_finish(&whole);
    fake_door_finish(&parts);
    return 0;
}
