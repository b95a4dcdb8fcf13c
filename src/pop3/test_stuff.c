/* Dot-stuffing and TOP, at every split of the message. Expected bytes by RFC 1939 3 and 7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <event2/buffer.h>

#include "base/slice.h"
#include "pop3/stuff.h"

static void expect(struct evbuffer *out, const char *text, size_t split, size_t again)
{
    size_t size = evbuffer_get_length(out);
    struct slice got = slice_make(evbuffer_pullup(out, -1), size);
    if (!slice_equal_str(got, text)) {
        fail_msg("split at %zu and %zu: wanted\n%s\ngot\n%.*s", split, again, text,
                 SLICE_PRINT(got));
    }
}

/* lines < 0: RETR. Three pieces, cut at every pair of places. */
static void check(const char *message, int lines, const char *sent)
{
    size_t size = strlen(message);
    for (size_t a = 0; a <= size; a++) {
        for (size_t b = a; b <= size; b++) {
            const size_t cuts[] = {0, a, b, size};
            struct evbuffer *piece = evbuffer_new(), *out = evbuffer_new();
            struct pop3_stuff stuff = {0};
            struct pop3_top top;
            pop3_top_init(&top, lines < 0 ? 0 : (uint32_t)lines);
            for (int i = 0; i < 3 && (lines < 0 || !top.done); i++) {
                evbuffer_add(piece, message + cuts[i], cuts[i + 1] - cuts[i]);
                if (lines >= 0) {
                    pop3_top_cut(&top, piece);
                }
                pop3_stuff_add(&stuff, piece, out);
                assert_int_equal(evbuffer_get_length(piece), 0);
            }
            pop3_stuff_end(&stuff, out);
            expect(out, sent, a, b);
            evbuffer_free(piece);
            evbuffer_free(out);
        }
    }
}

static void retr(void **state)
{
    check("", -1, ".\r\n");
    check("a\r\n", -1, "a\r\n.\r\n");
    check(".\r\n", -1, "..\r\n.\r\n");
    check("a\r\n.\r\n..b\r\nc.\r\n", -1, "a\r\n..\r\n...b\r\nc.\r\n.\r\n");
    check("\r\n.\r\n.\r\n", -1, "\r\n..\r\n..\r\n.\r\n");
    check("no end", -1, "no end\r\n.\r\n");
    check(".", -1, "..\r\n.\r\n");
    /* Only CRLF ends a line: these dots do not begin one. */
    check("a\r.b\n.c\r\n", -1, "a\r.b\n.c\r\n.\r\n");
    check("a\r\r\n.\r\n", -1, "a\r\r\n..\r\n.\r\n");
    check("a\r", -1, "a\r\r\n.\r\n");
}

static void top(void **state)
{
    static const char message[] = "S: x\r\n\r\n1\r\n.2\r\n\r\n4\r\n";
    check(message, 0, "S: x\r\n\r\n.\r\n");
    check(message, 1, "S: x\r\n\r\n1\r\n.\r\n");
    check(message, 2, "S: x\r\n\r\n1\r\n..2\r\n.\r\n");
    check(message, 3, "S: x\r\n\r\n1\r\n..2\r\n\r\n.\r\n");
    check(message, 4, "S: x\r\n\r\n1\r\n..2\r\n\r\n4\r\n.\r\n");
    check(message, 99, "S: x\r\n\r\n1\r\n..2\r\n\r\n4\r\n.\r\n");
    check("S: x\r\n", 5, "S: x\r\n.\r\n");                          /* header alone */
    check("\r\nbody\r\n", 0, "\r\n.\r\n");                          /* no header */
    check("S: x\r\n\r\r\n\r\nb\r\n", 0, "S: x\r\n\r\r\n\r\n.\r\n"); /* CR CR LF is no empty line */
    check("S: x\r\n\r\nlast", 1, "S: x\r\n\r\nlast\r\n.\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(retr), cmocka_unit_test(top)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
