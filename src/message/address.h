/*
 * Address lists (RFC 5322 3.4, obsolete forms 4.4, groups, RFC 6532 UTF-8) as IMAP's ENVELOPE shows
 * them (RFC 3501 7.4.2). Reads whatever stands there; deviations are in doc/real-mail.md:
 *   - a display name is taken from a comment when there is no phrase before the address;
 *   - an address without "@" has an empty host (NIL would mean a group);
 *   - what has neither name nor address is no address.
 */
#pragma once
#include "base/arena.h"
#include "message/summary.h"

enum { ADDRESS_LIST_MAX = 5000 };

/* Adds the addresses of one field's value; at most ADDRESS_LIST_MAX in all. Slices point into value
 * or the arena; the list is in the arena. */
void address_parse(struct slice value, struct arena *arena, struct summary_addresses *addresses);
