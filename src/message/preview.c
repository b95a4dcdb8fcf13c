/*
 * The preview. The text is decoded from a small piece at first; only when that yields too little
 * (style sheets, tracking markup) from a larger one. HTML is not parsed, only freed from tags,
 * style, script, title and comments.
 */
#include "message/preview.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "message/content.h"
#include "message/decode.h"

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

/* ---- HTML ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t character;
} entities[] = {
    {"amp", '&'},      {"lt", '<'},       {"gt", '>'},        {"quot", '"'},     {"apos", '\''},
    {"nbsp", 0xa0},    {"zwnj", 0x200c},  {"zwj", 0x200d},    {"shy", 0xad},     {"copy", 0xa9},
    {"reg", 0xae},     {"auml", 0xe4},    {"ouml", 0xf6},     {"uuml", 0xfc},    {"Auml", 0xc4},
    {"Ouml", 0xd6},    {"Uuml", 0xdc},    {"szlig", 0xdf},    {"eacute", 0xe9},  {"egrave", 0xe8},
    {"euro", 0x20ac},  {"ndash", 0x2013}, {"mdash", 0x2014},  {"lsquo", 0x2018}, {"rsquo", 0x2019},
    {"ldquo", 0x201c}, {"rdquo", 0x201d}, {"hellip", 0x2026},
};

static uint32_t number_entity(struct slice digits)
{
    uint32_t base = 10;
    uint32_t value = 0;
    if (digits.size > 0 && ascii_lower(digits.data[0]) == 'x') {
        base = 16;
        digits = slice_sub(digits, 1, digits.size);
    }
    for (size_t i = 0; i < digits.size; i++) {
        uint8_t c = ascii_lower(digits.data[i]);
        uint32_t digit = ascii_is_digit(c) ? c - (uint32_t)'0' : c - (uint32_t)'a' + 10;
        if (digit >= base || value > 0x10ffff)
            return 0;
        value = value * base + digit;
    }
    return value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ? 0 : value;
}

/* At "&": puts the character, returns the bytes taken. */
static size_t put_entity(struct writer *writer, struct slice s)
{
    struct slice name = slice_sub(s, 1, 10);
    size_t end = slice_find(name, ';');
    uint32_t character = 0;
    if (end == name.size || end == 0) {
        put(writer, '&');
        return 1;
    }
    name.size = end;
    if (name.data[0] == '#')
        character = number_entity(slice_sub(name, 1, name.size));
    for (size_t i = 0; i < sizeof(entities) / sizeof(*entities); i++)
        if (slice_equal_str(name, entities[i].name))
            character = entities[i].character;
    if (character == 0) {
        put(writer, '&');
        return 1;
    }
    put(writer, character);
    return end + 2;
}

/* Where needle begins in s (whatever the case of its ASCII letters), or s.size. */
static size_t find_nocase(struct slice s, const char *needle)
{
    size_t size = strlen(needle);
    for (size_t i = 0; i + size <= s.size; i++) {
        i += slice_find(slice_sub(s, i, s.size), (uint8_t)needle[0]);
        if (slice_equal_nocase(slice_sub(s, i, size), slice_make(needle, size)))
            return i;
    }
    return s.size;
}

/* At "<": bytes of the tag; of style, script and title with all they hold. Tags that are part of a
 * running text leave no space. */
static size_t skip_tag(struct writer *writer, struct slice s)
{
    static const char *const inlines[] = {"a",    "b",     "i",    "u",     "em",
                                          "font", "small", "span", "strong"};
    static const char *const hidden[][2] = {
        {"style", "</style"}, {"script", "</script"}, {"title", "</title"}};
    if (slice_starts(s, SLICE_LITERAL("<!--"))) {
        writer->space |= writer->characters > 0;
        return find_nocase(s, "-->") + 3;
    }
    size_t at = s.size > 1 && s.data[1] == '/' ? 2 : 1;
    size_t from = at;
    while (at < s.size && ((ascii_lower(s.data[at]) >= 'a' && ascii_lower(s.data[at]) <= 'z') ||
                           ascii_is_digit(s.data[at])))
        at++;
    struct slice name = slice_sub(s, from, at - from);
    bool other = s.size > 1 && (s.data[1] == '!' || s.data[1] == '?');
    if (name.size == 0 && !other) {
        put(writer, '<');
        return 1;
    }
    bool is_inline = false;
    for (size_t i = 0; i < sizeof(inlines) / sizeof(*inlines); i++)
        is_inline |= slice_equal_nocase_str(name, inlines[i]);
    if (!is_inline)
        writer->space = writer->characters > 0;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden) && from == 1; i++)
        if (slice_equal_nocase_str(name, hidden[i][0]))
            return find_nocase(s, hidden[i][1]);
    return slice_find(s, '>') + 1;
}

static void put_html(struct writer *writer, struct slice text)
{
    for (size_t i = 0; i < text.size && !is_full(writer);) {
        if (text.data[i] == '<')
            i += skip_tag(writer, slice_sub(text, i, text.size));
        else if (text.data[i] == '&')
            i += put_entity(writer, slice_sub(text, i, text.size));
        else
            i += put_character(writer, text, i);
    }
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
