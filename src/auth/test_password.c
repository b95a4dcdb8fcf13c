/*
 * Every scheme against hashes that other programs made: Python's hashlib and crypt, openssl passwd,
 * the test vectors of the argon2 reference code, RFC 7677's salt. All others are of "secret".
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "auth/password.h"
#include "base/buf.h"

static const struct {
    const char *given, *secret, *stored; /* stored NULL: as given */
} known[] = {
    {"{SSHA}Wcm1xEisNjqp921ALcHfuQ7avFdzYWx0MTIzNA==", "secret", NULL},
    {"{ssha256}lXT7qF+fT7OVoVlwD0tMd02E1ak2dLDbk993wZxIM65zYWx0MTIzNA==", "secret",
     "{SSHA256}lXT7qF+fT7OVoVlwD0tMd02E1ak2dLDbk993wZxIM65zYWx0MTIzNA=="},
    {"{SSHA512}Enu6C74BUnsH3FJ5DbcJeTfPKMqMpMZOm66wJaf/iZqtrDfdcDyFhEmcwbcWyY5CUEDqbpdskEI2yPdeCZGV"
     "PXNhbHQxMjM0",
     "secret", NULL},
    {"{SMD5}c7G0Nl6ylVxXllw3AyNwdXNhbHQxMjM0", "secret", NULL},
    {"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret", NULL},
    {"{SHA1}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="},
    {"{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "secret", NULL},
    {"{SHA256}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "secret", NULL},
    {"{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/"
     "isg==",
     "secret", NULL},
    {"{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", "secret", NULL},
    {"{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==", "secret", "{PLAIN-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ=="},
    {"{PBKDF2}$1$saltsalt$5000$9d0487892cf650c51cd61d0b11d60b9c5114b27e", "secret", NULL},
    {"$1$saltsalt$9xy1btjgzLYfb7hivXtC//", "secret", "{CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//"},
    {"{MD5-CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//", "secret",
     "{CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//"},
    {"{CRYPT}$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA", "secret", NULL},
    {"{SHA512-CRYPT}$6$saltsalt$"
     "TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77"
     "vwPZN.Pq.H91p5hVO1",
     "secret",
     "{CRYPT}$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77"
     "vwPZN.Pq.H91p5hVO1"},
    {"{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", "secret",
     "{CRYPT}$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"},
    {"{CRYPT}$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", "secret", NULL},
    {"{CRYPT}$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9", "secret", NULL},
    {"abNANd1rDfiNc", "secret", "{CRYPT}abNANd1rDfiNc"},
    {"{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$"
     "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
     "password", NULL},
    {"{CRYPT}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$"
     "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
     "password",
     "{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$"
     "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
    {"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
     "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
     "pencil", NULL},
};

static void test_known(void **state)
{
    struct buf verifier = {0};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct error error = {{0}};
        bool clear;
        if (!password_take(slice_str(known[i].given), &verifier, &clear, &error))
            fail_msg("%s: %s", known[i].given, error.text);
        assert_false(clear);
        const char *stored = known[i].stored != NULL ? known[i].stored : known[i].given;
        assert_true(slice_equal_str(buf_slice(&verifier), stored));
        if (!password_verify(buf_slice(&verifier), slice_str(known[i].secret)))
            fail_msg("not verified: %s", known[i].given);
        assert_false(password_verify(buf_slice(&verifier), SLICE_LITERAL("Secret")));
        assert_false(password_verify(buf_slice(&verifier), SLICE_LITERAL("secre")));
        assert_false(password_verify(buf_slice(&verifier), SLICE_LITERAL("")));
        assert_false(password_verify(buf_slice(&verifier), SLICE_LITERAL("secret\0")));
    }
    buf_finish(&verifier);
}

static void test_clear(void **state)
{
    static const char *const names[] = {"{PLAIN}", "{CLEARTEXT}", "{plain}"};
    struct buf verifier = {0}, given = {0};
    for (size_t i = 0; i < 3; i++) {
        bool clear = false;
        buf_clear(&given);
        buf_printf(&given, "%sp{a}ss", names[i]);
        assert_true(password_take(buf_slice(&given), &verifier, &clear, NULL));
        assert_true(clear);
        assert_true(slice_equal_str(buf_slice(&verifier), "p{a}ss"));
    }
    buf_finish(&given);
    buf_finish(&verifier);
}

static void test_refused(void **state)
{
    static const char *const bad[][2] = {
        {"{CRAM-MD5}0123", "unknown password scheme {CRAM-MD5}"},
        {"{SSHA", "\"{\" without \"}\""},
        {"{SSHA}", "no {SSHA} hash"},
        {"{SSHA}!!!!", "no {SSHA} hash"},
        {"{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "no {SSHA} hash"}, /* without salt */
        {"{SHA}Wcm1xEisNjqp921ALcHfuQ7avFdzYWx0MTIzNA==", "no {SHA} hash"},
        {"{SHA256}2bb8", "no {SHA256} hash"},
        {"{PBKDF2}$1$salt$0$9d0487892cf650c51cd61d0b11d60b9c5114b27e", "no {PBKDF2} hash"},
        {"{PBKDF2}$1$salt$5000$9d04", "no {PBKDF2} hash"},
        {"{CRYPT}*", "no {CRYPT} hash"},
        {"{CRYPT}!locked", "no {CRYPT} hash"},
        {"", "no {CRYPT} hash"},
        {"{ARGON2ID}$6$saltsalt$x", "no {ARGON2ID} hash"},
        {"{SCRAM-SHA-256}4096,AAAA,AAAA,AAAA", "no {SCRAM-SHA-256} hash"},
        {"{SCRAM-SHA-256}0,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
         "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
         "no {SCRAM-SHA-256} hash"},
        {"{PLAIN}", "empty"},
    };
    struct buf verifier = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {{0}};
        bool clear;
        if (password_take(slice_str(bad[i][0]), &verifier, &clear, &error))
            fail_msg("taken: %s", bad[i][0]);
        if (strstr(error.text, bad[i][1]) == NULL)
            fail_msg("%s: %s", bad[i][0], error.text);
    }
    buf_finish(&verifier);
}

static void test_ours(void **state)
{
    char text[PASSWORD_VERIFIER_MAX];
    assert_true(password_hash(SLICE_LITERAL("p\xc3\xa4ss w"), text));
    assert_int_equal(strncmp(text, "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$", 41), 0);
    assert_true(password_verify(slice_str(text), SLICE_LITERAL("p\xc3\xa4ss w")));
    assert_false(password_verify(slice_str(text), SLICE_LITERAL("pass w")));
    struct buf verifier = {0};
    bool clear;
    assert_true(password_take(slice_str(password_dummy()), &verifier, &clear, NULL));
    assert_false(password_verify(slice_str(password_dummy()), SLICE_LITERAL("secret")));
    buf_finish(&verifier);
    struct sasl_scram_keys keys, again;
    assert_true(password_scram_keys(SLICE_LITERAL("pencil"), &keys));
    assert_true(keys.iterations >= 4096); /* RFC 7677 4 */
    assert_true(sasl_scram_matches(SLICE_LITERAL("pencil"), &keys));
    assert_true(password_scram_keys(SLICE_LITERAL("pencil"), &again));
    assert_memory_not_equal(keys.salt, again.salt, keys.salt_size);
    uint8_t a[PASSWORD_FINGERPRINT], b[PASSWORD_FINGERPRINT], salt[16] = {1};
    assert_true(password_fingerprint(SLICE_LITERAL("x"), salt, a));
    assert_true(password_fingerprint(SLICE_LITERAL("x"), salt, b));
    assert_memory_equal(a, b, sizeof(a));
    salt[0] = 2;
    assert_true(password_fingerprint(SLICE_LITERAL("x"), salt, b));
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    password_warm_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
