/*
 * What `restante import` and `restante export` say to the worker that owns the account, over the
 * socket that control handed over (doc/decisions/0050-moving.md). Frames: u32 little-endian size of
 * what follows, u8 kind, body as base/buf.h packs it.
 *
 * The program asks; one question at a time, each ended by a DONE. APPEND and BYTES are not answered
 * one by one: what came since the last STORE is stored by it, all or none.
 *
 *   LIST                                    -> INFO of each mailbox, DONE
 *   MAILBOX name, special, subscribe        -> INFO, DONE; made when it is not there
 *   ADOPT name, uidvalidity, uidnext, end   -> DONE; mailbox_adopt()
 *   OPEN name                               -> HEAD of each message, DONE
 *   READ uid (of the mailbox opened)        -> BYTES..., DONE
 *   APPEND head; BYTES... (head.size of them; none when it is 0)
 *   STORE name                              -> DONE
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum {
    MOVE_FRAME_MAX = 512 * 1024,
    MOVE_BYTES = 64 * 1024, /* in one BYTES */
    /* One STORE: what the mailbox layer publishes in one step, so that an interrupted import leaves
     * no UIDs behind that nobody may use again. */
    MOVE_GROUP_MESSAGES = 40,
    MOVE_GROUP_BYTES = 3 << 20, /* or one message that is larger */
};

enum move_kind {
    MOVE_LIST = 1,
    MOVE_MAILBOX,
    MOVE_ADOPT,
    MOVE_OPEN,
    MOVE_READ,
    MOVE_APPEND,
    MOVE_BYTES_FRAME,
    MOVE_STORE,
    MOVE_INFO,
    MOVE_HEAD,
    MOVE_DONE,
};

struct move_info { /* of a mailbox; as struct mailbox_info has it */
    struct slice name;
    uint32_t uidvalidity, uidnext, import_next, messages, special;
    bool subscribed, selectable;
};

struct move_head { /* of a message */
    uint32_t uid;  /* APPEND: 0 for the next */
    uint64_t size, date_us;
    int32_t zone_minutes;
    uint32_t flags;      /* enum mailbox_flag */
    uint32_t pop3_order; /* 0: none */
    struct slice uidl;
    struct slice *keywords;
    size_t keyword_count;
};

/* Append a whole frame. */
void move_put(struct buf *out, enum move_kind kind, struct slice body);
void move_put_info(struct buf *out, const struct move_info *info);
void move_put_head(struct buf *out, enum move_kind kind, const struct move_head *head);
void move_put_adopt(struct buf *out, struct slice name, uint32_t uidvalidity, uint32_t uidnext,
                    bool finished);
void move_put_mailbox(struct buf *out, struct slice name, uint32_t special, bool subscribe);
/* result: enum mailbox_result. text: for the administrator, may be empty. */
void move_put_done(struct buf *out, uint32_t result, struct slice text);

/* Decode a body; slices point into it. False: malformed. */
bool move_get_info(struct slice body, struct move_info *info);
bool move_get_head(struct slice body, struct arena *arena, struct move_head *head);
