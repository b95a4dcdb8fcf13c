/*
 * {SSHA}, {SHA256} and their kin: digest(secret || salt) || salt in base64, or, without salt, also
 * in hexadecimal; and {PBKDF2} as Dovecot writes it: $1$salt$rounds$hex, SHA-1. They are weak; they
 * are what people bring, and verifying is all that happens to them here.
 */
#include "auth/digest.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>

#include "base/mem.h"

enum { DATA_MAX = 256 };

static const struct row {
    const char *scheme, *digest;
    size_t size;
    bool salted;
} rows[] = {
    {"SSHA", "SHA1", 20, true},      {"SSHA256", "SHA256", 32, true},
    {"SSHA512", "SHA512", 64, true}, {"SMD5", "MD5", 16, true},
    {"SHA", "SHA1", 20, false},      {"SHA256", "SHA256", 32, false},
    {"SHA512", "SHA512", 64, false}, {"PLAIN-MD5", "MD5", 16, false},
};

static const struct row *row_find(const char *scheme)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].scheme, scheme) == 0)
            return &rows[i];
    return NULL;
}

static bool data_decode(const struct row *row, struct slice data, uint8_t out[DATA_MAX],
                        size_t *size)
{
    const char *text = (const char *)data.data;
    bool good;
    if (!row->salted && data.size == 2 * row->size)
        good = sodium_hex2bin(out, DATA_MAX, text, data.size, NULL, size, NULL) == 0;
    else
        good = sodium_base642bin(out, DATA_MAX, text, data.size, NULL, size, NULL,
                                 sodium_base64_VARIANT_ORIGINAL) == 0;
    return good && (row->salted ? *size > row->size : *size == row->size);
}

bool digest_valid(const char *name, struct slice data)
{
    uint8_t bytes[DATA_MAX];
    size_t size;
    const struct row *row = row_find(name);
    return row != NULL && data_decode(row, data, bytes, &size);
}

bool digest_verify(const char *name, struct slice data, struct slice secret)
{
    uint8_t bytes[DATA_MAX], made[EVP_MAX_MD_SIZE];
    size_t size;
    unsigned made_size = 0;
    const struct row *row = row_find(name);
    if (row == NULL || !data_decode(row, data, bytes, &size))
        return false;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL &&
                EVP_DigestInit_ex(context, EVP_get_digestbyname(row->digest), NULL) == 1 &&
                EVP_DigestUpdate(context, secret.data, secret.size) == 1 &&
                EVP_DigestUpdate(context, bytes + row->size, size - row->size) == 1 &&
                EVP_DigestFinal_ex(context, made, &made_size) == 1 && made_size == row->size &&
                sodium_memcmp(made, bytes, row->size) == 0;
    EVP_MD_CTX_free(context);
    return good;
}

/* $1$salt$rounds$hex */
static bool pbkdf2_read(struct slice data, struct slice *salt, uint32_t *rounds, uint8_t key[20])
{
    size_t size;
    if (!slice_starts(data, SLICE_LITERAL("$1$")))
        return false;
    data = slice_sub(data, 3, data.size);
    *salt = slice_split(&data, '$');
    return salt->size > 0 && slice_u32(slice_split(&data, '$'), rounds) && *rounds > 0 &&
           *rounds <= 10000000 &&
           sodium_hex2bin(key, 20, (const char *)data.data, data.size, NULL, &size, NULL) == 0 &&
           size == 20;
}

bool digest_pbkdf2_valid(const char *name, struct slice data)
{
    struct slice salt;
    uint32_t rounds;
    uint8_t key[20];
    return pbkdf2_read(data, &salt, &rounds, key);
}

bool digest_pbkdf2_verify(const char *name, struct slice data, struct slice secret)
{
    struct slice salt;
    uint32_t rounds;
    uint8_t key[20], made[20];
    return pbkdf2_read(data, &salt, &rounds, key) &&
           PKCS5_PBKDF2_HMAC((const char *)secret.data, (int)secret.size, salt.data, (int)salt.size,
                             (int)rounds, EVP_sha1(), sizeof(made), made) == 1 &&
           sodium_memcmp(made, key, sizeof(key)) == 0;
}

void digest_warm_up(void)
{
    uint8_t bytes[DATA_MAX] = {0};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        EVP_Digest("", 0, bytes, NULL, EVP_get_digestbyname(rows[i].digest), NULL);
    PKCS5_PBKDF2_HMAC("", 0, bytes, 1, 1, EVP_sha1(), 20, bytes);
}
