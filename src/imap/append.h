/* The arguments of APPEND: the spool reads them too, when a literal is announced. */
#pragma once
#include "imap/imap_priv.h"

struct imap_append_message {
    struct mailbox_flags flags;
    uint64_t date_us; /* 0: now */
    int32_t zone_minutes;
    size_t place; /* in the spool */
};

struct imap_append {
    struct slice name;
    struct imap_append_message *messages;
    size_t count;
    bool asked;
    const char *appenduid;
};

/* From behind the name, of a whole command or of one cut behind the announcement of a message. */
bool imap_append_check(struct imap_parser *parser, bool uid, void *own);
