/*
 * The head of a request over HTTP. Properties: the head ends where the first empty line does,
 * however the bytes come; what stands behind it changes no answer; only requests that hold the
 * words ask for something.
 */
#include <string.h>

#include "base/assert.h"
#include "control/http_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool holds(struct slice text, const char *word)
{
    return text.data != NULL && memmem(text.data, text.size, word, strlen(word)) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_make(data, size);
    bool body;
    size_t head = http_head_size(all);
    for (size_t came = 0; came < size && came < 600; came++)
        ASSERT(http_head_size(slice_sub(all, 0, came)) == (head != 0 && came >= head ? head : 0));
    ASSERT((head == 0) == (!holds(all, "\n\n") && !holds(all, "\n\r\n")));
    struct slice text = slice_sub(all, 0, head);
    enum http_asked asked = http_request_read(text, &body);
    if (asked == HTTP_METRICS || asked == HTTP_HEALTH) {
        ASSERT(holds(text, asked == HTTP_METRICS ? "/metrics" : "/healthz"));
        ASSERT(slice_starts(text, body ? SLICE_LITERAL("GET ") : SLICE_LITERAL("HEAD ")));
        ASSERT(holds(text, " HTTP/1."));
    }
    http_request_read(all, &body); /* a head without its end is no danger either */
    return 0;
}
