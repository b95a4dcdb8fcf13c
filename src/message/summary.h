/*
 * What a reader process says of a message: where its parts are, and the fields that IMAP's
 * ENVELOPE, BODYSTRUCTURE, SORT and THREAD need. Packed, stored beside the message, checked by the
 * worker before anything is believed. The parser that makes it (message/parse.h) runs in readers
 * and tools only; this file is all that a worker links of message/.
 *
 * Offsets count from the first byte of the blob (not of the delivery prefix) in wire form. Texts
 * are the header's own bytes, unfolded (RFC 5322 2.2.3), without CR, LF and NUL, not decoded. The
 * packed form is in doc/formats/summary.md.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

enum {
    SUMMARY_FORMAT = 2,
    SUMMARY_SIZE_MAX = 48 * 1024, /* packed; beyond it texts are cut, then parts made opaque */
    SUMMARY_DEPTH_MAX = 100,      /* beyond it the rest is one opaque part */
    SUMMARY_PARTS_MAX = 10000,
};

enum summary_kind {
    SUMMARY_LEAF,      /* anything else; its type is never multipart, message/rfc822 or /global */
    SUMMARY_MULTIPART, /* its children follow: at least one */
    SUMMARY_MESSAGE,   /* message/rfc822 or message/global: one child, the message inside */
};

struct summary_parameter {
    struct slice name, value; /* RFC 2231 pieces joined; still encoded (charset'language'%xx) */
};

/* RFC 3501 7.4.2: a group begins with only mailbox set and ends with nothing set. */
struct summary_address {
    struct slice name, route, mailbox, host; /* data NULL: NIL */
};

struct summary_addresses {
    struct summary_address *list;
    uint32_t count;
};

struct summary_envelope { /* slices with data NULL: NIL */
    struct slice date, subject, in_reply_to, message_id;
    struct summary_addresses from, sender, reply_to, to, cc, bcc; /* sender, reply_to: as found */
};

/* One part, in the order of the message, parents before children. Part 0 is the message itself. */
struct summary_part {
    enum summary_kind kind;
    uint32_t depth;             /* 0 for part 0 */
    uint32_t parent;            /* index; 0 for part 0 */
    uint32_t children;          /* direct ones */
    uint32_t next;              /* index of the first part behind this one and all below it */
    uint64_t header_offset;     /* after the boundary line */
    uint64_t header_size;       /* with the empty line, if there is one */
    uint64_t body_size;         /* begins at header_offset + header_size */
    uint32_t body_lines;        /* line ends in the body */
    struct slice type, subtype; /* never empty: the default of the context */
    struct slice encoding;      /* Content-Transfer-Encoding; "7BIT" when it has none */
    struct slice id, description, md5, location, disposition; /* data NULL: NIL */
    struct summary_parameter *parameters;
    uint32_t parameter_count;
    struct summary_parameter *disposition_parameters;
    uint32_t disposition_parameter_count;
    struct slice *languages;
    uint32_t language_count;
    struct summary_envelope *envelope; /* of part 0 and of the child of a SUMMARY_MESSAGE */
};

struct summary {
    uint64_t size;              /* bytes of the blob */
    struct summary_part *parts; /* at least one */
    uint32_t part_count;
    int64_t date_s;           /* the Date field as UTC seconds; INT64_MIN: none */
    struct slice preview;     /* RFC 8970: up to 200 characters of text, UTF-8; may be empty */
    struct slice *references; /* RFC 5256 3: the message-ids of References, else the first one of
                               * In-Reply-To; without <>, none of data NULL */
    uint32_t reference_count;
    struct slice folded; /* what SEARCH looks for in the envelope (message/needle.h); data NULL:
                          * not there, the message itself must be asked */
};

/* Packs, cutting down to SUMMARY_SIZE_MAX. */
void summary_encode(const struct summary *summary, struct buf *out);

/*
 * Unpacks into the arena (slices point into packed). Believes nothing: false unless every count,
 * kind, parent and range fits a message of `size` bytes, parts lie inside their parents and in
 * order, and no text holds CR, LF or NUL. The cost is linear in packed.size.
 */
bool summary_decode(struct slice packed, uint64_t size, struct arena *arena,
                    struct summary *summary);

/* The folded texts alone, without a look at anything else; data NULL: none. */
struct slice summary_folded(struct slice packed);

/* What stands for a message without a usable summary: one opaque text/plain part whose header ends
 * where header_size says (0: not known, all is body). */
void summary_opaque(uint64_t size, uint64_t header_size, struct arena *arena,
                    struct summary *summary);
