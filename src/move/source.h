/*
 * Folders and messages of another program's store, as an import reads them: a Maildir++ tree or
 * mboxes. What the files say of UIDs, UIDLs, flags and dates is taken; nothing is written.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct source_message {
    struct slice path;       /* of the file, NUL-terminated */
    uint64_t offset, length; /* of it; a Maildir's file is a whole one: length UINT64_MAX */
    uint32_t uid;            /* 0: not known to the old server */
    uint32_t flags;          /* enum mailbox_flag */
    struct slice *keywords;
    size_t keyword_count;
    struct slice uidl;   /* empty: none is said */
    uint32_t pop3_order; /* 0: none is said */
    uint64_t date_us;
};

struct source_folder {
    struct arena arena;              /* of all that follows */
    uint32_t uidvalidity, uidnext;   /* 0: the files do not say */
    struct source_message *messages; /* known UIDs ascending, then the others by date */
    size_t count, room;
};

struct source_name {
    char *name; /* UTF-8, "/" between levels */
    char *path;
    bool subscribed;
};

struct source {
    bool mbox;
    struct source_name *names; /* INBOX first where it is there */
    size_t count, room;
    bool subscriptions; /* there was a list of them; else all are */
};

bool source_maildir_open(struct source *source, const char *path, struct error *error);
/* A file is INBOX; of a directory every file (and those below) is a folder. */
bool source_mbox_open(struct source *source, const char *path, struct error *error);
void source_finish(struct source *source);
struct source_name *source_add(struct source *source, struct slice name, const char *path);

bool source_folder_load(const struct source *source, const struct source_name *name,
                        struct source_folder *folder, struct error *error);
void source_folder_finish(struct source_folder *folder);
/* In wire form: every line ends in CRLF, headers that an mbox keeps for itself are left out. */
bool source_read(const struct source *source, const struct source_message *message, struct buf *out,
                 struct error *error);

/* ---- for the files of this part ----------------------------------------------------------------
 */

struct source_message *source_message_add(struct source_folder *folder);
void source_sort(struct source_folder *folder);
bool source_maildir_load(const char *path, struct source_folder *folder, struct error *error);
bool source_mbox_load(const char *path, struct source_folder *folder, struct error *error);
/* Of the bytes of that file. */
bool source_mbox_parse(struct slice text, const char *path, struct source_folder *folder,
                       struct error *error);
/* The whole file; false with errno. */
bool source_file(const char *path, struct buf *out);
/* RFC 1939 7: what can be a UIDL. */
bool source_uidl_valid(struct slice uidl);

/* ---- uidlist.c: what a server wrote beside a Maildir -------------------------------------------
 */

struct uidlist_entry {
    struct slice base; /* file name up to ":" */
    uint32_t uid;
    struct slice uidl;
    uint32_t pop3_order;
};
struct uidlist {
    uint32_t uidvalidity, uidnext; /* 0: there is no list */
    bool courier_pop3;             /* its POP3 server was here: see maildir_read.c for its order */
    struct uidlist_entry *entries; /* by base */
    size_t count, room;
};
/* dovecot-uidlist (versions 1 and 3), else courierimapuiddb; with courierpop3dsizelist where it is.
 * Everything lives in the arena. */
void uidlist_read(const char *directory, struct arena *arena, struct uidlist *list);
/* The same of the files' texts (empty: there is none), which must stay as long as the list. */
void uidlist_parse(struct slice dovecot, struct slice courier, struct slice pop3,
                   struct arena *arena, struct uidlist *list);
const struct uidlist_entry *uidlist_find(const struct uidlist *list, struct slice base);

/* mbox.c: the date of a From_ line; false: it is none. */
bool mbox_from_date(struct slice line, uint64_t *date_us);
