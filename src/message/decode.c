/*
 * Decoding. ICU is asked for every character set but UTF-8 and ASCII, which are most of all mail
 * and need no converter. ICU reads strangers' bytes here: this file is linked by readers and tools,
 * never by a process that holds mail.
 */
#include "message/decode.h"

#include <unicode/uclean.h>
#include <unicode/ucnv.h>

#include "base/bytes.h"
#include "base/utf8.h"

enum {
    CHARSET_NAME_MAX = 64,
    WORTH_A_LOOK = 256, /* from that size on ASCII is sought in other character sets */
};

/* ---- character sets ------------------------------------------------------------------------ */

/* Labels that mean a larger set than their standards say. */
static const struct {
    const char *label, *name;
} meanings[] = {
    {"iso-8859-1", "windows-1252"},
    {"latin1", "windows-1252"},
    {"iso-8859-9", "windows-1254"},
    {"iso-8859-11", "windows-874"},
    {"tis-620", "windows-874"},
    {"gb2312", "gb18030"},
    {"gbk", "gb18030"},
    {"x-gbk", "gb18030"},
    {"gb_2312-80", "gb18030"},
    {"big5", "big5-hkscs"},
    {"euc-kr", "windows-949"},
    {"ks_c_5601-1987", "windows-949"},
    {"shift_jis", "windows-31j"},
    {"x-sjis", "windows-31j"},
    {"unicode-1-1-utf-7", "utf-7"},
    {"iso-8859-8-i", "iso-8859-8"},
    {"x-unknown", "windows-1252"},
    {"iso-2022-jp", "iso-2022-jp-2"},
};

static bool is_utf8(struct slice charset)
{
    return slice_equal_nocase_str(charset, "utf-8") || slice_equal_nocase_str(charset, "utf8");
}

static bool is_ascii(struct slice charset)
{
    return slice_equal_nocase_str(charset, "us-ascii") ||
           slice_equal_nocase_str(charset, "ascii") ||
           slice_equal_nocase_str(charset, "ansi_x3.4-1968");
}

/* Copies, with U+FFFD for each byte that is no part of a character. */
static void copy_utf8(struct slice bytes, struct buf *out)
{
    size_t from = 0;
    for (size_t i = 0; i < bytes.size;) {
        size_t length = bytes.data[i] < 0x80 ? 1 : utf8_length(slice_sub(bytes, i, 4));
        if (length > 0) {
            i += length;
            continue;
        }
        buf_add(out, bytes.data + from, i - from);
        buf_add_str(out, "\xef\xbf\xbd");
        from = ++i;
    }
    buf_add_slice(out, slice_sub(bytes, from, bytes.size));
}

static UConverter *open_converter(struct slice charset)
{
    char name[CHARSET_NAME_MAX + 1];
    UErrorCode status = U_ZERO_ERROR;
    if (charset.size == 0 || charset.size > CHARSET_NAME_MAX)
        return NULL;
    for (size_t i = 0; i < charset.size; i++) {
        /* A comma begins options of ICU's own. */
        if (charset.data[i] <= ' ' || charset.data[i] >= 0x7f || charset.data[i] == ',')
            return NULL;
        name[i] = (char)charset.data[i];
    }
    name[charset.size] = '\0';
    const char *known = name;
    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
        if (slice_equal_nocase_str(charset, meanings[i].label))
            known = meanings[i].name;
    UConverter *converter = ucnv_open(known, &status);
    if (U_FAILURE(status)) {
        ucnv_close(converter);
        return NULL;
    }
    return converter;
}

static bool convert(UConverter *from, struct slice bytes, struct buf *out)
{
    UErrorCode status = U_ZERO_ERROR;
    UConverter *to = ucnv_open("UTF-8", &status);
    if (U_FAILURE(status))
        return false;
    UChar pivot[1024];
    UChar *pivot_source = pivot;
    UChar *pivot_target = pivot;
    const char *source = (const char *)bytes.data;
    const char *end = source + bytes.size;
    bool reset = true;
    do {
        char piece[4096];
        char *target = piece;
        status = U_ZERO_ERROR;
        ucnv_convertEx(to, from, &target, piece + sizeof(piece), &source, end, pivot, &pivot_source,
                       &pivot_target, pivot + sizeof(pivot) / sizeof(*pivot), reset, true, &status);
        buf_add(out, piece, (size_t)(target - piece));
        reset = false;
    } while (status == U_BUFFER_OVERFLOW_ERROR);
    ucnv_close(to);
    return true;
}

/* ---- ASCII in other character sets --------------------------------------------------------- */

/* Does it mean ASCII with every byte below 0x80, whatever stood before? Not so: ISO-2022, UTF-7,
 * UTF-16, HZ. All of these say so when they are asked for all such bytes. */
static bool keeps_ascii(UConverter *from)
{
    uint8_t ascii[0x7f];
    struct buf out = {0};
    for (size_t i = 0; i < sizeof(ascii); i++)
        ascii[i] = (uint8_t)(i + 1);
    bool kept = convert(from, slice_make(ascii, sizeof(ascii)), &out) &&
                slice_equal(buf_slice(&out), slice_make(ascii, sizeof(ascii)));
    buf_finish(&out);
    return kept;
}

static size_t ascii_size(struct slice s)
{
    size_t size = 0;
    while (s.size - size >= 8 && (bytes_get_le64(s.data + size) & BYTES_MARK) == 0)
        size += 8;
    while (size < s.size && s.data[size] < 0x80)
        size++;
    return size;
}

/* Up to the end of the first line behind which there is one of ASCII alone. A line end is no part
 * of a character in any of these sets. */
static size_t other_size(struct slice s)
{
    size_t size = 0;
    do {
        size_t line = slice_find(slice_sub(s, size, s.size), '\n') + 1;
        size = line < s.size - size ? size + line : s.size;
        struct slice rest = slice_sub(s, size, s.size);
        if (ascii_size(slice_sub(rest, 0, slice_find(rest, '\n'))) == slice_find(rest, '\n'))
            break;
    } while (size < s.size);
    return size;
}

/* ICU has what is not ASCII alone: it takes ten times as long as a copy. */
static bool convert_other(UConverter *from, struct slice bytes, struct buf *out)
{
    bool good = true;
    while (bytes.size > 0 && good) {
        size_t plain = ascii_size(bytes);
        buf_add(out, bytes.data, plain);
        bytes = slice_sub(bytes, plain, bytes.size);
        size_t other = bytes.size > 0 ? other_size(bytes) : 0;
        good = other == 0 || convert(from, slice_sub(bytes, 0, other), out);
        bytes = slice_sub(bytes, other, bytes.size);
    }
    return good;
}

bool decode_charset(struct slice charset, struct slice bytes, struct buf *out)
{
    if (is_utf8(charset)) {
        if (utf8_valid(bytes))
            buf_add_slice(out, bytes);
        else
            copy_utf8(bytes, out);
        return true;
    }
    if (is_ascii(charset)) {
        decode_unlabelled(bytes, out);
        return true;
    }
    UConverter *converter = open_converter(charset);
    if (converter == NULL)
        return false;
    bool done = bytes.size > WORTH_A_LOOK && keeps_ascii(converter)
                    ? convert_other(converter, bytes, out)
                    : convert(converter, bytes, out);
    ucnv_close(converter);
    return done;
}

void decode_unlabelled(struct slice bytes, struct buf *out)
{
    if (utf8_valid(bytes))
        buf_add_slice(out, bytes);
    else if (!decode_charset(SLICE_LITERAL("windows-1252"), bytes, out))
        copy_utf8(bytes, out);
}

struct slice decode_text(struct slice charset, struct slice bytes, struct buf *room)
{
    bool utf8 = charset.size == 0 || is_utf8(charset) || is_ascii(charset);
    if (utf8 && utf8_valid(bytes))
        return bytes;
    if (charset.size == 0 || !decode_charset(charset, bytes, room))
        decode_unlabelled(bytes, room);
    return buf_slice(room);
}

bool decode_warm_up(void)
{
    UErrorCode status = U_ZERO_ERROR;
    u_init(&status);
    if (U_FAILURE(status))
        return false;
    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++) {
        UConverter *converter = open_converter(slice_str(meanings[i].label));
        ucnv_close(converter); /* accepts NULL */
    }
    struct buf out = {0};
    bool works = decode_charset(SLICE_LITERAL("windows-1252"), SLICE_LITERAL("\xe4"), &out);
    buf_finish(&out);
    return works;
}

/* ---- transfer encodings -------------------------------------------------------------------- */

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

void decode_base64(struct slice text, struct buf *out)
{
    uint8_t *to = buf_extend(out, text.size / 4 * 3 + 3);
    uint8_t *at = to;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < text.size; i++) {
        int value = base64_value(text.data[i]);
        if (value < 0) {
            if (text.data[i] == '=') /* ends a group; another text may follow */
                count = 0;
            continue;
        }
        bits = bits << 6 | (uint32_t)value;
        count++;
        if (count >= 2 && count <= 4)
            *at++ = (uint8_t)(bits >> (8 - 2 * count));
        if (count == 4)
            count = 0;
    }
    out->size -= text.size / 4 * 3 + 3 - (size_t)(at - to);
}

static int hex_value(uint8_t c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Two hex digits at s[i + 1]; -1 when there are none. */
static int hex_pair(struct slice s, size_t i)
{
    if (i + 2 >= s.size)
        return -1;
    int high = hex_value(s.data[i + 1]);
    int low = hex_value(s.data[i + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Size of the soft line break that s[i], a "=", begins; 0: none. Spaces may stand before the line
 * end (RFC 2045 6.7 (3)). */
static size_t soft_break(struct slice s, size_t i)
{
    size_t at = i + 1;
    while (at < s.size && (s.data[at] == ' ' || s.data[at] == '\t' || s.data[at] == '\r'))
        at++;
    return at == s.size || s.data[at] == '\n' ? at + 1 - i : 0;
}

void decode_quoted_printable(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.size;) {
        struct slice rest = slice_sub(text, i, text.size);
        size_t plain = slice_find(rest, '=');
        buf_add(out, rest.data, plain);
        i += plain;
        if (i >= text.size)
            break;
        int pair = hex_pair(text, i);
        size_t soft = pair < 0 ? soft_break(text, i) : 0;
        if (pair < 0 && soft == 0)
            buf_u8(out, '=');
        else if (pair >= 0)
            buf_u8(out, (uint8_t)pair);
        i += pair >= 0 ? 3 : soft > 0 ? soft : 1;
    }
}

bool decode_transfer(struct slice encoding, struct slice body, struct buf *out)
{
    if (slice_equal_nocase_str(encoding, "base64"))
        decode_base64(body, out);
    else if (slice_equal_nocase_str(encoding, "quoted-printable"))
        decode_quoted_printable(body, out);
    else
        return false;
    return true;
}

/* ---- RFC 2047 ------------------------------------------------------------------------------ */

struct encoded_word {
    struct slice charset, text;
    bool base64;
    size_t size; /* all of it */
};

/* =?charset*language?Q?text?= (RFC 2047 2, RFC 2231 5). *no_end: no "?=" in all of the rest. */
static bool read_encoded_word(struct slice s, struct encoded_word *word, bool *no_end)
{
    struct slice rest = slice_sub(s, 2, s.size);
    struct slice head = slice_sub(rest, 0, CHARSET_NAME_MAX + 32);
    size_t mark = slice_find(head, '?');
    if (*no_end || mark == 0 || mark + 2 >= rest.size || rest.data[mark + 2] != '?')
        return false;
    word->charset = slice_sub(rest, 0, mark);
    if (slice_find(word->charset, ' ') < mark)
        return false;
    word->charset = slice_split(&word->charset, '*');
    uint8_t encoding = ascii_lower(rest.data[mark + 1]);
    if (encoding != 'b' && encoding != 'q')
        return false;
    word->base64 = encoding == 'b';
    rest = slice_sub(rest, mark + 3, rest.size);
    const uint8_t *end = rest.size == 0 ? NULL : memmem(rest.data, rest.size, "?=", 2);
    *no_end = end == NULL;
    if (end == NULL)
        return false;
    word->text = slice_make(rest.data, (size_t)(end - rest.data));
    word->size = (size_t)(end + 2 - s.data);
    return true;
}

/* RFC 2047 4.2 */
static void decode_q(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.size; i++) {
        int pair = text.data[i] == '=' ? hex_pair(text, i) : -1;
        if (pair >= 0) {
            buf_u8(out, (uint8_t)pair);
            i += 2;
        } else {
            buf_u8(out, text.data[i] == '_' ? ' ' : text.data[i]);
        }
    }
}

static bool all_spaces(struct slice s)
{
    for (size_t i = 0; i < s.size; i++)
        if (s.data[i] != ' ' && s.data[i] != '\t' && s.data[i] != '\r' && s.data[i] != '\n')
            return false;
    return true;
}

/* The bytes of neighbouring words of one character set are decoded together: many programs cut in
 * the middle of a character, against RFC 2047 5. */
static void flush_words(struct slice charset, struct buf *bytes, struct buf *out)
{
    if (bytes->size > 0 && !decode_charset(charset, buf_slice(bytes), out))
        decode_unlabelled(buf_slice(bytes), out);
    buf_clear(bytes);
}

void decode_header(struct slice text, struct buf *out)
{
    struct buf bytes = {0};
    struct slice charset = SLICE_NONE;
    bool no_end = false;
    size_t plain = 0; /* what is not yet put out begins here */
    bool after_word = false;
    for (size_t i = 0; i < text.size;) {
        struct slice rest = slice_sub(text, i, text.size);
        const uint8_t *mark = memmem(rest.data, rest.size, "=?", 2);
        if (mark == NULL)
            break;
        i = (size_t)(mark - text.data);
        struct encoded_word word;
        if (!read_encoded_word(slice_sub(text, i, text.size), &word, &no_end)) {
            i += 2;
            continue;
        }
        struct slice between = slice_sub(text, plain, i - plain);
        bool joined = after_word && all_spaces(between);
        if (!joined || !slice_equal_nocase(charset, word.charset))
            flush_words(charset, &bytes, out);
        if (!joined)
            decode_unlabelled(between, out);
        charset = word.charset;
        if (word.base64)
            decode_base64(word.text, &bytes);
        else
            decode_q(word.text, &bytes);
        after_word = true;
        i += word.size;
        plain = i;
    }
    flush_words(charset, &bytes, out);
    decode_unlabelled(slice_sub(text, plain, text.size), out);
    buf_finish(&bytes);
}

/* ---- RFC 2231 ------------------------------------------------------------------------------ */

void decode_parameter(struct slice name, struct slice value, struct buf *out)
{
    if (name.size == 0 || name.data[name.size - 1] != '*') {
        decode_header(value, out); /* forbidden by RFC 2047 5 (3), and everywhere */
        return;
    }
    struct slice rest = value;
    struct slice charset = SLICE_NONE;
    size_t first = slice_find(value, '\'');
    size_t second = slice_find(slice_sub(value, first + 1, value.size), '\'') + first + 1;
    if (second < value.size) {
        charset = slice_sub(value, 0, first);
        rest = slice_sub(value, second + 1, value.size);
    }
    struct buf bytes = {0};
    for (size_t i = 0; i < rest.size; i++) {
        int pair = rest.data[i] == '%' ? hex_pair(rest, i) : -1;
        buf_u8(&bytes, pair >= 0 ? (uint8_t)pair : rest.data[i]);
        i += pair >= 0 ? 2 : 0;
    }
    flush_words(charset, &bytes, out);
    buf_finish(&bytes);
}
