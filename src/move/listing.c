/* Questions that both directions ask: which mailboxes, which messages, their bytes. */
#include <stdlib.h>

#include "base/mem.h"
#include "move/move.h"

void move_listing_finish(struct move_listing *listing)
{
    free(listing->mailboxes);
    free(listing->heads);
    arena_finish(&listing->arena);
    *listing = (struct move_listing){.count = 0};
    arena_init(&listing->arena);
}

bool move_take_info(void *arg, enum move_kind kind, struct slice body, struct error *error)
{
    struct move_listing *listing = arg;
    if (listing->mailbox_count == listing->mailbox_room) {
        listing->mailbox_room = listing->mailbox_room == 0 ? 16 : listing->mailbox_room * 2;
        listing->mailboxes =
            mem_grow(listing->mailboxes, listing->mailbox_room, sizeof(*listing->mailboxes));
    }
    return kind == MOVE_INFO && move_get_info(arena_copy(&listing->arena, body),
                                              &listing->mailboxes[listing->mailbox_count++]);
}

bool move_list(struct move_link *link, struct move_listing *listing, struct error *error)
{
    move_put(&link->out, MOVE_LIST, SLICE_NONE);
    return move_link_must(link, move_take_info, listing, "list", error);
}

static bool take_head(void *arg, enum move_kind kind, struct slice body, struct error *error)
{
    struct move_listing *listing = arg;
    if (listing->count == listing->room) {
        listing->room = listing->room == 0 ? 64 : listing->room * 2;
        listing->heads = mem_grow(listing->heads, listing->room, sizeof(*listing->heads));
    }
    return kind == MOVE_HEAD && move_get_head(arena_copy(&listing->arena, body), &listing->arena,
                                              &listing->heads[listing->count++]);
}

bool move_open(struct move_link *link, struct slice name, struct move_listing *listing,
               struct error *error)
{
    struct buf body = {0};
    listing->count = 0;
    buf_packed(&body, name);
    move_put(&link->out, MOVE_OPEN, buf_slice(&body));
    buf_finish(&body);
    return move_link_must(link, take_head, listing, "the mailbox cannot be read", error);
}

static bool take_bytes(void *arg, enum move_kind kind, struct slice body, struct error *error)
{
    buf_add_slice(arg, body);
    return kind == MOVE_BYTES_FRAME;
}

bool move_read(struct move_link *link, uint32_t uid, struct buf *out, struct error *error)
{
    struct buf body = {0};
    buf_clear(out);
    buf_u32(&body, uid);
    move_put(&link->out, MOVE_READ, buf_slice(&body));
    buf_finish(&body);
    return move_link_must(link, take_bytes, out, "a message cannot be read", error);
}
