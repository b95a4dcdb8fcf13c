/*
 * Parameters. First they are read as they stand, then the pieces of RFC 2231 (name*0, name*1*) are
 * put together: into `name` when none of them is encoded, else into `name*`, whose value stays as
 * encoded as it is there; pieces that are not encoded are encoded for that.
 */
#include "message/content.h"

#include "message/lexer.h"

struct parameter {
    struct slice name, value; /* as they stand */
    bool is_piece;
    bool encoded;      /* this piece is */
    uint32_t number;   /* of this piece */
    struct slice base; /* its name without number */
};

struct parameters {
    struct parameter list[CONTENT_PARAMETERS_MAX];
    uint32_t count;
};

/* A value without quotes. A token by the standard ends at a space; file names with spaces are
 * common, so it goes on to the ";" unless what follows looks like a comment or a parameter. */
static struct slice read_bare_value(struct lexer *lexer)
{
    const uint8_t *from = lexer->at;
    struct slice word = lexer_word(lexer, LEXER_VALUE);
    const uint8_t *end = lexer->at;
    while (end < lexer->end && *end != ';' && *end != '\n')
        end++;
    struct slice rest = slice_make(lexer->at, (size_t)(end - lexer->at));
    if (slice_find(rest, '(') < rest.size || slice_find(rest, '=') < rest.size)
        return word;
    lexer->at = end;
    while (end > from && lexer_is_space(end[-1]))
        end--;
    return slice_make(from, (size_t)(end - from));
}

static struct slice read_value(struct lexer *lexer)
{
    struct slice text;
    lexer_skip(lexer, NULL);
    if (lexer_at_end(lexer) || *lexer->at != '"')
        return lexer_text(read_bare_value(lexer), lexer->arena);
    return lexer_quoted(lexer, &text) ? text : lexer_text(read_bare_value(lexer), lexer->arena);
}

/* "name*2*" is piece 2 of name, encoded. */
static void add_parameter(struct parameters *parameters, struct slice name, struct slice value)
{
    if (name.size == 0 || parameters->count == CONTENT_PARAMETERS_MAX)
        return;
    struct parameter *parameter = &parameters->list[parameters->count++];
    *parameter = (struct parameter){.name = name, .value = value};
    struct slice rest = name;
    parameter->base = slice_split(&rest, '*');
    parameter->encoded = rest.size > 1 && rest.data[rest.size - 1] == '*';
    if (parameter->encoded)
        rest.size--;
    parameter->is_piece = slice_u32(rest, &parameter->number);
}

static void read_parameters(struct lexer *lexer, struct parameters *parameters)
{
    while (!lexer_at_end(lexer)) {
        lexer_skip(lexer, NULL);
        struct slice name = lexer_word(lexer, LEXER_NAME);
        lexer_skip(lexer, NULL);
        if (lexer_at_end(lexer))
            break;
        if (*lexer->at != '=') {
            lexer->at += name.size == 0; /* a word without value is passed over */
            continue;
        }
        lexer->at++;
        add_parameter(parameters, name, read_value(lexer));
    }
}

static const struct parameter *find_piece(const struct parameters *parameters, struct slice base,
                                          uint32_t number)
{
    for (uint32_t i = 0; i < parameters->count; i++) {
        const struct parameter *piece = &parameters->list[i];
        if (piece->number == number && piece->is_piece && slice_equal_nocase(piece->base, base))
            return piece;
    }
    return NULL;
}

/* RFC 2231 7 attribute-char: stays as it is in an encoded value. */
static bool is_attribute_char(uint8_t c)
{
    return c > ' ' && c < 0x7f && strchr("*'%()<>@,;:\\\"/[]?=", c) == NULL;
}

static uint8_t *put_encoded(uint8_t *out, struct slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.size; i++) {
        if (is_attribute_char(text.data[i])) {
            *out++ = text.data[i];
        } else {
            *out++ = '%';
            *out++ = (uint8_t)digits[text.data[i] >> 4];
            *out++ = (uint8_t)digits[text.data[i] & 15];
        }
    }
    return out;
}

/* All pieces of a parameter, up to the first that is missing. */
static struct summary_parameter join_pieces(const struct parameters *parameters, struct slice name,
                                            struct arena *arena)
{
    const struct parameter *pieces[CONTENT_PARAMETERS_MAX];
    bool encoded = false;
    uint32_t count = 0;
    size_t size = 2;
    for (; count < parameters->count; count++) {
        pieces[count] = find_piece(parameters, name, count);
        if (pieces[count] == NULL)
            break;
        encoded |= pieces[count]->encoded;
        size += 3 * pieces[count]->value.size;
    }
    uint8_t *value = arena_alloc(arena, size);
    uint8_t *end = value;
    if (encoded && !pieces[0]->encoded) { /* no charset, no language */
        *end++ = '\'';
        *end++ = '\'';
    }
    for (uint32_t i = 0; i < count; i++) {
        struct slice piece = pieces[i]->value;
        if (encoded && !pieces[i]->encoded) {
            end = put_encoded(end, piece);
        } else if (piece.size > 0) {
            memcpy(end, piece.data, piece.size);
            end += piece.size;
        }
    }
    if (encoded) {
        uint8_t *starred = arena_alloc(arena, name.size + 1);
        memcpy(starred, name.data, name.size);
        starred[name.size] = '*';
        name = slice_make(starred, name.size + 1);
    }
    return (struct summary_parameter){name, slice_make(value, (size_t)(end - value))};
}

/* The parameters of a field from here on, joined where their piece 0 stands. Pieces of which there
 * is no piece 0 are kept as they are. */
static struct summary_parameter *parse_parameters(struct lexer *lexer, uint32_t *count)
{
    struct parameters parameters;
    parameters.count = 0;
    *count = 0;
    read_parameters(lexer, &parameters);
    if (parameters.count == 0)
        return NULL;
    struct summary_parameter *joined = arena_array(lexer->arena, parameters.count, sizeof(*joined));
    for (uint32_t i = 0; i < parameters.count; i++) {
        const struct parameter *parameter = &parameters.list[i];
        const struct parameter *first =
            parameter->is_piece ? find_piece(&parameters, parameter->base, 0) : NULL;
        if (first == NULL)
            joined[(*count)++] = (struct summary_parameter){parameter->name, parameter->value};
        else if (first == parameter)
            joined[(*count)++] = join_pieces(&parameters, parameter->base, lexer->arena);
    }
    return joined;
}

bool content_type_parse(struct slice value, struct arena *arena, struct summary_part *part)
{
    struct lexer lexer = lexer_make(value, arena);
    lexer_skip(&lexer, NULL);
    struct slice type = lexer_word(&lexer, LEXER_TYPE);
    lexer_skip(&lexer, NULL);
    if (type.size == 0 || lexer_at_end(&lexer) || *lexer.at != '/')
        return false;
    lexer.at++;
    lexer_skip(&lexer, NULL);
    struct slice subtype = lexer_word(&lexer, LEXER_TYPE);
    if (subtype.size == 0)
        return false;
    part->type = type;
    part->subtype = subtype;
    part->parameters = parse_parameters(&lexer, &part->parameter_count);
    return true;
}

void content_disposition_parse(struct slice value, struct arena *arena, struct summary_part *part)
{
    struct lexer lexer = lexer_make(value, arena);
    lexer_skip(&lexer, NULL);
    struct slice word = lexer_word(&lexer, LEXER_NAME);
    if (word.size == 0)
        return;
    /* "filename=x" alone: the word was a parameter. RFC 2183 2.8: unknown ones are attachments. */
    if (!lexer_at_end(&lexer) && *lexer.at == '=') {
        lexer.at -= word.size;
        word = SLICE_LITERAL("attachment");
    }
    part->disposition = word;
    part->disposition_parameters = parse_parameters(&lexer, &part->disposition_parameter_count);
}

void content_language_parse(struct slice value, struct arena *arena, struct summary_part *part)
{
    struct slice list[CONTENT_LANGUAGES_MAX];
    uint32_t count = 0;
    struct lexer lexer = lexer_make(value, arena);
    while (!lexer_at_end(&lexer) && count < CONTENT_LANGUAGES_MAX) {
        lexer_skip(&lexer, NULL);
        struct slice word = lexer_word(&lexer, LEXER_LIST);
        if (word.size > 0)
            list[count++] = word;
        else if (!lexer_at_end(&lexer))
            lexer.at++;
    }
    part->languages = NULL;
    part->language_count = count;
    if (count > 0) {
        part->languages = arena_array(arena, count, sizeof(*list));
        memcpy(part->languages, list, count * sizeof(*list));
    }
}

void content_encoding_parse(struct slice value, struct arena *arena, struct summary_part *part)
{
    struct lexer lexer = lexer_make(value, arena);
    lexer_skip(&lexer, NULL);
    if (!lexer_at_end(&lexer) && *lexer.at == '"')
        lexer.at++;
    struct slice word = lexer_word(&lexer, LEXER_LIST);
    if (word.size > 0)
        part->encoding = word;
}

struct slice content_parameter(const struct summary_parameter *list, uint32_t count,
                               const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (slice_equal_nocase_str(list[i].name, name))
            return list[i].value;
    return SLICE_NONE;
}
