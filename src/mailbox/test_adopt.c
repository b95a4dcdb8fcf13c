/* An import with UIDs: mailbox_adopt() and sources that bring theirs. */
#include <unistd.h>

#include "mailbox/test_lab.h"

static enum mailbox_result adopt(struct lab *lab, uint32_t uidvalidity, uint32_t uidnext,
                                 bool finished)
{
    struct answer answer = {0};
    mailbox_adopt(lab->account, SLICE_LITERAL("INBOX"), uidvalidity, uidnext, finished, on_done,
                  &answer);
    lab_wait(lab, &answer);
    return answer.result;
}

static enum mailbox_result bring(struct lab *lab, const uint32_t *uids, size_t count)
{
    struct mailbox_source sources[8] = {0};
    struct answer answer = {0};
    for (size_t i = 0; i < count; i++)
        sources[i] = (struct mailbox_source){.bytes = {lab_memfd("A: b\r\n\r\nc\r\n"), NULL, 11},
                                             .uid = uids[i],
                                             .uidl = slice_str(uids[i] == 5 ? "five" : "")};
    mailbox_append(lab->account, SLICE_LITERAL("INBOX"), sources, count, on_append, &answer);
    lab_wait(lab, &answer);
    for (size_t i = 0; i < count; i++)
        close(sources[i].bytes.fd);
    enum mailbox_result result = answer.result;
    answer_finish(&answer);
    return result;
}

static void check_uids(struct lab *lab, const uint32_t *uids, uint32_t count)
{
    struct mailbox_view *view = lab_view(lab, "INBOX");
    assert_int_equal(mailbox_view_count(view), count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(mailbox_view_at(view, i + 1)->uid, uids[i]);
    mailbox_view_close(&view);
}

static void begin(struct lab *lab)
{
    lab_init(lab);
    assert_int_equal(lab_account(lab), MAILBOX_OK);
}

static void test_uids_are_kept(void **state)
{
    struct lab lab;
    begin(&lab);
    assert_int_equal(bring(&lab, (uint32_t[]){3}, 1), MAILBOX_CANNOT); /* not adopted */
    assert_int_equal(adopt(&lab, 77, 100, false), MAILBOX_OK);
    assert_int_equal(bring(&lab, (uint32_t[]){3, 5, 9}, 3), MAILBOX_OK);
    struct mailbox_info info = lab_info(&lab, "INBOX");
    assert_int_equal(info.uidvalidity, 77);
    assert_int_equal(info.uidnext, 10);
    assert_int_equal(info.import_next, 10);
    assert_int_equal(bring(&lab, (uint32_t[]){9}, 1), MAILBOX_CANNOT);
    assert_int_equal(bring(&lab, (uint32_t[]){12, 12}, 2), MAILBOX_CANNOT);
    assert_int_equal(bring(&lab, (uint32_t[]){12, 0}, 2), MAILBOX_CANNOT);
    assert_int_equal(bring(&lab, (uint32_t[]){0, 12}, 2), MAILBOX_CANNOT);
    assert_int_equal(adopt(&lab, 77, 100, true), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "INBOX").uidnext, 100);
    assert_int_equal(adopt(&lab, 78, 100, false), MAILBOX_CANNOT);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    check_uids(&lab, (uint32_t[]){3, 5, 9}, 3);
    info = lab_info(&lab, "INBOX");
    assert_int_equal(info.uidvalidity, 77);
    assert_int_equal(info.uidnext, 100);
    assert_int_equal(info.import_next, 100);
    lab_recount(&lab);
    lab_finish(&lab);
}

static void test_mail_between_two_imports(void **state)
{
    struct lab lab;
    bool duplicate;
    begin(&lab);
    assert_int_equal(adopt(&lab, 77, 100, false), MAILBOX_OK);
    assert_int_equal(bring(&lab, (uint32_t[]){3, 5}, 2), MAILBOX_OK);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    /* It must not get UID 6, under which a client knows another message. */
    assert_int_equal(lab_deliver(&lab, "A: b\r\n\r\nnew\r\n", &duplicate), MAILBOX_OK);
    check_uids(&lab, (uint32_t[]){3, 5, 100}, 3);
    struct mailbox_info info = lab_info(&lab, "INBOX");
    assert_int_equal(info.import_next, 6);
    assert_int_equal(info.uidnext, 101);
    assert_int_equal(adopt(&lab, 77, 100, false), MAILBOX_OK);
    assert_int_equal(bring(&lab, (uint32_t[]){9}, 1), MAILBOX_CANNOT);
    assert_int_equal(lab_info(&lab, "INBOX").import_next, 6);
    assert_int_equal(adopt(&lab, 77, 100, true), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "INBOX").import_next, 100);
    lab_recount(&lab);
    lab_finish(&lab);
}

static void test_not_empty(void **state)
{
    struct lab lab;
    begin(&lab);
    assert_int_equal(lab_append(&lab, "INBOX", 2), MAILBOX_OK);
    uint32_t own = lab_info(&lab, "INBOX").uidvalidity;
    assert_int_equal(adopt(&lab, own + 1, 10, false), MAILBOX_CANNOT);
    assert_int_equal(adopt(&lab, 0, 10, false), MAILBOX_CANNOT);
    assert_int_equal(adopt(&lab, own, 10, false), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "INBOX").import_next, 3);
    assert_int_equal(bring(&lab, (uint32_t[]){4}, 1), MAILBOX_OK);
    check_uids(&lab, (uint32_t[]){1, 2, 4}, 3);
    lab_recount(&lab);
    lab_finish(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uids_are_kept),
        cmocka_unit_test(test_mail_between_two_imports),
        cmocka_unit_test(test_not_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
