/*
 * What a reader of an HTML mail sees as text, as far as that can be said without building its tree.
 * It answers for texts that are looked through or shown as a few words, not for showing mail.
 */
#include "message/html.h"

#include "base/bytes.h"
#include "base/utf8.h"
#include "message/html_entities.h"

enum { ENTITY_MAX = 10 };

/* 0x80 to 0x9f are bytes of windows-1252 to everybody; 0: nothing stands there. */
static const uint16_t c1_meanings[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
};

static uint32_t number_entity(struct slice digits)
{
    uint32_t base = 10;
    uint32_t value = 0;
    if (digits.size > 0 && ascii_lower(digits.data[0]) == 'x') {
        base = 16;
        digits = slice_sub(digits, 1, digits.size);
    }
    for (size_t i = 0; i < digits.size; i++) {
        uint8_t c = ascii_lower(digits.data[i]);
        uint32_t digit = ascii_is_digit(c) ? c - (uint32_t)'0' : c - (uint32_t)'a' + 10;
        if (digit >= base || value > 0x10ffff)
            return 0;
        value = value * base + digit;
    }
    if (value >= 0x80 && value < 0xa0)
        return c1_meanings[value - 0x80];
    return value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ? 0 : value;
}

static uint32_t named_entity(struct slice name)
{
    size_t low = 0, high = sizeof(entities) / sizeof(*entities);
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = slice_compare(name, slice_str(entities[middle].name));
        if (order == 0)
            return entities[middle].character;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return 0;
}

/* At "&": the character, and the bytes taken. */
static size_t read_entity(struct slice s, uint32_t *character)
{
    struct slice name = slice_sub(s, 1, ENTITY_MAX);
    size_t end = slice_find(name, ';');
    uint32_t found = 0;
    if (end < name.size && end > 0) {
        name.size = end;
        found =
            name.data[0] == '#' ? number_entity(slice_sub(name, 1, name.size)) : named_entity(name);
    }
    *character = found == 0 ? '&' : found;
    return found == 0 ? 1 : end + 2;
}

/* Where needle begins in s (whatever the case of its ASCII letters), or s.size. */
static size_t find_nocase(struct slice s, const char *needle)
{
    size_t size = strlen(needle);
    for (size_t i = 0; i + size <= s.size; i++) {
        i += slice_find(slice_sub(s, i, s.size), (uint8_t)needle[0]);
        if (slice_equal_nocase(slice_sub(s, i, size), slice_make(needle, size)))
            return i;
    }
    return s.size;
}

static bool is_letter(uint8_t c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

/* Tags that are part of a running text leave no space. */
static bool is_inline(struct slice name)
{
    static const struct slice inlines[] = {
#define TAG(text) {(const uint8_t *)text, sizeof(text) - 1}
        TAG("a"),      TAG("abbr"),   TAG("b"),    TAG("big"),  TAG("cite"),  TAG("code"),
        TAG("del"),    TAG("em"),     TAG("font"), TAG("i"),    TAG("ins"),   TAG("kbd"),
        TAG("mark"),   TAG("q"),      TAG("s"),    TAG("samp"), TAG("small"), TAG("span"),
        TAG("strike"), TAG("strong"), TAG("sub"),  TAG("sup"),  TAG("tt"),    TAG("u"),
        TAG("var"),    TAG("wbr"),
#undef TAG
    };
    for (size_t i = 0; i < sizeof(inlines) / sizeof(*inlines); i++)
        if (name.size == inlines[i].size && slice_equal_nocase(name, inlines[i]))
            return true;
    return false;
}

/* At "<": bytes of the tag; of style, script and title with all they hold. *character: what stands
 * for it, 0: nothing. */
static size_t read_tag(struct slice s, uint32_t *character)
{
    static const char *const hidden[][2] = {
        {"style", "</style"}, {"script", "</script"}, {"title", "</title"}};
    *character = ' ';
    if (slice_starts(s, SLICE_LITERAL("<!--")))
        return find_nocase(s, "-->") + 3;
    size_t from = s.size > 1 && s.data[1] == '/' ? 2 : 1;
    size_t at = from;
    while (at < s.size && (is_letter(s.data[at]) || ascii_is_digit(s.data[at])))
        at++;
    struct slice name = slice_sub(s, from, at - from);
    bool other = s.size > 1 && (s.data[1] == '!' || s.data[1] == '?');
    if (name.size == 0 && !other) {
        *character = '<';
        return 1;
    }
    if (is_inline(name))
        *character = 0;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden) && from == 1; i++)
        if (slice_equal_nocase_str(name, hidden[i][0]))
            return find_nocase(s, hidden[i][1]);
    return slice_find(s, '>') + 1;
}

bool html_next(struct html *html, uint32_t *character)
{
    while (html->rest.size > 0) {
        uint32_t c = html->rest.data[0];
        size_t size;
        if (c == '<') {
            size = read_tag(html->rest, &c);
        } else if (c == '&') {
            size = read_entity(html->rest, &c);
        } else {
            size = c < 0x80 ? 1 : utf8_decode(slice_sub(html->rest, 0, 4), &c);
            if (size == 0) {
                size = 1;
                c = 0;
            }
        }
        html->rest = slice_sub(html->rest, size, html->rest.size);
        if (c != 0) {
            *character = c;
            return true;
        }
    }
    return false;
}

struct slice html_run(struct html *html)
{
    struct slice s = html->rest;
    size_t size = 0;
    for (; s.size - size >= 8; size += 8) {
        uint64_t eight = bytes_get_le64(s.data + size);
        if ((bytes_mark(eight, '<') | bytes_mark(eight, '&') | bytes_mark(eight, 0)) != 0)
            break;
    }
    while (size < s.size && s.data[size] != '<' && s.data[size] != '&' && s.data[size] != 0)
        size++;
    html->rest = slice_sub(s, size, s.size);
    return slice_sub(s, 0, size);
}
