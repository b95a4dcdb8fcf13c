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

struct evbuffer *fetch_item_begins(struct fetch *fetch)
{
    if (fetch->written++ > 0)
        evbuffer_add(fetch->line, " ", 1);
    return fetch->line;
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

static enum imap_step read_bytes(struct imap_session *session, struct fetch *fetch,
                                 const struct fetch_message *message, uint64_t offset,
                                 uint64_t size)
{
    fetch->reading = true;
    mailbox_read(session->view, message->uid, offset, size, on_read, session);
    return imap_wait_store(session, "a message's bytes");
}

static void drop_bytes(struct fetch *fetch)
{
    evbuffer_drain(fetch->bytes, evbuffer_get_length(fetch->bytes));
    fetch->reading = false;
}

/* ---- the summary --------------------------------------------------------------------------- */

static bool needs_parts(const struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->items.count; i++) {
        const struct fetch_item *item = &fetch->items.list[i];
        if (item->kind == FETCH_ENVELOPE || item->kind == FETCH_BODY ||
            item->kind == FETCH_BODYSTRUCTURE ||
            (item->kind == FETCH_SECTION && (item->depth > 0 || item->text != FETCH_ALL)))
            return true;
    }
    return false;
}

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
        if (!needs_parts(fetch) || blob == 0)
            return IMAP_DONE;
        return read_bytes(session, fetch, message, message->prefix_size,
                          blob < HEADER_MAX ? blob : HEADER_MAX);
    }
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

/* The answer so far goes out, with the announcement. */
static void announce(struct imap_session *session, struct fetch *fetch,
                     const struct fetch_item *item, uint64_t size)
{
    evbuffer_add_printf(fetch_item_begins(fetch), "%s {%llu}\r\n", item->label,
                        (unsigned long long)size);
    evbuffer_add_buffer(imap_out(session), fetch->line);
    fetch->announced = true;
}

static enum imap_step section_done(struct fetch *fetch)
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
    announce(session, fetch, item, range.size);
    imap_put(session, slice_sub(buf_slice(&chosen), (size_t)range.offset, (size_t)range.size));
    buf_finish(&chosen);
}

static bool chooses_fields(const struct fetch_item *item)
{
    return item->text == FETCH_FIELDS || item->text == FETCH_FIELDS_NOT;
}

static enum imap_step begin_section(struct fetch *fetch, const struct fetch_message *message,
                                    const struct fetch_item *item)
{
    if (item->depth == 0 && item->text == FETCH_ALL) {
        fetch->range = (struct fetch_range){0, message->size};
    } else if (!fetch_locate(&fetch->summary, message->prefix_size, item, &fetch->range)) {
        evbuffer_add_printf(fetch_item_begins(fetch), "%s NIL", item->label);
        return IMAP_DONE;
    }
    if (chooses_fields(item) && fetch->range.size > HEADER_MAX)
        fetch->range.size = HEADER_MAX;
    if (!chooses_fields(item))
        fetch_clip(item, &fetch->range);
    if (fetch->range.size == 0) {
        evbuffer_add_printf(fetch_item_begins(fetch), "%s \"\"", item->label);
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
    bool good = fetch->result == MAILBOX_OK && evbuffer_get_length(fetch->bytes) == wanted;
    fetch->reading = false;
    if (!good) {
        fetch->damaged = true;
        if (fetch->result == MAILBOX_BROKEN || fetch->announced)
            return IMAP_CLOSE;
        return section_done(fetch);
    }
    if (chooses_fields(item)) {
        put_fields(session, fetch, item);
        return section_done(fetch);
    }
    if (!fetch->announced)
        announce(session, fetch, item, fetch->range.size);
    evbuffer_add_buffer(imap_out(session), fetch->bytes);
    fetch->range.offset += wanted;
    fetch->range.size -= wanted;
    return fetch->range.size == 0 ? section_done(fetch) : IMAP_MORE;
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
    return read_bytes(session, fetch, message, fetch->range.offset, size);
}
