/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7; USE: RFC 6154 5.3;
 * MAILBOXID: RFC 8474 4.1). */
#include "imap/cmd.h"

struct change {
    struct slice name, to;
    uint32_t special;
    bool unknown_use; /* an attribute of USE that we do not have */
    bool asked;
};

static bool name_check(struct imap_parser *parser, bool uid, void *own)
{
    struct change *change = own;
    return imap_parse_space(parser) && imap_parse_mailbox(parser, &change->name);
}

/* "CREATE foo/" says that there will be mailboxes below it; the name is "foo". */
static struct slice without_separator(struct slice name)
{
    if (name.size > 1 && name.data[name.size - 1] == MAILBOX_SEPARATOR)
        name.size--;
    return name;
}

static bool parse_use(struct imap_parser *parser, struct change *change)
{
    if (!imap_parse_open(parser) || !imap_parse_keyword(parser, "USE") ||
        !imap_parse_space(parser) || !imap_parse_open(parser))
        return imap_parse_fail(parser, "Only USE is known here.");
    while (!imap_parse_sees(parser, ')')) {
        struct slice name;
        size_t begin = parser->at;
        if (!imap_parse_char(parser, '\\') || !imap_parse_atom(parser, &name))
            return false;
        uint32_t bit = imap_special_bit(slice_sub(parser->text, begin, parser->at - begin));
        change->special |= bit;
        change->unknown_use |= bit == 0;
        if (!imap_parse_sees(parser, ')') && !imap_parse_space(parser))
            return false;
    }
    return imap_parse_close(parser) && imap_parse_close(parser);
}

static bool create_check(struct imap_parser *parser, bool uid, void *own)
{
    struct change *change = own;
    if (!name_check(parser, uid, own))
        return false;
    change->name = without_separator(change->name);
    return !imap_parse_optional(parser, ' ') || parse_use(parser, change);
}

static bool rename_check(struct imap_parser *parser, bool uid, void *own)
{
    struct change *change = own;
    if (!name_check(parser, uid, own) || !imap_parse_space(parser) ||
        !imap_parse_mailbox(parser, &change->to))
        return false;
    change->to = without_separator(change->to);
    return true;
}

static enum imap_step answer(struct imap_session *session)
{
    return session->work.result == MAILBOX_OK ? IMAP_DONE
                                              : imap_reply_result(session, session->work.result);
}

static enum imap_step create_proceed(struct imap_session *session, void *own)
{
    struct change *change = own;
    struct mailbox_info info;
    if (change->asked && session->work.result == MAILBOX_OK &&
        mailbox_find(session->account, change->name, &info)) {
        if (session->rev2 && !slice_equal(info.name, change->name))
            imap_put_list(session, &info, change->name);
        imap_reply(session, "OK [MAILBOXID (%s)] CREATE completed.", id_text(info.object).text);
        return IMAP_DONE;
    }
    if (change->asked)
        return answer(session);
    if (change->unknown_use) {
        imap_reply(session, "NO [USEATTR] There is no such special use.");
        return IMAP_DONE;
    }
    change->asked = true;
    mailbox_create(session->account, change->name, change->special, imap_mailbox_done, session);
    return imap_wait_store(session, "the mailbox to be made");
}

/* Who deletes the mailbox it has selected knows what it did: it goes on without one, while others
 * that have it selected are cut off (RFC 2180 3.3). */
static void leave_deleted(struct imap_session *session)
{
    if (session->view == NULL || mailbox_view_state(session->view) != MAILBOX_VIEW_DELETED)
        return;
    imap_printf(session, "* OK [CLOSED] The mailbox was left.\r\n");
    imap_close_view(session);
}

static enum imap_step delete_proceed(struct imap_session *session, void *own)
{
    struct change *change = own;
    if (change->asked) {
        leave_deleted(session);
        return answer(session);
    }
    change->asked = true;
    mailbox_delete(session->account, change->name, imap_mailbox_done, session);
    return imap_wait_store(session, "the mailbox to be deleted");
}

static enum imap_step rename_proceed(struct imap_session *session, void *own)
{
    struct change *change = own;
    struct mailbox_info info;
    if (change->asked && session->rev2 && session->work.result == MAILBOX_OK &&
        mailbox_find(session->account, change->to, &info) && !slice_equal(info.name, change->to))
        imap_put_list(session, &info, change->name); /* RFC 9051 6.3.6 */
    if (change->asked)
        return answer(session);
    change->asked = true;
    mailbox_rename(session->account, change->name, change->to, imap_mailbox_done, session);
    return imap_wait_store(session, "the mailbox to be renamed");
}

static enum imap_step subscribe(struct imap_session *session, struct change *change, bool on)
{
    if (change->asked)
        return answer(session);
    change->asked = true;
    mailbox_subscribe(session->account, change->name, on, imap_mailbox_done, session);
    return imap_wait_store(session, "the subscription");
}

static enum imap_step subscribe_proceed(struct imap_session *session, void *own)
{
    return subscribe(session, own, true);
}

static enum imap_step unsubscribe_proceed(struct imap_session *session, void *own)
{
    return subscribe(session, own, false);
}

const struct imap_command imap_cmd_create = {.name = "CREATE",
                                             .states = IMAP_AUTHENTICATED,
                                             .size = sizeof(struct change),
                                             .check = create_check,
                                             .proceed = create_proceed};
const struct imap_command imap_cmd_delete = {.name = "DELETE",
                                             .states = IMAP_AUTHENTICATED,
                                             .size = sizeof(struct change),
                                             .check = name_check,
                                             .proceed = delete_proceed};
const struct imap_command imap_cmd_rename = {.name = "RENAME",
                                             .states = IMAP_AUTHENTICATED,
                                             .size = sizeof(struct change),
                                             .check = rename_check,
                                             .proceed = rename_proceed};
const struct imap_command imap_cmd_subscribe = {.name = "SUBSCRIBE",
                                                .states = IMAP_AUTHENTICATED,
                                                .size = sizeof(struct change),
                                                .check = name_check,
                                                .proceed = subscribe_proceed};
const struct imap_command imap_cmd_unsubscribe = {.name = "UNSUBSCRIBE",
                                                  .states = IMAP_AUTHENTICATED,
                                                  .size = sizeof(struct change),
                                                  .check = name_check,
                                                  .proceed = unsubscribe_proceed};
