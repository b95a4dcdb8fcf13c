/*
 * What POP3's part before login (pop3_door.c, in the door) and its session (pop3_session.c, in the
 * worker) share: the shape of a command, and the capabilities.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { POP3_LINE_MAX = 24 * 1024 }; /* RFC 2449 4 asks for 255; RFC 5034 for SASL's longest */

/* What both states announce (RFC 2449): a message's UIDL stays, commands may come in a heap, errors
 * carry codes (RFC 2449 8, RFC 3206). */
#define POP3_CAPABILITIES                                                                          \
    "TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n"

/*
 * A line without its CRLF into verb and argument (SLICE_NONE without one; what follows the first
 * space, untouched: a password may begin or end with spaces). False: it holds NUL or CR, or no
 * verb.
 */
bool pop3_parse(struct slice line, struct slice *verb, struct slice *argument);
/* One message number or count: digits alone. */
bool pop3_parse_number(struct slice argument, uint32_t *number);
/* Two of them, one space between. */
bool pop3_parse_numbers(struct slice argument, uint32_t *first, uint32_t *second);
