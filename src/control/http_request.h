/* The head of a request over HTTP/1.0 and 1.1 (RFC 9112): as much of it as control answers. */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

enum http_asked {
    HTTP_METRICS,
    HTTP_HEALTH,
    HTTP_ELSEWHERE,    /* another path: 404 */
    HTTP_OTHER_METHOD, /* neither GET nor HEAD: 405 */
    HTTP_MALFORMED,    /* 400 */
};

/* Bytes of the head, with the empty line that ends it; 0: more must come. */
size_t http_head_size(struct slice bytes);
/* head: whole. body: false where only the fields of the answer are wanted. */
enum http_asked http_request_read(struct slice head, bool *body);
