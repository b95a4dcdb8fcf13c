/*
 * The maildrop of a session (RFC 1939 4): INBOX as it is at login. Messages keep their numbers for
 * the whole session, whatever happens to the mailbox; what is expunged elsewhere stays readable,
 * what arrives later waits for the next login. So the view is never polled.
 *
 * The lock (RFC 1939 4) is per account and in this worker, where all its sessions are. A second
 * login gets [IN-USE] (RFC 2449 8.1.1), unless whoever holds the lock is gone: its connection has
 * ended, or nothing was heard of it for a minute and it has no command in work. Phones change
 * networks and leave sockets behind; without this their owners are locked out for ten minutes. The
 * session that is given up deletes nothing.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "pop3/pop3_priv.h"

RB_HEAD(lock_tree, pop3);
static struct lock_tree locks = RB_INITIALIZER(&locks);

static int lock_compare(const struct pop3 *a, const struct pop3 *b)
{
    return id_compare(a->ref.id, b->ref.id);
}
RB_GENERATE_INTERNAL(lock_tree, pop3, by_account, lock_compare, __attribute__((unused)) static)

/* Its client closed the connection, or has been silent for long. */
static bool is_gone(const struct pop3 *s)
{
    struct pollfd poll_fd = {.fd = s->fd, .events = POLLRDHUP};
    if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
        return true;
    }
    uint64_t quiet_us = POP3_QUIET_S * 1000000ull;
    uint64_t last_us = s->taken_us > s->heard_us ? s->taken_us : s->heard_us;
    return s->step != POP3_WAIT && clock_monotonic_us() - last_us > quiet_us;
}

static bool take_lock(struct pop3 *s)
{
    struct pop3 *holder = RB_FIND(lock_tree, &locks, s);
    if (holder != NULL) {
        if (!is_gone(holder)) {
            return false;
        }
        pop3_end(holder, "replaced");
    }
    RB_INSERT(lock_tree, &locks, s);
    s->locked = true;
    return true;
}

void maildrop_close(struct pop3 *s)
{
    if (s->locked) {
        RB_REMOVE(lock_tree, &locks, s);
        s->locked = false;
    }
    mailbox_view_close(&s->view);
    pop3_ahead_finish(s);
    mailbox_account_release(&s->account);
    free(s->messages);
    buf_finish(&s->uidls);
}

static void default_uidl(const struct pop3 *s, uint32_t uid, char buffer[20])
{
    snprintf(buffer, 20, "%08x%08x", uid, s->uidvalidity);
}

const char *maildrop_uidl(const struct pop3 *s, const struct pop3_message *message, char buffer[20])
{
    if (message->uidl != UINT32_MAX) {
        return (const char *)s->uidls.data + message->uidl;
    }
    default_uidl(s, message->uid, buffer);
    return buffer;
}

/* RFC 1939 7: one to 70 characters from 0x21 to 0x7E. */
static bool uidl_valid(struct slice uidl)
{
    for (size_t i = 0; i < uidl.size; i++) {
        if (uidl.data[i] < 0x21 || uidl.data[i] > 0x7e) {
            return false;
        }
    }
    return uidl.size > 0 && uidl.size <= 70;
}

static void add_message(struct pop3 *s, const struct mailbox_message *message)
{
    struct pop3_message *added = &s->messages[s->count++];
    char buffer[20];
    *added = (struct pop3_message){.uid = message->uid,
                                   .uidl = UINT32_MAX,
                                   .size = message->size,
                                   .order = message->pop3_order};
    s->ordered |= message->pop3_order > 0;
    default_uidl(s, message->uid, buffer);
    if (message->result == MAILBOX_OK && uidl_valid(message->uidl) &&
        !slice_equal_str(message->uidl, buffer)) {
        added->uidl = (uint32_t)s->uidls.size;
        buf_add_slice(&s->uidls, message->uidl);
        buf_u8(&s->uidls, 0);
    }
}

/* Those with an order first, as the server numbered them that they came from; then by UID. */
static int order_compare(const void *a, const void *b)
{
    const struct pop3_message *x = a, *y = b;
    uint32_t left = x->order - 1, right = y->order - 1; /* 0, none, becomes the last */
    if (left != right) {
        return left < right ? -1 : 1;
    }
    return (x->uid > y->uid) - (x->uid < y->uid);
}

/* Login fails here: POP3's session cannot go back to the door, so the connection ends. */
static bool failed(struct pop3 *s, enum mailbox_result result)
{
    if (result == MAILBOX_OK) {
        return false;
    }
    enum pop3_step step = pop3_trouble(s, result);
    s->reason = "broken";
    pop3_continue(s, step == POP3_BREAK ? POP3_BREAK : POP3_CLOSE);
    return true;
}

static enum pop3_step load_page(struct pop3 *s);

static void on_loaded(void *arg, enum mailbox_result result, const struct mailbox_message *messages,
                      size_t count)
{
    struct pop3 *s = arg;
    if (failed(s, result)) {
        return;
    }
    for (size_t i = 0; i < count && s->count < s->room; i++) {
        add_message(s, &messages[i]);
    }
    pop3_continue(s, load_page(s));
}

static enum pop3_step load_page(struct pop3 *s)
{
    uint32_t uids[POP3_PAGE];
    size_t count = 0;
    while (count < POP3_PAGE && s->loading <= s->room) {
        uids[count++] = mailbox_view_at(s->view, s->loading++)->uid;
    }
    if (count > 0) {
        s->wait = "store";
        mailbox_load(s->view, uids, count, MAILBOX_NEED_EMAIL, on_loaded, s);
        return POP3_WAIT;
    }
    if (s->ordered) {
        qsort(s->messages, s->count, sizeof(*s->messages), order_compare);
    }
    pop3_write(s, "+OK %u messages\r\n", s->count);
    return POP3_NEXT;
}

static void on_view(void *arg, enum mailbox_result result, struct mailbox_view *view)
{
    struct pop3 *s = arg;
    struct mailbox_info info;
    if (failed(s, result)) {
        return;
    }
    mailbox_view_info(view, &info);
    s->uidvalidity = info.uidvalidity;
    s->room = mailbox_view_count(view);
    s->messages = mem_array(s->room > 0 ? s->room : 1, sizeof(*s->messages));
    s->loading = 1;
    pop3_continue(s, load_page(s));
}

static void on_account(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    struct pop3 *s = arg;
    if (failed(s, result)) {
        return;
    }
    if (!take_lock(s)) {
        pop3_write(s, "-ERR [IN-USE] Another session has this mailbox open\r\n");
        s->reason = "in_use";
        pop3_continue(s, POP3_CLOSE);
        return;
    }
    s->view = mailbox_view_open(account, SLICE_LITERAL("INBOX"), false, on_view, s);
}

void maildrop_open(struct pop3 *s)
{
    s->command = "login";
    s->wait = "store";
    s->account = mailbox_account_open(s->host->mailboxes, &s->ref, on_account, s);
}
