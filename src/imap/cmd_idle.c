/*
 * IDLE (RFC 2177): news are told in the turn of the loop in which they became durable, since the
 * view's notification wakes this command there. Anything but DONE is a bad command.
 */
#include "imap/cmd.h"

struct idle {
    bool begun;
};

static enum imap_step idle_proceed(struct imap_session *session, void *own)
{
    struct idle *idle = own;
    if (!idle->begun)
        imap_printf(session, "+ idling\r\n");
    idle->begun = true;
    if (session->work.line.data != NULL) {
        if (!slice_equal_nocase_str(session->work.line, "DONE"))
            imap_reply(session, "BAD IDLE ends with DONE.");
        return IMAP_DONE;
    }
    if (session->selected && !imap_tell(session, true, false))
        return IMAP_CLOSE;
    return IMAP_WAIT_INPUT;
}

const struct imap_command imap_cmd_idle = {.name = "IDLE",
                                           .states = IMAP_AUTHENTICATED,
                                           .flags = IMAP_TAKES_LINE,
                                           .size = sizeof(struct idle),
                                           .proceed = idle_proceed};
