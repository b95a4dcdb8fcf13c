/*
 * What the mailbox has to tell, as untagged answers (RFC 3501 7.3, 7.4): the view knows what this
 * session has been told and in which order; here it is only written.
 */
#include "imap/imap_priv.h"

struct telling {
    struct imap_session *session;
    bool with_uid;
};

static void tell_expunge(void *arg, uint32_t sequence, uint32_t uid)
{
    const struct telling *telling = arg;
    imap_printf(telling->session, "* %u EXPUNGE\r\n", sequence);
}

/* A keyword that is new to the client is announced first (RFC 3501 7.2.6). */
static void tell_keywords(struct imap_session *session)
{
    const struct slice *keywords;
    size_t count = mailbox_view_keywords(session->view, &keywords);
    if (count == session->keywords_told)
        return;
    session->keywords_told = count;
    imap_printf(session, "* FLAGS ");
    imap_put_flags_known(session, false);
    imap_printf(session, "\r\n");
}

static void tell_flags(void *arg, uint32_t sequence, const struct mailbox_entry *entry)
{
    const struct telling *telling = arg;
    struct imap_session *session = telling->session;
    tell_keywords(session);
    imap_printf(session, "* %u FETCH (", sequence);
    if (telling->with_uid)
        imap_printf(session, "UID %u ", entry->uid);
    imap_printf(session, "FLAGS ");
    imap_put_flags(imap_out(session), session->account, entry);
    imap_printf(session, ")\r\n");
}

static void tell_exists(void *arg, uint32_t count)
{
    const struct telling *telling = arg;
    imap_printf(telling->session, "* %u EXISTS\r\n* 0 RECENT\r\n", count);
}

bool imap_tell(struct imap_session *session, bool expunges, bool with_uid)
{
    static const struct mailbox_teller teller = {tell_expunge, tell_flags, tell_exists};
    struct telling telling = {session, with_uid};
    switch (mailbox_view_state(session->view)) {
    case MAILBOX_VIEW_LIVE:
        mailbox_view_poll(session->view, expunges, &teller, &telling);
        return true;
    case MAILBOX_VIEW_DELETED: /* RFC 2180 3.3: nothing that is said of it could be true */
        imap_printf(session, "* BYE The mailbox was deleted.\r\n");
        imap_end(session, "deleted");
        return false;
    default:
        imap_end(session, "broken");
        return false;
    }
}
