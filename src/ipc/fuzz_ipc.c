/*
 * Property: whatever packet is accepted is exactly what we would send for what was understood -
 * decoding, then encoding again, gives the same bytes. So nothing in a packet can be ignored, and
 * two peers cannot read one packet in two ways.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "io/fd.h"
#include "ipc/ipc_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int fds[FD_PASS_MAX] = {100, 101, 102, 103};
    for (int count = 0; count <= FD_PASS_MAX; count++) {
        enum ipc_type type;
        union ipc_message message;
        struct buf again = {0};
        int again_fds[FD_PASS_MAX];
        int again_count = 0;
        if (!ipc_decode(slice_make(data, size), fds, count, &type, &message))
            continue;
        ipc_encode(type, &message, &again, again_fds, &again_count);
        ASSERT(again_count == count);
        ASSERT(slice_equal(buf_slice(&again), slice_make(data, size)));
        for (int i = 0; i < count; i++)
            ASSERT(again_fds[i] == fds[i]);
        buf_finish(&again);
    }
    return 0;
}
