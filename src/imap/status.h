/* The items of STATUS, which LIST can return too (RFC 5819). */
#pragma once
#include "imap/imap_priv.h"

/* "(MESSAGES UIDNEXT)" as bits. */
bool imap_parse_status_items(struct imap_parser *parser, uint32_t *items);
void imap_put_status(struct imap_session *session, const struct mailbox_info *info, uint32_t items);
