/*
 * SEARCH and UID SEARCH (RFC 3501 6.4.4), with RETURN (RFC 4731): an iterator over the mailbox.
 * What flags and numbers decide is decided in memory; the rest is loaded in pages and judged by
 * size, dates and envelope. What only the message's text could answer is refused, not guessed.
 */
#include "imap/cmd.h"
#include "imap/search.h"

enum { PAGE = 64, LOOK = 1000 }; /* messages loaded at a time; judged between looks at the clock */

struct search {
    struct search_program program;
    bool begun, loading;
    uint32_t next; /* sequence number */
    struct uidset found;
    uint32_t sequences[PAGE], uids[PAGE];
    size_t count; /* of the page */
    struct arena scratch;
};

static bool search_check(struct imap_parser *parser, bool uid, void *own)
{
    struct search *search = own;
    return search_parse(parser, &search->program);
}

/* Resolves the sets of all keys; false: a number beyond the mailbox. */
static bool resolve(struct imap_session *session, struct search_key *key)
{
    if ((key->kind == SEARCH_SEQUENCES || key->kind == SEARCH_UIDS) &&
        !imap_set_sequences(session, &key->set, key->kind == SEARCH_UIDS, &key->sequences))
        return false;
    if (key->kind == SEARCH_MODSEQ && key->modseq > 0)
        key->modseq = mailbox_view_since(session->view, key->modseq - 1) + 1;
    for (struct search_key *k = key->first; k != NULL; k = k->next)
        if (!resolve(session, k))
            return false;
    return true;
}

static void release(struct search_key *key)
{
    uidset_finish(&key->sequences);
    for (struct search_key *k = key->first; k != NULL; k = k->next)
        release(k);
}

static void add(struct imap_session *session, struct search *search, uint32_t sequence,
                uint32_t uid)
{
    uint32_t number = session->work.uid ? uid : sequence;
    uidset_add(&search->found, number, number);
}

static void on_loaded(void *arg, enum mailbox_result result, const struct mailbox_message *messages,
                      size_t count)
{
    struct imap_session *session = arg;
    struct search *search = session->work.own;
    for (size_t m = 0, i = 0; m < count && result == MAILBOX_OK; m++) {
        struct summary summary;
        while (i < search->count && search->uids[i] < messages[m].uid)
            i++;
        if (i == search->count || search->uids[i] != messages[m].uid ||
            messages[m].result != MAILBOX_OK)
            continue;
        arena_reset(&search->scratch);
        bool decoded =
            summary_decode(messages[m].summary, messages[m].size - messages[m].prefix_size,
                           &search->scratch, &summary);
        struct search_subject subject = {
            .account = session->account,
            .sequence = search->sequences[i],
            .entry = mailbox_view_at(session->view, search->sequences[i]),
            .loaded = true,
            .size = messages[m].size,
            .date_us = messages[m].date_us,
            .zone_minutes = messages[m].zone_minutes,
            .envelope = decoded ? summary.parts[0].envelope : NULL,
            .scratch = &search->scratch,
        };
        if (search_judge(search->program.root, &subject) == SEARCH_YES)
            add(session, search, search->sequences[i], messages[m].uid);
    }
    imap_mailbox_done(session, result);
}

static enum imap_step load(struct imap_session *session, struct search *search)
{
    search->loading = true;
    mailbox_load(session->view, search->uids, search->count, search->program.need, on_loaded,
                 session);
    return imap_wait_store(session, "messages to load");
}

/* Judges from memory until a page is full or the turn is over; true: a page is to be loaded. */
static bool look(struct imap_session *session, struct search *search)
{
    uint32_t count = mailbox_view_count(session->view);
    for (uint32_t n = 0; n < LOOK && search->next <= count && search->count < PAGE; n++) {
        uint32_t sequence = search->next++;
        struct search_subject subject = {
            .account = session->account,
            .sequence = sequence,
            .entry = mailbox_view_at(session->view, sequence),
            .scratch = &search->scratch,
        };
        uint32_t uid = subject.entry->uid;
        enum search_answer answer = search_judge(search->program.root, &subject);
        if (answer == SEARCH_YES)
            add(session, search, sequence, uid);
        if (answer != SEARCH_UNKNOWN)
            continue;
        search->sequences[search->count] = sequence;
        search->uids[search->count++] = uid;
    }
    return search->count == PAGE || (search->count > 0 && search->next > count);
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

static enum imap_step begin(struct imap_session *session, struct search *search)
{
    search->begun = true;
    search->next = 1;
    if (search->program.modseq)
        imap_enable_condstore(session);
    if (search->program.bad_charset)
        imap_reply(session, "NO [BADCHARSET (UTF-8 US-ASCII)] That charset is not known here.");
    else if (search->program.needs_text)
        imap_reply(session, "NO [CANNOT] Only the envelope can be searched yet, not the text.");
    else if (!resolve(session, search->program.root))
        imap_reply(session, "BAD There is no message with such a number.");
    else
        return IMAP_MORE;
    return IMAP_DONE;
}

static enum imap_step search_proceed(struct imap_session *session, void *own)
{
    struct search *search = own;
    if (!search->begun)
        return begin(session, search);
    if (search->loading) {
        search->loading = false;
        search->count = 0;
        if (session->work.result != MAILBOX_OK)
            return imap_reply_result(session, session->work.result);
    }
    if (look(session, search))
        return load(session, search);
    if (search->next <= mailbox_view_count(session->view))
        return IMAP_MORE;
    if (search->program.extended)
        put_extended(session, search);
    else
        put_numbers(session, &search->program, &search->found);
    return IMAP_DONE;
}

static void search_finish(void *own)
{
    struct search *search = own;
    uidset_finish(&search->found);
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
