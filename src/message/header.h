/* What the header of one part says, for a summary. */
#pragma once
#include "base/arena.h"
#include "message/summary.h"

/* What only the message itself has. Begin with date_s = INT64_MIN and the rest 0. */
struct header_message {
    int64_t date_s;
    struct slice *references; /* RFC 5256 3, THREAD=REFERENCES: those of References, else the first
                               * of In-Reply-To; without <> */
    uint32_t reference_count;
};

/*
 * Sets type, subtype, encoding (to what the context makes them where the header does not say) and
 * all other texts of the part. Of fields that come twice the first counts; lists of addresses are
 * joined. envelope: NULL for a part that has none; message: NULL but for part 0.
 */
void header_parse(struct slice header, bool in_digest, struct arena *arena,
                  struct summary_part *part, struct summary_envelope *envelope,
                  struct header_message *message);
