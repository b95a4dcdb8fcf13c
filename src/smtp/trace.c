/*
 * Every text from outside has passed smtp/path.h before it comes here, so that none can hold CR, LF
 * or NUL; the lengths there (512 + 320 + 255) keep the whole below TRACE_MAX.
 */
#include "smtp/trace.h"

#include <time.h>

#include "base/assert.h"

static void write_date(uint64_t now_us, struct buf *out)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm tm;
    ASSERT(gmtime_r(&seconds, &tm) != NULL);
    buf_printf(out, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday,
               months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* RFC 5321 4.1.3: IPv6 literals carry their tag. */
static void write_client(struct slice client, struct buf *out)
{
    if (slice_equal_str(client, "unix")) {
        buf_add_str(out, "(unix)");
    } else if (slice_find(client, ':') < client.size) {
        buf_printf(out, "([IPv6:%.*s])", SLICE_PRINT(client));
    } else {
        buf_printf(out, "([%.*s])", SLICE_PRINT(client));
    }
}

void trace_write(const struct trace *trace, struct buf *out)
{
    size_t before = out->size;
    buf_printf(out, "Return-Path: <%.*s>\r\nDelivered-To: %.*s\r\nReceived: from %.*s ",
               SLICE_PRINT(trace->from), SLICE_PRINT(trace->to), SLICE_PRINT(trace->helo));
    write_client(trace->client, out);
    /* RFC 3848 and RFC 6531 3.7.3 name the protocols. */
    buf_printf(out, "\r\n\tby %.*s with %sLMTP%s id %.*s;\r\n\t", SLICE_PRINT(trace->hostname),
               trace->utf8 ? "UTF8" : "", trace->tls ? "S" : "", SLICE_PRINT(trace->id));
    write_date(trace->now_us, out);
    buf_add_str(out, "\r\n");
    ASSERT(out->size - before <= TRACE_MAX);
}
