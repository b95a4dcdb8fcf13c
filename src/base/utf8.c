#include "base/utf8.h"

size_t utf8_decode(struct slice s, uint32_t *character)
{
    if (s.size == 0)
        return 0;
    uint32_t first = s.data[0];
    if (first < 0x80) {
        *character = first;
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (first < 0xc2 || first > 0xf4 || s.size < length)
        return 0;
    uint32_t value = first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s.data[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (s.data[i] & 0x3f);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *character = value;
    return length;
}

size_t utf8_length(struct slice s)
{
    uint32_t ignored;
    return utf8_decode(s, &ignored);
}

size_t utf8_encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    static const uint8_t mark[] = {0, 0, 0xc0, 0xe0, 0xf0};
    out[0] = (uint8_t)(mark[length] | c);
    return length;
}

bool utf8_valid(struct slice s)
{
    for (size_t i = 0; i < s.size;) {
        uint64_t eight; /* most text is ASCII */
        if (s.size - i >= sizeof(eight)) {
            memcpy(&eight, s.data + i, sizeof(eight));
            if ((eight & 0x8080808080808080) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        size_t length = utf8_length(slice_sub(s, i, s.size));
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}
