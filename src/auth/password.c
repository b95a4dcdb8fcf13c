/*
 * The table of password schemes and what all of them share. A scheme is a row: the names it goes
 * by, how its data is recognised, how a secret is checked against it. The digests ({SSHA} and its
 * kin) are in digest.c.
 *
 * Comparisons take the same time wherever they differ; secrets are wiped where they were copied.
 */
#include "auth/password.h"

#include <crypt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/digest.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"

struct scheme {
    const char *names; /* space-separated; the first is the one stored */
    bool (*valid)(const char *name, struct slice data);
    bool (*verify)(const char *name, struct slice data, struct slice secret);
};

/* ---- crypt(3) ------------------------------------------------------------------------------ */

static bool crypt_valid(const char *name, struct slice data)
{
    char setting[CRYPT_OUTPUT_SIZE];
    if (data.size < 3 || data.size >= sizeof(setting))
        return false;
    memcpy(setting, data.data, data.size);
    setting[data.size] = '\0';
    int result = crypt_checksalt(setting);
    return result == CRYPT_SALT_OK || result == CRYPT_SALT_METHOD_LEGACY ||
           result == CRYPT_SALT_TOO_CHEAP;
}

static bool crypt_verify(const char *name, struct slice data, struct slice secret)
{
    struct crypt_data *work = MEM_NEW(struct crypt_data); /* 32 KiB */
    char *setting = slice_strdup(data);
    char *phrase = slice_strdup(secret);
    const char *made = crypt_r(phrase, setting, work);
    bool same = made != NULL && made[0] != '*' && strlen(made) == data.size &&
                sodium_memcmp(made, data.data, data.size) == 0;
    mem_wipe(phrase, secret.size);
    mem_wipe(work, sizeof(*work));
    free(phrase);
    free(setting);
    free(work);
    return same;
}

/* ---- argon2 -------------------------------------------------------------------------------- */

static bool argon_valid(const char *name, struct slice data)
{
    return data.size < crypto_pwhash_STRBYTES && (slice_starts(data, SLICE_LITERAL("$argon2id$")) ||
                                                  slice_starts(data, SLICE_LITERAL("$argon2i$")));
}

static bool argon_verify(const char *name, struct slice data, struct slice secret)
{
    char text[crypto_pwhash_STRBYTES] = {0};
    if (data.size >= sizeof(text))
        return false;
    memcpy(text, data.data, data.size);
    return crypto_pwhash_str_verify(text, (const char *)secret.data, secret.size) == 0;
}

/* ---- SCRAM keys, as Dovecot writes them: iterations,salt,StoredKey,ServerKey ------------------
 */

static bool base64_field(struct slice *rest, uint8_t *out, size_t room, size_t *size)
{
    struct slice field = slice_split(rest, ',');
    return sodium_base642bin(out, room, (const char *)field.data, field.size, NULL, size, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           field.size > 0;
}

static bool scram_read(struct slice data, struct sasl_scram_keys *keys)
{
    size_t salt, stored, server;
    memset(keys, 0, sizeof(*keys));
    if (!slice_u32(slice_split(&data, ','), &keys->iterations) || keys->iterations == 0 ||
        keys->iterations > 10000000 ||
        !base64_field(&data, keys->salt, sizeof(keys->salt), &salt) || salt == 0 ||
        !base64_field(&data, keys->stored_key, SASL_KEY_SIZE, &stored) ||
        !base64_field(&data, keys->server_key, SASL_KEY_SIZE, &server))
        return false;
    keys->salt_size = (uint8_t)salt;
    return stored == SASL_KEY_SIZE && server == SASL_KEY_SIZE && data.size == 0;
}

static bool scram_valid(const char *name, struct slice data)
{
    struct sasl_scram_keys keys;
    return scram_read(data, &keys);
}

static bool scram_verify(const char *name, struct slice data, struct slice secret)
{
    struct sasl_scram_keys keys;
    return scram_read(data, &keys) && sasl_scram_matches(secret, &keys);
}

/* ---- the table ------------------------------------------------------------------------------ */

static const struct scheme schemes[] = {
    {"ARGON2ID ARGON2I ARGON2", argon_valid, argon_verify},
    {"CRYPT MD5-CRYPT SHA256-CRYPT SHA512-CRYPT BLF-CRYPT DES-CRYPT", crypt_valid, crypt_verify},
    {"SCRAM-SHA-256", scram_valid, scram_verify},
    {"PBKDF2", digest_pbkdf2_valid, digest_pbkdf2_verify},
    {"SSHA", digest_valid, digest_verify},
    {"SSHA256", digest_valid, digest_verify},
    {"SSHA512", digest_valid, digest_verify},
    {"SMD5", digest_valid, digest_verify},
    {"SHA SHA1", digest_valid, digest_verify},
    {"SHA256", digest_valid, digest_verify},
    {"SHA512", digest_valid, digest_verify},
    {"PLAIN-MD5 LDAP-MD5", digest_valid, digest_verify},
};

enum { SCHEMES = sizeof(schemes) / sizeof(schemes[0]) };

static bool word_in(struct slice words, struct slice word)
{
    while (words.size > 0)
        if (slice_equal_nocase(slice_split(&words, ' '), word))
            return true;
    return false;
}

/* The row, its stored name in name. NULL when there is none. */
static const struct scheme *scheme_find(struct slice word, char name[32])
{
    for (size_t i = 0; i < SCHEMES; i++) {
        struct slice names = slice_str(schemes[i].names);
        if (word_in(names, word)) {
            struct slice first = slice_split(&names, ' ');
            snprintf(name, 32, "%.*s", SLICE_PRINT(first));
            return &schemes[i];
        }
    }
    return NULL;
}

/* Takes "{SCHEME}" off the front; without one it is CRYPT, as in Dovecot's passwd-file. */
static bool scheme_split(struct slice *data, struct slice *scheme)
{
    *scheme = SLICE_LITERAL("CRYPT");
    if (data->size > 0 && data->data[0] == '{') {
        size_t end = slice_find(*data, '}');
        if (end == data->size)
            return false;
        *scheme = slice_sub(*data, 1, end - 1);
        *data = slice_sub(*data, end + 1, data->size);
    }
    if (slice_equal_nocase_str(*scheme, "CRYPT") && slice_starts(*data, SLICE_LITERAL("$argon2")))
        *scheme = SLICE_LITERAL("ARGON2ID");
    return true;
}

bool password_take(struct slice given, struct buf *verifier, bool *clear, struct error *error)
{
    struct slice data = given, scheme;
    char name[32];
    buf_clear(verifier);
    *clear = false;
    if (!scheme_split(&data, &scheme))
        return error_set(error, "\"{\" without \"}\" before the hash");
    if (word_in(SLICE_LITERAL("PLAIN CLEARTEXT CLEAR"), scheme)) {
        if (data.size == 0 || data.size > SASL_SECRET_MAX)
            return error_set(error, "the password is empty or longer than %d bytes",
                             SASL_SECRET_MAX);
        *clear = true;
        buf_add_slice(verifier, data);
        return true;
    }
    const struct scheme *row = scheme_find(scheme, name);
    if (row == NULL)
        return error_set(error, "unknown password scheme {%s}; give this account a new password",
                         log_value(scheme).text);
    if (data.size > PASSWORD_VERIFIER_MAX - 40 || slice_find(data, 0) != data.size ||
        !row->valid(name, data))
        return error_set(error, "this is no {%s} hash", name);
    buf_printf(verifier, "{%s}", name);
    buf_add_slice(verifier, data);
    return true;
}

bool password_verify(struct slice verifier, struct slice secret)
{
    struct slice scheme;
    char name[32];
    if (!scheme_split(&verifier, &scheme) || slice_find(secret, 0) != secret.size)
        return false;
    const struct scheme *row = scheme_find(scheme, name);
    return row != NULL && row->verify(name, verifier, secret);
}

bool password_hash(struct slice secret, char text[PASSWORD_VERIFIER_MAX])
{
    char hash[crypto_pwhash_STRBYTES];
    if (crypto_pwhash_str(hash, (const char *)secret.data, secret.size, PASSWORD_ARGON_PASSES,
                          PASSWORD_ARGON_BYTES) != 0)
        return false;
    snprintf(text, PASSWORD_VERIFIER_MAX, "{ARGON2ID}%s", hash);
    return true;
}

bool password_scram_keys(struct slice secret, struct sasl_scram_keys *keys)
{
    memset(keys, 0, sizeof(*keys));
    keys->iterations = PASSWORD_SCRAM_ITERATIONS;
    keys->salt_size = 16;
    id_random_bytes(keys->salt, keys->salt_size);
    return sasl_scram_derive(secret, keys);
}

bool password_verifier_keys(struct slice verifier, struct sasl_scram_keys *keys)
{
    struct slice scheme;
    return scheme_split(&verifier, &scheme) && slice_equal_str(scheme, "SCRAM-SHA-256") &&
           scram_read(verifier, keys);
}

bool password_fingerprint(struct slice secret, const uint8_t salt[16],
                          uint8_t fingerprint[PASSWORD_FINGERPRINT])
{
    return crypto_pwhash(fingerprint, PASSWORD_FINGERPRINT, (const char *)secret.data, secret.size,
                         salt, PASSWORD_ARGON_PASSES, PASSWORD_ARGON_BYTES,
                         crypto_pwhash_ALG_ARGON2ID13) == 0;
}

const char *password_dummy(void)
{
    /* Right in form, random in value: nobody knows a secret for it. */
    return "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$sJ7mGqXcVY1rQ0B9WZ5T4A$"
           "x0c1bq9oVtq4mYV8F3hJw2nD6sLkR7uPzE5aGiTfKQo";
}

void password_warm_up(void)
{
    if (sodium_init() < 0)
        abort();
    digest_warm_up();
}
