/* The patterns of LIST (RFC 3501 6.3.8): "*" any run, "%" a run without the separator. */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

/* Time is at most pattern.size * name.size. */
bool pattern_match(struct slice pattern, struct slice name);
/* INBOX is one name in any case (RFC 3501 5.1): writes it in capitals where the pattern begins with
 * it as a level. bytes: the pattern's own. */
void pattern_inbox(struct slice pattern, uint8_t *bytes);
