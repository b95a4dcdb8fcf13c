/*
 * The table of commands, and one command from its text to its tagged answer. What was only checked
 * touches nothing; what is done is answered once; what the mailbox has to tell stands before the
 * answer, expunges only where no number of the client's next command can be meant otherwise
 * (RFC 3501 7.4.1: not at the end of FETCH, STORE and SEARCH).
 */
#include "base/counter.h"
#include "imap/cmd.h"

enum { TAG_MAX = 255 };

/* clang-format off */
const struct imap_command *const imap_commands[] = {
    &imap_cmd_capability, &imap_cmd_noop, &imap_cmd_logout, &imap_cmd_id, &imap_cmd_enable,
    &imap_cmd_namespace, &imap_cmd_check,
    &imap_cmd_list, &imap_cmd_lsub, &imap_cmd_status,
    &imap_cmd_create, &imap_cmd_delete, &imap_cmd_rename, &imap_cmd_subscribe,
    &imap_cmd_unsubscribe,
    &imap_cmd_select, &imap_cmd_examine, &imap_cmd_close, &imap_cmd_unselect,
    &imap_cmd_append, &imap_cmd_fetch, &imap_cmd_store, &imap_cmd_search, &imap_cmd_copy,
    &imap_cmd_move, &imap_cmd_expunge, &imap_cmd_uid_expunge, &imap_cmd_idle,
    NULL,
};
/* clang-format on */

static const struct imap_command *find_command(struct slice name, bool uid)
{
    uint8_t wanted = uid ? IMAP_HAS_UID_FORM | IMAP_ONLY_UID_FORM : 0;
    for (size_t i = 0; imap_commands[i] != NULL; i++) {
        const struct imap_command *command = imap_commands[i];
        bool fits =
            uid ? (command->flags & wanted) != 0 : (command->flags & IMAP_ONLY_UID_FORM) == 0;
        if (fits && slice_equal_nocase_str(name, command->name))
            return command;
    }
    return NULL;
}

static void end_command(struct imap_session *session)
{
    struct imap_work *work = &session->work;
    if (work->command != NULL && work->command->finish != NULL)
        work->command->finish(work->own);
    *work = (struct imap_work){0};
    imap_spool_destroy(&session->spool);
    session->reader.lines = false;
    arena_finish(&session->arena);
}

void imap_command_drop(struct imap_session *session)
{
    end_command(session);
    imap_reader_clear(&session->reader);
}

static void answer_bad(struct imap_session *session, struct slice tag, const char *problem)
{
    if (tag.size == 0)
        tag = SLICE_LITERAL("*");
    imap_printf(session, "%.*s BAD %s\r\n", SLICE_PRINT(tag), problem);
    if (++session->bad < session->host->settings->limit_bad_commands)
        return;
    imap_printf(session, "* BYE Too many bad commands.\r\n");
    imap_end(session, "protocol");
}

/* Tag and name of a text that may not be whole yet; NULL with the problem in the parser. */
static const struct imap_command *parse_beginning(struct imap_parser *parser, struct slice *tag,
                                                  bool *uid)
{
    struct slice name;
    *tag = SLICE_NONE;
    *uid = false;
    if (!imap_parse_tag(parser, tag) || tag->size > TAG_MAX) {
        *tag = SLICE_NONE;
        parser->problem = "A command begins with a tag.";
        return NULL;
    }
    if (!imap_parse_space(parser))
        return NULL;
    if (!imap_parse_word(parser, &name))
        return NULL;
    if (slice_equal_nocase_str(name, "UID")) {
        *uid = true;
        if (!imap_parse_space(parser) || !imap_parse_word(parser, &name))
            return NULL;
    }
    const struct imap_command *command = find_command(name, *uid);
    if (command == NULL)
        imap_parse_fail(parser, "There is no such command.");
    return command;
}

static const char *check_state(const struct imap_session *session,
                               const struct imap_command *command)
{
    if ((command->states & IMAP_AUTHENTICATED) != 0)
        return NULL;
    return session->selected ? NULL : "No mailbox is selected.";
}

static void start(struct imap_session *session)
{
    struct imap_work *work = &session->work;
    struct imap_parser parser;
    struct slice text = arena_copy(&session->arena, buf_slice(&session->reader.text));
    imap_parser_init(&parser, text, &session->arena,
                     (uint32_t)session->host->settings->limit_nesting);
    parser.utf8 = session->utf8;
    parser.spooled = session->reader.spooled;
    parser.spooled_count = session->reader.spooled_count;
    work->behind = session->out != NULL && evbuffer_get_length(session->out) > 0;
    const struct imap_command *command = parse_beginning(&parser, &work->tag, &work->uid);
    const char *problem = parser.problem;
    if (command != NULL)
        problem = check_state(session, command);
    if (problem == NULL) {
        work->own = arena_alloc(&session->arena, command->size);
        bool good = command->check == NULL || command->check(&parser, work->uid, work->own);
        if (!good || !imap_parse_end(&parser))
            problem = parser.problem == NULL ? "The arguments are wrong." : parser.problem;
    }
    imap_reader_clear(&session->reader);
    if (problem != NULL) {
        if (command != NULL && command->finish != NULL && work->own != NULL)
            command->finish(work->own);
        answer_bad(session, work->tag, problem);
        end_command(session);
        return;
    }
    work->command = command;
    session->reader.lines = (command->flags & IMAP_TAKES_LINE) != 0;
    session->commands++;
    counter_add(COUNTER_commands, 1);
    session->bad = 0;
}

/* Its command will not be run: the client does not send the literal (RFC 3501 7.5), or has to be
 * cut off, since its bytes would be taken for commands (RFC 7888 4). */
static void refuse_literal(struct imap_session *session, struct slice tag, const char *answer)
{
    if (!session->reader.literal_sync) {
        imap_printf(session, "* BYE A literal is too long.\r\n");
        imap_end(session, "protocol");
        return;
    }
    if (strncmp(answer, "BAD ", 4) == 0)
        answer_bad(session, tag, answer + 4);
    else
        imap_printf(session, "%.*s %s\r\n", SLICE_PRINT(tag), answer);
    imap_reader_refuse(&session->reader);
    end_command(session);
}

static void literal(struct imap_session *session)
{
    struct imap_reader *reader = &session->reader;
    const struct settings *settings = session->host->settings;
    struct imap_parser parser;
    struct slice tag;
    bool uid;
    imap_parser_init(&parser, buf_slice(&reader->text), &session->arena,
                     (uint32_t)settings->limit_nesting);
    parser.utf8 = session->utf8;
    const struct imap_command *command = parse_beginning(&parser, &tag, &uid);
    uint64_t most = settings->limit_line + settings->limit_literal;
    const char *refusal = NULL;
    if (command != NULL && (command->flags & IMAP_SPOOLS) != 0 &&
        imap_spool_announced(session, &parser, &refusal)) {
        if (refusal != NULL)
            refuse_literal(session, tag, refusal);
        else if (reader->literal_sync)
            imap_printf(session, "+ OK\r\n");
    } else if (reader->literal_size > settings->limit_literal ||
               reader->text.size + reader->literal_size > most) {
        refuse_literal(session, tag, "BAD A literal is too long.");
    } else if (command == NULL && reader->literal_sync) {
        refuse_literal(session, tag, "BAD There is no such command.");
    } else {
        if (reader->literal_sync)
            imap_printf(session, "+ OK\r\n");
        imap_reader_accept(reader);
    }
}

void imap_command_event(struct imap_session *session, enum imap_reader_event event)
{
    if (event == IMAP_READER_LITERAL) {
        literal(session);
        return;
    }
    if (event == IMAP_READER_COMMAND) {
        start(session);
        return;
    }
    if (event == IMAP_READER_ENDLESS) {
        imap_printf(session, "* BYE The line is too long.\r\n");
        imap_end(session, "protocol");
        return;
    }
    struct imap_parser parser;
    struct slice tag;
    bool uid;
    imap_parser_init(&parser, buf_slice(&session->reader.text), &session->arena, 1);
    parse_beginning(&parser, &tag, &uid);
    answer_bad(session, tag,
               event == IMAP_READER_TOO_LONG ? "The line is too long."
                                             : "A line must end with CRLF.");
    imap_command_drop(session);
}

void imap_command_line(struct imap_session *session, enum imap_reader_event event)
{
    struct imap_reader *reader = &session->reader;
    struct slice line = buf_slice(&reader->text);
    session->work.line = event == IMAP_READER_COMMAND
                             ? arena_copy(&session->arena, line.data == NULL ? slice_str("") : line)
                             : slice_str("?");
    imap_reader_clear(reader);
}

static void finish(struct imap_session *session)
{
    struct imap_work *work = &session->work;
    const struct imap_command *command = work->command;
    bool expunges = (command->flags & IMAP_KEEPS_ALWAYS) == 0 &&
                    ((command->flags & IMAP_KEEPS_NUMBERS) == 0 || work->uid);
    if (session->selected && !imap_tell(session, expunges, work->uid))
        return;
    uint64_t modseq = 0;
    if (work->expunged && session->qresync && (command->flags & IMAP_SAYS_MODSEQ) != 0)
        modseq = mailbox_view_modseq(session->view);
    if (work->reply != NULL)
        imap_printf(session, "%.*s %s\r\n", SLICE_PRINT(work->tag), work->reply);
    else if (modseq > 0)
        imap_printf(session, "%.*s OK [HIGHESTMODSEQ %llu] %s completed.\r\n",
                    SLICE_PRINT(work->tag), (unsigned long long)modseq, command->name);
    else
        imap_printf(session, "%.*s OK %s completed.\r\n", SLICE_PRINT(work->tag), command->name);
    if (work->reply != NULL && strncmp(work->reply, "BAD ", 4) == 0)
        session->bad++;
    end_command(session);
}

enum imap_step imap_command_run(struct imap_session *session)
{
    struct imap_work *work = &session->work;
    for (;;) {
        if (work->asked && !work->woken)
            return IMAP_WAIT_STORE;
        work->asked = work->woken = false;
        if (session->reason != NULL)
            return IMAP_CLOSE;
        enum imap_step step = work->command->proceed(session, work->own);
        if (session->reason != NULL)
            return IMAP_CLOSE;
        switch (step) {
        case IMAP_DONE:
            finish(session);
            return session->reason != NULL ? IMAP_CLOSE : IMAP_DONE;
        case IMAP_MORE:
            if (imap_turn_over(session))
                return IMAP_MORE;
            break;
        case IMAP_WAIT_OUTPUT:
            work->wait = "the client to take its data";
            return step;
        case IMAP_WAIT_INPUT:
            work->wait = "news or DONE";
            return step;
        default:
            return step;
        }
    }
}
