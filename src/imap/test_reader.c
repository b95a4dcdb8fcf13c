/*
 * The framing of commands, at every split point: whatever the pieces, the events are the same. The
 * inputs and what they mean are from RFC 3501 (2.2, 4.3, 7.5, 9), RFC 7888.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "imap/reader.h"

/* Says what happened as text: "C[text]" command, "L(n)" literal, "T" too long, "B[text]" bare,
 * "E" endless. */
static void feed(struct imap_reader *reader, struct slice in, struct buf *story)
{
    while (in.size > 0) {
        enum imap_reader_event event = imap_reader_feed(reader, &in);
        struct slice text = buf_slice(&reader->text);
        switch (event) {
        case IMAP_READER_COMMAND:
            buf_printf(story, "C[%.*s]", SLICE_PRINT(text));
            break;
        case IMAP_READER_BARE:
            buf_printf(story, "B[%.*s]", SLICE_PRINT(text));
            break;
        case IMAP_READER_TOO_LONG:
            buf_printf(story, "T(%zu)", text.size);
            break;
        case IMAP_READER_ENDLESS:
            if (story->size == 0 || story->data[story->size - 1] != 'E')
                buf_printf(story, "E");
            return;
        case IMAP_READER_LITERAL:
            buf_printf(story, "L(%llu%s)", (unsigned long long)reader->literal_size,
                       reader->literal_sync ? "" : "+");
            if (reader->literal_size > 1000)
                imap_reader_refuse(reader);
            else
                imap_reader_accept(reader);
            continue;
        case IMAP_READER_MORE:
            continue;
        }
        imap_reader_clear(reader);
    }
}

static void check(const char *input, const char *expected)
{
    struct slice in = slice_str(input);
    for (size_t first = 0; first <= in.size; first++) {
        for (size_t second = first; second <= in.size; second++) {
            struct imap_reader reader;
            struct buf story = {0};
            imap_reader_init(&reader, 40);
            feed(&reader, slice_sub(in, 0, first), &story);
            feed(&reader, slice_sub(in, first, second - first), &story);
            feed(&reader, slice_sub(in, second, in.size), &story);
            buf_u8(&story, 0);
            assert_string_equal((char *)story.data, expected);
            buf_finish(&story);
            imap_reader_finish(&reader);
        }
    }
}

static void test_lines(void **state)
{
    check("a NOOP\r\nb NOOP\r\n", "C[a NOOP]C[b NOOP]");
    check("\r\n", "C[]");
    check("a\rb\r\n", "C[a\rb]");
}

static void test_bare_line_feed(void **state)
{
    check("a NOOP\nb NOOP\r\n", "B[a NOOP]C[b NOOP]");
    check("\n\r\n", "B[]C[]");
}

static void test_literals(void **state)
{
    check("a LOGIN {3}\r\nfoo {3}\r\nbar\r\nb\r\n", "L(3)L(3)C[a LOGIN {3}\r\nfoo {3}\r\nbar]C[b]");
    check("a X {4+}\r\n\r\n\r\n\r\n", "L(4+)C[a X {4+}\r\n\r\n\r\n]");
    check("a X {0}\r\n\r\n", "L(0)C[a X {0}\r\n]");
    check("a X {0+}\r\n {0+}\r\n\r\n", "L(0+)L(0+)C[a X {0+}\r\n {0+}\r\n]");
}

/* Only at the end of a line, of digits, and not within a quoted string. */
static void test_no_literals(void **state)
{
    check("a X {3} b\r\n", "C[a X {3} b]");
    check("a X {}\r\n", "C[a X {}]");
    check("a X {+}\r\n", "C[a X {+}]");
    check("a X {1-}\r\n", "C[a X {1-}]");
    check("a X \"{3}\r\n", "C[a X \"{3}]");
    check("a X \"\\\"{3}\r\n", "C[a X \"\\\"{3}]");
    check("a X \"q\" {1}\r\nz\r\n", "L(1)C[a X \"q\" {1}\r\nz]");
}

static void test_too_long(void **state)
{
    check("a 34567890123456789012345678901234567890\r\nb\r\n",
          "C[a 34567890123456789012345678901234567890]C[b]");
    check("a 345678901234567890123456789012345678901\r\nb\r\n", "T(42)C[b]");
    check("a 34567890123456789012345678901234567890123456789\r\nb\r\n", "T(42)C[b]");
    char endless[40 + 16 * 40 + 4];
    memset(endless, 'a', sizeof(endless));
    endless[sizeof(endless) - 1] =
        '\0'; /* one byte beyond 42 and 16 lines: no event was promised */
    check(endless, "E");
    endless[sizeof(endless) - 2] = '\0';
    check(endless, "");
    check("a {5000}\r\nb\r\n", "L(5000)C[b]");
    check("a {99999999999999999999}\r\nb\r\n", "L(18446744073709551615)C[b]");
}

static bool sink(void *arg, struct slice bytes)
{
    buf_add_slice(arg, bytes);
    return true;
}

static void test_spooled(void **state)
{
    static const char input[] = "a APPEND x {7}\r\n1\r\n34\r\n {2}\r\nxy\r\nb\r\n";
    struct slice in = slice_make(input, sizeof(input) - 1);
    for (size_t step = 1; step < in.size; step++) {
        struct imap_reader reader;
        struct buf kept = {0};
        int commands = 0;
        imap_reader_init(&reader, 100);
        for (size_t at = 0; at < in.size; at += step) {
            struct slice piece = slice_sub(in, at, step);
            while (piece.size > 0) {
                enum imap_reader_event event = imap_reader_feed(&reader, &piece);
                if (event == IMAP_READER_LITERAL)
                    imap_reader_spool(&reader, sink, &kept);
                if (event != IMAP_READER_COMMAND)
                    continue;
                if (commands++ == 0) {
                    assert_true(
                        slice_equal_str(buf_slice(&reader.text), "a APPEND x {7}\r\n {2}\r\n"));
                    assert_int_equal(reader.spooled_count, 2);
                    assert_int_equal(reader.spooled[0].at, 16);
                    assert_int_equal(reader.spooled[0].size, 7);
                    assert_int_equal(reader.spooled[1].at, 22);
                }
                imap_reader_clear(&reader);
            }
        }
        assert_int_equal(commands, 2);
        assert_true(slice_equal_str(buf_slice(&kept), "1\r\n34\r\nxy"));
        buf_finish(&kept);
        imap_reader_finish(&reader);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),    cmocka_unit_test(test_bare_line_feed),
        cmocka_unit_test(test_literals), cmocka_unit_test(test_no_literals),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_spooled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
