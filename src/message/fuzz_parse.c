/*
 * Fuzz target. Property: whatever the bytes, the summary that parse_message() makes of them keeps
 * every invariant (message/invariants.h), and decode(encode(summary)) succeeds and is equal. The
 * same bytes taken for a packed summary are refused, or sound. Texts are also decoded.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "message/decode.h"
#include "message/invariants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(const char *wrong)
{
    if (wrong != NULL) {
        fprintf(stderr, "%s\n", wrong);
        abort();
    }
}

static void decode_texts(struct slice bytes)
{
    struct buf out = {0};
    decode_header(bytes, &out);
    decode_parameter(SLICE_LITERAL("x*"), bytes, &out);
    if (!utf8_valid(buf_slice(&out)))
        abort();
    decode_base64(bytes, &out);
    decode_quoted_printable(bytes, &out);
    buf_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_make(data, size);
    struct arena arena = {0};
    struct summary summary;
    require(invariants_of_message(bytes));
    /* The size stands in the packed form as the first number; here any up to 127 is tried. */
    if (size > 10 && summary_decode(bytes, data[9], &arena, &summary))
        require(invariants_of_packing(&summary));
    arena_finish(&arena);
    decode_texts(bytes);
    return 0;
}
