/*
 * The messages of a page of SEARCH that wait for readers' answers, and the batches in which they go
 * there (message/needle.h).
 */
#pragma once
#include <sys/queue.h>

#include "imap/search.h"
#include "imap/turns.h"

enum {
    SEARCH_PAGE_MAX = 500,
    SEARCH_BATCH_BYTES = 512 * 1024, /* a batch that has as much is sent */
    SEARCH_FLIGHT_MAX = 3,           /* batches at the readers, for one SEARCH */
    SEARCH_PIECES = 8,               /* reads on their way, for one SEARCH */
    SEARCH_PIECE_BYTES = 128 * 1024,
};

struct candidate {
    uint32_t sequence, uid;
    uint64_t size, date_us;
    int32_t zone_minutes;
    struct mailbox_place place;
    int64_t sent_day;
    bool enveloped; /* its summary has all of the envelope */
    bool open;      /* not yet judged */
    uint8_t *bits;
};

struct search_batch {
    struct search *search; /* NULL: nobody waits for it any more */
    LIST_ENTRY(search_batch) link;
    enum search_stage stage;
    int fd;
    uint64_t size;
    uint32_t records;
    uint32_t candidates[SEARCH_PAGE_MAX]; /* of the records: places in the page */
};

struct search_piece { /* of a message, being read */
    struct search *search;
    uint32_t candidate;
    uint64_t size;
    bool first, last; /* of its message */
    bool arrived;
    enum mailbox_result result;
    struct evbuffer *bytes;
};

struct search {
    struct imap_session *session;
    struct search_program program;
    struct buf needles;    /* packed */
    struct needle *folded; /* the same, folded by a reader; NULL: they are not known */
    bool quick;            /* the page is looked through in its folded texts first */
    uint32_t slow_until;   /* sequence number up to which that has been done */
    enum {
        SEARCH_BEGIN,
        SEARCH_PROBE, /* is the charset known? */
        SEARCH_GATHER,
        SEARCH_TURN,   /* to have a page in memory */
        SEARCH_FOLDED, /* folded texts have been looked through */
        SEARCH_LOADED,
        SEARCH_ASKED,   /* about envelopes */
        SEARCH_READING, /* messages, for readers */
    } phase;
    uint32_t next; /* sequence number */
    struct uidset found;
    struct arena page, scratch;
    struct imap_turn turn;
    struct candidate *candidates; /* of the page */
    size_t count;

    struct search_batch *filling; /* NULL: none */
    LIST_HEAD(, search_batch) flight;
    uint32_t flying;
    bool bad_charset;
    bool unavailable; /* readers or memory */
    bool waiting;     /* for any of what is on its way */

    struct search_piece pieces[SEARCH_PIECES];
    uint32_t asked, taken;   /* pieces, of all time */
    uint32_t reading;        /* candidate whose next piece is to be asked for */
    uint64_t reading_offset; /* in it */
};

/* Judges by what is known in that stage; adds it to found, or lets it stay open. */
void search_settle(struct search *search, struct candidate *candidate, enum search_stage stage);

/* ---- search_batch.c ------------------------------------------------------------------------ */

/* Something that was waited for has come. */
void search_wake(struct search *search);
/* A record of size bytes for that candidate begins; its bytes follow. False: no memory. */
bool search_batch_begin(struct search *search, enum search_stage stage, uint32_t candidate,
                        uint64_t blob_size, uint64_t size);
bool search_batch_add(struct search *search, const void *bytes, size_t size);
bool search_batch_is_full(const struct search *search);
/* To a reader; nothing when none is being filled. */
void search_batch_send(struct search *search);
/* Asks a reader whether it knows the charset, and for the needles as it folds them. */
void search_probe(struct search *search);
/* Gives up what nobody waits for any more. */
void search_batches_drop(struct search *search);

/* ---- search_read.c ------------------------------------------------------------------------- */

/* Reads the page's open candidates into batches; IMAP_DONE: all are judged. */
enum imap_step search_read(struct imap_session *session, struct search *search);
void search_read_finish(struct search *search);
