/*
 * The tree of parts: examples of the RFCs, what real mail does beside them, every truncation, every
 * limit. Expected trees are written down by hand from the standards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "message/invariants.h"
#include "message/parse.h"

struct fixture {
    struct arena arena;
    struct buf bytes;
    struct summary summary;
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_finish(&f->arena);
    buf_finish(&f->bytes);
    free(f);
    return 0;
}

static void parse_bytes(struct fixture *f)
{
    arena_reset(&f->arena);
    parse_message(buf_slice(&f->bytes), &f->arena, &f->summary);
    assert_true(f->arena.used < PARSE_MEMORY_MAX + (8 << 20));
    const char *wrong = invariants_of_summary(buf_slice(&f->bytes), &f->summary);
    if (wrong == NULL)
        wrong = invariants_of_packing(&f->summary);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

/* text has LF; what is parsed has CRLF. */
static void parse(struct fixture *f, const char *text)
{
    buf_clear(&f->bytes);
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            buf_u8(&f->bytes, '\r');
        buf_u8(&f->bytes, (uint8_t)*text);
    }
    parse_bytes(f);
}

/* type/subtype, children in parentheses. */
static void show(const struct summary *summary, uint32_t index, struct buf *out)
{
    const struct summary_part *part = &summary->parts[index];
    buf_printf(out, "%.*s/%.*s", SLICE_PRINT(part->type), SLICE_PRINT(part->subtype));
    for (uint32_t i = index + 1; i < part->next; i = summary->parts[i].next) {
        buf_add_str(out, i == index + 1 ? "(" : " ");
        show(summary, i, out);
    }
    if (part->children > 0)
        buf_add_str(out, ")");
}

static void expect_tree(struct fixture *f, const char *tree)
{
    struct buf out = {0};
    show(&f->summary, 0, &out);
    buf_u8(&out, 0);
    assert_string_equal((const char *)out.data, tree);
    buf_finish(&out);
}

/* Body of a part, with CRLF. */
static void expect_body(struct fixture *f, uint32_t index, const char *body)
{
    const struct summary_part *part = &f->summary.parts[index];
    char *text = arena_strdup(
        &f->arena,
        slice_sub(buf_slice(&f->bytes), part->header_offset + part->header_size, part->body_size));
    assert_string_equal(text, body);
}

static void expect_text(struct slice text, const char *expected)
{
    if (!slice_equal_str(text, expected))
        fail_msg("\"%.*s\" is not \"%s\"", SLICE_PRINT(text), expected);
}

/* ---- the RFCs ------------------------------------------------------------------------------ */

static const char simple_multipart[] = /* RFC 2046 5.1.1 */
    "From: Nathaniel Borenstein <nsb@bellcore.com>\n"
    "To: Ned Freed <ned@innosoft.com>\n"
    "Date: Sun, 21 Mar 1993 23:56:48 -0800 (PST)\n"
    "Subject: Sample message\n"
    "MIME-Version: 1.0\n"
    "Content-type: multipart/mixed; boundary=\"simple boundary\"\n"
    "\n"
    "This is the preamble.  It is to be ignored, though it\n"
    "is a handy place for composition agents to include an\n"
    "explanatory note to non-MIME conformant readers.\n"
    "\n"
    "--simple boundary\n"
    "\n"
    "This is implicitly typed plain US-ASCII text.\n"
    "It does NOT end with a linebreak.\n"
    "--simple boundary\n"
    "Content-type: text/plain; charset=us-ascii\n"
    "\n"
    "This is explicitly typed plain US-ASCII text.\n"
    "It DOES end with a linebreak.\n"
    "\n"
    "--simple boundary--\n"
    "\n"
    "This is the epilogue.  It is also to be ignored.\n";

static void rfc2046_simple(void **state)
{
    struct fixture *f = *state;
    parse(f, simple_multipart);
    expect_tree(f, "multipart/mixed(text/plain text/plain)");
    expect_body(f, 1,
                "This is implicitly typed plain US-ASCII text.\r\n"
                "It does NOT end with a linebreak.");
    expect_body(f, 2,
                "This is explicitly typed plain US-ASCII text.\r\n"
                "It DOES end with a linebreak.\r\n");
    assert_int_equal(f->summary.parts[1].body_lines, 1);
    assert_int_equal(f->summary.parts[2].body_lines, 2);
    assert_int_equal(f->summary.parts[1].header_size, 2);
    assert_int_equal(f->summary.date_s, 732787008); /* date -d '1993-03-21 23:56:48 -0800' +%s */
    const struct summary_envelope *envelope = f->summary.parts[0].envelope;
    expect_text(envelope->subject, "Sample message");
    expect_text(envelope->date, "Sun, 21 Mar 1993 23:56:48 -0800 (PST)");
    expect_text(envelope->from.list[0].name, "Nathaniel Borenstein");
    expect_text(envelope->from.list[0].mailbox, "nsb");
    expect_text(envelope->from.list[0].host, "bellcore.com");
    expect_text(f->summary.preview, "This is implicitly typed plain US-ASCII text. "
                                    "It does NOT end with a linebreak.");
}

static void rfc2046_digest(void **state)
{
    struct fixture *f = *state;
    parse(f, "From: Moderator-Address\n" /* RFC 2046 5.1.5 */
             "To: Recipient-List\n"
             "Date: Mon, 22 Mar 1994 13:34:51 +0000\n"
             "Subject: Internet Digest, volume 42\n"
             "MIME-Version: 1.0\n"
             "Content-Type: multipart/mixed;\n"
             "              boundary=\"---- main boundary ----\"\n"
             "\n"
             "------ main boundary ----\n"
             "\n"
             "...Introductory text or table of contents...\n"
             "\n"
             "------ main boundary ----\n"
             "Content-Type: multipart/digest;\n"
             "              boundary=\"---- next message ----\"\n"
             "\n"
             "------ next message ----\n"
             "\n"
             "From: someone-else\n"
             "Date: Fri, 26 Mar 1993 11:13:32 +0200\n"
             "Subject: my opinion\n"
             "\n"
             "...body goes here ...\n"
             "\n"
             "------ next message ----\n"
             "\n"
             "From: someone-else-again\n"
             "Date: Fri, 26 Mar 1993 10:07:13 -0500\n"
             "Subject: my different opinion\n"
             "\n"
             "... another body goes here ...\n"
             "\n"
             "------ next message ------\n"
             "\n"
             "------ main boundary ------\n");
    expect_tree(f, "multipart/mixed(text/plain multipart/digest("
                   "message/rfc822(text/plain) message/rfc822(text/plain)))");
    expect_text(f->summary.parts[4].envelope->subject, "my opinion");
    expect_text(f->summary.parts[6].envelope->from.list[0].mailbox, "someone-else-again");
    expect_body(f, 6, "... another body goes here ...\r\n");
    assert_null(f->summary.parts[5].envelope);
}

static void rfc2049_complex(void **state)
{
    struct fixture *f = *state;
    parse(f, "MIME-Version: 1.0\n" /* RFC 2049 appendix A, bodies shortened */
             "From: Nathaniel Borenstein <nsb@nsb.fv.com>\n"
             "Subject: A multipart example\n"
             "Content-Type: multipart/mixed;\n"
             "              boundary=unique-boundary-1\n"
             "\n"
             "This is the preamble area of a multipart message.\n"
             "--unique-boundary-1\n"
             "\n"
             "  ... Some text appears here ...\n"
             "--unique-boundary-1\n"
             "Content-type: text/plain; charset=US-ASCII\n"
             "\n"
             "This could have been part of the previous part.\n"
             "--unique-boundary-1\n"
             "Content-Type: multipart/parallel; boundary=unique-boundary-2\n"
             "\n"
             "--unique-boundary-2\n"
             "Content-Type: audio/basic\n"
             "Content-Transfer-Encoding: base64\n"
             "\n"
             "  ... base64-encoded 8000 Hz single-channel\n"
             "      mu-law-format audio data goes here ...\n"
             "--unique-boundary-2\n"
             "Content-Type: image/jpeg\n"
             "Content-Transfer-Encoding: base64\n"
             "\n"
             "  ... base64-encoded image data goes here ...\n"
             "--unique-boundary-2--\n"
             "\n"
             "--unique-boundary-1\n"
             "Content-type: text/enriched\n"
             "\n"
             "This is <bold><italic>enriched.</italic></bold>\n"
             "--unique-boundary-1\n"
             "Content-Type: message/rfc822\n"
             "\n"
             "From: (mailbox in US-ASCII)\n"
             "To: (address in US-ASCII)\n"
             "Subject: (subject in US-ASCII)\n"
             "Content-Type: Text/plain; charset=ISO-8859-1\n"
             "Content-Transfer-Encoding: Quoted-printable\n"
             "\n"
             "  ... Additional text in ISO-8859-1 goes here ...\n"
             "--unique-boundary-1--\n");
    expect_tree(f, "multipart/mixed(text/plain text/plain multipart/parallel(audio/basic "
                   "image/jpeg) text/enriched message/rfc822(Text/plain))");
    expect_text(f->summary.parts[4].encoding, "base64");
    expect_text(f->summary.parts[8].encoding, "Quoted-printable");
    expect_text(f->summary.parts[8].envelope->subject, "(subject in US-ASCII)");
    assert_int_equal(f->summary.parts[8].envelope->from.count, 0);
}

/* ---- boundaries ---------------------------------------------------------------------------- */

static void boundary_prefixes(void **state)
{
    struct fixture *f = *state;
    /* The inner boundary begins with the outer one: the longest wins (RFC 2046 5.1.1). */
    parse(f, "Content-Type: multipart/mixed; boundary=abc\n\n"
             "--abc\nContent-Type: multipart/alternative; boundary=abcdef\n\n"
             "--abcdef\n\none\n--abcdef\n\ntwo\n--abcdef--\n"
             "--abc\n\nthree\n--abc--\n");
    expect_tree(f, "multipart/mixed(multipart/alternative(text/plain text/plain) text/plain)");
    expect_body(f, 3, "two");
    expect_body(f, 4, "three");
    /* And the other way round. */
    parse(f, "Content-Type: multipart/mixed; boundary=abcdef\n\n"
             "--abcdef\nContent-Type: multipart/alternative; boundary=abc\n\n"
             "--abc\n\none\n--abc--\n"
             "--abcdef\n\nthree\n--abcdef--\n");
    expect_tree(f, "multipart/mixed(multipart/alternative(text/plain) text/plain)");
    expect_body(f, 2, "one");
    expect_body(f, 3, "three");
}

static void boundary_only_at_line_start(void **state)
{
    struct fixture *f = *state;
    parse(f, "Content-Type: multipart/mixed; boundary=b\n\n"
             "--b\n\n --b\nx--b\n--x\n--\n-\n\n--b--\n");
    expect_tree(f, "multipart/mixed(text/plain)");
    expect_body(f, 1, " --b\r\nx--b\r\n--x\r\n--\r\n-\r\n");
    /* Spaces behind it are padding. */
    parse(f, "Content-Type: multipart/mixed; boundary=b\n\n--b \t\n\none\n--b-- \nend\n");
    expect_body(f, 1, "one");
}

static void boundary_missing(void **state)
{
    struct fixture *f = *state;
    parse(f, "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n");
    expect_tree(f, "multipart/mixed(text/plain text/plain)");
    expect_body(f, 2, "two\r\n"); /* no line end belongs to a boundary that is not there */
    parse(f, "Content-Type: multipart/mixed; boundary=b\n\nno parts at all\n");
    expect_tree(f, "text/plain");
    expect_text(f->summary.preview, "no parts at all");
    parse(f, "Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n");
    expect_tree(f, "text/plain");
    /* An outer boundary ends inner parts that were never closed. */
    parse(f, "Content-Type: multipart/mixed; boundary=o\n\n"
             "--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n"
             "--o\n\ntwo\n--o--\n");
    expect_tree(f, "multipart/mixed(multipart/mixed(text/plain) text/plain)");
    expect_body(f, 2, "one");
    expect_body(f, 3, "two");
}

static void boundary_after_close(void **state)
{
    struct fixture *f = *state;
    parse(f, "Content-Type: multipart/mixed; boundary=b\n\n"
             "--b\n\none\n--b--\n--b\n\nin the epilogue\n--b--\n");
    expect_tree(f, "multipart/mixed(text/plain)");
    /* Twice the same boundary: the innermost. */
    parse(f, "Content-Type: multipart/mixed; boundary=b\n\n"
             "--b\nContent-Type: multipart/mixed; boundary=b\n\n"
             "--b\n\none\n--b--\n--b\n\ntwo\n--b--\n");
    expect_tree(f, "multipart/mixed(multipart/mixed(text/plain) text/plain)");
}

static void boundary_in_header(void **state)
{
    struct fixture *f = *state;
    /* A boundary where a header should end, or begin. */
    parse(f, "Content-Type: multipart/mixed; boundary=b\n\n"
             "--b\nContent-Type: text/html\n--b\n--b\n\n--b--\n");
    expect_tree(f, "multipart/mixed(text/html text/plain text/plain)");
    expect_body(f, 1, "");
    expect_body(f, 2, "");
    expect_body(f, 3, "");
    parse(f, "Content-Type: multipart/mixed; boundary=b\n--b\n\none\n--b--\n");
    expect_tree(f, "text/plain"); /* not known as a boundary in its own header */
    parse(f, "Content-Type: multipart/mixed; boundary=b\n\n"
             "--b\nContent-Type: message/rfc822\n\nSubject: cut\n--b\n"
             "Content-Type: message/rfc822\n--b--\n");
    expect_tree(f, "multipart/mixed(message/rfc822(text/plain) application/octet-stream)");
    expect_text(f->summary.parts[2].envelope->subject, "cut");
    expect_body(f, 2, "");
}

static void boundary_lengths(void **state)
{
    struct fixture *f = *state;
    for (size_t size = 1; size <= 1100; size += size < 80 ? 1 : 85) {
        char boundary[1200], text[8192];
        memset(boundary, 'x', size);
        boundary[size] = '\0';
        snprintf(text, sizeof(text),
                 "Content-Type: multipart/mixed; boundary=\"%s\"\n\n--%s\n\none\n--%s--\n",
                 boundary, boundary, boundary);
        parse(f, text);
        expect_tree(f, "multipart/mixed(text/plain)");
        expect_body(f, 1, "one");
    }
    parse(f, "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\none\n----\n");
    expect_tree(f, "text/plain");
    parse(f, "Content-Type: multipart/mixed; boundary=\"a b \"\n\n--a b\n\none\n--a b--\n");
    expect_tree(f, "multipart/mixed(text/plain)");
}

/* ---- headers ------------------------------------------------------------------------------- */

static void header_forms(void **state)
{
    struct fixture *f = *state;
    parse(f, "");
    expect_tree(f, "text/plain");
    assert_int_equal(f->summary.parts[0].header_size, 0);
    parse(f, "\n");
    assert_int_equal(f->summary.parts[0].header_size, 2);
    parse(f, "Subject: no body");
    expect_text(f->summary.parts[0].envelope->subject, "no body");
    assert_int_equal(f->summary.parts[0].body_size, 0);
    /* No header at all. */
    parse(f, "Dear all,\nthis is no header\n\nbye: bye\n");
    assert_int_equal(f->summary.parts[0].header_size, 0);
    assert_int_equal(f->summary.parts[0].body_lines, 4);
    parse(f, "one line");
    assert_int_equal(f->summary.parts[0].header_size, 0);
    /* One that begins with a line that is none, or with a byte order mark. */
    parse(f, "Mail content:\nTo: a@b\n\nbody\n");
    expect_body(f, 0, "body\r\n");
    expect_text(f->summary.parts[0].envelope->to.list[0].host, "b");
    parse(f, "\xef\xbb\xbfSubject: marked\nTo: a@b\n\nbody\n");
    expect_text(f->summary.parts[0].envelope->subject, "marked");
    expect_body(f, 0, "body\r\n");
    /* Lines that are none are passed over. */
    parse(f, "From me@example.org Thu Jan  1 00:00:00 1970\n>From you\nSubject : spaced\n"
             "nonsense\n still nonsense\nTo: a@b\n\nbody\n");
    expect_text(f->summary.parts[0].envelope->subject, "spaced");
    expect_text(f->summary.parts[0].envelope->to.list[0].host, "b");
    expect_body(f, 0, "body\r\n");
    /* Folding: the line end goes, the space stays (RFC 5322 2.2.3). */
    parse(f, "Subject: one\n two\n\t three \n\n");
    expect_text(f->summary.parts[0].envelope->subject, "one two\t three");
    /* The first of two counts; lists are joined. */
    parse(f, "Subject: 1\nSubject: 2\nTo: a@x\nTo: b@x\nContent-Type: text/html\n"
             "Content-Type: text/csv\n\n");
    expect_text(f->summary.parts[0].envelope->subject, "1");
    assert_int_equal(f->summary.parts[0].envelope->to.count, 2);
    expect_tree(f, "text/html");
}

static void header_defaults(void **state)
{
    struct fixture *f = *state;
    static const char *const plain[] = {"\n",
                                        "Content-Type: text\n\n",
                                        "Content-Type:\n\n",
                                        "Content-Type: /\n\n",
                                        "Content-Type: ;charset=x\n\n",
                                        "Content-Type: text/\n\n"};
    for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
        parse(f, plain[i]); /* RFC 2045 5.2 */
        expect_tree(f, "text/plain");
        assert_int_equal(f->summary.parts[0].parameter_count, 1);
        expect_text(f->summary.parts[0].parameters[0].name, "charset");
        expect_text(f->summary.parts[0].parameters[0].value, "us-ascii");
        expect_text(f->summary.parts[0].encoding, "7BIT");
    }
}

static void references_rfc5256(void **state)
{
    struct fixture *f = *state;
    parse(f, "In-Reply-To: <z@z>\nReferences: <a@x> (c) <b@x>\n <c@x>\n\n");
    assert_int_equal(f->summary.reference_count, 3);
    expect_text(f->summary.references[0], "a@x");
    expect_text(f->summary.references[2], "c@x");
    parse(f, "References: none here\n"
             "In-Reply-To: Your message of \"Tue\" <d@x> and <e@x>\n\n");
    assert_int_equal(f->summary.reference_count, 1);
    expect_text(f->summary.references[0], "d@x");
    parse(f, "References: < a b@x> <> <<c@x> <unended\n\n");
    assert_int_equal(f->summary.reference_count, 1);
    expect_text(f->summary.references[0], "c@x");
}

/* ---- every cut, both line ends ------------------------------------------------------------- */

static const char nested[] =
    "Subject: nested\nContent-Type: multipart/mixed; boundary=\"o\"\n\npre\n"
    "--o\nContent-Type: message/rfc822\n\nFrom: (c) A <a@b>, g: x@y;\nSubject: in\n"
    "Content-Type: multipart/alternative; boundary=oi\n\n"
    "--oi\n\ntext\n--oi\nContent-Type: text/html; charset*0*=utf-8''a; charset*1=b\n\n<p>x\n"
    "--oi--\nepi\n--o\n\n--o--\nepilogue\n";

static void every_truncation(void **state)
{
    struct fixture *f = *state;
    parse(f, nested);
    expect_tree(f, "multipart/mixed(message/rfc822(multipart/alternative(text/plain text/html)) "
                   "text/plain)");
    size_t size = f->bytes.size;
    for (size_t cut = 0; cut <= size; cut++) {
        f->bytes.size = cut;
        /* In memory of its own, so that a sanitizer sees a read behind the end. */
        uint8_t *copy = malloc(cut + (cut == 0));
        memcpy(copy, f->bytes.data, cut);
        const char *wrong = invariants_of_message(slice_make(copy, cut));
        free(copy);
        if (wrong != NULL)
            fail_msg("cut at %zu: %s", cut, wrong);
    }
}

/* Each byte replaced by each of those that mean something. */
static void every_mutation(void **state)
{
    struct fixture *f = *state;
    static const char bytes[] = "\0\r\n -:;\"(<@\xff";
    parse(f, nested);
    for (size_t at = 0; at < f->bytes.size; at++) {
        uint8_t keep = f->bytes.data[at];
        for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
            f->bytes.data[at] = (uint8_t)bytes[i];
            const char *wrong = invariants_of_message(buf_slice(&f->bytes));
            if (wrong != NULL)
                fail_msg("byte %zu as %02x: %s", at, (uint8_t)bytes[i], wrong);
        }
        f->bytes.data[at] = keep;
    }
}

static void bare_line_feeds(void **state)
{
    struct fixture *f = *state;
    const char *texts[] = {nested, simple_multipart};
    for (size_t i = 0; i < 2; i++) {
        struct buf with = {0}, without = {0};
        parse(f, texts[i]);
        show(&f->summary, 0, &with);
        uint32_t lines = f->summary.parts[1].body_lines;
        buf_clear(&f->bytes);
        buf_add_str(&f->bytes, texts[i]);
        parse_bytes(f);
        show(&f->summary, 0, &without);
        assert_true(slice_equal(buf_slice(&with), buf_slice(&without)));
        assert_int_equal(f->summary.parts[1].body_lines, lines);
        buf_finish(&with);
        buf_finish(&without);
    }
}

static void strange_bytes(void **state)
{
    struct fixture *f = *state;
    buf_clear(&f->bytes);
    static const char bytes[] = "Subject: a\0b\rc\r\nX: \r\n\r\n\0\0\rno line end here";
    buf_add(&f->bytes, bytes, sizeof(bytes) - 1);
    parse_bytes(f);
    expect_text(f->summary.parts[0].envelope->subject, "abc");
    assert_int_equal(f->summary.parts[0].body_lines, 0);
    /* A lone CR ends no line: this is one header line. */
    buf_clear(&f->bytes);
    buf_add_str(&f->bytes, "Subject: x\rTo: y\r\rbody");
    parse_bytes(f);
    assert_int_equal(f->summary.parts[0].header_size, f->bytes.size);
    expect_text(f->summary.parts[0].envelope->subject, "xTo: ybody");
}

/* ---- limits -------------------------------------------------------------------------------- */

static void depth_limit(void **state)
{
    struct fixture *f = *state;
    for (int kind = 0; kind < 2; kind++) {
        buf_clear(&f->bytes);
        for (int i = 0; i < 150; i++) {
            if (kind == 0)
                buf_add_str(&f->bytes, "Content-Type: message/rfc822\r\n\r\n");
            else
                buf_printf(&f->bytes,
                           "Content-Type: multipart/mixed; boundary=b%03d\r\n\r\n--b%03d\r\n", i,
                           i);
        }
        buf_add_str(&f->bytes, "\r\nthe end\r\n");
        parse_bytes(f);
        assert_int_equal(f->summary.part_count, SUMMARY_DEPTH_MAX + 1);
        const struct summary_part *last = &f->summary.parts[SUMMARY_DEPTH_MAX];
        assert_int_equal(last->depth, SUMMARY_DEPTH_MAX);
        assert_int_equal(last->kind, SUMMARY_LEAF);
        expect_text(last->type, "application");
        assert_int_equal(last->header_offset + last->header_size + last->body_size, f->bytes.size);
    }
}

static void part_limit(void **state)
{
    struct fixture *f = *state;
    for (int extra = -1; extra <= 5; extra++) {
        /* The message itself is the first of them. */
        uint32_t children = (uint32_t)(SUMMARY_PARTS_MAX - 1 + extra);
        buf_clear(&f->bytes);
        buf_add_str(&f->bytes, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
        for (uint32_t i = 0; i < children; i++)
            buf_add_str(&f->bytes, "--b\r\n\r\nx\r\n");
        buf_add_str(&f->bytes, "--b--\r\n");
        parse_bytes(f);
        assert_int_equal(f->summary.part_count,
                         extra < 0 ? children + 1 : (uint32_t)SUMMARY_PARTS_MAX);
        const struct summary_part *last = &f->summary.parts[f->summary.part_count - 1];
        if (extra < 0) {
            expect_text(last->type, "text");
        } else {
            expect_text(last->type, "application");
            assert_int_equal(last->header_offset + last->header_size + last->body_size,
                             f->bytes.size);
        }
    }
    /* Messages in a digest come two by two. */
    buf_clear(&f->bytes);
    buf_add_str(&f->bytes, "Content-Type: multipart/digest; boundary=b\r\n\r\n");
    for (uint32_t i = 0; i < 6000; i++)
        buf_add_str(&f->bytes, "--b\r\n\r\n\r\n");
    parse_bytes(f);
    assert_in_range(f->summary.part_count, SUMMARY_PARTS_MAX - 1, SUMMARY_PARTS_MAX);
}

static void header_limits(void **state)
{
    struct fixture *f = *state;
    buf_clear(&f->bytes); /* one field of 10 MB */
    buf_add_str(&f->bytes, "X: ");
    memset(buf_extend(&f->bytes, 10 << 20), 'x', 10 << 20);
    buf_add_str(&f->bytes, "\r\nSubject: late\r\n\r\nbody");
    parse_bytes(f);
    expect_body(f, 0, "body");
    assert_null(f->summary.parts[0].envelope->subject.data);
    buf_clear(&f->bytes); /* very many */
    for (int i = 0; i < 200000; i++)
        buf_printf(&f->bytes, "To: a%d@b, c%d@d\r\n", i, i);
    buf_add_str(&f->bytes, "\r\nbody");
    parse_bytes(f);
    expect_body(f, 0, "body");
    assert_int_equal(f->summary.parts[0].envelope->to.count, 5000);
    buf_clear(&f->bytes); /* a text that is longer than texts are */
    buf_add_str(&f->bytes, "Subject: ");
    memset(buf_extend(&f->bytes, 100000), 'x', 100000);
    buf_add_str(&f->bytes, "\r\n\r\n");
    parse_bytes(f);
    assert_int_equal(f->summary.parts[0].envelope->subject.size, 32 * 1024);
}

/* Openings without end must not make it quadratic: these take a moment or for ever. */
static void no_quadratic_cost(void **state)
{
    struct fixture *f = *state;
    static const char *const pieces[] = {"(",    "<,",       "\"",     "<",     "\\\"",
                                         "a<",   "(\"<@:;,", "=?a?q?", "x*0=;", ";a*9=\"b\"",
                                         "<@a,", "[",        "\n --b"};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        static const char *const fields[] = {"To", "Content-Type", "References", "Date", "Subject"};
        buf_clear(&f->bytes);
        for (size_t k = 0; k < sizeof(fields) / sizeof(*fields); k++) {
            buf_printf(&f->bytes, "%s: a/b", fields[k]);
            for (int n = 0; n < 30000; n++)
                buf_add_str(&f->bytes, pieces[i]);
            buf_add_str(&f->bytes, "\r\n");
        }
        parse_bytes(f);
    }
}

static void previews(void **state)
{
    struct fixture *f = *state;
    parse(f, "Content-Type: text/html; charset=iso-8859-1\n"
             "Content-Transfer-Encoding: quoted-printable\n\n"
             "<html><head><title>no</title><style>p { x }</style></head><!-- no --><body>\n"
             "<p>Gr=FC=DFe <b>a</b>n&nbsp;alle &amp; &#x20AC;<br>1 &lt; 2</p></body></html>\n");
    expect_text(f->summary.preview, "Gr\xc3\xbc\xc3\x9f"
                                    "e an alle & \xe2\x82\xac 1 < 2");
    parse(f, "Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: base64\n\n"
             "8NLJ18XU\n");
    expect_text(f->summary.preview, "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82");
    parse(f, "Content-Type: text/plain; charset=nobody-knows\n\n\xe4 x\n");
    expect_text(f->summary.preview, "\xc3\xa4 x");
    buf_clear(&f->bytes);
    buf_add_str(&f->bytes, "\r\n");
    for (int i = 0; i < 5000; i++)
        buf_add_str(&f->bytes, "\xc3\xa4");
    parse_bytes(f);
    assert_int_equal(f->summary.preview.size, 400); /* 200 characters, RFC 8970 3.1 */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(rfc2046_simple),
        T(rfc2046_digest),
        T(rfc2049_complex),
        T(boundary_prefixes),
        T(boundary_only_at_line_start),
        T(boundary_missing),
        T(boundary_after_close),
        T(boundary_in_header),
        T(boundary_lengths),
        T(header_forms),
        T(header_defaults),
        T(references_rfc5256),
        T(every_truncation),
        T(every_mutation),
        T(bare_line_feeds),
        T(strange_bytes),
        T(depth_limit),
        T(part_limit),
        T(header_limits),
        T(no_quadratic_cost),
        T(previews),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
