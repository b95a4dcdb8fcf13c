/*
 * Who reads one message after the other gets the next from memory: while the client takes one, the
 * beginnings of those behind it are read, as many as AHEAD_BYTES hold. Where they are is asked for
 * PLACES messages at a time.
 *
 * A guess costs nothing but its bytes: what could not be read ahead, or is not here yet, is read
 * when it is asked for, by retr.c, which alone says what is wrong with a message.
 */
#include <event2/buffer.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "pop3/pop3_priv.h"

enum {
    SLOTS = 8,
    PLACES = 32,
    AHEAD_BYTES = 128 * 1024, /* that a session may hold in slots; one message it always may */
};

struct slot {
    struct pop3 *s;
    uint32_t number; /* 0: free */
    bool here, unwanted;
    uint64_t size;
    struct evbuffer *bytes; /* NULL until they are here */
};

struct place {
    uint32_t number, uid;
    bool known;
    struct mailbox_place at;
};

struct pop3_ahead {
    struct slot slots[SLOTS];
    size_t taken;   /* slots that are not free */
    uint64_t bytes; /* of them */
    uint32_t last;  /* number that was retrieved last */
    uint32_t next;  /* to be read ahead */
    bool loading;
    struct place places[PLACES]; /* by UID */
    size_t place_count;
    struct arena arena; /* of their prefixes */
};

static void slot_free(struct slot *slot)
{
    struct pop3_ahead *ahead = slot->s->ahead;
    if (slot->bytes != NULL) {
        evbuffer_free(slot->bytes);
    }
    ahead->taken--;
    ahead->bytes -= slot->size;
    *slot = (struct slot){0};
}

static void drop_all(struct pop3_ahead *ahead)
{
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &ahead->slots[i];
        if (slot->here) {
            slot_free(slot);
        } else {
            slot->unwanted = true;
        }
    }
}

/* ---- bytes --------------------------------------------------------------------------------- */

static void on_read(void *arg, enum mailbox_result result, struct evbuffer *bytes)
{
    struct slot *slot = arg;
    if (slot->unwanted || result != MAILBOX_OK || evbuffer_get_length(bytes) != slot->size) {
        slot_free(slot);
        return;
    }
    slot->here = true;
    slot->bytes = evbuffer_new();
    ASSERT(slot->bytes != NULL);
    evbuffer_add_buffer(slot->bytes, bytes);
}

static void ask(struct pop3 *s, uint32_t number, const struct mailbox_place *at, uint64_t size)
{
    struct pop3_ahead *ahead = s->ahead;
    struct slot *slot = ahead->slots;
    while (slot->number != 0) {
        slot++;
    }
    *slot = (struct slot){.s = s, .number = number, .size = size};
    ahead->taken++;
    ahead->bytes += size;
    mailbox_read_loaded(s->view, at, 0, size, on_read, slot);
}

/* ---- places -------------------------------------------------------------------------------- */

static int by_uid(const void *a, const void *b)
{
    uint32_t x = ((const struct place *)a)->uid, y = ((const struct place *)b)->uid;
    return (x > y) - (x < y);
}

static void on_places(void *arg, enum mailbox_result result, const struct mailbox_message *messages,
                      size_t count)
{
    struct pop3 *s = arg;
    struct pop3_ahead *ahead = s->ahead;
    size_t at = 0;
    ahead->loading = false;
    for (size_t i = 0; i < count && result == MAILBOX_OK; i++) {
        while (at < ahead->place_count && ahead->places[at].uid < messages[i].uid) {
            at++;
        }
        if (at < ahead->place_count && ahead->places[at].uid == messages[i].uid &&
            messages[i].result == MAILBOX_OK) {
            ahead->places[at].known = true;
            ahead->places[at].at = messages[i].place;
            ahead->places[at].at.prefix = arena_copy(&ahead->arena, messages[i].place.prefix);
        }
    }
    pop3_ahead_fill(s);
}

static void load_places(struct pop3 *s)
{
    struct pop3_ahead *ahead = s->ahead;
    uint32_t uids[PLACES];
    arena_finish(&ahead->arena);
    ahead->place_count = 0;
    for (uint32_t number = ahead->next; number <= s->count && ahead->place_count < PLACES;
         number++) {
        ahead->places[ahead->place_count++] =
            (struct place){.number = number, .uid = s->messages[number - 1].uid};
    }
    qsort(ahead->places, ahead->place_count, sizeof(*ahead->places), by_uid);
    for (size_t i = 0; i < ahead->place_count; i++) {
        uids[i] = ahead->places[i].uid;
    }
    ahead->loading = true;
    mailbox_load(s->view, uids, ahead->place_count, MAILBOX_NEED_EMAIL, on_places, s);
}

static const struct place *find_place(const struct pop3_ahead *ahead, uint32_t number)
{
    for (size_t i = 0; i < ahead->place_count; i++) {
        if (ahead->places[i].number == number) {
            return &ahead->places[i];
        }
    }
    return NULL;
}

/* ---- what retr.c asks ---------------------------------------------------------------------- */

void pop3_ahead_fill(struct pop3 *s)
{
    struct pop3_ahead *ahead = s->ahead;
    if (ahead == NULL || ahead->loading || ahead->bytes > AHEAD_BYTES / 2) {
        return;
    }
    while (ahead->next != 0 && ahead->next <= s->count && ahead->taken < SLOTS) {
        const struct pop3_message *message = &s->messages[ahead->next - 1];
        uint64_t size = message->size < POP3_CHUNK ? message->size : POP3_CHUNK;
        if (ahead->taken > 0 && ahead->bytes + size > AHEAD_BYTES) {
            return;
        }
        const struct place *place = find_place(ahead, ahead->next);
        if (place == NULL) {
            load_places(s);
            return;
        }
        ahead->next++;
        if (place->known && !message->deleted) {
            ask(s, place->number, &place->at, size);
        }
    }
}

struct evbuffer *pop3_ahead_take(struct pop3 *s, uint32_t number)
{
    struct evbuffer *bytes = NULL;
    if (s->ahead == NULL) {
        s->ahead = MEM_NEW(struct pop3_ahead);
        arena_init(&s->ahead->arena);
    }
    struct pop3_ahead *ahead = s->ahead;
    bool follows = number > ahead->last && number - ahead->last <= SLOTS;
    ahead->last = number;
    if (!follows) {
        drop_all(ahead);
        ahead->next = 0; /* no guess before the next */
        return NULL;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &ahead->slots[i];
        if (slot->number != 0 && slot->number <= number) {
            if (slot->number == number) {
                bytes = slot->bytes;
                slot->bytes = NULL;
            }
            slot->unwanted = true;
            if (slot->here) {
                slot_free(slot);
            }
        }
    }
    if (ahead->next <= number) {
        ahead->next = number + 1;
    }
    return bytes;
}

void pop3_ahead_finish(struct pop3 *s)
{
    if (s->ahead == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        if (s->ahead->slots[i].bytes != NULL) {
            evbuffer_free(s->ahead->slots[i].bytes);
        }
    }
    arena_finish(&s->ahead->arena);
    free(s->ahead);
    s->ahead = NULL;
}
