/*
 * Base64, strict both ways: of two texts for the same bytes only one is taken, so that nothing
 * that was compared or logged in its encoded form can be said in another way.
 */
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? bytes.data[i + 2] : 0;
        uint8_t *at = buf_extend(out, 4);
        at[0] = (uint8_t)alphabet[group >> 18];
        at[1] = (uint8_t)alphabet[group >> 12 & 63];
        at[2] = left > 1 ? (uint8_t)alphabet[group >> 6 & 63] : '=';
        at[3] = left > 2 ? (uint8_t)alphabet[group & 63] : '=';
    }
}

static int value_of(uint8_t c)
{
    const char *at = c == 0 ? NULL : strchr(alphabet, c);
    return at == NULL ? -1 : (int)(at - alphabet);
}

/* One group of four; returns how many bytes it stands for, 0 when it is wrong. */
static size_t decode_group(const uint8_t *text, bool last, uint8_t out[3])
{
    size_t characters = 4;
    if (last && text[3] == '=')
        characters = text[2] == '=' ? 2 : 3;
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < characters ? value_of(text[i]) : 0;
        if (value < 0)
            return 0;
        group = group << 6 | (uint32_t)value;
    }
    if ((characters == 2 && (group & 0xffff) != 0) || (characters == 3 && (group & 0xff) != 0))
        return 0;
    out[0] = (uint8_t)(group >> 16);
    out[1] = (uint8_t)(group >> 8);
    out[2] = (uint8_t)group;
    return characters - 1;
}

bool base64_decode(struct slice text, struct buf *out)
{
    size_t before = out->size;
    if (text.size % 4 != 0)
        return false;
    for (size_t i = 0; i < text.size; i += 4) {
        uint8_t bytes[3];
        size_t count = decode_group(text.data + i, i + 4 == text.size, bytes);
        if (count == 0) {
            out->size = before;
            return false;
        }
        buf_add(out, bytes, count);
    }
    return true;
}
