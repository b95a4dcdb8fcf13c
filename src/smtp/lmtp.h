/*
 * LMTP's own header (RFC 2033): one connection's state and the table of commands. Only files of
 * smtp/ include it; the door knows lmtp_door alone.
 */
#pragma once
#include "base/buf.h"
#include "door/door.h"
#include "smtp/data.h"
#include "smtp/path.h"
#include "smtp/spool.h"

enum lmtp_state {                 /* bits, for the table's column of states */
                  LMTP_FRESH = 1, /* before LHLO */
                  LMTP_READY = 2, /* no transaction */
                  LMTP_MAIL = 4,  /* sender known */
                  LMTP_RCPT = 8,  /* and a recipient */
                  LMTP_BDAT = 16, /* and a chunk */
                  LMTP_ANY = 31,
};

enum lmtp_mode { LMTP_LINES, LMTP_SKIP_LINE, LMTP_DATA, LMTP_CHUNK };

/* What a check makes of a command's argument. */
struct lmtp_request {
    struct slice argument;
    struct smtp_path path;
    uint64_t size; /* of MAIL's SIZE, or of the chunk */
    bool utf8, last;
};

struct lmtp_rcpt {
    struct door_rcpt to;
    char *address;   /* as the client wrote it, for answers */
    size_t delivery; /* recipients that are the same mailbox share one */
};

struct lmtp {
    struct door_conn *conn;
    enum lmtp_state state;
    enum lmtp_mode mode;
    char helo[256];
    unsigned bad; /* bad commands in a row */
    unsigned transactions;
    struct buf line; /* the command in work */

    struct smtp_path from;
    uint64_t announced; /* SIZE=; 0: not given */
    bool utf8;
    struct lmtp_rcpt *rcpts;
    size_t count, room;
    char *asked; /* address of the RCPT that waits for its lookup */

    struct spool spool;
    uint64_t charged; /* to the connection, for the spool */
    enum smtp_data_state data;
    uint64_t chunk_left;
    bool chunk_last, chunk_refused;

    struct door_delivery *deliveries;
    enum ipc_delivery_result *results;
    struct buf *prefixes;
    size_t delivery_count, delivered;
    uint64_t size; /* of the message being delivered */
};

struct lmtp_command {
    const char *name;
    unsigned states;       /* in which it is allowed */
    const char *elsewhere; /* the answer in all others */
    /* Pure: NULL and the request filled, or the answer to bad syntax. */
    const char *(*check)(struct lmtp_request *request);
    enum door_step (*proceed)(struct lmtp *lmtp, const struct lmtp_request *request);
};

extern const struct lmtp_command lmtp_commands[]; /* ends with a row without name */
/* NULL: unknown. argument: what stands behind the verb. Pure. */
const struct lmtp_command *lmtp_command_find(struct slice line, struct slice *argument);

const char *lmtp_check_none(struct lmtp_request *request);
const char *lmtp_check_any(struct lmtp_request *request);
const char *lmtp_check_hello(struct lmtp_request *request);
const char *lmtp_check_mail(struct lmtp_request *request);
const char *lmtp_check_rcpt(struct lmtp_request *request);
const char *lmtp_check_bdat(struct lmtp_request *request);

enum door_step lmtp_lhlo(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_helo(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_starttls(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_mail(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_rcpt(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_data(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_bdat(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_rset(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_noop(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_vrfy(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_expn(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_help(struct lmtp *lmtp, const struct lmtp_request *request);
enum door_step lmtp_quit(struct lmtp *lmtp, const struct lmtp_request *request);

/* Ends the transaction; nothing of it stays. */
void lmtp_reset(struct lmtp *lmtp);
/* One line with CRLF behind it. */
void lmtp_reply(struct lmtp *lmtp, const char *text);
/* The same for a command that was wrong: counts, and ends the connection when it was once too
 * often. */
enum door_step lmtp_refuse(struct lmtp *lmtp, const char *text);

/* Bytes of a message in modes LMTP_DATA and LMTP_CHUNK. */
enum door_step lmtp_message_input(struct lmtp *lmtp, struct evbuffer *input);
/* The message is whole: delivers it or answers why not, per recipient. */
enum door_step lmtp_deliver(struct lmtp *lmtp);
