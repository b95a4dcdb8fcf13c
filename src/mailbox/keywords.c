/*
 * The keywords of an account and the sets of them that messages carry. Both are interned: an entry
 * holds the number of a set, so that it stays 32 bytes whatever it is tagged with. Numbers are
 * dense and never reused; what a failed batch added is taken back (nobody has seen it).
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "mailbox/mailbox_priv.h"

/* ASCII letters of either case are the same, as in slice_equal_nocase(). */
static int keyword_compare(const struct keyword *a, const struct keyword *b)
{
    size_t size = a->text.size < b->text.size ? a->text.size : b->text.size;
    for (size_t i = 0; i < size; i++) {
        int difference = ascii_lower(a->text.data[i]) - ascii_lower(b->text.data[i]);
        if (difference != 0)
            return difference;
    }
    return (a->text.size > b->text.size) - (a->text.size < b->text.size);
}
RB_GENERATE_INTERNAL(keyword_tree, keyword, node, keyword_compare, __attribute__((unused)) static)

static int set_compare(const struct keyword_set *a, const struct keyword_set *b)
{
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return memcmp(a->ids, b->ids, a->count * sizeof(*a->ids));
}
RB_GENERATE_INTERNAL(keyword_set_tree, keyword_set, node, set_compare,
                     __attribute__((unused)) static)

static uint32_t keyword_find(struct keywords *keywords, struct slice text)
{
    const struct keyword *found =
        RB_FIND(keyword_tree, &keywords->by_text, &(struct keyword){.text = text});
    return found == NULL ? UINT32_MAX : found->id;
}

static void keyword_add(struct keywords *keywords, struct slice text)
{
    struct keyword *keyword = mem_alloc(sizeof(*keyword) + text.size);
    memcpy(keyword + 1, text.data, text.size);
    keyword->text = slice_make(keyword + 1, text.size);
    keyword->id = keywords->count;
    keywords->list = mem_grow(keywords->list, keywords->count + 1, sizeof(*keywords->list));
    keywords->list[keywords->count++] = keyword;
    RB_INSERT(keyword_tree, &keywords->by_text, keyword);
}

bool keywords_ids(struct account *account, const struct slice *texts, size_t count, bool create,
                  uint32_t *ids, size_t *id_count)
{
    struct keywords *keywords = &account->keywords;
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t id = keyword_find(keywords, texts[i]);
        if (id == UINT32_MAX && !create)
            continue;
        if (id == UINT32_MAX) {
            if (keywords->count >= account->env->options.keywords_max ||
                keywords->count - keywords->written >= KEYWORDS_UNWRITTEN_MAX ||
                texts[i].size > KEYWORD_SIZE_MAX || texts[i].size == 0)
                return false;
            id = keywords->count;
            keyword_add(keywords, texts[i]);
        }
        size_t at = 0;
        while (at < used && ids[at] < id)
            at++;
        if (at < used && ids[at] == id)
            continue;
        memmove(ids + at + 1, ids + at, (used - at) * sizeof(*ids));
        ids[at] = id;
        used++;
    }
    *id_count = used;
    return true;
}

/* Takes ids. */
static void set_add(struct keywords *keywords, uint32_t *ids, size_t count)
{
    struct keyword_set *set = MEM_NEW(struct keyword_set);
    *set = (struct keyword_set){.ids = ids, .count = count};
    set->texts = mem_array(count, sizeof(*set->texts));
    for (size_t i = 0; i < count; i++)
        set->texts[i] = keywords->list[ids[i]]->text;
    keywords->sets = mem_grow(keywords->sets, keywords->set_count + 1, sizeof(*keywords->sets));
    keywords->sets[keywords->set_count++] = set;
    set->id = keywords->set_count;
    RB_INSERT(keyword_set_tree, &keywords->by_ids, set);
}

static struct keyword_set *set_find(struct keywords *keywords, const uint32_t *ids, size_t count)
{
    struct keyword_set wanted = {.ids = (uint32_t *)(uintptr_t)ids, .count = count};
    return RB_FIND(keyword_set_tree, &keywords->by_ids, &wanted);
}

static uint32_t set_intern(struct account *account, const uint32_t *ids, size_t count)
{
    struct keywords *keywords = &account->keywords;
    if (count == 0)
        return 0;
    const struct keyword_set *found = set_find(keywords, ids, count);
    if (found != NULL)
        return found->id;
    if (keywords->set_count >= account->env->options.keywords_max ||
        keywords->set_count - keywords->set_written >= KEYWORDS_UNWRITTEN_MAX ||
        count > STORE_VALUE_GOOD / 4 - 1)
        return UINT32_MAX;
    set_add(keywords, mem_dup(ids, count * sizeof(*ids)), count);
    return keywords->set_count;
}

uint32_t keywords_combine(struct account *account, uint32_t base, enum mailbox_store_mode mode,
                          const uint32_t *ids, size_t count)
{
    const struct keyword_set *old = base > 0 ? account->keywords.sets[base - 1] : NULL;
    size_t old_count = old == NULL ? 0 : old->count, used = 0, i = 0, j = 0;

    if (mode == MAILBOX_STORE_SET)
        return set_intern(account, ids, count);
    if (count == 0)
        return base;
    uint32_t *merged = mem_array(old_count + count, sizeof(*merged));
    while (i < old_count || j < count) {
        uint32_t a = i < old_count ? old->ids[i] : UINT32_MAX;
        uint32_t b = j < count ? ids[j] : UINT32_MAX;
        bool keep = mode == MAILBOX_STORE_ADD || a < b;
        if (keep)
            merged[used++] = a < b ? a : b;
        i += a <= b;
        j += b <= a;
    }
    uint32_t set = set_intern(account, merged, used);
    free(merged);
    return set;
}

void keywords_put(struct account *account, struct store_batch *batch)
{
    struct keywords *keywords = &account->keywords;
    struct buf value = {0};

    for (; keywords->written < keywords->count; keywords->written++) {
        struct codec_key key = codec_key_number(KEY_KEYWORD, keywords->written);
        buf_clear(&value);
        buf_u8(&value, CODEC_FORMAT);
        buf_add_slice(&value, keywords->list[keywords->written]->text);
        store_batch_put(batch, codec_key_slice(&key), buf_slice(&value));
    }
    for (; keywords->set_written < keywords->set_count; keywords->set_written++) {
        struct codec_key key = codec_key_number(KEY_KEYWORD_SET, keywords->set_written + 1);
        const struct keyword_set *set = keywords->sets[keywords->set_written];
        buf_clear(&value);
        buf_u8(&value, CODEC_FORMAT);
        for (size_t i = 0; i < set->count; i++)
            buf_u32(&value, set->ids[i]);
        store_batch_put(batch, codec_key_slice(&key), buf_slice(&value));
    }
    buf_finish(&value);
}

static void keywords_cut(struct keywords *keywords, uint32_t count, uint32_t set_count)
{
    while (keywords->set_count > set_count) {
        struct keyword_set *set = keywords->sets[--keywords->set_count];
        RB_REMOVE(keyword_set_tree, &keywords->by_ids, set);
        free(set->ids);
        free(set->texts);
        free(set);
    }
    while (keywords->count > count) {
        struct keyword *keyword = keywords->list[--keywords->count];
        RB_REMOVE(keyword_tree, &keywords->by_text, keyword);
        free(keyword);
    }
}

void keywords_rollback(struct account *account)
{
    struct keywords *keywords = &account->keywords;
    keywords_cut(keywords, keywords->durable, keywords->set_durable);
    keywords->written = keywords->durable;
    keywords->set_written = keywords->set_durable;
}

void keywords_finish(struct account *account)
{
    keywords_cut(&account->keywords, 0, 0);
    free(account->keywords.list);
    free(account->keywords.sets);
}

bool keywords_load(struct account *account, struct slice key, struct slice value)
{
    struct keywords *keywords = &account->keywords;
    uint32_t id;
    if (!codec_key_get_number(key, 0, &id) || id != keywords->count || value.size < 2 ||
        value.data[0] != CODEC_FORMAT ||
        keyword_find(keywords, slice_sub(value, 1, value.size)) != UINT32_MAX)
        return false;
    keyword_add(keywords, slice_sub(value, 1, value.size));
    keywords->written = keywords->durable = keywords->count;
    return true;
}

bool keywords_load_set(struct account *account, struct slice key, struct slice value)
{
    struct keywords *keywords = &account->keywords;
    uint32_t id;
    if (!codec_key_get_number(key, 0, &id) || id != keywords->set_count + 1 || value.size < 5 ||
        value.size % 4 != 1 || value.data[0] != CODEC_FORMAT)
        return false;
    size_t count = value.size / 4;
    uint32_t *ids = mem_array(count, sizeof(*ids));
    for (size_t i = 0; i < count; i++) {
        ids[i] = bytes_get_le32(value.data + 1 + 4 * i);
        if (ids[i] >= keywords->count || (i > 0 && ids[i] <= ids[i - 1])) {
            free(ids);
            return false;
        }
    }
    if (count > 0 && set_find(keywords, ids, count) != NULL) {
        free(ids);
        return false;
    }
    set_add(keywords, ids, count);
    keywords->set_written = keywords->set_durable = keywords->set_count;
    return true;
}

void flags_copy(struct arena *arena, const struct mailbox_flags *from, struct mailbox_flags *to)
{
    struct slice *texts = arena_array(arena, from->keyword_count + 1, sizeof(*texts));
    for (size_t i = 0; i < from->keyword_count; i++)
        texts[i] = arena_copy(arena, from->keywords[i]);
    *to = (struct mailbox_flags){.system = from->system & ENTRY_SYSTEM_FLAGS,
                                 .keywords = texts,
                                 .keyword_count = from->keyword_count};
}

size_t mailbox_keywords(struct mailbox_account *account, uint32_t keyword_set,
                        const struct slice **keywords)
{
    const struct keywords *all = &account->account->keywords;
    *keywords = NULL;
    if (keyword_set == 0 || keyword_set > all->set_count)
        return 0;
    *keywords = all->sets[keyword_set - 1]->texts;
    return all->sets[keyword_set - 1]->count;
}
