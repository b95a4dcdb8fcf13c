/* What SEARCH is asked for: a tree of keys, and how one message is judged by it. */
#pragma once
#include "imap/imap_priv.h"
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
    SEARCH_DATE,  /* internal date: from <= day < to */
    SEARCH_SENT,  /* of the Date field */
    SEARCH_FIELD, /* a text in a field that the envelope has */
    SEARCH_NOT,
    SEARCH_OR,
    SEARCH_AND,
};

enum search_field {
    SEARCH_SUBJECT,
    SEARCH_FROM,
    SEARCH_TO,
    SEARCH_CC,
    SEARCH_BCC,
    SEARCH_SENDER,
    SEARCH_REPLY_TO,
    SEARCH_DATE_FIELD,
    SEARCH_IN_REPLY_TO,
    SEARCH_MESSAGE_ID,
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
    int64_t from, to; /* days since 1970 */
    enum search_field field;
    struct slice text; /* keyword; what is looked for, in lower case */
};

enum { SEARCH_MIN = 1, SEARCH_MAX = 2, SEARCH_RETURN_ALL = 4, SEARCH_COUNT = 8 };

struct search_program {
    struct search_key *root;
    bool modseq;      /* a key is MODSEQ: the answer says the highest one (RFC 7162 3.1.6) */
    bool extended;    /* RETURN was given (RFC 4731) */
    uint32_t returns; /* bits */
    bool bad_charset;
    bool needs_text; /* a key that only the message itself could answer */
    uint32_t need;   /* of mailbox_load */
};

bool search_parse(struct imap_parser *parser, struct search_program *program);

enum search_answer { SEARCH_NO, SEARCH_YES, SEARCH_UNKNOWN };

struct search_subject { /* one message */
    struct mailbox_account *account;
    uint32_t sequence;
    const struct mailbox_entry *entry;
    bool loaded; /* what follows is there; else keys that need it are UNKNOWN */
    uint64_t size, date_us;
    int32_t zone_minutes;
    const struct summary_envelope *envelope; /* NULL: none */
    struct arena *scratch;
};

enum search_answer search_judge(const struct search_key *key, const struct search_subject *subject);

/* ---- search_entry.c ------------------------------------------------------------------------ */

/* True when it was one of the keys of that file; *good: with the right arguments. */
bool search_parse_entry(struct imap_parser *parser, struct search_key *key, bool *good);
bool search_judge_entry(const struct search_key *key, const struct mailbox_entry *entry);
/* Of the messages found (not empty), in the numbers of the command in work. */
uint64_t search_highest_modseq(const struct imap_session *session, const struct uidset *found,
                               uint32_t returns);
