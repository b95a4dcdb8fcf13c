/* The words of enum mailbox_result for clients; the table itself is in mailbox.h. */
#include "base/assert.h"
#include "mailbox/mailbox.h"

static const struct {
    const char *code, *text;
} results[] = {
#define X(name, code, text) {code, text},
    MAILBOX_RESULTS(X)
#undef X
};

const char *mailbox_result_code(enum mailbox_result result)
{
    ASSERT((size_t)result < sizeof(results) / sizeof(*results));
    return results[result].code;
}

const char *mailbox_result_text(enum mailbox_result result)
{
    ASSERT((size_t)result < sizeof(results) / sizeof(*results));
    return results[result].text;
}
