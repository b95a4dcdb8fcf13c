/*
 * STORE and UID STORE (RFC 3501 6.4.6). All messages of the set change in one request; the new
 * flags are told as untagged FETCH before the answer, unless .SILENT. A message that another
 * session has expunged is passed over and named by [EXPUNGEISSUED] (RFC 5530 3).
 */
#include "imap/cmd.h"

struct store {
    struct imap_set set;
    struct mailbox_store change;
    struct uidset sequences, uids;
    bool asked, expunged;
};

static bool store_check(struct imap_parser *parser, bool uid, void *own)
{
    struct store *store = own;
    struct slice item;
    if (!imap_parse_space(parser) || !imap_parse_set(parser, &store->set) ||
        !imap_parse_space(parser))
        return false;
    if (imap_parse_optional(parser, '+'))
        store->change.mode = MAILBOX_STORE_ADD;
    else if (imap_parse_optional(parser, '-'))
        store->change.mode = MAILBOX_STORE_REMOVE;
    else
        store->change.mode = MAILBOX_STORE_SET;
    if (!imap_parse_word(parser, &item))
        return false;
    store->change.silent = slice_equal_nocase_str(item, "FLAGS.SILENT");
    if (!store->change.silent && !slice_equal_nocase_str(item, "FLAGS"))
        return imap_parse_fail(parser, "Only FLAGS can be stored.");
    return imap_parse_space(parser) && imap_parse_flags(parser, true, &store->change.flags);
}

static void on_stored(void *arg, enum mailbox_result result, const struct uidset *modified)
{
    imap_mailbox_done(arg, result);
}

static bool any_expunged(const struct imap_session *session, const struct uidset *sequences)
{
    for (size_t i = 0; i < sequences->count; i++)
        for (uint32_t n = sequences->ranges[i].first; n <= sequences->ranges[i].last; n++)
            if (mailbox_view_expunged(session->view, n))
                return true;
    return false;
}

static enum imap_step store_proceed(struct imap_session *session, void *own)
{
    struct store *store = own;
    if (store->asked) {
        if (session->work.result != MAILBOX_OK)
            return imap_reply_result(session, session->work.result);
        if (store->expunged)
            return imap_reply_result(session, MAILBOX_EXPUNGED);
        return IMAP_DONE;
    }
    if (!imap_set_sequences(session, &store->set, session->work.uid, &store->sequences)) {
        imap_reply(session, "BAD There is no message with such a number.");
        return IMAP_DONE;
    }
    if (mailbox_view_read_only(session->view))
        return imap_reply_result(session, MAILBOX_READ_ONLY);
    if (store->sequences.count == 0)
        return IMAP_DONE;
    store->asked = true;
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
}

const struct imap_command imap_cmd_store = {.name = "STORE",
                                            .states = IMAP_SELECTED,
                                            .flags = IMAP_HAS_UID_FORM | IMAP_KEEPS_NUMBERS,
                                            .size = sizeof(struct store),
                                            .check = store_check,
                                            .proceed = store_proceed,
                                            .finish = store_finish};
