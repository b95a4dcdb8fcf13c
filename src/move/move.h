/* Import and export as the command line runs them: between files and a link to the worker. */
#pragma once
#include "move/link.h"
#include "move/source.h"

struct move_counts {
    uint64_t stored, passed; /* messages; passed: they were there already (or deleted since) */
    uint64_t renumbered;     /* of those stored: their UID could not be kept */
};
typedef void move_progress(const char *folder, uint64_t done, uint64_t total); /* total 0: ends */

/*
 * Everything of the source into the account; what is there already is passed over, so that an
 * import that was interrupted is finished by running it again. A mailbox that has had no mail takes
 * over UIDVALIDITY, UIDs and UIDNEXT; one with mail of another UIDVALIDITY is refused unless merge,
 * then its messages get new UIDs and keep their UIDLs. False: error says what to do; counts hold.
 */
bool move_import(struct move_link *link, const struct source *source, bool merge,
                 move_progress *progress, struct move_counts *counts, struct error *error);

/* Everything of the account into a new (or an earlier export's) directory. */
bool move_export_maildir(struct move_link *link, const char *path, move_progress *progress,
                         struct move_counts *counts, struct error *error);
bool move_export_mbox(struct move_link *link, const char *path, move_progress *progress,
                      struct move_counts *counts, struct error *error);

/* ---- for the files of this part: what a mailbox holds ------------------------------------------
 */

struct move_listing {
    struct arena arena;
    struct move_info *mailboxes;
    size_t mailbox_count, mailbox_room;
    struct move_head *heads; /* of the mailbox opened last */
    size_t count, room;
};
void move_listing_finish(struct move_listing *listing);
/* info of a MAILBOX or LIST question is added; see link.h for the result. */
bool move_list(struct move_link *link, struct move_listing *listing, struct error *error);
/* Opens a mailbox; its heads replace those before. */
bool move_open(struct move_link *link, struct slice name, struct move_listing *listing,
               struct error *error);
/* The bytes of a message of the mailbox opened last; they replace what out holds. */
bool move_read(struct move_link *link, uint32_t uid, struct buf *out, struct error *error);
move_answer move_take_info;

/* names.c: paths[i], in the arena: what mailbox i of the listing is called below an export's
 * directory: "A.B" (maildir, "." before it is the caller's) or "A/B" (".mbox" behind it, too).
 * False: the listing is not one of mailboxes, those above ahead of those below. */
bool move_names(const struct move_listing *listing, bool maildir, struct arena *arena,
                struct slice **paths, struct error *error);
