#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "base/utf8.h"

static const char *log_process = "restante";
static enum log_level log_level = LOG_LEVEL_INFO;
static enum log_target log_target = LOG_TARGET_STDERR;
static bool log_journal;

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
    [LOG_LEVEL_WARN] = {"warn", LOG_WARNING},
    [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

void log_init(const char *process, enum log_level level, enum log_target target)
{
    log_process = process;
    log_level = level;
    log_target = target;
    log_journal = getenv("JOURNAL_STREAM") != NULL;
    if (target == LOG_TARGET_SYSLOG)
        openlog("restante", LOG_NDELAY | LOG_PID, LOG_MAIL);
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    int keep = errno;
    char line[1024];
    size_t room = sizeof(line) - 1;
    if (level > log_level)
        return;
    int used = 0;
    if (log_target == LOG_TARGET_STDERR && log_journal)
        used = snprintf(line, room, "<%d>", levels[level].priority);
    used += snprintf(line + used, room - (size_t)used, "level=%s process=%s event=%s ",
                     levels[level].name, log_process, event);
    va_list args;
    va_start(args, format);
    int rest = vsnprintf(line + used, room - (size_t)used, format, args);
    va_end(args);
    size_t size = (size_t)used + (rest > 0 ? (size_t)rest : 0);
    if (size >= room)
        size = room - 1;
    if (line[size - 1] == ' ')
        size--;
    line[size] = '\0';
    if (log_target == LOG_TARGET_SYSLOG) {
        syslog(levels[level].priority, "%s", line);
    } else {
        line[size++] = '\n';
        /* A log that cannot be written has nowhere to be reported. */
        if (write(STDERR_FILENO, line, size) < 0) {
        }
    }
    errno = keep;
}

/* Characters beyond ASCII that a terminal obeys or a reader of lines takes for an end: C1 controls,
 * line and paragraph separators, and those that turn the direction of writing. */
static bool is_harmful(uint32_t c)
{
    return (c >= 0x80 && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

struct log_text log_value(struct slice s)
{
    struct log_text out;
    size_t used = 0;
    const size_t room = sizeof(out.text) - 6; /* "..." a quote and NUL */
    bool quote = s.size == 0 || slice_find(s, ' ') < s.size;
    if (quote)
        out.text[used++] = '"';
    for (size_t i = 0; i < s.size;) {
        uint32_t c = 0;
        size_t length = utf8_decode(slice_sub(s, i, s.size), &c);
        bool plain = (length > 1 && !is_harmful(c)) ||
                     (length == 1 && s.data[i] > 0x1f && s.data[i] != 0x7f && s.data[i] != '"' &&
                      s.data[i] != '\\');
        size_t need = plain ? length : 4;
        if (used + need > room) {
            memcpy(out.text + used, "...", 3);
            used += 3;
            break;
        }
        if (plain) {
            memcpy(out.text + used, s.data + i, length);
            used += length;
            i += length;
        } else {
            used += (size_t)snprintf(out.text + used, 5, "\\x%02x", s.data[i]);
            i++;
        }
    }
    if (quote)
        out.text[used++] = '"';
    out.text[used] = '\0';
    return out;
}
