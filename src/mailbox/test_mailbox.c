/* The calls of mailbox.h, one by one, on the store in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "mailbox/test_lab.h"

static void list_names(void *arg, const struct mailbox_info *info)
{
    struct buf *out = arg;
    buf_add_slice(out, info->name);
    buf_printf(out, "%s%s%s ", info->children ? "+" : "", info->selectable ? "" : "-",
               info->subscribed ? "s" : "");
}

static void check_list(struct lab *lab, const char *expected)
{
    struct buf out = {0};
    mailbox_list(lab->account, list_names, &out);
    buf_u8(&out, 0);
    assert_string_equal((char *)out.data, expected);
    buf_finish(&out);
}

static enum mailbox_result
tree(struct lab *lab, void (*call)(struct mailbox_account *, struct slice, mailbox_done *, void *),
     const char *name)
{
    struct answer answer = {0};
    call(lab->account, slice_str(name), on_done, &answer);
    assert_false(answer.done);
    lab_wait(lab, &answer);
    return answer.result;
}

static void create_plain(struct mailbox_account *account, struct slice name, mailbox_done *done,
                         void *arg)
{
    mailbox_create(account, name, 0, done, arg);
}

static enum mailbox_result create(struct lab *lab, const char *name)
{
    return tree(lab, create_plain, name);
}

static enum mailbox_result delete (struct lab *lab, const char *name) {
    return tree(lab, mailbox_delete, name);
}

static enum mailbox_result rename_to(struct lab *lab, const char *from, const char *to)
{
    struct answer answer = {0};
    mailbox_rename(lab->account, slice_str(from), slice_str(to), on_done, &answer);
    lab_wait(lab, &answer);
    return answer.result;
}

static void test_new_account(void **state)
{
    struct lab lab;
    struct mailbox_info info;
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    check_list(&lab, "INBOXs Archives Draftss Junks Sents Trashs ");
    assert_true(mailbox_find(lab.account, SLICE_LITERAL("inBOX"), &info));
    assert_int_equal(info.uidnext, 1);
    struct id object = info.object;
    uint32_t uidvalidity = info.uidvalidity;
    assert_int_equal(lab_info(&lab, "Junk").special, MAILBOX_SPECIAL_JUNK);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    check_list(&lab, "INBOXs Archives Draftss Junks Sents Trashs ");
    info = lab_info(&lab, "INBOX");
    assert_true(id_equal(info.object, object));
    assert_int_equal(info.uidvalidity, uidvalidity);
    lab_finish(&lab);
}

static void test_tree(void **state)
{
    struct lab lab;
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(create(&lab, "a/b/c/"), MAILBOX_OK);
    assert_int_equal(create(&lab, "a/b"), MAILBOX_EXISTS);
    assert_int_equal(create(&lab, "inbox"), MAILBOX_EXISTS);
    assert_int_equal(create(&lab, "a//b"), MAILBOX_BAD_NAME);
    assert_int_equal(create(&lab, "/a"), MAILBOX_BAD_NAME);
    assert_int_equal(create(&lab, ""), MAILBOX_BAD_NAME);
    assert_int_equal(create(&lab, "x\x01"), MAILBOX_BAD_NAME);
    assert_int_equal(create(&lab, "x\xff"), MAILBOX_BAD_NAME);
    /* e and a combining acute are the same name as the composed letter (NFC). */
    assert_int_equal(create(&lab, "e\xcc\x81t\xc3\xa9"), MAILBOX_OK);
    assert_int_equal(create(&lab, "\xc3\xa9t\xc3\xa9"), MAILBOX_EXISTS);
    check_list(&lab, "INBOXs Archives Draftss Junks Sents Trashs a+ a/b+ a/b/c \xc3\xa9t\xc3\xa9 ");
    struct id object = lab_info(&lab, "a/b/c").object;
    assert_int_equal(rename_to(&lab, "a", "z/y"), MAILBOX_OK);
    assert_true(id_equal(lab_info(&lab, "z/y/b/c").object, object));
    assert_int_equal(rename_to(&lab, "a", "q"), MAILBOX_NO_SUCH);
    assert_int_equal(rename_to(&lab, "z", "z/y/w"), MAILBOX_CANNOT);
    assert_int_equal(rename_to(&lab, "z", "Junk"), MAILBOX_EXISTS);
    uint32_t uidvalidity = lab_info(&lab, "z/y").uidvalidity;
    assert_int_equal(delete (&lab, "z/y"), MAILBOX_OK);
    assert_int_equal(delete (&lab, "z/y"), MAILBOX_HAS_CHILDREN);
    assert_int_equal(delete (&lab, "INBOX"), MAILBOX_CANNOT);
    assert_int_equal(delete (&lab, "nowhere"), MAILBOX_NO_SUCH);
    check_list(&lab, "INBOXs Archives Draftss Junks Sents Trashs z+ z/y+- z/y/b+ z/y/b/c "
                     "\xc3\xa9t\xc3\xa9 ");
    assert_int_equal(create(&lab, "z/y"), MAILBOX_OK);
    assert_true(lab_info(&lab, "z/y").uidvalidity > uidvalidity);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    check_list(&lab, "INBOXs Archives Draftss Junks Sents Trashs z+ z/y+ z/y/b+ z/y/b/c "
                     "\xc3\xa9t\xc3\xa9 ");
    lab_finish(&lab);
}

static void list_subscription(void *arg, struct slice name)
{
    buf_add_slice(arg, name);
    buf_add_str(arg, " ");
}

static void test_subscriptions(void **state)
{
    struct lab lab;
    struct answer answer = {0};
    struct buf out = {0};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    mailbox_subscribe(lab.account, SLICE_LITERAL("gone/away"), true, on_done, &answer);
    lab_wait(&lab, &answer);
    answer = (struct answer){0};
    mailbox_subscribe(lab.account, SLICE_LITERAL("Sent"), false, on_done, &answer);
    lab_wait(&lab, &answer);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    mailbox_list_subscriptions(lab.account, list_subscription, &out);
    assert_true(slice_equal_str(buf_slice(&out), "Archive Drafts INBOX Junk Trash gone/away "));
    check_list(&lab, "INBOXs Archives Draftss Junks Sent Trashs ");
    buf_finish(&out);
    lab_finish(&lab);
}

static void check_loaded(void *arg, enum mailbox_result result,
                         const struct mailbox_message *messages, size_t count)
{
    struct answer *answer = arg;
    answer->done = true;
    answer->times++;
    answer->result = result;
    answer->messages = (unsigned)count;
    buf_clear(&answer->bytes);
    for (size_t i = 0; i < count; i++)
        buf_printf(&answer->bytes, "%u %d %llu %llu %d %.*s %u %.*s\n", messages[i].uid,
                   messages[i].result, (unsigned long long)messages[i].size,
                   (unsigned long long)messages[i].date_us, messages[i].zone_minutes,
                   SLICE_PRINT(messages[i].uidl), messages[i].prefix_size,
                   SLICE_PRINT(messages[i].summary));
    buf_u8(&answer->bytes, 0);
}

static void test_append_and_read(void **state)
{
    struct lab lab;
    struct answer answer = {0};
    struct buf bytes = {0};
    char expected[300];
    struct slice keywords[] = {SLICE_LITERAL("$Forwarded"), SLICE_LITERAL("work")};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    struct mailbox_source source = {
        .bytes = {lab_memfd("A: b\r\n\r\nhello\r\n"), NULL, 15},
        .prefix = SLICE_LITERAL("Return-Path: <>\r\n"),
        .flags = {.system = MAILBOX_FLAGGED, .keywords = keywords, .keyword_count = 2},
        .date_us = 1000000,
        .zone_minutes = -90,
        .uidl = SLICE_LITERAL("old-uidl")};
    mailbox_append(lab.account, SLICE_LITERAL("Sent"), &source, 1, on_append, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_OK);
    assert_int_equal(answer.uidvalidity, lab_info(&lab, "Sent").uidvalidity);
    assert_true(uidset_has(&answer.uids, 1));
    close(source.bytes.fd);
    assert_int_equal(lab_append(&lab, "Sent", 3), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "Nowhere", 1), MAILBOX_NO_SUCH);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "Sent");
    assert_int_equal(mailbox_view_count(view), 4);
    const struct mailbox_entry *entry = mailbox_view_at(view, 1);
    assert_int_equal(entry->flags, MAILBOX_FLAGGED);
    assert_int_equal(entry->size, 32);
    const struct slice *texts;
    assert_int_equal(mailbox_keywords(lab.account, entry->keyword_set, &texts), 2);
    assert_true(slice_equal_str(texts[1], "work"));
    assert_int_equal(mailbox_view_keywords(view, &texts), 2);
    lab_read(&lab, view, 1, &bytes);
    assert_true(slice_equal_str(buf_slice(&bytes), "Return-Path: <>\r\nA: b\r\n\r\nhello\r\n"));
    /* Every part of it, across the end of the prefix. */
    for (uint64_t offset = 0; offset <= 33; offset++) {
        for (uint64_t size = 0; size <= 34; size += 3) {
            answer_finish(&answer);
            mailbox_read(view, 1, offset, size, on_read, &answer);
            lab_wait(&lab, &answer);
            struct slice part = slice_sub(buf_slice(&bytes), offset, size);
            assert_true(slice_equal(part, buf_slice(&answer.bytes)));
        }
    }
    answer_finish(&answer);
    const uint32_t uids[] = {1, 2, 4, 9};
    mailbox_load(view, uids, 4, MAILBOX_NEED_EMAIL | MAILBOX_NEED_SUMMARY, check_loaded, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.messages, 3);
    assert_memory_equal(answer.bytes.data, "1 0 32 1000000 -90 old-uidl 17 summary\n2 0 20 ", 46);
    snprintf(expected, sizeof(expected), " 0 00000004%08x 0 summary\n",
             lab_info(&lab, "Sent").uidvalidity);
    assert_non_null(strstr((char *)answer.bytes.data, expected));
    answer_finish(&answer);
    mailbox_read(view, 99, 0, 10, on_read, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_EXPUNGED);
    answer_finish(&answer);
    mailbox_view_close(&view);
    buf_finish(&bytes);
    lab_recount(&lab);
    lab_finish(&lab);
}

static const char message_id[] = "From: a\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n";

static void test_deliver(void **state)
{
    struct lab lab;
    struct buf bytes = {0};
    bool duplicate;
    lab_init(&lab);
    clock_set_fake(1700000000000000);
    assert_int_equal(lab_deliver(&lab, message_id, &duplicate), MAILBOX_OK);
    assert_false(duplicate);
    assert_int_equal(lab_deliver(&lab, message_id, &duplicate), MAILBOX_OK);
    assert_true(duplicate);
    lab_restart(&lab, true);
    assert_int_equal(lab_deliver(&lab, message_id, &duplicate), MAILBOX_OK);
    assert_true(duplicate);
    assert_int_equal(lab_deliver(&lab, "A: b\r\n\r\nMessage-ID: no\r\n", &duplicate), MAILBOX_OK);
    assert_false(duplicate);
    assert_int_equal(lab_deliver(&lab, "A: b\r\n\r\nMessage-ID: no\r\n", &duplicate), MAILBOX_OK);
    assert_false(duplicate);
    clock_set_fake(1700000000000000 + (uint64_t)24 * 3600 * 1000000 - 1000000);
    assert_int_equal(lab_deliver(&lab, message_id, &duplicate), MAILBOX_OK);
    assert_true(duplicate);
    clock_set_fake(1700000000000000 + (uint64_t)24 * 3600 * 1000000);
    assert_int_equal(lab_deliver(&lab, message_id, &duplicate), MAILBOX_OK);
    assert_false(duplicate);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "INBOX").messages, 4);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    lab_read(&lab, view, 1, &bytes);
    assert_true(slice_starts(buf_slice(&bytes), SLICE_LITERAL("Return-Path: <a@b>\r\nFrom: a")));
    buf_finish(&bytes);
    mailbox_view_close(&view);
    clock_set_fake(0);
    lab_finish(&lab);
}

/* Repeats are known however many deliveries there were, also of those on their way while the
 * records of the account are read, and after the worker has died. */
static void test_deliver_repeats(void **state)
{
    enum { MESSAGES = 300, TOGETHER = 10 };
    struct lab lab;
    bool duplicate;
    lab_init(&lab);
    for (int round = 0; round < 3; round++) {
        int together = round == 2 ? 2 : TOGETHER; /* an account just opened gives up sooner */
        for (int first = 0; first < MESSAGES; first += together) {
            struct answer answers[TOGETHER * 2] = {0};
            struct mailbox_recipient recipient = {.account = lab.ref};
            for (int i = 0; i < together * 2; i++) { /* each twice, one behind the other */
                char text[64];
                int size =
                    snprintf(text, sizeof(text), "Message-ID: <%d@x>\r\n\r\nb\r\n", first + i / 2);
                mailbox_deliver(lab.env, &(struct mailbox_bytes){-1, text, (uint64_t)size},
                                &recipient, 1, on_delivered, &answers[i]);
            }
            for (int i = 0; i < together * 2; i++) {
                lab_wait(&lab, &answers[i]);
                assert_int_equal(answers[i].result, MAILBOX_OK);
                assert_int_equal(answers[i].duplicate, round > 0 || i % 2 == 1);
            }
        }
        if (round == 1)
            lab_restart(&lab, true);
    }
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "INBOX").messages, MESSAGES);
    for (int i = 0; i < 20; i++) { /* the same, one by one */
        char text[64];
        snprintf(text, sizeof(text), "Message-ID: <%d@y>\r\n\r\nb\r\n", i / 2);
        assert_int_equal(lab_deliver(&lab, text, &duplicate), MAILBOX_OK);
        assert_int_equal(duplicate, i % 2 == 1);
    }
    lab_recount(&lab);
    lab_finish(&lab);
}

static void test_deliver_many(void **state)
{
    struct lab lab;
    enum { MANY = 5 };
    struct mailbox_recipient recipients[MANY] = {0};
    struct answer answers[MANY] = {0}, again[MANY] = {0};
    struct store_stats before, after;
    lab_init(&lab);
    for (int i = 0; i < MANY; i++)
        recipients[i].account.id = id_random();
    recipients[2].account.quota = 10;
    recipients[3].mailbox = SLICE_LITERAL("Junk");
    recipients[4].account.volume = 7; /* not ours */
    store_stats(lab.store, &before);
    int fd = lab_memfd(message_id);
    mailbox_deliver(lab.env, &(struct mailbox_bytes){fd, NULL, sizeof(message_id) - 1}, recipients,
                    MANY, on_delivered, answers);
    /* The same once more before any answer: no second copy. */
    mailbox_deliver(lab.env, &(struct mailbox_bytes){fd, NULL, sizeof(message_id) - 1}, recipients,
                    MANY, on_delivered, again);
    for (int i = 0; i < MANY; i++) {
        lab_wait(&lab, &answers[i]);
        lab_wait(&lab, &again[i]);
    }
    close(fd);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(answers[i].result, i == 2 ? MAILBOX_OVER_QUOTA : MAILBOX_OK);
        assert_int_equal(again[i].result, i == 2 ? MAILBOX_OVER_QUOTA : MAILBOX_OK);
        if (i != 2)
            assert_int_equal(answers[i].duplicate + again[i].duplicate, 1);
    }
    assert_int_equal(answers[4].result, MAILBOX_UNAVAILABLE);
    store_stats(lab.store, &after);
    for (int i = 0; i < 4; i++) {
        lab.ref = recipients[i].account;
        assert_int_equal(lab_account(&lab), MAILBOX_OK);
        assert_int_equal(lab_info(&lab, i == 3 ? "Junk" : "INBOX").messages, i != 2);
        lab_recount(&lab);
    }
    lab_finish(&lab);
}

/* The batch that brings the bytes fails: the others bring them again. */
static void test_deliver_first_fails(void **state)
{
    struct lab lab;
    enum { MANY = 3 };
    struct mailbox_recipient recipients[MANY] = {0};
    struct answer answers[MANY] = {0};
    struct buf bytes = {0};
    lab_init(&lab);
    if (lab.directory[0] != 0) {
        lab_finish(&lab);
        skip();
    }
    for (int i = 0; i < MANY; i++) {
        lab.ref.id = recipients[i].account.id = id_random();
        assert_int_equal(lab_account(&lab), MAILBOX_OK);
    }
    store_mem_fail(lab.store, 1, STORE_NOSPACE, false);
    int fd = lab_memfd(message_id);
    mailbox_deliver(lab.env, &(struct mailbox_bytes){fd, NULL, sizeof(message_id) - 1}, recipients,
                    MANY, on_delivered, answers);
    for (int i = 0; i < MANY; i++) {
        lab_wait(&lab, &answers[i]);
        assert_int_equal(answers[i].result, i == 0 ? MAILBOX_NOSPACE : MAILBOX_OK);
        assert_false(answers[i].duplicate);
    }
    close(fd);
    for (int i = 0; i < MANY; i++) {
        lab.ref = recipients[i].account;
        assert_int_equal(lab_account(&lab), MAILBOX_OK);
        assert_int_equal(lab_info(&lab, "INBOX").messages, i > 0);
        if (i == 0)
            continue;
        struct mailbox_view *view = lab_view(&lab, "INBOX");
        buf_clear(&bytes);
        lab_read(&lab, view, 1, &bytes);
        assert_true(slice_equal_str(buf_slice(&bytes), message_id));
        mailbox_view_close(&view);
    }
    buf_finish(&bytes);
    lab_finish(&lab);
}

static void test_two_sessions(void **state)
{
    struct lab lab;
    struct session one, two;
    struct buf bytes = {0};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 5), MAILBOX_OK);
    session_begin(&one, lab_view(&lab, "INBOX"));
    session_begin(&two, lab_view(&lab, "INBOX"));
    assert_int_equal(lab_store(&lab, one.view, 2, 3, MAILBOX_STORE_ADD, MAILBOX_SEEN), MAILBOX_OK);
    assert_int_equal(two.notified, 1);
    session_poll(&two, false);
    assert_int_equal(two.flags[1], MAILBOX_SEEN);
    assert_int_equal(lab_expunge(&lab, one.view, 2, 2), MAILBOX_OK);
    assert_int_equal(two.notified, 1);
    session_poll(&one, true);
    assert_int_equal(one.count, 4);
    assert_int_equal(two.count, 5);
    assert_int_equal(lab_append(&lab, "INBOX", 1), MAILBOX_OK);
    session_poll(&two, false);
    assert_int_equal(two.count, 6);
    assert_true(mailbox_view_expunged(two.view, 2));
    lab_read(&lab, two.view, 2, &bytes); /* untold: still readable */
    assert_int_equal(bytes.size, 20);
    session_check(&two);
    session_poll(&two, true);
    assert_int_equal(two.count, 5);
    session_check(&two);
    session_check(&one);
    assert_int_equal(lab_info(&lab, "INBOX").unseen, 4);
    session_finish(&one);
    session_finish(&two);
    buf_finish(&bytes);
    lab_recount(&lab);
    lab_finish(&lab);
}

static void test_store_silent_and_conditional(void **state)
{
    struct lab lab;
    struct session one, two;
    struct answer answer = {0};
    struct uidset uids = {0};
    struct slice keyword = SLICE_LITERAL("Later");
    struct mailbox_store change = {.mode = MAILBOX_STORE_SET,
                                   .flags = {.keywords = &keyword, .keyword_count = 1},
                                   .silent = true,
                                   .conditional = true};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 3), MAILBOX_OK);
    session_begin(&one, lab_view(&lab, "INBOX"));
    session_begin(&two, lab_view(&lab, "INBOX"));
    change.unchanged_since = lab_info(&lab, "INBOX").modseq;
    assert_int_equal(lab_store(&lab, two.view, 2, 2, MAILBOX_STORE_ADD, MAILBOX_SEEN), MAILBOX_OK);
    session_poll(&one, true);
    session_poll(&two, true);
    uidset_add(&uids, 1, 3);
    mailbox_store(one.view, &uids, &change, on_store, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_OK);
    assert_int_equal(uidset_count(&answer.uids), 1);
    assert_true(uidset_has(&answer.uids, 2));
    assert_false(mailbox_view_pending(one.view));
    assert_int_equal(one.notified, 0);
    assert_int_equal(two.notified, 1);
    const struct slice *texts;
    const struct mailbox_entry *entry = mailbox_view_at(one.view, 3);
    assert_int_equal(mailbox_keywords(lab.account, entry->keyword_set, &texts), 1);
    assert_true(slice_equal_str(texts[0], "Later"));
    /* Known without case; removing leaves the empty set. */
    keyword = SLICE_LITERAL("LATER");
    change = (struct mailbox_store){.mode = MAILBOX_STORE_REMOVE,
                                    .flags = {.keywords = &keyword, .keyword_count = 1}};
    answer_finish(&answer);
    mailbox_store(one.view, &uids, &change, on_store, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(mailbox_view_at(one.view, 3)->keyword_set, 0);
    answer_finish(&answer);
    uidset_finish(&uids);
    session_finish(&one);
    session_finish(&two);
    lab_finish(&lab);
}

static void test_copy_move(void **state)
{
    struct lab lab;
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 50), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    for (int i = 0; i < 5; i++) { /* many batches */
        assert_int_equal(lab_copy(&lab, view, 1, UINT32_MAX, "INBOX", false), MAILBOX_OK);
        mailbox_view_close(&view);
        view = lab_view(&lab, "INBOX");
    }
    assert_int_equal(mailbox_view_count(view), 1600);
    assert_int_equal(lab_copy(&lab, view, 1, UINT32_MAX, "Archive", false), MAILBOX_OK);
    assert_int_equal(lab_copy(&lab, view, 1, UINT32_MAX, "Nowhere", false), MAILBOX_NO_SUCH);
    assert_int_equal(lab_copy(&lab, view, 11, 1000, "Trash", true), MAILBOX_OK);
    lab_recount(&lab);
    mailbox_view_close(&view);
    assert_int_equal(lab_info(&lab, "INBOX").messages, 610);
    assert_int_equal(lab_info(&lab, "Archive").messages, 1600);
    assert_int_equal(lab_info(&lab, "Trash").messages, 990);
    assert_int_equal(rename_to(&lab, "INBOX", "old/inbox"), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "INBOX").messages, 0);
    assert_int_equal(lab_info(&lab, "INBOX").uidnext, 1601);
    assert_int_equal(lab_info(&lab, "old/inbox").messages, 610);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    lab_recount(&lab);
    lab_finish(&lab);
}

static void test_quota(void **state)
{
    struct lab lab;
    lab_init(&lab);
    lab.ref.quota = 100;
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 4), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 2), MAILBOX_OVER_QUOTA);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    assert_int_equal(lab_copy(&lab, view, 1, 2, "Sent", false), MAILBOX_OVER_QUOTA);
    assert_int_equal(lab_copy(&lab, view, 1, 2, "Sent", true), MAILBOX_OK);
    assert_int_equal(lab_expunge(&lab, view, 3, 4), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 3), MAILBOX_OK);
    mailbox_view_close(&view);
    lab_recount(&lab);
    lab_finish(&lab);
}

static void test_called_off(void **state)
{
    struct lab lab;
    struct answer answer = {0};
    struct uidset uids = {0};
    struct mailbox_store change = {.mode = MAILBOX_STORE_ADD, .flags = {.system = MAILBOX_SEEN}};
    lab_init(&lab);
    if (lab.directory[0] != 0) { /* when nobody asks, only mem says when all is over */
        lab_finish(&lab);
        skip();
    }
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 3), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    uidset_add(&uids, 1, 3);
    mailbox_store(view, &uids, &change, on_store, &answer);
    mailbox_read(view, 1, 0, 10, on_read, &answer);
    mailbox_load(view, &(uint32_t){1}, 1, MAILBOX_NEED_EMAIL, check_loaded, &answer);
    mailbox_view_close(&view);
    mailbox_create(lab.account, SLICE_LITERAL("x"), 0, on_done, &answer);
    view = mailbox_view_open(lab.account, SLICE_LITERAL("INBOX"), false, on_view, &answer);
    mailbox_view_close(&view);
    mailbox_account_release(&lab.account);
    lab_settle(&lab);
    assert_false(answer.done);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "INBOX").unseen, 0); /* the change itself went on */
    assert_int_equal(lab_info(&lab, "x").uidnext, 1);
    uidset_finish(&uids);
    lab_finish(&lab);
}

static void test_delete_under_view(void **state)
{
    struct lab lab;
    struct session session;
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(create(&lab, "x"), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "x", 3), MAILBOX_OK);
    session_begin(&session, lab_view(&lab, "x"));
    assert_int_equal(delete (&lab, "x"), MAILBOX_OK);
    assert_int_equal(session.notified, 1);
    assert_int_equal(mailbox_view_state(session.view), MAILBOX_VIEW_DELETED);
    assert_int_equal(lab_store(&lab, session.view, 1, 3, MAILBOX_STORE_ADD, MAILBOX_SEEN),
                     MAILBOX_NO_SUCH);
    assert_int_equal(create(&lab, "x"), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "x").messages, 0);
    session_finish(&session);
    lab_recount(&lab);
    lab_finish(&lab);
}

/* What was asked behind a DELETE or a failed batch, before either is durable. */
static void test_pipelined(void **state)
{
    struct lab lab;
    struct answer deleted = {0}, removed = {0}, stored = {0}, appended = {0}, created = {0};
    struct uidset uids = {0};
    struct mailbox_store change = {.mode = MAILBOX_STORE_ADD, .flags = {.system = MAILBOX_SEEN}};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(create(&lab, "x/y"), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "x", 3), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "x");
    uidset_add(&uids, 1, 3);
    mailbox_delete(lab.account, SLICE_LITERAL("x"), on_done, &deleted);
    mailbox_remove(view, &uids, on_done, &removed);
    mailbox_create(lab.account, SLICE_LITERAL("x"), 0, on_done, &created);
    mailbox_store(view, &uids, &change, on_store, &stored);
    lab_append_start(&lab, "x", 2, &appended);
    lab_wait(&lab, &deleted);
    lab_wait(&lab, &removed);
    lab_wait(&lab, &created);
    lab_wait(&lab, &stored);
    lab_wait(&lab, &appended);
    assert_int_equal(deleted.result, MAILBOX_OK);
    assert_int_equal(removed.result, MAILBOX_NO_SUCH);
    assert_int_equal(created.result, MAILBOX_OK);
    assert_int_equal(stored.result, MAILBOX_NO_SUCH);
    assert_int_equal(appended.result, MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "x").messages, 2);
    assert_int_equal(lab_info(&lab, "x").unseen, 2);
    mailbox_view_close(&view);
    lab_recount(&lab);
    answer_finish(&appended);
    uidset_finish(&uids);
    lab_finish(&lab);
}

static void test_many_keywords(void **state)
{
    struct lab lab;
    enum { MANY = 2000 };
    struct slice *keywords = mem_array(MANY, sizeof(*keywords));
    struct answer answer = {0};
    struct uidset uids = {0};
    lab_init(&lab);
    lab.options.keywords_max = MANY;
    mailbox_env_destroy(&lab.env);
    lab.env = mailbox_env_create(&lab.options);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 3), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    char(*texts)[8] = mem_array(MANY, sizeof(*texts));
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], 8, "k%d", i);
        keywords[i] = slice_str(texts[i]);
    }
    struct mailbox_store change = {.mode = MAILBOX_STORE_ADD,
                                   .flags = {.keywords = keywords, .keyword_count = MANY}};
    uidset_add(&uids, 1, 3);
    mailbox_store(view, &uids, &change, on_store, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_LIMIT); /* and no batch beyond its limits */
    assert_int_equal(lab_store(&lab, view, 1, 3, MAILBOX_STORE_ADD, MAILBOX_SEEN), MAILBOX_OK);
    mailbox_view_close(&view);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    lab_recount(&lab);
    free(keywords);
    free(texts);
    uidset_finish(&uids);
    answer_finish(&answer);
    lab_finish(&lab);
}

/* A program that tags each message with a word of its own, for years. */
static void test_keywords_over_time(void **state)
{
    struct lab lab;
    enum { ROUNDS = 40, EACH = 100 };
    char texts[EACH][16];
    struct slice keywords[EACH];
    const struct slice *found;
    struct mailbox_store change = {.mode = MAILBOX_STORE_SET,
                                   .flags = {.keywords = keywords, .keyword_count = EACH}};
    struct uidset uids = {0};
    lab_init(&lab);
    lab.options.keywords_max = ROUNDS * EACH;
    mailbox_env_destroy(&lab.env);
    lab.env = mailbox_env_create(&lab.options);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 1), MAILBOX_OK);
    uidset_add(&uids, 1, 1);
    for (int round = 0; round <= ROUNDS + 1; round++) {
        struct mailbox_view *view = lab_view(&lab, "INBOX");
        struct answer answer = {0};
        int first = round == ROUNDS + 1 ? 0 : round; /* at last the first ones again */
        for (int i = 0; i < EACH; i++) {
            snprintf(texts[i], sizeof(texts[i]), "Word-%d", first * EACH + i);
            keywords[i] = slice_str(texts[i]);
        }
        mailbox_store(view, &uids, &change, on_store, &answer);
        lab_wait(&lab, &answer);
        assert_int_equal(answer.result, round == ROUNDS ? MAILBOX_LIMIT : MAILBOX_OK);
        answer_finish(&answer);
        mailbox_view_close(&view);
        if (round % 20 == 0) {
            lab_restart(&lab, true);
            assert_int_equal(lab_account(&lab), MAILBOX_OK);
        }
    }
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    assert_int_equal(mailbox_keywords(lab.account, mailbox_view_at(view, 1)->keyword_set, &found),
                     EACH);
    assert_true(slice_equal_str(found[EACH - 1], "Word-99"));
    mailbox_view_close(&view);
    uidset_finish(&uids);
    lab_finish(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_account),
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_subscriptions),
        cmocka_unit_test(test_append_and_read),
        cmocka_unit_test(test_deliver),
        cmocka_unit_test(test_deliver_many),
        cmocka_unit_test(test_deliver_repeats),
        cmocka_unit_test(test_two_sessions),
        cmocka_unit_test(test_store_silent_and_conditional),
        cmocka_unit_test(test_copy_move),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_called_off),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_deliver_first_fails),
        cmocka_unit_test(test_many_keywords),
        cmocka_unit_test(test_keywords_over_time),
        cmocka_unit_test(test_delete_under_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
