/* The Date field (RFC 5322 3.3, obsolete forms 4.3) as seconds, as RFC 5256 2.2 wants it for SORT:
 * without a usable zone it is UTC, without a usable time 00:00:00. */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

/* False when there is no date to be found; *seconds since 1970, UTC. Comments are skipped. Also
 * reads the order of asctime(3) and ISO 8601, which real mail has. */
bool date_parse(struct slice value, int64_t *seconds);
