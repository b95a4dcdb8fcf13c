#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/crlf.h"

/* A constant initializer, which a compound literal is not. */
#define TEXT(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct {
    struct slice in, out;
} cases[] = {
    {TEXT(""), TEXT("")},
    {TEXT("a\nb"), TEXT("a\r\nb")},
    {TEXT("\n\n"), TEXT("\r\n\r\n")},
    {TEXT("a\r\nb\r\n"), TEXT("a\r\nb\r\n")},
    {TEXT("a\rb"), TEXT("a\rb")},
    {TEXT("a\r"), TEXT("a\r")},
    {TEXT("\r\r\n\n\r"), TEXT("\r\r\n\r\n\r")},
    {TEXT("\0\n\xff\n\r\0\n"), TEXT("\0\r\n\xff\r\n\r\0\r\n")},
};

/* Every input in every three parts. */
static void every_split(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct slice in = cases[i].in;
        for (size_t a = 0; a <= in.size; a++) {
            for (size_t b = a; b <= in.size; b++) {
                struct crlf crlf = {0};
                struct buf out = {0};
                crlf_add(&crlf, slice_sub(in, 0, a), &out);
                crlf_add(&crlf, slice_sub(in, a, b - a), &out);
                crlf_add(&crlf, slice_sub(in, b, in.size), &out);
                assert_true(slice_equal(buf_slice(&out), cases[i].out));
                buf_finish(&out);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_split)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
