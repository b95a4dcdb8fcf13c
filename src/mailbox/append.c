/*
 * New messages: an appender gives UIDs and slots to entries of one mailbox and publishes them; an
 * arrival is one message that comes in from outside. mailbox_append() is IMAP's APPEND and
 * MULTIAPPEND (RFC 3502): all or none, also when it takes many batches.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "mailbox/mailbox_priv.h"

enum { APPEND_BATCH_MESSAGES = 40, APPEND_BATCH_BYTES = 3 << 20 };

/* ---- the appender --------------------------------------------------------------------------- */

static enum mailbox_result begin(struct appender *appender, struct box *box, uint32_t first,
                                 uint64_t count, bool imports)
{
    if (box->submitted.unpublished > 0) {
        account_mend(box->account, false);
        return MAILBOX_UNAVAILABLE;
    }
    if (count > UID_MAX || first > UID_MAX - count)
        return MAILBOX_LIMIT;
    *appender = (struct appender){.box = box, .uid = first, .first = first, .imports = imports};
    TAILQ_INIT(&appender->effects);
    return MAILBOX_OK;
}

enum mailbox_result appender_begin(struct appender *appender, struct box *box, uint64_t count)
{
    const struct box_record *record = &box->submitted;
    bool kept = record->import_end > record->uidnext; /* UIDs for an import */
    return begin(appender, box, kept ? record->import_end : record->uidnext, count, false);
}

enum mailbox_result appender_begin_import(struct appender *appender, struct box *box,
                                          uint32_t first, uint32_t last)
{
    const struct box_record *record = &box->submitted;
    if (first < record->uidnext || record->import_end == 0)
        return MAILBOX_CANNOT;
    return begin(appender, box, first, (uint64_t)last - first + 1, true);
}

static uint32_t appender_slot(struct appender *appender, struct change *change)
{
    struct box_record *record = &appender->box->submitted;
    if (record->tail_page == 0 || record->tail_used == PAGE_ENTRIES) {
        uint8_t page[PAGE_SIZE];
        struct codec_key key = codec_key_page(appender->box->id, appender->uid);
        codec_page_empty(page);
        store_batch_put(change->batch, codec_key_slice(&key), slice_make(page, sizeof(page)));
        record->tail_page = appender->uid;
        record->tail_used = 0;
    }
    return record->tail_used++;
}

void appender_add(struct appender *appender, struct change *change, struct mailbox_entry *entry,
                  uint32_t source)
{
    static const uint8_t format = CODEC_FORMAT;
    struct box *box = appender->box;
    uint32_t slot = appender_slot(appender, change);

    entry->uid = appender->uid++;
    entry->modseq = change->modseq;
    entry->save_date = change->now;
    change_entry(change, box->id, box->submitted.tail_page, slot, entry, 0);
    struct codec_key key = codec_key_reference(entry->email, box->id, entry->uid);
    store_batch_put(change->batch, codec_key_slice(&key), slice_make(&format, 1));
    struct effect *effect = MEM_NEW(struct effect);
    *effect = (struct effect){.kind = EFFECT_ADD,
                              .box = box,
                              .entry = *entry,
                              .page = box->submitted.tail_page,
                              .slot = slot,
                              .source = source};
    TAILQ_INSERT_TAIL(&appender->effects, effect, link);
    appender->messages++;
    appender->size += entry->size;
    appender->unseen += (entry->flags & MAILBOX_SEEN) == 0;
    appender->deleted += (entry->flags & MAILBOX_DELETED) != 0;
}

void appender_hold(struct appender *appender, struct change *change)
{
    appender->box->submitted.unpublished = appender->uid;
    change_touch(change, appender->box);
}

void appender_publish(struct appender *appender, struct change *change)
{
    struct box_record *record = &appender->box->submitted;
    const struct effect *effect;
    TAILQ_FOREACH (effect, &appender->effects, link)
        change_note(change, appender->box->id, CHANGE_ADD, effect->entry.uid);
    record->uidnext = appender->uid;
    if (appender->imports)
        record->import_next = appender->uid;
    record->unpublished = 0;
    record->messages += appender->messages;
    record->unseen += appender->unseen;
    record->deleted += appender->deleted;
    record->size += appender->size;
    change->account->submitted.messages += appender->messages;
    change->account->submitted.bytes += appender->size;
    TAILQ_CONCAT(&change->effects, &appender->effects, link);
    change_touch(change, appender->box);
}

void appender_finish(struct appender *appender)
{
    struct effect *effect;
    if (appender->box == NULL)
        return;
    while ((effect = TAILQ_FIRST(&appender->effects)) != NULL) {
        TAILQ_REMOVE(&appender->effects, effect, link);
        effect_free(effect);
    }
    appender->box = NULL;
}

/* ---- one message ---------------------------------------------------------------------------- */

bool account_has_room(const struct account *account, uint64_t bytes)
{
    return account->quota == 0 || (account->submitted.bytes <= account->quota &&
                                   bytes <= account->quota - account->submitted.bytes);
}

static void put_number(struct change *change, enum codec_kind kind, uint32_t number,
                       struct slice value)
{
    struct codec_key key = codec_key_number(kind, number);
    store_batch_put(change->batch, codec_key_slice(&key), value);
}

uint64_t arrival_store(struct change *change, struct appender *appender,
                       const struct arrival *arrival, uint64_t blob)
{
    struct account *account = change->account;
    struct incoming *incoming = arrival->incoming;
    uint32_t *ids = mem_array(arrival->flags.keyword_count + 1, sizeof(*ids));
    size_t id_count = 0;
    uint32_t set = UINT32_MAX;

    if (keywords_ids(account, arrival->flags.keywords, arrival->flags.keyword_count, true, ids,
                     &id_count))
        set = keywords_combine(account, 0, MAILBOX_STORE_SET, ids, id_count);
    free(ids);
    if (set == UINT32_MAX)
        return 0;
    struct mailbox_entry entry = {.email = account->submitted.email_next++,
                                  .flags = arrival->flags.system,
                                  .keyword_set = set,
                                  .size = (uint32_t)(incoming->size + arrival->prefix.size)};
    struct store_label label = {appender->box->id, appender->box->submitted.uidvalidity,
                                appender->uid, change->now};
    struct email_record email = {.blob = blob,
                                 .blob_size = incoming->size,
                                 .date_us =
                                     arrival->date_us == 0 ? clock_real_us() : arrival->date_us,
                                 .zone_minutes = arrival->zone_minutes,
                                 .home_box = appender->box->id,
                                 .home_uid = appender->uid,
                                 .pop3_order = arrival->pop3_order,
                                 .prefix = arrival->prefix,
                                 .uidl = arrival->uidl};
    if (blob == 0) {
        email.blob = store_blob_new(account->store);
        store_batch_blob(change->batch, email.blob, incoming_bytes(incoming), label);
    } else {
        store_batch_addref(change->batch, blob);
    }
    struct buf value = {0};
    codec_email_put(&email, &value);
    put_number(change, KEY_EMAIL, entry.email, buf_slice(&value));
    buf_finish(&value);
    if (incoming->summary.size > 0)
        put_number(change, KEY_SUMMARY, entry.email, buf_slice(&incoming->summary));
    appender_add(appender, change, &entry, 0);
    return email.blob;
}

/* ---- APPEND --------------------------------------------------------------------------------- */

struct append_op {
    struct op op;
    struct slice name;
    struct arrival *arrivals;
    size_t count, with_uid, waiting, next;
    uint64_t size;
    struct appender appender;
    struct mailbox_appended appended;
    mailbox_append_done *done;
    void *arg;
    enum mailbox_result refused;
};

static enum op_step append_begin(struct append_op *append)
{
    struct account *account = append->op.account;
    struct box *box = box_lookup(account, append->name);

    if (append->refused != MAILBOX_OK)
        return op_fail(&append->op, append->refused);
    if (box == NULL || box->submitted.state != BOX_LIVE)
        return op_fail(&append->op, MAILBOX_NO_SUCH);
    if (!account_has_room(account, append->size))
        return op_fail(&append->op, MAILBOX_OVER_QUOTA);
    if (account->submitted.email_next > UINT32_MAX - 0x20000 - append->count)
        return op_fail(&append->op, MAILBOX_LIMIT);
    enum mailbox_result result =
        append->with_uid == 0
            ? appender_begin(&append->appender, box, append->count)
            : appender_begin_import(&append->appender, box, append->arrivals[0].uid,
                                    append->arrivals[append->count - 1].uid);
    if (result != MAILBOX_OK)
        return op_fail(&append->op, result);
    append->appended.uidvalidity = box->submitted.uidvalidity;
    return OP_MORE;
}

/* Keywords of all sources first: a limit must show before anything is submitted. */
static bool append_keywords(struct append_op *append)
{
    for (size_t i = 0; i < append->count; i++) {
        const struct mailbox_flags *flags = &append->arrivals[i].flags;
        uint32_t *ids = mem_array(flags->keyword_count + 1, sizeof(*ids));
        size_t count = 0;
        bool good =
            keywords_ids(append->op.account, flags->keywords, flags->keyword_count, true, ids,
                         &count) &&
            keywords_combine(append->op.account, 0, MAILBOX_STORE_SET, ids, count) != UINT32_MAX;
        free(ids);
        if (!good)
            return false;
    }
    return true;
}

static enum op_step append_prepare(struct op *op)
{
    struct append_op *append = (struct append_op *)op;

    if (append->next == 0 && append_begin(append) != OP_MORE)
        return OP_PREPARED;
    if (append->next == 0 && !append_keywords(append))
        return op_fail(op, MAILBOX_LIMIT);
    struct change *change = change_begin(op);
    for (unsigned used = 0; append->next < append->count && used < APPEND_BATCH_MESSAGES &&
                            store_batch_bytes(change->batch) < APPEND_BATCH_BYTES;
         used++) {
        const struct arrival *arrival = &append->arrivals[append->next++];
        if (arrival->uid > 0)
            append->appender.uid = arrival->uid;
        uint64_t blob = arrival_store(change, &append->appender, arrival, 0);
        ASSERT(blob != 0);
    }
    bool last = append->next == append->count;
    if (last)
        appender_publish(&append->appender, change);
    else
        appender_hold(&append->appender, change);
    fault_hit(last ? "mailbox.append.publish" : "mailbox.append.hold");
    change_submit(change);
    return last ? OP_PREPARED : OP_MORE;
}

static void append_restart(struct op *op)
{
    struct append_op *append = (struct append_op *)op;
    append->next = 0;
    appender_finish(&append->appender);
    uidset_clear(&append->appended.uids);
}

static void append_applied(struct op *op, struct change *change)
{
    struct append_op *append = (struct append_op *)op;
    struct effect *effect;
    TAILQ_FOREACH (effect, &change->effects, link)
        uidset_add(&append->appended.uids, effect->entry.uid, effect->entry.uid);
}

static void append_finish(struct op *op, enum mailbox_result result, bool wanted)
{
    struct append_op *append = (struct append_op *)op;
    if (wanted)
        append->done(append->arg, result, &append->appended);
    for (size_t i = 0; i < append->count; i++) {
        if (append->arrivals[i].incoming != NULL)
            incoming_release(append->arrivals[i].incoming);
    }
    appender_finish(&append->appender);
    uidset_finish(&append->appended.uids);
}

static const struct op_kind append_kind = {"append", append_prepare, append_restart, append_applied,
                                           append_finish};

static void append_ready(void *arg)
{
    struct append_op *append = arg;
    if (--append->waiting == 0)
        op_enqueue(&append->op);
}

static void append_source(struct append_op *append, struct arrival *arrival,
                          const struct mailbox_source *source)
{
    struct arena *arena = &append->op.arena;
    arrival->prefix = arena_copy(arena, source->prefix);
    arrival->uidl = arena_copy(arena, source->uidl);
    arrival->pop3_order = source->pop3_order;
    arrival->uid = source->uid;
    arrival->date_us = source->date_us;
    arrival->zone_minutes = source->zone_minutes;
    flags_copy(arena, &source->flags, &arrival->flags);
    append->size += source->bytes.size + source->prefix.size;
    if (source->prefix.size > MESSAGE_PREFIX_MAX || source->uidl.size > 1000 ||
        source->bytes.size > STORE_BLOB_MAX - MESSAGE_PREFIX_MAX) {
        append->refused = MAILBOX_LIMIT;
        return;
    }
    arrival->incoming =
        incoming_create(append->op.account->env, &source->bytes, false, append_ready, append);
    if (arrival->incoming == NULL)
        append->refused = MAILBOX_UNAVAILABLE;
    else
        append->waiting++;
}

void mailbox_append(struct mailbox_account *account, struct slice name,
                    const struct mailbox_source *sources, size_t count, mailbox_append_done *done,
                    void *arg)
{
    struct append_op *append =
        op_create(sizeof(*append), &append_kind, account->account, &account->requests);
    append->done = done;
    append->arg = arg;
    append->count = count;
    append->arrivals = arena_array(&append->op.arena, count + 1, sizeof(*append->arrivals));
    if (!name_normalise(name, &append->op.arena, &append->name))
        append->name = SLICE_NONE;
    append->waiting = 1; /* this call */
    for (size_t i = 0; i < count; i++) {
        append_source(append, &append->arrivals[i], &sources[i]);
        append->with_uid += sources[i].uid > 0;
        if (append->with_uid != 0 &&
            (append->with_uid != i + 1 || (i > 0 && sources[i].uid <= sources[i - 1].uid)))
            append->refused = MAILBOX_CANNOT;
    }
    if (count == 0)
        append->refused = MAILBOX_LIMIT;
    append_ready(append);
}
