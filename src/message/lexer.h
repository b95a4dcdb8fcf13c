/*
 * The words of structured header fields (RFC 5322 3.2, RFC 2045 5.1), read by tolerant rules: any
 * byte that has no meaning where it stands is passed over. Shared by address.c, content.c, date.c.
 */
#pragma once
#include <stdbool.h>

#include "base/arena.h"
#include "base/slice.h"

struct lexer {
    const uint8_t *at, *end;
    struct arena *arena;
    bool no_quote_ends;   /* the rest has no closing quote: so that looking for it stays linear */
    bool no_comment_ends; /* the same for comments */
};

static inline struct lexer lexer_make(struct slice value, struct arena *arena)
{
    return (struct lexer){value.data, value.data + value.size, arena, false, false};
}

static inline bool lexer_at_end(const struct lexer *lexer)
{
    return lexer->at == lexer->end;
}

static inline bool lexer_is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

/* Passes over spaces, line ends and comments; the last comment's text goes to *comment (may be
 * NULL). True when there was anything. */
bool lexer_skip(struct lexer *lexer, struct slice *comment);

/* At a quote: what stands in the quotes, with the backslashes resolved; the quote alone is passed
 * over and the result is false when nothing closes it. */
bool lexer_quoted(struct lexer *lexer, struct slice *text);

/* What ends a word, beside a space and the end. */
enum lexer_stop {
    LEXER_ADDRESS = 1, /* " @ [ ( ) , ; : < > */
    LEXER_TYPE = 2,    /* / ; = " ( */
    LEXER_NAME = 4,    /* ; = " ( */
    LEXER_VALUE = 8,   /* ; */
    LEXER_LIST = 16,   /* , ; " ( */
    LEXER_DATE = 32,   /* , ( */
};
struct slice lexer_word(struct lexer *lexer, enum lexer_stop stop);

/*
 * A text for a summary: trimmed, unfolded (RFC 5322 2.2.3), without CR, LF, NUL, at most
 * LEXER_TEXT_MAX bytes. Never NULL. Points into raw where nothing had to be taken out.
 */
enum { LEXER_TEXT_MAX = 32 * 1024 };
struct slice lexer_text(struct slice raw, struct arena *arena);
