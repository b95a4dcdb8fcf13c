/*
 * Address lists. An address is first taken apart into tokens up to the "," (";" in a group) that
 * ends it; which of them are name and which are address is decided afterwards, because only what
 * follows a word tells what it was. Linear; an address of more tokens than TOKENS_MAX loses the
 * further ones.
 */
#include "message/address.h"

#include "message/lexer.h"

enum {
    TOKENS_MAX = 100,
};

enum token_kind { TOKEN_WORD, TOKEN_QUOTED, TOKEN_AT };

struct token {
    enum token_kind kind;
    bool spaced; /* something that is no text stood before it */
    struct slice text;
};

struct reader {
    struct lexer lexer;
    struct arena *arena;
    struct summary_addresses *addresses;
    bool in_group;
    const uint8_t *closing; /* the next ">", when it is not behind us */
    size_t count;
    struct slice comment;
    struct token tokens[TOKENS_MAX];
};

static void add(struct reader *reader, struct summary_address address)
{
    struct summary_addresses *addresses = reader->addresses;
    /* A group that began must be able to end: its end may go one beyond. */
    if (addresses->count >= ADDRESS_LIST_MAX + (address.mailbox.data == NULL))
        return;
    /* The room is the power of two that holds the count, also when several fields add to a list. */
    uint32_t count = addresses->count;
    if (count != 1 && (count & (count - 1)) == 0) {
        struct summary_address *list =
            arena_array(reader->arena, count == 0 ? 2 : count * 2, sizeof(*list));
        if (count > 0)
            memcpy(list, addresses->list, count * sizeof(*list));
        addresses->list = list;
    }
    addresses->list[addresses->count++] = address;
}

/* Tokens from..to as one text: glued for an address, with single spaces for a name. */
static struct slice join(struct reader *reader, size_t from, size_t to, bool glue)
{
    size_t size = 0;
    if (to == from)
        return SLICE_LITERAL("");
    if (to - from == 1)
        return reader->tokens[from].text;
    for (size_t i = from; i < to; i++)
        size += reader->tokens[i].text.size + 1;
    uint8_t *text = arena_alloc(reader->arena, size);
    size = 0;
    for (size_t i = from; i < to; i++) {
        const struct token *token = &reader->tokens[i];
        if (!glue && i > from && token->spaced)
            text[size++] = ' ';
        if (token->text.size > 0)
            memcpy(text + size, token->text.data, token->text.size);
        size += token->text.size;
    }
    return slice_make(text, size);
}

/* Do tokens i-1 and i belong to one local part or domain? (RFC 5322 4.4: spaces around dots) */
static bool glued(const struct reader *reader, size_t i)
{
    const struct token *left = &reader->tokens[i - 1];
    const struct token *right = &reader->tokens[i];
    if (!right->spaced)
        return true;
    return (left->text.size > 0 && left->text.data[left->text.size - 1] == '.') ||
           (right->text.size > 0 && right->text.data[0] == '.');
}

/* Index of the last "@", or count. */
static size_t find_at(const struct reader *reader, size_t from)
{
    for (size_t i = reader->count; i > from; i--)
        if (reader->tokens[i - 1].kind == TOKEN_AT)
            return i - 1;
    return reader->count;
}

/* A name of no size is none. */
static struct slice name_or_nil(struct slice name)
{
    return name.size == 0 ? SLICE_NONE : name;
}

static void reset(struct reader *reader)
{
    reader->count = 0;
    reader->comment = SLICE_NONE;
}

/* user@host (Name), user, or "Some Name user@host". */
static void end_bare_address(struct reader *reader)
{
    size_t at = find_at(reader, 0);
    if (reader->count == 0) {
        reset(reader);
        return;
    }
    struct summary_address address = {.host = SLICE_LITERAL("")};
    if (at == reader->count) {
        address.name = name_or_nil(reader->comment);
        address.mailbox = join(reader, 0, at, false);
    } else {
        size_t from = at == 0 ? 0 : at - 1;
        while (from > 0 && reader->tokens[from - 1].kind != TOKEN_AT && glued(reader, from))
            from--;
        size_t to = at + 1 < reader->count ? at + 2 : at + 1;
        while (to < reader->count && glued(reader, to))
            to++;
        address.name = name_or_nil(join(reader, 0, from, false));
        if (address.name.data == NULL)
            address.name = name_or_nil(reader->comment);
        address.mailbox = join(reader, from, at, true);
        address.host = join(reader, at + 1, to, true);
    }
    add(reader, address);
    reset(reader);
}

static void add_token(struct reader *reader, enum token_kind kind, struct slice text, bool spaced)
{
    if (reader->count < TOKENS_MAX)
        reader->tokens[reader->count++] = (struct token){kind, spaced, text};
}

/* One word, quoted string or "@"; anything else is passed over by a byte. */
static void read_token(struct reader *reader, bool spaced)
{
    struct lexer *lexer = &reader->lexer;
    struct slice text;
    switch (*lexer->at) {
    case '"':
        if (lexer_quoted(lexer, &text))
            add_token(reader, TOKEN_QUOTED, text, spaced);
        return;
    case '@':
        add_token(reader, TOKEN_AT, slice_make(lexer->at, 1), spaced);
        lexer->at++;
        return;
    case '[': { /* domain literal; it may hold colons */
        const uint8_t *end = lexer->at;
        while (end < lexer->end && *end != ']' && *end != ',' && *end != '>' &&
               !lexer_is_space(*end))
            end++;
        end += end < lexer->end && *end == ']';
        add_token(reader, TOKEN_WORD, slice_make(lexer->at, (size_t)(end - lexer->at)), spaced);
        lexer->at = end;
        return;
    }
    default:
        text = lexer_word(lexer, LEXER_ADDRESS);
        if (text.size > 0)
            add_token(reader, TOKEN_WORD, text, spaced);
        else
            lexer->at++;
    }
}

/* The next ">", or the end; looked for once for all "<" before it. */
static const uint8_t *next_closing(struct reader *reader)
{
    struct lexer *lexer = &reader->lexer;
    if (reader->closing == NULL || reader->closing < lexer->at) {
        reader->closing = memchr(lexer->at, '>', (size_t)(lexer->end - lexer->at));
        if (reader->closing == NULL)
            reader->closing = lexer->end;
    }
    return reader->closing;
}

/* Where the angle that was opened before at ends: at its ">", or at the "," before the next "<" or
 * the end when it has none. */
static const uint8_t *angle_end(struct reader *reader)
{
    const uint8_t *at = reader->lexer.at;
    const uint8_t *closing = next_closing(reader);
    const uint8_t *opening = at;
    const uint8_t *comma = NULL;
    for (; opening < closing && *opening != '<'; opening++)
        if (comma == NULL && *opening == ',')
            comma = opening;
    if (comma != NULL && (opening < closing || closing == reader->lexer.end))
        return comma;
    return closing;
}

/* RFC 5322 4.4 obs-route: "@a,@b:". */
static struct slice read_route(struct reader *reader, const uint8_t *end)
{
    struct lexer *lexer = &reader->lexer;
    lexer_skip(lexer, NULL);
    if (lexer->at >= end || *lexer->at != '@')
        return SLICE_NONE;
    const uint8_t *colon = memchr(lexer->at, ':', (size_t)(end - lexer->at));
    if (colon == NULL)
        return SLICE_NONE;
    struct slice route =
        lexer_text(slice_make(lexer->at, (size_t)(colon - lexer->at)), reader->arena);
    lexer->at = colon + 1;
    return route;
}

/* Name <route:mailbox@host>, at the "<". */
static void read_angle_address(struct reader *reader)
{
    struct lexer *lexer = &reader->lexer;
    struct summary_address address = {.name = name_or_nil(join(reader, 0, reader->count, false)),
                                      .host = SLICE_LITERAL("")};
    lexer->at++;
    reader->count = 0;
    const uint8_t *end = angle_end(reader);
    address.route = read_route(reader, end);
    while (lexer->at < end) {
        bool spaced = lexer_skip(lexer, NULL);
        if (lexer->at < end)
            read_token(reader, spaced);
        if (lexer->at > end) /* it stood in quotes or a comment */
            end = angle_end(reader);
    }
    if (lexer->at < lexer->end && *lexer->at == '>')
        lexer->at++;
    size_t at = find_at(reader, 0);
    address.mailbox = join(reader, 0, at, true);
    if (at < reader->count)
        address.host = join(reader, at + 1, reader->count, true);
    /* What stands behind the ">" belongs to nothing, but for a comment that names. */
    reset(reader);
    while (!lexer_at_end(lexer) && *lexer->at != ',' && *lexer->at != ';' && *lexer->at != '<') {
        lexer_skip(lexer, &reader->comment);
        if (lexer_at_end(lexer) || *lexer->at == ',' || *lexer->at == ';' || *lexer->at == '<')
            break;
        read_token(reader, false);
    }
    if (address.name.data == NULL)
        address.name = name_or_nil(reader->comment);
    add(reader, address);
    reset(reader);
}

static void begin_group(struct reader *reader)
{
    if (!reader->in_group && reader->count > 0 && find_at(reader, 0) == reader->count &&
        reader->addresses->count < ADDRESS_LIST_MAX) {
        add(reader, (struct summary_address){.mailbox = join(reader, 0, reader->count, false)});
        reader->in_group = true;
        reset(reader);
    }
}

static void end_group(struct reader *reader)
{
    end_bare_address(reader);
    if (reader->in_group)
        add(reader, (struct summary_address){0});
    reader->in_group = false;
}

void address_parse(struct slice value, struct arena *arena, struct summary_addresses *addresses)
{
    struct reader reader;
    reader.lexer = lexer_make(value, arena);
    reader.arena = arena;
    reader.addresses = addresses;
    reader.in_group = false;
    reader.closing = NULL;
    reset(&reader);
    struct lexer *lexer = &reader.lexer;
    while (!lexer_at_end(lexer)) {
        bool spaced = lexer_skip(lexer, &reader.comment);
        if (lexer_at_end(lexer))
            break;
        switch (*lexer->at) {
        case ',':
            end_bare_address(&reader);
            lexer->at++;
            break;
        case ';': /* also used as a comma by some */
            end_group(&reader);
            lexer->at++;
            break;
        case ':':
            begin_group(&reader);
            lexer->at++;
            break;
        case '<':
            read_angle_address(&reader);
            break;
        default:
            read_token(&reader, spaced);
        }
    }
    end_group(&reader);
}
