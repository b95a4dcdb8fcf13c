/*
 * The preview. The text is decoded from a small piece at first; only when that yields too little
 * (style sheets, tracking markup) from a larger one.
 */
#include "message/preview.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "message/content.h"
#include "message/decode.h"
#include "message/html.h"

static const size_t pieces[] = {1024, 8 * 1024, 48 * 1024};

struct writer {
    uint8_t text[PREVIEW_CHARACTERS * 4];
    size_t size;
    unsigned characters;
    bool space; /* one is due before the next character */
};

static bool is_blank(uint32_t c)
{
    return c <= ' ' || c == 0x7f || (c >= 0x80 && c <= 0xa0) || c == 0xad || c == 0x34f ||
           (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) || c == 0x2060 ||
           c == 0x3000 || c == 0xfeff || c == 0xfffc;
}

static bool is_full(const struct writer *writer)
{
    return writer->characters >= PREVIEW_CHARACTERS;
}

static void put(struct writer *writer, uint32_t c)
{
    if (is_blank(c)) {
        writer->space = writer->characters > 0;
        return;
    }
    if (writer->space) {
        writer->characters++;
        if (is_full(writer)) /* no room for a character behind the space */
            return;
        writer->text[writer->size++] = ' ';
    }
    writer->space = false;
    if (!is_full(writer)) {
        writer->size += utf8_encode(c, writer->text + writer->size);
        writer->characters++;
    }
}

/* Puts the character at text.data[i]; returns its size. */
static inline size_t put_character(struct writer *writer, struct slice text, size_t i)
{
    uint32_t c = text.data[i];
    size_t length = c < 0x80 ? 1 : utf8_decode(slice_sub(text, i, 4), &c);
    if (length > 0)
        put(writer, c);
    return length > 0 ? length : 1;
}

static void put_text(struct writer *writer, struct slice text)
{
    for (size_t i = 0; i < text.size && !is_full(writer);)
        i += put_character(writer, text, i);
}

static void put_html(struct writer *writer, struct slice text)
{
    struct html html = html_make(text);
    uint32_t c;
    while (!is_full(writer) && html_next(&html, &c))
        put(writer, c);
}

/* ---- choosing and decoding ----------------------------------------------------------------- */

static const struct summary_part *find_text(const struct summary *summary, const char *subtype)
{
    for (uint32_t i = 0; i < summary->part_count; i++) {
        const struct summary_part *part = &summary->parts[i];
        if (part->kind == SUMMARY_LEAF && part->body_size > 0 &&
            slice_equal_nocase_str(part->type, "text") &&
            slice_equal_nocase_str(part->subtype, subtype) &&
            !slice_equal_nocase_str(part->disposition, "attachment"))
            return part;
    }
    return NULL;
}

static void read_piece(struct slice body, const struct summary_part *part, bool html,
                       struct writer *writer)
{
    struct buf transfer = {0};
    struct buf text = {0};
    struct slice charset = content_parameter(part->parameters, part->parameter_count, "charset");
    struct slice bytes = body;
    if (decode_transfer(part->encoding, body, &transfer))
        bytes = buf_slice(&transfer);
    if (charset.data == NULL || !decode_charset(charset, bytes, &text))
        decode_unlabelled(bytes, &text);
    struct slice decoded = buf_slice(&text);
    /* The last character may have been cut in two. */
    struct slice replacement = SLICE_LITERAL("\xef\xbf\xbd");
    while (body.size < part->body_size && decoded.size >= 3 &&
           slice_equal(slice_sub(decoded, decoded.size - 3, 3), replacement))
        decoded.size -= 3;
    writer->size = writer->characters = 0;
    writer->space = false;
    if (html)
        put_html(writer, decoded);
    else
        put_text(writer, decoded);
    buf_finish(&transfer);
    buf_finish(&text);
}

static void read_text(struct slice bytes, const struct summary_part *part, bool html,
                      struct writer *writer)
{
    size_t offset = (size_t)(part->header_offset + part->header_size);
    struct slice body = slice_sub(bytes, offset, (size_t)part->body_size);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        if (i > 0 && (is_full(writer) || pieces[i - 1] >= body.size))
            break;
        read_piece(slice_sub(body, 0, pieces[i]), part, html, writer);
    }
}

struct slice preview_make(struct slice bytes, const struct summary *summary, struct arena *arena)
{
    struct writer writer;
    writer.size = writer.characters = 0;
    const struct summary_part *part = find_text(summary, "plain");
    if (part != NULL)
        read_text(bytes, part, false, &writer);
    if (writer.size == 0 && (part = find_text(summary, "html")) != NULL)
        read_text(bytes, part, true, &writer);
    if (writer.size == 0)
        return SLICE_LITERAL("");
    return arena_copy(arena, slice_make(writer.text, writer.size));
}
