/*
 * The tls process: sockets come from doors, clear text goes back through a socket pair. It holds
 * the private key and reads TLS records; it knows no mail protocol, and has no file and no way to
 * make a network socket. Files: main.c (the process), context.c (certificate and options), pump.c
 * (one connection), certificate.c (what master runs for a moment: check and make).
 */
#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct event_base;

/* ---- context.c ----------------------------------------------------------------------------- */

/* From two PEM files, read from their beginning; the descriptors stay the caller's. NULL with the
 * reason. */
SSL_CTX *tls_context_create(int chain, int key, struct error *error);
/* What OpenSSL has to say, in a few words; empties its queue. */
void tls_error_text(char *text, size_t size);

/* ---- certificate.c
 * ------------------------------------------------------------------------------- */

/* Exit status of `restante-tls check` and `restante-tls make`: descriptors 3 and 4 are chain and
 * key; one line on standard output. */
int tls_certificate_check(void);
int tls_certificate_make(void);

/* ---- pump.c -------------------------------------------------------------------------------- */

struct tls_facts { /* slices are valid during the call */
    struct slice version, cipher, sni;
    uint8_t exporter[32]; /* RFC 9266 */
    bool has_exporter;
};

struct pump;

struct pump_owner {
    struct event_base *base;
    /* The handshake went well: clear is the other end, the callee's. Runs once, or failed does. */
    void (*established)(struct pump *pump, void *arg, const struct tls_facts *facts, int clear);
    void (*failed)(struct pump *pump, void *arg, const char *reason);
    /* An established one has ended and is freed behind this call. */
    void (*ended)(struct pump *pump, void *arg);
    bool draining; /* linger for a moment only */
};

/* Takes net. seconds: for the handshake. The pump frees itself behind failed or ended. */
struct pump *pump_create(struct pump_owner *owner, void *arg, SSL_CTX *context, int net,
                         unsigned seconds);
/* Before it is established: gives up, without a callback. */
void pump_cancel(struct pump **pump);
