/*
 * The bytes of a FETCH: a section of a message, read in chunks while the client takes them.
 *
 * The size in a literal's announcement is a promise. So the first chunk is read before it is made
 * (the store verifies a message at its first read); if a later one fails all the same, the
 * connection ends: no padding, no other message's bytes.
 */
#include "imap/fetch_priv.h"
#include "message/fields.h"

enum {
    CHUNK = 256 * 1024,
    HEADER_MAX = 1024 * 1024, /* of a header that fields are chosen from, or whose end is sought */
};

struct buf *fetch_item_begins(struct fetch *fetch)
{
    if (fetch->written++ > 0)
        buf_add(&fetch->line, " ", 1);
    return &fetch->line;
}

void fetch_flush(struct imap_session *session, struct fetch *fetch)
{
    imap_put(session, buf_slice(&fetch->line));
    buf_clear(&fetch->line);
    fetch->line_begin = 0;
}

static void on_read(void *arg, enum mailbox_result result, struct evbuffer *bytes)
{
    struct imap_session *session = arg;
    struct fetch *fetch = session->work.own;
    fetch->result = result;
    if (result == MAILBOX_OK)
        evbuffer_add_buffer(fetch->bytes, bytes);
    imap_mailbox_done(session, result);
}

/* ---- reading ahead ------------------------------------------------------------------------- */

static bool chooses_fields(const struct fetch_item *item)
{
    return item->text == FETCH_FIELDS || item->text == FETCH_FIELDS_NOT;
}

/* What is to be read for a section; false: there is no such part. */
static bool section_range(const struct summary *summary, const struct fetch_message *message,
                          const struct fetch_item *item, struct fetch_range *range)
{
    if (item->depth == 0 && item->text == FETCH_ALL)
        *range = (struct fetch_range){0, message->size};
    else if (!fetch_locate(summary, message->prefix_size, item, range))
        return false;
    if (chooses_fields(item) && range->size > HEADER_MAX)
        range->size = HEADER_MAX;
    if (!chooses_fields(item))
        fetch_clip(item, range);
    return true;
}

static const struct fetch_item *first_section(const struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->items.count; i++)
        if (fetch->items.list[i].kind == FETCH_SECTION)
            return &fetch->items.list[i];
    return NULL;
}

static void on_ahead(void *arg, enum mailbox_result result, struct evbuffer *bytes)
{
    struct fetch_ahead *ahead = arg;
    struct imap_session *session = ahead->session;
    struct fetch *fetch = session->work.own;
    ahead->arrived = true;
    ahead->result = result;
    if (result == MAILBOX_OK)
        evbuffer_add_buffer(ahead->bytes, bytes);
    fetch->outstanding--;
    if (fetch->awaited == ahead || (fetch->awaits_all && fetch->outstanding == 0))
        imap_mailbox_done(session, result);
}

static void ask_ahead(struct imap_session *session, struct fetch *fetch,
                      struct fetch_message *message, struct fetch_ahead *ahead)
{
    struct summary summary;
    struct fetch_range range;
    uint64_t blob = message->size - message->prefix_size;
    if (!message->loaded || message->result != MAILBOX_OK)
        return;
    arena_reset(&fetch->scratch);
    if ((fetch->items.need & MAILBOX_NEED_SUMMARY) != 0 &&
        !summary_decode(message->packed, blob, &fetch->scratch, &summary))
        return;
    if (!section_range(&summary, message, first_section(fetch), &range) || range.size == 0 ||
        range.size > FETCH_AHEAD_BYTES)
        return;
    if (ahead->bytes == NULL)
        ahead->bytes = evbuffer_new();
    evbuffer_drain(ahead->bytes, evbuffer_get_length(ahead->bytes));
    ahead->session = session;
    ahead->range = range;
    ahead->asked = true;
    ahead->arrived = false;
    message->ahead = ahead;
    fetch->outstanding++;
    mailbox_read_loaded(session->view, &message->place, range.offset, range.size, on_ahead, ahead);
}

void fetch_read_ahead(struct imap_session *session, struct fetch *fetch)
{
    if (first_section(fetch) == NULL)
        return;
    if (fetch->ahead_next < fetch->at)
        fetch->ahead_next = fetch->at;
    while (fetch->ahead_next < fetch->count && fetch->ahead_next < fetch->at + FETCH_AHEAD) {
        struct fetch_ahead *ahead = &fetch->ahead[fetch->ahead_next % FETCH_AHEAD];
        if (ahead->asked && !ahead->arrived)
            break; /* of a message that is served and did not need it */
        ask_ahead(session, fetch, &fetch->messages[fetch->ahead_next++], ahead);
    }
}

enum imap_step fetch_await_all(struct imap_session *session, struct fetch *fetch)
{
    fetch->awaits_all = true;
    return imap_wait_store(session, "reads that are not needed");
}

/* No read is on its way any more, or the view is closed next. */
void fetch_ahead_finish(struct fetch *fetch)
{
    for (size_t i = 0; i < FETCH_AHEAD; i++)
        if (fetch->ahead[i].bytes != NULL)
            evbuffer_free(fetch->ahead[i].bytes);
}

static bool was_asked_ahead(const struct fetch_message *message, uint64_t offset, uint64_t size)
{
    const struct fetch_ahead *ahead = message->ahead;
    return ahead != NULL && ahead->asked && ahead->range.offset == offset &&
           ahead->range.size == size;
}

enum imap_step fetch_read_bytes(struct imap_session *session, struct fetch *fetch,
                                const struct fetch_message *message, uint64_t offset, uint64_t size)
{
    fetch->reading = true;
    if (!was_asked_ahead(message, offset, size)) {
        mailbox_read_loaded(session->view, &message->place, offset, size, on_read, session);
        return imap_wait_store(session, "a message's bytes");
    }
    fetch->awaited = message->ahead;
    return message->ahead->arrived ? IMAP_MORE : imap_wait_store(session, "a message's bytes");
}

/* The read that was waited for is done: its bytes, whoever asked for them. */
void fetch_collect_bytes(struct fetch *fetch)
{
    struct fetch_ahead *ahead = fetch->awaited;
    fetch->awaited = NULL;
    fetch->reading = false;
    if (ahead == NULL)
        return;
    fetch->result = ahead->result;
    evbuffer_add_buffer(fetch->bytes, ahead->bytes);
    ahead->asked = false;
}

static void drop_bytes(struct fetch *fetch)
{
    evbuffer_drain(fetch->bytes, evbuffer_get_length(fetch->bytes));
    fetch->reading = false;
}

/* ---- the summary --------------------------------------------------------------------------- */

enum imap_step fetch_prepare_summary(struct imap_session *session, struct fetch *fetch,
                                     const struct fetch_message *message)
{
    uint64_t blob = message->size - message->prefix_size;
    if (!fetch->reading) {
        arena_reset(&fetch->scratch);
        if ((fetch->items.need & MAILBOX_NEED_SUMMARY) == 0)
            return IMAP_DONE;
        if (summary_decode(message->packed, blob, &fetch->scratch, &fetch->summary))
            return IMAP_DONE;
        /* None, or none that fits: the message is one opaque part behind its header. */
        summary_opaque(blob, 0, &fetch->scratch, &fetch->summary);
        if (blob == 0)
            return IMAP_DONE;
        return fetch_read_bytes(session, fetch, message, message->prefix_size,
                                blob < HEADER_MAX ? blob : HEADER_MAX);
    }
    fetch_collect_bytes(fetch);
    if (fetch->result == MAILBOX_BROKEN)
        return IMAP_CLOSE;
    if (fetch->result == MAILBOX_OK) {
        size_t size = evbuffer_get_length(fetch->bytes);
        struct slice bytes = slice_make(evbuffer_pullup(fetch->bytes, -1), size);
        summary_opaque(blob, fields_header_size(bytes), &fetch->scratch, &fetch->summary);
    }
    drop_bytes(fetch);
    return IMAP_DONE;
}

/* ---- a section ----------------------------------------------------------------------------- */

void fetch_announce(struct imap_session *session, struct fetch *fetch,
                    const struct fetch_item *item, uint64_t size, bool eight)
{
    buf_printf(fetch_item_begins(fetch), "%s %s{%llu}\r\n", item->label, eight ? "~" : "",
               (unsigned long long)size);
    fetch_flush(session, fetch);
    fetch->announced = true;
}

enum imap_step fetch_section_done(struct fetch *fetch)
{
    drop_bytes(fetch);
    fetch->section_begun = fetch->announced = false;
    return IMAP_DONE;
}

static void put_fields(struct imap_session *session, struct fetch *fetch,
                       const struct fetch_item *item)
{
    struct buf chosen = {0};
    size_t size = evbuffer_get_length(fetch->bytes);
    fetch_choose_fields(slice_make(evbuffer_pullup(fetch->bytes, -1), size), item, &chosen);
    struct fetch_range range = {0, chosen.size};
    fetch_clip(item, &range);
    fetch_announce(session, fetch, item, range.size, false);
    imap_put(session, slice_sub(buf_slice(&chosen), (size_t)range.offset, (size_t)range.size));
    buf_finish(&chosen);
}

static enum imap_step begin_section(struct fetch *fetch, const struct fetch_message *message,
                                    const struct fetch_item *item)
{
    if (!section_range(&fetch->summary, message, item, &fetch->range)) {
        buf_printf(fetch_item_begins(fetch), "%s NIL", item->label);
        return IMAP_DONE;
    }
    if (fetch->range.size == 0 && chooses_fields(item)) {
        static const char empty[] = "\r\n"; /* see fetch_choose_fields */
        struct fetch_range line = {0, 2};
        fetch_clip(item, &line);
        buf_printf(fetch_item_begins(fetch), "%s {%d}\r\n%.*s", item->label, (int)line.size,
                   (int)line.size, empty + line.offset);
        return IMAP_DONE;
    }
    if (fetch->range.size == 0) {
        buf_printf(fetch_item_begins(fetch), "%s \"\"", item->label);
        return IMAP_DONE;
    }
    fetch->section_begun = true;
    return IMAP_MORE;
}

/* What the read has brought. */
static enum imap_step take_bytes(struct imap_session *session, struct fetch *fetch,
                                 const struct fetch_item *item)
{
    uint64_t wanted = fetch->range.size < CHUNK || chooses_fields(item) ? fetch->range.size : CHUNK;
    fetch_collect_bytes(fetch);
    bool good = fetch->result == MAILBOX_OK && evbuffer_get_length(fetch->bytes) == wanted;
    if (!good) {
        fetch->damaged = true;
        if (fetch->result == MAILBOX_BROKEN || fetch->announced)
            return IMAP_CLOSE;
        return fetch_section_done(fetch);
    }
    if (chooses_fields(item)) {
        put_fields(session, fetch, item);
        return fetch_section_done(fetch);
    }
    if (!fetch->announced)
        fetch_announce(session, fetch, item, fetch->range.size, false);
    evbuffer_add_buffer(imap_out(session), fetch->bytes);
    fetch->range.offset += wanted;
    fetch->range.size -= wanted;
    return fetch->range.size == 0 ? fetch_section_done(fetch) : IMAP_MORE;
}

enum imap_step fetch_section(struct imap_session *session, struct fetch *fetch,
                             const struct fetch_message *message, const struct fetch_item *item)
{
    if (!fetch->section_begun) {
        enum imap_step step = begin_section(fetch, message, item);
        if (step != IMAP_MORE)
            return step;
    }
    if (fetch->reading)
        return take_bytes(session, fetch, item);
    if (imap_output_full(session))
        return IMAP_WAIT_OUTPUT;
    uint64_t size = fetch->range.size < CHUNK || chooses_fields(item) ? fetch->range.size : CHUNK;
    return fetch_read_bytes(session, fetch, message, fetch->range.offset, size);
}
