/* The state of a FETCH in work, for cmd_fetch.c (pages, messages) and fetch_body.c (bytes). */
#pragma once
#include "imap/fetch.h"
#include "imap/transfer.h"

struct fetch_message { /* of the page; as in struct mailbox_message */
    uint32_t sequence, uid;
    bool loaded, turns_seen;
    enum mailbox_result result;
    uint64_t size, date_us;
    int32_t zone_minutes;
    uint32_t prefix_size;
    struct mailbox_place place;
    struct slice packed;
    struct fetch_ahead *ahead; /* its first section is being read; NULL: no */
};

/* The first section of a message, asked for before its turn: a round trip to the disk's threads for
 * many messages at once. */
struct fetch_ahead {
    struct imap_session *session;
    struct fetch_range range;
    bool asked, arrived;
    enum mailbox_result result;
    struct evbuffer *bytes;
};

enum {
    FETCH_AHEAD = 16,
    FETCH_AHEAD_BYTES = 65536, /* larger sections are read in their turn */
};

enum fetch_phase {
    FETCH_BEGIN,
    FETCH_VANISHED,
    FETCH_GATHER,
    FETCH_LOADED,
    FETCH_SEEN,
    FETCH_SERVE
};

/* Of the BINARY item being served. */
struct fetch_binary {
    bool begun, sends; /* it is counted at first, then sent */
    struct slice encoding;
    struct transfer transfer;
    struct fetch_range range; /* of the part, encoded */
    uint64_t at;              /* how much of it has been decoded */
    struct buf plain;         /* the last piece */
    uint64_t size;            /* decoded, as far as counted */
    bool nul;
    uint64_t skip, left; /* decoded bytes to be passed over, then to be sent */
};

struct fetch {
    struct imap_set set;
    struct fetch_items items;
    /* Progress: */
    enum fetch_phase phase;
    bool sets_seen, damaged, expunged, unknown_encoding;
    uint64_t since; /* of CHANGEDSINCE, as far as it can be trusted */
    struct uidset sequences;
    uint32_t next;              /* sequence number that the next page begins at */
    struct arena page, scratch; /* scratch: of one message */
    struct fetch_message *messages;
    size_t count, at;
    size_t packed; /* bytes of the page's summaries */
    /* Of the message being served: */
    bool begun;
    struct buf line;   /* what is answered, as far as it is not in the output */
    size_t line_begin; /* where its own answer begins */
    size_t item, written;
    struct summary summary;
    bool summary_ready;
    /* Of its section: */
    bool section_begun, announced, reading;
    struct fetch_range range;   /* what is still to be read */
    struct evbuffer *bytes;     /* what has been read */
    enum mailbox_result result; /* of the read */
    struct fetch_binary binary;
    /* Reading ahead: */
    struct fetch_ahead ahead[FETCH_AHEAD]; /* of message i: i % FETCH_AHEAD */
    size_t ahead_next;                     /* message to ask for next */
    struct fetch_ahead *awaited;           /* what the section waits for */
    unsigned outstanding;
    bool awaits_all;
};

/* The line, with the space before another item. */
struct buf *fetch_item_begins(struct fetch *fetch);

/* The line goes to the output. */
void fetch_flush(struct imap_session *session, struct fetch *fetch);

/* Asks for what the next messages of the page will need. */
void fetch_read_ahead(struct imap_session *session, struct fetch *fetch);
/* Waits until nothing asked for ahead is on its way: a page may go. */
enum imap_step fetch_await_all(struct imap_session *session, struct fetch *fetch);
void fetch_ahead_finish(struct fetch *fetch);
/* Makes fetch->summary of this message. IMAP_DONE: it is there. */
enum imap_step fetch_prepare_summary(struct imap_session *session, struct fetch *fetch,
                                     const struct fetch_message *message);
/* IMAP_DONE: the item has been written, or left out with fetch->damaged. */
enum imap_step fetch_section(struct imap_session *session, struct fetch *fetch,
                             const struct fetch_message *message, const struct fetch_item *item);
/* The same for BINARY and BINARY.SIZE. */
enum imap_step fetch_binary(struct imap_session *session, struct fetch *fetch,
                            const struct fetch_message *message, const struct fetch_item *item);

/* For both: asks for bytes into fetch->bytes, of which fetch->reading says that they are on their
 * way; and takes what has come. */
enum imap_step fetch_read_bytes(struct imap_session *session, struct fetch *fetch,
                                const struct fetch_message *message, uint64_t offset,
                                uint64_t size);
void fetch_collect_bytes(struct fetch *fetch);
/* The answer so far goes out, with the announcement of a literal; eight: of a literal8. */
void fetch_announce(struct imap_session *session, struct fetch *fetch,
                    const struct fetch_item *item, uint64_t size, bool eight);
enum imap_step fetch_section_done(struct fetch *fetch);
