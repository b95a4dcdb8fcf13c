/*
 * What the mailbox has to tell, as untagged answers (RFC 3501 7.3, 7.4; RFC 7162 3.2): the view
 * knows what this session has been told and in which order; here it is only written.
 *
 * A client that knows CONDSTORE remembers the highest MODSEQ it was told. While expunges wait it
 * must not get past them, or it would never hear of them after a lost connection: it is told a
 * lower HIGHESTMODSEQ then, and the true one when they have been told (RFC 7162 3.2, 6).
 */
#include "imap/imap_priv.h"

struct telling {
    struct imap_session *session;
    bool with_uid;
    struct buf vanished; /* UIDs, highest first */
};

static void tell_expunge(void *arg, uint32_t sequence, uint32_t uid)
{
    struct telling *telling = arg;
    telling->session->work.expunged = true;
    if (telling->session->qresync)
        buf_add(&telling->vanished, &uid, sizeof(uid));
    else
        imap_printf(telling->session, "* %u EXPUNGE\r\n", sequence);
}

void imap_put_vanished(struct imap_session *session, const struct uidset *uids, bool earlier)
{
    if (uids->count == 0)
        return;
    imap_printf(session, earlier ? "* VANISHED (EARLIER) " : "* VANISHED ");
    imap_put_set(imap_out(session), uids);
    imap_printf(session, "\r\n");
}

static void tell_vanished(struct telling *telling)
{
    struct uidset uids;
    uidset_init(&uids);
    for (size_t at = telling->vanished.size; at > 0; at -= sizeof(uint32_t)) {
        uint32_t uid;
        memcpy(&uid, telling->vanished.data + at - sizeof(uid), sizeof(uid));
        uidset_add(&uids, uid, uid);
    }
    imap_put_vanished(telling->session, &uids, false);
    uidset_finish(&uids);
    buf_clear(&telling->vanished);
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

void imap_put_change(struct imap_session *session, uint32_t sequence,
                     const struct mailbox_entry *entry, bool uid, bool flags)
{
    if (flags)
        tell_keywords(session);
    imap_printf(session, "* %u FETCH (", sequence);
    if (uid || session->condstore || session->rev2) /* RFC 7162 3.2.4, RFC 9051 7.5.2 */
        imap_printf(session, "UID %u ", entry->uid);
    if (session->condstore)
        imap_printf(session, flags ? "MODSEQ (%llu) " : "MODSEQ (%llu)",
                    (unsigned long long)entry->modseq);
    if (flags) {
        struct buf text = {0};
        imap_put_flags(&text, session->account, entry);
        imap_printf(session, "FLAGS ");
        imap_put(session, buf_slice(&text));
        buf_finish(&text);
    }
    imap_printf(session, ")\r\n");
}

static void tell_flags(void *arg, uint32_t sequence, const struct mailbox_entry *entry)
{
    struct telling *telling = arg;
    tell_vanished(telling);
    imap_put_change(telling->session, sequence, entry, telling->with_uid, true);
}

/* RFC 9051 has no RECENT. */
void imap_put_exists(struct imap_session *session, uint32_t count)
{
    imap_printf(session, session->rev2 ? "* %u EXISTS\r\n" : "* %u EXISTS\r\n* 0 RECENT\r\n",
                count);
}

static void tell_exists(void *arg, uint32_t count)
{
    struct telling *telling = arg;
    tell_vanished(telling);
    imap_put_exists(telling->session, count);
}

static void tell_modseq(struct imap_session *session, bool held)
{
    if (session->condstore && (held || session->modseq_held))
        imap_put_highest(session, held ? "Expunges wait." : "Expunges have been told.");
    session->modseq_held = held;
}

bool imap_tell(struct imap_session *session, bool expunges, bool with_uid)
{
    static const struct mailbox_teller teller = {tell_expunge, tell_flags, tell_exists};
    struct telling telling = {session, with_uid, {0}};
    switch (mailbox_view_state(session->view)) {
    case MAILBOX_VIEW_LIVE:
        mailbox_view_poll(session->view, expunges, &teller, &telling);
        tell_vanished(&telling);
        buf_finish(&telling.vanished);
        tell_modseq(session, mailbox_view_pending(session->view));
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

/* ---- CONDSTORE ----------------------------------------------------------------------------- */

void imap_put_highest(struct imap_session *session, const char *text)
{
    uint64_t modseq = mailbox_view_modseq(session->view);
    if (modseq > 0)
        imap_printf(session, "* OK [HIGHESTMODSEQ %llu] %s\r\n", (unsigned long long)modseq, text);
}

void imap_enable_condstore(struct imap_session *session)
{
    if (session->condstore)
        return;
    session->condstore = true;
    if (session->selected)
        imap_put_highest(session, "CONDSTORE is on.");
}

void imap_vanished_done(void *arg, enum mailbox_result result, const struct uidset *uids)
{
    struct imap_session *session = arg;
    if (result == MAILBOX_OK)
        imap_put_vanished(session, uids, true);
    imap_mailbox_done(session, result);
}
