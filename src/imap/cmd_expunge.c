/* EXPUNGE (RFC 3501 6.4.3) and UID EXPUNGE (RFC 4315 2.1): what went is told before the answer. */
#include "imap/cmd.h"

struct expunge {
    struct imap_set set;
    struct uidset sequences, uids;
    bool asked;
};

static bool uid_expunge_check(struct imap_parser *parser, bool uid, void *own)
{
    struct expunge *expunge = own;
    return imap_parse_space(parser) && imap_parse_set(parser, &expunge->set);
}

static enum imap_step expunge_proceed(struct imap_session *session, void *own)
{
    struct expunge *expunge = own;
    if (expunge->asked)
        return session->work.result == MAILBOX_OK
                   ? IMAP_DONE
                   : imap_reply_result(session, session->work.result);
    if (mailbox_view_read_only(session->view))
        return imap_reply_result(session, MAILBOX_READ_ONLY);
    expunge->asked = true;
    if (session->work.uid) {
        imap_set_sequences(session, &expunge->set, true, &expunge->sequences);
        imap_set_uids(session, &expunge->sequences, &expunge->uids);
    }
    mailbox_expunge(session->view, session->work.uid ? &expunge->uids : NULL, imap_mailbox_done,
                    session);
    return imap_wait_store(session, "the expunge");
}

static void expunge_finish(void *own)
{
    struct expunge *expunge = own;
    uidset_finish(&expunge->sequences);
    uidset_finish(&expunge->uids);
}

const struct imap_command imap_cmd_expunge = {.name = "EXPUNGE",
                                              .states = IMAP_SELECTED,
                                              .flags = IMAP_SAYS_MODSEQ,
                                              .size = sizeof(struct expunge),
                                              .proceed = expunge_proceed,
                                              .finish = expunge_finish};
const struct imap_command imap_cmd_uid_expunge = {.name = "EXPUNGE",
                                                  .states = IMAP_SELECTED,
                                                  .flags = IMAP_ONLY_UID_FORM | IMAP_SAYS_MODSEQ,
                                                  .size = sizeof(struct expunge),
                                                  .check = uid_expunge_check,
                                                  .proceed = expunge_proceed,
                                                  .finish = expunge_finish};
