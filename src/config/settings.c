/*
 * The table of settings.h at run time: defaults, setting one by name with its bounds, the wire form
 * between processes. Every wrong value is answered with what would be right. Reads no file.
 */
#include "config/settings.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "config/settings_table.h"

#define N(name, value, least, most, reload, text)                                                  \
    {#name, SETTING_NUMBER, offsetof(struct settings, name), value, least, most, "", reload, text},
#define T(name, value, reload, text)                                                               \
    {#name, SETTING_TEXT, offsetof(struct settings, name), 0, 0, 0, value, reload, text},
#define C(name, value, words, reload, text)                                                        \
    {#name, SETTING_CHOICE, offsetof(struct settings, name), 0, 0, 0, value "|" words, reload,     \
     text},
const struct setting setting_rows[] = {SETTINGS(N, T, C)};
#undef N
#undef T
#undef C

const size_t setting_count = sizeof(setting_rows) / sizeof(*setting_rows);

struct slice setting_words(const struct setting *row)
{
    struct slice words = slice_str(row->word);
    slice_split(&words, '|');
    return words;
}

struct slice setting_default_word(const struct setting *row)
{
    struct slice words = slice_str(row->word);
    return slice_split(&words, '|');
}

static const struct setting *find(struct slice name)
{
    for (size_t i = 0; i < setting_count; i++)
        if (slice_equal_str(name, setting_rows[i].name))
            return &setting_rows[i];
    return NULL;
}

static void *field(struct settings *settings, const struct setting *row)
{
    return (char *)settings + row->offset;
}

static const void *field_const(const struct settings *settings, const struct setting *row)
{
    return (const char *)settings + row->offset;
}

/* Digits and one letter: k M G for bytes, s m h d for seconds. */
static bool parse_number(struct slice text, uint64_t *value)
{
    static const struct {
        char letter;
        uint64_t factor;
    } units[] = {{'k', 1024}, {'M', 1024 * 1024}, {'G', 1024 * 1024 * 1024}, {'s', 1}, {'m', 60},
                 {'h', 3600}, {'d', 86400}};
    uint64_t factor = 1;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units) && text.size > 0; i++)
        if ((char)text.data[text.size - 1] == units[i].letter) {
            factor = units[i].factor;
            text.size--;
            break;
        }
    return slice_u64(text, value) && !__builtin_mul_overflow(*value, factor, value);
}

static bool set_number(struct settings *settings, const struct setting *row, struct slice value,
                       struct error *error)
{
    uint64_t number;
    if (!parse_number(value, &number) || number < row->least || number > row->most)
        return error_set(error,
                         "\"%.*s\" must be a number from %" PRIu64 " to %" PRIu64
                         " (k, M, G for bytes; s, m, h, d for times)",
                         SLICE_PRINT(value), row->least, row->most);
    memcpy(field(settings, row), &number, sizeof(number));
    return true;
}

static bool set_choice(struct settings *settings, const struct setting *row, struct slice value,
                       struct error *error)
{
    struct slice words = setting_words(row);
    for (uint32_t i = 0; words.size > 0; i++) {
        struct slice word = slice_split(&words, ' ');
        if (!slice_equal(word, value))
            continue;
        memcpy(field(settings, row), &i, sizeof(i));
        return true;
    }
    return error_set(error, "\"%.*s\" must be one of: %.*s", SLICE_PRINT(value),
                     SLICE_PRINT(setting_words(row)));
}

static bool set_text(struct settings *settings, const struct setting *row, struct slice value,
                     struct error *error)
{
    if (value.size >= SETTING_TEXT_MAX)
        return error_set(error, "a text of at most %d bytes", SETTING_TEXT_MAX - 1);
    if (slice_find(value, '\n') < value.size || slice_find(value, '\0') < value.size)
        return error_set(error, "a text without line ends");
    char *to = field(settings, row);
    memset(to, 0, SETTING_TEXT_MAX);
    if (value.size > 0)
        memcpy(to, value.data, value.size);
    return true;
}

static bool set_row(struct settings *settings, const struct setting *row, struct slice value,
                    struct error *error)
{
    switch (row->type) {
    case SETTING_NUMBER:
        return set_number(settings, row, value, error);
    case SETTING_CHOICE:
        return set_choice(settings, row, value, error);
    case SETTING_TEXT:
        return set_text(settings, row, value, error);
    }
    return false;
}

void settings_defaults(struct settings *settings)
{
    memset(settings, 0, sizeof(*settings));
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *row = &setting_rows[i];
        if (row->type == SETTING_NUMBER)
            memcpy(field(settings, row), &row->number, sizeof(row->number));
        else if (row->type == SETTING_CHOICE)
            ASSERT(set_choice(settings, row, setting_default_word(row), NULL));
        else
            ASSERT(set_text(settings, row, slice_str(row->word), NULL));
    }
}

bool settings_set(struct settings *settings, struct slice name, struct slice value,
                  struct error *error)
{
    const struct setting *row = find(name);
    if (row == NULL)
        return error_set(error, "there is no setting \"%.*s\"; see restante config --defaults",
                         SLICE_PRINT(name));
    if (!set_row(settings, row, value, error))
        return error_prefix(error, "%s", row->name);
    return true;
}

bool settings_read(struct settings *settings, struct slice lines, struct error *error)
{
    while (lines.size > 0) {
        struct slice value = slice_split(&lines, '\n');
        struct slice name = slice_split(&value, '=');
        if (!settings_set(settings, name, value, error))
            return false;
    }
    return true;
}

void settings_write(const struct settings *settings, struct buf *lines)
{
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *row = &setting_rows[i];
        uint64_t number;
        uint32_t choice;
        buf_printf(lines, "%s=", row->name);
        switch (row->type) {
        case SETTING_NUMBER:
            memcpy(&number, field_const(settings, row), sizeof(number));
            buf_printf(lines, "%" PRIu64, number);
            break;
        case SETTING_CHOICE:
            memcpy(&choice, field_const(settings, row), sizeof(choice));
            buf_add_str(lines, settings_word(row->name, choice));
            break;
        case SETTING_TEXT:
            buf_add_str(lines, field_const(settings, row));
            break;
        }
        buf_add_str(lines, "\n");
    }
}

const char *settings_word(const char *name, uint32_t choice)
{
    static _Thread_local char text[32];
    const struct setting *row = find(slice_str(name));
    ASSERT(row != NULL && row->type == SETTING_CHOICE);
    struct slice words = setting_words(row);
    struct slice word = slice_split(&words, ' ');
    while (choice-- > 0)
        word = slice_split(&words, ' ');
    snprintf(text, sizeof(text), "%.*s", SLICE_PRINT(word));
    return text;
}

const char *settings_reload(struct settings *settings, const struct settings *now)
{
    const char *fixed = NULL;
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *row = &setting_rows[i];
        size_t size = row->type == SETTING_NUMBER   ? sizeof(uint64_t)
                      : row->type == SETTING_CHOICE ? sizeof(uint32_t)
                                                    : SETTING_TEXT_MAX;
        if (row->reload)
            memcpy(field(settings, row), field_const(now, row), size);
        else if (memcmp(field_const(settings, row), field_const(now, row), size) != 0)
            fixed = row->name;
    }
    return fixed;
}
