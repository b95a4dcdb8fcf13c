/* The keys of SEARCH (RFC 3501 6.4.4 and search-key of 9; RETURN: RFC 4731; OLDER,
 * YOUNGER: RFC 5032). */
#include "base/clock.h"
#include "imap/search.h"

struct reading {
    struct imap_parser *parser;
    struct search_program *program;
};

static struct search_key *parse_key(struct reading *reading);

static struct search_key *make_key(struct reading *reading, enum search_kind kind)
{
    struct search_key *key = ARENA_NEW(reading->parser->arena, struct search_key);
    key->kind = kind;
    if (kind == SEARCH_LARGER || kind == SEARCH_SMALLER || kind == SEARCH_DATE ||
        kind == SEARCH_TIME)
        reading->program->quick |= MAILBOX_NEED_EMAIL;
    if (kind == SEARCH_SENT)
        reading->program->quick |= MAILBOX_NEED_EMAIL | MAILBOX_NEED_SUMMARY;
    reading->program->need |= reading->program->quick;
    return key;
}

static struct search_key *make_not(struct reading *reading, struct search_key *inner)
{
    struct search_key *key = make_key(reading, SEARCH_NOT);
    key->first = inner;
    return key;
}

/* Keys within keys cost stack: they count as parentheses do. */
static bool go_deeper(struct imap_parser *parser)
{
    return ++parser->depth <= parser->depth_max ||
           imap_parse_fail(parser, "Too many keys within each other.");
}

static struct search_key *parse_flag_key(struct reading *reading)
{
    static const struct {
        const char *name;
        uint32_t flag;
        bool without;
    } names[] = {
        {"ANSWERED", MAILBOX_ANSWERED, false}, {"DELETED", MAILBOX_DELETED, false},
        {"DRAFT", MAILBOX_DRAFT, false},       {"FLAGGED", MAILBOX_FLAGGED, false},
        {"SEEN", MAILBOX_SEEN, false},         {"UNANSWERED", MAILBOX_ANSWERED, true},
        {"UNDELETED", MAILBOX_DELETED, true},  {"UNDRAFT", MAILBOX_DRAFT, true},
        {"UNFLAGGED", MAILBOX_FLAGGED, true},  {"UNSEEN", MAILBOX_SEEN, true},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!imap_parse_keyword(reading->parser, names[i].name))
            continue;
        struct search_key *key = make_key(reading, SEARCH_FLAG);
        key->flag = names[i].flag;
        return names[i].without ? make_not(reading, key) : key;
    }
    return NULL;
}

static struct search_key *parse_keyword_key(struct reading *reading, bool without)
{
    struct search_key *key = make_key(reading, SEARCH_KEYWORD);
    if (!imap_parse_space(reading->parser) || !imap_parse_atom(reading->parser, &key->text))
        return NULL;
    return without ? make_not(reading, key) : key;
}

static struct search_key *parse_date_key(struct reading *reading)
{
    static const struct {
        const char *name;
        enum search_kind kind;
        bool before, since;
    } names[] = {
        {"BEFORE", SEARCH_DATE, true, false}, {"ON", SEARCH_DATE, true, true},
        {"SINCE", SEARCH_DATE, false, true},  {"SENTBEFORE", SEARCH_SENT, true, false},
        {"SENTON", SEARCH_SENT, true, true},  {"SENTSINCE", SEARCH_SENT, false, true},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int64_t day;
        if (!imap_parse_keyword(reading->parser, names[i].name))
            continue;
        struct search_key *key = make_key(reading, names[i].kind);
        if (!imap_parse_space(reading->parser) || !imap_parse_date(reading->parser, &day))
            return NULL;
        key->from = names[i].since ? day : INT64_MIN;
        key->to = !names[i].before ? INT64_MAX : names[i].since ? day + 1 : day;
        return key;
    }
    return NULL;
}

static const struct {
    const char *name;
    enum needle_where where;
    bool key; /* is a key of its own; else behind HEADER only */
} fields[] = {
    {"SUBJECT", NEEDLE_SUBJECT, true},
    {"FROM", NEEDLE_FROM, true},
    {"TO", NEEDLE_TO, true},
    {"CC", NEEDLE_CC, true},
    {"BCC", NEEDLE_BCC, true},
    {"SENDER", NEEDLE_SENDER, false},
    {"REPLY-TO", NEEDLE_REPLY_TO, false},
    {"DATE", NEEDLE_DATE, false},
    {"IN-REPLY-TO", NEEDLE_IN_REPLY_TO, false},
    {"MESSAGE-ID", NEEDLE_MESSAGE_ID, false},
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

/* Behind the key: " text". */
static struct search_key *parse_text(struct reading *reading, enum needle_where where,
                                     struct slice field)
{
    struct search_program *program = reading->program;
    struct needle needle = {.where = where, .field = field};
    struct search_key *key = make_key(reading, SEARCH_TEXT);
    if (!imap_parse_space(reading->parser) || !imap_parse_astring(reading->parser, &needle.text))
        return NULL;
    if (program->needles == NULL)
        program->needles = arena_array(reading->parser->arena, NEEDLES_MAX, sizeof(needle));
    program->needle_bytes += field.size + needle.text.size + 16;
    program->too_much |= program->needle_count == NEEDLES_MAX || program->needle_bytes > IPC_CHUNK;
    if (program->too_much)
        return key;
    key->needle = program->needle_count;
    program->needles[program->needle_count++] = needle;
    program->envelopes |= needle_in_envelope(where);
    program->messages |= !needle_in_envelope(where);
    program->need |= MAILBOX_NEED_EMAIL;
    if (needle_in_envelope(where))
        program->need |= MAILBOX_NEED_SUMMARY;
    return key;
}

static struct search_key *parse_header(struct reading *reading)
{
    struct slice name;
    if (!imap_parse_space(reading->parser) || !imap_parse_astring(reading->parser, &name))
        return NULL;
    for (size_t i = 0; i < FIELDS; i++)
        if (slice_equal_nocase_str(name, fields[i].name))
            return parse_text(reading, fields[i].where, SLICE_NONE);
    return parse_text(reading, NEEDLE_FIELD, name);
}

static struct search_key *parse_text_key(struct reading *reading)
{
    struct imap_parser *parser = reading->parser;
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].key && imap_parse_keyword(parser, fields[i].name))
            return parse_text(reading, fields[i].where, SLICE_NONE);
    if (imap_parse_keyword(parser, "HEADER"))
        return parse_header(reading);
    if (imap_parse_keyword(parser, "BODY"))
        return parse_text(reading, NEEDLE_BODY, SLICE_NONE);
    return imap_parse_keyword(parser, "TEXT") ? parse_text(reading, NEEDLE_TEXT, SLICE_NONE) : NULL;
}

/* RFC 5032 */
static struct search_key *parse_within_key(struct reading *reading)
{
    struct imap_parser *parser = reading->parser;
    uint32_t seconds;
    bool older = imap_parse_keyword(parser, "OLDER");
    if (!older && !imap_parse_keyword(parser, "YOUNGER"))
        return NULL;
    if (!imap_parse_space(parser) || !imap_parse_number(parser, &seconds))
        return NULL;
    if (seconds == 0) {
        imap_parse_fail(parser, "The interval must not be 0.");
        return NULL;
    }
    struct search_key *key = make_key(reading, SEARCH_TIME);
    int64_t then = (int64_t)clock_real_us() - (int64_t)seconds * 1000000;
    key->from = older ? INT64_MIN : then;
    key->to = older ? then : INT64_MAX;
    return key;
}

static struct search_key *parse_size_key(struct reading *reading)
{
    struct imap_parser *parser = reading->parser;
    bool larger = imap_parse_keyword(parser, "LARGER");
    if (!larger && !imap_parse_keyword(parser, "SMALLER"))
        return NULL;
    struct search_key *key = make_key(reading, larger ? SEARCH_LARGER : SEARCH_SMALLER);
    return imap_parse_space(parser) && imap_parse_number64(parser, &key->size) ? key : NULL;
}

static struct search_key *parse_set_key(struct reading *reading, enum search_kind kind)
{
    struct search_key *key = make_key(reading, kind);
    return imap_parse_set(reading->parser, &key->set) ? key : NULL;
}

static struct search_key *parse_not(struct reading *reading)
{
    if (!go_deeper(reading->parser) || !imap_parse_space(reading->parser))
        return NULL;
    struct search_key *inner = parse_key(reading);
    reading->parser->depth--;
    return inner == NULL ? NULL : make_not(reading, inner);
}

static struct search_key *parse_or(struct reading *reading)
{
    struct search_key *key = make_key(reading, SEARCH_OR);
    if (!go_deeper(reading->parser) || !imap_parse_space(reading->parser))
        return NULL;
    key->first = parse_key(reading);
    if (key->first == NULL || !imap_parse_space(reading->parser))
        return NULL;
    key->first->next = parse_key(reading);
    reading->parser->depth--;
    return key->first->next == NULL ? NULL : key;
}

/* Keys beside each other, all of which must hold. */
static struct search_key *parse_keys(struct reading *reading)
{
    struct search_key *all = make_key(reading, SEARCH_AND);
    struct search_key **last = &all->first;
    do {
        *last = parse_key(reading);
        if (*last == NULL)
            return NULL;
        last = &(*last)->next;
    } while (imap_parse_optional(reading->parser, ' '));
    return all;
}

static struct search_key *parse_list(struct reading *reading)
{
    if (!imap_parse_open(reading->parser))
        return NULL;
    struct search_key *all = parse_keys(reading);
    return all != NULL && imap_parse_close(reading->parser) ? all : NULL;
}

static struct search_key *parse_key(struct reading *reading)
{
    struct imap_parser *parser = reading->parser;
    struct search_key *key;
    uint8_t c = parser->at < parser->text.size ? parser->text.data[parser->at] : 0;
    if (c == '(')
        return parse_list(reading);
    if (ascii_is_digit(c) || c == '*' || c == '$')
        return parse_set_key(reading, SEARCH_SEQUENCES);
    if (imap_parse_keyword(parser, "NOT"))
        return parse_not(reading);
    if (imap_parse_keyword(parser, "OR"))
        return parse_or(reading);
    if (imap_parse_keyword(parser, "UID"))
        return imap_parse_space(parser) ? parse_set_key(reading, SEARCH_UIDS) : NULL;
    if (imap_parse_keyword(parser, "ALL") || imap_parse_keyword(parser, "OLD"))
        return make_key(reading, SEARCH_ALL);
    if (imap_parse_keyword(parser, "RECENT") || imap_parse_keyword(parser, "NEW"))
        return make_key(reading, SEARCH_NONE);
    if (imap_parse_keyword(parser, "KEYWORD"))
        return parse_keyword_key(reading, false);
    if (imap_parse_keyword(parser, "UNKEYWORD"))
        return parse_keyword_key(reading, true);
    if ((key = parse_flag_key(reading)) != NULL || (key = parse_date_key(reading)) != NULL ||
        (key = parse_size_key(reading)) != NULL || (key = parse_text_key(reading)) != NULL ||
        (key = parse_within_key(reading)) != NULL)
        return key;
    bool good;
    key = make_key(reading, SEARCH_ALL);
    if (!search_parse_entry(parser, key, &good))
        good = imap_parse_fail(parser, "There is no such search key.");
    reading->program->modseq |= key->kind == SEARCH_MODSEQ;
    return good ? key : NULL;
}

static bool parse_returns(struct imap_parser *parser, struct search_program *program)
{
    program->extended = true;
    if (!imap_parse_space(parser) || !imap_parse_open(parser))
        return false;
    while (!imap_parse_sees(parser, ')')) {
        if (imap_parse_keyword(parser, "MIN"))
            program->returns |= SEARCH_MIN;
        else if (imap_parse_keyword(parser, "MAX"))
            program->returns |= SEARCH_MAX;
        else if (imap_parse_keyword(parser, "ALL"))
            program->returns |= SEARCH_RETURN_ALL;
        else if (imap_parse_keyword(parser, "COUNT"))
            program->returns |= SEARCH_COUNT;
        else if (imap_parse_keyword(parser, "SAVE"))
            program->returns |= SEARCH_SAVE;
        else
            return imap_parse_fail(parser, "SEARCH cannot return that.");
        if (!imap_parse_sees(parser, ')') && !imap_parse_space(parser))
            return false;
    }
    if (program->returns == 0)
        program->returns = SEARCH_RETURN_ALL;
    return imap_parse_close(parser) && imap_parse_space(parser);
}

/* With SENTON and the like the summary is needed anyway. */
static bool folds(const struct search_program *program)
{
    for (size_t i = 0; i < program->needle_count; i++)
        if (needle_in_envelope(program->needles[i].where) &&
            !needle_in_folded(program->needles[i].where))
            return false;
    return program->envelopes && (program->quick & MAILBOX_NEED_SUMMARY) == 0;
}

bool search_parse(struct imap_parser *parser, struct search_program *program)
{
    struct reading reading = {parser, program};
    if (!imap_parse_space(parser))
        return false;
    if (imap_parse_keyword(parser, "RETURN") && !parse_returns(parser, program))
        return false;
    if (imap_parse_keyword(parser, "CHARSET")) {
        if (!imap_parse_space(parser) || !imap_parse_astring(parser, &program->charset) ||
            !imap_parse_space(parser))
            return false;
    }
    program->root = parse_keys(&reading);
    program->folds = folds(program);
    program->quick |= MAILBOX_NEED_FOLDED;
    return program->root != NULL;
}
