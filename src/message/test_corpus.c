/*
 * Real and odd messages (the corpus of RESTANTE_CORPUS; skipped where it is missing): parsing never
 * fails, every invariant holds, also for messages cut short; and the trees are those that two other
 * parsers found, but for the messages named in `deviations` (the reasons are in doc/real-mail.md).
 * The archives are read through zstd, nothing is unpacked to the disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "message/invariants.h"
#include "message/parse.h"

struct file {
    char name[256];
    struct slice bytes;
};

static struct file *files;
static size_t file_count;

/* ---- reading the archives ------------------------------------------------------------------ */

enum { TAR_BLOCK = 512 };

static bool read_file(FILE *tar, char header[TAR_BLOCK])
{
    size_t size = strtoul(header + 124, NULL, 8);
    uint8_t *bytes = mem_alloc(size + TAR_BLOCK);
    size_t padded = (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    if (fread(bytes, 1, padded, tar) != padded)
        return false;
    if (header[156] != '0' && header[156] != '\0') {
        free(bytes);
        return true;
    }
    files = mem_grow(files, file_count + 1, sizeof(*files));
    struct file *file = &files[file_count++];
    memset(file->name, 0, sizeof(file->name));
    size_t folder = strnlen(header + 345, 154);
    memcpy(file->name, header + 345, folder);
    if (folder > 0)
        file->name[folder++] = '/';
    memcpy(file->name + folder, header, strnlen(header, 99));
    file->bytes = slice_make(bytes, size);
    return true;
}

static bool read_archive(const char *corpus, const char *part)
{
    char command[4096], header[TAR_BLOCK];
    snprintf(command, sizeof(command), "zstd -dcq '%s/%s/%s.tar.zst' 2>/dev/null", corpus, part,
             part);
    FILE *tar = popen(command, "r");
    bool good = tar != NULL;
    while (good && fread(header, 1, TAR_BLOCK, tar) == TAR_BLOCK && header[0] != '\0')
        good = read_file(tar, header);
    while (tar != NULL && fread(header, 1, TAR_BLOCK, tar) == TAR_BLOCK)
        ;
    return tar != NULL && pclose(tar) == 0 && good;
}

static int setup(void **state)
{
    (void)state;
    const char *corpus = getenv("RESTANTE_CORPUS");
    if (corpus != NULL && !(read_archive(corpus, "real") && read_archive(corpus, "odd")))
        file_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++)
        free((void *)(uintptr_t)files[i].bytes.data);
    free(files);
    return 0;
}

static void need_corpus(void)
{
    if (file_count == 0) {
        print_message("no corpus (RESTANTE_CORPUS), or no zstd\n");
        skip();
    }
}

/* All line ends as CRLF or as LF. */
static void with_line_ends(struct slice bytes, bool crlf, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] == '\r' && i + 1 < bytes.size && bytes.data[i + 1] == '\n')
            continue;
        if (bytes.data[i] == '\n' && crlf)
            buf_u8(out, '\r');
        buf_u8(out, bytes.data[i]);
    }
}

/* ---- robustness ---------------------------------------------------------------------------- */

static void check(const char *name, size_t cut, struct slice bytes)
{
    const char *wrong = invariants_of_message(bytes);
    if (wrong != NULL)
        fail_msg("%s, cut at %zu: %s", name, cut, wrong);
}

static void all_are_parsed(void **state)
{
    (void)state;
    need_corpus();
    assert_true(file_count > 6000);
    struct buf wire = {0};
    for (size_t i = 0; i < file_count; i++) {
        check(files[i].name, 0, files[i].bytes);
        with_line_ends(files[i].bytes, true, &wire);
        check(files[i].name, 0, buf_slice(&wire));
    }
    buf_finish(&wire);
}

static void all_are_parsed_when_cut(void **state)
{
    (void)state;
    need_corpus();
    for (size_t i = 0; i < file_count; i += 7) {
        size_t size = files[i].bytes.size > 60000 ? 60000 : files[i].bytes.size;
        for (size_t part = 1; part < 24; part++)
            check(files[i].name, size * part / 24, slice_sub(files[i].bytes, 0, size * part / 24));
    }
}

/* CRLF or LF: the same parts, texts and line counts (offsets differ). */
static void line_ends_do_not_matter(void **state)
{
    (void)state;
    need_corpus();
    struct arena arena = {0};
    struct buf wire = {0};
    for (size_t i = 0; i < file_count; i++) {
        struct summary a, b;
        if (slice_find(files[i].bytes, '\r') < files[i].bytes.size)
            continue;
        with_line_ends(files[i].bytes, true, &wire);
        parse_message(files[i].bytes, &arena, &a);
        parse_message(buf_slice(&wire), &arena, &b);
        bool same = a.part_count == b.part_count && a.date_s == b.date_s &&
                    a.reference_count == b.reference_count;
        for (uint32_t p = 0; same && p < a.part_count; p++)
            same = a.parts[p].depth == b.parts[p].depth && a.parts[p].kind == b.parts[p].kind &&
                   a.parts[p].body_lines == b.parts[p].body_lines &&
                   slice_equal(a.parts[p].subtype, b.parts[p].subtype) &&
                   a.parts[p].parameter_count == b.parts[p].parameter_count;
        same = same && slice_equal(a.parts[0].envelope->subject, b.parts[0].envelope->subject) &&
               a.parts[0].envelope->to.count == b.parts[0].envelope->to.count;
        if (!same)
            fail_msg("%s", files[i].name);
        arena_reset(&arena);
    }
    buf_finish(&wire);
    arena_finish(&arena);
}

/* ---- what others found --------------------------------------------------------------------- */

/* Where we differ on purpose: doc/real-mail.md has the reasons. */
static const char *const deviations[] = {
    "malformed/000",
    "malformed/001",
    "malformed/004",
    "malformed/007",
    "malformed/008",
    "malformed/009",
    "malformed/012",
    "malformed/013",
    "malformed/020",
    "malformed/021",
    "malformed/022",
    "rfc/008",
    "thirdparty/005",
    "legacy/049.json",
    "badbound",
    "multi-2gifs-base64",
    "base64encoded-rfc822message-nested",
    "missing-inner-start-boundary",
    "multipartnopart",
    "very-long-boundary",
    "very-very-long-boundary",
};

static bool deviates(const char *name)
{
    for (size_t i = 0; i < sizeof(deviations) / sizeof(*deviations); i++)
        if (strstr(name, deviations[i]) != NULL)
            return true;
    return false;
}

static const struct file *find_file(const char *name)
{
    for (size_t i = 0; i < file_count; i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}

/* The message beside a file of results: its name with another ending. */
static const struct file *message_of(const char *name, const char *ending, const char *its_ending)
{
    size_t size = strlen(name);
    size_t cut = strlen(ending);
    char other[300];
    if (size < cut || strcmp(name + size - cut, ending) != 0)
        return NULL;
    snprintf(other, sizeof(other), "%.*s%s", (int)(size - cut), name, its_ending);
    return find_file(other);
}

static uint64_t offset_of(const json_t *part, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(part, name));
}

/* mail-parser lists a message's parts in the order of their headers; those of a message inside
 * stand in that part's body. Each must be one of ours, in order. */
static bool same_parts(const json_t *message, const struct summary *summary, uint32_t *next)
{
    size_t index;
    json_t *part;
    json_array_foreach (json_object_get(message, "parts"), index, part) {
        if (*next == summary->part_count)
            return false;
        const struct summary_part *ours = &summary->parts[(*next)++];
        uint64_t body = ours->header_offset + ours->header_size;
        if (ours->header_offset != offset_of(part, "offset_header") ||
            body != offset_of(part, "offset_body") ||
            body + ours->body_size != offset_of(part, "offset_end"))
            return false;
        json_t *inner = json_object_get(json_object_get(part, "body"), "Message");
        if (inner != NULL && !same_parts(inner, summary, next))
            return false;
    }
    return true;
}

static void same_as_mail_parser(void **state)
{
    (void)state;
    need_corpus();
    size_t compared = 0;
    struct buf bytes = {0};
    for (size_t i = 0; i < file_count; i++) {
        const char *name = files[i].name;
        if (strstr(name, "mail-parser-rs/") == NULL || deviates(name))
            continue;
        const struct file *wire = message_of(name, ".crlf.json", ".eml");
        const struct file *message = wire != NULL ? wire : message_of(name, ".json", ".eml");
        if (message == NULL)
            continue;
        with_line_ends(message->bytes, wire != NULL, &bytes);
        json_t *expected = json_loadb((const char *)files[i].bytes.data, files[i].bytes.size,
                                      JSON_ALLOW_NUL, NULL);
        assert_non_null(expected);
        struct arena arena = {0};
        struct summary summary;
        uint32_t next = 0;
        parse_message(buf_slice(&bytes), &arena, &summary);
        if (!same_parts(expected, &summary, &next) || next != summary.part_count)
            fail_msg("%s", name);
        arena_finish(&arena);
        json_decref(expected);
        compared++;
    }
    buf_finish(&bytes);
    assert_true(compared > 140);
}

/* The opening tags of an event list as letters: a message, a multipart, a leaf. */
static void letters_of_xml(struct slice xml, struct buf *out)
{
    static const struct {
        const char *tag;
        uint8_t letter;
    } tags[] = {{"<message>", 'M'}, {"<multipart>", 'P'}, {"<body>", 'L'}};
    for (size_t i = 0; i < xml.size; i++)
        for (size_t k = 0; k < 3; k++)
            if (slice_starts(slice_sub(xml, i, 12), slice_str(tags[k].tag)))
                buf_u8(out, tags[k].letter);
}

static void same_as_mime4j(void **state)
{
    (void)state;
    need_corpus();
    static const char letters[] = {
        [SUMMARY_LEAF] = 'L', [SUMMARY_MULTIPART] = 'P', [SUMMARY_MESSAGE] = 'M'};
    size_t compared = 0;
    for (size_t i = 0; i < file_count; i++) {
        const struct file *message = message_of(files[i].name, ".xml", ".msg");
        if (message == NULL || strstr(files[i].name, "mime4j/") == NULL || deviates(files[i].name))
            continue;
        struct arena arena = {0};
        struct summary summary;
        struct buf theirs = {0}, ours = {0};
        letters_of_xml(files[i].bytes, &theirs);
        parse_message(message->bytes, &arena, &summary);
        buf_u8(&ours, 'M');
        for (uint32_t p = 0; p < summary.part_count; p++)
            buf_u8(&ours, (uint8_t)letters[summary.parts[p].kind]);
        if (!slice_equal(buf_slice(&ours), buf_slice(&theirs)))
            fail_msg("%s: %.*s is not %.*s", files[i].name, SLICE_PRINT(buf_slice(&ours)),
                     SLICE_PRINT(buf_slice(&theirs)));
        buf_finish(&theirs);
        buf_finish(&ours);
        arena_finish(&arena);
        compared++;
    }
    assert_true(compared > 45);
}

/* ---- imaptest: ENVELOPE as another server says it ------------------------------------------- */

static void put_nstring(struct slice text, struct buf *out)
{
    if (text.data == NULL)
        buf_add_str(out, "NIL");
    else
        buf_printf(out, "\"%.*s\"", SLICE_PRINT(text));
}

static void put_addresses(const struct summary_addresses *list,
                          const struct summary_addresses *otherwise, struct buf *out)
{
    if (list->count == 0)
        list = otherwise;
    buf_add_str(out, list->count == 0 ? " NIL" : " (");
    for (uint32_t i = 0; i < list->count; i++) {
        buf_add_str(out, "(");
        put_nstring(list->list[i].name, out);
        buf_add_str(out, " ");
        put_nstring(list->list[i].route, out);
        buf_add_str(out, " ");
        put_nstring(list->list[i].mailbox, out);
        buf_add_str(out, " ");
        put_nstring(list->list[i].host, out);
        buf_add_str(out, ")");
    }
    if (list->count > 0)
        buf_add_str(out, ")");
}

/* RFC 3501 7.4.2 */
static void put_envelope(const struct summary_envelope *e, struct buf *out)
{
    buf_add_str(out, "(ENVELOPE (");
    put_nstring(e->date, out);
    buf_add_str(out, " ");
    put_nstring(e->subject, out);
    put_addresses(&e->from, &e->from, out);
    put_addresses(&e->sender, &e->from, out);
    put_addresses(&e->reply_to, &e->from, out);
    put_addresses(&e->to, &e->to, out);
    put_addresses(&e->cc, &e->cc, out);
    put_addresses(&e->bcc, &e->bcc, out);
    buf_add_str(out, " ");
    put_nstring(e->in_reply_to, out);
    buf_add_str(out, " ");
    put_nstring(e->message_id, out);
    buf_add_str(out, "))");
}

static void same_envelopes_as_imaptest(void **state)
{
    (void)state;
    need_corpus();
    const struct file *mbox = find_file("odd/imaptest/fetch-envelope.mbox");
    const struct file *expect = find_file("odd/imaptest/fetch-envelope.mbox.expect");
    if (mbox == NULL) {
        mbox = find_file("imaptest/fetch-envelope.mbox");
        expect = find_file("imaptest/fetch-envelope.mbox.expect");
    }
    assert_true(mbox != NULL && expect != NULL);
    struct slice rest = mbox->bytes;
    for (int number = 1; rest.size > 0; number++) {
        const uint8_t *end = memmem(rest.data + 1, rest.size - 1, "\nFrom user@domain", 17);
        size_t size = end == NULL ? rest.size : (size_t)(end + 1 - rest.data);
        struct arena arena = {0};
        struct summary summary;
        struct buf out = {0};
        parse_message(slice_sub(rest, 0, size), &arena, &summary);
        buf_printf(&out, "* %d FETCH ", number);
        put_envelope(summary.parts[0].envelope, &out);
        if (memmem(expect->bytes.data, expect->bytes.size, out.data, out.size) == NULL)
            fail_msg("not expected: %.*s", SLICE_PRINT(buf_slice(&out)));
        buf_finish(&out);
        arena_finish(&arena);
        rest = slice_sub(rest, size, rest.size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_parsed),          cmocka_unit_test(all_are_parsed_when_cut),
        cmocka_unit_test(line_ends_do_not_matter), cmocka_unit_test(same_as_mail_parser),
        cmocka_unit_test(same_as_mime4j),          cmocka_unit_test(same_envelopes_as_imaptest),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
