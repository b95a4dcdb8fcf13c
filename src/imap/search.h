/*
 * What SEARCH is asked for: a tree of keys, and how one message is judged by it. Texts are looked
 * for by readers (message/needle.h): a key for a text is the number of its needle.
 */
#pragma once
#include "imap/imap_priv.h"
#include "message/needle.h"
#include "message/summary.h"

enum search_kind {
    SEARCH_ALL,
    SEARCH_NONE, /* RECENT, NEW: nothing is recent (RFC 9051 dropped it) */
    SEARCH_FLAG,
    SEARCH_KEYWORD,
    SEARCH_MODSEQ,
    SEARCH_EMAIL_ID,
    SEARCH_SAVED,     /* save date: from <= day < to */
    SEARCH_SEQUENCES, /* sequence numbers */
    SEARCH_UIDS,
    SEARCH_LARGER,
    SEARCH_SMALLER,
    SEARCH_DATE, /* internal date: from <= day < to */
    SEARCH_TIME, /* internal date in microseconds: from <= time <= to (RFC 5032) */
    SEARCH_SENT, /* of the Date field */
    SEARCH_TEXT, /* a needle */
    SEARCH_NOT,
    SEARCH_OR,
    SEARCH_AND,
};

struct search_key {
    enum search_kind kind;
    struct search_key *first; /* of NOT, OR (two), AND */
    struct search_key *next;  /* beside this one */
    struct imap_set set;
    struct uidset sequences; /* of set; made before the first message */
    uint32_t flag;
    uint64_t modseq;
    uint64_t size;
    int64_t from, to;  /* days since 1970 */
    struct slice text; /* keyword */
    size_t needle;
};

enum { SEARCH_MIN = 1, SEARCH_MAX = 2, SEARCH_RETURN_ALL = 4, SEARCH_COUNT = 8, SEARCH_SAVE = 16 };

struct search_program {
    struct search_key *root;
    bool modseq;          /* a key is MODSEQ: the answer says the highest one (RFC 7162 3.1.6) */
    bool extended;        /* RETURN was given (RFC 4731) */
    uint32_t returns;     /* bits */
    struct slice charset; /* as given; empty: none */
    struct needle *needles;
    size_t needle_count, needle_bytes;
    bool too_much;  /* more needles than can be looked for at a time */
    bool envelopes; /* a needle that the envelope answers, */
    bool messages;  /* one that only the message itself does */
    bool folds;     /* all of the envelope, and there are some, are answered by folded texts */
    uint32_t need;  /* of mailbox_load */
    uint32_t quick; /* the same with folded texts instead of the summary */
};

bool search_parse(struct imap_parser *parser, struct search_program *program);

enum search_answer { SEARCH_NO, SEARCH_YES, SEARCH_UNKNOWN };

/* What is known of a message: the cheap first. A key that needs more is UNKNOWN. */
enum search_stage { SEARCH_ENTRY, SEARCH_RECORD, SEARCH_ENVELOPE, SEARCH_MESSAGE };

#define SEARCH_NO_DAY INT64_MIN

struct search_subject { /* one message */
    struct mailbox_account *account;
    uint32_t sequence;
    const struct mailbox_entry *entry;
    enum search_stage stage;
    uint64_t size, date_us; /* from SEARCH_RECORD on */
    int32_t zone_minutes;
    int64_t sent_day;    /* SEARCH_NO_DAY: it has none */
    const uint8_t *bits; /* of the needles: those of the envelope from SEARCH_ENVELOPE on */
};

enum search_answer search_judge(const struct search_program *program,
                                const struct search_subject *subject);
/* The day as it is written in a Date field, disregarding time and zone (RFC 3501 6.4.4). */
int64_t search_sent_day(struct slice date);

/* ---- search_entry.c ------------------------------------------------------------------------ */

/* True when it was one of the keys of that file; *good: with the right arguments. */
bool search_parse_entry(struct imap_parser *parser, struct search_key *key, bool *good);
bool search_judge_entry(const struct search_key *key, const struct mailbox_entry *entry);
/* Of the messages found (not empty), in the numbers of the command in work. */
uint64_t search_highest_modseq(const struct imap_session *session, const struct uidset *found,
                               uint32_t returns);

/* What "$" stands for from now on (RFC 5182 2.4): all that was found, or what is returned of it. */
void search_save(struct imap_session *session, const struct uidset *found, uint32_t returns);
