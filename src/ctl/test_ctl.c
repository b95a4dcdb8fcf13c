/* The pure parts of the command line: options, dot-stuffing, names in passwd-files. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

#include "base/buf.h"
#include "ctl/ctl.h"

static const struct ctl_command self = {.name = "x", .help = "usage: x\n"};

struct given {
    bool flag;
    const char *text, *list[CTL_LIST_MAX];
    size_t count;
    int argc;
};

static int parse(struct given *given, char **argv)
{
    memset(given, 0, sizeof(*given));
    const struct ctl_option options[] = {
        {.name = "flag", .kind = CTL_FLAG, .flag = &given->flag},
        {.name = "text", .kind = CTL_TEXT, .text = &given->text},
        {.name = "list", .kind = CTL_LIST, .list = given->list, .count = &given->count},
        {.name = NULL}};
    while (argv[given->argc] != NULL)
        given->argc++;
    return ctl_options(&self, options, &given->argc, argv);
}

#define ARGV(...) ((char *[]){(char *)(uintptr_t) "x", __VA_ARGS__, NULL})
#define A(text) (char *)(uintptr_t)text

static void test_options(void **state)
{
    struct given given;
    char **argv = ARGV(A("one"), A("--flag"), A("--text"), A("t"), A("two"), A("--list=a"),
                       A("--list"), A("b"), A("-"));
    assert_int_equal(parse(&given, argv), CTL_OK);
    assert_int_equal(given.argc, 4);
    assert_string_equal(argv[1], "one");
    assert_string_equal(argv[2], "two");
    assert_string_equal(argv[3], "-");
    assert_null(argv[4]);
    assert_true(given.flag);
    assert_string_equal(given.text, "t");
    assert_int_equal(given.count, 2);
    assert_string_equal(given.list[0], "a");
    assert_string_equal(given.list[1], "b");
    argv = ARGV(A("--text="), A("--"), A("--flag"));
    assert_int_equal(parse(&given, argv), CTL_OK);
    assert_string_equal(given.text, "");
    assert_false(given.flag);
    assert_string_equal(argv[1], "--flag");
    assert_int_equal(parse(&given, ARGV(A("--flag=1"))), CTL_USAGE);
    assert_int_equal(parse(&given, ARGV(A("--text"))), CTL_USAGE);
    assert_int_equal(parse(&given, ARGV(A("--fla"))), CTL_USAGE);
    assert_int_equal(parse(&given, ARGV(A("--flagx"))), CTL_USAGE);
    assert_int_equal(parse(&given, ARGV(A("-f"))), CTL_USAGE);
    assert_int_equal(ctl_options_status(parse(&given, ARGV(A("--help")))), CTL_OK);
}

static void test_dots(void **state)
{
    /* RFC 5321 4.5.2 */
    static const char *const rows[][2] = {
        {"a\r\nb\r\n", "a\r\nb\r\n.\r\n"},
        {"a\nb\n", "a\r\nb\r\n.\r\n"},
        {"a", "a\r\n.\r\n"},
        {"", ".\r\n"},
        {".\r\n", "..\r\n.\r\n"},
        {"..a\n.\n", "...a\r\n..\r\n.\r\n"},
        {"a.b\r\n.c", "a.b\r\n..c\r\n.\r\n"},
        {"a\rb\r\n", "a\rb\r\n.\r\n"}, /* a lone CR is content */
        {"a\r\r\n", "a\r\r\n.\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out = {0};
        deliver_dot_encode(slice_str(rows[i][0]), &out);
        if (!slice_equal_str(buf_slice(&out), rows[i][1]))
            fail_msg("row %zu", i);
        buf_finish(&out);
    }
}

static void test_names(void **state)
{
    assert_true(slice_equal_str(import_name(slice_str("a@b:{X}y:1")), "a@b"));
    assert_true(slice_equal_str(import_name(slice_str("alone")), "alone"));
    assert_int_equal(import_name(slice_str("# a:b")).size, 0);
    assert_int_equal(import_name(slice_str("")).size, 0);
    assert_int_equal(import_name(slice_str(" \t")).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_dots),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
