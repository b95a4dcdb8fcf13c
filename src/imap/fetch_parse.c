/* The items of FETCH (RFC 3501 6.4.5 and fetch-att, section of 9), each with the label it is
 * answered by. */
#include "imap/fetch.h"

static struct fetch_item *add_item(struct imap_parser *parser, struct fetch_items *items,
                                   enum fetch_kind kind)
{
    if (items->count == items->room) {
        size_t room = items->room == 0 ? 8 : items->room * 2;
        struct fetch_item *larger = arena_array(parser->arena, room, sizeof(*larger));
        if (items->count > 0)
            memcpy(larger, items->list, items->count * sizeof(*larger));
        items->list = larger;
        items->room = room;
    }
    struct fetch_item *item = &items->list[items->count++];
    item->kind = kind;
    return item;
}

static bool parse_path(struct imap_parser *parser, struct fetch_item *item)
{
    size_t most = 1;
    for (size_t i = parser->at; i < parser->text.size && parser->text.data[i] != ']'; i++)
        most += parser->text.data[i] == '.';
    item->path = arena_array(parser->arena, most, sizeof(*item->path));
    while (parser->at < parser->text.size && ascii_is_digit(parser->text.data[parser->at])) {
        if (!imap_parse_number(parser, &item->path[item->depth]))
            return false;
        if (item->path[item->depth++] == 0)
            return imap_parse_fail(parser, "There is no part number 0.");
        if (!imap_parse_optional(parser, '.'))
            return true;
        if (imap_parse_sees(parser, ']'))
            return imap_parse_fail(parser, "A section ends with a dot.");
    }
    return true;
}

/* RFC 5322 3.6.8: a name of printable ASCII without the colon. */
static bool is_field_name(struct slice name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f || name.data[i] == ':')
            return false;
    return name.size > 0;
}

static bool parse_fields(struct imap_parser *parser, struct fetch_item *item)
{
    size_t most = 1;
    for (size_t i = parser->at; i < parser->text.size && parser->text.data[i] != ')'; i++)
        most += parser->text.data[i] == ' ';
    item->fields = arena_array(parser->arena, most, sizeof(*item->fields));
    if (!imap_parse_space(parser) || !imap_parse_open(parser))
        return false;
    do {
        struct slice *field = &item->fields[item->field_count];
        if (item->field_count++ == most || !imap_parse_astring(parser, field))
            return imap_parse_fail(parser, "A field name is missing.");
        if (!is_field_name(*field))
            return imap_parse_fail(parser, "A field name holds a character it may not hold.");
    } while (imap_parse_optional(parser, ' '));
    return imap_parse_close(parser);
}

static bool parse_text(struct imap_parser *parser, struct fetch_item *item)
{
    bool dot = item->depth == 0 || parser->text.data[parser->at - 1] == '.';
    if (imap_parse_sees(parser, ']') && (item->depth == 0 || !dot))
        return true;
    if (!dot)
        return imap_parse_fail(parser, "There is no such section.");
    if (imap_parse_keyword(parser, "HEADER"))
        item->text = FETCH_HEADER;
    else if (imap_parse_keyword(parser, "TEXT"))
        item->text = FETCH_TEXT;
    else if (item->depth > 0 && imap_parse_keyword(parser, "MIME"))
        item->text = FETCH_MIME;
    else if (imap_parse_keyword(parser, "HEADER.FIELDS.NOT"))
        item->text = FETCH_FIELDS_NOT;
    else if (imap_parse_keyword(parser, "HEADER.FIELDS"))
        item->text = FETCH_FIELDS;
    else
        return imap_parse_fail(parser, "There is no such section.");
    if (item->text == FETCH_FIELDS || item->text == FETCH_FIELDS_NOT)
        return parse_fields(parser, item);
    return true;
}

static bool is_plain_name(struct slice name)
{
    for (size_t i = 0; i < name.size; i++)
        if (strchr("(){%*\"\\]", name.data[i]) != NULL)
            return false;
    return true;
}

static const char *make_label(struct imap_parser *parser, const struct fetch_item *item)
{
    static const char *const texts[] = {"",     "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT",
                                        "TEXT", "MIME"};
    struct buf label = {0};
    buf_add_str(&label, item->kind == FETCH_SECTION  ? "BODY["
                        : item->kind == FETCH_BINARY ? "BINARY["
                                                     : "BINARY.SIZE[");
    for (size_t i = 0; i < item->depth; i++)
        buf_printf(&label, i == 0 ? "%u" : ".%u", item->path[i]);
    buf_printf(&label, "%s%s", item->depth > 0 && item->text != FETCH_ALL ? "." : "",
               texts[item->text]);
    for (size_t i = 0; i < item->field_count; i++) {
        const char *quote = is_plain_name(item->fields[i]) ? "" : "\"";
        buf_printf(&label, "%s%s", i == 0 ? " (" : " ", quote);
        for (size_t c = 0; c < item->fields[i].size; c++) {
            if (*quote != 0 && strchr("\"\\", item->fields[i].data[c]) != NULL)
                buf_u8(&label, '\\');
            buf_u8(&label, item->fields[i].data[c]);
        }
        buf_printf(&label, "%s%s", quote, i + 1 == item->field_count ? ")" : "");
    }
    buf_add_str(&label, "]");
    if (item->partial)
        buf_printf(&label, "<%llu>", (unsigned long long)item->offset);
    const char *text = arena_strdup(parser->arena, buf_slice(&label));
    buf_finish(&label);
    return text;
}

/* Behind "BODY[", "BODY.PEEK[", "BINARY[" and so on. */
static bool parse_section(struct imap_parser *parser, struct fetch_items *items,
                          enum fetch_kind kind)
{
    struct fetch_item *item = add_item(parser, items, kind);
    if (!parse_path(parser, item) || (kind == FETCH_SECTION && !parse_text(parser, item)) ||
        !imap_parse_char(parser, ']'))
        return false;
    if (kind != FETCH_BINARY_SIZE && imap_parse_optional(parser, '<')) {
        item->partial = true;
        if (!imap_parse_number64(parser, &item->offset) || !imap_parse_char(parser, '.') ||
            !imap_parse_number64(parser, &item->size) || !imap_parse_char(parser, '>'))
            return false;
        if (item->size == 0)
            return imap_parse_fail(parser, "A part of no bytes was asked for.");
    }
    item->label = make_label(parser, item);
    return true;
}

static void add_rfc822(struct imap_parser *parser, struct fetch_items *items, enum fetch_text text,
                       const char *label)
{
    struct fetch_item *item = add_item(parser, items, FETCH_SECTION);
    item->text = text;
    item->label = label;
    items->sets_seen = items->sets_seen || text != FETCH_HEADER;
}

static bool parse_item(struct imap_parser *parser, struct fetch_items *items)
{
    static const struct {
        const char *name;
        enum fetch_kind kind;
    } simple[] = {{"FLAGS", FETCH_FLAGS},        {"UID", FETCH_UID},
                  {"RFC822.SIZE", FETCH_SIZE},   {"INTERNALDATE", FETCH_INTERNALDATE},
                  {"ENVELOPE", FETCH_ENVELOPE},  {"BODYSTRUCTURE", FETCH_BODYSTRUCTURE},
                  {"MODSEQ", FETCH_MODSEQ},      {"EMAILID", FETCH_EMAIL_ID},
                  {"THREADID", FETCH_THREAD_ID}, {"SAVEDATE", FETCH_SAVE_DATE}};
    for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
        if (imap_parse_keyword(parser, simple[i].name)) {
            add_item(parser, items, simple[i].kind);
            return true;
        }
    }
    if (imap_parse_keyword(parser, "RFC822")) {
        add_rfc822(parser, items, FETCH_ALL, "RFC822");
    } else if (imap_parse_keyword(parser, "RFC822.HEADER")) {
        add_rfc822(parser, items, FETCH_HEADER, "RFC822.HEADER");
    } else if (imap_parse_keyword(parser, "RFC822.TEXT")) {
        add_rfc822(parser, items, FETCH_TEXT, "RFC822.TEXT");
    } else if (imap_parse_keyword(parser, "BODY.PEEK")) {
        return imap_parse_char(parser, '[') && parse_section(parser, items, FETCH_SECTION);
    } else if (imap_parse_keyword(parser, "BINARY")) {
        items->sets_seen = true;
        return imap_parse_char(parser, '[') && parse_section(parser, items, FETCH_BINARY);
    } else if (imap_parse_keyword(parser, "BINARY.PEEK")) {
        return imap_parse_char(parser, '[') && parse_section(parser, items, FETCH_BINARY);
    } else if (imap_parse_keyword(parser, "BINARY.SIZE")) {
        return imap_parse_char(parser, '[') && parse_section(parser, items, FETCH_BINARY_SIZE);
    } else if (imap_parse_keyword(parser, "BODY")) {
        if (imap_parse_optional(parser, '[')) {
            items->sets_seen = true;
            return parse_section(parser, items, FETCH_SECTION);
        }
        add_item(parser, items, FETCH_BODY);
    } else {
        return imap_parse_fail(parser, "There is no such item of FETCH.");
    }
    return true;
}

static bool parse_macro(struct imap_parser *parser, struct fetch_items *items)
{
    bool full = imap_parse_keyword(parser, "FULL");
    bool all = full || imap_parse_keyword(parser, "ALL");
    if (!all && !imap_parse_keyword(parser, "FAST"))
        return false;
    add_item(parser, items, FETCH_FLAGS);
    add_item(parser, items, FETCH_INTERNALDATE);
    add_item(parser, items, FETCH_SIZE);
    if (all)
        add_item(parser, items, FETCH_ENVELOPE);
    if (full)
        add_item(parser, items, FETCH_BODY);
    return true;
}

/* BODY[] is all bytes there are: no summary says where they begin. */
static uint32_t needs(const struct fetch_item *item)
{
    bool whole = item->kind == FETCH_SECTION && item->depth == 0 && item->text == FETCH_ALL;
    if (item->kind == FETCH_INTERNALDATE || item->kind == FETCH_SIZE || whole)
        return MAILBOX_NEED_EMAIL;
    return item->kind >= FETCH_ENVELOPE ? MAILBOX_NEED_EMAIL | MAILBOX_NEED_SUMMARY : 0;
}

static bool parse_list(struct imap_parser *parser, struct fetch_items *items)
{
    if (parse_macro(parser, items))
        return true;
    if (!imap_parse_sees(parser, '('))
        return parse_item(parser, items);
    if (!imap_parse_open(parser))
        return false;
    do {
        if (!parse_item(parser, items))
            return false;
    } while (imap_parse_optional(parser, ' '));
    return imap_parse_close(parser);
}

bool fetch_parse_items(struct imap_parser *parser, struct fetch_items *items)
{
    bool good = parse_list(parser, items);
    for (size_t i = 0; i < items->count; i++)
        items->need |= needs(&items->list[i]);
    return good;
}

bool fetch_parse_modifiers(struct imap_parser *parser, bool uid, struct fetch_items *items)
{
    bool modseq = false;
    if (!imap_parse_optional(parser, ' '))
        return true;
    if (!imap_parse_open(parser))
        return false;
    do {
        if (imap_parse_keyword(parser, "VANISHED")) {
            items->vanished = true;
        } else if (imap_parse_keyword(parser, "CHANGEDSINCE")) {
            items->changed = true;
            if (!imap_parse_space(parser) || !imap_parse_modseq(parser, &items->since))
                return false;
        } else {
            return imap_parse_fail(parser, "There is no such modifier of FETCH.");
        }
    } while (imap_parse_optional(parser, ' '));
    if (items->vanished && (!uid || !items->changed))
        return imap_parse_fail(parser, "VANISHED needs UID FETCH and CHANGEDSINCE.");
    for (size_t i = 0; i < items->count; i++)
        modseq = modseq || items->list[i].kind == FETCH_MODSEQ;
    if (items->changed && !modseq)
        add_item(parser, items, FETCH_MODSEQ);
    return imap_parse_close(parser);
}
