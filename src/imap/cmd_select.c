/*
 * SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 6.3.1, 6.3.2, 6.4.2; RFC 3691). The old mailbox is
 * left before the new one is tried, also when that fails.
 */
#include "imap/cmd.h"

void imap_close_view(struct imap_session *session)
{
    session->selected = false;
    session->keywords_told = 0;
    mailbox_view_close(&session->view);
}

struct select {
    struct slice name;
    bool asked;
};

static bool select_check(struct imap_parser *parser, bool uid, void *own)
{
    struct select *select = own;
    return imap_parse_space(parser) && imap_parse_mailbox(parser, &select->name);
}

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

static uint32_t first_unseen(const struct mailbox_view *view)
{
    uint32_t count = mailbox_view_count(view);
    for (uint32_t sequence = 1; sequence <= count; sequence++)
        if ((mailbox_view_at(view, sequence)->flags & MAILBOX_SEEN) == 0)
            return sequence;
    return 0;
}

static void put_selected(struct imap_session *session)
{
    struct mailbox_info info;
    const struct slice *keywords;
    bool read_only = mailbox_view_read_only(session->view);
    mailbox_view_info(session->view, &info);
    session->keywords_told = mailbox_view_keywords(session->view, &keywords);
    imap_printf(session, "* FLAGS ");
    imap_put_flags_known(session, false);
    imap_printf(session, "\r\n* OK [PERMANENTFLAGS ");
    if (read_only)
        imap_printf(session, "()");
    else
        imap_put_flags_known(session, true);
    imap_printf(session, "] Flags that are kept.\r\n* %u EXISTS\r\n* 0 RECENT\r\n",
                mailbox_view_count(session->view));
    uint32_t unseen = first_unseen(session->view);
    if (unseen != 0)
        imap_printf(session, "* OK [UNSEEN %u] The first unseen message.\r\n", unseen);
    imap_printf(session,
                "* OK [UIDVALIDITY %u] UIDs are valid.\r\n* OK [UIDNEXT %u] The next UID.\r\n",
                info.uidvalidity, info.uidnext);
}

static enum imap_step select_view(struct imap_session *session, struct select *select,
                                  bool read_only)
{
    if (!select->asked) {
        imap_close_view(session);
        select->asked = true;
        session->view =
            mailbox_view_open(session->account, select->name, read_only, on_open, session);
        return imap_wait_store(session, "the mailbox to open");
    }
    if (session->work.result != MAILBOX_OK) {
        imap_close_view(session);
        return imap_reply_result(session, session->work.result);
    }
    session->selected = true;
    mailbox_view_notify(session->view, on_change, session);
    put_selected(session);
    imap_reply(session,
               mailbox_view_read_only(session->view) ? "OK [READ-ONLY] %s completed."
                                                     : "OK [READ-WRITE] %s completed.",
               session->work.command->name);
    return IMAP_DONE;
}

static enum imap_step select_proceed(struct imap_session *session, void *own)
{
    return select_view(session, own, false);
}

static enum imap_step examine_proceed(struct imap_session *session, void *own)
{
    return select_view(session, own, true);
}

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
                                             .proceed = select_proceed};
const struct imap_command imap_cmd_examine = {.name = "EXAMINE",
                                              .states = IMAP_AUTHENTICATED,
                                              .size = sizeof(struct select),
                                              .check = select_check,
                                              .proceed = examine_proceed};
const struct imap_command imap_cmd_close = {.name = "CLOSE",
                                            .states = IMAP_SELECTED,
                                            .size = sizeof(struct leave),
                                            .proceed = close_proceed};
const struct imap_command imap_cmd_unselect = {
    .name = "UNSELECT", .states = IMAP_SELECTED, .proceed = unselect_proceed};
