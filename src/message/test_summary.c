/*
 * The codec of summaries: what is packed comes back, what is too large is cut and still sound, and
 * no bytes that a broken reader could send are believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "message/invariants.h"
#include "message/parse.h"

static const char message[] =
    "Date: Mon, 1 Jan 2001 00:00:00 +0000\r\nSubject: s\r\nFrom: A <a@b>\r\nTo: g: x@y;\r\n"
    "Message-ID: <m@x>\r\nReferences: <r@x> <q@x>\r\n"
    "Content-Type: multipart/mixed; boundary=o\r\n\r\n"
    "--o\r\n\r\nhello\r\n--o\r\nContent-Type: message/rfc822\r\nContent-Disposition: inline; "
    "a=b\r\n"
    "Content-Language: de, en\r\nContent-ID: <i@x>\r\n\r\nSubject: in\r\n\r\nbody\r\n--o--\r\n";

static void pack(struct slice bytes, struct buf *packed) /* folded: "?!" */
{
    struct arena arena = {0};
    struct summary summary;
    parse_message(bytes, &arena, &summary);
    summary.folded = SLICE_LITERAL("?!");
    summary_encode(&summary, packed);
    arena_finish(&arena);
}

static bool unpacks(struct slice packed, uint64_t size)
{
    struct arena arena = {0};
    struct summary summary;
    bool good = summary_decode(packed, size, &arena, &summary);
    if (good) {
        /* What is believed must be sound: it can be packed again. */
        const char *wrong = invariants_of_packing(&summary);
        if (wrong != NULL)
            fail_msg("%s", wrong);
    }
    arena_finish(&arena);
    return good;
}

static void comes_back(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct buf packed = {0};
    struct summary summary;
    pack(slice_str(message), &packed);
    assert_true(summary_decode(buf_slice(&packed), sizeof(message) - 1, &arena, &summary));
    assert_int_equal(summary.part_count, 4);
    assert_int_equal(summary.date_s, 978307200);
    assert_int_equal(summary.reference_count, 2);
    assert_true(slice_equal_str(summary.references[1], "q@x"));
    assert_true(slice_equal_str(summary.preview, "hello"));
    const struct summary_envelope *envelope = summary.parts[0].envelope;
    assert_true(slice_equal_str(envelope->message_id, "<m@x>"));
    assert_null(envelope->in_reply_to.data);
    assert_int_equal(envelope->to.count, 3);
    assert_null(envelope->to.list[0].host.data);
    const struct summary_part *inner = &summary.parts[2];
    assert_int_equal(inner->kind, SUMMARY_MESSAGE);
    assert_int_equal(inner->language_count, 2);
    assert_true(slice_equal_str(inner->disposition, "inline"));
    assert_true(slice_equal_str(inner->id, "<i@x>"));
    assert_int_equal(summary.parts[3].parent, 2);
    assert_int_equal(summary.parts[3].depth, 2);
    assert_true(slice_equal_str(summary.parts[3].envelope->subject, "in"));
    assert_int_equal(summary.parts[1].next, 2);
    buf_finish(&packed);
    arena_finish(&arena);
}

/* The layout of doc/formats/summary.md, written down by hand. */
static void layout_is_stable(void **state)
{
    (void)state;
    struct buf packed = {0};
    pack(slice_str("Subject: hi\r\n\r\nyou\r\n"), &packed); /* 20 bytes */
    static const uint8_t all[] = {
        2,                          /* format */
        1,   0,   0,   0,           /* parts */
        33,  0,   0,   0,           /* bytes of texts */
        3,   0,   '?', '!',         /* folded: 2, as they come */
        20,  0,   4,   0,           /* size, no date, preview of 3, no references */
        0,   0,   15,  5,   1,      /* leaf at depth 0; offset, header, body, lines */
        5,   6,   5,                /* text plain 7BIT */
        1,   8,   9,                /* one parameter */
        0,   3,   0,   0,           /* envelope: subject */
        0,   0,   0,   0,   0,   0, /* addresses */
        'y', 'o', 'u', 't', 'e', 'x', 't', 'p', 'l', 'a', 'i', 'n', '7', 'B', 'I', 'T', 'c',
        'h', 'a', 'r', 's', 'e', 't', 'u', 's', '-', 'a', 's', 'c', 'i', 'i', 'h', 'i'};
    assert_int_equal(packed.size, sizeof(all));
    assert_memory_equal(packed.data, all, sizeof(all));
    assert_true(slice_equal_str(summary_folded(buf_slice(&packed)), "?!"));
    packed.data[9] = 0; /* none */
    assert_null(summary_folded(buf_slice(&packed)).data);
    packed.data[10] = 255; /* more than there is */
    assert_null(summary_folded(buf_slice(&packed)).data);
    buf_finish(&packed);
}

static void opaque(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct summary summary;
    summary_opaque(1000, 100, &arena, &summary);
    assert_int_equal(summary.parts[0].body_size, 900);
    assert_null(invariants_of_packing(&summary));
    summary_opaque(0, 0, &arena, &summary);
    assert_null(invariants_of_packing(&summary));
    arena_finish(&arena);
}

static void truncations_and_additions(void **state)
{
    (void)state;
    struct buf packed = {0};
    size_t size = sizeof(message) - 1;
    pack(slice_str(message), &packed);
    assert_true(unpacks(buf_slice(&packed), size));
    assert_false(unpacks(buf_slice(&packed), size + 1));
    assert_false(unpacks(buf_slice(&packed), size - 1));
    for (size_t cut = 0; cut < packed.size; cut++) {
        uint8_t *copy = malloc(cut + (cut == 0));
        memcpy(copy, packed.data, cut);
        assert_false(unpacks(slice_make(copy, cut), size));
        free(copy);
    }
    buf_u8(&packed, 'x');
    assert_false(unpacks(buf_slice(&packed), size));
    buf_finish(&packed);
}

/* Every byte as every value: refused, or sound. Sizes and places are never believed. */
static void mutations(void **state)
{
    (void)state;
    struct buf packed = {0};
    pack(slice_str(message), &packed);
    for (size_t at = 0; at < packed.size; at++) {
        uint8_t keep = packed.data[at];
        for (int value = 0; value < 256; value++) {
            packed.data[at] = (uint8_t)value;
            unpacks(buf_slice(&packed), sizeof(message) - 1);
        }
        packed.data[at] = keep;
    }
    buf_finish(&packed);
}

/* Changes one thing of a sound summary, packs it, and wants it refused. */
static void expect_refused(void (*change)(struct summary *summary))
{
    struct arena arena = {0};
    struct summary summary;
    struct buf packed = {0};
    parse_message(slice_str(message), &arena, &summary);
    change(&summary);
    summary_encode(&summary, &packed);
    assert_false(unpacks(buf_slice(&packed), sizeof(message) - 1));
    buf_finish(&packed);
    arena_finish(&arena);
}

static void longer_than_parent(struct summary *s)
{
    s->parts[3].body_size++;
}
static void before_parent(struct summary *s)
{
    s->parts[1].header_offset = 0;
}
static void over_sibling(struct summary *s)
{
    s->parts[1].body_size += s->parts[2].header_offset - s->parts[1].header_offset;
}
static void huge(struct summary *s)
{
    s->parts[1].header_size = UINT64_MAX;
}
static void wraps(struct summary *s)
{
    s->parts[1].body_size = UINT64_MAX - s->parts[1].header_offset + 2;
}
static void shorter_than_message(struct summary *s)
{
    s->parts[0].body_size--;
}
static void too_many_lines(struct summary *s)
{
    s->parts[1].body_lines = (uint32_t)s->parts[1].body_size + 1;
}
static void too_deep(struct summary *s)
{
    s->parts[1].depth = 2;
}
static void second_root(struct summary *s)
{
    s->parts[1].depth = 0;
}
static void child_of_leaf(struct summary *s)
{
    s->parts[2].depth = 2;
}
static void two_in_message(struct summary *s)
{
    s->parts[0].kind = SUMMARY_MESSAGE;
}
static void multipart_without(struct summary *s)
{
    s->parts[1].kind = SUMMARY_MULTIPART;
}
static void empty_type(struct summary *s)
{
    s->parts[1].type = SLICE_LITERAL("");
}
static void line_in_text(struct summary *s)
{
    s->parts[0].envelope->subject = SLICE_LITERAL("a\nb");
}
static void return_in_text(struct summary *s)
{
    s->parts[0].envelope->subject = SLICE_LITERAL("a\rb");
}
static void nul_in_text(struct summary *s)
{
    s->parts[0].envelope->subject = SLICE_LITERAL("a\0b");
}
static void bad_preview(struct summary *s)
{
    s->preview = SLICE_LITERAL("\xff");
}

static void lies(void **state)
{
    (void)state;
    void (*const changes[])(struct summary *) = {longer_than_parent,
                                                 before_parent,
                                                 over_sibling,
                                                 huge,
                                                 wraps,
                                                 too_many_lines,
                                                 too_deep,
                                                 second_root,
                                                 child_of_leaf,
                                                 two_in_message,
                                                 multipart_without,
                                                 empty_type,
                                                 line_in_text,
                                                 return_in_text,
                                                 nul_in_text,
                                                 bad_preview,
                                                 shorter_than_message};
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++)
        expect_refused(changes[i]);
}

/* ---- cutting ------------------------------------------------------------------------------- */

static void cut_to_size(struct buf *bytes, struct summary *unpacked, struct arena *arena)
{
    struct summary summary;
    struct buf packed = {0};
    parse_message(buf_slice(bytes), arena, &summary);
    const char *wrong = invariants_of_packing(&summary);
    if (wrong != NULL)
        fail_msg("%s", wrong);
    summary_encode(&summary, &packed);
    struct slice copy = arena_copy(arena, buf_slice(&packed));
    assert_true(summary_decode(copy, bytes->size, arena, unpacked));
    buf_finish(&packed);
}

static void cuts_texts(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct buf bytes = {0};
    struct summary summary;
    for (int i = 0; i < 2000; i++)
        buf_printf(&bytes, "To: Somebody With A Name %d <somebody%d@example.org>\r\n", i, i);
    buf_add_str(&bytes, "Subject: \xc3\xa4");
    for (int i = 0; i < 10000; i++)
        buf_add_str(&bytes, "\xc3\xa4");
    buf_add_str(&bytes, "\r\nReferences:");
    for (int i = 0; i < 900; i++)
        buf_printf(&bytes, " <%d@x>", i);
    buf_add_str(&bytes, "\r\n\r\nbody");
    cut_to_size(&bytes, &summary, &arena);
    const struct summary_envelope *envelope = summary.parts[0].envelope;
    assert_in_range(envelope->to.count, 10, 1999);
    assert_true(slice_equal_str(envelope->to.list[9].mailbox, "somebody9"));
    assert_in_range(envelope->subject.size, 90, 19999);
    assert_int_equal(envelope->subject.size % 2, 0); /* not inside a character */
    assert_true(slice_equal_str(summary.references[summary.reference_count - 1], "899@x"));
    buf_finish(&bytes);
    arena_finish(&arena);
}

/* Wide, and wide at two levels: the rest becomes one opaque part of each level. */
static void cuts_parts(void **state)
{
    (void)state;
    for (int levels = 1; levels <= 3; levels++) {
        struct arena arena = {0};
        struct buf bytes = {0};
        struct summary summary;
        buf_add_str(&bytes, "Content-Type: multipart/mixed; boundary=o1\r\n\r\n");
        for (int i = 2; i <= levels; i++)
            buf_printf(&bytes, "--o%d\r\nContent-Type: multipart/mixed; boundary=o%d\r\n\r\n",
                       i - 1, i);
        for (int i = levels; i >= 1; i--) {
            for (int k = 0; k < 3000; k++)
                buf_printf(&bytes, "--o%d\r\n\r\nx\r\n", i);
            buf_printf(&bytes, "--o%d--\r\n", i);
        }
        cut_to_size(&bytes, &summary, &arena);
        assert_in_range(summary.part_count, 500, 2999);
        uint32_t opaque_parts = 0;
        for (uint32_t i = 0; i < summary.part_count; i++)
            opaque_parts += slice_equal_str(summary.parts[i].type, "application");
        assert_int_equal(opaque_parts, levels);
        const struct summary_part *last = &summary.parts[summary.part_count - 1];
        assert_int_equal(last->depth, 1);
        assert_int_equal(last->header_offset + last->header_size + last->body_size, bytes.size);
        buf_finish(&bytes);
        arena_finish(&arena);
    }
}

/* A hundred messages in each other, each with much in its header. */
static void cuts_deep(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct buf bytes = {0};
    struct summary summary;
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < 30; k++)
            buf_printf(&bytes, "To: \"A name that is quite long, number %d\" <a%d@example.org>\r\n",
                       k, k);
        buf_add_str(&bytes, "Content-Type: message/rfc822\r\n\r\n");
    }
    cut_to_size(&bytes, &summary, &arena);
    const struct summary_part *last = &summary.parts[summary.part_count - 1];
    assert_in_range(summary.part_count, 20, 100);
    assert_int_equal(last->kind, SUMMARY_LEAF);
    assert_true(slice_equal_str(last->type, "application"));
    buf_finish(&bytes);
    arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back), cmocka_unit_test(layout_is_stable),
        cmocka_unit_test(opaque),     cmocka_unit_test(truncations_and_additions),
        cmocka_unit_test(mutations),  cmocka_unit_test(lies),
        cmocka_unit_test(cuts_texts), cmocka_unit_test(cuts_parts),
        cmocka_unit_test(cuts_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
