/*
 * Modified UTF-7. Two spellings of one name would be two mailboxes to a client and one to us, so
 * decoding takes only what encoding makes: printable ASCII stands for itself, all else is one
 * "&...-" run of base64 (with "," for "/", no padding) over UTF-16BE, "&" itself is "&-".
 */
#include "imap/utf7.h"

#include "base/assert.h"
#include "base/utf8.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_plain(uint32_t c)
{
    return c >= 0x20 && c < 0x7f;
}

static bool add_unit(struct buf *utf8, uint32_t unit, uint32_t *high)
{
    if (*high != 0) {
        if (unit < 0xdc00 || unit > 0xdfff)
            return false;
        unit = 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00);
        *high = 0;
    } else if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
        return true;
    } else if ((unit >= 0xdc00 && unit <= 0xdfff) || is_plain(unit) || unit == 0) {
        return false;
    }
    uint8_t bytes[4];
    size_t size = utf8_encode(unit, bytes);
    buf_add(utf8, bytes, size);
    return true;
}

/* What stands between "&" and "-". */
static bool decode_run(struct slice run, struct buf *utf8)
{
    uint32_t bits = 0, held = 0, high = 0;
    for (size_t i = 0; i < run.size; i++) {
        const char *at = run.data[i] == 0 ? NULL : strchr(alphabet, run.data[i]);
        if (at == NULL)
            return false;
        held = held << 6 | (uint32_t)(at - alphabet);
        bits += 6;
        if (bits < 16)
            continue;
        bits -= 16;
        if (!add_unit(utf8, held >> bits & 0xffff, &high))
            return false;
        held &= (1u << bits) - 1;
    }
    return bits < 6 && held == 0 && high == 0;
}

bool utf7_decode(struct slice utf7, struct buf *utf8)
{
    size_t before = utf8->size;
    bool after_run = false;
    for (size_t i = 0; i < utf7.size; i++) {
        uint8_t c = utf7.data[i];
        bool good = is_plain(c);
        if (c != '&') {
            buf_u8(utf8, c);
            after_run = false;
        } else {
            struct slice rest = slice_sub(utf7, i + 1, utf7.size);
            size_t size = slice_find(rest, '-');
            i += size + 1;
            good = size < rest.size;
            if (good && size == 0) {
                buf_u8(utf8, '&');
                after_run = false;
            } else {
                good = good && !after_run && decode_run(slice_sub(rest, 0, size), utf8);
                after_run = true;
            }
        }
        if (!good) {
            utf8->size = before;
            return false;
        }
    }
    return true;
}

struct run {
    struct buf *out;
    uint32_t held, bits;
};

static void put_unit(struct run *run, uint32_t unit)
{
    uint64_t held = (uint64_t)run->held << 16 | unit;
    uint32_t bits = run->bits + 16;
    for (; bits >= 6; bits -= 6)
        buf_u8(run->out, (uint8_t)alphabet[held >> (bits - 6) & 63]);
    run->held = (uint32_t)(held & ((1u << bits) - 1));
    run->bits = bits;
}

static void end_run(struct run *run)
{
    if (run->bits > 0)
        buf_u8(run->out, (uint8_t)alphabet[run->held << (6 - run->bits) & 63]);
    buf_u8(run->out, '-');
    run->held = run->bits = 0;
}

void utf7_encode(struct slice utf8, struct buf *utf7)
{
    struct run run = {.out = utf7};
    bool open = false;
    while (utf8.size > 0) {
        uint32_t c = 0;
        size_t size = utf8_decode(utf8, &c);
        ASSERT(size > 0);
        utf8 = slice_sub(utf8, size, utf8.size);
        if (is_plain(c)) {
            if (open)
                end_run(&run);
            open = false;
            buf_u8(utf7, (uint8_t)c);
            if (c == '&')
                buf_u8(utf7, '-');
            continue;
        }
        if (!open)
            buf_u8(utf7, '&');
        open = true;
        if (c >= 0x10000) {
            put_unit(&run, 0xd800 + ((c - 0x10000) >> 10));
            put_unit(&run, 0xdc00 + ((c - 0x10000) & 0x3ff));
        } else {
            put_unit(&run, c);
        }
    }
    if (open)
        end_run(&run);
}
