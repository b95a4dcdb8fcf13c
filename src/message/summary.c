/*
 * Reading packed summaries. Numbers and texts stand apart: the numbers hold every length, the texts
 * follow each other at the end. So all texts are checked for CR, LF and NUL by three memchr(), and
 * a slice is one addition.
 *
 * The tree is stored as depths alone; parent, children and next are made from them here, so they
 * cannot be wrong. This is on the path of every FETCH and is all that stands between a broken
 * reader and a session: nothing is allocated before the bytes that pay for it were seen.
 */
#include "message/summary.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/utf8.h"
#include "message/summary_priv.h"

enum {
    PREVIEW_MAX = 200 * 4, /* RFC 8970 3.1: 200 characters */
};

struct unpacker {
    const uint8_t *at, *end; /* of the numbers */
    struct slice texts;      /* those not yet taken */
    struct arena *arena;
    bool failed;
};

static uint64_t get_long_number(struct unpacker *unpacker)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && unpacker->at < unpacker->end; shift += 7) {
        uint64_t byte = *unpacker->at++;
        if (shift == 63 && byte > 1)
            break;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    unpacker->failed = true;
    unpacker->at = unpacker->end;
    return 0;
}

static inline uint64_t get_number(struct unpacker *unpacker)
{
    if (unpacker->at < unpacker->end && *unpacker->at < 0x80)
        return *unpacker->at++;
    return get_long_number(unpacker);
}

static struct slice get_text(struct unpacker *unpacker)
{
    uint64_t size = get_number(unpacker);
    if (size == 0)
        return SLICE_NONE;
    if (--size > unpacker->texts.size) {
        unpacker->failed = true;
        return SLICE_NONE;
    }
    struct slice text = {unpacker->texts.data, (size_t)size};
    unpacker->texts.data += size;
    unpacker->texts.size -= (size_t)size;
    return text;
}

/* Each item has at least `numbers` numbers: no more are allocated than bytes can pay for. */
static uint32_t get_count(struct unpacker *unpacker, size_t numbers)
{
    uint64_t count = get_number(unpacker);
    if (count > (size_t)(unpacker->end - unpacker->at) / numbers) {
        unpacker->failed = true;
        return 0;
    }
    return (uint32_t)count;
}

static struct slice *get_texts(struct unpacker *unpacker, uint32_t *count)
{
    *count = get_count(unpacker, 1);
    if (*count == 0)
        return NULL;
    struct slice *list = arena_array(unpacker->arena, *count, sizeof(*list));
    for (uint32_t i = 0; i < *count; i++)
        list[i] = get_text(unpacker);
    return list;
}

static struct summary_addresses get_addresses(struct unpacker *unpacker)
{
    struct summary_addresses addresses = {.count = get_count(unpacker, 4)};
    if (addresses.count == 0)
        return addresses;
    addresses.list = arena_array(unpacker->arena, addresses.count, sizeof(*addresses.list));
    for (uint32_t i = 0; i < addresses.count; i++) {
        struct summary_address *address = &addresses.list[i];
        address->name = get_text(unpacker);
        address->route = get_text(unpacker);
        address->mailbox = get_text(unpacker);
        address->host = get_text(unpacker);
    }
    return addresses;
}

static struct summary_envelope *get_envelope(struct unpacker *unpacker)
{
    struct summary_envelope *envelope = ARENA_NEW(unpacker->arena, struct summary_envelope);
    envelope->date = get_text(unpacker);
    envelope->subject = get_text(unpacker);
    envelope->in_reply_to = get_text(unpacker);
    envelope->message_id = get_text(unpacker);
    envelope->from = get_addresses(unpacker);
    envelope->sender = get_addresses(unpacker);
    envelope->reply_to = get_addresses(unpacker);
    envelope->to = get_addresses(unpacker);
    envelope->cc = get_addresses(unpacker);
    envelope->bcc = get_addresses(unpacker);
    return envelope;
}

static struct summary_parameter *get_parameters(struct unpacker *unpacker, uint32_t *count)
{
    *count = get_count(unpacker, 2);
    if (*count == 0)
        return NULL;
    struct summary_parameter *list = arena_array(unpacker->arena, *count, sizeof(*list));
    for (uint32_t i = 0; i < *count; i++) {
        list[i].name = get_text(unpacker);
        list[i].value = get_text(unpacker);
        if (list[i].name.data == NULL || list[i].value.data == NULL)
            unpacker->failed = true;
    }
    return list;
}

static uint64_t part_body(const struct summary_part *part)
{
    return part->header_offset + part->header_size;
}

static uint64_t part_end(const struct summary_part *part)
{
    return part_body(part) + part->body_size;
}

/* Is the part where it may be? open[]: the part last seen at each depth. */
static bool part_fits(const struct summary *summary, const struct summary_part *part,
                      const uint32_t *open, uint32_t before_depth)
{
    uint64_t from = 0;
    uint64_t to = summary->size;
    if (part != summary->parts) {
        if (part->depth == 0 || part->depth > SUMMARY_DEPTH_MAX || part->depth > before_depth + 1)
            return false;
        const struct summary_part *parent = &summary->parts[open[part->depth - 1]];
        if (parent->kind == SUMMARY_LEAF ||
            (parent->kind == SUMMARY_MESSAGE && parent->children == 1))
            return false;
        from = parent->children == 0 ? part_body(parent)
                                     : part_end(&summary->parts[open[part->depth]]);
        to = part_end(parent);
    } else if (part->depth != 0 || part->header_offset != 0) {
        return false;
    }
    return part->header_offset >= from && part->header_offset <= to &&
           part->header_size <= to - part->header_offset &&
           part->body_size <= to - part_body(part) && part->body_lines <= part->body_size &&
           (part != summary->parts || part_end(part) == summary->size);
}

static bool get_part(struct unpacker *unpacker, struct summary_part *part, uint64_t before)
{
    uint64_t head = get_number(unpacker);
    uint64_t delta = get_number(unpacker);
    part->header_size = get_number(unpacker);
    part->body_size = get_number(unpacker);
    uint64_t lines = get_number(unpacker);
    if ((head & SUMMARY_KIND_MASK) > SUMMARY_MESSAGE ||
        head >> SUMMARY_DEPTH_SHIFT > SUMMARY_DEPTH_MAX ||
        __builtin_add_overflow(before, delta, &part->header_offset) || lines > UINT32_MAX)
        return false;
    part->kind = (enum summary_kind)(head & SUMMARY_KIND_MASK);
    part->depth = (uint32_t)(head >> SUMMARY_DEPTH_SHIFT);
    part->body_lines = (uint32_t)lines;
    part->type = get_text(unpacker);
    part->subtype = get_text(unpacker);
    part->encoding = get_text(unpacker);
    part->parameters = get_parameters(unpacker, &part->parameter_count);
    if (head & SUMMARY_HAS_EXTRAS) {
        part->id = get_text(unpacker);
        part->description = get_text(unpacker);
        part->md5 = get_text(unpacker);
        part->location = get_text(unpacker);
        part->disposition = get_text(unpacker);
        part->disposition_parameters = get_parameters(unpacker, &part->disposition_parameter_count);
        part->languages = get_texts(unpacker, &part->language_count);
    }
    return !unpacker->failed && part->type.size > 0 && part->subtype.size > 0 &&
           part->encoding.size > 0;
}

/* Parts of a depth greater than this one's have ended. A part that must have children has them. */
static bool close_parts(struct summary *summary, const uint32_t *open, uint32_t from,
                        uint32_t down_to, uint32_t next)
{
    for (uint32_t depth = from + 1; depth-- > down_to;) {
        struct summary_part *part = &summary->parts[open[depth]];
        part->next = next;
        if (part->kind != SUMMARY_LEAF && part->children == 0)
            return false;
    }
    return true;
}

static bool get_parts(struct unpacker *unpacker, struct summary *summary)
{
    uint32_t open[SUMMARY_DEPTH_MAX + 1] = {0};
    uint32_t before_depth = 0;
    uint64_t before = 0;
    for (uint32_t i = 0; i < summary->part_count; i++) {
        struct summary_part *part = &summary->parts[i];
        if (!get_part(unpacker, part, before) || !part_fits(summary, part, open, before_depth))
            return false;
        if (i > 0 && !close_parts(summary, open, before_depth, part->depth, i))
            return false;
        struct summary_part *parent = &summary->parts[part->depth > 0 ? open[part->depth - 1] : 0];
        if (i > 0) {
            part->parent = open[part->depth - 1];
            parent->children++;
        }
        if (i == 0 || parent->kind == SUMMARY_MESSAGE)
            part->envelope = get_envelope(unpacker);
        open[part->depth] = i;
        before = part->header_offset;
        before_depth = part->depth;
    }
    return close_parts(summary, open, before_depth, 0, summary->part_count);
}

static bool texts_clean(struct slice texts)
{
    return slice_find(texts, '\0') == texts.size && slice_find(texts, '\r') == texts.size &&
           slice_find(texts, '\n') == texts.size;
}

static bool references_fit(const struct summary *summary)
{
    for (uint32_t i = 0; i < summary->reference_count; i++)
        if (summary->references[i].data == NULL)
            return false;
    return true;
}

bool summary_decode(struct slice packed, uint64_t size, struct arena *arena,
                    struct summary *summary)
{
    *summary = (struct summary){0};
    if (packed.size < SUMMARY_FIXED_SIZE || packed.size > SUMMARY_SIZE_MAX ||
        packed.data[0] != SUMMARY_FORMAT)
        return false;
    uint32_t parts = bytes_get_le32(packed.data + 1);
    uint32_t texts = bytes_get_le32(packed.data + 5);
    summary->folded = summary_folded(packed);
    size_t head = SUMMARY_FIXED_SIZE + summary->folded.size;
    size_t rest = packed.size - head;
    if ((summary->folded.data == NULL && bytes_get_le16(packed.data + 9) > 0) || texts > rest ||
        parts == 0 || parts > (rest - texts) / SUMMARY_PART_NUMBERS_MIN ||
        parts > SUMMARY_PARTS_MAX)
        return false;
    struct unpacker unpacker = {
        .at = packed.data + head,
        .end = packed.data + packed.size - texts,
        .texts = slice_sub(packed, packed.size - texts, texts),
        .arena = arena,
    };
    if (!texts_clean(unpacker.texts))
        return false;
    summary->size = get_number(&unpacker);
    uint64_t date = get_number(&unpacker) - 1;
    summary->date_s = (int64_t)(date >> 1 ^ (date & 1 ? UINT64_MAX : 0));
    summary->preview = get_text(&unpacker);
    summary->references = get_texts(&unpacker, &summary->reference_count);
    if (unpacker.failed || summary->size != size || summary->preview.size > PREVIEW_MAX ||
        !utf8_valid(summary->preview) || !references_fit(summary))
        return false;
    summary->part_count = parts;
    summary->parts = arena_array(arena, parts, sizeof(*summary->parts));
    return get_parts(&unpacker, summary) && !unpacker.failed && unpacker.at == unpacker.end &&
           unpacker.texts.size == 0;
}

struct slice summary_folded(struct slice packed)
{
    if (packed.size < SUMMARY_FIXED_SIZE || packed.data[0] != SUMMARY_FORMAT)
        return SLICE_NONE;
    size_t size = bytes_get_le16(packed.data + 9);
    if (size == 0 || size - 1 > packed.size - SUMMARY_FIXED_SIZE)
        return SLICE_NONE;
    return slice_make(packed.data + SUMMARY_FIXED_SIZE, size - 1);
}

void summary_opaque(uint64_t size, uint64_t header_size, struct arena *arena,
                    struct summary *summary)
{
    ASSERT(header_size <= size);
    struct summary_part *part = ARENA_NEW(arena, struct summary_part);
    *part = (struct summary_part){
        .kind = SUMMARY_LEAF,
        .next = 1,
        .header_size = header_size,
        .body_size = size - header_size,
        .type = SLICE_LITERAL("text"),
        .subtype = SLICE_LITERAL("plain"),
        .encoding = SLICE_LITERAL("7BIT"),
        .envelope = ARENA_NEW(arena, struct summary_envelope),
    };
    *summary = (struct summary){.size = size, .parts = part, .part_count = 1, .date_s = INT64_MIN};
}
