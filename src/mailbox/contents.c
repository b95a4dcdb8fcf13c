/*
 * The entries of one mailbox in memory, in chunks that mirror the stored pages, in the order of
 * UIDs; and the two logs that views read: what was expunged, what changed. All of it is durable
 * state, changed only when a batch is (change.c).
 *
 * The rank of a UID is: entries in the chunks before (kept as running sums, made anew behind the
 * first chunk that changed) plus its place in its chunk, both by binary search.
 */
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"

static uint32_t chunk_first(const struct chunk *chunk)
{
    return chunk->entries[0].uid;
}

/* Index of the last chunk that begins at or below uid; 0 when all begin above. */
static size_t chunk_of(const struct contents *contents, uint32_t uid)
{
    size_t low = 0, high = contents->chunk_count, last = contents->last_found;
    if (last + 1 < high && chunk_first(&contents->chunks[last]) <= uid &&
        chunk_first(&contents->chunks[last + 1]) > uid)
        return last;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (chunk_first(&contents->chunks[middle]) <= uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : low - 1;
}

/* Index of the first entry of the chunk with at least that uid. */
static uint32_t chunk_search(const struct chunk *chunk, uint32_t uid)
{
    uint32_t low = 0, high = chunk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->entries[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void starts_invalid(struct contents *contents, size_t behind)
{
    if (contents->starts_valid > behind + 1)
        contents->starts_valid = behind + 1;
}

/* starts[0..chunk_count]: the last one is the number of all entries. */
static const uint32_t *starts_get(struct contents *contents)
{
    if (contents->starts_room < contents->chunk_count + 1) {
        contents->starts_room = contents->chunk_count * 2 + 1;
        contents->starts =
            mem_grow(contents->starts, contents->starts_room, sizeof(*contents->starts));
    }
    if (contents->starts_valid == 0) {
        contents->starts[0] = 0;
        contents->starts_valid = 1;
    }
    for (; contents->starts_valid <= contents->chunk_count; contents->starts_valid++)
        contents->starts[contents->starts_valid] =
            contents->starts[contents->starts_valid - 1] +
            contents->chunks[contents->starts_valid - 1].count;
    return contents->starts;
}

struct mailbox_entry *contents_find(struct contents *contents, uint32_t uid, uint32_t *page,
                                    uint32_t *slot)
{
    if (contents->chunk_count == 0)
        return NULL;
    struct chunk *chunk = &contents->chunks[chunk_of(contents, uid)];
    uint32_t at = chunk_search(chunk, uid);
    if (at == chunk->count || chunk->entries[at].uid != uid)
        return NULL;
    if (page != NULL)
        *page = chunk->page;
    if (slot != NULL)
        *slot = chunk->slots[at];
    return &chunk->entries[at];
}

struct mailbox_entry *contents_next(struct contents *contents, uint32_t uid)
{
    if (contents->chunk_count == 0)
        return NULL;
    size_t index = chunk_of(contents, uid);
    uint32_t at = chunk_search(&contents->chunks[index], uid);
    if (at < contents->chunks[index].count)
        return &contents->chunks[index].entries[at];
    return index + 1 < contents->chunk_count ? &contents->chunks[index + 1].entries[0] : NULL;
}

static uint32_t last_uid(const struct contents *contents)
{
    const struct chunk *last = &contents->chunks[contents->chunk_count - 1];
    return last->entries[last->count - 1].uid;
}

uint32_t contents_rank(struct contents *contents, uint32_t uid)
{
    if (contents->chunk_count == 0)
        return 0;
    if (uid > last_uid(contents))
        return starts_get(contents)[contents->chunk_count];
    size_t index = chunk_of(contents, uid);
    return starts_get(contents)[index] + chunk_search(&contents->chunks[index], uid);
}

struct mailbox_entry *contents_at(struct contents *contents, uint32_t rank)
{
    const uint32_t *starts = starts_get(contents);
    size_t low = 0, high = contents->chunk_count;
    size_t last = contents->last_found;

    if (rank >= starts[contents->chunk_count])
        return NULL;
    /* Most are asked for one after the other. */
    if (last < high && starts[last] <= rank && rank < starts[last + 1])
        return &contents->chunks[last].entries[rank - starts[last]];
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (starts[middle] <= rank)
            low = middle;
        else
            high = middle;
    }
    contents->last_found = low;
    return &contents->chunks[low].entries[rank - starts[low]];
}

/* ---- putting in, taking out ----------------------------------------------------------------- */

static void chunk_room(struct contents *contents, struct chunk *chunk)
{
    if (chunk->count < chunk->room)
        return;
    uint32_t room = chunk->room == 0 ? 8 : chunk->room * 2;
    if (room > PAGE_ENTRIES)
        room = PAGE_ENTRIES;
    ASSERT(chunk->count < room);
    chunk->entries = mem_grow(chunk->entries, room, sizeof(*chunk->entries));
    chunk->slots = mem_grow(chunk->slots, room, sizeof(*chunk->slots));
    contents->bytes += (room - chunk->room) * (sizeof(*chunk->entries) + sizeof(*chunk->slots));
    chunk->room = room;
}

static struct chunk *chunk_get(struct contents *contents, uint32_t page, size_t *index)
{
    size_t at = contents->chunk_count;
    while (at > 0 && contents->chunks[at - 1].page > page)
        at--;
    *index = at;
    if (at > 0 && contents->chunks[at - 1].page == page) {
        *index = at - 1;
        return &contents->chunks[at - 1];
    }
    if (contents->chunk_count == contents->chunk_room) {
        size_t room = contents->chunk_room == 0 ? 4 : contents->chunk_room * 2;
        contents->chunks = mem_grow(contents->chunks, room, sizeof(*contents->chunks));
        contents->bytes += (room - contents->chunk_room) * sizeof(*contents->chunks);
        contents->chunk_room = room;
    }
    memmove(contents->chunks + at + 1, contents->chunks + at,
            (contents->chunk_count - at) * sizeof(*contents->chunks));
    contents->chunks[at] = (struct chunk){.page = page};
    contents->chunk_count++;
    return &contents->chunks[at];
}

void contents_insert(struct contents *contents, const struct mailbox_entry *entry, uint32_t page,
                     uint32_t slot)
{
    size_t index;
    struct chunk *chunk = chunk_get(contents, page, &index);
    uint32_t at = chunk_search(chunk, entry->uid);

    if (at < chunk->count && chunk->entries[at].uid == entry->uid)
        return;
    chunk_room(contents, chunk);
    memmove(chunk->entries + at + 1, chunk->entries + at,
            (chunk->count - at) * sizeof(*chunk->entries));
    memmove(chunk->slots + at + 1, chunk->slots + at, chunk->count - at);
    chunk->entries[at] = *entry;
    chunk->slots[at] = (uint8_t)slot;
    chunk->count++;
    starts_invalid(contents, index);
    contents_keywords(contents, entry->keyword_set);
}

static void chunk_finish(struct contents *contents, struct chunk *chunk)
{
    contents->bytes -= chunk->room * (sizeof(*chunk->entries) + sizeof(*chunk->slots));
    free(chunk->entries);
    free(chunk->slots);
}

bool contents_remove(struct contents *contents, uint32_t uid)
{
    if (contents->chunk_count == 0)
        return false;
    size_t index = chunk_of(contents, uid);
    struct chunk *chunk = &contents->chunks[index];
    uint32_t at = chunk_search(chunk, uid);

    if (at == chunk->count || chunk->entries[at].uid != uid)
        return false;
    chunk->count--;
    memmove(chunk->entries + at, chunk->entries + at + 1,
            (chunk->count - at) * sizeof(*chunk->entries));
    memmove(chunk->slots + at, chunk->slots + at + 1, chunk->count - at);
    starts_invalid(contents, index);
    if (chunk->count == 0) {
        chunk_finish(contents, chunk);
        contents->chunk_count--;
        memmove(chunk, chunk + 1, (contents->chunk_count - index) * sizeof(*chunk));
    }
    return true;
}

/* ---- keywords ------------------------------------------------------------------------------- */

void contents_keywords(struct contents *contents, uint32_t set)
{
    const struct keywords *keywords = &contents->account->keywords;
    if (set == 0 || set > keywords->set_count)
        return;
    const struct keyword_set *ids = keywords->sets[set - 1];
    for (size_t i = 0; i < ids->count; i++) {
        uint32_t id = ids->ids[i];
        if (id >= contents->keyword_room) {
            uint32_t room = (id / 64 + 1) * 64;
            contents->keyword_bits = mem_realloc(contents->keyword_bits, room);
            memset(contents->keyword_bits + contents->keyword_room, 0,
                   room - contents->keyword_room);
            contents->keyword_room = room;
        }
        if (contents->keyword_bits[id])
            continue;
        contents->keyword_bits[id] = 1;
        contents->keyword_texts = mem_grow(contents->keyword_texts, contents->keyword_count + 1,
                                           sizeof(*contents->keyword_texts));
        contents->keyword_texts[contents->keyword_count++] = keywords->list[id]->text;
    }
}

/* ---- the logs ------------------------------------------------------------------------------- */

static void log_expunged(struct contents *contents, const struct mailbox_entry *entry)
{
    if (contents->expunged_count == contents->expunged_room) {
        contents->expunged_room = contents->expunged_room == 0 ? 16 : contents->expunged_room * 2;
        contents->expunged =
            mem_grow(contents->expunged, contents->expunged_room, sizeof(*contents->expunged));
    }
    contents->expunged[contents->expunged_count++] = *entry;
}

static void log_changed(struct contents *contents, uint32_t uid, uint64_t by)
{
    struct mailbox_view *view;

    if (contents->changed_count == contents->changed_room) {
        contents->changed_room = contents->changed_room == 0 ? 16 : contents->changed_room * 2;
        contents->changed =
            mem_grow(contents->changed, contents->changed_room, sizeof(*contents->changed));
    }
    contents->changed[contents->changed_count++] = (struct logged_change){uid, by};
    if (by == 0)
        return;
    uint64_t end = contents->changed_base + contents->changed_count;
    TAILQ_FOREACH (view, &contents->views, link) {
        if (view->number == by && view->changed_at == end - 1)
            view->changed_at = end;
    }
}

/* Cuts off views that are too far behind, then what all the others have read. */
void contents_trim(struct contents *contents)
{
    uint64_t expunged_end = contents->expunged_base + contents->expunged_count;
    uint64_t changed_end = contents->changed_base + contents->changed_count;
    uint64_t expunged = expunged_end, changed = changed_end;
    struct mailbox_view *view;

    TAILQ_FOREACH (view, &contents->views, link) {
        if (view->opening || view->state == MAILBOX_VIEW_BROKEN)
            continue;
        if (expunged_end - view->expunged_at > LOG_MAX ||
            changed_end - view->changed_at > LOG_MAX) {
            view->state = MAILBOX_VIEW_BROKEN;
            continue;
        }
        expunged = view->expunged_at < expunged ? view->expunged_at : expunged;
        changed = view->changed_at < changed ? view->changed_at : changed;
    }
    size_t cut = (size_t)(expunged - contents->expunged_base);
    if (cut == contents->expunged_count || cut > contents->expunged_count / 2) {
        contents->expunged_count -= cut;
        contents->expunged_base = expunged;
        if (contents->expunged_count > 0)
            memmove(contents->expunged, contents->expunged + cut,
                    contents->expunged_count * sizeof(*contents->expunged));
    }
    cut = (size_t)(changed - contents->changed_base);
    if (cut == contents->changed_count || cut > contents->changed_count / 2) {
        contents->changed_count -= cut;
        contents->changed_base = changed;
        if (contents->changed_count > 0)
            memmove(contents->changed, contents->changed + cut,
                    contents->changed_count * sizeof(*contents->changed));
    }
    if (contents->expunged_count == 0) {
        free(contents->expunged);
        contents->expunged = NULL;
        contents->expunged_room = 0;
    }
    if (contents->changed_count == 0) {
        free(contents->changed);
        contents->changed = NULL;
        contents->changed_room = 0;
    }
}

static void apply_now(struct contents *contents, const struct effect *effect, bool log)
{
    struct mailbox_entry *entry;
    log = log && !TAILQ_EMPTY(&contents->views);

    switch (effect->kind) {
    case EFFECT_ADD:
        contents_insert(contents, &effect->entry, effect->page, effect->slot);
        break;
    case EFFECT_FLAGS:
        entry = contents_find(contents, effect->entry.uid, NULL, NULL);
        if (entry == NULL || entry->modseq >= effect->entry.modseq)
            break;
        *entry = effect->entry;
        contents_keywords(contents, entry->keyword_set);
        if (log)
            log_changed(contents, entry->uid, effect->by);
        break;
    case EFFECT_EXPUNGE:
        if (contents_remove(contents, effect->entry.uid) && log)
            log_expunged(contents, &effect->entry);
        break;
    }
}

void contents_apply(struct contents *contents, const struct effect *effect)
{
    if (contents->state == CONTENTS_LOADING) {
        struct effect *late = mem_dup(effect, sizeof(*effect));
        TAILQ_INSERT_TAIL(&contents->late, late, link);
        return;
    }
    apply_now(contents, effect, true);
}

/* ---- lifetime ------------------------------------------------------------------------------- */

void contents_apply_late(struct contents *contents)
{
    struct effect *effect;
    while ((effect = TAILQ_FIRST(&contents->late)) != NULL) {
        TAILQ_REMOVE(&contents->late, effect, link);
        apply_now(contents, effect, false);
        effect_free(effect);
    }
}

struct contents *contents_use(struct box *box)
{
    struct contents *contents = box->contents;
    if (contents == NULL) {
        contents = MEM_NEW(struct contents);
        contents->account = box->account;
        contents->box = box;
        contents->bytes = sizeof(*contents);
        TAILQ_INIT(&contents->views);
        TAILQ_INIT(&contents->late);
        box->contents = contents;
        contents_load(contents);
    }
    if (contents->idle) {
        struct mailbox_env *env = contents->account->env;
        TAILQ_REMOVE(&env->idle, contents, link);
        env->idle_bytes -= contents->bytes;
        contents->idle = false;
    }
    contents->users++;
    return contents;
}

enum mailbox_result contents_changeable(const struct contents *contents)
{
    if (contents == NULL || contents->state == CONTENTS_BROKEN)
        return MAILBOX_BROKEN;
    const struct box *box = contents->box;
    /* Deleted, or about to be: its messages are off the sums already. */
    if (box == NULL || box->submitted.state != BOX_LIVE ||
        box->submitted.dead_below != box->durable.dead_below)
        return MAILBOX_NO_SUCH;
    return MAILBOX_OK;
}

void contents_unuse(struct contents *contents)
{
    if (contents == NULL)
        return;
    struct mailbox_env *env = contents->account->env;
    ASSERT(contents->users > 0);
    if (--contents->users > 0)
        return;
    if (contents->box == NULL) {
        contents_free(contents);
        return;
    }
    contents_trim(contents);
    contents->idle = true;
    env->idle_bytes += contents->bytes;
    TAILQ_INSERT_TAIL(&env->idle, contents, link);
    env_shrink(env);
}

void contents_free(struct contents *contents)
{
    ASSERT(contents->users == 0);
    if (contents->idle) {
        TAILQ_REMOVE(&contents->account->env->idle, contents, link);
        contents->account->env->idle_bytes -= contents->bytes;
    }
    if (contents->box != NULL)
        contents->box->contents = NULL;
    for (size_t i = 0; i < contents->chunk_count; i++)
        chunk_finish(contents, &contents->chunks[i]);
    struct effect *effect;
    while ((effect = TAILQ_FIRST(&contents->late)) != NULL) {
        TAILQ_REMOVE(&contents->late, effect, link);
        effect_free(effect);
    }
    free(contents->chunks);
    free(contents->starts);
    free(contents->expunged);
    free(contents->changed);
    free(contents->keyword_bits);
    free(contents->keyword_texts);
    free(contents);
}

void contents_detach(struct contents *contents, enum contents_state state)
{
    if (contents->box != NULL)
        contents->box->contents = NULL;
    contents->box = NULL;
    if (contents->users == 0) {
        contents_free(contents);
        return;
    }
    bool loading = contents->state == CONTENTS_LOADING;
    contents->state = state;
    if (!loading)
        views_set_state(contents,
                        state == CONTENTS_DELETED ? MAILBOX_VIEW_DELETED : MAILBOX_VIEW_BROKEN);
}
