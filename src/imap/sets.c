/*
 * From the sets a client writes to the messages they mean (RFC 3501 6.4.8, 9 seq-number): "*" is
 * the last message that this session has been told of; of UIDs those are taken that are there.
 */
#include "imap/imap_priv.h"

static uint32_t last_uid(const struct imap_session *session)
{
    uint32_t count = mailbox_view_count(session->view);
    return count == 0 ? 0 : mailbox_view_at(session->view, count)->uid;
}

static void add_uid_range(struct imap_session *session, uint32_t first, uint32_t last,
                          struct uidset *sequences)
{
    if (last < first) {
        uint32_t swap = first;
        first = last;
        last = swap;
    }
    uint32_t from = mailbox_view_sequence_from(session->view, first);
    uint32_t behind = last == UINT32_MAX ? mailbox_view_count(session->view) + 1
                                         : mailbox_view_sequence_from(session->view, last + 1);
    if (from < behind)
        uidset_add(sequences, from, behind - 1);
}

bool imap_set_sequences(struct imap_session *session, const struct imap_set *set, bool uid,
                        struct uidset *sequences)
{
    uint32_t count = mailbox_view_count(session->view);
    uint32_t star = uid ? last_uid(session) : count;
    bool good = true;
    for (size_t i = 0; set->saved && i < session->saved.count; i++)
        add_uid_range(session, session->saved.ranges[i].first, session->saved.ranges[i].last,
                      sequences);
    for (size_t i = 0; i < set->count; i++) {
        uint32_t first = set->ranges[i].first == 0 ? star : set->ranges[i].first;
        uint32_t last = set->ranges[i].last == 0 ? star : set->ranges[i].last;
        if (uid && count > 0)
            add_uid_range(session, first, last, sequences);
        if (uid)
            continue;
        uint32_t low = first < last ? first : last, high = first < last ? last : first;
        good = good && low > 0 && high <= count;
        if (low > 0 && low <= count)
            uidset_add(sequences, low, high < count ? high : count);
    }
    return good;
}

void imap_set_known(struct imap_session *session, const struct imap_set *set, struct uidset *uids)
{
    if (set->saved)
        uidset_add_set(uids, &session->saved);
    for (size_t i = 0; i < set->count; i++) {
        uint32_t first = set->ranges[i].first, last = set->ranges[i].last;
        uidset_add(uids, first == 0 ? UINT32_MAX : first, last == 0 ? UINT32_MAX : last);
    }
}

void imap_set_uids(struct imap_session *session, const struct uidset *sequences,
                   struct uidset *uids)
{
    for (size_t i = 0; i < sequences->count; i++) {
        const struct uidset_range *range = &sequences->ranges[i];
        for (uint32_t sequence = range->first; sequence <= range->last; sequence++) {
            uint32_t uid = mailbox_view_at(session->view, sequence)->uid;
            uidset_add(uids, uid, uid);
        }
    }
}
