/*
 * BINARY and BINARY.SIZE (RFC 3516): a part without its transfer encoding. How large it is then,
 * and if it has NUL, is known when all of it has been decoded; so a part of more than one chunk is
 * read twice, once to count and once to send, and nothing larger than a chunk is held.
 */
#include "imap/fetch_priv.h"

enum { CHUNK = 256 * 1024 };

static enum imap_step binary_done(struct fetch *fetch)
{
    buf_finish(&fetch->binary.plain);
    fetch->binary = (struct fetch_binary){0};
    fetch_section_done(fetch);
    return IMAP_DONE;
}

/* IMAP_MORE: it is to be read. */
static enum imap_step binary_begin(struct fetch *fetch, const struct fetch_message *message,
                                   const struct fetch_item *item)
{
    struct fetch_binary *binary = &fetch->binary;
    const struct summary_part *part = fetch_part(&fetch->summary, item);
    struct slice encoding = part == NULL ? SLICE_NONE : part->encoding;
    if (part == NULL ||
        !fetch_locate(&fetch->summary, message->prefix_size, item, &binary->range)) {
        buf_printf(fetch_item_begins(fetch), "%s %s", item->label,
                   item->kind == FETCH_BINARY ? "NIL" : "0");
        return IMAP_DONE;
    }
    /* What has parts itself is not encoded (RFC 2045 6.4). */
    if (item->depth == 0 || part->kind == SUMMARY_MULTIPART || part->kind == SUMMARY_MESSAGE)
        encoding = SLICE_LITERAL("binary");
    if (!transfer_begin(&binary->transfer, encoding)) {
        fetch->unknown_encoding = true;
        return IMAP_DONE;
    }
    binary->encoding = encoding;
    binary->begun = true;
    return IMAP_MORE;
}

/* All has been counted: what is to be sent of it. */
static void binary_announce(struct imap_session *session, struct fetch *fetch,
                            const struct fetch_item *item)
{
    struct fetch_binary *binary = &fetch->binary;
    struct fetch_range window = {0, binary->size};
    fetch_clip(item, &window);
    binary->skip = window.offset;
    binary->left = window.size;
    if (binary->left == 0)
        buf_printf(fetch_item_begins(fetch), "%s \"\"", item->label);
    else
        fetch_announce(session, fetch, item, binary->left, binary->nul);
    binary->sends = true;
    binary->at = 0;
    transfer_begin(&binary->transfer, binary->encoding);
}

/* Of these decoded bytes, those in the window. */
static void binary_send(struct imap_session *session, struct fetch_binary *binary)
{
    struct slice bytes = buf_slice(&binary->plain);
    uint64_t skip = binary->skip < bytes.size ? binary->skip : bytes.size;
    bytes = slice_sub(bytes, (size_t)skip, bytes.size);
    binary->skip -= skip;
    bytes = slice_sub(bytes, 0, binary->left < bytes.size ? (size_t)binary->left : bytes.size);
    binary->left -= bytes.size;
    imap_put(session, bytes);
}

static enum imap_step binary_take(struct imap_session *session, struct fetch *fetch,
                                  const struct fetch_item *item, uint64_t wanted)
{
    struct fetch_binary *binary = &fetch->binary;
    fetch_collect_bytes(fetch);
    if (fetch->result != MAILBOX_OK || evbuffer_get_length(fetch->bytes) != wanted) {
        fetch->damaged = true;
        if (fetch->result == MAILBOX_BROKEN || fetch->announced)
            return IMAP_CLOSE;
        return binary_done(fetch);
    }
    buf_clear(&binary->plain);
    transfer_feed(&binary->transfer, slice_make(evbuffer_pullup(fetch->bytes, -1), (size_t)wanted),
                  &binary->plain);
    evbuffer_drain(fetch->bytes, (size_t)wanted);
    binary->at += wanted;
    if (binary->at == binary->range.size)
        transfer_end(&binary->transfer, &binary->plain);
    if (binary->sends) {
        binary_send(session, binary);
        return binary->left == 0 ? binary_done(fetch) : IMAP_MORE;
    }
    binary->size += binary->plain.size;
    binary->nul = binary->nul || slice_find(buf_slice(&binary->plain), 0) < binary->plain.size;
    return IMAP_MORE;
}

enum imap_step fetch_binary(struct imap_session *session, struct fetch *fetch,
                            const struct fetch_message *message, const struct fetch_item *item)
{
    struct fetch_binary *binary = &fetch->binary;
    if (!binary->begun) {
        enum imap_step step = binary_begin(fetch, message, item);
        if (step != IMAP_MORE)
            return step;
    }
    uint64_t rest = binary->range.size - binary->at, size = rest < CHUNK ? rest : CHUNK;
    if (fetch->reading)
        return binary_take(session, fetch, item, size);
    if (imap_output_full(session))
        return IMAP_WAIT_OUTPUT;
    if (size == 0 && item->kind == FETCH_BINARY_SIZE) {
        buf_printf(fetch_item_begins(fetch), "%s %llu", item->label,
                   (unsigned long long)binary->size);
        return binary_done(fetch);
    }
    if (size == 0) {
        bool held = binary->range.size <= CHUNK; /* all of it is in plain */
        binary_announce(session, fetch, item);
        if (held)
            binary_send(session, binary);
        return held || binary->left == 0 ? binary_done(fetch) : IMAP_MORE;
    }
    return fetch_read_bytes(session, fetch, message, binary->range.offset + binary->at, size);
}
