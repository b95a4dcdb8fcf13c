/*
 * One message and the keys of a SEARCH. Three answers, so that flags and numbers can decide before
 * anything is loaded: UNKNOWN says that the message's size, dates or envelope are needed.
 *
 * Texts are compared as they stand in the envelope, without regard to the case of ASCII letters.
 */
#include "imap/search.h"

static bool has_keyword(const struct search_subject *subject, struct slice keyword)
{
    const struct slice *keywords;
    size_t count = mailbox_keywords(subject->account, subject->entry->keyword_set, &keywords);
    for (size_t i = 0; i < count; i++)
        if (slice_equal_nocase(keywords[i], keyword))
            return true;
    return false;
}

static bool contains(const struct search_subject *subject, struct slice text, struct slice wanted)
{
    if (text.data == NULL || text.size < wanted.size)
        return false;
    uint8_t *lower = arena_alloc(subject->scratch, text.size + 1);
    for (size_t i = 0; i < text.size; i++)
        lower[i] = ascii_lower(text.data[i]);
    return memmem(lower, text.size, wanted.data, wanted.size) != NULL;
}

/* "Name <mailbox@host>": so a search for either, or for the whole, finds it. */
static bool addresses_contain(const struct search_subject *subject,
                              const struct summary_addresses *addresses, struct slice wanted)
{
    for (uint32_t i = 0; i < addresses->count; i++) {
        const struct summary_address *address = &addresses->list[i];
        struct buf text = {0};
        buf_add_slice(&text, address->name);
        buf_add_str(&text, " <");
        buf_add_slice(&text, address->mailbox);
        buf_add_str(&text, address->host.data == NULL ? "" : "@");
        buf_add_slice(&text, address->host);
        buf_add_str(&text, ">");
        bool found = contains(subject, buf_slice(&text), wanted);
        buf_finish(&text);
        if (found)
            return true;
    }
    return false;
}

static bool field_contains(const struct search_subject *subject, const struct search_key *key)
{
    const struct summary_envelope *e = subject->envelope;
    if (e == NULL)
        return false;
    switch (key->field) {
    case SEARCH_FROM:
        return addresses_contain(subject, &e->from, key->text);
    case SEARCH_TO:
        return addresses_contain(subject, &e->to, key->text);
    case SEARCH_CC:
        return addresses_contain(subject, &e->cc, key->text);
    case SEARCH_BCC:
        return addresses_contain(subject, &e->bcc, key->text);
    case SEARCH_SENDER:
        return addresses_contain(subject, &e->sender, key->text);
    case SEARCH_REPLY_TO:
        return addresses_contain(subject, &e->reply_to, key->text);
    case SEARCH_DATE_FIELD:
        return contains(subject, e->date, key->text);
    case SEARCH_IN_REPLY_TO:
        return contains(subject, e->in_reply_to, key->text);
    case SEARCH_MESSAGE_ID:
        return contains(subject, e->message_id, key->text);
    default:
        return contains(subject, e->subject, key->text);
    }
}

static bool internal_date_between(const struct search_subject *subject,
                                  const struct search_key *key)
{
    int64_t local = (int64_t)(subject->date_us / 1000000) + (int64_t)subject->zone_minutes * 60;
    int64_t day = local >= 0 ? local / 86400 : (local - 86399) / 86400;
    return day >= key->from && day < key->to;
}

/* The day as it is written, "disregarding time and timezone": [Fri,] 21 Nov 1997 ... */
static bool day_of_date_field(struct slice date, int64_t *days)
{
    uint32_t numbers[2] = {0, 0}, month = 0;
    size_t i = 0;
    for (int n = 0; n < 2; n++) {
        while (i < date.size && !ascii_is_digit(date.data[i]))
            i++;
        for (; i < date.size && ascii_is_digit(date.data[i]) && numbers[n] < 100000; i++)
            numbers[n] = numbers[n] * 10 + (date.data[i] - '0');
        for (; n == 0 && i < date.size && (date.data[i] == ' ' || date.data[i] == '-'); i++)
            ;
        while (n == 0 && month < 12 &&
               !slice_equal_nocase_str(slice_sub(date, i, 3), imap_months[month]))
            month++;
    }
    uint32_t year = numbers[1] < 50 ? numbers[1] + 2000 : numbers[1];
    year = year < 1000 ? year + 1900 : year; /* RFC 5322 4.3 */
    *days = imap_days_of((int32_t)year, month + 1, numbers[0]);
    return month < 12 && numbers[0] >= 1 && numbers[0] <= 31 && year < 10000;
}

static bool sent_between(const struct search_subject *subject, const struct search_key *key)
{
    int64_t day;
    return subject->envelope != NULL && day_of_date_field(subject->envelope->date, &day) &&
           day >= key->from && day < key->to;
}

static enum search_answer judge_all(const struct search_key *key,
                                    const struct search_subject *subject)
{
    enum search_answer all = SEARCH_YES;
    for (const struct search_key *k = key->first; k != NULL; k = k->next) {
        enum search_answer one = search_judge(k, subject);
        if (one == SEARCH_NO)
            return SEARCH_NO;
        all = one == SEARCH_UNKNOWN ? SEARCH_UNKNOWN : all;
    }
    return all;
}

static enum search_answer judge_any(const struct search_key *key,
                                    const struct search_subject *subject)
{
    enum search_answer any = SEARCH_NO;
    for (const struct search_key *k = key->first; k != NULL; k = k->next) {
        enum search_answer one = search_judge(k, subject);
        if (one == SEARCH_YES)
            return SEARCH_YES;
        any = one == SEARCH_UNKNOWN ? SEARCH_UNKNOWN : any;
    }
    return any;
}

static enum search_answer judge_loaded(const struct search_key *key,
                                       const struct search_subject *subject)
{
    if (!subject->loaded)
        return SEARCH_UNKNOWN;
    switch (key->kind) {
    case SEARCH_LARGER:
        return subject->size > key->size ? SEARCH_YES : SEARCH_NO;
    case SEARCH_SMALLER:
        return subject->size < key->size ? SEARCH_YES : SEARCH_NO;
    case SEARCH_DATE:
        return internal_date_between(subject, key) ? SEARCH_YES : SEARCH_NO;
    case SEARCH_SENT:
        return sent_between(subject, key) ? SEARCH_YES : SEARCH_NO;
    default:
        return field_contains(subject, key) ? SEARCH_YES : SEARCH_NO;
    }
}

enum search_answer search_judge(const struct search_key *key, const struct search_subject *subject)
{
    enum search_answer inner;
    switch (key->kind) {
    case SEARCH_ALL:
        return SEARCH_YES;
    case SEARCH_NONE:
        return SEARCH_NO;
    case SEARCH_FLAG:
        return (subject->entry->flags & key->flag) != 0 ? SEARCH_YES : SEARCH_NO;
    case SEARCH_KEYWORD:
        return has_keyword(subject, key->text) ? SEARCH_YES : SEARCH_NO;
    case SEARCH_MODSEQ:
    case SEARCH_EMAIL_ID:
    case SEARCH_SAVED:
        return search_judge_entry(key, subject->entry) ? SEARCH_YES : SEARCH_NO;
    case SEARCH_SEQUENCES:
    case SEARCH_UIDS:
        return uidset_has(&key->sequences, subject->sequence) ? SEARCH_YES : SEARCH_NO;
    case SEARCH_NOT:
        inner = search_judge(key->first, subject);
        return inner == SEARCH_UNKNOWN ? inner : inner == SEARCH_NO ? SEARCH_YES : SEARCH_NO;
    case SEARCH_OR:
        return judge_any(key, subject);
    case SEARCH_AND:
        return judge_all(key, subject);
    default:
        return judge_loaded(key, subject);
    }
}
