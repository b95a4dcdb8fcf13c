/*
 * The message itself: DATA (RFC 5321 4.1.1.4) and BDAT (RFC 3030 2), into the spool. Whatever goes
 * wrong with it, all its bytes are taken first: they must never be read as commands.
 */
#include <event2/buffer.h>

#include "smtp/lmtp.h"

static void begin_spool(struct lmtp *lmtp)
{
    spool_begin(&lmtp->spool, door_settings(lmtp->conn)->message_size);
}

static void add(struct lmtp *lmtp, struct slice bytes)
{
    enum { STEP = 64 * 1024 };
    struct spool *spool = &lmtp->spool;
    spool_add(spool, bytes);
    while (spool->state == SPOOL_OK && lmtp->charged < spool->size) {
        if (!door_conn_charge(lmtp->conn, STEP)) {
            spool_fail(spool, SPOOL_NOSPACE);
            return;
        }
        lmtp->charged += STEP;
    }
}

/* Bytes at the front of the input, in one piece: at most one chain of it. */
static struct slice front(struct evbuffer *input)
{
    size_t size = evbuffer_get_contiguous_space(input);
    return slice_make(evbuffer_pullup(input, (ev_ssize_t)size), size);
}

enum door_step lmtp_data(struct lmtp *lmtp, const struct lmtp_request *request)
{
    begin_spool(lmtp);
    lmtp->data = SMTP_DATA_LINE;
    lmtp->mode = LMTP_DATA;
    lmtp->bad = 0;
    lmtp_reply(lmtp, "354 Go ahead; end with <CRLF>.<CRLF>");
    return DOOR_AGAIN;
}

static enum door_step data_input(struct lmtp *lmtp, struct evbuffer *input)
{
    struct slice all = front(input), rest = all, piece;
    while (rest.size > 0 && lmtp->data != SMTP_DATA_END) {
        smtp_data_next(&lmtp->data, &rest, &piece);
        add(lmtp, piece);
    }
    evbuffer_drain(input, all.size - rest.size);
    return lmtp->data == SMTP_DATA_END ? lmtp_deliver(lmtp) : DOOR_AGAIN;
}

const char *lmtp_check_bdat(struct lmtp_request *request)
{
    struct slice rest = slice_trim(request->argument);
    struct slice size = slice_split(&rest, ' ');
    rest = slice_trim(rest);
    request->last = slice_equal_nocase_str(rest, "LAST");
    if (!slice_u64(size, &request->size) || (rest.size > 0 && !request->last)) {
        return "501 5.5.4 Syntax: BDAT size [LAST]";
    }
    return NULL;
}

/* The chunk is through. */
static enum door_step chunk_end(struct lmtp *lmtp)
{
    lmtp->mode = LMTP_LINES;
    if (lmtp->chunk_refused) {
        /* RFC 2033 4.3: a last chunk has an answer per recipient; here there are none. */
        if (lmtp->chunk_last && lmtp->state == LMTP_MAIL) {
            lmtp_reset(lmtp);
            return DOOR_AGAIN;
        }
        return lmtp_refuse(lmtp, "503 5.5.1 No valid recipients");
    }
    if (lmtp->chunk_last) {
        return lmtp_deliver(lmtp);
    }
    switch (lmtp->spool.state) {
    case SPOOL_OK:
        lmtp_reply(lmtp, "250 2.0.0 Chunk taken");
        break;
    case SPOOL_TOO_LARGE:
        lmtp_reply(lmtp, "552 5.3.4 Message too large");
        break;
    case SPOOL_NOSPACE:
        lmtp_reply(lmtp, "452 4.3.1 No space; try again later");
        break;
    }
    return DOOR_AGAIN;
}

static enum door_step chunk_input(struct lmtp *lmtp, struct evbuffer *input)
{
    struct slice piece = front(input);
    piece =
        slice_sub(piece, 0, lmtp->chunk_left < piece.size ? (size_t)lmtp->chunk_left : piece.size);
    if (!lmtp->chunk_refused) {
        add(lmtp, piece);
    }
    lmtp->chunk_left -= piece.size;
    evbuffer_drain(input, piece.size);
    return lmtp->chunk_left == 0 ? chunk_end(lmtp) : DOOR_AGAIN;
}

enum door_step lmtp_bdat(struct lmtp *lmtp, const struct lmtp_request *request)
{
    lmtp->mode = LMTP_CHUNK;
    lmtp->chunk_left = request->size;
    lmtp->chunk_last = request->last;
    lmtp->chunk_refused = (lmtp->state & (LMTP_RCPT | LMTP_BDAT)) == 0;
    if (lmtp->state == LMTP_RCPT) {
        begin_spool(lmtp);
        lmtp->state = LMTP_BDAT;
        lmtp->bad = 0;
    }
    return lmtp->chunk_left == 0 ? chunk_end(lmtp) : DOOR_AGAIN;
}

enum door_step lmtp_message_input(struct lmtp *lmtp, struct evbuffer *input)
{
    return lmtp->mode == LMTP_DATA ? data_input(lmtp, input) : chunk_input(lmtp, input);
}
