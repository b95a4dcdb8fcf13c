/*
 * COPY and MOVE, and their UID forms (RFC 3501 6.4.7, RFC 6851). All or nothing. COPYUID (RFC 4315
 * 3) stands in COPY's answer, and in an untagged OK ahead of MOVE's expunges.
 */
#include "imap/cmd.h"

struct copy {
    struct imap_set set;
    struct slice target;
    struct uidset sequences, uids;
    bool asked;
    char *copyuid; /* in the arena; NULL: nothing was copied */
};

static bool copy_check(struct imap_parser *parser, bool uid, void *own)
{
    struct copy *copy = own;
    return imap_parse_space(parser) && imap_parse_set(parser, &copy->set) &&
           imap_parse_space(parser) && imap_parse_mailbox(parser, &copy->target);
}

static void on_copied(void *arg, enum mailbox_result result, const struct mailbox_copied *copied)
{
    struct imap_session *session = arg;
    struct copy *copy = session->work.own;
    if (result == MAILBOX_OK && copied->source.count > 0) {
        struct buf source = {0}, target = {0};
        uidset_print(&copied->source, &source);
        uidset_print(&copied->target, &target);
        copy->copyuid =
            arena_printf(&session->arena, "COPYUID %u %.*s %.*s", copied->uidvalidity,
                         SLICE_PRINT(buf_slice(&source)), SLICE_PRINT(buf_slice(&target)));
        buf_finish(&source);
        buf_finish(&target);
    }
    imap_mailbox_done(session, result);
}

static enum imap_step copy_answer(struct imap_session *session, struct copy *copy, bool move)
{
    if (session->work.result != MAILBOX_OK)
        return imap_reply_target(session, session->work.result);
    if (copy->copyuid == NULL)
        return IMAP_DONE;
    if (move)
        imap_printf(session, "* OK [%s] Moved.\r\n", copy->copyuid);
    else
        imap_reply(session, "OK [%s] COPY completed.", copy->copyuid);
    return IMAP_DONE;
}

static enum imap_step copy_messages(struct imap_session *session, struct copy *copy, bool move)
{
    if (copy->asked)
        return copy_answer(session, copy, move);
    if (!imap_set_sequences(session, &copy->set, session->work.uid, &copy->sequences)) {
        imap_reply(session, "BAD There is no message with such a number.");
        return IMAP_DONE;
    }
    if (move && mailbox_view_read_only(session->view))
        return imap_reply_result(session, MAILBOX_READ_ONLY);
    if (copy->sequences.count == 0) /* RFC 3501 6.4.8: UIDs that are not there are no error */
        return IMAP_DONE;
    copy->asked = true;
    imap_set_uids(session, &copy->sequences, &copy->uids);
    mailbox_copy(session->view, &copy->uids, copy->target, move, on_copied, session);
    return imap_wait_store(session, "the copy");
}

static enum imap_step copy_proceed(struct imap_session *session, void *own)
{
    return copy_messages(session, own, false);
}

static enum imap_step move_proceed(struct imap_session *session, void *own)
{
    return copy_messages(session, own, true);
}

static void copy_finish(void *own)
{
    struct copy *copy = own;
    uidset_finish(&copy->sequences);
    uidset_finish(&copy->uids);
}

const struct imap_command imap_cmd_copy = {.name = "COPY",
                                           .states = IMAP_SELECTED,
                                           .flags = IMAP_HAS_UID_FORM,
                                           .size = sizeof(struct copy),
                                           .check = copy_check,
                                           .proceed = copy_proceed,
                                           .finish = copy_finish};
const struct imap_command imap_cmd_move = {.name = "MOVE",
                                           .states = IMAP_SELECTED,
                                           .flags = IMAP_HAS_UID_FORM | IMAP_SAYS_MODSEQ,
                                           .size = sizeof(struct copy),
                                           .check = copy_check,
                                           .proceed = move_proceed,
                                           .finish = copy_finish};
