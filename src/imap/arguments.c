/*
 * Arguments that several commands share. What is legal is RFC 3501 9; where a name or number is
 * legal there and impossible here (a flag we do not know), the text says so.
 */
#include "imap/arguments.h"

#include "base/utf8.h"
#include "imap/utf7.h"

const char imap_months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* ---- sets ---------------------------------------------------------------------------------- */

static bool parse_set_number(struct imap_parser *parser, uint32_t *number)
{
    *number = 0;
    if (imap_parse_optional(parser, '*'))
        return true;
    if (!imap_parse_number(parser, number))
        return false;
    return *number != 0 || imap_parse_fail(parser, "There is no message number 0.");
}

bool imap_parse_set(struct imap_parser *parser, struct imap_set *set)
{
    size_t most = 1;
    for (size_t i = parser->at; i < parser->text.size && parser->text.data[i] != ' '; i++)
        most += parser->text.data[i] == ',';
    *set = (struct imap_set){.ranges = arena_array(parser->arena, most, sizeof(*set->ranges))};
    set->saved = imap_parse_optional(parser, '$');
    if (set->saved)
        return true;
    do {
        struct uidset_range *range = &set->ranges[set->count];
        if (!parse_set_number(parser, &range->first))
            return false;
        range->last = range->first;
        if (imap_parse_optional(parser, ':') && !parse_set_number(parser, &range->last))
            return false;
        set->count++;
    } while (imap_parse_optional(parser, ','));
    return true;
}

/* ---- names --------------------------------------------------------------------------------- */

bool imap_parse_modseq(struct imap_parser *parser, uint64_t *modseq)
{
    return imap_parse_number64(parser, modseq) &&
           (*modseq <= INT64_MAX || imap_parse_fail(parser, "A mod-sequence has 63 bits."));
}

bool imap_decode_mailbox(struct imap_parser *parser, struct slice wire, struct slice *name)
{
    struct buf utf8 = {0};
    if (parser->utf8) {
        *name = wire;
        return utf8_valid(wire) || imap_parse_fail(parser, "A mailbox name is not UTF-8.");
    }
    bool good = utf7_decode(wire, &utf8);
    *name = arena_copy(parser->arena, buf_slice(&utf8));
    buf_finish(&utf8);
    return good || imap_parse_fail(parser, "A mailbox name is not modified UTF-7.");
}

bool imap_parse_mailbox(struct imap_parser *parser, struct slice *name)
{
    struct slice wire;
    return imap_parse_astring(parser, &wire) && imap_decode_mailbox(parser, wire, name);
}

uint32_t imap_special_bit(struct slice name)
{
    static const char *const names[] = {"\\Drafts",  "\\Sent",    "\\Trash", "\\Junk",
                                        "\\Archive", "\\Flagged", "\\All"};
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_equal_nocase_str(name, names[i]))
            return 1u << i;
    return 0;
}

/* ---- flags --------------------------------------------------------------------------------- */

uint32_t imap_flag_bit(struct slice name)
{
    static const char *const names[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
                                        "\\Draft"};
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_equal_nocase_str(name, names[i]))
            return 1u << i;
    return 0;
}

static bool parse_flag(struct imap_parser *parser, struct mailbox_flags *flags,
                       struct slice *keywords)
{
    size_t begin = parser->at;
    struct slice flag;
    bool backslash = imap_parse_optional(parser, '\\');
    if (!imap_parse_atom(parser, &flag))
        return false;
    if (!backslash) {
        keywords[flags->keyword_count++] = flag;
        return flag.size <= 255 || imap_parse_fail(parser, "A keyword is too long.");
    }
    uint32_t bit = imap_flag_bit(slice_sub(parser->text, begin, parser->at - begin));
    flags->system |= bit;
    return bit != 0 || imap_parse_fail(parser, "There is no such system flag.");
}

bool imap_parse_flags(struct imap_parser *parser, bool bare, struct mailbox_flags *flags)
{
    size_t most = 1;
    for (size_t i = parser->at; i < parser->text.size && parser->text.data[i] != ')'; i++)
        most += parser->text.data[i] == ' ';
    struct slice *keywords = arena_array(parser->arena, most, sizeof(*keywords));
    *flags = (struct mailbox_flags){.keywords = keywords};
    bool list = !bare || imap_parse_sees(parser, '(');
    if (list && !imap_parse_open(parser))
        return false;
    if (list && imap_parse_sees(parser, ')'))
        return imap_parse_close(parser);
    do {
        if (!parse_flag(parser, flags, keywords))
            return false;
    } while (imap_parse_optional(parser, ' '));
    return !list || imap_parse_close(parser);
}

/* ---- dates --------------------------------------------------------------------------------- */

int64_t imap_days_of(int32_t year, uint32_t month, uint32_t day)
{
    int64_t y = month <= 2 ? year - 1 : year; /* the year begins in March, so leap days end it */
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

void imap_date_of(int64_t days, int32_t *year, uint32_t *month, uint32_t *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *day = (uint32_t)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *month = (uint32_t)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *year = (int32_t)(year_of_era + era * 400 + (*month <= 2));
}

/* Exactly so many digits. */
static bool parse_digits(struct imap_parser *parser, size_t count, uint32_t *value)
{
    struct slice digits = slice_sub(parser->text, parser->at, count);
    *value = 0;
    if (digits.size != count || !slice_u32(digits, value))
        return imap_parse_fail(parser, "A date is not in the form 01-Feb-1994.");
    parser->at += count;
    return true;
}

/* Behind the day: "-Feb-1994". */
static bool parse_month_year(struct imap_parser *parser, uint32_t day, int64_t *days)
{
    uint32_t month = 0, year;
    if (!imap_parse_char(parser, '-'))
        return false;
    struct slice name = slice_sub(parser->text, parser->at, 3);
    while (month < 12 && !slice_equal_nocase_str(name, imap_months[month]))
        month++;
    if (month == 12)
        return imap_parse_fail(parser, "A date is not in the form 01-Feb-1994.");
    parser->at += 3;
    if (!imap_parse_char(parser, '-') || !parse_digits(parser, 4, &year))
        return false;
    *days = imap_days_of((int32_t)year, month + 1, day);
    int32_t same_year;
    uint32_t same_month, same_day;
    imap_date_of(*days, &same_year, &same_month, &same_day);
    return (day >= 1 && same_day == day && same_month == month + 1) ||
           imap_parse_fail(parser, "There is no such day.");
}

bool imap_parse_date(struct imap_parser *parser, int64_t *days)
{
    bool quoted = imap_parse_optional(parser, '"');
    uint32_t day = 0;
    size_t digits = 0;
    while (digits < 2 && parser->at + digits < parser->text.size &&
           ascii_is_digit(parser->text.data[parser->at + digits]))
        digits++;
    return parse_digits(parser, digits, &day) && parse_month_year(parser, day, days) &&
           (!quoted || imap_parse_char(parser, '"'));
}

bool imap_parse_date_time(struct imap_parser *parser, uint64_t *date_us, int32_t *zone_minutes)
{
    uint32_t day, hour, minute, second, zone_hour, zone_minute;
    int64_t days;
    if (!imap_parse_char(parser, '"') ||
        !parse_digits(parser, imap_parse_optional(parser, ' ') ? 1 : 2, &day) ||
        !parse_month_year(parser, day, &days) || !imap_parse_char(parser, ' ') ||
        !parse_digits(parser, 2, &hour) || !imap_parse_char(parser, ':') ||
        !parse_digits(parser, 2, &minute) || !imap_parse_char(parser, ':') ||
        !parse_digits(parser, 2, &second) || !imap_parse_char(parser, ' '))
        return false;
    bool west = imap_parse_optional(parser, '-');
    if ((!west && !imap_parse_char(parser, '+')) || !parse_digits(parser, 2, &zone_hour) ||
        !parse_digits(parser, 2, &zone_minute) || !imap_parse_char(parser, '"'))
        return false;
    if (hour > 23 || minute > 59 || second > 60 || zone_hour > 23 || zone_minute > 59)
        return imap_parse_fail(parser, "There is no such time.");
    *zone_minutes = (int32_t)(zone_hour * 60 + zone_minute) * (west ? -1 : 1);
    int64_t seconds =
        days * 86400 + (int64_t)(hour * 3600 + minute * 60 + second) - (int64_t)*zone_minutes * 60;
    if (seconds <= 0) /* 0 would be "now" to the mailbox; nothing was received before 1970 */
        seconds = 1;
    *date_us = (uint64_t)seconds * 1000000;
    return true;
}
