/*
 * The worker's side of an import or export: a session like IMAP's and POP3's, begun by a ticket and
 * a handover, that speaks wire.h to the administrator's program. It knows nothing of Maildirs and
 * mboxes; what to store and what to pass over is the program's to decide.
 *
 * One question at a time: while one is in work (busy), no frame is read. An answer of any length
 * goes out in pieces, the next one when the last has left.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "io/fd.h"
#include "move/session.h"
#include "move/wire.h"
#include "store/store.h"

enum {
    OUTPUT = 256 * 1024, /* more is made when less than that waits */
    HEADS = 500,         /* messages in one mailbox_load() */
    READ_SIZE = 512 * 1024,
    IDLE_S = 1800, /* a stopped program */
};

struct move {
    TAILQ_ENTRY(move) next;
    const struct session_host *host;
    struct bufferevent *stream;
    struct mailbox_account *account;
    struct mailbox_view *view;
    bool busy, storing, ending;
    bool writes; /* it has the account's turn */
    const char *reason;
    void (*more)(struct move *move); /* goes on when there is room for output */
    uint32_t sequence, uid;          /* where OPEN and READ are */
    uint64_t offset;
    /* the group that STORE will store */
    struct arena arena;
    struct mailbox_source sources[MOVE_GROUP_MESSAGES];
    size_t count;
    uint64_t missing; /* bytes of the last of them */
    bool failed;      /* one could not be kept */
    uint64_t total;   /* of all of them */
    char *name;
    bool subscribe;
    char id[24], account_name[321];
    struct id account_id;
    uint64_t begun_us, stored, read;
};

static TAILQ_HEAD(, move) sessions = TAILQ_HEAD_INITIALIZER(sessions);

static void group_clear(struct move *move)
{
    for (size_t i = 0; i < move->count; i++)
        fd_close(&move->sources[i].bytes.fd);
    move->count = 0;
    move->missing = move->total = 0;
    move->failed = false;
    arena_finish(&move->arena);
    arena_init(&move->arena);
}

/* Lets those go on that wait for the turn; see turn_take(). */
static void turn_pass(const struct move *move)
{
    struct move *other;
    TAILQ_FOREACH (other, &sessions, next)
        if (move->writes && id_equal(other->account_id, move->account_id))
            bufferevent_trigger(other->stream, EV_READ,
                                BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

static void end(struct move *move, const char *reason)
{
    const struct session_host *host = move->host;
    move->reason = move->ending ? move->reason : reason;
    move->ending = true;
    if (move->storing) /* the store still reads what we hold: on_stored() comes back here */
        return;
    log_info("session_end",
             "protocol=move account=%s id=%s reason=%s stored=%" PRIu64 " read=%" PRIu64
             " seconds=%.3f",
             log_value(slice_str(move->account_name)).text, move->id, move->reason, move->stored,
             move->read, (double)(clock_monotonic_us() - move->begun_us) / 1e6);
    mailbox_view_close(&move->view);
    mailbox_account_release(&move->account);
    bufferevent_free(move->stream);
    TAILQ_REMOVE(&sessions, move, next);
    turn_pass(move);
    group_clear(move);
    arena_finish(&move->arena);
    free(move->name);
    host->ended(host->arg, move, move->reason);
    free(move);
}

static void put(struct move *move, struct buf *frame)
{
    bufferevent_write(move->stream, frame->data, frame->size);
    buf_finish(frame);
}

/* The question is answered; the next frame is looked at from the loop. */
static void done_because(struct move *move, enum mailbox_result result, const char *text)
{
    struct buf frame = {0};
    move->busy = false;
    move->more = NULL;
    move_put_done(&frame, result, slice_str(text));
    put(move, &frame);
    bufferevent_trigger(move->stream, EV_READ,
                        BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

static void done(struct move *move, enum mailbox_result result)
{
    done_because(move, result, mailbox_result_text(result));
}

static void on_done(void *arg, enum mailbox_result result)
{
    done(arg, result);
}

static struct evbuffer *output(struct move *move)
{
    return bufferevent_get_output(move->stream);
}

static void on_written(struct bufferevent *stream, void *arg)
{
    struct move *move = arg;
    if (move->more != NULL && evbuffer_get_length(output(move)) < OUTPUT) {
        void (*more)(struct move * move) = move->more;
        move->more = NULL;
        more(move);
    }
}

/* Goes on at once or when the program has taken what is there. */
static void go_on(struct move *move, void (*more)(struct move *move))
{
    if (evbuffer_get_length(output(move)) < OUTPUT)
        more(move);
    else
        move->more = more;
}

/* ---- LIST, MAILBOX, ADOPT ------------------------------------------------------------------- */

static void put_info(void *arg, const struct mailbox_info *info)
{
    struct buf frame = {0};
    move_put_info(&frame, &(struct move_info){.name = info->name,
                                              .uidvalidity = info->uidvalidity,
                                              .uidnext = info->uidnext,
                                              .import_next = info->import_next,
                                              .messages = info->messages,
                                              .special = info->special,
                                              .subscribed = info->subscribed,
                                              .selectable = info->selectable});
    put(arg, &frame);
}

static void on_subscribed(void *arg, enum mailbox_result result)
{
    struct move *move = arg;
    struct mailbox_info info;
    if (result == MAILBOX_OK && !mailbox_find(move->account, slice_str(move->name), &info))
        result = MAILBOX_NO_SUCH;
    if (result == MAILBOX_OK)
        put_info(move, &info);
    done(move, result);
}

static void on_made(void *arg, enum mailbox_result result)
{
    struct move *move = arg;
    if (result == MAILBOX_EXISTS)
        result = MAILBOX_OK;
    if (result == MAILBOX_OK && move->subscribe)
        mailbox_subscribe(move->account, slice_str(move->name), true, on_subscribed, move);
    else
        on_subscribed(move, result);
}

static void name_take(struct move *move, struct slice name)
{
    free(move->name);
    move->name = slice_strdup(name);
}

static bool ask_mailbox(struct move *move, struct slice body)
{
    struct cursor cursor = cursor_make(body);
    name_take(move, cursor_packed(&cursor));
    uint32_t special = cursor_u32(&cursor);
    move->subscribe = cursor_u8(&cursor) != 0;
    if (!cursor_done(&cursor))
        return false;
    struct mailbox_info info;
    bool there = mailbox_find(move->account, slice_str(move->name), &info) && info.selectable;
    move->busy = true;
    if (there)
        on_made(move, MAILBOX_OK);
    else
        mailbox_create(move->account, slice_str(move->name), special, on_made, move);
    return true;
}

static bool ask_adopt(struct move *move, struct slice body)
{
    struct cursor cursor = cursor_make(body);
    name_take(move, cursor_packed(&cursor));
    uint32_t uidvalidity = cursor_u32(&cursor), uidnext = cursor_u32(&cursor);
    bool finished = cursor_u8(&cursor) != 0;
    if (!cursor_done(&cursor))
        return false;
    move->busy = true;
    mailbox_adopt(move->account, slice_str(move->name), uidvalidity, uidnext, finished, on_done,
                  move);
    return true;
}

/* ---- OPEN ----------------------------------------------------------------------------------- */

static void heads_next(struct move *move);

static void on_loaded(void *arg, enum mailbox_result result, const struct mailbox_message *messages,
                      size_t count)
{
    struct move *move = arg;
    for (size_t i = 0; result == MAILBOX_OK && i < count; i++) {
        const struct mailbox_message *message = &messages[i];
        uint32_t sequence = mailbox_view_sequence(move->view, message->uid);
        const struct mailbox_entry *entry = mailbox_view_at(move->view, sequence);
        const struct slice *keywords;
        size_t keyword_count = mailbox_keywords(move->account, entry->keyword_set, &keywords);
        struct buf frame = {0};
        if (message->result != MAILBOX_OK || mailbox_view_expunged(move->view, sequence))
            continue;
        move_put_head(&frame, MOVE_HEAD,
                      &(struct move_head){.uid = message->uid,
                                          .size = message->size,
                                          .date_us = message->date_us,
                                          .zone_minutes = message->zone_minutes,
                                          .flags = entry->flags,
                                          .uidl = message->uidl,
                                          .pop3_order = message->pop3_order,
                                          .keywords = (struct slice *)(uintptr_t)keywords,
                                          .keyword_count = keyword_count});
        put(move, &frame);
    }
    if (result != MAILBOX_OK)
        done(move, result);
    else
        go_on(move, heads_next);
}

static void heads_next(struct move *move)
{
    uint32_t uids[HEADS];
    size_t count = 0;
    while (count < HEADS && move->sequence <= mailbox_view_count(move->view))
        uids[count++] = mailbox_view_at(move->view, move->sequence++)->uid;
    if (count == 0)
        done(move, MAILBOX_OK);
    else
        mailbox_load(move->view, uids, count, MAILBOX_NEED_EMAIL, on_loaded, move);
}

static void on_opened(void *arg, enum mailbox_result result, struct mailbox_view *view)
{
    struct move *move = arg;
    if (result != MAILBOX_OK) {
        mailbox_view_close(&move->view);
        done(move, result);
        return;
    }
    move->sequence = 1;
    heads_next(move);
}

static bool ask_open(struct move *move, struct slice body)
{
    struct cursor cursor = cursor_make(body);
    name_take(move, cursor_packed(&cursor));
    if (!cursor_done(&cursor))
        return false;
    mailbox_view_close(&move->view);
    move->busy = true;
    move->view = mailbox_view_open(move->account, slice_str(move->name), true, on_opened, move);
    return true;
}

/* ---- READ ----------------------------------------------------------------------------------- */

static void bytes_next(struct move *move);

static void on_read(void *arg, enum mailbox_result result, struct evbuffer *bytes)
{
    struct move *move = arg;
    size_t size = result == MAILBOX_OK ? evbuffer_get_length(bytes) : 0;
    if (size == 0) {
        move->read += result == MAILBOX_OK;
        done(move, result);
        return;
    }
    move->offset += size;
    while (size > 0) {
        uint8_t piece[MOVE_BYTES];
        int got = evbuffer_remove(bytes, piece, sizeof(piece));
        struct buf frame = {0};
        ASSERT(got > 0);
        move_put(&frame, MOVE_BYTES_FRAME, slice_make(piece, (size_t)got));
        put(move, &frame);
        size -= (size_t)got;
    }
    go_on(move, bytes_next);
}

static void bytes_next(struct move *move)
{
    mailbox_read(move->view, move->uid, move->offset, READ_SIZE, on_read, move);
}

static bool ask_read(struct move *move, struct slice body)
{
    struct cursor cursor = cursor_make(body);
    move->uid = cursor_u32(&cursor);
    if (!cursor_done(&cursor) || move->view == NULL)
        return false;
    move->busy = true;
    if (mailbox_view_sequence(move->view, move->uid) == 0) {
        done(move, MAILBOX_EXPUNGED);
        return true;
    }
    move->offset = 0;
    bytes_next(move);
    return true;
}

/* ---- APPEND, BYTES, STORE ------------------------------------------------------------------- */

static bool keyword_valid(struct slice keyword)
{
    return keyword.size > 0 && utf8_valid(keyword) && slice_find(keyword, 0) == keyword.size;
}

static bool take_append(struct move *move, struct slice body)
{
    struct move_head head;
    if (move->count == MOVE_GROUP_MESSAGES || move->missing > 0 ||
        move->total >= MOVE_GROUP_BYTES ||
        !move_get_head(arena_copy(&move->arena, body), &move->arena, &head) ||
        head.size > STORE_BLOB_MAX)
        return false;
    for (size_t i = 0; i < head.keyword_count; i++)
        if (!keyword_valid(head.keywords[i]))
            return false;
    struct mailbox_source *source = &move->sources[move->count++];
    *source = (struct mailbox_source){
        .bytes = {.fd = fd_memory_create("import"), .size = head.size},
        .flags = {.system = head.flags & (MAILBOX_SEEN | MAILBOX_ANSWERED | MAILBOX_FLAGGED |
                                          MAILBOX_DELETED | MAILBOX_DRAFT),
                  .keywords = head.keywords,
                  .keyword_count = head.keyword_count},
        .date_us = head.date_us,
        .zone_minutes = head.zone_minutes,
        .uidl = head.uidl,
        .pop3_order = head.pop3_order,
        .uid = head.uid};
    move->missing = head.size;
    move->total += head.size;
    move->failed |= source->bytes.fd < 0;
    return true;
}

static bool take_bytes(struct move *move, struct slice body)
{
    if (body.size == 0 || body.size > move->missing)
        return false;
    struct mailbox_source *source = &move->sources[move->count - 1];
    if (!move->failed &&
        (fault_hit("move.spool") != 0 || !fd_memory_write(source->bytes.fd, body.data, body.size)))
        move->failed = true;
    move->missing -= body.size;
    return true;
}

static void on_stored(void *arg, enum mailbox_result result,
                      const struct mailbox_appended *appended)
{
    struct move *move = arg;
    move->storing = false;
    fault_hit("move.stored");
    move->stored += result == MAILBOX_OK ? move->count : 0;
    group_clear(move);
    if (move->ending)
        end(move, move->reason);
    else
        done(move, result);
}

static bool ask_store(struct move *move, struct slice body)
{
    struct cursor cursor = cursor_make(body);
    name_take(move, cursor_packed(&cursor));
    if (!cursor_done(&cursor) || move->missing > 0 || move->count == 0)
        return false;
    for (size_t i = 0; i < move->count; i++)
        move->failed = move->failed || !fd_memory_seal(move->sources[i].bytes.fd);
    move->busy = true;
    if (move->failed) {
        group_clear(move);
        done(move, MAILBOX_NOSPACE);
        return true;
    }
    move->storing = true;
    mailbox_append(move->account, slice_str(move->name), move->sources, move->count, on_stored,
                   move);
    return true;
}

/* ---- one writer ----------------------------------------------------------------------------- */

enum turn { TURN_MINE, TURN_WAIT, TURN_REFUSED };

static struct move *turn_holder(const struct move *move)
{
    struct move *other;
    TAILQ_FOREACH (other, &sessions, next)
        if (other->writes && id_equal(other->account_id, move->account_id))
            return other;
    return NULL;
}

static bool program_is_gone(const struct move *move)
{
    struct pollfd end = {.fd = bufferevent_getfd(move->stream), .events = POLLRDHUP};
    return poll(&end, 1, 0) > 0 && (end.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* Of two that write into one account each would miss what the other is storing just then, and bring
 * it again. What a killed program left in work is waited for. */
static enum turn turn_take(struct move *move)
{
    struct move *holder = move->writes ? NULL : turn_holder(move);
    if (holder != NULL && !holder->ending && program_is_gone(holder)) {
        end(holder, "replaced");
        holder = turn_holder(move);
    }
    if (holder != NULL)
        return holder->ending ? TURN_WAIT : TURN_REFUSED;
    move->writes = true;
    return TURN_MINE;
}

/* ---- frames --------------------------------------------------------------------------------- */

/* False: it breaks the rules. */
static bool handle(struct move *move, enum move_kind kind, struct slice body)
{
    switch (kind) {
    case MOVE_LIST:
        mailbox_list(move->account, put_info, move);
        done(move, MAILBOX_OK);
        return true;
    case MOVE_MAILBOX:
        return ask_mailbox(move, body);
    case MOVE_ADOPT:
        return ask_adopt(move, body);
    case MOVE_OPEN:
        return ask_open(move, body);
    case MOVE_READ:
        return ask_read(move, body);
    case MOVE_APPEND:
        return take_append(move, body);
    case MOVE_BYTES_FRAME:
        return take_bytes(move, body);
    case MOVE_STORE:
        return ask_store(move, body);
    default:
        return false;
    }
}

/* False: there is no whole frame, or it is not our turn. */
static bool take_frame(struct move *move, bool *broken)
{
    struct evbuffer *input = bufferevent_get_input(move->stream);
    size_t length = evbuffer_get_length(input);
    uint8_t head[5];
    if (length < sizeof(head))
        return false;
    evbuffer_copyout(input, head, sizeof(head));
    struct cursor cursor = cursor_make(slice_make(head, 4));
    size_t size = cursor_u32(&cursor);
    *broken = size < 1 || size > MOVE_FRAME_MAX;
    if (*broken || length < 4 + size)
        return *broken;
    bool writes = head[4] == MOVE_MAILBOX || head[4] == MOVE_ADOPT || head[4] == MOVE_STORE;
    enum turn turn = writes ? turn_take(move) : TURN_MINE;
    if (turn == TURN_WAIT)
        return false;
    const uint8_t *frame = evbuffer_pullup(input, (ssize_t)(4 + size));
    if (turn == TURN_REFUSED)
        done_because(move, MAILBOX_UNAVAILABLE,
                     "another import into this account is running; wait for it or end it");
    else
        *broken = !handle(move, (enum move_kind)head[4], slice_make(frame + 5, size - 1));
    evbuffer_drain(input, 4 + size);
    return true;
}

static void process(struct move *move)
{
    bool broken = false;
    while (!move->busy && !move->ending && !broken && take_frame(move, &broken))
        ;
    if (broken)
        end(move, "protocol");
}

static void on_input(struct bufferevent *stream, void *arg)
{
    process(arg);
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    end(arg, (what & BEV_EVENT_TIMEOUT) != 0 ? "idle" : "disconnect");
}

static void on_account(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    struct move *move = arg;
    done(move, result); /* the first word: the program may ask */
    move->busy = result != MAILBOX_OK;
}

static void *create(const struct session_host *host, const struct session_start *start)
{
    const struct timeval idle = {.tv_sec = IDLE_S};
    struct move *move = MEM_NEW(struct move);
    move->host = host;
    move->busy = true;
    move->begun_us = clock_monotonic_us();
    move->account_id = start->account.id;
    TAILQ_INSERT_TAIL(&sessions, move, next);
    arena_init(&move->arena);
    memcpy(move->id, start->id, sizeof(move->id));
    snprintf(move->account_name, sizeof(move->account_name), "%.*s", SLICE_PRINT(start->name));
    move->stream = bufferevent_socket_new(host->base, start->fd, BEV_OPT_CLOSE_ON_FREE);
    ASSERT(move->stream != NULL);
    bufferevent_setcb(move->stream, on_input, on_written, on_event, move);
    bufferevent_setwatermark(move->stream, EV_READ, 0, 2 * (MOVE_FRAME_MAX + 4));
    bufferevent_setwatermark(move->stream, EV_WRITE, OUTPUT / 2, 0);
    bufferevent_set_timeouts(move->stream, &idle, &idle);
    bufferevent_enable(move->stream, EV_READ | EV_WRITE);
    move->account = mailbox_account_open(host->mailboxes, &start->account, on_account, move);
    return move;
}

static void farewell(void *session, const char *text, const char *reason)
{
    end(session, reason);
}

static void describe(void *session, char *text, size_t size)
{
    const struct move *move = session;
    snprintf(text, size, "%s, %" PRIu64 " stored, %" PRIu64 " read",
             move->name == NULL ? "begins" : "works", move->stored, move->read);
}

const struct session_protocol move_session = {
    .name = "move",
    .refusal = "",
    .create = create,
    .farewell = farewell,
    .describe = describe,
};
