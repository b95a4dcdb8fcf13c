/*
 * Two small automata over bytes of strangers: they look at nothing but the byte that comes and
 * what they hold, and write at most what they have read.
 */
#include "imap/transfer.h"

bool transfer_begin(struct transfer *transfer, struct slice encoding)
{
    static const struct {
        const char *name;
        enum transfer_kind kind;
    } known[] = {{"7bit", TRANSFER_IDENTITY},
                 {"8bit", TRANSFER_IDENTITY},
                 {"binary", TRANSFER_IDENTITY},
                 {"base64", TRANSFER_BASE64},
                 {"quoted-printable", TRANSFER_QUOTED_PRINTABLE}};
    *transfer = (struct transfer){0};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!slice_equal_nocase_str(encoding, known[i].name))
            continue;
        transfer->kind = known[i].kind;
        return true;
    }
    return false;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

static void feed_base64(struct transfer *transfer, uint8_t c, struct buf *out)
{
    int value = base64_value(c);
    if (c == '=') /* ends a group; another text may follow */
        transfer->count = 0;
    if (value < 0)
        return;
    transfer->bits = transfer->bits << 6 | (uint32_t)value;
    transfer->count++;
    if (transfer->count >= 2)
        buf_u8(out, (uint8_t)(transfer->bits >> (8 - 2 * transfer->count)));
    if (transfer->count == 4)
        transfer->count = 0;
}

static int hex_value(uint8_t c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What was held is no code and no soft line break. */
static void release_held(struct transfer *transfer, struct buf *out)
{
    buf_u8(out, '=');
    buf_add(out, transfer->held, transfer->held_size);
    transfer->begun = false;
    transfer->held_size = 0;
}

static void feed_quoted(struct transfer *transfer, uint8_t c, struct buf *out)
{
    if (transfer->begun && transfer->held_size == 1 && hex_value(transfer->held[0]) >= 0) {
        if (hex_value(c) >= 0) {
            buf_u8(out, (uint8_t)(hex_value(transfer->held[0]) << 4 | hex_value(c)));
            transfer->begun = false;
            transfer->held_size = 0;
            return;
        }
        release_held(transfer, out);
    } else if (transfer->begun) {
        bool hex = transfer->held_size == 0 && hex_value(c) >= 0;
        bool blank = c == ' ' || c == '\t' || c == '\r';
        if (c == '\n') {
            transfer->begun = false;
            transfer->held_size = 0;
            return;
        }
        if ((hex || blank) && transfer->held_size < TRANSFER_BLANKS) {
            transfer->held[transfer->held_size++] = c;
            return;
        }
        release_held(transfer, out);
    }
    if (c == '=')
        transfer->begun = true;
    else
        buf_u8(out, c);
}

void transfer_feed(struct transfer *transfer, struct slice bytes, struct buf *out)
{
    if (transfer->kind == TRANSFER_IDENTITY) {
        buf_add_slice(out, bytes);
        return;
    }
    for (size_t i = 0; i < bytes.size; i++) {
        if (transfer->kind == TRANSFER_BASE64)
            feed_base64(transfer, bytes.data[i], out);
        else
            feed_quoted(transfer, bytes.data[i], out);
    }
}

void transfer_end(struct transfer *transfer, struct buf *out)
{
    bool hex = transfer->held_size > 0 && hex_value(transfer->held[0]) >= 0;
    if (transfer->begun && hex)
        release_held(transfer, out);
}
