/*
 * SEARCH and UID SEARCH (RFC 3501 6.4.4), with RETURN (RFC 4731): an iterator over the mailbox,
 * page by page, that asks for the cheap first and goes on only with what can still be found:
 *
 *   flags, numbers (memory) -> folded texts of the envelope -> size, dates (loaded)
 *                           -> envelope (summaries, by readers)
 *                           -> the message itself (read, by readers)
 *
 * It gives the loop back whenever it waits or its turn is over; a client that is gone ends it.
 */
#include "imap/cmd.h"
#include "imap/search_batch.h"

enum {
    PAGE_PLAIN = SEARCH_PAGE_MAX, /* messages of a page that needs no summaries */
    PAGE_SUMMARY = 64,            /* a summary has up to 48 KiB */
    CHARSET_MAX = 64,
    LOOK = 1000,               /* judged between looks at the clock */
    HEADERS_WHOLE = 20 * 1024, /* of so much header a summary leaves nothing out: its limit is
                                * SUMMARY_SIZE_MAX */
};

static bool search_check(struct imap_parser *parser, bool uid, void *own)
{
    struct search *search = own;
    return search_parse(parser, &search->program);
}

/* The sets of all keys. */
static void resolve(struct imap_session *session, struct search_key *key)
{
    /* Numbers that no message has find nothing: "1:*" of an empty mailbox is asked often. */
    if (key->kind == SEARCH_SEQUENCES || key->kind == SEARCH_UIDS)
        imap_set_sequences(session, &key->set, key->kind == SEARCH_UIDS, &key->sequences);
    if (key->kind == SEARCH_MODSEQ && key->modseq > 0)
        key->modseq = mailbox_view_since(session->view, key->modseq - 1) + 1;
    for (struct search_key *k = key->first; k != NULL; k = k->next)
        resolve(session, k);
}

static void release(struct search_key *key)
{
    uidset_finish(&key->sequences);
    for (struct search_key *k = key->first; k != NULL; k = k->next)
        release(k);
}

/* ---- judging ------------------------------------------------------------------------------- */

static void add(struct search *search, uint32_t sequence, uint32_t uid)
{
    uint32_t number = search->session->work.uid ? uid : sequence;
    uidset_add(&search->found, number, number);
}

void search_settle(struct search *search, struct candidate *candidate, enum search_stage stage)
{
    struct imap_session *session = search->session;
    struct search_subject subject = {
        .account = session->account,
        .sequence = candidate->sequence,
        .entry = mailbox_view_at(session->view, candidate->sequence),
        .stage = stage,
        .size = candidate->size,
        .date_us = candidate->date_us,
        .zone_minutes = candidate->zone_minutes,
        .sent_day = candidate->sent_day,
        .bits = candidate->bits,
    };
    enum search_answer answer = search_judge(&search->program, &subject);
    candidate->open = answer == SEARCH_UNKNOWN;
    if (answer == SEARCH_YES)
        add(search, candidate->sequence, candidate->uid);
}

static size_t page_size(const struct search *search)
{
    bool plain = search->quick || (search->program.need & MAILBOX_NEED_SUMMARY) == 0;
    return plain ? PAGE_PLAIN : PAGE_SUMMARY;
}

static void begin_page(struct search *search)
{
    search->quick =
        search->folded != NULL && search->program.folds && search->next >= search->slow_until;
    arena_reset(&search->page);
    search->candidates = arena_array(&search->page, page_size(search), sizeof(struct candidate));
    search->count = 0;
    search->reading = 0;
}

/* Judges from memory until a page is full or the turn is over; true: a page is to be loaded. */
static bool look(struct imap_session *session, struct search *search)
{
    uint32_t count = mailbox_view_count(session->view);
    for (uint32_t n = 0; n < LOOK && search->next <= count && search->count < page_size(search);
         n++) {
        struct candidate *candidate = &search->candidates[search->count];
        *candidate = (struct candidate){.sequence = search->next++};
        candidate->uid = mailbox_view_at(session->view, candidate->sequence)->uid;
        search_settle(search, candidate, SEARCH_ENTRY);
        search->count += candidate->open;
    }
    return search->count == page_size(search) || (search->count > 0 && search->next > count);
}

/* ---- what is loaded ------------------------------------------------------------------------ */

/* Texts of a summary are cut when it would grow too large: then only the message has them all. */
static bool is_whole(const struct summary *summary)
{
    uint64_t headers = 0;
    for (uint32_t i = 0; i < summary->part_count; i++)
        headers += summary->parts[i].header_size;
    return summary->parts[0].envelope != NULL && headers <= HEADERS_WHOLE;
}

static void take_summary(struct search *search, struct candidate *candidate,
                         const struct mailbox_message *message)
{
    struct summary summary;
    uint64_t blob = message->size - message->prefix_size;
    candidate->sent_day = SEARCH_NO_DAY;
    if ((search->program.need & MAILBOX_NEED_SUMMARY) == 0)
        return;
    arena_reset(&search->scratch);
    if (!summary_decode(message->summary, blob, &search->scratch, &summary))
        return;
    candidate->enveloped = message->summary.size < SUMMARY_SIZE_MAX / 2 && is_whole(&summary);
    if (summary.parts[0].envelope != NULL)
        candidate->sent_day = search_sent_day(summary.parts[0].envelope->date);
}

/* Stays open where there are no folded texts, or a key asks for what is in the message alone. */
static void take_folded(struct search *search, struct candidate *candidate,
                        const struct mailbox_message *message)
{
    if (message->folded.data == NULL)
        return;
    needle_folded_look(search->folded, search->program.needle_count, message->folded,
                       candidate->bits);
    search_settle(search, candidate, SEARCH_ENVELOPE);
}

static void take_message(struct search *search, uint32_t i, const struct mailbox_message *message)
{
    struct candidate *candidate = &search->candidates[i];
    candidate->open = message->result == MAILBOX_OK;
    if (!candidate->open)
        return;
    candidate->size = message->size;
    candidate->date_us = message->date_us;
    candidate->zone_minutes = message->zone_minutes;
    candidate->place = message->place;
    candidate->place.prefix = arena_copy(&search->page, message->place.prefix);
    candidate->bits =
        arena_alloc(&search->page, needle_bits_size(search->program.needle_count) + 1);
    if (search->quick) {
        take_folded(search, candidate, message);
        return;
    }
    take_summary(search, candidate, message);
    search_settle(search, candidate, SEARCH_RECORD);
    if (!candidate->open || !search->program.envelopes || !candidate->enveloped ||
        search->unavailable)
        return;
    if (!search_batch_begin(search, SEARCH_ENVELOPE, i, message->size - message->prefix_size,
                            message->summary.size) ||
        !search_batch_add(search, message->summary.data, message->summary.size))
        search->unavailable = true;
}

static void on_loaded(void *arg, enum mailbox_result result, const struct mailbox_message *messages,
                      size_t count)
{
    struct imap_session *session = arg;
    struct search *search = session->work.own;
    size_t m = 0;
    for (uint32_t i = 0; i < search->count && result == MAILBOX_OK; i++) {
        search->candidates[i].open = false; /* it is not there any more */
        while (m < count && messages[m].uid < search->candidates[i].uid)
            m++;
        if (m < count && messages[m].uid == search->candidates[i].uid)
            take_message(search, i, &messages[m]);
    }
    imap_mailbox_done(session, result);
}

static enum imap_step load(struct imap_session *session, struct search *search)
{
    uint32_t *uids = arena_array(&search->page, search->count, sizeof(*uids));
    for (size_t i = 0; i < search->count; i++)
        uids[i] = search->candidates[i].uid;
    search->phase = search->quick ? SEARCH_FOLDED : SEARCH_LOADED;
    mailbox_load(session->view, uids, search->count,
                 search->quick ? search->program.quick : search->program.need, on_loaded, session);
    return imap_wait_store(session, "messages to load");
}

/* What folded texts left open becomes a page, or the first of several; false: there is none. */
static bool leave_open(struct search *search)
{
    size_t left = 0, i = 0;
    search->slow_until = search->next;
    search->quick = false;
    for (; i < search->count && left < page_size(search); i++)
        if (search->candidates[i].open)
            search->candidates[left++] = search->candidates[i];
    while (i < search->count && !search->candidates[i].open)
        i++;
    if (i < search->count)
        search->next = search->candidates[i].sequence;
    search->count = left;
    return left > 0;
}

/* ---- the answer ---------------------------------------------------------------------------- */

static void put_numbers(struct imap_session *session, const struct search_program *program,
                        const struct uidset *found)
{
    struct evbuffer *out = imap_out(session);
    evbuffer_add_printf(out, "* SEARCH");
    for (size_t i = 0; i < found->count; i++)
        for (uint64_t n = found->ranges[i].first; n <= found->ranges[i].last; n++)
            evbuffer_add_printf(out, " %u", (uint32_t)n);
    if (program->modseq && found->count > 0)
        evbuffer_add_printf(
            out, " (MODSEQ %llu)",
            (unsigned long long)search_highest_modseq(session, found, SEARCH_RETURN_ALL));
    evbuffer_add_printf(out, "\r\n");
}

/* RFC 4731 3.1: MIN, MAX and ALL stay out when nothing was found. */
static void put_extended(struct imap_session *session, const struct search *search)
{
    const struct uidset *found = &search->found;
    uint32_t returns = search->program.returns;
    imap_printf(session, "* ESEARCH (TAG \"%.*s\")%s", SLICE_PRINT(session->work.tag),
                session->work.uid ? " UID" : "");
    if (found->count > 0 && (returns & SEARCH_MIN) != 0)
        imap_printf(session, " MIN %u", found->ranges[0].first);
    if (found->count > 0 && (returns & SEARCH_MAX) != 0)
        imap_printf(session, " MAX %u", found->ranges[found->count - 1].last);
    if (found->count > 0 && (returns & SEARCH_RETURN_ALL) != 0) {
        imap_printf(session, " ALL ");
        imap_put_set(imap_out(session), found);
    }
    if ((returns & SEARCH_COUNT) != 0)
        imap_printf(session, " COUNT %llu", (unsigned long long)uidset_count(found));
    if (search->program.modseq && found->count > 0)
        imap_printf(session, " MODSEQ %llu",
                    (unsigned long long)search_highest_modseq(session, found, returns));
    imap_printf(session, "\r\n");
}

/* ---- the iterator -------------------------------------------------------------------------- */

static bool charset_is_known(struct slice charset)
{
    return charset.size == 0 || slice_equal_nocase_str(charset, "UTF-8") ||
           slice_equal_nocase_str(charset, "US-ASCII");
}

static enum imap_step wait_for_readers(struct imap_session *session, struct search *search)
{
    search->waiting = search->flying > 0;
    return search->waiting ? imap_wait_store(session, "readers") : IMAP_MORE;
}

static enum imap_step begin(struct imap_session *session, struct search *search)
{
    struct search_program *program = &search->program;
    search->session = session;
    search->next = 1;
    LIST_INIT(&search->flight);
    if (program->modseq)
        imap_enable_condstore(session);
    for (size_t i = 0; i < program->needle_count; i++)
        needle_pack(&program->needles[i], &search->needles);
    if (program->too_much) {
        imap_reply(session, "NO [LIMIT] That are too many texts to look for at a time.");
        return IMAP_DONE;
    }
    resolve(session, program->root);
    /* RFC 5182 2.1: empty if it fails with NO; and its keys may have named what was saved. */
    if ((program->returns & SEARCH_SAVE) != 0)
        uidset_clear(&session->saved);
    search->phase = SEARCH_PROBE;
    search->bad_charset = program->charset.size > CHARSET_MAX;
    if (!search->bad_charset && (program->folds || !charset_is_known(program->charset)))
        search_probe(search);
    return wait_for_readers(session, search);
}

static enum imap_step put_answer(struct imap_session *session, struct search *search)
{
    if (session->rev2 && !search->program.extended) { /* RFC 9051 6.4.4: SEARCH is gone */
        search->program.extended = true;
        search->program.returns = SEARCH_RETURN_ALL;
    }
    if ((search->program.returns & SEARCH_SAVE) != 0)
        search_save(session, &search->found, search->program.returns);
    if (search->program.returns == SEARCH_SAVE) /* nothing else is wanted */
        return IMAP_DONE;
    if (search->program.extended)
        put_extended(session, search);
    else
        put_numbers(session, &search->program, &search->found);
    return IMAP_DONE;
}

static void on_turn(void *arg)
{
    search_wake(arg);
}

static enum imap_step take_turn(struct imap_session *session, struct search *search)
{
    search->phase = SEARCH_TURN;
    search->turn.granted = on_turn;
    search->turn.arg = search;
    if (imap_turn_take(session->host->searching, &search->turn))
        return IMAP_MORE;
    search->waiting = true;
    return imap_wait_store(session, "its turn to search");
}

static enum imap_step gather(struct imap_session *session, struct search *search)
{
    if (look(session, search))
        return take_turn(session, search);
    if (search->next <= mailbox_view_count(session->view))
        return IMAP_MORE;
    return put_answer(session, search);
}

static enum imap_step end_page(struct imap_session *session, struct search *search)
{
    imap_turn_give(session->host->searching, &search->turn);
    begin_page(search);
    search->phase = SEARCH_GATHER;
    return IMAP_MORE;
}

static enum imap_step read_messages(struct imap_session *session, struct search *search)
{
    enum imap_step step = search_read(session, search);
    if (step != IMAP_DONE)
        return step;
    if (search->unavailable)
        return imap_reply_result(session, MAILBOX_UNAVAILABLE);
    return end_page(session, search);
}

static enum imap_step search_proceed(struct imap_session *session, void *own)
{
    struct search *search = own;
    switch (search->phase) {
    case SEARCH_BEGIN:
        return begin(session, search);
    case SEARCH_PROBE:
        if (search->unavailable)
            return imap_reply_result(session, MAILBOX_UNAVAILABLE);
        if (search->bad_charset) {
            imap_reply(session, "NO [BADCHARSET (UTF-8 US-ASCII)] That charset is not known here.");
            return IMAP_DONE;
        }
        begin_page(search);
        search->phase = SEARCH_GATHER;
        return IMAP_MORE;
    case SEARCH_GATHER:
        return gather(session, search);
    case SEARCH_TURN:
        return load(session, search);
    case SEARCH_FOLDED:
        if (session->work.result != MAILBOX_OK)
            return imap_reply_result(session, session->work.result);
        return leave_open(search) ? load(session, search) : end_page(session, search);
    case SEARCH_LOADED:
        if (session->work.result != MAILBOX_OK)
            return imap_reply_result(session, session->work.result);
        search->phase = SEARCH_ASKED;
        search_batch_send(search);
        return wait_for_readers(session, search);
    default:
        search->phase = SEARCH_READING;
        return read_messages(session, search);
    }
}

static void search_finish(void *own)
{
    struct search *search = own;
    if (search->session != NULL)
        imap_turn_give(search->session->host->searching, &search->turn);
    search_batches_drop(search);
    search_read_finish(search);
    buf_finish(&search->needles);
    uidset_finish(&search->found);
    arena_finish(&search->page);
    arena_finish(&search->scratch);
    if (search->program.root != NULL)
        release(search->program.root);
}

const struct imap_command imap_cmd_search = {.name = "SEARCH",
                                             .states = IMAP_SELECTED,
                                             .flags = IMAP_HAS_UID_FORM | IMAP_KEEPS_ALWAYS,
                                             .size = sizeof(struct search),
                                             .check = search_check,
                                             .proceed = search_proceed,
                                             .finish = search_finish};
