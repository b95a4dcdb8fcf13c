/* Commands that touch no transaction but to end it: LHLO, STARTTLS, RSET, NOOP, VRFY, QUIT... */
#include <inttypes.h>
#include <stdio.h>

#include "smtp/lmtp.h"

const char *lmtp_check_none(struct lmtp_request *request)
{
    return request->argument.size == 0 ? NULL : "501 5.5.4 This command takes no argument";
}

const char *lmtp_check_any(struct lmtp_request *request)
{
    return NULL;
}

const char *lmtp_check_hello(struct lmtp_request *request)
{
    request->argument = slice_trim(request->argument);
    return smtp_domain_valid(request->argument) ? NULL : "501 5.5.4 Say LHLO and your name";
}

enum door_step lmtp_lhlo(struct lmtp *lmtp, const struct lmtp_request *request)
{
    struct door_conn *conn = lmtp->conn;
    lmtp_reset(lmtp); /* RFC 5321 4.1.4 */
    lmtp->state = LMTP_READY;
    lmtp->bad = 0;
    snprintf(lmtp->helo, sizeof(lmtp->helo), "%.*s", SLICE_PRINT(request->argument));
    door_conn_printf(conn,
                     "250-%s\r\n250-PIPELINING\r\n250-SIZE %" PRIu64
                     "\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n%s"
                     "250 CHUNKING\r\n",
                     door_hostname(conn), door_settings(conn)->message_size,
                     door_conn_can_starttls(conn) ? "250-STARTTLS\r\n" : "");
    return DOOR_AGAIN;
}

enum door_step lmtp_helo(struct lmtp *lmtp, const struct lmtp_request *request)
{
    return DOOR_AGAIN; /* its row allows it in no state (RFC 2033 4.1) */
}

enum door_step lmtp_starttls(struct lmtp *lmtp, const struct lmtp_request *request)
{
    if (door_conn_secure(lmtp->conn)) {
        return lmtp_refuse(lmtp, "503 5.5.1 TLS is on already");
    }
    if (!door_conn_can_starttls(lmtp->conn)) {
        return lmtp_refuse(lmtp, "454 4.7.0 TLS is not available at the moment");
    }
    lmtp_reply(lmtp, "220 2.0.0 Go ahead");
    door_conn_starttls(lmtp->conn);
    return DOOR_WAIT;
}

enum door_step lmtp_rset(struct lmtp *lmtp, const struct lmtp_request *request)
{
    lmtp_reset(lmtp);
    lmtp_reply(lmtp, "250 2.0.0 Forgotten");
    return DOOR_AGAIN;
}

enum door_step lmtp_noop(struct lmtp *lmtp, const struct lmtp_request *request)
{
    lmtp_reply(lmtp, "250 2.0.0 Done");
    return DOOR_AGAIN;
}

enum door_step lmtp_vrfy(struct lmtp *lmtp, const struct lmtp_request *request)
{
    lmtp_reply(lmtp, "252 2.5.0 Ask with RCPT"); /* RFC 5321 7.3 */
    return DOOR_AGAIN;
}

enum door_step lmtp_expn(struct lmtp *lmtp, const struct lmtp_request *request)
{
    return lmtp_refuse(lmtp, "502 5.5.1 There are no lists here");
}

enum door_step lmtp_help(struct lmtp *lmtp, const struct lmtp_request *request)
{
    lmtp_reply(lmtp, "214 2.0.0 LMTP: LHLO STARTTLS MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT");
    return DOOR_AGAIN;
}

enum door_step lmtp_quit(struct lmtp *lmtp, const struct lmtp_request *request)
{
    door_conn_printf(lmtp->conn, "221 2.0.0 %s closing\r\n", door_hostname(lmtp->conn));
    return DOOR_CLOSE;
}
