/*
 * What a request over HTTP asks for (RFC 9112). Strangers may reach this where the administrator
 * listens on more than loopback: it is pure, small, and fuzzed (fuzz_http.c).
 */
#include "control/http_request.h"

#include <string.h>

/* The lines and the empty one behind them; RFC 9112 2.2: a lone LF is taken as an end, too. */
size_t http_head_size(struct slice bytes)
{
    for (size_t i = 0; i + 1 < bytes.size; i++) {
        if (bytes.data[i] != '\n')
            continue;
        if (bytes.data[i + 1] == '\n')
            return i + 2;
        if (i + 2 < bytes.size && bytes.data[i + 1] == '\r' && bytes.data[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

static struct slice word(struct slice *line)
{
    const uint8_t *space = line->size == 0 ? NULL : memchr(line->data, ' ', line->size);
    size_t size = space == NULL ? line->size : (size_t)(space - line->data);
    struct slice found = slice_sub(*line, 0, size);
    *line = slice_sub(*line, size + 1, line->size);
    return found;
}

/* RFC 9112 3.2.2: "http://host/path" means "/path". */
static struct slice path_of(struct slice target)
{
    static const size_t scheme = sizeof("http://") - 1;
    if (slice_equal_nocase_str(slice_sub(target, 0, scheme), "http://")) {
        target = slice_sub(target, scheme, target.size);
        const uint8_t *slash = target.size == 0 ? NULL : memchr(target.data, '/', target.size);
        target = slash == NULL ? SLICE_LITERAL("/")
                               : slice_sub(target, (size_t)(slash - target.data), target.size);
    }
    const uint8_t *query = target.size == 0 ? NULL : memchr(target.data, '?', target.size);
    return query == NULL ? target : slice_sub(target, 0, (size_t)(query - target.data));
}

static bool names_host(struct slice fields)
{
    while (fields.size > 0) {
        if (slice_equal_nocase_str(slice_sub(fields, 0, 5), "Host:"))
            return true;
        const uint8_t *end = memchr(fields.data, '\n', fields.size);
        if (end == NULL)
            return false;
        fields = slice_sub(fields, (size_t)(end - fields.data) + 1, fields.size);
    }
    return false;
}

enum http_asked http_request_read(struct slice head, bool *body)
{
    const uint8_t *end = head.size == 0 ? NULL : memchr(head.data, '\n', head.size);
    *body = true;
    if (end == NULL || memchr(head.data, 0, head.size) != NULL)
        return HTTP_MALFORMED;
    size_t size = (size_t)(end - head.data);
    struct slice fields = slice_sub(head, size + 1, head.size);
    struct slice line = slice_sub(head, 0, size > 0 && end[-1] == '\r' ? size - 1 : size);
    struct slice method = word(&line), target = word(&line);
    if (method.size == 0 || target.size == 0)
        return HTTP_MALFORMED;
    if (!slice_equal_str(line, "HTTP/1.0") &&
        !(slice_equal_str(line, "HTTP/1.1") && names_host(fields))) /* RFC 9112 3.2 */
        return HTTP_MALFORMED;
    *body = !slice_equal_str(method, "HEAD");
    if (*body && !slice_equal_str(method, "GET"))
        return HTTP_OTHER_METHOD;
    struct slice path = path_of(target);
    return slice_equal_str(path, "/metrics")   ? HTTP_METRICS
           : slice_equal_str(path, "/healthz") ? HTTP_HEALTH
                                               : HTTP_ELSEWHERE;
}
