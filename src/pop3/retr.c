/*
 * RETR and TOP: one message to the client, in pieces that are read when the one before has left
 * (the first, where messages are retrieved in a row, before it is asked for: ahead.c).
 * Nothing is said before the first piece is here: a message that cannot be read gets its -ERR and
 * hurts no other. Later pieces can hardly fail (the first read verifies the whole); if one does,
 * the answer cannot be mended and the connection ends.
 */
#include <event2/buffer.h>

#include "pop3/pop3_priv.h"

static enum pop3_step read_piece(struct pop3 *s);

static enum pop3_step finish(struct pop3 *s)
{
    pop3_stuff_end(&s->stuff, s->output);
    return POP3_NEXT;
}

static enum pop3_step take(struct pop3 *s, enum mailbox_result result, struct evbuffer *bytes)
{
    const struct pop3_message *message = &s->messages[s->number - 1];
    if (result == MAILBOX_OK && evbuffer_get_length(bytes) == 0 && s->offset < message->size) {
        result = MAILBOX_CORRUPT; /* shorter than it is said to be */
    }
    if (result != MAILBOX_OK) {
        return s->begun ? POP3_BREAK : pop3_trouble(s, result);
    }
    if (!s->begun && s->top) {
        pop3_write(s, "+OK Message follows\r\n");
    } else if (!s->begun) {
        pop3_write(s, "+OK %llu octets\r\n", (unsigned long long)message->size);
    }
    s->begun = true;
    s->offset += evbuffer_get_length(bytes);
    if (s->top) {
        pop3_top_cut(&s->lines, bytes);
    }
    pop3_stuff_add(&s->stuff, bytes, s->output);
    if (s->offset >= message->size || (s->top && s->lines.done)) {
        return finish(s);
    }
    s->more = read_piece;
    return POP3_MORE;
}

static void on_read(void *arg, enum mailbox_result result, struct evbuffer *bytes)
{
    struct pop3 *s = arg;
    pop3_continue(s, take(s, result, bytes));
}

static enum pop3_step read_piece(struct pop3 *s)
{
    s->wait = "store";
    mailbox_read(s->view, s->messages[s->number - 1].uid, s->offset, POP3_CHUNK, on_read, s);
    return POP3_WAIT;
}

static const char no_such[] = "-ERR There is no such message";

/* False: there is no such message. */
static bool begin(struct pop3 *s, uint32_t number)
{
    if (pop3_message(s, number) == NULL) {
        return false;
    }
    s->number = number;
    s->offset = 0;
    s->begun = false;
    s->stuff = (struct pop3_stuff){0};
    return true;
}

enum pop3_step pop3_retr(struct pop3 *s, uint32_t number)
{
    s->top = false;
    if (!begin(s, number)) {
        return pop3_bad(s, no_such);
    }
    struct evbuffer *bytes = pop3_ahead_take(s, number);
    if (bytes == NULL) {
        enum pop3_step step = read_piece(s);
        pop3_ahead_fill(s);
        return step;
    }
    enum pop3_step step = take(s, MAILBOX_OK, bytes);
    evbuffer_free(bytes);
    return step;
}

enum pop3_step pop3_top(struct pop3 *s, uint32_t number, uint32_t lines)
{
    s->top = true;
    pop3_top_init(&s->lines, lines);
    return begin(s, number) ? read_piece(s) : pop3_bad(s, no_such);
}
