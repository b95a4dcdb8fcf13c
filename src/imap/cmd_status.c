/* STATUS (RFC 3501 6.3.10; SIZE and DELETED: RFC 8438, RFC 9051 6.3.11; HIGHESTMODSEQ: RFC 7162
 * 3.1.7; MAILBOXID: RFC 8474 4.3; APPENDLIMIT: RFC 7889 4), also for LIST's RETURN. */
#include "imap/cmd.h"
#include "imap/status.h"

struct status {
    struct slice name;
    uint32_t items;
};

static const char *const names[] = {"MESSAGES",    "RECENT",   "UIDNEXT", "UIDVALIDITY",
                                    "UNSEEN",      "SIZE",     "DELETED", "HIGHESTMODSEQ",
                                    "APPENDLIMIT", "MAILBOXID"};
enum { NAMES = sizeof(names) / sizeof(names[0]), MODSEQ = 7, MAILBOX_ID = NAMES - 1 };

bool imap_parse_status_items(struct imap_parser *parser, uint32_t *items)
{
    *items = 0;
    if (!imap_parse_open(parser))
        return false;
    do {
        uint32_t i = 0;
        while (i < NAMES && !imap_parse_keyword(parser, names[i]))
            i++;
        if (i == NAMES)
            return imap_parse_fail(parser, "There is no such item of STATUS.");
        *items |= 1u << i;
    } while (imap_parse_optional(parser, ' '));
    return imap_parse_close(parser);
}

void imap_put_status(struct imap_session *session, const struct mailbox_info *info, uint32_t items)
{
    const uint64_t values[NAMES] = {info->messages,
                                    0,
                                    info->uidnext,
                                    info->uidvalidity,
                                    info->unseen,
                                    info->size,
                                    info->deleted,
                                    info->modseq,
                                    session->host->settings->message_size};
    const char *space = "";
    if ((items & 1u << MODSEQ) != 0)
        imap_enable_condstore(session);
    imap_printf(session, "* STATUS ");
    imap_put_mailbox(session, info->name);
    imap_printf(session, " (");
    for (uint32_t i = 0; i < NAMES; i++) {
        if ((items & 1u << i) == 0)
            continue;
        if (i == MAILBOX_ID)
            imap_printf(session, "%s%s (%s)", space, names[i], id_text(info->object).text);
        else
            imap_printf(session, "%s%s %llu", space, names[i], (unsigned long long)values[i]);
        space = " ";
    }
    imap_printf(session, ")\r\n");
}

static bool status_check(struct imap_parser *parser, bool uid, void *own)
{
    struct status *status = own;
    return imap_parse_space(parser) && imap_parse_mailbox(parser, &status->name) &&
           imap_parse_space(parser) && imap_parse_status_items(parser, &status->items);
}

static enum imap_step status_proceed(struct imap_session *session, void *own)
{
    const struct status *status = own;
    struct mailbox_info info;
    if (!mailbox_find(session->account, status->name, &info))
        return imap_reply_result(session, MAILBOX_NO_SUCH);
    if (!info.selectable)
        return imap_reply_result(session, MAILBOX_CANNOT);
    imap_put_status(session, &info, status->items);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_status = {.name = "STATUS",
                                             .states = IMAP_AUTHENTICATED,
                                             .size = sizeof(struct status),
                                             .check = status_check,
                                             .proceed = status_proceed};
