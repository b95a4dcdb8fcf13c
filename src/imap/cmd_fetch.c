/*
 * FETCH and UID FETCH: an iterator over the messages of a set. It works in pages (mailbox_load)
 * and, within a message, section by section in chunks (fetch_body.c), and gives the loop back
 * whenever it waits, its turn is over or the client's output is full. A page:
 *
 *   gather -> load -> \Seen -> message, message, ... -> next page
 *
 * One message that cannot be read is left out, with its item or as a whole; the others are served
 * and the answer is NO in the end. \Seen is set before the page is served, so that FLAGS can stand
 * in the same answer (RFC 3501 6.4.5, 7.4.2).
 */
#include <stdlib.h>

#include "imap/cmd.h"
#include "imap/fetch_priv.h"

enum {
    PAGE_PLAIN = 500,  /* messages of a page that needs no summaries */
    PAGE_SUMMARY = 64, /* a summary has up to 48 KiB, */
    PAGE_SMALL = 250,  /* but most have less than 1 KiB */
    PAGE_BYTES = 192 * 1024,
    LINES = 16384, /* of answers go to the output at once */
};

static bool fetch_check(struct imap_parser *parser, bool uid, void *own)
{
    struct fetch *fetch = own;
    return imap_parse_space(parser) && imap_parse_set(parser, &fetch->set) &&
           imap_parse_space(parser) && fetch_parse_items(parser, &fetch->items) &&
           fetch_parse_modifiers(parser, uid, &fetch->items);
}

/* ---- a page -------------------------------------------------------------------------------- */

/* By the size of the last page's summaries. */
static size_t page_size(const struct fetch *fetch)
{
    if ((fetch->items.need & MAILBOX_NEED_SUMMARY) == 0)
        return PAGE_PLAIN;
    return fetch->count > 0 && fetch->packed < PAGE_BYTES / PAGE_SMALL * fetch->count
               ? PAGE_SMALL
               : PAGE_SUMMARY;
}

/* Takes the next sequence numbers; false: there are none. */
static bool gather(struct imap_session *session, struct fetch *fetch)
{
    uint32_t sequence = fetch->next;
    size_t most = page_size(fetch);
    arena_reset(&fetch->page);
    fetch->messages = arena_array(&fetch->page, most, sizeof(*fetch->messages));
    fetch->count = fetch->at = fetch->ahead_next = 0;
    while (fetch->count < most && uidset_next(&fetch->sequences, sequence, &sequence)) {
        const struct mailbox_entry *entry = mailbox_view_at(session->view, sequence);
        if (fetch->items.changed &&
            (entry->modseq <= fetch->since || mailbox_view_expunged(session->view, sequence))) {
            sequence++;
            continue;
        }
        struct fetch_message *message = &fetch->messages[fetch->count++];
        message->sequence = sequence++;
        message->uid = entry->uid;
        message->turns_seen = fetch->sets_seen && (entry->flags & MAILBOX_SEEN) == 0;
    }
    fetch->next = sequence;
    return fetch->count > 0;
}

static void on_loaded(void *arg, enum mailbox_result result, const struct mailbox_message *messages,
                      size_t count)
{
    struct imap_session *session = arg;
    struct fetch *fetch = session->work.own;
    size_t i = 0;
    fetch->packed = 0;
    for (size_t m = 0; m < count && result == MAILBOX_OK; m++) {
        while (i < fetch->count && fetch->messages[i].uid < messages[m].uid)
            i++;
        if (i == fetch->count || fetch->messages[i].uid != messages[m].uid)
            continue;
        struct fetch_message *message = &fetch->messages[i];
        message->loaded = true;
        message->result = messages[m].result;
        message->size = messages[m].size;
        message->date_us = messages[m].date_us;
        message->zone_minutes = messages[m].zone_minutes;
        message->prefix_size = messages[m].prefix_size;
        message->place = messages[m].place;
        message->place.prefix = arena_copy(&fetch->page, messages[m].place.prefix);
        message->packed = arena_copy(&fetch->page, messages[m].summary);
        fetch->packed += message->packed.size;
    }
    imap_mailbox_done(session, result);
}

static enum imap_step load(struct imap_session *session, struct fetch *fetch)
{
    uint32_t *uids = arena_array(&fetch->page, fetch->count, sizeof(*uids));
    for (size_t i = 0; i < fetch->count; i++)
        uids[i] = fetch->messages[i].uid;
    mailbox_load(session->view, uids, fetch->count, fetch->items.need, on_loaded, session);
    return imap_wait_store(session, "messages to load");
}

static void on_seen(void *arg, enum mailbox_result result, const struct uidset *modified)
{
    imap_mailbox_done(arg, result);
}

/* False: there is nothing to set. */
static bool set_seen(struct imap_session *session, struct fetch *fetch)
{
    struct uidset uids;
    struct mailbox_store change = {
        .mode = MAILBOX_STORE_ADD, .flags = {.system = MAILBOX_SEEN}, .silent = true};
    uidset_init(&uids);
    for (size_t i = 0; i < fetch->count; i++) {
        struct fetch_message *message = &fetch->messages[i];
        bool readable = message->loaded && message->result == MAILBOX_OK;
        message->turns_seen = message->turns_seen && readable &&
                              !mailbox_view_expunged(session->view, message->sequence);
        if (message->turns_seen)
            uidset_add(&uids, message->uid, message->uid);
    }
    bool any = uids.count > 0;
    if (any)
        mailbox_store(session->view, &uids, &change, on_seen, session);
    uidset_finish(&uids);
    return any;
}

/* ---- a message ----------------------------------------------------------------------------- */

/* NULL where the item asks for nothing of it. */
static const struct mailbox_entry *entry_of(struct imap_session *session,
                                            const struct fetch_message *message,
                                            const struct fetch_item *item)
{
    bool wanted = item->kind == FETCH_FLAGS || item->kind == FETCH_MODSEQ ||
                  item->kind == FETCH_EMAIL_ID || item->kind == FETCH_SAVE_DATE;
    return wanted ? mailbox_view_at(session->view, message->sequence) : NULL;
}

/* Everything of an answer but the sections. */
static void put_item(struct imap_session *session, struct fetch *fetch,
                     const struct fetch_message *message, const struct fetch_item *item)
{
    struct buf *line = fetch_item_begins(fetch);
    const struct mailbox_entry *entry = entry_of(session, message, item);
    switch (item->kind) {
    case FETCH_UID:
        buf_add_str(line, "UID ");
        buf_number(line, message->uid);
        break;
    case FETCH_FLAGS:
        buf_add_str(line, "FLAGS ");
        imap_put_flags(line, session->account, entry);
        break;
    case FETCH_MODSEQ:
        buf_add_str(line, "MODSEQ (");
        buf_number(line, entry->modseq);
        buf_add_str(line, ")");
        break;
    case FETCH_EMAIL_ID: /* RFC 8474 5.1 */
        buf_add_str(line, "EMAILID (E");
        buf_number(line, entry->email);
        buf_add_str(line, ")");
        break;
    case FETCH_THREAD_ID: /* RFC 8474 5.2: threads are not kept */
        buf_add_str(line, "THREADID NIL");
        break;
    case FETCH_SAVE_DATE: /* RFC 8514 4.2 */
        buf_add_str(line, "SAVEDATE ");
        fetch_put_date(line, (uint64_t)entry->save_date * 1000000, 0);
        break;
    case FETCH_INTERNALDATE:
        buf_add_str(line, "INTERNALDATE ");
        fetch_put_date(line, message->date_us, message->zone_minutes);
        break;
    case FETCH_SIZE:
        buf_add_str(line, "RFC822.SIZE ");
        buf_number(line, message->size);
        break;
    case FETCH_ENVELOPE:
        buf_add_str(line, "ENVELOPE ");
        fetch_put_envelope(line, fetch->summary.parts[0].envelope);
        break;
    default:
        buf_add_str(line, item->kind == FETCH_BODY ? "BODY " : "BODYSTRUCTURE ");
        fetch_put_structure(line, &fetch->summary, item->kind == FETCH_BODYSTRUCTURE);
    }
}

static bool asks_for(const struct fetch *fetch, enum fetch_kind kind)
{
    for (size_t i = 0; i < fetch->items.count; i++)
        if (fetch->items.list[i].kind == kind)
            return true;
    return false;
}

static void begin_message(struct imap_session *session, struct fetch *fetch,
                          const struct fetch_message *message)
{
    fetch->line_begin = fetch->line.size;
    buf_add_str(&fetch->line, "* ");
    buf_number(&fetch->line, message->sequence);
    buf_add_str(&fetch->line, " FETCH (");
    fetch->written = 0;
    fetch->item = 0;
    fetch->begun = true;
    /* RFC 3501 6.4.8: an answer to UID FETCH has the UID. */
    if (session->work.uid && !asks_for(fetch, FETCH_UID))
        put_item(session, fetch, message, &(struct fetch_item){.kind = FETCH_UID});
}

static void end_message(struct imap_session *session, struct fetch *fetch,
                        const struct fetch_message *message)
{
    if (message->turns_seen) { /* a change like any other: RFC 7162 3.2.4 */
        if (!asks_for(fetch, FETCH_FLAGS))
            put_item(session, fetch, message, &(struct fetch_item){.kind = FETCH_FLAGS});
        if (session->condstore && !session->work.uid && !asks_for(fetch, FETCH_UID))
            put_item(session, fetch, message, &(struct fetch_item){.kind = FETCH_UID});
        if (session->condstore && !asks_for(fetch, FETCH_MODSEQ))
            put_item(session, fetch, message, &(struct fetch_item){.kind = FETCH_MODSEQ});
    }
    buf_add_str(&fetch->line, ")\r\n");
    if (fetch->written == 0) /* its only section was damaged */
        fetch->line.size = fetch->line_begin;
    if (fetch->line.size >= LINES)
        fetch_flush(session, fetch);
    fetch->begun = false;
    fetch->at++;
}

/* False: it is passed over. */
static bool can_serve(const struct imap_session *session, struct fetch *fetch,
                      const struct fetch_message *message)
{
    if (fetch->items.need == 0)
        return true;
    if (message->loaded && message->result == MAILBOX_OK)
        return true;
    if (message->loaded)
        fetch->damaged = true;
    else
        fetch->expunged = !session->work.uid;
    return false;
}

static enum imap_step serve(struct imap_session *session, struct fetch *fetch)
{
    const struct fetch_message *message = &fetch->messages[fetch->at];
    if (!fetch->begun) {
        if (!can_serve(session, fetch, message)) {
            fetch->at++;
            return IMAP_MORE;
        }
        if (imap_output_full(session))
            return IMAP_WAIT_OUTPUT;
        if (!fetch->reading)
            fetch_read_ahead(session, fetch);
        enum imap_step step = fetch_prepare_summary(session, fetch, message);
        if (step != IMAP_DONE)
            return step;
        begin_message(session, fetch, message);
    }
    while (fetch->item < fetch->items.count) {
        const struct fetch_item *item = &fetch->items.list[fetch->item];
        if (item->kind >= FETCH_SECTION) {
            enum imap_step step = item->kind == FETCH_SECTION
                                      ? fetch_section(session, fetch, message, item)
                                      : fetch_binary(session, fetch, message, item);
            if (step != IMAP_DONE)
                return step;
        } else {
            put_item(session, fetch, message, item);
        }
        fetch->item++;
    }
    end_message(session, fetch, message);
    return IMAP_MORE;
}

/* ---- the iterator -------------------------------------------------------------------------- */

static enum imap_step begin(struct imap_session *session, struct fetch *fetch)
{
    struct uidset known;
    if (fetch->items.vanished && !session->qresync) {
        imap_reply(session, "BAD QRESYNC has not been enabled.");
        return IMAP_DONE;
    }
    if (!imap_set_sequences(session, &fetch->set, session->work.uid, &fetch->sequences)) {
        imap_reply(session, "BAD There is no message with such a number.");
        return IMAP_DONE;
    }
    fetch->sets_seen = fetch->items.sets_seen && !mailbox_view_read_only(session->view);
    fetch->bytes = evbuffer_new();
    fetch->next = 1;
    fetch->phase = FETCH_GATHER;
    fetch->since = mailbox_view_since(session->view, fetch->items.since);
    if (asks_for(fetch, FETCH_MODSEQ))
        imap_enable_condstore(session);
    if (!fetch->items.vanished)
        return IMAP_MORE;
    fetch->phase = FETCH_VANISHED;
    uidset_init(&known);
    imap_set_known(session, &fetch->set, &known);
    mailbox_vanished(session->view, fetch->items.since, &known, imap_vanished_done, session);
    uidset_finish(&known);
    return imap_wait_store(session, "what vanished");
}

static enum imap_step answer(struct imap_session *session, const struct fetch *fetch)
{
    if (fetch->damaged)
        return imap_reply_result(session, MAILBOX_CORRUPT);
    if (fetch->unknown_encoding) {
        imap_reply(session, "NO [UNKNOWN-CTE] The encoding of a part is not known here.");
        return IMAP_DONE;
    }
    if (fetch->expunged)
        return imap_reply_result(session, MAILBOX_EXPUNGED);
    return IMAP_DONE;
}

static enum imap_step fetch_proceed(struct imap_session *session, void *own)
{
    struct fetch *fetch = own;
    switch (fetch->phase) {
    case FETCH_BEGIN:
        return begin(session, fetch);
    case FETCH_VANISHED:
        if (session->work.result != MAILBOX_OK)
            return imap_reply_result(session, session->work.result);
        fetch->phase = FETCH_GATHER;
        return IMAP_MORE;
    case FETCH_GATHER:
        if (fetch->outstanding > 0) /* of messages that turned out not to need it */
            return fetch_await_all(session, fetch);
        fetch->awaits_all = false;
        fetch_flush(session, fetch);
        if (!gather(session, fetch))
            return answer(session, fetch);
        fetch->phase = fetch->items.need != 0 ? FETCH_LOADED : FETCH_SERVE;
        return fetch->items.need != 0 ? load(session, fetch) : IMAP_MORE;
    case FETCH_LOADED:
        if (session->work.result != MAILBOX_OK)
            return imap_reply_result(session, session->work.result);
        fetch->phase = FETCH_SEEN;
        if (set_seen(session, fetch))
            return imap_wait_store(session, "\\Seen to be stored");
        session->work.result = MAILBOX_OK;
        return IMAP_MORE;
    case FETCH_SEEN:
        if (session->work.result == MAILBOX_BROKEN)
            return IMAP_CLOSE;
        for (size_t i = 0; i < fetch->count && session->work.result != MAILBOX_OK; i++)
            fetch->messages[i].turns_seen = false; /* a full disk is no reason not to read */
        fetch->phase = FETCH_SERVE;
        return IMAP_MORE;
    default:
        if (fetch->at < fetch->count)
            return serve(session, fetch);
        fetch->phase = FETCH_GATHER;
        return IMAP_MORE;
    }
}

static void fetch_finish(void *own)
{
    struct fetch *fetch = own;
    uidset_finish(&fetch->sequences);
    fetch_ahead_finish(fetch);
    buf_finish(&fetch->binary.plain);
    arena_finish(&fetch->page);
    arena_finish(&fetch->scratch);
    buf_finish(&fetch->line);
    if (fetch->bytes != NULL)
        evbuffer_free(fetch->bytes);
}

const struct imap_command imap_cmd_fetch = {.name = "FETCH",
                                            .states = IMAP_SELECTED,
                                            .flags = IMAP_HAS_UID_FORM | IMAP_KEEPS_NUMBERS,
                                            .size = sizeof(struct fetch),
                                            .check = fetch_check,
                                            .proceed = fetch_proceed,
                                            .finish = fetch_finish};
