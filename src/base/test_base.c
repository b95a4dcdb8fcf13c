/* The base library: what everything stands on. CRC vectors of RFC 3720 B.4, UTF-8 of RFC 3629. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>

#define S(text) SLICE_LITERAL(text)

static void slices(void **state)
{
    (void)state;
    struct slice s = S("hello");
    assert_true(slice_equal_str(slice_sub(s, 1, 3), "ell"));
    assert_true(slice_equal_str(slice_sub(s, 3, 100), "lo"));
    assert_int_equal(slice_sub(s, 5, 1).size, 0);
    assert_int_equal(slice_sub(s, SIZE_MAX, SIZE_MAX).size, 0);
    assert_int_equal(slice_sub(SLICE_NONE, 1, 1).size, 0);
    assert_true(slice_equal(SLICE_NONE, S("")));
    assert_false(slice_equal(S("a"), S("b")));
    assert_false(slice_equal(S("a"), S("ab")));
    assert_true(slice_compare(S("a"), S("b")) < 0);
    assert_true(slice_compare(S("ab"), S("a")) > 0);
    assert_true(slice_compare(S("\xff"), S("a")) > 0); /* bytes are unsigned */
    assert_int_equal(slice_compare(S(""), SLICE_NONE), 0);
    assert_true(slice_equal_nocase(S("AbC-1"), S("aBc-1")));
    assert_false(slice_equal_nocase(S("@"), S("`"))); /* letters only */
    assert_false(slice_equal_nocase(S("\xc4"), S("\xe4")));
    assert_true(slice_starts(s, S("he")) && slice_starts(s, S("")) && !slice_starts(S("h"), s));
    assert_int_equal(slice_find(s, 'l'), 2);
    assert_int_equal(slice_find(s, 'x'), 5);
    assert_int_equal(slice_find(SLICE_NONE, 'x'), 0);
    struct slice rest = S("a,,b");
    assert_true(slice_equal_str(slice_split(&rest, ','), "a"));
    assert_true(slice_equal_str(slice_split(&rest, ','), ""));
    assert_true(slice_equal_str(slice_split(&rest, ','), "b"));
    assert_int_equal(rest.size, 0);
    assert_int_equal(slice_split(&rest, ',').size, 0);
    assert_true(slice_equal_str(slice_trim(S(" \ta b\t ")), "a b"));
    assert_int_equal(slice_trim(S("  ")).size, 0);
    char *copy = slice_strdup(s);
    assert_string_equal(copy, "hello");
    free(copy);
}

static void numbers(void **state)
{
    (void)state;
    uint64_t wide = 7;
    uint32_t narrow = 7;
    assert_true(slice_u64(S("18446744073709551615"), &wide) && wide == UINT64_MAX);
    assert_true(slice_u64(S("0"), &wide) && wide == 0);
    assert_true(slice_u64(S("007"), &wide) && wide == 7);
    assert_true(slice_u32(S("4294967295"), &narrow) && narrow == UINT32_MAX);
    assert_false(slice_u32(S("4294967296"), &narrow));
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "1x", "0x1", "18446744073709551616", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(slice_u64(slice_str(bad[i]), &wide));
    uint8_t at[9];
    bytes_put_le32(at + 1, 0x01020304);
    assert_memory_equal(at + 1, "\x04\x03\x02\x01", 4);
    assert_int_equal(bytes_get_be32(at + 1), 0x04030201);
    bytes_put_be64(at + 1, 0x0102030405060708);
    assert_int_equal(at[1], 1);
    assert_true(bytes_get_le64(at + 1) == 0x0807060504030201);
}

static void arenas(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(arena.used, 0);
    uint8_t *before = NULL;
    for (size_t size = 0; size < 9000; size += 37) {
        uint8_t *at = arena_alloc(&arena, size);
        assert_non_null(at);
        assert_int_equal((uintptr_t)at % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(at[i], 0);
        memset(at, 0xff, size);
        if (before != NULL)
            assert_int_equal(*before, 0xff); /* nobody wrote over it */
        before = size > 0 ? at : NULL;
    }
    assert_true(arena.used >= 9000);
    assert_string_equal(arena_printf(&arena, "%d %s", 7, "x"), "7 x");
    assert_string_equal(arena_strdup(&arena, S("abc")), "abc");
    assert_string_equal(arena_strdup(&arena, SLICE_NONE), "");
    assert_true(slice_equal_str(arena_copy(&arena, S("abc")), "abc"));
    assert_non_null(arena_copy(&arena, SLICE_NONE).data);
    arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    uint8_t *again = arena_alloc(&arena, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(again[i], 0); /* memory used before is cleared too */
    arena_reset(&arena);
    arena_finish(&arena);
    arena_finish(&arena);
}

static void buffers(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_u8(&buf, 1);
    buf_u16(&buf, 0x0203);
    buf_u32(&buf, 0x04050607);
    buf_u64(&buf, 0x08090a0b0c0d0e0f);
    buf_packed(&buf, S("abc"));
    buf_packed(&buf, SLICE_NONE);
    buf_add_str(&buf, "tail");
    static const uint8_t expected[] = {1,    3,    2,    7, 6, 5, 4,   0x0f, 0x0e, 0x0d,
                                       0x0c, 0x0b, 0x0a, 9, 8, 3, 0,   0,    0,    'a',
                                       'b',  'c',  0,    0, 0, 0, 't', 'a',  'i',  'l'};
    assert_int_equal(buf.size, sizeof(expected));
    assert_memory_equal(buf.data, expected, sizeof(expected));
    struct cursor cursor = cursor_make(buf_slice(&buf));
    assert_int_equal(cursor_u8(&cursor), 1);
    assert_int_equal(cursor_u16(&cursor), 0x0203);
    assert_int_equal(cursor_u32(&cursor), 0x04050607);
    assert_true(cursor_u64(&cursor) == 0x08090a0b0c0d0e0f);
    assert_true(slice_equal_str(cursor_packed(&cursor), "abc"));
    assert_int_equal(cursor_packed(&cursor).size, 0);
    assert_false(cursor_done(&cursor));
    assert_true(slice_equal_str(cursor_bytes(&cursor, 4), "tail"));
    assert_true(cursor_done(&cursor));
    buf_clear(&buf);
    for (int i = 0; i < 10000; i++)
        buf_printf(&buf, "%d,", i % 10);
    assert_int_equal(buf.size, 20000);
    assert_memory_equal(buf.data + 19996, "8,9,", 4);
    buf_finish(&buf);
    assert_null(buf.data);
}

/* The first read past the end fails for good and yields nothing, at every cut. */
static void cursors_end(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_u32(&buf, 5);
    buf_add_str(&buf, "12345");
    buf_u64(&buf, 1);
    for (size_t cut = 0; cut < buf.size; cut++) {
        struct cursor cursor = cursor_make(slice_sub(buf_slice(&buf), 0, cut));
        struct slice text = cursor_packed(&cursor);
        uint64_t number = cursor_u64(&cursor);
        assert_true(cursor.failed && !cursor_done(&cursor));
        assert_int_equal(number, 0);
        assert_int_equal(text.size, cut < 9 ? 0 : 5);
        assert_int_equal(cursor_u8(&cursor), 0);
        assert_int_equal(cursor_bytes(&cursor, 0).size, 0);
    }
    struct cursor huge = cursor_make(S("\xff\xff\xff\xff"
                                       "abc"));
    assert_int_equal(cursor_packed(&huge).size, 0);
    assert_true(huge.failed);
    buf_finish(&buf);
}

/* RFC 3720 B.4; the CRCs there are printed as the bytes on the wire. */
static void crc32c_rfc3720(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(crc32c(0, bytes, 32), 0x113fdb5c);
    static const uint8_t scsi_read[48] = {0x01, 0xc0, 0, 0,    0,    0, 0, 0,    0,    0, 0,    0,
                                          0,    0,    0, 0,    0x14, 0, 0, 0,    0,    0, 0x04, 0,
                                          0,    0,    0, 0x14, 0,    0, 0, 0x18, 0x28, 0, 0,    0,
                                          0,    0,    0, 0,    0x02, 0, 0, 0,    0,    0, 0,    0};
    assert_int_equal(crc32c(0, scsi_read, 48), 0xd9963a56);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, NULL, 0), 0);
    /* Long ones, which go by other ways, against the definition. */
    uint8_t random[2000];
    uint32_t slow = UINT32_MAX, next = 1;
    for (size_t size = 0; size < sizeof(random); size++) {
        for (size_t from = 0; from < 16; from++)
            assert_int_equal(crc32c(crc32c(0, random, from < size ? from : size),
                                    random + (from < size ? from : size),
                                    size - (from < size ? from : size)),
                             ~slow);
        next = next * 1103515245 + 12345;
        random[size] = (uint8_t)(next >> 16);
        slow ^= random[size];
        for (int bit = 0; bit < 8; bit++)
            slow = slow >> 1 ^ (slow & 1 ? 0x82f63b78 : 0);
    }
    for (size_t cut = 0; cut <= 48; cut++) /* and at every alignment */
        assert_int_equal(crc32c(crc32c(0, scsi_read, cut), scsi_read + cut, 48 - cut), 0xd9963a56);
}

static void utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "a\xc3\xa4z"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf", /* overlong */
                                      "\xe0\x9f\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf", /* surrogates */
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80", /* beyond */
                                      "\xff",
                                      "\xfe",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xc3(",
                                      "\xe2\x82(",
                                      "a\xc3"};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(utf8_valid(slice_str(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(utf8_valid(slice_str(bad[i])));
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        uint8_t bytes[4];
        uint32_t back;
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        size_t size = utf8_encode(c, bytes);
        assert_int_equal(size, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        if (utf8_decode(slice_make(bytes, size), &back) != size || back != c)
            fail_msg("U+%04X", c);
        if (utf8_length(slice_make(bytes, size - 1)) != 0 && size > 1)
            fail_msg("U+%04X cut", c);
    }
    assert_int_equal(utf8_length(SLICE_NONE), 0);
}

static void log_values(void **state)
{
    (void)state;
    assert_string_equal(log_value(S("alice")).text, "alice");
    assert_string_equal(log_value(S("")).text, "\"\"");
    assert_string_equal(log_value(S("a b")).text, "\"a b\"");
    /* Nobody can write a line of the log, or end a value. */
    assert_string_equal(log_value(S("a\nevent=x")).text, "a\\x0aevent=x");
    assert_string_equal(log_value(S("a\" b=c")).text, "\"a\\x22 b=c\"");
    assert_string_equal(log_value(S("\\")).text, "\\x5c");
    assert_string_equal(log_value(S("\0\r\x1b\x7f")).text, "\\x00\\x0d\\x1b\\x7f");
    assert_string_equal(log_value(S("\xc3\xa4\xff")).text, "\xc3\xa4\\xff");
    /* C1 controls and separators that a terminal or a reader of lines obeys. */
    assert_null(strstr(log_value(S("a\xc2\x9b"
                                   "2J"))
                           .text,
                       "\xc2\x9b"));
    assert_null(strstr(log_value(S("a\xe2\x80\xa8"
                                   "b"))
                           .text,
                       "\xe2\x80\xa8"));
    for (int spaced = 0; spaced < 2; spaced++)
        for (size_t size = 0; size < 1000; size++) {
            uint8_t bytes[1000];
            memset(bytes, size % 3 == 0 ? 0xff : 'x', sizeof(bytes));
            bytes[0] = spaced ? ' ' : 'x';
            struct log_text text = log_value(slice_make(bytes, size));
            assert_true(strnlen(text.text, sizeof(text.text)) < sizeof(text.text));
            if (size > 200)
                assert_non_null(strstr(text.text, "..."));
        }
}

static void ids(void **state)
{
    (void)state;
    struct id id, other;
    assert_true(id_parse(S("000102030405060708090a0b0c0d0eFF"), &id));
    assert_int_equal(id.bytes[15], 0xff);
    assert_string_equal(id_text(id).text, "000102030405060708090a0b0c0d0eff");
    assert_false(id_parse(S("000102030405060708090a0b0c0d0ef"), &other));
    assert_false(id_parse(S("000102030405060708090a0b0c0d0e0g"), &other));
    assert_false(id_parse(S("000102030405060708090a0b0c0d0e0f0"), &other));
    assert_false(id_parse(S(""), &other));
    assert_true(id_is_zero((struct id){{0}}) && !id_is_zero(id));
    other = id;
    assert_true(id_equal(id, other));
    other.bytes[0] = 1;
    assert_true(id_compare(id, other) < 0 && id_compare(other, id) > 0);
    assert_false(id_equal(id_random(), id_random()));
}

static void errors(void **state)
{
    (void)state;
    struct error error;
    assert_false(error_set(&error, "line %d", 7));
    assert_string_equal(error.text, "line 7");
    assert_false(error_prefix(&error, "file %s", "x"));
    assert_string_equal(error.text, "file x: line 7");
    errno = ENOENT;
    assert_false(error_errno(&error, "open"));
    assert_string_equal(error.text, "open: No such file or directory");
    char many[1000];
    memset(many, 'x', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
    error_set(&error, "%s", many);
    error_prefix(&error, "%s", many);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    assert_false(error_set(NULL, "x") || error_errno(NULL, "x") || error_prefix(NULL, "x"));
}

static void clocks(void **state)
{
    (void)state;
    uint64_t before = clock_monotonic_us();
    assert_true(clock_monotonic_us() >= before);
    assert_true(clock_real_us() > 1600000000000000);
    clock_set_fake(5000000);
    assert_int_equal(clock_real_us(), 5000000);
    assert_int_equal(clock_monotonic_us(), 5000000);
    assert_int_equal(clock_real_s(), 5);
    clock_set_fake(0);
    assert_true(clock_real_us() > 1600000000000000);
}

static void memory(void **state)
{
    (void)state;
    uint8_t *zero = mem_zalloc(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zero[i], 0);
    memset(zero, 1, 100);
    mem_wipe(zero, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zero[i], 0);
    free(zero);
    assert_null(mem_strdup(NULL));
    char *text = mem_strdup("abc");
    assert_string_equal(text, "abc");
    free(text);
    void *copy = mem_dup("abc", 3);
    assert_memory_equal(copy, "abc", 3);
    free(copy);
    free(mem_grow(NULL, 3, 8));
#ifndef RESTANTE_SANITIZED              /* where too much ends the process */
    assert_null(mem_try(SIZE_MAX / 2)); /* a stranger's size is an answer, not the end */
#endif
}

/* Pages of this process in memory. */
static size_t resident(void)
{
    size_t whole = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &whole, &pages), 2);
    fclose(file);
    return pages;
}

/* A burst, of which something small is left here and there: free() alone gives nothing back. */
static void trim(void **state)
{
#ifdef RESTANTE_SANITIZED
    skip(); /* another malloc */
#endif
    enum { COUNT = 8000, EACH = 2000, KEPT = 100 };
    static void *burst[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        burst[i] = memset(mem_alloc(EACH), 1, EACH);
    size_t full = resident();
    for (size_t i = 0; i < COUNT; i++)
        if (i % KEPT != KEPT - 1)
            free(burst[i]);
    mem_trim();
    assert_true(full - resident() > COUNT * (size_t)EACH / 4096 * 3 / 4);
    for (size_t i = KEPT - 1; i < COUNT; i += KEPT) {
        assert_int_equal(((uint8_t *)burst[i])[EACH - 1], 1);
        free(burst[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices),  cmocka_unit_test(numbers),     cmocka_unit_test(arenas),
        cmocka_unit_test(buffers), cmocka_unit_test(cursors_end), cmocka_unit_test(crc32c_rfc3720),
        cmocka_unit_test(utf8),    cmocka_unit_test(log_values),  cmocka_unit_test(ids),
        cmocka_unit_test(errors),  cmocka_unit_test(clocks),      cmocka_unit_test(memory),
        cmocka_unit_test(trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
