/* Bytes written out by hand from doc/formats/mailbox.md, and every truncation refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mailbox/codec.h"
#include "store/store.h"

static void test_entry(void **state)
{
    static const uint8_t expected[ENTRY_SIZE] = {
        0x04, 0x03, 0x02, 0x01, 7, 0, 0, 0, 0x10, 0x27, 0, 0, 0x89, 0x56, 0x34, 0x12,
        1,    0,    0,    0,    0, 1, 0, 0, 9,    0,    0, 0, 5,    0,    0,    0};
    struct mailbox_entry entry = {.uid = 0x01020304,
                                  .email = 7,
                                  .flags = MAILBOX_SEEN | MAILBOX_DELETED,
                                  .keyword_set = 0x123456,
                                  .modseq = 0x0000010000000001,
                                  .save_date = 9,
                                  .size = 10000};
    uint8_t bytes[ENTRY_SIZE];
    codec_entry_put(bytes, &entry, 5);
    assert_memory_equal(bytes, expected, ENTRY_SIZE);
    struct mailbox_entry back;
    uint32_t expunged = 0;
    assert_true(codec_entry_get(bytes, &back, &expunged));
    assert_int_equal(expunged, 5);
    assert_memory_equal(&back, &entry, sizeof(entry));
    uint8_t page[PAGE_SIZE];
    codec_page_empty(page);
    assert_true(codec_page_valid(slice_make(page, PAGE_SIZE)));
    assert_false(codec_page_valid(slice_make(page, PAGE_SIZE - 1)));
    assert_false(codec_entry_get(page + codec_entry_offset(PAGE_ENTRIES - 1), &back, &expunged));
    assert_int_equal(codec_entry_offset(PAGE_ENTRIES), PAGE_SIZE);
}

static void test_keys_sort(void **state)
{
    struct codec_key a = codec_key_page(1, 0xff), b = codec_key_page(1, 0x100),
                     c = codec_key_page(2, 0);
    assert_true(slice_compare(codec_key_slice(&a), codec_key_slice(&b)) < 0);
    assert_true(slice_compare(codec_key_slice(&b), codec_key_slice(&c)) < 0);
    uint32_t number = 0;
    assert_true(codec_key_get_number(codec_key_slice(&b), 1, &number));
    assert_int_equal(number, 0x100);
    assert_false(codec_key_get_number(codec_key_slice(&b), 2, &number));
}

static void test_box(void **state)
{
    struct box_record in = {.parent = 3,
                            .state = BOX_NOSELECT,
                            .special = MAILBOX_SPECIAL_JUNK,
                            .object = id_random(),
                            .uidvalidity = 11,
                            .uidnext = 12,
                            .modseq = 13,
                            .messages = 14,
                            .unseen = 15,
                            .deleted = 16,
                            .size = 17,
                            .tail_page = 18,
                            .tail_used = 19,
                            .unpublished = 20,
                            .dead_below = 21,
                            .expunged = 22,
                            .expunged_since = 23,
                            .name = SLICE_LITERAL("leaf")};
    struct buf bytes = {0};
    struct box_record out = {0};
    codec_box_put(&in, &bytes);
    assert_int_equal(bytes.size, 86 + 4 + 4);
    assert_int_equal(bytes.data[30], 12); /* UIDNEXT where the table says */
    assert_int_equal(bytes.data[70], 20);
    assert_true(codec_box_get(buf_slice(&bytes), &out));
    assert_true(slice_equal(in.name, out.name));
    out.name = in.name;
    struct buf again = {0};
    codec_box_put(&out, &again);
    assert_true(slice_equal(buf_slice(&bytes), buf_slice(&again)));
    for (size_t size = 0; size < bytes.size; size++)
        assert_false(codec_box_get(slice_make(bytes.data, size), &out));
    bytes.data[0] = 2;
    assert_false(codec_box_get(buf_slice(&bytes), &out));
    bytes.data[0] = 3;
    assert_false(codec_box_get(buf_slice(&bytes), &out));
    in.import_next = 7;
    in.import_end = 9;
    buf_clear(&bytes);
    codec_box_put(&in, &bytes);
    assert_int_equal(bytes.size, 94 + 4 + 4);
    assert_int_equal(bytes.data[0], 2);
    assert_int_equal(bytes.data[86], 7);
    assert_int_equal(bytes.data[90], 9);
    assert_true(codec_box_get(buf_slice(&bytes), &out));
    assert_true(slice_equal(in.name, out.name));
    assert_int_equal(out.import_next, 7);
    assert_int_equal(out.import_end, 9);
    for (size_t size = 0; size < bytes.size; size++)
        assert_false(codec_box_get(slice_make(bytes.data, size), &out));
    buf_finish(&bytes);
    buf_finish(&again);
}

static void test_email_and_others(void **state)
{
    struct email_record in = {.blob = 1,
                              .blob_size = 2,
                              .date_us = 3,
                              .zone_minutes = -210,
                              .home_box = 4,
                              .home_uid = 5,
                              .prefix = SLICE_LITERAL("A: b\r\n"),
                              .uidl = SLICE_LITERAL("x1")};
    struct buf bytes = {0};
    struct email_record out;
    codec_email_put(&in, &bytes);
    assert_int_equal(bytes.size, 35 + 4 + 6 + 4 + 2);
    assert_true(codec_email_get(buf_slice(&bytes), &out));
    assert_int_equal(out.zone_minutes, -210);
    assert_true(slice_equal(out.prefix, in.prefix) && slice_equal(out.uidl, in.uidl));
    for (size_t size = 0; size < bytes.size; size++)
        assert_false(codec_email_get(slice_make(bytes.data, size), &out));
    buf_clear(&bytes);
    in.pop3_order = 7;
    codec_email_put(&in, &bytes);
    assert_int_equal(bytes.size, 39 + 4 + 6 + 4 + 2);
    assert_int_equal(bytes.data[0], 2);
    assert_true(codec_email_get(buf_slice(&bytes), &out));
    assert_int_equal(out.pop3_order, 7);
    assert_true(slice_equal(out.prefix, in.prefix) && slice_equal(out.uidl, in.uidl));
    for (size_t size = 0; size < bytes.size; size++)
        assert_false(codec_email_get(slice_make(bytes.data, size), &out));
    buf_clear(&bytes);

    struct account_record a = {1, 2, 3, 4, 5, 6, 7, 8, 9}, b;
    codec_account_put(&a, &bytes);
    assert_int_equal(bytes.size, 61);
    assert_true(codec_account_get(buf_slice(&bytes), &b));
    assert_int_equal(b.epoch, 7);
    assert_int_equal(b.lost_from, 8);
    assert_int_equal(b.lost_to, 9);
    for (size_t size = 0; size < bytes.size; size++)
        assert_false(codec_account_get(slice_make(bytes.data, size), &b));
    buf_clear(&bytes);

    struct delivery_record d = {1, 2, 3}, e;
    codec_delivery_put(&d, &bytes);
    assert_int_equal(bytes.size, 13);
    assert_true(codec_delivery_get(buf_slice(&bytes), &e));
    assert_int_equal(e.uid, 3);
    buf_finish(&bytes);
}

static void test_results(void **state)
{
    assert_string_equal(mailbox_result_code(MAILBOX_OVER_QUOTA), "OVERQUOTA");
    assert_string_equal(mailbox_result_code(MAILBOX_OK), "");
    assert_string_equal(mailbox_result_text(MAILBOX_BROKEN), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry),   cmocka_unit_test(test_keys_sort),
        cmocka_unit_test(test_box),     cmocka_unit_test(test_email_and_others),
        cmocka_unit_test(test_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
