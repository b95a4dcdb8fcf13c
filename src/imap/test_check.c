/*
 * The arguments of every command, without a session: what RFC 3501 9 allows is taken, what it does
 * not is refused with words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "imap/cmd.h"
#include "imap/fetch.h"
#include "imap/search.h"

static bool run_check(const struct imap_command *command, bool uid, struct slice text,
                      const char **problem)
{
    struct arena arena;
    struct imap_parser parser;
    arena_init(&arena);
    imap_parser_init(&parser, text, &arena, 100);
    void *own = arena_alloc(&arena, command->size);
    bool good =
        (command->check == NULL || command->check(&parser, uid, own)) && imap_parse_end(&parser);
    *problem = parser.problem;
    if (command->finish != NULL)
        command->finish(own);
    arena_finish(&arena);
    return good;
}

static void takes(const struct imap_command *command, const char *text)
{
    const char *problem;
    if (!run_check(command, false, slice_str(text), &problem))
        fail_msg("%s%s: %s", command->name, text, problem);
}

static void refuses(const struct imap_command *command, const char *text)
{
    const char *problem;
    if (run_check(command, false, slice_str(text), &problem))
        fail_msg("%s%s was taken", command->name, text);
    assert_non_null(problem);
}

static void test_no_arguments(void **state)
{
    takes(&imap_cmd_noop, "");
    refuses(&imap_cmd_noop, " ");
    refuses(&imap_cmd_noop, " x");
    refuses(&imap_cmd_expunge, " 1");
}

static void test_mailboxes(void **state)
{
    takes(&imap_cmd_select, " INBOX");
    takes(&imap_cmd_select, " \"a \\\"b\\\\\"");
    takes(&imap_cmd_select, " {3}\r\na b");
    takes(&imap_cmd_select, " a]b");
    refuses(&imap_cmd_select, "");
    refuses(&imap_cmd_select, " ");
    refuses(&imap_cmd_select, "  INBOX");
    refuses(&imap_cmd_select, " INBOX ");
    refuses(&imap_cmd_select, " a(b");
    refuses(&imap_cmd_select, " a*");
    refuses(&imap_cmd_select, " \"a");
    refuses(&imap_cmd_select, " \"a\\b\"");
    refuses(&imap_cmd_select, " \"\xc3\xa9\"");
    refuses(&imap_cmd_select, " \xc3\xa9");
    refuses(&imap_cmd_select, " {3}\r\n\xc3\xa9x");
    refuses(&imap_cmd_select, " a\rb");
    refuses(&imap_cmd_select, " \"a\rb\"");
    refuses(&imap_cmd_select, " &Jjo!");
    takes(&imap_cmd_create, " a/b/ (USE (\\Drafts \\Sent))");
    refuses(&imap_cmd_create, " a (USE \\Drafts)");
    refuses(&imap_cmd_create, " a (X)");
    takes(&imap_cmd_rename, " a b");
    refuses(&imap_cmd_rename, " a");
}

static void test_nul(void **state)
{
    const char *problem;
    assert_false(run_check(&imap_cmd_select, false, slice_make(" a\0b", 4), &problem));
    assert_false(run_check(&imap_cmd_select, false, slice_make(" \"a\0b\"", 6), &problem));
    assert_false(run_check(&imap_cmd_select, false, slice_make(" {3}\r\na\0b", 9), &problem));
}

static void test_list(void **state)
{
    takes(&imap_cmd_list, " \"\" *");
    takes(&imap_cmd_list, " \"\" \"\"");
    takes(&imap_cmd_list, " a/ %.%");
    takes(&imap_cmd_list, " (SUBSCRIBED RECURSIVEMATCH) \"\" (a b*) RETURN (CHILDREN)");
    takes(&imap_cmd_list, " () \"\" *");
    takes(&imap_cmd_list, " \"\" % RETURN (STATUS (MESSAGES UNSEEN) SPECIAL-USE)");
    refuses(&imap_cmd_list, " (RECURSIVEMATCH) \"\" *");
    refuses(&imap_cmd_list, " \"\"");
    refuses(&imap_cmd_list, " \"\" ()");
    refuses(&imap_cmd_list, " \"\" * RETURN");
    refuses(&imap_cmd_list, " \"\" * RETURN (X)");
    refuses(&imap_cmd_lsub, " \"\" (a)");
    takes(&imap_cmd_status, " a (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE DELETED)");
    refuses(&imap_cmd_status, " a ()");
    refuses(&imap_cmd_status, " a MESSAGES");
    refuses(&imap_cmd_status, " a (MESSAGES X)");
}

static void test_sets(void **state)
{
    takes(&imap_cmd_fetch, " 1 FLAGS");
    takes(&imap_cmd_fetch, " 2,4:7,9,12:* FLAGS");
    takes(&imap_cmd_fetch, " *:4,4294967295 FLAGS");
    refuses(&imap_cmd_fetch, " 0 FLAGS");
    refuses(&imap_cmd_fetch, " 1, FLAGS");
    refuses(&imap_cmd_fetch, " 1: FLAGS");
    refuses(&imap_cmd_fetch, " ,1 FLAGS");
    refuses(&imap_cmd_fetch, " 4294967296 FLAGS");
    refuses(&imap_cmd_fetch, " 99999999999999999999999 FLAGS");
    refuses(&imap_cmd_fetch, " -1 FLAGS");
    refuses(&imap_cmd_fetch, " FLAGS");
}

static void test_fetch(void **state)
{
    takes(&imap_cmd_fetch, " 1 ALL");
    takes(&imap_cmd_fetch, " 1 full");
    takes(&imap_cmd_fetch, " 1 (FLAGS UID ENVELOPE BODY BODYSTRUCTURE INTERNALDATE RFC822.SIZE)");
    takes(&imap_cmd_fetch, " 1 BODY[]");
    takes(&imap_cmd_fetch, " 1 BODY.PEEK[]<0.100>");
    takes(&imap_cmd_fetch, " 1 BODY[1.2.MIME]");
    takes(&imap_cmd_fetch, " 1 BODY[1.2.HEADER.FIELDS.NOT (From \"To\" {2}\r\nCc)]<5.1>");
    takes(&imap_cmd_fetch, " 1 (BODY[TEXT] RFC822 RFC822.HEADER RFC822.TEXT)");
    refuses(&imap_cmd_fetch, " 1 (ALL)"); /* a macro stands alone */
    refuses(&imap_cmd_fetch, " 1 ()");
    refuses(&imap_cmd_fetch, " 1 (FLAGS UID");
    refuses(&imap_cmd_fetch, " 1 FLAGS UID");
    refuses(&imap_cmd_fetch, " 1 BODY[MIME]"); /* needs a part number */
    refuses(&imap_cmd_fetch, " 1 BODY[1.]");
    refuses(&imap_cmd_fetch, " 1 BODY[0]");
    refuses(&imap_cmd_fetch, " 1 BODY[1.0.2]");
    refuses(&imap_cmd_fetch, " 1 BODY[.1]");
    refuses(&imap_cmd_fetch, " 1 BODY[1..2]");
    refuses(&imap_cmd_fetch, " 1 BODY[1TEXT]");
    refuses(&imap_cmd_fetch, " 1 BODY[HEADER.FIELDS]");
    refuses(&imap_cmd_fetch, " 1 BODY[HEADER.FIELDS ()]");
    refuses(&imap_cmd_fetch, " 1 BODY[HEADER.FIELDS (a:b)]");
    refuses(&imap_cmd_fetch, " 1 BODY[]<0>");
    refuses(&imap_cmd_fetch, " 1 BODY[]<0.0>");
    refuses(&imap_cmd_fetch, " 1 BODY[]<-1.5>");
    refuses(&imap_cmd_fetch, " 1 BODY.PEEK");
}

static void test_store(void **state)
{
    takes(&imap_cmd_store, " 1 FLAGS (\\Seen $Junk)");
    takes(&imap_cmd_store, " 1 +flags.silent \\Seen \\Deleted");
    takes(&imap_cmd_store, " 1 -FLAGS ()");
    refuses(&imap_cmd_store, " 1 FLAGS");
    refuses(&imap_cmd_store, " 1 FLAGS (\\Recent)");
    refuses(&imap_cmd_store, " 1 FLAGS (\\Foo)");
    refuses(&imap_cmd_store, " 1 FLAGS (a");
    refuses(&imap_cmd_store, " 1 *FLAGS (a)");
    refuses(&imap_cmd_store, " 1 FLAGS (\"a\")");
}

static void test_search(void **state)
{
    takes(&imap_cmd_search, " ALL");
    takes(&imap_cmd_search, " CHARSET UTF-8 SUBJECT \"x\"");
    takes(&imap_cmd_search, " RETURN () ALL");
    takes(&imap_cmd_search, " RETURN (MIN MAX ALL COUNT) 1:* UID 5");
    takes(&imap_cmd_search, " OR (SEEN NOT DELETED) (OR FLAGGED UNDRAFT) SINCE 1-Feb-1994");
    takes(&imap_cmd_search, " SENTON \"01-Feb-1994\" KEYWORD $Junk UNKEYWORD x");
    takes(&imap_cmd_search, " HEADER Message-Id <a@b> LARGER 5000000000");
    refuses(&imap_cmd_search, "");
    refuses(&imap_cmd_search, " OR SEEN");
    refuses(&imap_cmd_search, " NOT");
    refuses(&imap_cmd_search, " ()");
    refuses(&imap_cmd_search, " ON 30-Feb-1994");
    refuses(&imap_cmd_search, " ON 29-Feb-1900");
    takes(&imap_cmd_search, " ON 29-Feb-2000");
    refuses(&imap_cmd_search, " ON 1-Foo-1994");
    refuses(&imap_cmd_search, " ON 1-Feb-94");
    refuses(&imap_cmd_search, " KEYWORD");
    refuses(&imap_cmd_search, " SEENX");
}

static void test_nesting(void **state)
{
    static const char *const pieces[] = {"(", "NOT ", "OR SEEN ", "OR "};
    for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
        struct buf text = {0};
        const char *problem;
        buf_add_str(&text, " ");
        for (int i = 0; i < 10000; i++)
            buf_add_str(&text, pieces[p]);
        buf_add_str(&text, "SEEN");
        assert_false(run_check(&imap_cmd_search, false, buf_slice(&text), &problem));
        assert_non_null(strstr(problem, "within each other"));
        buf_finish(&text);
    }
    struct buf good = {0};
    const char *problem;
    buf_add_str(&good, " ");
    for (int i = 0; i < 100; i++)
        buf_add_str(&good, "(");
    buf_add_str(&good, "SEEN");
    for (int i = 0; i < 100; i++)
        buf_add_str(&good, ")");
    assert_true(run_check(&imap_cmd_search, false, buf_slice(&good), &problem));
    buf_finish(&good);
}

/* date-time of RFC 3501 9 to seconds since 1970, worked out with date(1). */
static void test_dates(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds;
        int32_t zone;
    } dates[] = {
        {"\"17-Jul-1996 02:44:25 -0700\"", 837596665, -420},
        {"\" 1-Jan-1970 00:00:01 +0000\"", 1, 0},
        {"\"29-Feb-2024 23:59:60 +0530\"", 1709231400, 330},
        {"\"31-Dec-2099 12:00:00 +0000\"", 4102401600, 0},
    };
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        struct imap_parser parser;
        struct arena arena;
        uint64_t date_us = 0;
        int32_t zone = 0;
        arena_init(&arena);
        imap_parser_init(&parser, slice_str(dates[i].text), &arena, 10);
        assert_true(imap_parse_date_time(&parser, &date_us, &zone));
        assert_int_equal(date_us, dates[i].seconds * 1000000);
        assert_int_equal(zone, dates[i].zone);
        arena_finish(&arena);
    }
    takes(&imap_cmd_fetch, " 1 INTERNALDATE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_arguments), cmocka_unit_test(test_mailboxes),
        cmocka_unit_test(test_nul),          cmocka_unit_test(test_list),
        cmocka_unit_test(test_sets),         cmocka_unit_test(test_fetch),
        cmocka_unit_test(test_store),        cmocka_unit_test(test_search),
        cmocka_unit_test(test_nesting),      cmocka_unit_test(test_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
