/*
 * One state bit and memchr: runs between line feeds are copied whole. Does not add a line end to a
 * message that lacks its last one; who takes the message decides that.
 */
#include "io/crlf.h"

void crlf_add(struct crlf *crlf, struct slice input, struct buf *out)
{
    size_t copied = 0;
    size_t from = 0;
    while (from < input.size) {
        const uint8_t *found = memchr(input.data + from, '\n', input.size - from);
        if (found == NULL)
            break;
        size_t at = (size_t)(found - input.data);
        bool after_cr = at == 0 ? crlf->after_cr : input.data[at - 1] == '\r';
        if (!after_cr) {
            buf_add(out, input.data + copied, at - copied);
            buf_u8(out, '\r');
            copied = at;
        }
        from = at + 1;
    }
    buf_add(out, input.data + copied, input.size - copied);
    if (input.size > 0)
        crlf->after_cr = input.data[input.size - 1] == '\r';
}
