/* The state of a FETCH in work, for cmd_fetch.c (pages, messages) and fetch_body.c (bytes). */
#pragma once
#include "imap/fetch.h"

struct fetch_message { /* of the page; as in struct mailbox_message */
    uint32_t sequence, uid;
    bool loaded, turns_seen;
    enum mailbox_result result;
    uint64_t size, date_us;
    int32_t zone_minutes;
    uint32_t prefix_size;
    struct slice packed;
};

enum fetch_phase { FETCH_BEGIN, FETCH_GATHER, FETCH_LOADED, FETCH_SEEN, FETCH_SERVE };

struct fetch {
    struct imap_set set;
    struct fetch_items items;
    /* Progress: */
    enum fetch_phase phase;
    bool sets_seen, damaged, expunged;
    struct uidset sequences;
    uint32_t next;              /* sequence number that the next page begins at */
    struct arena page, scratch; /* scratch: of one message */
    struct fetch_message *messages;
    size_t count, at;
    /* Of the message being served: */
    bool begun;
    struct evbuffer *line; /* of its answer, as far as it is not in the output */
    size_t item, written;
    struct summary summary;
    bool summary_ready;
    /* Of its section: */
    bool section_begun, announced, reading;
    struct fetch_range range;   /* what is still to be read */
    struct evbuffer *bytes;     /* what has been read */
    enum mailbox_result result; /* of the read */
};

/* The line, with the space before another item. */
struct evbuffer *fetch_item_begins(struct fetch *fetch);

/* Makes fetch->summary of this message. IMAP_DONE: it is there. */
enum imap_step fetch_prepare_summary(struct imap_session *session, struct fetch *fetch,
                                     const struct fetch_message *message);
/* IMAP_DONE: the item has been written, or left out with fetch->damaged. */
enum imap_step fetch_section(struct imap_session *session, struct fetch *fetch,
                             const struct fetch_message *message, const struct fetch_item *item);
