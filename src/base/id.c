#include "base/id.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/assert.h"

void id_random_bytes(void *bytes, size_t size)
{
    for (uint8_t *at = bytes; size > 0;) {
        ssize_t got = getrandom(at, size, 0);
        ASSERT(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}

struct id id_random(void)
{
    struct id id = {{0}};
    id_random_bytes(id.bytes, sizeof(id.bytes));
    return id;
}

int id_compare(struct id a, struct id b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes));
}

bool id_equal(struct id a, struct id b)
{
    return id_compare(a, b) == 0;
}

bool id_is_zero(struct id id)
{
    return id_equal(id, (struct id){{0}});
}

struct id_text id_text(struct id id)
{
    struct id_text out;
    for (size_t i = 0; i < sizeof(id.bytes); i++)
        snprintf(out.text + 2 * i, 3, "%02x", id.bytes[i]);
    return out;
}

static int hex_digit(uint8_t c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool id_parse(struct slice text, struct id *id)
{
    if (text.size != 2 * sizeof(id->bytes))
        return false;
    for (size_t i = 0; i < sizeof(id->bytes); i++) {
        int high = hex_digit(text.data[2 * i]);
        int low = hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        id->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
