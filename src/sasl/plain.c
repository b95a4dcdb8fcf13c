/*
 * PLAIN (RFC 4616) and LOGIN (never standardised; draft-murchison-sasl-login): the client sends
 * name and password, and whoever runs the exchange checks them.
 *
 * RFC 4616 2: message = [authzid] NUL authcid NUL passwd. To act as somebody else is refused. The
 * password is not held to UTF-8: hashes that people bring were made of whatever bytes their old
 * server took.
 */
#include "sasl/sasl_priv.h"

enum sasl_step sasl_plain_step(struct sasl_exchange *exchange, struct slice message)
{
    if (message.data == NULL)
        return SASL_CHALLENGE; /* an empty one: RFC 4422 5.1 */
    struct slice rest = message;
    struct slice authzid = slice_split(&rest, 0);
    if (authzid.size == message.size)
        return SASL_MALFORMED;
    size_t before = rest.size;
    struct slice authcid = slice_split(&rest, 0);
    if (authcid.size == before)
        return SASL_MALFORMED;
    if (!sasl_take_name(exchange, authcid) || !sasl_take_secret(exchange, rest))
        return SASL_MALFORMED;
    if (authzid.size > 0 && !slice_equal(authzid, authcid))
        return SASL_WRONG;
    return SASL_CHECK;
}

enum sasl_step sasl_login_step(struct sasl_exchange *exchange, struct slice message)
{
    if (message.data == NULL) {
        buf_add_str(&exchange->output, "Username:");
        return SASL_CHALLENGE;
    }
    if (exchange->state == 0) {
        if (!sasl_take_name(exchange, message))
            return SASL_MALFORMED;
        exchange->state = 1;
        buf_add_str(&exchange->output, "Password:");
        return SASL_CHALLENGE;
    }
    return sasl_take_secret(exchange, message) ? SASL_CHECK : SASL_MALFORMED;
}
