/*
 * Addresses and parameters of MAIL and RCPT (RFC 5321 4.1.2, 6531 3.3). Pure functions.
 */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

enum { SMTP_ADDRESS_MAX = 512 }; /* RFC 5321 4.5.3.1.3 asks for 256 */

struct smtp_path {
    char address[SMTP_ADDRESS_MAX + 1]; /* "" for <>; else local@domain, or local alone */
    bool utf8;                          /* holds characters beyond ASCII */
};

/*
 * Takes "<...>" off the front of *rest. A source route is read and dropped (RFC 5321 C). A quoted
 * local part that needs no quotes loses them, so that "alice"@example.org and alice@example.org
 * are one address. A local part without domain is taken: <postmaster> must be (4.5.1), and accounts
 * may have names without domain. False: not a path; *rest is then undefined.
 */
bool smtp_path_parse(struct slice *rest, struct smtp_path *path);

/*
 * Takes the next " KEY[=VALUE]" off *rest (RFC 5321 4.1.2 esmtp-param). value.data is NULL without
 * "=". False: rest is empty, or (key.size 0 and rest not empty) it is no parameter.
 */
bool smtp_parameter_next(struct slice *rest, struct slice *key, struct slice *value);

/* A name for LHLO: domain or address literal, taken as loosely as real clients send it: printable
 * characters without space, at most 255 (RFC 5321 4.5.3.1.2). */
bool smtp_domain_valid(struct slice name);
