/*
 * What is given back and when: grace, housekeeping, deleted mailboxes, purge; memory of mailboxes
 * nobody has open; counters moved forward after a restore; a mailbox of 100,000.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "mailbox/test_lab.h"

/* Calls of the store, counted by the linker (--wrap). */
static unsigned scans, gets;
void __real_store_scan(struct store *store, struct id partition, struct slice from, struct slice to,
                       size_t most, store_scanned *scanned, void *arg);
void __wrap_store_scan(struct store *store, struct id partition, struct slice from, struct slice to,
                       size_t most, store_scanned *scanned, void *arg);

/* A page that was read before, and is answered after, what happened meanwhile: as by the reader
 * threads of an engine. */
static struct held {
    bool wanted, here;
    store_scanned *scanned;
    void *arg;
    enum store_result result;
    struct store_item items[64];
    size_t count;
    bool more;
} held;

static void hold_scanned(void *arg, enum store_result result, const struct store_item *items,
                         size_t count, bool more)
{
    assert_true(count <= 64);
    held.here = true;
    held.result = result;
    held.count = count;
    held.more = more;
    for (size_t i = 0; i < count; i++) {
        held.items[i].key =
            slice_make(mem_dup(items[i].key.data, items[i].key.size), items[i].key.size);
        held.items[i].value =
            slice_make(mem_dup(items[i].value.data, items[i].value.size), items[i].value.size);
    }
}

static void held_release(void)
{
    held.here = false;
    held.scanned(held.arg, held.result, held.items, held.count, held.more);
    for (size_t i = 0; i < held.count; i++) {
        free((void *)(uintptr_t)held.items[i].key.data);
        free((void *)(uintptr_t)held.items[i].value.data);
    }
}

void __wrap_store_scan(struct store *store, struct id partition, struct slice from, struct slice to,
                       size_t most, store_scanned *scanned, void *arg)
{
    scans++;
    if (held.wanted) {
        held.wanted = false;
        held.scanned = scanned;
        held.arg = arg;
        scanned = hold_scanned;
    }
    __real_store_scan(store, partition, from, to, most, scanned, arg);
}
void __real_store_get(struct store *store, struct id partition, struct slice key, store_got *got,
                      void *arg);
void __wrap_store_get(struct store *store, struct id partition, struct slice key, store_got *got,
                      void *arg);
void __wrap_store_get(struct store *store, struct id partition, struct slice key, store_got *got,
                      void *arg)
{
    gets++;
    __real_store_get(store, partition, key, got, arg);
}

static const uint64_t START_US = 1700000000000000;

static void swept(void *arg)
{
    on_done(arg, MAILBOX_OK);
}

static void housekeeping(struct lab *lab)
{
    struct answer answer = {0};
    housekeeping_start(lab->account->account, swept, &answer);
    lab_wait(lab, &answer);
}

struct counted {
    struct answer answer;
    size_t count;
    bool more;
    struct buf last;
};

static void on_counted(void *arg, enum store_result result, const struct store_item *items,
                       size_t count, bool more)
{
    struct counted *counted = arg;
    counted->count += count;
    counted->more = more;
    buf_clear(&counted->last);
    if (count > 0)
        buf_add_slice(&counted->last, items[count - 1].key);
    buf_u8(&counted->last, 0);
    on_done(&counted->answer, result == STORE_OK ? MAILBOX_OK : MAILBOX_CORRUPT);
}

/* Records of a kind in the store, behind the mailbox layer's back. */
static size_t records(struct lab *lab, enum codec_kind kind)
{
    struct counted counted = {.more = true};
    struct codec_key to = codec_key_kind(kind + 1);
    buf_u8(&counted.last, (uint8_t)kind);
    while (counted.more) {
        struct buf from = counted.last;
        counted.last = (struct buf){0};
        counted.answer = (struct answer){0};
        store_scan(lab->store, lab->ref.id, buf_slice(&from), codec_key_slice(&to), 10000,
                   on_counted, &counted);
        lab_wait(lab, &counted.answer);
        assert_int_equal(counted.answer.result, MAILBOX_OK);
        buf_finish(&from);
    }
    buf_finish(&counted.last);
    return counted.count;
}

static void lab_grace(struct lab *lab, uint32_t grace_s)
{
    mailbox_env_destroy(&lab->env);
    lab->options.grace_s = grace_s;
    lab->env = mailbox_env_create(&lab->options);
}

static void test_grace(void **state)
{
    struct lab lab;
    struct mailbox_view *view;
    clock_set_fake(START_US);
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 300), MAILBOX_OK);
    view = lab_view(&lab, "INBOX");
    assert_int_equal(lab_copy(&lab, view, 1, 10, "Archive", false), MAILBOX_OK);
    assert_int_equal(lab_expunge(&lab, view, 1, 200), MAILBOX_OK);
    mailbox_view_close(&view);
    housekeeping(&lab); /* within the grace: nothing goes */
    assert_int_equal(records(&lab, KEY_EMAIL), 300);
    assert_int_equal(records(&lab, KEY_REFERENCE), 310);
    assert_int_equal(records(&lab, KEY_PAGE), 4);
    clock_set_fake(START_US + 1001 * 1000000ull);
    housekeeping(&lab);
    assert_int_equal(records(&lab, KEY_EMAIL), 110); /* 100 left, 10 in Archive */
    assert_int_equal(records(&lab, KEY_SUMMARY), 110);
    assert_int_equal(records(&lab, KEY_REFERENCE), 110);
    assert_int_equal(records(&lab, KEY_PAGE), 3); /* the first of INBOX is gone */
    housekeeping(&lab);
    assert_int_equal(records(&lab, KEY_EMAIL), 110);
    lab_recount(&lab);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    lab_recount(&lab);
    assert_int_equal(lab_append(&lab, "INBOX", 100), MAILBOX_OK);
    lab_recount(&lab);
    assert_int_equal(lab_info(&lab, "INBOX").uidnext, 401);
    clock_set_fake(0);
    lab_finish(&lab);
}

static void test_untold_is_kept(void **state)
{
    struct lab lab;
    struct session session;
    struct buf bytes = {0};
    lab_init(&lab);
    lab_grace(&lab, 0);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 10), MAILBOX_OK);
    session_begin(&session, lab_view(&lab, "INBOX"));
    assert_int_equal(lab_expunge(&lab, session.view, 3, 5), MAILBOX_OK);
    housekeeping(&lab);
    lab_read(&lab, session.view, 4, &bytes);
    assert_int_equal(bytes.size, 20);
    assert_int_equal(records(&lab, KEY_EMAIL), 10);
    session_poll(&session, true);
    housekeeping(&lab);
    assert_int_equal(records(&lab, KEY_EMAIL), 7);
    buf_finish(&bytes);
    session_finish(&session);
    lab_recount(&lab);
    lab_finish(&lab);
}

static void test_deleted_mailboxes(void **state)
{
    struct lab lab;
    struct answer answer = {0};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    mailbox_create(lab.account, SLICE_LITERAL("a/b"), 0, on_done, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(lab_append(&lab, "a", 200), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "a/b", 200), MAILBOX_OK);
    answer = (struct answer){0};
    mailbox_delete(lab.account, SLICE_LITERAL("a"), on_done, &answer);
    lab_wait(&lab, &answer);
    housekeeping(&lab);
    assert_int_equal(records(&lab, KEY_EMAIL), 200);
    /* The name is taken again: the new mailbox is empty, and its messages stay. */
    answer = (struct answer){0};
    mailbox_create(lab.account, SLICE_LITERAL("a"), 0, on_done, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(lab_append(&lab, "a", 5), MAILBOX_OK);
    housekeeping(&lab);
    lab_recount(&lab);
    answer = (struct answer){0};
    mailbox_delete(lab.account, SLICE_LITERAL("a/b"), on_done, &answer);
    lab_wait(&lab, &answer);
    size_t boxes = records(&lab, KEY_BOX);
    housekeeping(&lab);
    assert_int_equal(records(&lab, KEY_BOX), boxes - 1);
    assert_int_equal(records(&lab, KEY_EMAIL), 5);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    lab_recount(&lab);
    lab_finish(&lab);
}

/* A mailbox that goes takes nothing of the one behind it, which has entries that go too. */
static void test_neighbour_of_a_deleted_mailbox(void **state)
{
    struct lab lab;
    struct answer answer = {0}, deleted = {0};
    struct mailbox_view *view;
    lab_init(&lab);
    lab_grace(&lab, 0);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    mailbox_create(lab.account, SLICE_LITERAL("first"), 0, on_done, &answer);
    lab_wait(&lab, &answer);
    answer = (struct answer){0};
    mailbox_create(lab.account, SLICE_LITERAL("second"), 0, on_done, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(lab_append(&lab, "second", 10), MAILBOX_OK);
    view = lab_view(&lab, "second");
    assert_int_equal(lab_expunge(&lab, view, 2, 4), MAILBOX_OK);
    mailbox_view_close(&view);
    mailbox_delete(lab.account, SLICE_LITERAL("first"), on_done, &deleted);
    lab_wait(&lab, &deleted);
    housekeeping(&lab);
    assert_int_equal(lab_info(&lab, "second").messages, 7);
    assert_int_equal(records(&lab, KEY_EMAIL), 7);
    lab_recount(&lab);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "second").messages, 7);
    lab_recount(&lab);
    lab_finish(&lab);
}

static void create_box(struct lab *lab, const char *name)
{
    struct answer answer = {0};
    mailbox_create(lab->account, slice_str(name), 0, on_done, &answer);
    lab_wait(lab, &answer);
    assert_int_equal(answer.result, MAILBOX_OK);
}

/* The clock is set ten years ahead, then twenty back: no number that a client has seen comes again,
 * and what was expunged in the future is kept, not taken. */
static void test_clock_is_set(void **state)
{
    static const uint64_t DAY_US = 86400ull * 1000000;
    static const int64_t days[] = {0, 3650, -3650, 1};
    struct lab lab;
    struct mailbox_info before, info = {0};
    uint32_t last_validity = 0;
    clock_set_fake(START_US);
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 20), MAILBOX_OK);
    before = lab_info(&lab, "INBOX");
    for (uint32_t i = 0; i < 4; i++) {
        struct answer answer = {0};
        clock_set_fake((uint64_t)((int64_t)START_US + days[i] * (int64_t)DAY_US));
        create_box(&lab, "box");
        info = lab_info(&lab, "box");
        assert_true(info.uidvalidity > last_validity);
        last_validity = info.uidvalidity;
        mailbox_delete(lab.account, SLICE_LITERAL("box"), on_done, &answer);
        lab_wait(&lab, &answer);
        struct mailbox_view *view = lab_view(&lab, "INBOX");
        assert_int_equal(lab_expunge(&lab, view, i + 1, i + 1), MAILBOX_OK);
        mailbox_view_close(&view);
        assert_int_equal(lab_append(&lab, "INBOX", 1), MAILBOX_OK);
        info = lab_info(&lab, "INBOX");
        assert_int_equal(info.uidvalidity, before.uidvalidity);
        assert_true(info.modseq > before.modseq);
        assert_int_equal(info.uidnext, before.uidnext + 1);
        before = info;
        size_t emails = records(&lab, KEY_EMAIL);
        housekeeping(&lab);
        /* Ahead, the one expunged before goes; back again nothing; then what was expunged when it
         * was earlier, and what was expunged in the future stays. */
        assert_int_equal(records(&lab, KEY_EMAIL), i % 2 == 1 ? emails - 1 : emails);
        lab_restart(&lab, true);
        assert_int_equal(lab_account(&lab), MAILBOX_OK);
        lab_recount(&lab);
    }
    clock_set_fake(0);
    lab_finish(&lab);
}

static void test_delivery_records_go(void **state)
{
    struct lab lab;
    static const char text[] = "Message-ID: <1@x>\r\n\r\nbody\r\n";
    clock_set_fake(START_US);
    lab_init(&lab);
    assert_int_equal(lab_deliver(&lab, text, NULL), MAILBOX_OK);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    housekeeping(&lab);
    assert_int_equal(records(&lab, KEY_DELIVERY), 1);
    clock_set_fake(START_US + 24ull * 3600 * 1000000);
    housekeeping(&lab);
    assert_int_equal(records(&lab, KEY_DELIVERY), 0);
    clock_set_fake(0);
    lab_finish(&lab);
}

static void test_purge(void **state)
{
    struct lab lab;
    struct answer answer = {0};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lab_append(&lab, "INBOX", 300), MAILBOX_OK);
    mailbox_account_purge(lab.env, &lab.ref, on_done, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_UNAVAILABLE); /* somebody has it open */
    mailbox_account_release(&lab.account);
    lab_settle(&lab);
    answer = (struct answer){0};
    store_mem_fail(lab.store, 2, STORE_NOSPACE, false); /* cut off, begun again */
    mailbox_account_purge(lab.env, &lab.ref, on_done, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_NOSPACE);
    answer = (struct answer){0};
    mailbox_account_purge(lab.env, &lab.ref, on_done, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_OK);
    for (int kind = 0; kind < KEY_END; kind++)
        assert_int_equal(records(&lab, (enum codec_kind)kind), 0);
    lab_finish(&lab);
}

static void test_forward(void **state)
{
    struct lab lab;
    struct answer answer = {0};
    char name[16];
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    for (int i = 0; i < 900; i++) { /* more than a batch can take */
        snprintf(name, sizeof(name), "box%d", i);
        answer = (struct answer){0};
        mailbox_create(lab.account, slice_str(name), 0, on_done, &answer);
        lab_wait(&lab, &answer);
    }
    assert_int_equal(lab_append(&lab, "box899", 3), MAILBOX_OK);
    struct mailbox_info before = lab_info(&lab, "box899");
    for (unsigned cut = 1; cut <= 3; cut++) { /* cut off after each batch */
        mailbox_account_release(&lab.account);
        lab_settle(&lab);
        env_sweep(lab.env, UINT64_MAX);
        if (cut == 1)
            store_mem_bump_epoch(lab.store);
        if (cut < 3)
            store_mem_fail(lab.store, cut + 1, STORE_NOSPACE, false);
        assert_int_equal(lab_account(&lab), cut < 3 ? MAILBOX_NOSPACE : MAILBOX_OK);
    }
    struct mailbox_info after = lab_info(&lab, "box899");
    assert_int_equal(after.uidvalidity, before.uidvalidity);
    assert_true(after.uidnext >= before.uidnext + (1 << 16));
    assert_true(after.modseq >= before.modseq + ((uint64_t)1 << 32));
    assert_int_equal(after.messages, 3);
    assert_true(lab_info(&lab, "INBOX").uidnext >= 1 + (1 << 16));
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "box899").uidnext, after.uidnext); /* once */
    assert_int_equal(lab_append(&lab, "box899", 2), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "box899");
    assert_int_equal(mailbox_view_count(view), 5);
    assert_int_equal(mailbox_view_at(view, 4)->uid, after.uidnext);
    assert_true(mailbox_view_at(view, 4)->email > (1 << 16));
    mailbox_view_close(&view);
    lab_finish(&lab);
}

static void test_large(void **state)
{
    struct lab lab;
    enum { LARGE = 100000 };
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 1000), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    for (int i = 0; i < 99; i++)
        assert_int_equal(lab_copy(&lab, view, 1, 1000, "INBOX", false), MAILBOX_OK);
    mailbox_view_close(&view);
    lab_restart(&lab, true);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    scans = gets = 0;
    view = lab_view(&lab, "INBOX");
    assert_in_range(scans, 1, 5); /* 834 pages of 3,848 bytes, 1 MiB a scan */
    assert_int_equal(gets, 0);
    assert_int_equal(mailbox_view_count(view), LARGE);
    for (uint32_t sequence = 1; sequence <= LARGE; sequence += 997) {
        uint32_t uid = mailbox_view_at(view, sequence)->uid;
        assert_int_equal(mailbox_view_sequence(view, uid), sequence);
    }
    assert_int_equal(lab_store(&lab, view, 1, UINT32_MAX, MAILBOX_STORE_ADD, MAILBOX_SEEN),
                     MAILBOX_OK);
    assert_int_equal(lab_info(&lab, "INBOX").unseen, 0);
    struct mailbox_view *other = lab_view(&lab, "INBOX");
    scans = 0;
    mailbox_view_close(&other);
    other = lab_view(&lab, "INBOX"); /* shared: nothing is read */
    assert_int_equal(scans, 0);
    mailbox_view_close(&other);
    mailbox_view_close(&view);
    lab_recount(&lab);
    lab_finish(&lab);
}

/* Messages that come in, and go, while a mailbox is being read. */
static void test_changes_while_loading(void **state)
{
    struct lab lab;
    struct answer opened = {0};
    lab_init(&lab);
    lab.options.memory_budget = 1;
    lab_grace(&lab, 1000);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 119), MAILBOX_OK);
    held.wanted = true;
    struct mailbox_view *view =
        mailbox_view_open(lab.account, SLICE_LITERAL("INBOX"), false, on_view, &opened);
    lab_settle(&lab);
    assert_true(held.here);
    assert_int_equal(lab_append(&lab, "INBOX", 3), MAILBOX_OK); /* two of them in a new page */
    assert_false(opened.done);
    held_release();
    lab_wait(&lab, &opened);
    assert_int_equal(opened.result, MAILBOX_OK);
    assert_int_equal(mailbox_view_count(view), 122);
    for (uint32_t uid = 1; uid <= 122; uid++)
        assert_int_equal(mailbox_view_sequence(view, uid), uid);
    mailbox_view_close(&view);

    /* Deleted while it is being read. */
    struct answer deleted = {0};
    assert_int_equal(lab_append(&lab, "Trash", 3), MAILBOX_OK);
    held.wanted = true;
    opened = (struct answer){0};
    view = mailbox_view_open(lab.account, SLICE_LITERAL("Trash"), false, on_view, &opened);
    lab_settle(&lab);
    mailbox_delete(lab.account, SLICE_LITERAL("Trash"), on_done, &deleted);
    lab_wait(&lab, &deleted);
    held_release();
    lab_wait(&lab, &opened);
    assert_int_equal(opened.result, MAILBOX_NO_SUCH);
    mailbox_view_close(&view);

    /* Closed while it is being read. */
    held.wanted = true;
    opened = (struct answer){0};
    view = mailbox_view_open(lab.account, SLICE_LITERAL("INBOX"), false, on_view, &opened);
    lab_settle(&lab);
    mailbox_view_close(&view);
    held_release();
    lab_settle(&lab);
    assert_false(opened.done);
    lab_recount(&lab);
    lab_finish(&lab);
}

static void test_far_behind(void **state)
{
    struct lab lab;
    struct session slow;
    enum { MESSAGES = 20000 };
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 1000), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    for (int i = 0; i < MESSAGES / 1000 - 1; i++)
        assert_int_equal(lab_copy(&lab, view, 1, 1000, "INBOX", false), MAILBOX_OK);
    mailbox_view_close(&view);
    view = lab_view(&lab, "INBOX");
    session_begin(&slow, lab_view(&lab, "INBOX"));
    for (int i = 0; i <= LOG_MAX / MESSAGES; i++) {
        assert_int_equal(mailbox_view_state(slow.view), MAILBOX_VIEW_LIVE);
        assert_int_equal(lab_store(&lab, view, 1, UINT32_MAX,
                                   i % 2 == 0 ? MAILBOX_STORE_ADD : MAILBOX_STORE_REMOVE,
                                   MAILBOX_SEEN),
                         MAILBOX_OK);
        mailbox_view_poll(view, true, &(struct mailbox_teller){NULL, NULL, NULL}, NULL);
    }
    assert_int_equal(mailbox_view_state(slow.view), MAILBOX_VIEW_BROKEN);
    assert_int_equal(slow.notified, 1);
    assert_int_equal(mailbox_view_count(slow.view), 0);
    assert_int_equal(mailbox_view_state(view), MAILBOX_VIEW_LIVE);
    assert_true(view->contents->changed_count < MESSAGES);
    session_finish(&slow);
    mailbox_view_close(&view);
    lab_finish(&lab);
}

static void test_memory_is_given_back(void **state)
{
    struct lab lab;
    lab_init(&lab);
    lab.options.memory_budget = 1;
    mailbox_env_destroy(&lab.env);
    lab.env = mailbox_env_create(&lab.options);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 10), MAILBOX_OK);
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    assert_int_equal(lab.env->idle_bytes, 0);
    mailbox_view_close(&view);
    assert_int_equal(lab.env->idle_bytes, 0);
    assert_true(TAILQ_EMPTY(&lab.env->idle));
    assert_int_equal(lab.env->account_count, 1);
    mailbox_account_release(&lab.account);
    lab_settle(&lab);
    assert_int_equal(lab.env->account_count, 1); /* kept for the next poll */
    scans = 0;
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(scans, 0);
    mailbox_account_release(&lab.account);
    lab_settle(&lab);
    env_sweep(lab.env, UINT64_MAX);
    assert_int_equal(lab.env->account_count, 0);
    lab_finish(&lab);
}

static void test_damage(void **state)
{
    struct lab lab;
    struct answer answer = {0};
    lab_init(&lab);
    assert_int_equal(lab_account(&lab), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "INBOX", 3), MAILBOX_OK);
    assert_int_equal(lab_append(&lab, "Sent", 3), MAILBOX_OK);
    struct codec_key email = codec_key_number(KEY_EMAIL, 2);
    store_mem_damage_value(lab.store, lab.ref.id, codec_key_slice(&email));
    struct mailbox_view *view = lab_view(&lab, "INBOX");
    mailbox_read(view, 2, 0, 100, on_read, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_CORRUPT);
    answer_finish(&answer);
    mailbox_read(view, 3, 0, 100, on_read, &answer); /* its neighbour is not hurt */
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_OK);
    answer_finish(&answer);
    mailbox_view_close(&view);
    struct codec_key page =
        codec_key_page(box_find_durable(lab.account->account, SLICE_LITERAL("Sent"))->id, 1);
    store_mem_damage_value(lab.store, lab.ref.id, codec_key_slice(&page));
    view = mailbox_view_open(lab.account, SLICE_LITERAL("Sent"), false, on_view, &answer);
    lab_wait(&lab, &answer);
    assert_int_equal(answer.result, MAILBOX_CORRUPT); /* never as if messages were expunged */
    mailbox_view_close(&view);
    view = lab_view(&lab, "INBOX");
    mailbox_view_close(&view);
    lab_finish(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_untold_is_kept),
        cmocka_unit_test(test_deleted_mailboxes),
        cmocka_unit_test(test_neighbour_of_a_deleted_mailbox),
        cmocka_unit_test(test_clock_is_set),
        cmocka_unit_test(test_delivery_records_go),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_memory_is_given_back),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_changes_while_loading),
        cmocka_unit_test(test_far_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
