/*
 * STORE and UID STORE (RFC 3501 6.4.6). All messages of the set change in one request; the new
 * flags are told as untagged FETCH before the answer, unless .SILENT. A message that another
 * session has expunged is passed over and named by [EXPUNGEISSUED] (RFC 5530 3).
 *
 * With UNCHANGEDSINCE (RFC 7162 3.1.3), or .SILENT where CONDSTORE is on, the client needs the new
 * MODSEQ of every message: then the mailbox keeps silent, and the answers are written here.
 */
#include "imap/cmd.h"

struct store {
    struct imap_set set;
    struct mailbox_store change;
    struct uidset sequences, uids, modified;
    bool silent; /* as the client wants it */
    bool itself; /* the FETCH answers are written here */
    bool asked, expunged;
};

static bool parse_modifiers(struct imap_parser *parser, struct store *store)
{
    if (!imap_parse_open(parser) || !imap_parse_keyword(parser, "UNCHANGEDSINCE"))
        return imap_parse_fail(parser, "Only UNCHANGEDSINCE is known here.");
    store->change.conditional = true;
    return imap_parse_space(parser) && imap_parse_modseq(parser, &store->change.unchanged_since) &&
           imap_parse_close(parser) && imap_parse_space(parser);
}

static bool store_check(struct imap_parser *parser, bool uid, void *own)
{
    struct store *store = own;
    struct slice item;
    if (!imap_parse_space(parser) || !imap_parse_set(parser, &store->set) ||
        !imap_parse_space(parser))
        return false;
    if (imap_parse_sees(parser, '(') && !parse_modifiers(parser, store))
        return false;
    if (imap_parse_optional(parser, '+'))
        store->change.mode = MAILBOX_STORE_ADD;
    else if (imap_parse_optional(parser, '-'))
        store->change.mode = MAILBOX_STORE_REMOVE;
    else
        store->change.mode = MAILBOX_STORE_SET;
    if (!imap_parse_word(parser, &item))
        return false;
    store->silent = slice_equal_nocase_str(item, "FLAGS.SILENT");
    if (!store->silent && !slice_equal_nocase_str(item, "FLAGS"))
        return imap_parse_fail(parser, "Only FLAGS can be stored.");
    return imap_parse_space(parser) && imap_parse_flags(parser, true, &store->change.flags);
}

static void on_stored(void *arg, enum mailbox_result result, const struct uidset *modified)
{
    struct imap_session *session = arg;
    struct store *store = session->work.own;
    uidset_add_set(&store->modified, modified);
    imap_mailbox_done(session, result);
}

static bool any_expunged(const struct imap_session *session, const struct uidset *sequences)
{
    for (size_t i = 0; i < sequences->count; i++)
        for (uint32_t n = sequences->ranges[i].first; n <= sequences->ranges[i].last; n++)
            if (mailbox_view_expunged(session->view, n))
                return true;
    return false;
}

/* Also of what was left alone, with its flags: so the client need not ask. */
static void put_stored(struct imap_session *session, const struct store *store)
{
    for (uint32_t n = 0; uidset_next(&store->sequences, n, &n); n++) {
        const struct mailbox_entry *entry = mailbox_view_at(session->view, n);
        if (!mailbox_view_expunged(session->view, n))
            imap_put_change(session, n, entry, session->work.uid,
                            !store->silent || uidset_has(&store->modified, entry->uid));
    }
}

/* "[MODIFIED set] " in the numbers that the client used; "" when none was left alone. */
static const char *modified_code(struct imap_session *session, const struct store *store)
{
    struct uidset sequences;
    struct buf text = {0};
    uint32_t uid = 0;
    if (store->modified.count == 0)
        return "";
    uidset_init(&sequences);
    while (!session->work.uid && uidset_next(&store->modified, uid, &uid)) {
        uint32_t sequence = mailbox_view_sequence(session->view, uid++);
        uidset_add(&sequences, sequence, sequence);
    }
    uidset_print(session->work.uid ? &store->modified : &sequences, &text);
    const char *code =
        arena_printf(&session->arena, "[MODIFIED %.*s] ", SLICE_PRINT(buf_slice(&text)));
    uidset_finish(&sequences);
    buf_finish(&text);
    return code;
}

static enum imap_step store_answer(struct imap_session *session, const struct store *store)
{
    if (session->work.result == MAILBOX_BROKEN)
        return IMAP_CLOSE;
    if (store->itself)
        put_stored(session, store);
    const char *code = modified_code(session, store);
    if (session->work.result != MAILBOX_OK && *code == 0)
        return imap_reply_result(session, session->work.result);
    if (session->work.result != MAILBOX_OK)
        imap_reply(session, "NO %s%s", code, mailbox_result_text(session->work.result));
    else if (store->expunged && *code == 0)
        return imap_reply_result(session, MAILBOX_EXPUNGED);
    else if (store->expunged)
        imap_reply(session, "NO %sSome of the messages are no longer there.", code);
    else if (*code != 0)
        imap_reply(session, "OK %sSome of the messages were changed by others.", code);
    return IMAP_DONE;
}

static enum imap_step store_proceed(struct imap_session *session, void *own)
{
    struct store *store = own;
    if (store->asked)
        return store_answer(session, store);
    if (!imap_set_sequences(session, &store->set, session->work.uid, &store->sequences)) {
        imap_reply(session, "BAD There is no message with such a number.");
        return IMAP_DONE;
    }
    if (mailbox_view_read_only(session->view))
        return imap_reply_result(session, MAILBOX_READ_ONLY);
    if (store->change.conditional)
        imap_enable_condstore(session);
    if (store->sequences.count == 0)
        return IMAP_DONE;
    store->asked = true;
    store->itself = store->change.conditional || (store->silent && session->condstore);
    store->change.silent = store->silent || store->itself;
    store->expunged = !session->work.uid && any_expunged(session, &store->sequences);
    imap_set_uids(session, &store->sequences, &store->uids);
    mailbox_store(session->view, &store->uids, &store->change, on_stored, session);
    return imap_wait_store(session, "the flags to be stored");
}

static void store_finish(void *own)
{
    struct store *store = own;
    uidset_finish(&store->sequences);
    uidset_finish(&store->uids);
    uidset_finish(&store->modified);
}

const struct imap_command imap_cmd_store = {.name = "STORE",
                                            .states = IMAP_SELECTED,
                                            .flags = IMAP_HAS_UID_FORM | IMAP_KEEPS_NUMBERS,
                                            .size = sizeof(struct store),
                                            .check = store_check,
                                            .proceed = store_proceed,
                                            .finish = store_finish};
