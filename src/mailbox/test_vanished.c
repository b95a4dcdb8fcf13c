/*
 * What vanished since a MODSEQ, against a plain record of what was expunged when: with the whole
 * change log, with a log that housekeeping has cut, over restarts, and after a restore.
 */
#include <stdlib.h>

#include "mailbox/test_lab.h"

enum { UIDS = 200 };

struct past {                /* of INBOX */
    uint64_t gone[UIDS + 1]; /* MODSEQ of the expunge; 0: there, or never was */
    uint32_t last;           /* highest UID */
};

struct vanished_answer {
    struct answer answer;
    struct uidset uids;
};

static void on_vanished(void *arg, enum mailbox_result result, const struct uidset *uids)
{
    struct vanished_answer *got = arg;
    uidset_add_set(&got->uids, uids);
    on_done(&got->answer, result);
}

/* Asks, and compares with what must come: those of the past expunged after since, or, from behind
 * the log, all that are not there. */
static void check(struct lab *lab, struct mailbox_view *view, const struct past *past,
                  uint64_t since, uint32_t first, uint32_t last, bool all)
{
    struct vanished_answer got = {0};
    struct uidset known = {0}, want = {0};
    if (first != 0)
        uidset_add(&known, first, last);
    mailbox_vanished(view, since, first == 0 ? NULL : &known, on_vanished, &got);
    lab_wait(lab, &got.answer);
    assert_int_equal(got.answer.result, MAILBOX_OK);
    for (uint32_t uid = 1; uid <= past->last; uid++) {
        bool asked = first == 0 || (uid >= first && uid <= last);
        if (asked && past->gone[uid] > 0 && (all || past->gone[uid] > since))
            uidset_add(&want, uid, uid);
    }
    struct buf a = {0}, b = {0};
    uidset_print(&want, &a);
    uidset_print(&got.uids, &b);
    assert_true(slice_equal(buf_slice(&a), buf_slice(&b)));
    buf_finish(&a);
    buf_finish(&b);
    uidset_finish(&known);
    uidset_finish(&want);
    uidset_finish(&got.uids);
}

static void tell(struct mailbox_view *view)
{
    static const struct mailbox_teller nobody = {0};
    mailbox_view_poll(view, true, &nobody, NULL);
}

static uint32_t choose(uint32_t below)
{
    static uint64_t seed = 20260101;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static uint64_t modseq_now(struct lab *lab)
{
    return lab_info(lab, "INBOX").modseq;
}

static void some_change(struct lab *lab, struct mailbox_view *view, struct past *past)
{
    uint32_t uid = past->last == 0 ? 1 : 1 + choose(past->last);
    switch (choose(4)) {
    case 0:
        if (past->last + 3 > UIDS)
            break;
        assert_int_equal(lab_append(lab, "INBOX", 3), MAILBOX_OK);
        past->last += 3;
        break;
    case 1:
        assert_int_equal(lab_append(lab, "Sent", 1), MAILBOX_OK);
        break;
    case 2:
        lab_store(lab, view, uid, uid, MAILBOX_STORE_ADD, MAILBOX_SEEN);
        break;
    default:
        lab_store(lab, view, uid, uid, MAILBOX_STORE_ADD, MAILBOX_DELETED);
        assert_int_equal(lab_expunge(lab, view, uid, uid), MAILBOX_OK);
        if (uid <= past->last && past->gone[uid] == 0)
            past->gone[uid] = modseq_now(lab);
    }
    tell(view);
}

static void grow(struct lab *lab, struct past *past, unsigned changes)
{
    struct mailbox_view *view = lab_view(lab, "INBOX");
    for (unsigned i = 0; i < changes; i++)
        some_change(lab, view, past);
    mailbox_view_close(&view);
}

static void check_all(struct lab *lab, const struct past *past, uint64_t reach)
{
    struct mailbox_view *view = lab_view(lab, "INBOX");
    uint64_t now = modseq_now(lab);
    for (uint64_t since = 0; since <= now; since += 1 + choose(5)) {
        assert_int_equal(mailbox_vanished_logged(view, since), since >= reach);
        check(lab, view, past, since, 0, 0, since < reach);
        uint32_t first = 1 + choose(UIDS);
        check(lab, view, past, since, first, first + choose(UIDS), since < reach);
    }
    check(lab, view, past, now, 0, 0, false);
    check(lab, view, past, 0, 1, UINT32_MAX, reach > 0); /* "1:*" */
    mailbox_view_close(&view);
}

static void test_logged(void **state)
{
    struct lab lab;
    struct past past = {0};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    for (int i = 0; i < 3; i++) {
        grow(&lab, &past, 80);
        check_all(&lab, &past, 0);
        lab_restart(&lab, true);
        assert_int_equal(lab_account(&lab), MAILBOX_OK);
    }
    lab_finish(&lab);
}

static void swept(void *arg)
{
    on_done(arg, MAILBOX_OK);
}

static void test_trimmed(void **state)
{
    struct lab lab;
    struct past past = {0};
    struct answer answer = {0};
    lab_init(&lab);
    lab.options.changes_kept = 40;
    lab_restart(&lab, false);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    for (int i = 0; i < 3; i++) {
        grow(&lab, &past, 80);
        answer = (struct answer){0};
        housekeeping_start(lab.account->account, swept, &answer);
        lab_wait(&lab, &answer);
        check_all(&lab, &past, lab.account->account->durable.modseq - 40);
    }
    lab_finish(&lab);
}

/* What the view has not been told of is told later, and is not among the vanished now. */
static void test_untold(void **state)
{
    struct lab lab;
    struct past past = {.last = 5};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 5), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "INBOX"), *other = lab_view(&lab, "INBOX");
    uint64_t before = modseq_now(&lab);
    assert_int_equal(mailbox_view_modseq(view), before);
    lab_store(&lab, other, 3, 3, MAILBOX_STORE_ADD, MAILBOX_DELETED);
    lab_expunge(&lab, other, 3, 3);
    uint64_t expunged = modseq_now(&lab);
    lab_store(&lab, other, 5, 5, MAILBOX_STORE_ADD, MAILBOX_SEEN);
    assert_true(modseq_now(&lab) > expunged);
    check(&lab, view, &past, 0, 0, 0, false); /* nothing */
    assert_int_equal(mailbox_view_modseq(view), expunged - 1);
    tell(view);
    past.gone[3] = expunged;
    check(&lab, view, &past, before, 0, 0, false);
    assert_int_equal(mailbox_view_modseq(view), modseq_now(&lab));
    mailbox_view_close(&view);
    mailbox_view_close(&other);
    lab_finish(&lab);
}

/* A client of the lost future is told of everything, one of the past that was kept of what went. */
static void test_restored(void **state)
{
    struct lab lab;
    struct past past = {0};
    struct uidset uids = {0};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    grow(&lab, &past, 100);
    uint64_t kept = lab.account->account->durable.modseq;
    for (int i = 0; i < 2; i++) { /* a second restore widens the doubt */
        mailbox_account_release(&lab.account);
        lab_settle(&lab);
        env_sweep(lab.env, UINT64_MAX);
        store_mem_bump_epoch(lab.store);
        assert_int_equal(lab_account(&lab), MAILBOX_OK);
    }
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    uint64_t now = modseq_now(&lab);
    assert_true(now > kept + ((uint64_t)2 << 32));
    assert_int_equal(mailbox_view_since(view, kept), kept);
    assert_int_equal(mailbox_view_since(view, kept + 1), 0);
    assert_int_equal(mailbox_view_since(view, now - 1), 0);
    assert_int_equal(mailbox_view_since(view, now), now);
    assert_false(mailbox_vanished_logged(view, kept + 7));
    /* UIDs between the old UIDNEXT and the new one: given out in the lost future, or never. */
    struct vanished_answer got = {0};
    uidset_add(&uids, past.last + 1, past.last + 9);
    mailbox_vanished(view, kept + 7, &uids, on_vanished, &got);
    lab_wait(&lab, &got.answer);
    assert_int_equal(uidset_count(&got.uids), 9);
    struct mailbox_store change = {.mode = MAILBOX_STORE_ADD,
                                   .flags = {.system = MAILBOX_DRAFT},
                                   .conditional = true,
                                   .unchanged_since = kept + 7};
    struct answer stored = {0};
    uint32_t there = mailbox_view_at(view, 1)->uid;
    uidset_clear(&uids);
    uidset_add(&uids, there, there);
    mailbox_store(view, &uids, &change, on_store, &stored);
    lab_wait(&lab, &stored);
    assert_int_equal(mailbox_view_at(view, 1)->flags & MAILBOX_DRAFT, 0);
    answer_finish(&stored);
    uidset_finish(&uids);
    uidset_finish(&got.uids);
    mailbox_view_close(&view);
    lab_finish(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logged),
        cmocka_unit_test(test_trimmed),
        cmocka_unit_test(test_untold),
        cmocka_unit_test(test_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
