/*
 * SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 6.3.1, 6.3.2, 6.4.2; RFC 3691). The old mailbox is
 * left before the new one is tried, also when that fails.
 *
 * With (QRESYNC (...)) what the client missed follows the usual answers (RFC 7162 3.2.5): the UIDs
 * that vanished, then the flags that changed, both among the UIDs it knows.
 */
#include "imap/cmd.h"

void imap_close_view(struct imap_session *session)
{
    session->selected = false;
    session->modseq_held = false;
    session->keywords_told = 0;
    uidset_finish(&session->saved);
    mailbox_view_close(&session->view);
}

enum { MATCHES_MAX = 1000 }; /* pairs of RFC 7162 3.2.5.2 looked at */

enum select_phase { SELECT_BEGIN, SELECT_OPENED, SELECT_VANISHED, SELECT_FLAGS };

struct select {
    struct slice name;
    bool condstore, qresync;
    uint32_t uidvalidity;
    uint64_t modseq;
    struct imap_set known, match_sequences, match_uids; /* count 0: not given */
    /* Progress: */
    enum select_phase phase;
    struct uidset sequences; /* of known */
    uint64_t since;
    uint32_t next;
};

/* ---- arguments ----------------------------------------------------------------------------- */

/* RFC 7162 7: a set in which "*" is not allowed. */
static bool parse_known(struct imap_parser *parser, struct imap_set *set)
{
    if (!imap_parse_set(parser, set))
        return false;
    if (set->saved)
        return imap_parse_fail(parser, "What is known cannot be $.");
    for (size_t i = 0; i < set->count; i++)
        if (set->ranges[i].first == 0 || set->ranges[i].last == 0)
            return imap_parse_fail(parser, "What is known cannot be *.");
    return true;
}

static bool parse_match(struct imap_parser *parser, struct select *select)
{
    return imap_parse_open(parser) && parse_known(parser, &select->match_sequences) &&
           imap_parse_space(parser) && parse_known(parser, &select->match_uids) &&
           imap_parse_close(parser);
}

static bool parse_qresync(struct imap_parser *parser, struct select *select)
{
    select->qresync = true;
    if (!imap_parse_space(parser) || !imap_parse_open(parser) ||
        !imap_parse_number(parser, &select->uidvalidity) || !imap_parse_space(parser) ||
        !imap_parse_modseq(parser, &select->modseq))
        return false;
    bool more = imap_parse_optional(parser, ' ');
    if (more && !imap_parse_sees(parser, '(')) {
        if (!parse_known(parser, &select->known))
            return false;
        more = imap_parse_optional(parser, ' ');
    }
    return (!more || parse_match(parser, select)) && imap_parse_close(parser);
}

static bool select_check(struct imap_parser *parser, bool uid, void *own)
{
    struct select *select = own;
    if (!imap_parse_space(parser) || !imap_parse_mailbox(parser, &select->name))
        return false;
    if (!imap_parse_optional(parser, ' '))
        return true;
    if (!imap_parse_open(parser))
        return false;
    do {
        if (imap_parse_keyword(parser, "CONDSTORE"))
            select->condstore = true;
        else if (!imap_parse_keyword(parser, "QRESYNC"))
            return imap_parse_fail(parser, "Only CONDSTORE and QRESYNC are known here.");
        else if (!parse_qresync(parser, select))
            return false;
    } while (imap_parse_optional(parser, ' '));
    return imap_parse_close(parser);
}

/* ---- opening ------------------------------------------------------------------------------- */

static void on_change(void *arg)
{
    struct imap_session *session = arg;
    if (session->work.command == &imap_cmd_idle)
        imap_wake(session);
}

static void on_open(void *arg, enum mailbox_result result, struct mailbox_view *view)
{
    imap_mailbox_done(arg, result);
}

static bool is_unseen(const struct mailbox_view *view, uint32_t sequence)
{
    return (mailbox_view_at(view, sequence)->flags & MAILBOX_SEEN) == 0;
}

/* From both ends: in most mailboxes the few unseen ones are the newest, and how many there are is
 * known. */
static uint32_t first_unseen(const struct mailbox_view *view, uint32_t unseen)
{
    uint32_t count = mailbox_view_count(view), last = count, first = 0;
    for (uint32_t sequence = 1; sequence <= count && unseen > 0; sequence++, last--) {
        if (is_unseen(view, sequence))
            return sequence;
        if (is_unseen(view, last)) {
            first = last;
            unseen--;
        }
    }
    return first;
}

static void put_selected(struct imap_session *session, const struct mailbox_info *info)
{
    const struct slice *keywords;
    bool read_only = mailbox_view_read_only(session->view);
    session->keywords_told = mailbox_view_keywords(session->view, &keywords);
    imap_printf(session, "* FLAGS ");
    imap_put_flags_known(session, false);
    imap_printf(session, "\r\n* OK [PERMANENTFLAGS ");
    if (read_only)
        imap_printf(session, "()");
    else
        imap_put_flags_known(session, true);
    imap_printf(session, "] Flags that are kept.\r\n");
    imap_put_exists(session, mailbox_view_count(session->view));
    uint32_t unseen = session->rev2 ? 0 : first_unseen(session->view, info->unseen);
    if (unseen != 0)
        imap_printf(session, "* OK [UNSEEN %u] The first unseen message.\r\n", unseen);
    imap_printf(session,
                "* OK [UIDVALIDITY %u] UIDs are valid.\r\n* OK [UIDNEXT %u] The next UID.\r\n",
                info->uidvalidity, info->uidnext);
    imap_put_highest(session, "The last change.");
    imap_printf(session, "* OK [MAILBOXID (%s)] What stays through renames.\r\n",
                id_text(info->object).text);
}

static enum imap_step select_begin(struct imap_session *session, struct select *select,
                                   bool read_only)
{
    if (select->qresync && !session->qresync) {
        imap_reply(session, "BAD QRESYNC has not been enabled.");
        return IMAP_DONE;
    }
    if (session->selected) /* RFC 7162 3.2.11 */
        imap_printf(session, "* OK [CLOSED] The mailbox was left.\r\n");
    imap_close_view(session);
    session->condstore = session->condstore || select->condstore;
    select->phase = SELECT_OPENED;
    session->view = mailbox_view_open(session->account, select->name, read_only, on_open, session);
    return imap_wait_store(session, "the mailbox to open");
}

static enum imap_step select_answer(struct imap_session *session)
{
    imap_reply(session,
               mailbox_view_read_only(session->view) ? "OK [READ-ONLY] %s completed."
                                                     : "OK [READ-WRITE] %s completed.",
               session->work.command->name);
    return IMAP_DONE;
}

/* ---- resynchronising ----------------------------------------------------------------------- */

/* The n-th number of a set as written; 0: there are fewer. */
static uint32_t nth(const struct imap_set *set, uint64_t n)
{
    for (size_t i = 0; i < set->count; i++) {
        uint32_t first = set->ranges[i].first, last = set->ranges[i].last;
        uint64_t count = (uint64_t)(first < last ? last - first : first - last) + 1;
        if (n < count)
            return (first < last ? first : last) + (uint32_t)n;
        n -= count;
    }
    return 0;
}

/* RFC 7162 3.2.5.2: up to this UID the client knows what went, since its numbers agree. */
static uint32_t matched(const struct imap_session *session, const struct select *select)
{
    uint32_t uid = 0, sequence;
    for (uint64_t n = 0; n < MATCHES_MAX && (sequence = nth(&select->match_sequences, n)) != 0;
         n++) {
        const struct mailbox_entry *entry = mailbox_view_at(session->view, sequence);
        if (entry == NULL || entry->uid != nth(&select->match_uids, n))
            break;
        uid = entry->uid;
    }
    return uid;
}

static enum imap_step ask_vanished(struct imap_session *session, struct select *select,
                                   const struct mailbox_info *info)
{
    struct uidset known;
    uint32_t behind = 0;
    uidset_init(&known);
    select->since = mailbox_view_since(session->view, select->modseq);
    /* Numbers of a lost future may agree by chance. */
    if (select->since == select->modseq && !mailbox_vanished_logged(session->view, select->modseq))
        behind = matched(session, select);
    if (select->known.count > 0) {
        imap_set_known(session, &select->known, &known);
        imap_set_sequences(session, &select->known, true, &select->sequences);
    } else {
        if (info->uidnext > 1)
            uidset_add(&known, 1, info->uidnext - 1);
        if (mailbox_view_count(session->view) > 0)
            uidset_add(&select->sequences, 1, mailbox_view_count(session->view));
    }
    if (behind > 0) {
        struct uidset range = {0}, rest = {0};
        uidset_add(&range, behind + 1, UINT32_MAX);
        uidset_common(&known, &range, &rest);
        uidset_finish(&range);
        uidset_finish(&known);
        known = rest;
    }
    select->phase = SELECT_VANISHED;
    mailbox_vanished(session->view, select->modseq, &known, imap_vanished_done, session);
    uidset_finish(&known);
    return imap_wait_store(session, "what vanished");
}

static enum imap_step put_changed(struct imap_session *session, struct select *select)
{
    uint32_t sequence = select->next;
    for (unsigned looked = 0; looked < 1000; looked++) {
        if (imap_output_full(session))
            return IMAP_WAIT_OUTPUT;
        if (!uidset_next(&select->sequences, sequence, &sequence))
            return select_answer(session);
        const struct mailbox_entry *entry = mailbox_view_at(session->view, sequence);
        if (entry->modseq > select->since && !mailbox_view_expunged(session->view, sequence))
            imap_put_change(session, sequence, entry, true, true);
        select->next = ++sequence;
    }
    return IMAP_MORE;
}

static enum imap_step select_opened(struct imap_session *session, struct select *select)
{
    struct mailbox_info info;
    if (session->work.result != MAILBOX_OK) {
        imap_close_view(session);
        return imap_reply_result(session, session->work.result);
    }
    session->selected = true;
    mailbox_view_notify(session->view, on_change, session);
    mailbox_view_info(session->view, &info);
    put_selected(session, &info);
    if (session->rev2)
        imap_put_list(session, &info, select->name);
    if (select->qresync && select->uidvalidity == info.uidvalidity)
        return ask_vanished(session, select, &info);
    return select_answer(session);
}

static enum imap_step select_view(struct imap_session *session, struct select *select,
                                  bool read_only)
{
    switch (select->phase) {
    case SELECT_BEGIN:
        return select_begin(session, select, read_only);
    case SELECT_OPENED:
        return select_opened(session, select);
    case SELECT_VANISHED:
        if (session->work.result != MAILBOX_OK) {
            imap_close_view(session);
            return imap_reply_result(session, session->work.result);
        }
        select->phase = SELECT_FLAGS;
        return IMAP_MORE;
    default:
        return put_changed(session, select);
    }
}

static enum imap_step select_proceed(struct imap_session *session, void *own)
{
    return select_view(session, own, false);
}

static enum imap_step examine_proceed(struct imap_session *session, void *own)
{
    return select_view(session, own, true);
}

static void select_finish(void *own)
{
    struct select *select = own;
    uidset_finish(&select->sequences);
}

/* ---- leaving ------------------------------------------------------------------------------- */

struct leave {
    bool asked;
};

/* \Deleted messages go, and nothing is told of them. */
static enum imap_step close_proceed(struct imap_session *session, void *own)
{
    struct leave *leave = own;
    if (!leave->asked && !mailbox_view_read_only(session->view)) {
        leave->asked = true;
        mailbox_expunge(session->view, NULL, imap_mailbox_done, session);
        return imap_wait_store(session, "the expunge");
    }
    enum mailbox_result result = leave->asked ? session->work.result : MAILBOX_OK;
    imap_close_view(session);
    return result == MAILBOX_OK ? IMAP_DONE : imap_reply_result(session, result);
}

static enum imap_step unselect_proceed(struct imap_session *session, void *own)
{
    imap_close_view(session);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_select = {.name = "SELECT",
                                             .states = IMAP_AUTHENTICATED,
                                             .size = sizeof(struct select),
                                             .check = select_check,
                                             .proceed = select_proceed,
                                             .finish = select_finish};
const struct imap_command imap_cmd_examine = {.name = "EXAMINE",
                                              .states = IMAP_AUTHENTICATED,
                                              .size = sizeof(struct select),
                                              .check = select_check,
                                              .proceed = examine_proceed,
                                              .finish = select_finish};
const struct imap_command imap_cmd_close = {.name = "CLOSE",
                                            .states = IMAP_SELECTED,
                                            .size = sizeof(struct leave),
                                            .proceed = close_proceed};
const struct imap_command imap_cmd_unselect = {
    .name = "UNSELECT", .states = IMAP_SELECTED, .proceed = unselect_proceed};
