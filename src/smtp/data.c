/*
 * Only CR LF . CR LF ends a message, and only CR LF makes the beginning of a line: a lone LF or CR
 * is a byte like any other here. Whoever sees an end where another server sees none (LF . LF, LF .
 * CR LF, CR . CR ...) lets a stranger smuggle a second message behind the first. Lone LFs become
 * CRLF later, in the spool, where they no longer can be taken for anything.
 */
#include "smtp/data.h"

static void take(struct slice *input, size_t count)
{
    input->data += count;
    input->size -= count;
}

/* In the middle of a line: up to and with the next CR LF. */
static void next_text(enum smtp_data_state *state, struct slice *input, struct slice *piece)
{
    size_t at = 0;
    while (at < input->size) {
        if (*state == SMTP_DATA_CR && input->data[at] == '\n') {
            *state = SMTP_DATA_LINE;
            at++;
            break;
        }
        if (input->data[at] == '\r') {
            *state = SMTP_DATA_CR;
            at++;
            continue;
        }
        *state = SMTP_DATA_TEXT;
        at += slice_find(slice_sub(*input, at, input->size), '\r');
    }
    *piece = slice_sub(*input, 0, at);
    take(input, at);
}

void smtp_data_next(enum smtp_data_state *state, struct slice *input, struct slice *piece)
{
    *piece = SLICE_NONE;
    if (input->size == 0) {
        return;
    }
    uint8_t c = input->data[0];
    switch (*state) {
    case SMTP_DATA_LINE:
        if (c == '.') {
            *state = SMTP_DATA_DOT;
            take(input, 1);
        } else {
            *state = SMTP_DATA_TEXT;
            next_text(state, input, piece);
        }
        break;
    case SMTP_DATA_DOT:
        if (c == '\r') {
            *state = SMTP_DATA_DOT_CR;
            take(input, 1);
        } else { /* the dot was stuffing */
            *state = SMTP_DATA_TEXT;
            next_text(state, input, piece);
        }
        break;
    case SMTP_DATA_DOT_CR:
        if (c == '\n') {
            *state = SMTP_DATA_END;
            take(input, 1);
        } else { /* the CR was text */
            *state = SMTP_DATA_CR;
            *piece = SLICE_LITERAL("\r");
        }
        break;
    case SMTP_DATA_TEXT:
    case SMTP_DATA_CR:
        next_text(state, input, piece);
        break;
    case SMTP_DATA_END:
        break;
    }
}
