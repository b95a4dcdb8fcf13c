/* Pure functions over evbuffers; only CRLF ends a line, as it does for the client. */
#include "pop3/stuff.h"

#include <event2/buffer.h>
#include <string.h>

static enum pop3_place place_after(enum pop3_place before, const uint8_t *bytes, size_t size)
{
    if (size == 0) {
        return before;
    }
    if (bytes[size - 1] == '\r') {
        return POP3_AFTER_CR;
    }
    bool cr = size > 1 ? bytes[size - 2] == '\r' : before == POP3_AFTER_CR;
    return bytes[size - 1] == '\n' && cr ? POP3_LINE_START : POP3_IN_LINE;
}

/* Where the next dot stands that begins a line; size when there is none. */
static size_t next_dot(const uint8_t *bytes, size_t from, size_t size, enum pop3_place place)
{
    if (from == 0 && size > 0 && bytes[0] == '.' && place == POP3_LINE_START) {
        return 0;
    }
    if (from == 0 && size > 1 && bytes[0] == '\n' && bytes[1] == '.' && place == POP3_AFTER_CR) {
        return 1;
    }
    /* Dots are rarer than line ends, and base64 has none. */
    const uint8_t *end = bytes + size, *at = bytes + from;
    while (at < end && (at = memchr(at, '.', (size_t)(end - at))) != NULL) {
        if (at - bytes >= 2 && at[-1] == '\n' && at[-2] == '\r') {
            return (size_t)(at - bytes);
        }
        at++;
    }
    return size;
}

/* bytes: one run of memory at the beginning of an evbuffer. */
static void add_run(struct pop3_stuff *stuff, struct evbuffer *bytes, size_t size,
                    struct evbuffer *out)
{
    const uint8_t *data = evbuffer_pullup(bytes, (ev_ssize_t)size);
    enum pop3_place place = stuff->place;
    size_t dot = next_dot(data, 0, size, place);
    stuff->place = place_after(place, data, size);
    if (dot == size) {
        evbuffer_remove_buffer(bytes, out, size); /* moved, not copied */
        return;
    }
    size_t from = 0;
    while (dot < size) {
        evbuffer_add(out, data + from, dot - from);
        evbuffer_add(out, ".", 1);
        from = dot;
        dot = next_dot(data, from + 1, size, place);
    }
    evbuffer_add(out, data + from, size - from);
    evbuffer_drain(bytes, size);
}

void pop3_stuff_add(struct pop3_stuff *stuff, struct evbuffer *bytes, struct evbuffer *out)
{
    size_t left;
    while ((left = evbuffer_get_length(bytes)) > 0) {
        size_t run = evbuffer_get_contiguous_space(bytes);
        add_run(stuff, bytes, run > 0 ? run : left, out);
    }
}

void pop3_stuff_end(struct pop3_stuff *stuff, struct evbuffer *out)
{
    if (stuff->place != POP3_LINE_START) {
        evbuffer_add(out, "\r\n", 2);
    }
    evbuffer_add(out, ".\r\n", 3);
}

void pop3_top_init(struct pop3_top *top, uint32_t lines)
{
    *top = (struct pop3_top){.lines = lines};
}

/* One line has ended. */
static void line_end(struct pop3_top *top, bool empty)
{
    if (top->body) {
        top->lines--;
    } else if (empty) {
        top->body = true;
    }
    top->done = top->body && top->lines == 0;
}

void pop3_top_cut(struct pop3_top *top, struct evbuffer *bytes)
{
    size_t size = evbuffer_get_length(bytes), at = 0;
    const uint8_t *data = evbuffer_pullup(bytes, -1);
    while (at < size && !top->done) {
        uint8_t c = data[at++];
        if (c == '\n' && top->cr) {
            line_end(top, !top->line);
            top->line = top->cr = false;
        } else if (c == '\r') {
            top->line |= top->cr;
            top->cr = true;
        } else {
            top->line = true;
            top->cr = false;
        }
    }
    if (at < size) {
        struct evbuffer *head = evbuffer_new();
        evbuffer_remove_buffer(bytes, head, at);
        evbuffer_drain(bytes, size - at);
        evbuffer_add_buffer(bytes, head);
        evbuffer_free(head);
    }
}
