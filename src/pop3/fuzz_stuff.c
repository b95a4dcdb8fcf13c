/*
 * Property: a client that takes the dots away again (RFC 1939 3) has the message, with a CRLF
 * behind it if it had none, and sees the end where we meant it; in any split.
 */
#include <event2/buffer.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "pop3/stuff.h"

/* As a client reads: lines by CRLF, a first dot dropped, the end at a line of one dot. */
static size_t unstuff(struct slice sent, struct buf *message)
{
    size_t at = 0;
    for (;;) {
        const uint8_t *end = memmem(sent.data + at, sent.size - at, "\r\n", 2);
        ASSERT(end != NULL);
        size_t next = (size_t)(end - sent.data) + 2;
        if (sent.data[at] == '.') {
            if (next - at == 3) {
                return next;
            }
            at++;
        }
        buf_add(message, sent.data + at, next - at);
        at = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct evbuffer *piece = evbuffer_new(), *out = evbuffer_new();
    struct pop3_stuff stuff = {0};
    struct buf message = {0};
    size_t split = data[0] % (size - 1), rest = size - 1 - split;
    evbuffer_add(piece, data + 1, split);
    pop3_stuff_add(&stuff, piece, out);
    evbuffer_add(piece, data + 1 + split, rest);
    pop3_stuff_add(&stuff, piece, out);
    pop3_stuff_end(&stuff, out);
    struct slice sent = slice_make(evbuffer_pullup(out, -1), evbuffer_get_length(out));
    ASSERT(unstuff(sent, &message) == sent.size);
    ASSERT(slice_starts(buf_slice(&message), slice_make(data + 1, size - 1)));
    ASSERT(message.size == size - 1 || message.size == size + 1);
    buf_finish(&message);
    evbuffer_free(piece);
    evbuffer_free(out);
    return 0;
}
