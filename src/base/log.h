/*
 * The log: one line per event, key=value, stable names:
 *   event=auth_fail account=alice rip=192.0.2.7 reason=secret
 * It goes to standard error with a journald priority ("<6>") when JOURNAL_STREAM is set, to syslog
 * or to a file. Values from outside must pass log_value(), which quotes and escapes them. The line
 * is written with one write(2) and is cut at 1,024 bytes.
 */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum log_target { LOG_TARGET_STDERR, LOG_TARGET_SYSLOG };

/* process: stands in every line ("worker0"); kept by reference. Lines above level are dropped. */
void log_init(const char *process, enum log_level level, enum log_target target);

#define log_error(event, ...) log_event(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_event(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_event(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_event(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

/* Thread-safe. Keeps errno. format: "key=%s key=%d"; "" for none is written as "%s", "". */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct log_text {
    char text[160];
};
/* A stranger's bytes as one safe value: printable ASCII and UTF-8 stay, the rest is \xNN; quoted
 * where it holds a space; cut with "..." where it is long. Use: log_value(s).text */
struct log_text log_value(struct slice s);
