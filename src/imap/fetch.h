/* What FETCH is asked for, and the two halves of answering it that need no session. */
#pragma once
#include "imap/imap_priv.h"
#include "message/summary.h"

enum fetch_kind {
    FETCH_FLAGS,
    FETCH_UID,
    FETCH_INTERNALDATE,
    FETCH_SIZE,
    FETCH_MODSEQ,
    FETCH_EMAIL_ID,
    FETCH_THREAD_ID,
    FETCH_SAVE_DATE,
    FETCH_ENVELOPE,
    FETCH_BODY,
    FETCH_BODYSTRUCTURE,
    FETCH_SECTION,
    FETCH_BINARY, /* RFC 3516 */
    FETCH_BINARY_SIZE,
};

enum fetch_text {            /* the last word of a section */
                  FETCH_ALL, /* BODY[], BODY[1.2] */
                  FETCH_HEADER,
                  FETCH_FIELDS,
                  FETCH_FIELDS_NOT,
                  FETCH_TEXT,
                  FETCH_MIME,
};

struct fetch_item {
    enum fetch_kind kind;
    /* of FETCH_SECTION and those behind: */
    const char *label; /* as it is answered: "BODY[1.HEADER]<0>", "RFC822" */
    uint32_t *path;    /* part numbers */
    size_t depth;
    enum fetch_text text;
    struct slice *fields;
    size_t field_count;
    bool partial;
    uint64_t offset, size; /* of <offset.size> */
};

struct fetch_items {
    struct fetch_item *list;
    size_t count, room;
    bool sets_seen;
    uint32_t need;          /* of mailbox_load */
    bool changed, vanished; /* modifiers (RFC 7162 3.1.4.1, 3.2.6) */
    uint64_t since;         /* of CHANGEDSINCE */
};

/* ---- fetch_parse.c ------------------------------------------------------------------------- */

/* One item, a macro, or a list of items. */
bool fetch_parse_items(struct imap_parser *parser, struct fetch_items *items);
/* " (CHANGEDSINCE n VANISHED)", or nothing. */
bool fetch_parse_modifiers(struct imap_parser *parser, bool uid, struct fetch_items *items);

/* ---- fetch_section.c ----------------------------------------------------------------------- */

struct fetch_range {
    uint64_t offset, size; /* in prefix and blob as one run */
};
/* Where the section is; false: the message has no such part. Without its partial: that comes
 * after the choice of fields. */
bool fetch_locate(const struct summary *summary, uint64_t prefix_size,
                  const struct fetch_item *item, struct fetch_range *range);
/* The part that path leads to; NULL: there is none. */
const struct summary_part *fetch_part(const struct summary *summary, const struct fetch_item *item);
void fetch_clip(const struct fetch_item *item, struct fetch_range *range);
/* The chosen fields of a header and an empty line, also where the header has none: neomutt passes
 * over a message of which nothing comes here (RFC 3501 6.4.5 would leave it out). */
void fetch_choose_fields(struct slice header, const struct fetch_item *item, struct buf *chosen);

/* ---- fetch_structure.c --------------------------------------------------------------------- */

void fetch_put_envelope(struct buf *out, const struct summary_envelope *envelope);
/* extended: BODYSTRUCTURE, else BODY. */
void fetch_put_structure(struct buf *out, const struct summary *summary, bool extended);
void fetch_put_date(struct buf *out, uint64_t date_us, int32_t zone_minutes);
