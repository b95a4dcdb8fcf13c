/*
 * What we speak: TLS 1.2 and later (RFC 8996), no compression, no renegotiation, buffers given back
 * while a connection is idle. The certificate comes from descriptors, so that this process needs no
 * file.
 *
 * A handshake costs more than everything else before a login, so what it need not do is left out:
 * no search for a longer chain than the file has (there is nowhere to find one), no tickets with
 * TLS 1.3 (doc/decisions/0011), the short key first where a client takes both.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "io/fd.h"
#include "tls/tls.h"

enum { PEM_MAX = 1024 * 1024 };

void tls_error_text(char *text, size_t size)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    snprintf(text, size, "%s", reason != NULL ? reason : "no reason given");
    ERR_clear_error();
}

static bool fail(struct error *error, const char *what)
{
    char text[160];
    tls_error_text(text, sizeof(text));
    return error_set(error, "%s: %s", what, text);
}

/* The whole file in memory; NULL with the reason. */
static BIO *read_pem(int fd, struct error *error)
{
    struct stat about;
    if (fstat(fd, &about) != 0 || about.st_size <= 0 || about.st_size > PEM_MAX) {
        error_set(error, "the PEM file is empty or larger than %d bytes", PEM_MAX);
        return NULL;
    }
    size_t size = (size_t)about.st_size;
    char *bytes = mem_alloc(size);
    BIO *bio = NULL;
    if (!fd_pread_all(fd, bytes, size, 0))
        error_errno(error, "PEM file");
    else if ((bio = BIO_new(BIO_s_mem())) != NULL)
        BIO_write(bio, bytes, (int)size);
    mem_wipe(bytes, size);
    free(bytes);
    return bio;
}

static bool use_chain(SSL_CTX *context, BIO *pem, struct error *error)
{
    X509 *leaf = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
    if (leaf == NULL || SSL_CTX_use_certificate(context, leaf) != 1) {
        X509_free(leaf);
        return fail(error, "certificate");
    }
    X509_free(leaf);
    for (X509 *more; (more = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL;)
        if (SSL_CTX_add0_chain_cert(context, more) != 1) {
            X509_free(more);
            return fail(error, "certificate chain");
        }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!at_end)
        return fail(error, "certificate chain");
    ERR_clear_error();
    return true;
}

static bool use_key(SSL_CTX *context, BIO *pem, struct error *error)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, NULL, NULL);
    bool good = key != NULL && SSL_CTX_use_PrivateKey(context, key) == 1 &&
                SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    return good || fail(error, "key");
}

static bool set_up(SSL_CTX *context, int chain, int key, struct error *error)
{
    static const unsigned char session_context[] = "restante";
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(context, 1); /* a record's head and body in one read */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(context, session_context, sizeof(session_context) - 1);
    SSL_CTX_set_num_tickets(context, 0);
    BIO *chain_pem = read_pem(chain, error);
    BIO *key_pem = chain_pem == NULL ? NULL : read_pem(key, error);
    bool good = key_pem != NULL && use_chain(context, chain_pem, error) &&
                use_key(context, key_pem, error) &&
                SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                                  "TLS_CHACHA20_POLY1305_SHA256") == 1;
    BIO_free(chain_pem);
    BIO_free(key_pem);
    return good;
}

SSL_CTX *tls_context_create(int chain, int key, struct error *error)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL) {
        fail(error, "OpenSSL");
        return NULL;
    }
    if (set_up(context, chain, key, error))
        return context;
    SSL_CTX_free(context);
    return NULL;
}
