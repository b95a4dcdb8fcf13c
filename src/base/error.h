/*
 * The text of a failure for an administrator: one line that says what to do. Functions that can
 * fail for many reasons take a struct error and return false or a listed outcome; the first
 * failure wins, callers may put words before it ("volume 2: ...").
 */
#pragma once
#include <stdbool.h>

struct error {
    char text[256];
};

/* Both return false, so that one can write: return error_set(error, "..."). error may be NULL. */
bool error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with ": strerror(errno)" behind. */
bool error_errno(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Puts "words: " before the text that is there. */
bool error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
