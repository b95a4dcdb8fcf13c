/* What the mechanisms share; for sasl/ only. */
#pragma once
#include "base/buf.h"
#include "sasl/sasl.h"

struct Gsasl_session;

/* state is the mechanism's: how many messages it has had. */
struct sasl_exchange {
    const struct sasl_row *row;
    int state;
    char name[SASL_NAME_MAX + 1];
    size_t name_size;
    char secret[SASL_SECRET_MAX + 1];
    size_t secret_size;
    struct buf output;
    struct buf message; /* SCRAM: client-first, while the caller looks for keys */
    uint8_t exporter[SASL_KEY_SIZE];
    bool has_exporter;
    struct Gsasl_session *session; /* SCRAM's */
};

struct sasl_row {
    struct sasl_mechanism mechanism;
    /* The message is within SASL_MESSAGE_MAX; data NULL: the client spoke not yet. */
    enum sasl_step (*step)(struct sasl_exchange *exchange, struct slice message);
};

enum sasl_step sasl_plain_step(struct sasl_exchange *exchange, struct slice message);
enum sasl_step sasl_login_step(struct sasl_exchange *exchange, struct slice message);
enum sasl_step sasl_scram_step(struct sasl_exchange *exchange, struct slice message);
void sasl_scram_finish(struct sasl_exchange *exchange);

/* Takes a name: 1 to SASL_NAME_MAX bytes of UTF-8 without control characters. */
bool sasl_take_name(struct sasl_exchange *exchange, struct slice name);
/* Takes a secret: 1 to SASL_SECRET_MAX bytes, none of them NUL. */
bool sasl_take_secret(struct sasl_exchange *exchange, struct slice secret);
