/*
 * From a whole message to one answer per recipient (RFC 2033 4.2), in the order of the RCPTs and
 * when all are known. 250 is said only for what a worker reported durable. A sender that hears 451
 * or nothing sends again; the mailbox layer knows the message by its bytes and keeps one copy.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtp/lmtp.h"
#include "smtp/trace.h"

void lmtp_reset(struct lmtp *lmtp)
{
    for (size_t i = 0; i < lmtp->count; i++) {
        free(lmtp->rcpts[i].address);
    }
    free(lmtp->rcpts);
    lmtp->rcpts = NULL;
    lmtp->count = lmtp->room = 0;
    for (size_t i = 0; i < lmtp->delivery_count; i++) {
        buf_finish(&lmtp->prefixes[i]);
    }
    free(lmtp->prefixes);
    free(lmtp->deliveries);
    free(lmtp->results);
    lmtp->prefixes = NULL;
    lmtp->deliveries = NULL;
    lmtp->results = NULL;
    lmtp->delivery_count = lmtp->delivered = 0;
    spool_finish(&lmtp->spool);
    door_conn_uncharge(lmtp->conn, lmtp->charged);
    lmtp->charged = 0;
    lmtp->mode = LMTP_LINES;
    if (lmtp->state != LMTP_FRESH) {
        lmtp->state = LMTP_READY;
    }
}

/* RFC 3463 codes; the text before and behind the address. */
static const struct answer {
    const char *word; /* for the log */
    const char *code, *text;
} answers[] = {
    [IPC_DELIVERY_OK] = {"ok", "250 2.0.0", "kept"},
    [IPC_DELIVERY_OVER_QUOTA] = {"over_quota", "452 4.2.2", "mailbox full"},
    [IPC_DELIVERY_NOSPACE] = {"no_space", "452 4.3.1", "no space; try again later"},
    [IPC_DELIVERY_UNAVAILABLE] = {"unavailable", "451 4.3.0", "try again later"},
    [IPC_DELIVERY_DAMAGED] = {"damaged", "451 4.3.0", "try again later"},
};

static void answer_all(struct lmtp *lmtp)
{
    for (size_t i = 0; i < lmtp->count; i++) {
        const struct lmtp_rcpt *rcpt = &lmtp->rcpts[i];
        const struct answer *answer = &answers[lmtp->results[rcpt->delivery]];
        door_conn_printf(lmtp->conn, "%s <%s> %s\r\n", answer->code, rcpt->address, answer->text);
        log_info("delivery", "account=%s from=%s size=%" PRIu64 " result=%s rip=%s id=%s.%u",
                 log_value(slice_str(rcpt->to.name)).text,
                 log_value(slice_str(lmtp->from.address)).text, lmtp->size, answer->word,
                 door_conn_client(lmtp->conn), door_session_id(lmtp->conn), lmtp->transactions);
    }
    lmtp_reset(lmtp);
}

static void done(void *state, size_t delivery, enum ipc_delivery_result result)
{
    struct lmtp *lmtp = state;
    ASSERT(delivery < lmtp->delivery_count && lmtp->delivered < lmtp->delivery_count);
    lmtp->results[delivery] = result <= IPC_DELIVERY_DAMAGED ? result : IPC_DELIVERY_UNAVAILABLE;
    lmtp->delivered++;
    if (lmtp->delivered == lmtp->delivery_count) {
        answer_all(lmtp);
        door_conn_resume(lmtp->conn);
    }
}

static void write_prefix(struct lmtp *lmtp, const struct lmtp_rcpt *rcpt, struct buf *out)
{
    char id[64];
    snprintf(id, sizeof(id), "%s.%u", door_session_id(lmtp->conn), lmtp->transactions);
    struct trace trace = {
        .from = slice_str(lmtp->from.address),
        .to = slice_str(rcpt->to.name),
        .helo = slice_str(lmtp->helo),
        .client = slice_str(door_conn_client(lmtp->conn)),
        .hostname = slice_str(door_hostname(lmtp->conn)),
        .id = slice_str(id),
        .tls = door_conn_secure(lmtp->conn),
        .utf8 = lmtp->utf8,
        .now_us = clock_real_us(),
    };
    trace_write(&trace, out);
}

static void prepare(struct lmtp *lmtp)
{
    size_t count = 0;
    for (size_t i = 0; i < lmtp->count; i++) {
        count = lmtp->rcpts[i].delivery >= count ? lmtp->rcpts[i].delivery + 1 : count;
    }
    lmtp->deliveries = mem_array(count, sizeof(*lmtp->deliveries));
    lmtp->results = mem_array(count, sizeof(*lmtp->results));
    lmtp->prefixes = mem_array(count, sizeof(*lmtp->prefixes));
    lmtp->delivery_count = count;
    for (size_t i = 0; i < lmtp->count; i++) {
        const struct lmtp_rcpt *rcpt = &lmtp->rcpts[i];
        struct door_delivery *delivery = &lmtp->deliveries[rcpt->delivery];
        if (delivery->rcpt == NULL) {
            write_prefix(lmtp, rcpt, &lmtp->prefixes[rcpt->delivery]);
            *delivery = (struct door_delivery){
                .rcpt = &rcpt->to, .prefix = buf_slice(&lmtp->prefixes[rcpt->delivery])};
        }
    }
}

static enum door_step refuse_all(struct lmtp *lmtp, const char *text)
{
    for (size_t i = 0; i < lmtp->count; i++) {
        door_conn_printf(lmtp->conn, "%s\r\n", text);
    }
    lmtp_reset(lmtp);
    return DOOR_AGAIN;
}

enum door_step lmtp_deliver(struct lmtp *lmtp)
{
    struct door_message message;
    lmtp->mode = LMTP_LINES;
    switch (spool_seal(&lmtp->spool, &message)) {
    case SPOOL_OK:
        break;
    case SPOOL_TOO_LARGE:
        return refuse_all(lmtp, "552 5.3.4 Message too large");
    case SPOOL_NOSPACE:
        return refuse_all(lmtp, "452 4.3.1 No space; try again later");
    }
    prepare(lmtp);
    lmtp->size = message.size;
    door_conn_deliver(lmtp->conn, &message, lmtp->deliveries, lmtp->delivery_count, done);
    spool_finish(&lmtp->spool);
    return DOOR_WAIT;
}
