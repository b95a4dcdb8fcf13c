/*
 * The lexical rules of RFC 3501 9 (and RFC 9051 9 where it is the clearer text). Nothing here is
 * lenient: what is accepted in one place and not in another is how commands get smuggled.
 *
 * Dangerous: a literal's size was believed by the reader, so the bytes are there; still every size
 * is checked against the text, since the reader and this parser are two views of the same bytes.
 */
#include "imap/parser.h"

#include "base/utf8.h"
#include "imap/reader.h"

void imap_parser_init(struct imap_parser *parser, struct slice text, struct arena *arena,
                      uint32_t depth_max)
{
    *parser = (struct imap_parser){.text = text, .arena = arena, .depth_max = depth_max};
}

bool imap_parse_fail(struct imap_parser *parser, const char *problem)
{
    if (parser->problem == NULL)
        parser->problem = problem;
    return false;
}

bool imap_parse_at_end(const struct imap_parser *parser)
{
    return parser->at == parser->text.size;
}

bool imap_parse_sees(const struct imap_parser *parser, char c)
{
    return parser->at < parser->text.size && parser->text.data[parser->at] == (uint8_t)c;
}

bool imap_parse_end(struct imap_parser *parser)
{
    if (parser->problem != NULL)
        return false;
    return imap_parse_at_end(parser) || imap_parse_fail(parser, "Too many arguments.");
}

bool imap_parse_optional(struct imap_parser *parser, char c)
{
    if (!imap_parse_sees(parser, c))
        return false;
    parser->at++;
    return true;
}

bool imap_parse_space(struct imap_parser *parser)
{
    return imap_parse_optional(parser, ' ') ||
           imap_parse_fail(parser, imap_parse_at_end(parser) ? "An argument is missing."
                                                             : "A space is missing.");
}

bool imap_parse_char(struct imap_parser *parser, char c)
{
    return imap_parse_optional(parser, c) ||
           imap_parse_fail(parser, "The arguments are not in the form of the command.");
}

bool imap_parse_open(struct imap_parser *parser)
{
    if (!imap_parse_char(parser, '('))
        return false;
    if (++parser->depth > parser->depth_max)
        return imap_parse_fail(parser, "Too many parentheses within each other.");
    return true;
}

bool imap_parse_close(struct imap_parser *parser)
{
    if (!imap_parse_optional(parser, ')'))
        return imap_parse_fail(parser, "A closing parenthesis is missing.");
    parser->depth--;
    return true;
}

/* ATOM-CHAR: not one of ( ) { SP CTL % * " \ ] and not 8-bit. */
static bool is_atom(uint8_t c)
{
    return c > ' ' && c < 0x7f && strchr("(){%*\"\\]", c) == NULL;
}

static bool is_word(uint8_t c)
{
    return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || ascii_is_digit(c) || c == '.' ||
           c == '-' || c == '=';
}

static bool is_astring(uint8_t c)
{
    return is_atom(c) || c == ']';
}

static bool is_pattern(uint8_t c)
{
    return is_astring(c) || c == '%' || c == '*';
}

static bool is_tag(uint8_t c)
{
    return is_astring(c) && c != '+';
}

static bool run_of(struct imap_parser *parser, bool (*belongs)(uint8_t), struct slice *run)
{
    size_t begin = parser->at;
    while (parser->at < parser->text.size && belongs(parser->text.data[parser->at]))
        parser->at++;
    *run = slice_sub(parser->text, begin, parser->at - begin);
    if (run->size > 0)
        return true;
    return imap_parse_fail(parser, imap_parse_at_end(parser)
                                       ? "An argument is missing."
                                       : "A character stands where it may not be.");
}

bool imap_parse_tag(struct imap_parser *parser, struct slice *tag)
{
    return run_of(parser, is_tag, tag);
}

bool imap_parse_atom(struct imap_parser *parser, struct slice *atom)
{
    return run_of(parser, is_atom, atom);
}

bool imap_parse_word(struct imap_parser *parser, struct slice *word)
{
    return run_of(parser, is_word, word);
}

bool imap_parse_keyword(struct imap_parser *parser, const char *word)
{
    size_t size = strlen(word);
    struct slice here = slice_sub(parser->text, parser->at, size);
    size_t behind = parser->at + size;
    if (!slice_equal_nocase_str(here, word) ||
        (behind < parser->text.size && is_word(parser->text.data[behind])))
        return false;
    parser->at = behind;
    return true;
}

static bool is_digit(uint8_t c)
{
    return ascii_is_digit(c);
}

bool imap_parse_number64(struct imap_parser *parser, uint64_t *number)
{
    struct slice digits;
    if (!run_of(parser, is_digit, &digits))
        return false;
    return slice_u64(digits, number) || imap_parse_fail(parser, "A number is too large.");
}

bool imap_parse_number(struct imap_parser *parser, uint32_t *number)
{
    uint64_t value;
    if (!imap_parse_number64(parser, &value))
        return false;
    *number = (uint32_t)value;
    return value <= UINT32_MAX || imap_parse_fail(parser, "A number is too large.");
}

/* Behind the opening quote; without escapes the string is a part of the text. */
static bool parse_quoted(struct imap_parser *parser, struct slice *string)
{
    const uint8_t *text = parser->text.data;
    size_t begin = parser->at, escapes = 0, i = begin;
    for (; i < parser->text.size && text[i] != '"'; i++) {
        if (text[i] == '\\') {
            i++;
            escapes++;
            if (i == parser->text.size || (text[i] != '"' && text[i] != '\\'))
                return imap_parse_fail(parser, "Only \\\\ and \\\" may stand in a quoted string.");
        } else if (text[i] == 0 || text[i] == '\r' || text[i] == '\n' ||
                   (text[i] >= 0x80 && !parser->utf8)) {
            return imap_parse_fail(parser, "A quoted string holds a byte that it may not hold.");
        }
    }
    if (i == parser->text.size)
        return imap_parse_fail(parser, "A quoted string does not end.");
    parser->at = i + 1;
    *string = slice_sub(parser->text, begin, i - begin);
    if (!utf8_valid(*string))
        return imap_parse_fail(parser, "A quoted string is not UTF-8.");
    if (escapes == 0)
        return true;
    uint8_t *plain = arena_alloc(parser->arena, string->size - escapes);
    size_t size = 0;
    for (size_t from = begin; from < i; from++) {
        from += text[from] == '\\';
        plain[size++] = text[from];
    }
    *string = slice_make(plain, size);
    return true;
}

/* "{5}CRLF" or "{5+}CRLF". */
static bool parse_announcement(struct imap_parser *parser, uint64_t *size)
{
    if (!imap_parse_char(parser, '{') || !imap_parse_number64(parser, size))
        return false;
    imap_parse_optional(parser, '+');
    return imap_parse_char(parser, '}') && imap_parse_char(parser, '\r') &&
           imap_parse_char(parser, '\n');
}

static bool parse_literal(struct imap_parser *parser, struct slice *string)
{
    uint64_t size;
    if (!parse_announcement(parser, &size))
        return false;
    *string = slice_sub(parser->text, parser->at, (size_t)size);
    if (string->size != size)
        return imap_parse_fail(parser, "A literal is missing.");
    parser->at += (size_t)size;
    if (slice_find(*string, 0) < string->size)
        return imap_parse_fail(parser, "A literal holds NUL (RFC 3501 9, CHAR8).");
    return true;
}

bool imap_parse_string(struct imap_parser *parser, struct slice *string)
{
    if (imap_parse_optional(parser, '"'))
        return parse_quoted(parser, string);
    if (imap_parse_sees(parser, '{'))
        return parse_literal(parser, string);
    return imap_parse_fail(parser, imap_parse_at_end(parser) ? "An argument is missing."
                                                             : "A string is missing.");
}

static bool sees_string(const struct imap_parser *parser)
{
    return imap_parse_sees(parser, '"') || imap_parse_sees(parser, '{');
}

bool imap_parse_astring(struct imap_parser *parser, struct slice *string)
{
    return sees_string(parser) ? imap_parse_string(parser, string)
                               : run_of(parser, is_astring, string);
}

bool imap_parse_nstring(struct imap_parser *parser, struct slice *string)
{
    if (imap_parse_keyword(parser, "NIL")) {
        *string = SLICE_NONE;
        return true;
    }
    return imap_parse_string(parser, string);
}

bool imap_parse_pattern(struct imap_parser *parser, struct slice *pattern)
{
    return sees_string(parser) ? imap_parse_string(parser, pattern)
                               : run_of(parser, is_pattern, pattern);
}

bool imap_parse_spooled(struct imap_parser *parser, size_t *place)
{
    uint64_t size;
    imap_parse_optional(parser, '~'); /* literal8 (RFC 3516 4.3) */
    if (!parse_announcement(parser, &size))
        return false;
    *place = parser->spooled_next++;
    if (imap_parse_at_end(parser) && *place == parser->spooled_count)
        return true;
    if (*place < parser->spooled_count && parser->spooled[*place].at == parser->at &&
        parser->spooled[*place].size == size)
        return true;
    return imap_parse_fail(parser, "A literal stands where it may not be.");
}
