/*
 * The pieces that all commands are made of (RFC 3501 9): a cursor over the text of one whole
 * command. Pure: no session, no mailbox; the door uses it too. Every function takes what it names
 * off the text, or sets `problem` (words for the BAD answer, the first one stays) and returns
 * false. Slices point into the text or the arena.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"

struct imap_spooled;

struct imap_parser {
    struct slice text; /* the whole command */
    size_t at;
    struct arena *arena;
    uint32_t depth, depth_max; /* of parentheses */
    const struct imap_spooled *spooled;
    size_t spooled_count, spooled_next;
    bool utf8;           /* quoted strings and names of mailboxes are UTF-8 (RFC 6855 3) */
    const char *problem; /* NULL while all is well */
};

void imap_parser_init(struct imap_parser *parser, struct slice text, struct arena *arena,
                      uint32_t depth_max);
bool imap_parse_fail(struct imap_parser *parser, const char *problem); /* false */

/* Looking, without taking. */
bool imap_parse_at_end(const struct imap_parser *parser);
bool imap_parse_sees(const struct imap_parser *parser, char c);

bool imap_parse_end(struct imap_parser *parser);
bool imap_parse_space(struct imap_parser *parser);
bool imap_parse_char(struct imap_parser *parser, char c);
/* Takes the character when it stands there; never a problem. */
bool imap_parse_optional(struct imap_parser *parser, char c);
/* "(" and ")" that are counted against the limit of nesting. */
bool imap_parse_open(struct imap_parser *parser);
bool imap_parse_close(struct imap_parser *parser);

bool imap_parse_tag(struct imap_parser *parser, struct slice *tag);   /* no "+" */
bool imap_parse_atom(struct imap_parser *parser, struct slice *atom); /* 1*ATOM-CHAR */
/* A word of letters, digits, "." and "-": names of commands, items, keys. */
bool imap_parse_word(struct imap_parser *parser, struct slice *word);
/* Takes the word when it stands there in any case and nothing of a word follows. */
bool imap_parse_keyword(struct imap_parser *parser, const char *word);
bool imap_parse_number(struct imap_parser *parser, uint32_t *number);
bool imap_parse_number64(struct imap_parser *parser, uint64_t *number);
/* Quoted or literal. A quoted string has no 8-bit but UTF-8 where enabled, a literal no NUL. */
bool imap_parse_string(struct imap_parser *parser, struct slice *string);
bool imap_parse_astring(struct imap_parser *parser, struct slice *string);
bool imap_parse_nstring(struct imap_parser *parser, struct slice *string); /* NIL: data NULL */
/* LIST's pattern: a string, or atom characters and "%" "*" "]". */
bool imap_parse_pattern(struct imap_parser *parser, struct slice *pattern);
/* A literal whose bytes are not in the text; place: its number in the reader's list. With the text
 * cut behind the announcement (before anything is known of the bytes) place is the next number. */
bool imap_parse_spooled(struct imap_parser *parser, size_t *place);
