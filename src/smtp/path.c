/*
 * Reads addresses as RFC 5321 4.1.2 writes them, one character at a time, and writes them down in
 * one form. Looser than the grammar where real mail is: dots may stand anywhere in a local part
 * (docomo.ne.jp gave such addresses out), underscores in a domain. What an address means (alias,
 * subaddress, case) is auth's business.
 */
#include "smtp/path.h"

#include "base/utf8.h"

struct writer {
    struct smtp_path *path;
    size_t used;
    bool full;
};

static void put(struct writer *writer, struct slice bytes)
{
    if (bytes.size > SMTP_ADDRESS_MAX - writer->used) {
        writer->full = true;
        return;
    }
    memcpy(writer->path->address + writer->used, bytes.data, bytes.size);
    writer->used += bytes.size;
    writer->path->address[writer->used] = '\0';
}

static void skip(struct slice *s, size_t count)
{
    s->data += count;
    s->size -= count;
}

static bool take(struct slice *s, char c)
{
    if (s->size == 0 || s->data[0] != (uint8_t)c) {
        return false;
    }
    skip(s, 1);
    return true;
}

static bool is_atext(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || ascii_is_digit(c) ||
           (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_domain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || ascii_is_digit(c) || c == '-' ||
           c == '.' || c == '_';
}

/* Length of the run that `allowed` and UTF-8 make up; sets utf8 when there is any. */
static size_t run_length(struct slice s, bool (*allowed)(uint8_t), bool *utf8)
{
    size_t at = 0;
    while (at < s.size) {
        if (s.data[at] < 0x80) {
            if (!allowed(s.data[at])) {
                break;
            }
            at++;
            continue;
        }
        size_t length = utf8_length(slice_sub(s, at, s.size));
        if (length == 0) {
            break;
        }
        *utf8 = true;
        at += length;
    }
    return at;
}

static bool is_local(uint8_t c)
{
    return is_atext(c) || c == '.';
}

/* Without its quotes into text; false when it is not closed or holds what it may not. */
static bool unquote(struct slice *rest, uint8_t *text, size_t *size, bool *utf8)
{
    *size = 0;
    skip(rest, 1);
    while (rest->size > 0) {
        size_t length = utf8_length(*rest);
        uint8_t c = rest->data[0];
        if (c == '"') {
            skip(rest, 1);
            return true;
        }
        if (c == '\\') {
            skip(rest, 1);
            length = 1;
            if (rest->size == 0 || rest->data[0] < 32 || rest->data[0] > 126) {
                return false;
            }
        } else if (length == 0 || c < 32 || c == 127) {
            return false;
        }
        *utf8 |= length > 1;
        if (*size + length > SMTP_ADDRESS_MAX) {
            return false;
        }
        memcpy(text + *size, rest->data, length);
        *size += length;
        skip(rest, length);
    }
    return false;
}

static void put_quoted(struct writer *writer, struct slice text)
{
    put(writer, SLICE_LITERAL("\""));
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\') {
            put(writer, SLICE_LITERAL("\\"));
        }
        put(writer, slice_sub(text, i, 1));
    }
    put(writer, SLICE_LITERAL("\""));
}

static bool parse_local(struct slice *rest, struct writer *writer)
{
    bool *utf8 = &writer->path->utf8;
    if (rest->size > 0 && rest->data[0] == '"') {
        uint8_t text[SMTP_ADDRESS_MAX];
        size_t size = 0;
        if (!unquote(rest, text, &size, utf8)) {
            return false;
        }
        struct slice local = slice_make(text, size);
        bool ignored = false;
        if (size > 0 && run_length(local, is_local, &ignored) == size) {
            put(writer, local);
        } else {
            put_quoted(writer, local);
        }
        return true;
    }
    size_t length = run_length(*rest, is_local, utf8);
    put(writer, slice_sub(*rest, 0, length));
    skip(rest, length);
    return length > 0;
}

static size_t domain_length(struct slice rest, bool *utf8)
{
    if (rest.size > 0 && rest.data[0] == '[') {
        size_t end = slice_find(rest, ']');
        for (size_t i = 1; i < end; i++) {
            if (rest.data[i] < 33 || rest.data[i] > 126 || rest.data[i] == '[' ||
                rest.data[i] == '\\') {
                return 0;
            }
        }
        return end < rest.size && end > 1 ? end + 1 : 0;
    }
    return run_length(rest, is_domain, utf8);
}

/* "@a,@b:" (RFC 5321 4.1.2 A-d-l). */
static bool skip_route(struct slice *rest)
{
    if (rest->size == 0 || rest->data[0] != '@') {
        return true;
    }
    bool ignored = false;
    do {
        if (!take(rest, '@')) {
            return false;
        }
        size_t length = domain_length(*rest, &ignored);
        if (length == 0) {
            return false;
        }
        skip(rest, length);
    } while (take(rest, ','));
    return take(rest, ':');
}

bool smtp_path_parse(struct slice *rest, struct smtp_path *path)
{
    *path = (struct smtp_path){0};
    struct writer writer = {.path = path};
    if (!take(rest, '<')) {
        return false;
    }
    if (take(rest, '>')) {
        return true;
    }
    if (!skip_route(rest) || !parse_local(rest, &writer)) {
        return false;
    }
    if (take(rest, '@')) {
        size_t length = domain_length(*rest, &path->utf8);
        if (length == 0) {
            return false;
        }
        put(&writer, SLICE_LITERAL("@"));
        put(&writer, slice_sub(*rest, 0, length));
        skip(rest, length);
    }
    return take(rest, '>') && !writer.full;
}

static bool is_key(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || ascii_is_digit(c) || c == '-';
}

bool smtp_parameter_next(struct slice *rest, struct slice *key, struct slice *value)
{
    *key = *value = SLICE_NONE;
    struct slice s = *rest;
    while (take(&s, ' ')) {
    }
    if (s.size == 0) {
        *rest = s;
        return false;
    }
    if (s.size == rest->size) {
        return false; /* no space ahead of it */
    }
    size_t length = 0;
    while (length < s.size && is_key(s.data[length])) {
        length++;
    }
    struct slice found = slice_sub(s, 0, length);
    skip(&s, length);
    struct slice given = SLICE_NONE;
    if (length > 0 && take(&s, '=')) {
        size_t size = 0;
        while (size < s.size && s.data[size] > 32 && s.data[size] < 127 && s.data[size] != '=') {
            size++;
        }
        given = slice_make(s.data, size);
        skip(&s, size);
    }
    if (length == 0 || found.data[0] == '-' || (s.size > 0 && s.data[0] != ' ')) {
        return false;
    }
    *key = found;
    *value = given;
    *rest = s;
    return true;
}

bool smtp_domain_valid(struct slice name)
{
    if (name.size == 0 || name.size > 255 || !utf8_valid(name)) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        /* It goes into a Received field: nothing that could close or open a comment there. */
        if (c <= 32 || c == 127 || c == '(' || c == ')' || c == '\\' || c == '<' || c == '>' ||
            c == ';' || c == '"') {
            return false;
        }
    }
    return true;
}
