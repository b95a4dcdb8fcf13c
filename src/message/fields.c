/*
 * Iterating header fields. What counts as a field: a name of printable ASCII without space (RFC
 * 5322 3.6.8), spaces perhaps (4.5), a colon. Anything else at the start of a line is passed over
 * together with its continuation lines: an mbox "From " line, a line that somebody broke in two.
 */
#include "message/fields.h"

/* The line at s, with its line end. */
static size_t line_size(struct slice s)
{
    size_t end = slice_find(s, '\n');
    return end < s.size ? end + 1 : s.size;
}

static bool line_is_empty(struct slice line)
{
    return line.data[0] == '\n' || (line.size > 1 && line.data[0] == '\r' && line.data[1] == '\n');
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Size of the name that a line begins with; *colon: where its colon is. 0: no field. */
static size_t name_size(struct slice line, size_t *colon)
{
    size_t size = 0;
    while (size < line.size && line.data[size] > ' ' && line.data[size] < 0x7f &&
           line.data[size] != ':')
        size++;
    *colon = size;
    while (*colon < line.size && is_space(line.data[*colon]))
        (*colon)++;
    return *colon < line.size && line.data[*colon] == ':' ? size : 0;
}

static struct slice without_line_end(struct slice s)
{
    if (s.size > 0 && s.data[s.size - 1] == '\n')
        s.size--;
    if (s.size > 0 && s.data[s.size - 1] == '\r')
        s.size--;
    return s;
}

bool fields_next(struct fields *fields, struct field *field)
{
    while (fields->rest.size > 0 && !line_is_empty(fields->rest)) {
        struct slice rest = fields->rest;
        size_t size = line_size(rest);
        size_t colon;
        size_t name = name_size(slice_sub(rest, 0, size), &colon);
        while (size < rest.size && is_space(rest.data[size]))
            size += line_size(slice_sub(rest, size, rest.size));
        fields->rest = slice_sub(rest, size, rest.size);
        if (name == 0)
            continue;
        field->name = slice_sub(rest, 0, name);
        field->lines = slice_sub(rest, 0, size);
        field->value = without_line_end(slice_sub(field->lines, colon + 1, size));
        return true;
    }
    fields->rest.size = 0;
    return false;
}

bool fields_find(struct slice header, const char *name, struct field *field)
{
    struct fields fields = fields_make(header);
    while (fields_next(&fields, field))
        if (slice_equal_nocase_str(field->name, name))
            return true;
    return false;
}

size_t fields_header_size(struct slice message)
{
    size_t at = 0;
    while (at < message.size) {
        struct slice rest = slice_sub(message, at, message.size);
        at += line_size(rest);
        if (line_is_empty(rest))
            break;
    }
    return at;
}
