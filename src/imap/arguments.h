/*
 * The arguments of commands after login, on top of parser.h: sets, flags, dates, mailbox names.
 * Pure as well. Everything parsed lives in the parser's arena.
 */
#pragma once
#include "imap/parser.h"
#include "mailbox/mailbox.h"

/* sequence-set as written: 0 stands for "*". Or "$", what the last SEARCH saved (RFC 5182). */
struct imap_set {
    bool saved;
    struct uidset_range *ranges; /* in the order written, ends not yet sorted */
    size_t count;
};
bool imap_parse_set(struct imap_parser *parser, struct imap_set *set);

/* A mod-sequence (RFC 7162 7), 0 where that is allowed too. */
bool imap_parse_modseq(struct imap_parser *parser, uint64_t *modseq);

/* UTF-8 of a mailbox argument; "" is possible. Not checked against the rules of mailboxes. */
bool imap_parse_mailbox(struct imap_parser *parser, struct slice *name);
/* The same of what has been parsed: a pattern, a literal. */
bool imap_decode_mailbox(struct imap_parser *parser, struct slice wire, struct slice *name);

/* "(\Seen $Junk)"; STORE may leave the parentheses out. \Recent is refused (RFC 3501 2.3.2). */
bool imap_parse_flags(struct imap_parser *parser, bool bare, struct mailbox_flags *flags);
/* 0 when it is no system flag. */
uint32_t imap_flag_bit(struct slice name);

/* date: "1-Feb-1994" or quoted; days since 1970. */
bool imap_parse_date(struct imap_parser *parser, int64_t *days);
/* date-time: "\"17-Jul-1996 02:44:25 -0700\"". */
bool imap_parse_date_time(struct imap_parser *parser, uint64_t *date_us, int32_t *zone_minutes);

/* "(word word)" of special-use attributes (RFC 6154 6); 0 for one that is not known. */
uint32_t imap_special_bit(struct slice name);

/* Proleptic Gregorian calendar. */
int64_t imap_days_of(int32_t year, uint32_t month, uint32_t day);
void imap_date_of(int64_t days, int32_t *year, uint32_t *month, uint32_t *day);
extern const char imap_months[12][4];
