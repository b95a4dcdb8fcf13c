/*
 * Mailbox names as clients write them, and the patterns of LIST. Properties: what modified UTF-7
 * decodes to is UTF-8 and has one encoding, the bytes it came from; a refusal leaves the buffer as
 * it was; a pattern matches as the definition (RFC 3501 6.3.8) says, computed the slow way.
 * The input: a pattern, a zero byte, a name.
 */
#include "base/assert.h"
#include "base/utf8.h"
#include "imap/pattern.h"
#include "imap/utf7.h"

enum { SLOW_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_utf7(struct slice text)
{
    struct buf utf8 = {0}, again = {0};
    buf_add_str(&utf8, "before");
    if (!utf7_decode(text, &utf8)) {
        ASSERT(slice_equal_str(buf_slice(&utf8), "before"));
    } else {
        struct slice name = slice_sub(buf_slice(&utf8), 6, utf8.size);
        ASSERT(utf8_valid(name) && slice_find(name, '\0') == name.size);
        utf7_encode(name, &again);
        ASSERT(slice_equal(buf_slice(&again), text));
    }
    buf_clear(&again);
    if (utf8_valid(text) && slice_find(text, '\0') == text.size) {
        buf_clear(&utf8);
        utf7_encode(text, &again);
        for (size_t i = 0; i < again.size; i++)
            ASSERT(again.data[i] < 0x80);
    }
    buf_finish(&utf8);
    buf_finish(&again);
}

/* reach[p][n]: the first p bytes of the pattern can stand for the first n of the name. */
static bool matches_slowly(struct slice pattern, struct slice name)
{
    static bool reach[SLOW_MAX + 1][SLOW_MAX + 1];
    for (size_t p = 0; p <= pattern.size; p++) {
        for (size_t n = 0; n <= name.size; n++) {
            uint8_t at = p > 0 ? pattern.data[p - 1] : 0;
            bool any = p > 0 && (at == '*' || at == '%');
            if (p == 0)
                reach[p][n] = n == 0;
            else if (any)
                reach[p][n] = reach[p - 1][n] ||
                              (n > 0 && reach[p][n - 1] && (at == '*' || name.data[n - 1] != '/'));
            else
                reach[p][n] = n > 0 && reach[p - 1][n - 1] && at == name.data[n - 1];
        }
    }
    return reach[pattern.size][name.size];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice name = slice_make(data, size);
    try_utf7(name);
    struct slice pattern = slice_split(&name, '\0');
    try_utf7(name);
    bool matches = pattern_match(pattern, name);
    if (pattern.size <= SLOW_MAX && name.size <= SLOW_MAX)
        ASSERT(matches == matches_slowly(pattern, name));
    struct buf own = {0};
    buf_add_slice(&own, pattern);
    pattern_inbox(buf_slice(&own), own.data);
    for (size_t i = 0; i < own.size; i++)
        ASSERT(ascii_lower(own.data[i]) == ascii_lower(pattern.data[i]));
    buf_finish(&own);
    return 0;
}
