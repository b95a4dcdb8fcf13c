/*
 * Import and export between program and worker: frames as the other side may forge them, and the
 * names that an export makes of people's. Properties: what is taken lies in the frame and is taken
 * again after it was written again; names of files are all different, lead nowhere, and fit.
 * The input: a byte that says what, then the body; for names one in a line.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "mailbox/mailbox.h"
#include "move/move.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The body of the one frame that was written. */
static struct slice frame_body(const struct buf *frame)
{
    ASSERT(frame->size >= 5);
    return slice_sub(buf_slice(frame), 5, frame->size);
}

static void try_head(struct slice body, struct arena *arena)
{
    struct move_head head, back;
    struct buf frame = {0};
    if (!move_get_head(body, arena, &head))
        return;
    ASSERT(head.keyword_count <= body.size && head.uidl.size <= body.size);
    move_put_head(&frame, MOVE_HEAD, &head);
    ASSERT(slice_equal(frame_body(&frame), body));
    ASSERT(move_get_head(frame_body(&frame), arena, &back));
    ASSERT(back.uid == head.uid && back.size == head.size && back.pop3_order == head.pop3_order);
    buf_finish(&frame);
}

static void try_info(struct slice body)
{
    struct move_info info, back;
    struct buf frame = {0};
    if (!move_get_info(body, &info))
        return;
    move_put_info(&frame, &info);
    ASSERT(move_get_info(frame_body(&frame), &back));
    ASSERT(slice_equal(back.name, info.name) && back.uidvalidity == info.uidvalidity &&
           back.uidnext == info.uidnext && back.messages == info.messages &&
           back.subscribed == info.subscribed && back.selectable == info.selectable);
    buf_finish(&frame);
}

static void check_path(struct slice path, bool maildir)
{
    ASSERT(path.size > 0 && slice_find(path, 0) == path.size);
    if (maildir) {
        ASSERT(slice_find(path, '/') == path.size && path.size <= 250);
        return;
    }
    while (path.size > 0) {
        struct slice level = slice_split(&path, '/');
        ASSERT(level.size > 0 && level.size <= 250 && level.data[0] != '.');
    }
}

static void try_names(struct slice text, bool maildir, struct arena *arena)
{
    struct move_listing listing = {.count = 0};
    struct error error = {0};
    struct slice *paths;
    listing.mailboxes = mem_array(text.size + 1, sizeof(*listing.mailboxes));
    while (text.size > 0) {
        struct slice name = slice_split(&text, '\n');
        bool twice = false;
        for (size_t i = 0; i < listing.mailbox_count; i++)
            twice |= slice_equal(listing.mailboxes[i].name, name);
        if (!twice && name.size > 0)
            listing.mailboxes[listing.mailbox_count++].name = name;
    }
    if (move_names(&listing, maildir, arena, &paths, &error)) {
        for (size_t i = 0; i < listing.mailbox_count; i++) {
            check_path(paths[i], maildir);
            for (size_t j = 0; j < i; j++)
                ASSERT(!slice_equal(paths[i], paths[j]));
        }
    } else {
        ASSERT(error.text[0] != '\0');
    }
    free(listing.mailboxes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    if (size == 0 || size > 2000)
        return 0;
    struct slice body = slice_make(data + 1, size - 1);
    arena_init(&arena);
    switch (data[0] & 3) {
    case 0:
        try_head(body, &arena);
        break;
    case 1:
        try_info(body);
        break;
    default:
        try_names(body, (data[0] & 1) != 0, &arena);
    }
    arena_finish(&arena);
    return 0;
}
