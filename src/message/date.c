/*
 * Dates are read as a row of words and numbers, each of which says itself what it is: a month has a
 * name, a time has colons, a zone has a sign or is one of the known words. So the order matters
 * only for day and year.
 */
#include "message/date.h"

#include "message/lexer.h"

enum { WORDS_MAX = 16 }; /* looked at; a date has 6 or 7 */

static const char months[12][4] = {"jan", "feb", "mar", "apr", "may", "jun",
                                   "jul", "aug", "sep", "oct", "nov", "dec"};

/* RFC 5322 4.3. Single letters (military zones) and unknown words count as -0000: UTC. */
static const struct {
    const char *name;
    int minutes;
} zones[] = {
    {"EDT", -240}, {"EST", -300}, {"CDT", -300}, {"CST", -360},
    {"MDT", -360}, {"MST", -420}, {"PDT", -420}, {"PST", -480},
};

struct date {
    int64_t year;
    int day, month; /* from 1; 0: not seen */
    int second;     /* of the day */
    int zone;       /* minutes east */
    bool year_seen, time_seen;
};

static int month_of(struct slice word)
{
    for (int i = 0; i < 12 && word.size >= 3; i++)
        if (slice_equal_nocase(slice_sub(word, 0, 3), slice_make(months[i], 3)))
            return i + 1;
    return 0;
}

static void read_zone(struct slice word, struct date *date)
{
    uint32_t hours, minutes;
    if (word.size == 0)
        return;
    if ((word.data[0] == '+' || word.data[0] == '-') &&
        (word.size == 5 || (word.size == 6 && word.data[3] == ':')) &&
        slice_u32(slice_sub(word, 1, 2), &hours) &&
        slice_u32(slice_sub(word, word.size - 2, 2), &minutes) && minutes < 60) {
        int east = (int)(hours * 60 + minutes);
        date->zone = word.data[0] == '-' ? -east : east;
        return;
    }
    for (size_t i = 0; i < sizeof(zones) / sizeof(*zones); i++)
        if (slice_equal_nocase_str(word, zones[i].name))
            date->zone = zones[i].minutes;
}

/* hh:mm[:ss[.s]][zone]; a 60th second is the leap one (RFC 5322 3.3). */
static bool read_time(struct slice word, struct date *date)
{
    uint32_t hour, minute;
    uint32_t second = 0;
    size_t zone = 0; /* some put it directly behind, as ISO 8601 does */
    while (zone < word.size &&
           (ascii_is_digit(word.data[zone]) || word.data[zone] == ':' || word.data[zone] == '.'))
        zone++;
    struct slice behind = slice_sub(word, zone, word.size);
    word.size = zone;
    if (!slice_u32(slice_split(&word, ':'), &hour) || !slice_u32(slice_split(&word, ':'), &minute))
        return false;
    struct slice seconds = slice_split(&word, '.');
    if (seconds.size > 0 && !slice_u32(seconds, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    date->second = (int)(hour * 3600 + minute * 60 + second);
    read_zone(behind, date);
    return true;
}

/* RFC 5322 4.3: two digits below 50 are 20xx, others and three digits are 19xx. */
static void set_year(struct date *date, uint32_t number, size_t digits)
{
    date->year = number;
    if (digits == 2)
        date->year += number < 50 ? 2000 : 1900;
    else if (digits == 3)
        date->year += 1900;
    date->year_seen = true;
}

/* 1999-12-31, with or without T and a time behind it; 31-Dec-1999. */
static bool read_dashed(struct slice word, struct date *date)
{
    struct slice first = slice_split(&word, '-');
    struct slice second = slice_split(&word, '-');
    uint32_t a, b;
    if (!slice_u32(first, &a) || second.size == 0 || word.size == 0)
        return false;
    if (month_of(second) > 0 && slice_u32(word, &b)) {
        date->day = a <= 31 ? (int)a : 0;
        date->month = month_of(second);
        set_year(date, b, word.size);
        return true;
    }
    uint32_t day;
    if (first.size != 4 || !slice_u32(second, &b) || b < 1 || b > 12 ||
        !slice_u32(slice_sub(word, 0, 2), &day))
        return false;
    set_year(date, a, 4);
    date->month = (int)b;
    date->day = (int)day;
    word = slice_sub(word, 2, word.size);
    if (word.size > 1 && ascii_lower(word.data[0]) == 't')
        date->time_seen = read_time(slice_sub(word, 1, word.size), date);
    return true;
}

static void read_word(struct slice word, struct date *date)
{
    uint32_t number;
    if (slice_u32(word, &number)) {
        if (date->day == 0 && number >= 1 && number <= 31 && word.size <= 2)
            date->day = (int)number;
        else if (!date->year_seen && word.size >= 2 && word.size <= 4)
            set_year(date, number, word.size);
    } else if (date->day == 0 && read_dashed(word, date)) {
        return;
    } else if (!date->time_seen && slice_find(word, ':') < word.size) {
        date->time_seen = read_time(word, date);
    } else if (date->month == 0 && month_of(word) > 0) {
        date->month = month_of(word);
    } else if (date->time_seen) {
        read_zone(word, date);
    }
}

/* Days from 1970-01-01 to a day of the Gregorian calendar: years begin in March, so that the leap
 * day is the last one. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

bool date_parse(struct slice value, int64_t *seconds)
{
    struct date date = {0};
    struct lexer lexer = lexer_make(value, NULL);
    for (int words = 0; words < WORDS_MAX && !lexer_at_end(&lexer); words++) {
        lexer_skip(&lexer, NULL);
        struct slice word = lexer_word(&lexer, LEXER_DATE);
        if (word.size > 0)
            read_word(word, &date);
        else if (!lexer_at_end(&lexer))
            lexer.at++;
    }
    if (!date.year_seen || date.month == 0 || date.day == 0 ||
        date.day > month_days(date.year, date.month))
        return false;
    *seconds = days_from_civil(date.year, date.month, date.day) * 86400 + date.second -
               (int64_t)date.zone * 60;
    return true;
}
