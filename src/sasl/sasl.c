/*
 * The table of mechanisms and the life of an exchange. A mechanism is a row here and a step
 * function in a file of its own. Limits are enforced here, once, before a mechanism sees a byte.
 *
 * Not here: base64, the line protocols' cancel ("*"), accounts, hashing of passwords.
 */
#include "sasl/sasl_priv.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"

static const struct sasl_row rows[] = {
    {{"SCRAM-SHA-256-PLUS", false, true, true}, sasl_scram_step},
    {{"SCRAM-SHA-256", false, true, false}, sasl_scram_step},
    {{"PLAIN", true, false, false}, sasl_plain_step},
    {{"LOGIN", true, false, false}, sasl_login_step},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

const struct sasl_mechanism *sasl_mechanism_at(size_t index)
{
    return index < ROWS ? &rows[index].mechanism : NULL;
}

const struct sasl_mechanism *sasl_mechanism_find(struct slice name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (slice_equal_nocase_str(name, rows[i].mechanism.name))
            return &rows[i].mechanism;
    return NULL;
}

static enum sasl_step step_run(struct sasl_exchange *exchange, struct slice message)
{
    buf_clear(&exchange->output);
    if (message.size > SASL_MESSAGE_MAX)
        return SASL_MALFORMED;
    return exchange->row->step(exchange, message);
}

struct sasl_exchange *sasl_start(const struct sasl_mechanism *mechanism, struct slice exporter,
                                 struct slice initial, enum sasl_step *step)
{
    struct sasl_exchange *exchange = MEM_NEW(struct sasl_exchange);
    for (size_t i = 0; i < ROWS; i++)
        if (&rows[i].mechanism == mechanism)
            exchange->row = &rows[i];
    ASSERT(exchange->row != NULL);
    if (exporter.size == sizeof(exchange->exporter)) {
        memcpy(exchange->exporter, exporter.data, exporter.size);
        exchange->has_exporter = true;
    }
    if (mechanism->binds && !exchange->has_exporter)
        *step = SASL_MALFORMED;
    else
        *step = step_run(exchange, initial);
    return exchange;
}

enum sasl_step sasl_respond(struct sasl_exchange *exchange, struct slice response)
{
    if (response.data == NULL)
        response = SLICE_LITERAL("");
    return step_run(exchange, response);
}

struct slice sasl_output(const struct sasl_exchange *exchange)
{
    return buf_slice(&exchange->output);
}

struct slice sasl_name(const struct sasl_exchange *exchange)
{
    return slice_make(exchange->name, exchange->name_size);
}

struct slice sasl_secret(const struct sasl_exchange *exchange)
{
    return slice_make(exchange->secret, exchange->secret_size);
}

bool sasl_take_name(struct sasl_exchange *exchange, struct slice name)
{
    if (name.size == 0 || name.size > SASL_NAME_MAX || !utf8_valid(name))
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] < 0x20 || name.data[i] == 0x7f)
            return false;
    memcpy(exchange->name, name.data, name.size);
    exchange->name_size = name.size;
    return true;
}

bool sasl_take_secret(struct sasl_exchange *exchange, struct slice secret)
{
    if (secret.size == 0 || secret.size > SASL_SECRET_MAX || slice_find(secret, 0) != secret.size)
        return false;
    memcpy(exchange->secret, secret.data, secret.size);
    exchange->secret_size = secret.size;
    return true;
}

void sasl_destroy(struct sasl_exchange **exchange)
{
    struct sasl_exchange *e = *exchange;
    if (e == NULL)
        return;
    sasl_scram_finish(e);
    buf_finish(&e->output);
    buf_finish(&e->message);
    mem_wipe(e, sizeof(*e));
    free(e);
    *exchange = NULL;
}
