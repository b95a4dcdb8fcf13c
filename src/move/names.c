/*
 * What the mailboxes of an export are called on disk. People name their mailboxes, and whoever
 * exports is another and may be root: so no name may lead out of the directory, and no two
 * mailboxes may meet in one file. A name stays as it is where it can; where it cannot,
 *
 *   Maildir++   "." in a level, which ends a level there, becomes "_"
 *   mbox        "." at the start of a level (".", ".." and what nobody sees) becomes "_"; a level
 *               ends in ".mbox" only as a file of ours, else in ".mbox_"
 *   both        what is too long for a file name becomes long_<checksum> at the top
 *
 * and "_" is added until no other mailbox is called so. That depends on names alone: the next
 * export finds the same ones.
 */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/utf8.h"
#include "imap/utf7.h"
#include "mailbox/mailbox.h"
#include "move/move.h"

enum { NAME_ROOM = 240 }; /* of the 255 bytes of a file name; the rest is for "." and ".mbox" */

struct names {
    const struct move_listing *listing;
    struct arena *arena;
    bool maildir;
    struct slice *paths;   /* on disk, of those done */
    struct slice *changed; /* as a mailbox of that name would be called; empty: it stayed */
};

/* a, and if there is one, what stands between; then b. */
static struct slice concat(struct arena *arena, struct slice a, const char *between, struct slice b)
{
    if (a.size == 0)
        return b;
    return slice_str(arena_printf(arena, "%.*s%s%.*s", SLICE_PRINT(a), between, SLICE_PRINT(b)));
}

static size_t leaf_begin(struct slice name)
{
    size_t at = name.size;
    while (at > 0 && name.data[at - 1] != MAILBOX_SEPARATOR)
        at--;
    return at;
}

/* What the file system can hold for this level; the same when it can hold it as it is. */
static struct slice leaf_tame(const struct names *names, struct slice leaf)
{
    static const char mbox[] = ".mbox";
    size_t tail = sizeof(mbox) - 1;
    struct slice tame = arena_copy(names->arena, leaf);
    uint8_t *bytes = (uint8_t *)(uintptr_t)tame.data;
    for (size_t i = 0; i < tame.size; i++) {
        if (bytes[i] == '.' && (names->maildir || i == 0))
            bytes[i] = '_';
    }
    if (!names->maildir && tame.size >= tail &&
        slice_equal_str(slice_sub(tame, tame.size - tail, tame.size), mbox))
        tame = concat(names->arena, tame, "", SLICE_LITERAL("_"));
    return tame;
}

/* Another mailbox has that name, or was given it. */
static bool is_taken(const struct names *names, size_t self, struct slice name)
{
    for (size_t i = 0; i < names->listing->mailbox_count; i++) {
        if (slice_equal(names->listing->mailboxes[i].name, name) ||
            (i < self && slice_equal(names->changed[i], name)))
            return true;
    }
    return false;
}

static struct slice level_encode(const struct names *names, struct slice leaf)
{
    struct buf encoded = {0};
    if (!names->maildir)
        return leaf;
    utf7_encode(leaf, &encoded);
    struct slice made = arena_copy(names->arena, buf_slice(&encoded));
    buf_finish(&encoded);
    return made;
}

static void name_make(struct names *names, size_t self, size_t above)
{
    struct arena *arena = names->arena;
    struct slice name = names->listing->mailboxes[self].name;
    size_t at = leaf_begin(name);
    struct slice parent = slice_sub(name, 0, at > 0 ? at - 1 : 0);
    struct slice parent_path = at > 0 ? names->paths[above] : SLICE_NONE;
    struct slice leaf = leaf_tame(names, slice_sub(name, at, name.size));
    struct slice level = level_encode(names, leaf);
    size_t size = level.size + (names->maildir && at > 0 ? parent_path.size + 1 : 0);
    names->changed[self] = SLICE_NONE;
    if (size > NAME_ROOM) {
        leaf = slice_str(arena_printf(arena, "long_%08x", crc32c(0, name.data, name.size)));
        parent = parent_path = SLICE_NONE;
    }
    if (!slice_equal(concat(arena, parent, "/", leaf), name)) {
        while (is_taken(names, self, concat(arena, parent, "/", leaf)))
            leaf = concat(arena, leaf, "", SLICE_LITERAL("_"));
        names->changed[self] = concat(arena, parent, "/", leaf);
        level = level_encode(names, leaf);
    }
    names->paths[self] = concat(arena, parent_path, names->maildir ? "." : "/", level);
}

/* Those above stand before those below; brothers often stand side by side. */
static size_t find_above(const struct names *names, size_t self)
{
    const struct move_info *mailboxes = names->listing->mailboxes;
    size_t at = leaf_begin(mailboxes[self].name);
    struct slice parent = slice_sub(mailboxes[self].name, 0, at > 0 ? at - 1 : 0);
    size_t i = self;
    while (i > 0 && !slice_equal(mailboxes[i - 1].name, parent))
        i--;
    return i > 0 ? i - 1 : SIZE_MAX;
}

bool move_names(const struct move_listing *listing, bool maildir, struct arena *arena,
                struct slice **paths, struct error *error)
{
    struct names names = {.listing = listing, .arena = arena, .maildir = maildir};
    names.paths = arena_array(arena, listing->mailbox_count + 1, sizeof(*names.paths));
    names.changed = arena_array(arena, listing->mailbox_count + 1, sizeof(*names.changed));
    for (size_t i = 0; i < listing->mailbox_count; i++) {
        struct slice name = listing->mailboxes[i].name;
        size_t above = leaf_begin(name) > 0 ? find_above(&names, i) : 0;
        if (above == SIZE_MAX || leaf_begin(name) == name.size || !utf8_valid(name) ||
            slice_find(name, 0) < name.size)
            return error_set(error, "the server's list of mailboxes is not understood");
        name_make(&names, i, above);
    }
    *paths = names.paths;
    return true;
}
