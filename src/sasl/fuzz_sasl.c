/*
 * Property: whatever a client without the secret sends, no exchange ends PROVEN, none gives more
 * than the limits allow, and every exchange ends. The input: mechanism, exporter or not, initial
 * response or not, then messages split at 0xFE.
 */
#include <stdlib.h>

#include "sasl/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sasl_scram_keys keys = {.iterations = 4096, .salt_size = 16};
    static const uint8_t exporter[SASL_KEY_SIZE] = {1, 2, 3};
    if (size == 0)
        return 0;
    const struct sasl_mechanism *mechanism = sasl_mechanism_at(data[0] & 3);
    struct slice rest = slice_make(data + 1, size - 1);
    struct slice first = SLICE_NONE;
    if (data[0] & 8)
        first = slice_split(&rest, 0xfe);
    enum sasl_step step;
    struct sasl_exchange *exchange = sasl_start(
        mechanism, data[0] & 4 ? slice_make(exporter, sizeof(exporter)) : SLICE_NONE, first, &step);
    while (step == SASL_CHALLENGE || step == SASL_KEYS) {
        if (sasl_name(exchange).size > SASL_NAME_MAX)
            abort();
        if (step == SASL_KEYS) {
            step = sasl_scram_continue(exchange, &keys);
        } else if (rest.size == 0) {
            break;
        } else {
            step = sasl_respond(exchange, slice_split(&rest, 0xfe));
        }
    }
    if (step == SASL_PROVEN)
        abort();
    if (step == SASL_CHECK && (sasl_name(exchange).size == 0 || sasl_secret(exchange).size == 0))
        abort();
    sasl_destroy(&exchange);
    return 0;
}
