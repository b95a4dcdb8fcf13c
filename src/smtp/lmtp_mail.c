/* MAIL and RCPT: who sends to whom (RFC 5321 4.1.1.2, 4.1.1.3; RFC 1870, 6152, 6531). */
#include <stdlib.h>

#include "base/mem.h"
#include "smtp/lmtp.h"

/* "FROM:" and what may stand as blanks behind it: many clients send one, though 4.1.1.2 forbids. */
static bool take_word(struct slice *rest, const char *word)
{
    struct slice head = slice_sub(*rest, 0, strlen(word));
    if (!slice_equal_nocase_str(head, word)) {
        return false;
    }
    *rest = slice_sub(*rest, head.size, rest->size);
    while (rest->size > 0 && rest->data[0] == ' ') {
        *rest = slice_sub(*rest, 1, rest->size);
    }
    return true;
}

const char *lmtp_check_mail(struct lmtp_request *request)
{
    static const char syntax[] = "501 5.5.4 Syntax: MAIL FROM:<address> [SIZE=n]";
    struct slice rest = request->argument, key, value;
    if (!take_word(&rest, "FROM:") || !smtp_path_parse(&rest, &request->path)) {
        return syntax;
    }
    while (smtp_parameter_next(&rest, &key, &value)) {
        if (slice_equal_nocase_str(key, "SIZE")) {
            if (!slice_u64(value, &request->size)) {
                return "501 5.5.4 SIZE is a number";
            }
        } else if (slice_equal_nocase_str(key, "BODY")) {
            if (!slice_equal_nocase_str(value, "7BIT") &&
                !slice_equal_nocase_str(value, "8BITMIME")) {
                return "501 5.5.4 BODY is 7BIT or 8BITMIME";
            }
        } else if (slice_equal_nocase_str(key, "SMTPUTF8") && value.data == NULL) {
            request->utf8 = true;
        } else {
            return "555 5.5.4 Unknown parameter"; /* RFC 5321 4.1.1.11 */
        }
    }
    if (rest.size > 0) {
        return syntax;
    }
    if (request->path.utf8 && !request->utf8) {
        return "550 5.6.7 Address needs SMTPUTF8"; /* RFC 6531 3.5 */
    }
    return NULL;
}

enum door_step lmtp_mail(struct lmtp *lmtp, const struct lmtp_request *request)
{
    if (request->size > door_settings(lmtp->conn)->message_size) { /* RFC 1870 6.1 */
        return lmtp_refuse(lmtp, "552 5.3.4 Message too large");
    }
    lmtp->from = request->path;
    lmtp->announced = request->size;
    lmtp->utf8 = request->utf8;
    lmtp->state = LMTP_MAIL;
    lmtp->bad = 0;
    lmtp->transactions++;
    lmtp_reply(lmtp, "250 2.1.0 Sender noted");
    return DOOR_AGAIN;
}

const char *lmtp_check_rcpt(struct lmtp_request *request)
{
    static const char syntax[] = "501 5.5.4 Syntax: RCPT TO:<address>";
    struct slice rest = request->argument, key, value;
    if (!take_word(&rest, "TO:") || !smtp_path_parse(&rest, &request->path) ||
        request->path.address[0] == '\0') {
        return syntax;
    }
    if (smtp_parameter_next(&rest, &key, &value)) {
        return "555 5.5.4 Unknown parameter";
    }
    return rest.size > 0 ? syntax : NULL;
}

/* The answer to a recipient that cannot be taken; NULL: it can. */
static const char *trouble_of(const struct door_rcpt *rcpt, enum ipc_delivery_result room)
{
    switch (rcpt->result) {
    case IPC_RCPT_OK:
        break;
    case IPC_RCPT_UNKNOWN:
        return "550 5.1.1 No such user";
    case IPC_RCPT_BAD_ADDRESS:
        return "553 5.1.3 Bad address";
    case IPC_RCPT_DISABLED:
        return "550 5.2.1 Mailbox disabled";
    case IPC_RCPT_UNAVAILABLE:
        return "451 4.3.0 Try again later";
    }
    switch (room) {
    case IPC_DELIVERY_OK:
        return NULL;
    case IPC_DELIVERY_OVER_QUOTA:
        return "452 4.2.2 Mailbox full";
    case IPC_DELIVERY_NOSPACE:
        return "452 4.3.1 No space; try again later";
    case IPC_DELIVERY_UNAVAILABLE:
    case IPC_DELIVERY_DAMAGED:
        break;
    }
    return "451 4.3.0 Try again later";
}

/* Another recipient with the same target, or one more delivery. */
static size_t delivery_of(const struct lmtp *lmtp, const struct door_rcpt *rcpt)
{
    size_t next = 0;
    for (size_t i = 0; i < lmtp->count; i++) {
        const struct lmtp_rcpt *other = &lmtp->rcpts[i];
        if (id_equal(other->to.account, rcpt->account) &&
            strcmp(other->to.detail, rcpt->detail) == 0) {
            return other->delivery;
        }
        next = other->delivery >= next ? other->delivery + 1 : next;
    }
    return next;
}

static void found(void *state, const struct door_rcpt *rcpt, enum ipc_delivery_result room)
{
    struct lmtp *lmtp = state;
    char *address = lmtp->asked;
    lmtp->asked = NULL;
    const char *trouble = trouble_of(rcpt, room);
    if (trouble != NULL) {
        free(address);
        lmtp_reply(lmtp, trouble);
    } else {
        if (lmtp->count == lmtp->room) {
            lmtp->room = lmtp->room == 0 ? 1 : lmtp->room * 2;
            lmtp->rcpts = mem_grow(lmtp->rcpts, lmtp->room, sizeof(*lmtp->rcpts));
        }
        struct lmtp_rcpt added = {
            .to = *rcpt, .address = address, .delivery = delivery_of(lmtp, rcpt)};
        lmtp->rcpts[lmtp->count++] = added;
        lmtp->state = LMTP_RCPT;
        lmtp_reply(lmtp, "250 2.1.5 Recipient noted");
    }
    door_conn_resume(lmtp->conn);
}

enum door_step lmtp_rcpt(struct lmtp *lmtp, const struct lmtp_request *request)
{
    if (request->path.utf8 && !lmtp->utf8) {
        return lmtp_refuse(lmtp, "553 5.6.7 Address needs SMTPUTF8"); /* RFC 6531 3.5 */
    }
    if (lmtp->count >= door_settings(lmtp->conn)->limit_recipients) {
        lmtp_reply(lmtp, "452 4.5.3 Too many recipients"); /* RFC 5321 4.5.3.1.10 */
        return DOOR_AGAIN;
    }
    lmtp->bad = 0;
    lmtp->asked = mem_strdup(request->path.address);
    door_conn_lookup(lmtp->conn, slice_str(lmtp->asked), lmtp->announced, found);
    return DOOR_WAIT;
}
