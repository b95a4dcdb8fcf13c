/*
 * Keys of SEARCH that what the mailbox keeps of a message decides, and that came with extensions:
 * MODSEQ (RFC 7162 3.1.5), EMAILID and THREADID (RFC 8474 5.4), SAVEDBEFORE, SAVEDON, SAVEDSINCE
 * and SAVEDATESUPPORTED (RFC 8514 4.3). And what extensions want of the messages found: the highest
 * MODSEQ, and to keep them (RFC 5182).
 */
#include <stdio.h>

#include "imap/search.h"

/* Name and type of an entry may stand ahead; there is one MODSEQ for all of a message. */
static bool parse_modseq(struct imap_parser *parser, struct search_key *key)
{
    struct slice entry;
    key->kind = SEARCH_MODSEQ;
    if (!imap_parse_space(parser))
        return false;
    if (imap_parse_sees(parser, '"')) {
        if (!imap_parse_string(parser, &entry) || !imap_parse_space(parser))
            return false;
        if (!imap_parse_keyword(parser, "shared") && !imap_parse_keyword(parser, "priv") &&
            !imap_parse_keyword(parser, "all"))
            return imap_parse_fail(parser, "MODSEQ knows shared, priv and all.");
        if (!imap_parse_space(parser))
            return false;
    }
    return imap_parse_modseq(parser, &key->modseq);
}

static bool parse_saved(struct imap_parser *parser, struct search_key *key, bool before, bool since)
{
    int64_t day;
    key->kind = SEARCH_SAVED;
    if (!imap_parse_space(parser) || !imap_parse_date(parser, &day))
        return false;
    key->from = since ? day : INT64_MIN;
    key->to = !before ? INT64_MAX : since ? day + 1 : day;
    return true;
}

bool search_parse_entry(struct imap_parser *parser, struct search_key *key, bool *good)
{
    *good = true;
    if (imap_parse_keyword(parser, "MODSEQ")) {
        *good = parse_modseq(parser, key);
    } else if (imap_parse_keyword(parser, "EMAILID")) {
        key->kind = SEARCH_EMAIL_ID;
        *good = imap_parse_space(parser) && imap_parse_atom(parser, &key->text);
    } else if (imap_parse_keyword(parser, "THREADID")) {
        key->kind = SEARCH_NONE;
        *good = imap_parse_space(parser) && imap_parse_atom(parser, &key->text);
    } else if (imap_parse_keyword(parser, "SAVEDATESUPPORTED")) {
        key->kind = SEARCH_ALL;
    } else if (imap_parse_keyword(parser, "SAVEDBEFORE")) {
        *good = parse_saved(parser, key, true, false);
    } else if (imap_parse_keyword(parser, "SAVEDON")) {
        *good = parse_saved(parser, key, true, true);
    } else if (imap_parse_keyword(parser, "SAVEDSINCE")) {
        *good = parse_saved(parser, key, false, true);
    } else {
        return false;
    }
    return true;
}

bool search_judge_entry(const struct search_key *key, const struct mailbox_entry *entry)
{
    char email[16];
    int64_t day = entry->save_date / 86400;
    switch (key->kind) {
    case SEARCH_MODSEQ:
        return entry->modseq >= key->modseq;
    case SEARCH_EMAIL_ID:
        snprintf(email, sizeof(email), "E%u", entry->email);
        return slice_equal(key->text, slice_str(email));
    default:
        return day >= key->from && day < key->to;
    }
}

static uint64_t modseq_of(const struct imap_session *session, uint32_t number)
{
    uint32_t sequence = session->work.uid ? mailbox_view_sequence(session->view, number) : number;
    const struct mailbox_entry *entry = mailbox_view_at(session->view, sequence);
    return entry == NULL ? 0 : entry->modseq;
}

uint64_t search_highest_modseq(const struct imap_session *session, const struct uidset *found,
                               uint32_t returns)
{
    uint64_t highest = 0, modseq;
    if ((returns & (SEARCH_RETURN_ALL | SEARCH_COUNT)) == 0) { /* RFC 4731 3.2: of those given */
        if ((returns & SEARCH_MIN) != 0)
            highest = modseq_of(session, found->ranges[0].first);
        if ((returns & SEARCH_MAX) != 0) {
            modseq = modseq_of(session, found->ranges[found->count - 1].last);
            highest = modseq > highest ? modseq : highest;
        }
        return highest;
    }
    for (uint32_t number = 0; uidset_next(found, number, &number); number++) {
        modseq = modseq_of(session, number);
        highest = modseq > highest ? modseq : highest;
        if (number == UINT32_MAX)
            break;
    }
    return highest;
}

void search_save(struct imap_session *session, const struct uidset *found, uint32_t returns)
{
    bool all = (returns & (SEARCH_RETURN_ALL | SEARCH_COUNT)) != 0 ||
               (returns & (SEARCH_MIN | SEARCH_MAX)) == 0;
    struct uidset kept = {0};
    if (found->count > 0 && (returns & SEARCH_MIN) != 0)
        uidset_add(&kept, found->ranges[0].first, found->ranges[0].first);
    if (found->count > 0 && (returns & SEARCH_MAX) != 0)
        uidset_add(&kept, found->ranges[found->count - 1].last,
                   found->ranges[found->count - 1].last);
    uidset_clear(&session->saved);
    if (session->work.uid)
        uidset_add_set(&session->saved, all ? found : &kept);
    else
        imap_set_uids(session, all ? found : &kept, &session->saved);
    uidset_finish(&kept);
}
