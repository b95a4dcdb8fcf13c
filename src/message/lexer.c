/*
 * Words, quoted strings, comments. Nothing here recurses, and an opening mark without its closing
 * one costs one look through the rest, once (no_quote_ends, no_comment_ends): a header of a million
 * quotes is still read in linear time.
 */
#include "message/lexer.h"

/* Size of the comment that begins at at, with its parentheses; 0 when it does not end. */
static size_t comment_size(const struct lexer *lexer)
{
    size_t depth = 0;
    for (const uint8_t *at = lexer->at; at < lexer->end; at++) {
        if (*at == '\\' && at + 1 < lexer->end)
            at++;
        else if (*at == '(')
            depth++;
        else if (*at == ')' && --depth == 0)
            return (size_t)(at + 1 - lexer->at);
    }
    return 0;
}

/* Without backslashes that quote, and without what no text may hold. */
static struct slice unescape(struct slice raw, struct arena *arena)
{
    size_t plain = 0;
    while (plain < raw.size && raw.data[plain] != '\\' && raw.data[plain] != '\r' &&
           raw.data[plain] != '\n' && raw.data[plain] != '\0')
        plain++;
    if (plain == raw.size)
        return raw;
    uint8_t *copy = arena_alloc(arena, raw.size);
    size_t size = 0;
    for (size_t i = 0; i < raw.size; i++) {
        if (raw.data[i] == '\\' && i + 1 < raw.size)
            i++;
        if (raw.data[i] != '\r' && raw.data[i] != '\n' && raw.data[i] != '\0')
            copy[size++] = raw.data[i];
    }
    return slice_make(copy, size);
}

bool lexer_skip(struct lexer *lexer, struct slice *comment)
{
    const uint8_t *from = lexer->at;
    while (lexer->at < lexer->end) {
        if (lexer_is_space(*lexer->at)) {
            lexer->at++;
            continue;
        }
        if (*lexer->at != '(' || lexer->no_comment_ends)
            break;
        size_t size = comment_size(lexer);
        if (size == 0) {
            lexer->no_comment_ends = true;
            break;
        }
        if (comment != NULL)
            *comment = slice_trim(unescape(slice_make(lexer->at + 1, size - 2), lexer->arena));
        lexer->at += size;
    }
    return lexer->at > from;
}

bool lexer_quoted(struct lexer *lexer, struct slice *text)
{
    const uint8_t *from = ++lexer->at;
    if (lexer->no_quote_ends)
        return false;
    for (const uint8_t *at = from; at < lexer->end; at++) {
        if (*at == '\\' && at + 1 < lexer->end) {
            at++;
        } else if (*at == '"') {
            *text = unescape(slice_make(from, (size_t)(at - from)), lexer->arena);
            lexer->at = at + 1;
            return true;
        }
    }
    lexer->no_quote_ends = true;
    return false;
}

/* For each byte which of enum lexer_stop it ends; spaces end all. */
static const uint8_t stops[256] = {
    ['\0'] = 0xff,
    ['\t'] = 0xff,
    ['\n'] = 0xff,
    ['\r'] = 0xff,
    [' '] = 0xff,
    ['"'] = LEXER_ADDRESS | LEXER_TYPE | LEXER_NAME | LEXER_LIST,
    ['('] = LEXER_ADDRESS | LEXER_TYPE | LEXER_NAME | LEXER_LIST | LEXER_DATE,
    [')'] = LEXER_ADDRESS,
    [','] = LEXER_ADDRESS | LEXER_LIST | LEXER_DATE,
    ['/'] = LEXER_TYPE,
    [':'] = LEXER_ADDRESS,
    [';'] = LEXER_ADDRESS | LEXER_TYPE | LEXER_NAME | LEXER_VALUE | LEXER_LIST,
    ['<'] = LEXER_ADDRESS,
    ['='] = LEXER_TYPE | LEXER_NAME,
    ['>'] = LEXER_ADDRESS,
    ['@'] = LEXER_ADDRESS,
    ['['] = LEXER_ADDRESS,
};

struct slice lexer_word(struct lexer *lexer, enum lexer_stop stop)
{
    const uint8_t *from = lexer->at;
    while (lexer->at < lexer->end && (stops[*lexer->at] & stop) == 0)
        lexer->at++;
    return slice_make(from, (size_t)(lexer->at - from));
}

struct slice lexer_text(struct slice raw, struct arena *arena)
{
    while (raw.size > 0 && lexer_is_space(raw.data[0]))
        raw = slice_sub(raw, 1, raw.size);
    while (raw.size > 0 && lexer_is_space(raw.data[raw.size - 1]))
        raw.size--;
    if (raw.size == 0)
        return SLICE_LITERAL("");
    if (raw.size <= LEXER_TEXT_MAX && slice_find(raw, '\r') == raw.size &&
        slice_find(raw, '\n') == raw.size && slice_find(raw, '\0') == raw.size)
        return raw;
    uint8_t *copy = arena_alloc(arena, raw.size < LEXER_TEXT_MAX ? raw.size : LEXER_TEXT_MAX);
    size_t size = 0;
    for (size_t i = 0; i < raw.size && size < LEXER_TEXT_MAX; i++)
        if (raw.data[i] != '\r' && raw.data[i] != '\n' && raw.data[i] != '\0')
            copy[size++] = raw.data[i];
    return slice_make(copy, size);
}
