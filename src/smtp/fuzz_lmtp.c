/*
 * Property: LMTP gives the same answers and stores the same bytes however the input is split; it
 * never leaks a charge, and never takes an end of DATA where a plain search for the five bytes
 * CR LF . CR LF finds none. The first two bytes choose the split.
 */
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "door/fake_door.h"

static const char prelude[] = "LHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@x>\r\n";

static void play(struct fake_door *fake, struct slice input, size_t split)
{
    fake_door_init(fake);
    fake->settings.limit_line = 1000;
    fake->settings.message_size = 2000;
    fake_door_open(fake, &lmtp_door);
    fake_door_feed(fake, slice_str(prelude));
    fake_door_feed(fake, slice_sub(input, 0, split));
    fake_door_feed(fake, slice_sub(input, split, input.size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake_door whole, parts;
    if (size < 2 || size > 4000) {
        return 0;
    }
    log_init("fuzz", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    struct slice input = slice_make(data + 2, size - 2);
    size_t split = (size_t)(data[0] | data[1] << 8) % (input.size + 1);
    play(&whole, input, input.size);
    play(&parts, input, split);
    ASSERT(slice_equal(buf_slice(&whole.output), buf_slice(&parts.output)));
    ASSERT(whole.closed == parts.closed && whole.delivery_count == parts.delivery_count);
    for (size_t i = 0; i < whole.delivery_count; i++) {
        ASSERT(slice_equal(buf_slice(&whole.deliveries[i].message),
                           buf_slice(&parts.deliveries[i].message)));
    }
    if (slice_starts(input, SLICE_LITERAL("DATA\r\n")) && whole.delivery_count > 0) {
        /* The CRLF of the command is the first half of an end (RFC 5321 4.5.2). */
        ASSERT(memmem(input.data + 4, input.size - 4, "\r\n.\r\n", 5) != NULL);
    }
    fake_door_finish(&whole);
    fake_door_finish(&parts);
    return 0;
}
