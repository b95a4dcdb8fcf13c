/*
 * SASL against the RFCs. SCRAM's other side is written here from RFC 5802 on libsodium's HMAC, so
 * that GNU SASL is not tested by itself; RFC 7677's example fixes the derivation of keys.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "sasl/sasl.h"

#define S(text) SLICE_LITERAL(text)

/* ---- the client's cryptography, RFC 5802 3 -------------------------------------------------- */

static void hmac(const uint8_t key[32], struct slice data, uint8_t out[32])
{
    crypto_auth_hmacsha256(out, data.data, data.size, key);
}

static void hi(const char *secret, const uint8_t *salt, size_t salt_size, unsigned iterations,
               uint8_t out[32])
{
    crypto_auth_hmacsha256_state state;
    uint8_t u[32], one[4] = {0, 0, 0, 1};
    memset(out, 0, 32);
    for (unsigned i = 0; i < iterations; i++) {
        crypto_auth_hmacsha256_init(&state, (const uint8_t *)secret, strlen(secret));
        if (i == 0) {
            crypto_auth_hmacsha256_update(&state, salt, salt_size);
            crypto_auth_hmacsha256_update(&state, one, 4);
        } else {
            crypto_auth_hmacsha256_update(&state, u, 32);
        }
        crypto_auth_hmacsha256_final(&state, u);
        for (int k = 0; k < 32; k++)
            out[k] ^= u[k];
    }
}

static void base64(const uint8_t *bytes, size_t size, char *out)
{
    sodium_bin2base64(out, 200, bytes, size, sodium_base64_VARIANT_ORIGINAL);
}

static size_t unbase64(const char *text, uint8_t *out, size_t room)
{
    size_t size = 0;
    assert_int_equal(sodium_base642bin(out, room, text, strlen(text), NULL, &size, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
    return size;
}

/* ClientProof and ServerSignature for an AuthMessage. */
static void proofs(const uint8_t salted[32], const char *auth_message, char proof[200],
                   char verifier[200])
{
    uint8_t client_key[32], stored_key[32], signature[32], server_key[32];
    hmac(salted, S("Client Key"), client_key);
    crypto_hash_sha256(stored_key, client_key, 32);
    hmac(stored_key, slice_str(auth_message), signature);
    for (int i = 0; i < 32; i++)
        client_key[i] ^= signature[i];
    base64(client_key, 32, proof);
    hmac(salted, S("Server Key"), server_key);
    hmac(server_key, slice_str(auth_message), signature);
    base64(signature, 32, verifier);
}

static void keys_make(struct sasl_scram_keys *keys, const char *secret)
{
    *keys = (struct sasl_scram_keys){.iterations = 4096};
    keys->salt_size = (uint8_t)unbase64("W22ZaJ0SNY7soEsUEjb6gQ==", keys->salt, SASL_SALT_MAX);
    assert_true(sasl_scram_derive(slice_str(secret), keys));
}

static void test_rfc7677_keys(void **state)
{
    const char *auth_message =
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    struct sasl_scram_keys keys;
    keys_make(&keys, "pencil");
    uint8_t proof[64], signature[32], recovered[32];
    assert_int_equal(unbase64("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", proof, 64), 32);
    hmac(keys.stored_key, slice_str(auth_message), signature);
    for (int i = 0; i < 32; i++)
        proof[i] ^= signature[i]; /* ClientKey */
    crypto_hash_sha256(recovered, proof, 32);
    assert_memory_equal(recovered, keys.stored_key, 32);
    char text[200];
    hmac(keys.server_key, slice_str(auth_message), signature);
    base64(signature, 32, text);
    assert_string_equal(text, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_true(sasl_scram_matches(S("pencil"), &keys));
    assert_false(sasl_scram_matches(S("Pencil"), &keys));
    /* SASLprep, RFC 4013 3: I<U+00AD>X is IX, and U+2168 is IX. */
    keys_make(&keys, "I\xc2\xadX");
    assert_true(sasl_scram_matches(S("IX"), &keys));
    assert_true(sasl_scram_matches(S("\xe2\x85\xa8"), &keys));
}

/* ---- a whole exchange ----------------------------------------------------------------------- */

struct dialogue {
    const char *mechanism, *gs2, *user, *name; /* user as sent, name as meant */
    const char *secret;                        /* the client's; the server has "pencil" */
    const char *binding_name;                  /* base64 of gs2 + exporter when NULL */
    struct slice exporter;                     /* what the server's channel has */
    struct slice client_exporter;
    const char *spoil; /* text put before client-final */
    bool no_initial;
};

/* Runs it to the end; verifies the server's signature; returns the last step. */
static enum sasl_step dialogue_run(const struct dialogue *d)
{
    char first[400], final[900], auth_message[2000], server_first[400], text[200], channel[400];
    char proof[200], verifier[200];
    uint8_t salted[32], salt[64], bound[200];
    snprintf(first, sizeof(first), "%sn=%s,r=fyko+d2lbbFgONRv9qkxdawL", d->gs2, d->user);
    enum sasl_step step;
    struct sasl_exchange *e = sasl_start(sasl_mechanism_find(slice_str(d->mechanism)), d->exporter,
                                         d->no_initial ? SLICE_NONE : slice_str(first), &step);
    if (d->no_initial) {
        assert_int_equal(step, SASL_CHALLENGE);
        assert_int_equal(sasl_output(e).size, 0);
        step = sasl_respond(e, slice_str(first));
    }
    if (step != SASL_KEYS)
        goto out;
    assert_true(slice_equal_str(sasl_name(e), d->name));
    struct sasl_scram_keys keys;
    keys_make(&keys, "pencil");
    step = sasl_scram_continue(e, &keys);
    if (step != SASL_CHALLENGE)
        goto out;
    snprintf(server_first, sizeof(server_first), "%.*s", SLICE_PRINT(sasl_output(e)));
    char nonce[200], salt_text[100];
    unsigned iterations;
    assert_int_equal(
        sscanf(server_first, "r=%199[^,],s=%99[^,],i=%u", nonce, salt_text, &iterations), 3);
    assert_int_equal(strncmp(nonce, "fyko+d2lbbFgONRv9qkxdawL", 24), 0);
    assert_true(strlen(nonce) >= 24 + 16);
    size_t salt_size = unbase64(salt_text, salt, sizeof(salt));
    hi(d->secret, salt, salt_size, iterations, salted);
    size_t n = strlen(d->gs2);
    memcpy(bound, d->gs2, n);
    if (d->client_exporter.size > 0)
        memcpy(bound + n, d->client_exporter.data, d->client_exporter.size);
    base64(bound, n + d->client_exporter.size, channel);
    snprintf(final, sizeof(final), "c=%s,r=%s", channel, nonce);
    snprintf(auth_message, sizeof(auth_message), "%s,%s,%s", first + n, server_first, final);
    proofs(salted, auth_message, proof, verifier);
    snprintf(final + strlen(final), sizeof(final) - strlen(final), ",p=%s", proof);
    char sent[1000];
    snprintf(sent, sizeof(sent), "%s%s", d->spoil != NULL ? d->spoil : "", final);
    step = sasl_respond(e, slice_str(sent));
    if (step != SASL_CHALLENGE)
        goto out;
    snprintf(text, sizeof(text), "%.*s", SLICE_PRINT(sasl_output(e)));
    assert_int_equal(strncmp(text, "v=", 2), 0);
    assert_string_equal(text + 2, verifier);
    step = sasl_respond(e, S(""));
out:
    sasl_destroy(&e);
    assert_null(e);
    return step;
}

static const uint8_t exporter_bytes[33] = "0123456789abcdef0123456789abcdef";
#define EXPORTER slice_make(exporter_bytes, 32)

static void test_scram(void **state)
{
    struct dialogue d = {.mechanism = "SCRAM-SHA-256",
                         .gs2 = "n,,",
                         .user = "user",
                         .name = "user",
                         .secret = "pencil"};
    assert_int_equal(dialogue_run(&d), SASL_PROVEN);
    d.no_initial = true;
    assert_int_equal(dialogue_run(&d), SASL_PROVEN);
    d.no_initial = false;
    d.secret = "pencil2";
    assert_int_equal(dialogue_run(&d), SASL_WRONG);
    d.secret = "pencil";
    d.user = "a=2Cb=3Dc", d.name = "a,b=c";
    assert_int_equal(dialogue_run(&d), SASL_PROVEN);
    d.gs2 = "n,a=a=2Cb=3Dc,";
    assert_int_equal(dialogue_run(&d), SASL_PROVEN);
    d.gs2 = "n,a=root,";
    assert_int_equal(dialogue_run(&d), SASL_WRONG);
    d.gs2 = "y,,"; /* could bind, and the channel cannot: fine */
    assert_int_equal(dialogue_run(&d), SASL_PROVEN);
    d.spoil = "x=1,"; /* c= must be first, RFC 5802 7 */
    assert_int_equal(dialogue_run(&d), SASL_MALFORMED);
}

static void test_scram_plus(void **state)
{
    struct dialogue d = {.mechanism = "SCRAM-SHA-256-PLUS",
                         .gs2 = "p=tls-exporter,,",
                         .user = "user",
                         .name = "user",
                         .secret = "pencil",
                         .exporter = EXPORTER,
                         .client_exporter = EXPORTER};
    assert_int_equal(dialogue_run(&d), SASL_PROVEN);
    d.secret = "wrong";
    assert_int_equal(dialogue_run(&d), SASL_WRONG);
    d.secret = "pencil";
    /* Somebody in the middle: the client's channel is another one. */
    d.client_exporter = S("0123456789abcdef0123456789abcdeX");
    assert_int_not_equal(dialogue_run(&d), SASL_PROVEN);
    d.client_exporter = SLICE_NONE;
    assert_int_not_equal(dialogue_run(&d), SASL_PROVEN);
    d.client_exporter = EXPORTER;
    d.gs2 = "p=tls-unique,,";
    assert_int_equal(dialogue_run(&d), SASL_MALFORMED);
    d.gs2 = "n,,", d.client_exporter = SLICE_NONE;
    assert_int_equal(dialogue_run(&d), SASL_MALFORMED);
    d.gs2 = "p=tls-exporter,,", d.exporter = SLICE_NONE; /* a channel that cannot be bound */
    assert_int_equal(dialogue_run(&d), SASL_MALFORMED);
    /* The downgrade of RFC 5802 6: "y" over a channel that can be bound. */
    d.mechanism = "SCRAM-SHA-256", d.exporter = EXPORTER, d.gs2 = "y,,";
    assert_int_equal(dialogue_run(&d), SASL_MALFORMED);
    d.gs2 = "n,,";
    assert_int_equal(dialogue_run(&d), SASL_PROVEN);
}

static enum sasl_step one(const char *mechanism, struct slice message)
{
    enum sasl_step step;
    struct sasl_exchange *e =
        sasl_start(sasl_mechanism_find(slice_str(mechanism)), SLICE_NONE, message, &step);
    sasl_destroy(&e);
    return step;
}

static void test_scram_malformed(void **state)
{
    static const char *const bad[] = {
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=user",
        "n,,n=user,",
        "n,,n=user,r=",
        "n,,r=abc",
        "n,,m=x,n=user,r=abc",
        "x,,n=user,r=abc",
        "p=,,n=user,r=abc",
        "p=tls-exporter,,n=user,r=a",
        "n,b=c,n=user,r=abc",
        "n,,n=us=er,r=abc",
        "n,,n=us=2,r=abc",
        "n,,n=us=2c,r=abc",
        "n,a==,n=user,r=abc",
        "n,,n=u\x01ser,r=abc",
        "n,,n=u\xffser,r=abc",
        "N,,n=user,r=abc",
        "nn=user,r=abc",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (one("SCRAM-SHA-256", slice_str(bad[i])) != SASL_MALFORMED)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(one("SCRAM-SHA-256", S("n,,n=user,r=abc\0def")), SASL_MALFORMED);
    /* Answers to server-first. */
    static const char *const final[] = {
        "",       "c=biws",      "c=biws,r=abc", "c=biws,r=abc,p=", "c=biws,r=abc,p=!!!!",
        "p=AAAA", "v=1,c=,r=,p="};
    struct sasl_scram_keys keys;
    keys_make(&keys, "pencil");
    for (size_t i = 0; i < sizeof(final) / sizeof(final[0]); i++) {
        enum sasl_step step;
        struct sasl_exchange *e = sasl_start(sasl_mechanism_find(S("scram-sha-256")), SLICE_NONE,
                                             S("n,,n=user,r=abc"), &step);
        assert_int_equal(step, SASL_KEYS);
        assert_int_equal(sasl_scram_continue(e, &keys), SASL_CHALLENGE);
        step = sasl_respond(e, slice_str(final[i]));
        if (step != SASL_MALFORMED && step != SASL_WRONG)
            fail_msg("step %d for %s", step, final[i]);
        sasl_destroy(&e);
    }
}

static void test_plain(void **state)
{
    enum sasl_step step;
    struct sasl_exchange *e = sasl_start(sasl_mechanism_find(S("PLAIN")), SLICE_NONE,
                                         S("\0tim\0tanstaaftanstaaf"), &step);
    assert_int_equal(step, SASL_CHECK); /* RFC 4616 4, first example */
    assert_true(slice_equal_str(sasl_name(e), "tim"));
    assert_true(slice_equal_str(sasl_secret(e), "tanstaaftanstaaf"));
    sasl_destroy(&e);
    assert_int_equal(one("PLAIN", S("Ursel\0Kurt\0xipj3plmq")), SASL_WRONG); /* second example */
    assert_int_equal(one("PLAIN", S("tim\0tim\0x")), SASL_CHECK);
    assert_int_equal(one("PLAIN", S("\0tim\0p\xe4ss")), SASL_CHECK);
    assert_int_equal(one("PLAIN", S("")), SASL_MALFORMED);
    assert_int_equal(one("PLAIN", S("tim")), SASL_MALFORMED);
    assert_int_equal(one("PLAIN", S("\0tim")), SASL_MALFORMED);
    assert_int_equal(one("PLAIN", S("\0tim\0")), SASL_MALFORMED);
    assert_int_equal(one("PLAIN", S("\0\0secret")), SASL_MALFORMED);
    assert_int_equal(one("PLAIN", S("\0tim\0a\0b")), SASL_MALFORMED);
    assert_int_equal(one("PLAIN", S("\0t\nim\0a")), SASL_MALFORMED);
    assert_int_equal(one("PLAIN", S("\0t\xc0\x80\0a")), SASL_MALFORMED);
    e = sasl_start(sasl_mechanism_find(S("plain")), SLICE_NONE, SLICE_NONE, &step);
    assert_int_equal(step, SASL_CHALLENGE);
    assert_int_equal(sasl_output(e).size, 0);
    assert_int_equal(sasl_respond(e, S("\0tim\0x")), SASL_CHECK);
    sasl_destroy(&e);
}

static void test_login(void **state)
{
    enum sasl_step step;
    struct sasl_exchange *e =
        sasl_start(sasl_mechanism_find(S("LOGIN")), SLICE_NONE, SLICE_NONE, &step);
    assert_int_equal(step, SASL_CHALLENGE);
    assert_true(slice_equal_str(sasl_output(e), "Username:"));
    assert_int_equal(sasl_respond(e, S("tim")), SASL_CHALLENGE);
    assert_true(slice_equal_str(sasl_output(e), "Password:"));
    assert_int_equal(sasl_respond(e, S("secret")), SASL_CHECK);
    assert_true(slice_equal_str(sasl_secret(e), "secret"));
    sasl_destroy(&e);
    e = sasl_start(sasl_mechanism_find(S("LOGIN")), SLICE_NONE, S("tim"), &step);
    assert_true(slice_equal_str(sasl_output(e), "Password:"));
    assert_int_equal(sasl_respond(e, S("")), SASL_MALFORMED);
    sasl_destroy(&e);
    assert_int_equal(one("LOGIN", S("")), SASL_MALFORMED);
}

static void test_limits(void **state)
{
    struct buf message = {0};
    for (size_t name = SASL_NAME_MAX; name <= SASL_NAME_MAX + 1; name++)
        for (size_t secret = SASL_SECRET_MAX; secret <= SASL_SECRET_MAX + 1; secret++) {
            buf_clear(&message);
            buf_u8(&message, 0);
            memset(buf_extend(&message, name), 'n', name);
            buf_u8(&message, 0);
            memset(buf_extend(&message, secret), 's', secret);
            bool good = name == SASL_NAME_MAX && secret == SASL_SECRET_MAX;
            assert_int_equal(one("PLAIN", buf_slice(&message)), good ? SASL_CHECK : SASL_MALFORMED);
        }
    buf_clear(&message);
    memset(buf_extend(&message, SASL_MESSAGE_MAX + 1), 'x', SASL_MESSAGE_MAX + 1);
    memcpy(message.data, "n,,n=u,r=", 9);
    assert_int_equal(one("SCRAM-SHA-256", slice_make(message.data, SASL_MESSAGE_MAX + 1)),
                     SASL_MALFORMED);
    assert_int_equal(one("SCRAM-SHA-256", slice_make(message.data, SASL_MESSAGE_MAX)), SASL_KEYS);
    buf_finish(&message);
    assert_null(sasl_mechanism_find(S("CRAM-MD5")));
    assert_null(sasl_mechanism_at(4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7677_keys), cmocka_unit_test(test_scram),
        cmocka_unit_test(test_scram_plus),   cmocka_unit_test(test_scram_malformed),
        cmocka_unit_test(test_plain),        cmocka_unit_test(test_login),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
