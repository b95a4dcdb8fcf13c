/*
 * The bytes of messages on their way from the store into batches: a ring of pieces, several of them
 * asked for ahead, taken in order. What is held is bounded by the ring and by the batches at the
 * readers, however large the messages are in number; one message is as large as it is.
 *
 * A message that cannot be read is not found; its record is filled up with zeros.
 */
#include "imap/search_batch.h"

static void on_read(void *arg, enum mailbox_result result, struct evbuffer *bytes)
{
    struct search_piece *piece = arg;
    piece->arrived = true;
    piece->result = result;
    if (result == MAILBOX_OK)
        evbuffer_add_buffer(piece->bytes, bytes);
    search_wake(piece->search);
}

/* The next open candidate's next piece; false: all have been asked for. */
static bool ask(struct imap_session *session, struct search *search)
{
    while (search->reading < search->count && !search->candidates[search->reading].open)
        search->reading++;
    if (search->reading == search->count)
        return false;
    const struct candidate *candidate = &search->candidates[search->reading];
    struct search_piece *piece = &search->pieces[search->asked++ % SEARCH_PIECES];
    uint64_t rest = candidate->size - search->reading_offset;
    piece->search = search;
    piece->candidate = search->reading;
    piece->size = rest < SEARCH_PIECE_BYTES ? rest : SEARCH_PIECE_BYTES;
    piece->first = search->reading_offset == 0;
    piece->last = piece->size == rest;
    piece->arrived = false;
    if (piece->bytes == NULL)
        piece->bytes = evbuffer_new();
    mailbox_read_loaded(session->view, &candidate->place, search->reading_offset, piece->size,
                        on_read, piece);
    search->reading_offset = piece->last ? 0 : search->reading_offset + piece->size;
    search->reading += piece->last;
    return true;
}

static bool add_zeros(struct search *search, uint64_t size)
{
    static const uint8_t zeros[4096];
    bool good = true;
    for (; good && size > 0; size -= size < sizeof(zeros) ? size : sizeof(zeros))
        good = search_batch_add(search, zeros, size < sizeof(zeros) ? size : sizeof(zeros));
    return good;
}

static bool add_bytes(struct search *search, struct evbuffer *bytes)
{
    bool good = true;
    while (good && evbuffer_get_length(bytes) > 0) {
        size_t size = evbuffer_get_contiguous_space(bytes);
        size = size > 0 ? size : evbuffer_get_length(bytes);
        good = search_batch_add(search, evbuffer_pullup(bytes, (ev_ssize_t)size), size);
        evbuffer_drain(bytes, size);
    }
    return good;
}

/* Moves a piece that has arrived into the batch; false: no memory. */
static bool take(struct search *search)
{
    struct search_piece *piece = &search->pieces[search->taken++ % SEARCH_PIECES];
    struct candidate *candidate = &search->candidates[piece->candidate];
    bool good = !piece->first ||
                search_batch_begin(search, SEARCH_MESSAGE, piece->candidate, 0, candidate->size);
    if (piece->result != MAILBOX_OK || evbuffer_get_length(piece->bytes) != piece->size) {
        candidate->open = false;
        evbuffer_drain(piece->bytes, evbuffer_get_length(piece->bytes));
        good = good && add_zeros(search, piece->size);
    }
    good = good && add_bytes(search, piece->bytes);
    if (good && piece->last && search_batch_is_full(search))
        search_batch_send(search);
    return good;
}

static bool has_arrived(const struct search *search)
{
    return search->taken != search->asked && search->pieces[search->taken % SEARCH_PIECES].arrived;
}

enum imap_step search_read(struct imap_session *session, struct search *search)
{
    while (has_arrived(search)) {
        if (search->pieces[search->taken % SEARCH_PIECES].result == MAILBOX_BROKEN)
            return IMAP_CLOSE;
        if (search->unavailable)
            search->taken++; /* what was asked for must still come */
        else if (!take(search))
            search->unavailable = true;
    }
    bool more = true;
    while (more && !search->unavailable && search->flying < SEARCH_FLIGHT_MAX &&
           search->asked - search->taken < SEARCH_PIECES)
        more = ask(session, search);
    if (!more && search->asked == search->taken)
        search_batch_send(search);
    if (search->asked == search->taken && search->flying == 0 && (!more || search->unavailable))
        return IMAP_DONE;
    search->waiting = true;
    return imap_wait_store(session, "messages to be searched");
}

/* No read is on its way any more, or the view is closed next. */
void search_read_finish(struct search *search)
{
    for (size_t i = 0; i < SEARCH_PIECES; i++)
        if (search->pieces[i].bytes != NULL)
            evbuffer_free(search->pieces[i].bytes);
}
