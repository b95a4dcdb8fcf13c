/* The commands that touch no mailbox: CAPABILITY, NOOP, CHECK, LOGOUT, ID, ENABLE, NAMESPACE. */
#include "imap/capability.h"
#include "imap/cmd.h"

static enum imap_step capability_proceed(struct imap_session *session, void *own)
{
    imap_printf(session, "* CAPABILITY " IMAP_CAPABILITY_AFTER "\r\n");
    return IMAP_DONE;
}

/* NOOP and CHECK: what there is to tell is told at the end of every command. */
static enum imap_step nothing_proceed(struct imap_session *session, void *own)
{
    return IMAP_DONE;
}

static enum imap_step logout_proceed(struct imap_session *session, void *own)
{
    imap_printf(session, "* BYE Logging out.\r\n%.*s OK LOGOUT completed.\r\n",
                SLICE_PRINT(session->work.tag));
    imap_end(session, "logout");
    return IMAP_CLOSE;
}

/* RFC 2971: what the client says of itself is taken and not kept. */
static bool id_check(struct imap_parser *parser, bool uid, void *own)
{
    struct slice value;
    if (!imap_parse_space(parser))
        return false;
    if (imap_parse_keyword(parser, "NIL"))
        return true;
    if (!imap_parse_open(parser))
        return false;
    while (!imap_parse_sees(parser, ')'))
        if (!imap_parse_nstring(parser, &value) ||
            (!imap_parse_sees(parser, ')') && !imap_parse_space(parser)))
            return false;
    return imap_parse_close(parser);
}

static enum imap_step id_proceed(struct imap_session *session, void *own)
{
    imap_printf(session, "* ID (\"name\" \"Restante\")\r\n");
    return IMAP_DONE;
}

struct enable {
    bool condstore, qresync, utf8, rev2;
};

/* RFC 5161: names that are not known, or cannot be enabled, are passed over. */
static bool enable_check(struct imap_parser *parser, bool uid, void *own)
{
    struct enable *enable = own;
    struct slice name;
    if (!imap_parse_space(parser))
        return false;
    do {
        if (!imap_parse_atom(parser, &name))
            return false;
        enable->condstore = enable->condstore || slice_equal_nocase_str(name, "CONDSTORE");
        enable->utf8 = enable->utf8 || slice_equal_nocase_str(name, "UTF8=ACCEPT");
        enable->rev2 = enable->rev2 || slice_equal_nocase_str(name, "IMAP4rev2");
        enable->qresync = enable->qresync || slice_equal_nocase_str(name, "QRESYNC");
    } while (imap_parse_optional(parser, ' '));
    return true;
}

static enum imap_step enable_proceed(struct imap_session *session, void *own)
{
    const struct enable *enable = own;
    imap_printf(session, "* ENABLED%s%s%s%s\r\n", enable->rev2 ? " IMAP4rev2" : "",
                enable->condstore ? " CONDSTORE" : "", enable->qresync ? " QRESYNC" : "",
                enable->utf8 ? " UTF8=ACCEPT" : "");
    session->utf8 = session->utf8 || enable->utf8 || enable->rev2;
    session->rev2 = session->rev2 || enable->rev2;
    if (enable->condstore || enable->qresync)
        imap_enable_condstore(session);
    session->qresync = session->qresync || enable->qresync;
    return IMAP_DONE;
}

static enum imap_step namespace_proceed(struct imap_session *session, void *own)
{
    imap_printf(session, "* NAMESPACE ((\"\" \"%c\")) NIL NIL\r\n", MAILBOX_SEPARATOR);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_capability = {
    .name = "CAPABILITY", .states = IMAP_AUTHENTICATED, .proceed = capability_proceed};
const struct imap_command imap_cmd_noop = {
    .name = "NOOP", .states = IMAP_AUTHENTICATED, .proceed = nothing_proceed};
const struct imap_command imap_cmd_check = {
    .name = "CHECK", .states = IMAP_SELECTED, .proceed = nothing_proceed};
const struct imap_command imap_cmd_logout = {
    .name = "LOGOUT", .states = IMAP_AUTHENTICATED, .proceed = logout_proceed};
const struct imap_command imap_cmd_id = {
    .name = "ID", .states = IMAP_AUTHENTICATED, .check = id_check, .proceed = id_proceed};
const struct imap_command imap_cmd_enable = {.name = "ENABLE",
                                             .states = IMAP_AUTHENTICATED,
                                             .size = sizeof(struct enable),
                                             .check = enable_check,
                                             .proceed = enable_proceed};
const struct imap_command imap_cmd_namespace = {
    .name = "NAMESPACE", .states = IMAP_AUTHENTICATED, .proceed = namespace_proceed};
