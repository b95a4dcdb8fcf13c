/*
 * The text of HTML, character by character: HTML is not parsed, only freed from tags, comments,
 * style, script and title, with its entities resolved (HTML 4.01 24, and numbers as the WHATWG
 * standard 13.2.5.80 reads them). Works on any bytes, in linear time, without memory.
 */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

struct html {
    struct slice rest;
};

static inline struct html html_make(struct slice utf8)
{
    return (struct html){utf8};
}

/* The next character; a space for a tag that ends a word. Bytes that are no UTF-8 are passed over.
 * False at the end. */
bool html_next(struct html *html, uint32_t *character);
/* What stands before the next tag or entity, as it is; it may be empty. Of valid UTF-8 it is what
 * html_next() would give. */
struct slice html_run(struct html *html);
