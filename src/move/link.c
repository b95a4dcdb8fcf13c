/* Blocking frames over the socket that control handed to the worker. */
#include "move/link.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

static bool broke(struct error *error)
{
    return error_set(error,
                     "the server broke off the connection; see its log, then run this again");
}

bool move_link_send(struct move_link *link, struct error *error)
{
    struct slice rest = buf_slice(&link->out);
    while (rest.size > 0) {
        ssize_t sent = send(link->fd, rest.data, rest.size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return broke(error);
        rest = slice_sub(rest, (size_t)sent, rest.size);
    }
    buf_clear(&link->out);
    return true;
}

/* A whole frame; its body is valid until the next call. */
static bool frame_read(struct move_link *link, enum move_kind *kind, struct slice *body,
                       struct error *error)
{
    for (;;) {
        struct slice rest = slice_sub(buf_slice(&link->in), link->taken, link->in.size);
        struct cursor cursor = cursor_make(rest);
        uint32_t size = cursor_u32(&cursor);
        if (!cursor.failed && (size < 1 || size > MOVE_FRAME_MAX))
            return broke(error);
        if (!cursor.failed && cursor.rest.size >= size) {
            *kind = (enum move_kind)cursor.rest.data[0];
            *body = slice_sub(cursor.rest, 1, size - 1);
            link->taken += 4 + size;
            return true;
        }
        memmove(link->in.data, rest.data, rest.size);
        link->in.size = rest.size;
        link->taken = 0;
        uint8_t *to = buf_extend(&link->in, MOVE_BYTES);
        ssize_t got = recv(link->fd, to, MOVE_BYTES, 0);
        link->in.size -= MOVE_BYTES - (size_t)(got > 0 ? got : 0);
        if (got == 0 || (got < 0 && errno != EINTR))
            return broke(error);
    }
}

bool move_link_ask(struct move_link *link, move_answer *answer, void *arg, struct error *error)
{
    enum move_kind kind = MOVE_DONE;
    struct slice body = SLICE_NONE;
    if (!move_link_send(link, error))
        return false;
    for (;;) {
        if (!frame_read(link, &kind, &body, error))
            return false;
        if (kind == MOVE_DONE)
            break;
        if (answer == NULL || !answer(arg, kind, body, error))
            return broke(error);
    }
    struct cursor cursor = cursor_make(body);
    link->result = cursor_u32(&cursor);
    struct slice text = cursor_packed(&cursor);
    snprintf(link->text, sizeof(link->text), "%.*s", SLICE_PRINT(text));
    return cursor_done(&cursor) || broke(error);
}

bool move_link_must(struct move_link *link, move_answer *answer, void *arg, const char *what,
                    struct error *error)
{
    if (!move_link_ask(link, answer, arg, error))
        return false;
    return link->result == 0 || error_set(error, "%s: %s", what, link->text);
}

bool move_link_begin(struct move_link *link, int fd, struct error *error)
{
    *link = (struct move_link){.fd = fd};
    return move_link_must(link, NULL, NULL, "the account", error);
}

void move_link_finish(struct move_link *link)
{
    buf_finish(&link->in);
    buf_finish(&link->out);
}
