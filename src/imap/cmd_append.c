/*
 * APPEND (RFC 3501 6.3.11), several messages at once (RFC 3502), APPENDUID (RFC 4315 3). The
 * messages have come as literals into the spool (append_spool.c) before this runs; here they are
 * given to the mailbox, all or none.
 */
#include "imap/append.h"
#include "imap/cmd.h"

/* The message, or "UTF8 (message)" (RFC 6855 4): its bytes are taken as they are either way. */
static bool parse_data(struct imap_parser *parser, struct imap_append_message *message)
{
    bool utf8 = parser->utf8 && imap_parse_keyword(parser, "UTF8");
    if (utf8 && (!imap_parse_space(parser) || !imap_parse_char(parser, '(')))
        return false;
    if (!imap_parse_spooled(parser, &message->place))
        return false;
    bool announced = parser->spooled_next > parser->spooled_count; /* its bytes come next */
    return !utf8 || announced || imap_parse_char(parser, ')');
}

bool imap_append_check(struct imap_parser *parser, bool uid, void *own)
{
    struct imap_append *append = own;
    if (!imap_parse_space(parser) || !imap_parse_mailbox(parser, &append->name))
        return false;
    append->messages = arena_array(parser->arena, IMAP_SPOOLED_MAX, sizeof(*append->messages));
    do {
        if (append->count == IMAP_SPOOLED_MAX)
            return imap_parse_fail(parser, "Too many messages in one APPEND.");
        struct imap_append_message *message = &append->messages[append->count++];
        if (!imap_parse_space(parser))
            return false;
        if (imap_parse_sees(parser, '(') &&
            (!imap_parse_flags(parser, false, &message->flags) || !imap_parse_space(parser)))
            return false;
        if (imap_parse_sees(parser, '"') &&
            (!imap_parse_date_time(parser, &message->date_us, &message->zone_minutes) ||
             !imap_parse_space(parser)))
            return false;
        if (!parse_data(parser, message))
            return false;
    } while (!imap_parse_at_end(parser));
    return true;
}

static void on_appended(void *arg, enum mailbox_result result,
                        const struct mailbox_appended *appended)
{
    struct imap_session *session = arg;
    struct imap_append *append = session->work.own;
    if (result == MAILBOX_OK) {
        struct buf uids = {0};
        uidset_print(&appended->uids, &uids);
        append->appenduid = arena_printf(&session->arena, "APPENDUID %u %.*s",
                                         appended->uidvalidity, SLICE_PRINT(buf_slice(&uids)));
        buf_finish(&uids);
    }
    imap_mailbox_done(session, result);
}

static enum imap_step append_proceed(struct imap_session *session, void *own)
{
    struct imap_append *append = own;
    if (append->asked) {
        if (session->work.result != MAILBOX_OK)
            return imap_reply_target(session, session->work.result);
        imap_reply(session, "OK [%s] APPEND completed.", append->appenduid);
        return IMAP_DONE;
    }
    imap_spool_seal(session->spool);
    struct mailbox_source sources[IMAP_SPOOLED_MAX] = {0};
    for (size_t i = 0; i < append->count; i++) {
        const struct imap_append_message *message = &append->messages[i];
        struct mailbox_source *source = &sources[i];
        if (!imap_spool_message(session->spool, message->place, &source->bytes))
            return imap_reply_result(session, MAILBOX_NOSPACE);
        if (source->bytes.size == 0) { /* an empty literal calls it off (RFC 3502 6.3.11) */
            imap_reply(session, "NO [CANNOT] A message is empty.");
            return IMAP_DONE;
        }
        source->flags = message->flags;
        source->date_us = message->date_us;
        source->zone_minutes = message->zone_minutes;
    }
    append->asked = true;
    mailbox_append(session->account, append->name, sources, append->count, on_appended, session);
    return imap_wait_store(session, "the message to be stored");
}

const struct imap_command imap_cmd_append = {.name = "APPEND",
                                             .states = IMAP_AUTHENTICATED,
                                             .flags = IMAP_SPOOLS,
                                             .size = sizeof(struct imap_append),
                                             .check = imap_append_check,
                                             .proceed = append_proceed};
