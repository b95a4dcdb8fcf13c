/*
 * Fuzz target. Properties: whatever the bytes, what BODY finds TEXT finds; where a needle is found,
 * each beginning of it is found. The same bytes taken for needles or for a batch are refused, or
 * answered with as many bits as there are records.
 *
 * Input: a byte n, n bytes of needle, the message.
 */
#include <stdlib.h>

#include "base/utf8.h"
#include "message/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fold *fold;

static struct match *make(struct slice packed)
{
    enum match_problem problem;
    return match_create(fold, SLICE_LITERAL("utf-8"), packed, &problem);
}

/* Without its last character. */
static struct slice shorten(struct slice needle)
{
    size_t at = 0, before = 0;
    while (at < needle.size) {
        size_t length = utf8_length(slice_sub(needle, at, 4));
        before = at;
        at += length == 0 ? 1 : length;
    }
    return slice_sub(needle, 0, before);
}

static void check_needle(struct slice text, struct slice message)
{
    struct buf packed = {0};
    uint8_t bits[1] = {0};
    needle_pack(&(struct needle){.where = NEEDLE_BODY, .text = text}, &packed);
    needle_pack(&(struct needle){.where = NEEDLE_TEXT, .text = text}, &packed);
    needle_pack(&(struct needle){.where = NEEDLE_BODY, .text = shorten(text)}, &packed);
    needle_pack(&(struct needle){.where = NEEDLE_SUBJECT, .text = text}, &packed);
    needle_pack(&(struct needle){.where = NEEDLE_SUBJECT, .text = shorten(text)}, &packed);
    struct match *match = make(buf_slice(&packed));
    match_message(match, message, bits);
    match_destroy(&match);
    buf_finish(&packed);
    bool body = needle_bit(bits, 0), subject = needle_bit(bits, 3);
    if ((body && (!needle_bit(bits, 1) || !needle_bit(bits, 2))) ||
        (subject && !needle_bit(bits, 4)))
        abort();
}

static void check_packed(struct slice bytes)
{
    struct buf bits = {0}, packed = {0};
    struct match *match = make(bytes);
    match_destroy(&match);
    needle_pack(&(struct needle){.where = NEEDLE_TEXT, .text = SLICE_LITERAL("a")}, &packed);
    match = make(buf_slice(&packed));
    for (uint32_t records = 0; records < 3; records++) {
        buf_clear(&bits);
        if (match_batch(match, bytes, records, &bits) && bits.size != records)
            abort();
    }
    match_destroy(&match);
    buf_finish(&bits);
    buf_finish(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_make(data, size);
    if (fold == NULL)
        fold = fold_create();
    if (size == 0)
        return 0;
    check_needle(slice_sub(bytes, 1, data[0]), slice_sub(bytes, 1u + data[0], size));
    check_packed(bytes);
    return 0;
}
