/*
 * One message and the keys of a SEARCH. Three answers, so that what is cheap decides first: UNKNOWN
 * says that more must be known of the message than the subject has (enum search_stage).
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

static bool internal_date_between(const struct search_subject *subject,
                                  const struct search_key *key)
{
    int64_t local = (int64_t)(subject->date_us / 1000000) + (int64_t)subject->zone_minutes * 60;
    int64_t day = local >= 0 ? local / 86400 : (local - 86399) / 86400;
    return day >= key->from && day < key->to;
}

/* [Fri,] 21 Nov 1997 ... */
int64_t search_sent_day(struct slice date)
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
    bool good = month < 12 && numbers[0] >= 1 && numbers[0] <= 31 && year < 10000;
    return good ? imap_days_of((int32_t)year, month + 1, numbers[0]) : SEARCH_NO_DAY;
}

static enum search_answer judge(const struct search_program *program, const struct search_key *key,
                                const struct search_subject *subject);

static enum search_answer judge_all(const struct search_program *program,
                                    const struct search_key *key,
                                    const struct search_subject *subject)
{
    enum search_answer all = SEARCH_YES;
    for (const struct search_key *k = key->first; k != NULL; k = k->next) {
        enum search_answer one = judge(program, k, subject);
        if (one == SEARCH_NO)
            return SEARCH_NO;
        all = one == SEARCH_UNKNOWN ? SEARCH_UNKNOWN : all;
    }
    return all;
}

static enum search_answer judge_any(const struct search_program *program,
                                    const struct search_key *key,
                                    const struct search_subject *subject)
{
    enum search_answer any = SEARCH_NO;
    for (const struct search_key *k = key->first; k != NULL; k = k->next) {
        enum search_answer one = judge(program, k, subject);
        if (one == SEARCH_YES)
            return SEARCH_YES;
        any = one == SEARCH_UNKNOWN ? SEARCH_UNKNOWN : any;
    }
    return any;
}

static enum search_answer answer(bool yes)
{
    return yes ? SEARCH_YES : SEARCH_NO;
}

static enum search_answer judge_text(const struct search_program *program,
                                     const struct search_key *key,
                                     const struct search_subject *subject)
{
    bool in_envelope = needle_in_envelope(program->needles[key->needle].where);
    if (subject->stage < (in_envelope ? SEARCH_ENVELOPE : SEARCH_MESSAGE))
        return SEARCH_UNKNOWN;
    return answer(needle_bit(subject->bits, key->needle));
}

static enum search_answer judge_record(const struct search_key *key,
                                       const struct search_subject *subject)
{
    if (subject->stage < SEARCH_RECORD)
        return SEARCH_UNKNOWN;
    switch (key->kind) {
    case SEARCH_LARGER:
        return answer(subject->size > key->size);
    case SEARCH_SMALLER:
        return answer(subject->size < key->size);
    case SEARCH_DATE:
        return answer(internal_date_between(subject, key));
    case SEARCH_TIME:
        return answer((int64_t)subject->date_us >= key->from &&
                      (int64_t)subject->date_us <= key->to);
    default:
        return answer(subject->sent_day != SEARCH_NO_DAY && subject->sent_day >= key->from &&
                      subject->sent_day < key->to);
    }
}

static enum search_answer judge(const struct search_program *program, const struct search_key *key,
                                const struct search_subject *subject)
{
    enum search_answer inner;
    switch (key->kind) {
    case SEARCH_ALL:
        return SEARCH_YES;
    case SEARCH_NONE:
        return SEARCH_NO;
    case SEARCH_FLAG:
        return answer((subject->entry->flags & key->flag) != 0);
    case SEARCH_KEYWORD:
        return answer(has_keyword(subject, key->text));
    case SEARCH_MODSEQ:
    case SEARCH_EMAIL_ID:
    case SEARCH_SAVED:
        return answer(search_judge_entry(key, subject->entry));
    case SEARCH_SEQUENCES:
    case SEARCH_UIDS:
        return answer(uidset_has(&key->sequences, subject->sequence));
    case SEARCH_NOT:
        inner = judge(program, key->first, subject);
        return inner == SEARCH_UNKNOWN ? inner : answer(inner == SEARCH_NO);
    case SEARCH_OR:
        return judge_any(program, key, subject);
    case SEARCH_AND:
        return judge_all(program, key, subject);
    case SEARCH_TEXT:
        return judge_text(program, key, subject);
    default:
        return judge_record(key, subject);
    }
}

enum search_answer search_judge(const struct search_program *program,
                                const struct search_subject *subject)
{
    return judge(program, program->root, subject);
}
