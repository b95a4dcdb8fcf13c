/*
 * Runs for a moment, for master, so that master contains no certificate parser: says the SHA-256
 * fingerprint of a pair that works, or makes a self-signed one (ECDSA P-256, ten years, for this
 * host's name and localhost).
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tls/tls.h"

enum { CHAIN_FD = 3, KEY_FD = 4, DAYS = 3650 };

int tls_certificate_check(void)
{
    struct error error = {""};
    unsigned char digest[32];
    unsigned size = 0;
    SSL_CTX *context = tls_context_create(CHAIN_FD, KEY_FD, &error);
    if (context == NULL) {
        puts(error.text);
        return 1;
    }
    if (X509_digest(SSL_CTX_get0_certificate(context), EVP_sha256(), digest, &size) != 1)
        return 1;
    for (unsigned i = 0; i < size; i++)
        printf("%s%02X", i == 0 ? "" : ":", digest[i]);
    printf("\n");
    SSL_CTX_free(context);
    return fflush(stdout) == 0 ? 0 : 1;
}

static bool add_extension(X509 *certificate, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool good = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool fill(X509 *certificate, EVP_PKEY *key, const char *host)
{
    char names[160];
    uint64_t serial = 0;
    X509_NAME *name = X509_get_subject_name(certificate);
    snprintf(names, sizeof(names), "DNS:%s,DNS:localhost,IP:127.0.0.1,IP:::1", host);
    return RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1 &&
           X509_set_version(certificate, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1 | 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), DAYS, 0, NULL) != NULL &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)host, -1,
                                      -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
           add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
           add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
           add_extension(certificate, NID_subject_alt_name, names) &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

/* A host name that a certificate cannot carry becomes localhost. */
static void host_name(char *host, size_t size)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    if (gethostname(host, size) != 0 || host[0] == '\0' || strlen(host) >= size - 1 ||
        strlen(host) > 63 || strspn(host, allowed) != strlen(host))
        snprintf(host, size, "localhost");
}

int tls_certificate_make(void)
{
    char host[65], text[160] = "writing";
    host_name(host, sizeof(host));
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    BIO *chain_out = BIO_new_fd(CHAIN_FD, BIO_NOCLOSE);
    BIO *key_out = BIO_new_fd(KEY_FD, BIO_NOCLOSE);
    bool good = key != NULL && certificate != NULL && chain_out != NULL && key_out != NULL &&
                fill(certificate, key, host) &&
                PEM_write_bio_PKCS8PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                PEM_write_bio_X509(chain_out, certificate) == 1;
    if (!good)
        tls_error_text(text, sizeof(text));
    puts(good ? "made" : text);
    BIO_free(chain_out);
    BIO_free(key_out);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return good ? 0 : 1;
}
