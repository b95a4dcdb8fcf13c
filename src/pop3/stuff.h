/*
 * A message as POP3 sends it (RFC 1939 3, 7): bytes as stored, a dot put before every dot that
 * begins a line, and, for TOP, only the header and so many lines. Input may be cut anywhere.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct evbuffer;

enum pop3_place { POP3_LINE_START, POP3_IN_LINE, POP3_AFTER_CR };

struct pop3_stuff {
    enum pop3_place place; /* {0}: at the beginning of the message */
};

/* Moves bytes to out; without copying where nothing is put in. */
void pop3_stuff_add(struct pop3_stuff *stuff, struct evbuffer *bytes, struct evbuffer *out);
/* The end: CRLF where the message does not end with one, then the line with the dot. That CRLF
 * belongs to the end of the answer, not to the message: it is not in any announced size. */
void pop3_stuff_end(struct pop3_stuff *stuff, struct evbuffer *out);

struct pop3_top {
    uint32_t lines; /* of the body, still to come */
    bool body, cr, line, done;
};

void pop3_top_init(struct pop3_top *top, uint32_t lines);
/* Cuts bytes behind the last line wanted; done is set when that was met. */
void pop3_top_cut(struct pop3_top *top, struct evbuffer *bytes);
