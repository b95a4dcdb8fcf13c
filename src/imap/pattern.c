/* Patterns, matched by the set of places in the pattern that the name so far can stand at: no
 * backtracking, so no pattern of a client can make it slow. */
#include "imap/pattern.h"

#include "mailbox/mailbox.h"

enum { PLACES_MAX = 1024 };

/* A wildcard may stand for nothing: the place behind it can be reached as well. */
static void skip_wildcards(struct slice pattern, bool *at)
{
    for (size_t i = 0; i < pattern.size; i++)
        if (at[i] && (pattern.data[i] == '*' || pattern.data[i] == '%'))
            at[i + 1] = true;
}

bool pattern_match(struct slice pattern, struct slice name)
{
    bool at[PLACES_MAX + 1] = {true}, next[PLACES_MAX + 1];
    if (pattern.size > PLACES_MAX)
        return false;
    skip_wildcards(pattern, at);
    for (size_t n = 0; n < name.size; n++) {
        bool any = false;
        memset(next, 0, pattern.size + 1);
        for (size_t i = 0; i < pattern.size; i++) {
            uint8_t p = pattern.data[i];
            if (!at[i])
                continue;
            if (p == '*' || (p == '%' && name.data[n] != MAILBOX_SEPARATOR))
                any = next[i] = true;
            else if (p != '%' && p == name.data[n])
                any = next[i + 1] = true;
        }
        if (!any)
            return false;
        memcpy(at, next, pattern.size + 1);
        skip_wildcards(pattern, at);
    }
    return at[pattern.size];
}

void pattern_inbox(struct slice pattern, uint8_t *bytes)
{
    if (!slice_equal_nocase_str(slice_sub(pattern, 0, 5), "INBOX"))
        return;
    if (pattern.size == 5 || strchr("/%*", pattern.data[5]) != NULL)
        memcpy(bytes, "INBOX", 5);
}
