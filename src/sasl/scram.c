/*
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677; binding by tls-exporter, RFC 9266).
 * GNU SASL does the cryptography and parses the messages; before it does we read the name out of
 * client-first, since the keys of that name must be there when the library runs.
 *
 * The messages (RFC 5802 5):
 *   client-first  gs2-cbind-flag "," [authzid] "," [mext ","] "n=" name "," "r=" nonce ...
 *   server-first  r=,s=,i=          client-final  c=,r=,p=          server-final  v=
 *   then an empty one from the client, and the name is proven.
 *
 * A client that says "y" (I could bind, but you cannot) over a channel that can be bound has met
 * somebody who removed -PLUS from our list: it is refused (RFC 5802 6).
 */
#include <gsasl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sasl/sasl_priv.h"

enum { STATE_FIRST, STATE_KEYS, STATE_FINAL, STATE_LAST_WORD };

/* One library context for the process: it holds nothing but the table of its mechanisms. */
static Gsasl *library(void)
{
    static Gsasl *context;
    if (context == NULL && gsasl_init(&context) != GSASL_OK)
        context = NULL;
    return context;
}

/* saslname of RFC 5802 5.1: "=2C" is a comma, "=3D" an equals sign, no other "=" may be. */
static bool saslname_decode(struct slice in, char *out, size_t room, size_t *size)
{
    size_t n = 0;
    for (size_t i = 0; i < in.size; i++) {
        char c = (char)in.data[i];
        if (n == room)
            return false;
        if (c == '=') {
            struct slice code = slice_sub(in, i, 3);
            if (slice_equal_str(code, "=2C"))
                c = ',';
            else if (!slice_equal_str(code, "=3D"))
                return false;
            i += 2;
        }
        out[n++] = c;
    }
    *size = n;
    return n > 0;
}

static bool attribute_take(struct slice *rest, const char *prefix, struct slice *value)
{
    struct slice field = slice_split(rest, ',');
    if (!slice_starts(field, slice_str(prefix)))
        return false;
    *value = slice_sub(field, strlen(prefix), field.size);
    return value->size > 0;
}

static bool binding_flag_ok(const struct sasl_exchange *exchange, struct slice flag)
{
    if (exchange->row->mechanism.binds)
        return slice_equal_str(flag, "p=tls-exporter");
    return slice_equal_str(flag, "n") || (slice_equal_str(flag, "y") && !exchange->has_exporter);
}

static enum sasl_step first_read(struct sasl_exchange *exchange, struct slice message)
{
    struct slice rest = message, value;
    if (slice_find(message, 0) != message.size)
        return SASL_MALFORMED;
    if (!binding_flag_ok(exchange, slice_split(&rest, ',')))
        return SASL_MALFORMED;
    struct slice authzid = slice_split(&rest, ',');
    char decoded[SASL_NAME_MAX];
    size_t size;
    if (!attribute_take(&rest, "n=", &value) ||
        !saslname_decode(value, decoded, sizeof(decoded), &size) ||
        !sasl_take_name(exchange, slice_make(decoded, size)))
        return SASL_MALFORMED; /* also "m=": an extension we must know, and know none */
    if (!attribute_take(&rest, "r=", &value))
        return SASL_MALFORMED;
    if (authzid.size > 0) {
        if (!slice_starts(authzid, SLICE_LITERAL("a=")) ||
            !saslname_decode(slice_sub(authzid, 2, authzid.size), decoded, sizeof(decoded), &size))
            return SASL_MALFORMED;
        if (!slice_equal(slice_make(decoded, size), sasl_name(exchange)))
            return SASL_WRONG;
    }
    buf_add_slice(&exchange->message, message);
    exchange->state = STATE_KEYS;
    return SASL_KEYS;
}

static void property_base64(Gsasl_session *session, Gsasl_property property, const uint8_t *bytes,
                            size_t size)
{
    char text[sodium_base64_ENCODED_LEN(SASL_SALT_MAX, sodium_base64_VARIANT_ORIGINAL)];
    sodium_bin2base64(text, sizeof(text), bytes, size, sodium_base64_VARIANT_ORIGINAL);
    gsasl_property_set(session, property, text);
    mem_wipe(text, sizeof(text));
}

/* One step of the library. Its wrong proof is our SASL_WRONG, every other failure the client's. */
static enum sasl_step library_step(struct sasl_exchange *exchange, struct slice message)
{
    char *output = NULL;
    size_t size = 0;
    int result =
        gsasl_step(exchange->session, (const char *)message.data, message.size, &output, &size);
    if (result == GSASL_OK || result == GSASL_NEEDS_MORE)
        buf_add(&exchange->output, output, size);
    gsasl_free(output);
    switch (result) {
    case GSASL_OK:
    case GSASL_NEEDS_MORE:
        return SASL_CHALLENGE;
    case GSASL_AUTHENTICATION_ERROR:
        return SASL_WRONG;
    case GSASL_MALLOC_ERROR:
    case GSASL_CRYPTO_ERROR:
        return SASL_TROUBLE;
    default:
        return SASL_MALFORMED;
    }
}

enum sasl_step sasl_scram_continue(struct sasl_exchange *exchange,
                                   const struct sasl_scram_keys *keys)
{
    Gsasl_session *session = NULL;
    buf_clear(&exchange->output);
    if (exchange->state != STATE_KEYS || library() == NULL ||
        gsasl_server_start(library(), exchange->row->mechanism.name, &session) != GSASL_OK)
        return SASL_TROUBLE;
    exchange->session = session;
    char iterations[16];
    snprintf(iterations, sizeof(iterations), "%u", keys->iterations);
    gsasl_property_set(session, GSASL_SCRAM_ITER, iterations);
    property_base64(session, GSASL_SCRAM_SALT, keys->salt, keys->salt_size);
    property_base64(session, GSASL_SCRAM_STOREDKEY, keys->stored_key, SASL_KEY_SIZE);
    property_base64(session, GSASL_SCRAM_SERVERKEY, keys->server_key, SASL_KEY_SIZE);
    if (exchange->row->mechanism.binds)
        property_base64(session, GSASL_CB_TLS_EXPORTER, exchange->exporter, SASL_KEY_SIZE);
    exchange->state = STATE_FINAL;
    return library_step(exchange, buf_slice(&exchange->message));
}

enum sasl_step sasl_scram_step(struct sasl_exchange *exchange, struct slice message)
{
    if (message.data == NULL)
        return SASL_CHALLENGE; /* the client speaks first; it was given no chance yet */
    switch (exchange->state) {
    case STATE_FIRST:
        return first_read(exchange, message);
    case STATE_FINAL: {
        if (slice_find(message, 0) != message.size)
            return SASL_MALFORMED;
        enum sasl_step step = library_step(exchange, message);
        exchange->state = STATE_LAST_WORD;
        return step;
    }
    case STATE_LAST_WORD:
        return message.size == 0 ? SASL_PROVEN : SASL_MALFORMED;
    default:
        return SASL_MALFORMED;
    }
}

void sasl_scram_finish(struct sasl_exchange *exchange)
{
    if (exchange->session != NULL)
        gsasl_finish(exchange->session);
    exchange->session = NULL;
}

bool sasl_scram_derive(struct slice secret, struct sasl_scram_keys *keys)
{
    char *plain = slice_strdup(secret);
    char *prepared = NULL;
    if (gsasl_saslprep(plain, GSASL_ALLOW_UNASSIGNED, &prepared, NULL) != GSASL_OK)
        prepared = NULL;
    char salted[SASL_KEY_SIZE], client_key[SASL_KEY_SIZE];
    char stored_key[SASL_KEY_SIZE], server_key[SASL_KEY_SIZE];
    int result = gsasl_scram_secrets_from_password(
        GSASL_HASH_SHA256, prepared != NULL ? prepared : plain, keys->iterations,
        (const char *)keys->salt, keys->salt_size, salted, client_key, server_key, stored_key);
    memcpy(keys->stored_key, stored_key, SASL_KEY_SIZE);
    memcpy(keys->server_key, server_key, SASL_KEY_SIZE);
    if (prepared != NULL)
        mem_wipe(prepared, strlen(prepared));
    mem_wipe(plain, secret.size);
    mem_wipe(salted, sizeof(salted));
    mem_wipe(client_key, sizeof(client_key));
    mem_wipe(server_key, sizeof(server_key));
    gsasl_free(prepared);
    free(plain);
    return result == GSASL_OK;
}

bool sasl_scram_matches(struct slice secret, const struct sasl_scram_keys *keys)
{
    struct sasl_scram_keys ours = *keys;
    bool same = sasl_scram_derive(secret, &ours) &&
                sodium_memcmp(ours.stored_key, keys->stored_key, SASL_KEY_SIZE) == 0;
    mem_wipe(&ours, sizeof(ours));
    return same;
}
