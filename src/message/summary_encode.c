/*
 * Packing summaries, and making them small enough. What is cut and in which order stands in
 * doc/formats/summary.md; the rule behind it: the tree and the envelope of the message itself are
 * the last to go, and what is left is always a sound summary of the same message.
 */
#include "base/assert.h"
#include "message/summary.h"
#include "message/summary_priv.h"

enum {
    REST_SIZE_MAX = 64, /* a part that stands for the rest, of which put_rest() adds some */
    ROOM = SUMMARY_SIZE_MAX - SUMMARY_FIXED_SIZE - REST_SIZE_MAX * (SUMMARY_DEPTH_MAX + 1),
};

/* How much is cut away when a summary is too large: tried in this order. */
static const struct cuts {
    size_t text;
    uint32_t list;
} cuts[] = {
    {SIZE_MAX, UINT32_MAX},
    {2000, 500},
    {500, 100},
    {100, 10},
};

struct packer {
    const struct cuts *cuts;
    struct buf numbers, texts;
};

static void put_number(struct packer *packer, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_u8(&packer->numbers, (uint8_t)(value | 0x80));
    buf_u8(&packer->numbers, (uint8_t)value);
}

/* NIL is 0, a text is its size + 1. Never cut inside a UTF-8 character. */
static void put_text(struct packer *packer, struct slice text)
{
    if (text.data == NULL) {
        put_number(packer, 0);
        return;
    }
    if (text.size > packer->cuts->text) {
        text.size = packer->cuts->text;
        while (text.size > 0 && (text.data[text.size] & 0xc0) == 0x80)
            text.size--;
    }
    put_number(packer, (uint64_t)text.size + 1);
    buf_add_slice(&packer->texts, text);
}

static uint32_t put_count(struct packer *packer, uint32_t count)
{
    if (count > packer->cuts->list)
        count = packer->cuts->list;
    put_number(packer, count);
    return count;
}

static void put_addresses(struct packer *packer, const struct summary_addresses *addresses)
{
    uint32_t count = put_count(packer, addresses->count);
    for (uint32_t i = 0; i < count; i++) {
        const struct summary_address *address = &addresses->list[i];
        put_text(packer, address->name);
        put_text(packer, address->route);
        put_text(packer, address->mailbox);
        put_text(packer, address->host);
    }
}

static void put_envelope(struct packer *packer, const struct summary_envelope *envelope)
{
    put_text(packer, envelope->date);
    put_text(packer, envelope->subject);
    put_text(packer, envelope->in_reply_to);
    put_text(packer, envelope->message_id);
    put_addresses(packer, &envelope->from);
    put_addresses(packer, &envelope->sender);
    put_addresses(packer, &envelope->reply_to);
    put_addresses(packer, &envelope->to);
    put_addresses(packer, &envelope->cc);
    put_addresses(packer, &envelope->bcc);
}

static void put_parameters(struct packer *packer, const struct summary_parameter *list,
                           uint32_t count)
{
    count = put_count(packer, count);
    for (uint32_t i = 0; i < count; i++) {
        put_text(packer, list[i].name);
        put_text(packer, list[i].value);
    }
}

static void put_part(struct packer *packer, const struct summary_part *part, uint64_t before)
{
    bool extras = part->id.data != NULL || part->description.data != NULL ||
                  part->md5.data != NULL || part->location.data != NULL ||
                  part->disposition.data != NULL || part->disposition_parameter_count > 0 ||
                  part->language_count > 0;
    put_number(packer, (uint64_t)part->depth << SUMMARY_DEPTH_SHIFT |
                           (extras ? SUMMARY_HAS_EXTRAS : 0u) | (uint64_t)part->kind);
    put_number(packer, part->header_offset - before);
    put_number(packer, part->header_size);
    put_number(packer, part->body_size);
    put_number(packer, part->body_lines);
    put_text(packer, part->type);
    put_text(packer, part->subtype);
    put_text(packer, part->encoding);
    put_parameters(packer, part->parameters, part->parameter_count);
    if (extras) {
        put_text(packer, part->id);
        put_text(packer, part->description);
        put_text(packer, part->md5);
        put_text(packer, part->location);
        put_text(packer, part->disposition);
        put_parameters(packer, part->disposition_parameters, part->disposition_parameter_count);
        uint32_t languages = put_count(packer, part->language_count);
        for (uint32_t i = 0; i < languages; i++)
            put_text(packer, part->languages[i]);
    }
    if (part->envelope != NULL)
        put_envelope(packer, part->envelope);
}

/*
 * Closes the tree when the parts from `stop` on are left out: in every part that loses children,
 * the first one lost and all behind it become one part that nobody looks into. Deeper ones first,
 * as the order of parts demands.
 */
static uint32_t put_rest(struct packer *packer, const struct summary *summary, uint32_t stop,
                         uint64_t before)
{
    struct summary_envelope nothing = {0};
    uint32_t added = 0;
    uint32_t depth = UINT32_MAX;
    for (uint32_t i = stop; i < summary->part_count; i = summary->parts[i].next) {
        const struct summary_part *lost = &summary->parts[i];
        const struct summary_part *parent = &summary->parts[lost->parent];
        if (lost->depth >= depth)
            continue;
        depth = lost->depth;
        struct summary_part rest = {
            .kind = SUMMARY_LEAF,
            .depth = depth,
            .header_offset = lost->header_offset,
            .body_size = parent->header_offset + parent->header_size + parent->body_size -
                         lost->header_offset,
            .type = SLICE_LITERAL("application"),
            .subtype = SLICE_LITERAL("octet-stream"),
            .encoding = SLICE_LITERAL("7BIT"),
            .envelope = parent->kind == SUMMARY_MESSAGE ? &nothing : NULL,
        };
        put_part(packer, &rest, before);
        before = rest.header_offset;
        added++;
    }
    return added;
}

static uint32_t put_parts(struct packer *packer, const struct summary *summary, bool last)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < summary->part_count; i++) {
        size_t numbers = packer->numbers.size;
        size_t texts = packer->texts.size;
        put_part(packer, &summary->parts[i], before);
        if (last && i > 0 && packer->numbers.size + packer->texts.size > ROOM) {
            packer->numbers.size = numbers;
            packer->texts.size = texts;
            return i + put_rest(packer, summary, i, before);
        }
        before = summary->parts[i].header_offset;
    }
    return summary->part_count;
}

/* Those nearest to the message count most. A cut message-id would be another one: it is left out.
 */
static void put_references(struct packer *packer, const struct summary *summary)
{
    uint32_t first = summary->reference_count;
    uint32_t count = 0;
    for (; first > 0 && count < packer->cuts->list; first--)
        count += summary->references[first - 1].size <= packer->cuts->text;
    put_number(packer, count);
    for (uint32_t i = first; i < summary->reference_count; i++)
        if (summary->references[i].size <= packer->cuts->text)
            put_text(packer, summary->references[i]);
}

void summary_encode(const struct summary *summary, struct buf *out)
{
    const size_t levels = sizeof(cuts) / sizeof(*cuts);
    struct packer packer = {0};
    struct slice folded = summary->folded;
    uint32_t parts = 0;
    ASSERT(summary->part_count > 0 && folded.size < UINT16_MAX);
    for (size_t level = 0; level < levels; level++) {
        packer.cuts = &cuts[level];
        buf_clear(&packer.numbers);
        buf_clear(&packer.texts);
        put_number(&packer, summary->size);
        /* Zigzag + 1: INT64_MIN, which is none, becomes 0. */
        put_number(&packer,
                   ((uint64_t)summary->date_s << 1 ^ (summary->date_s < 0 ? UINT64_MAX : 0)) + 1);
        put_text(&packer, summary->preview);
        put_references(&packer, summary);
        parts = put_parts(&packer, summary, level + 1 == levels);
        if (SUMMARY_FIXED_SIZE + folded.size + packer.numbers.size + packer.texts.size <=
            SUMMARY_SIZE_MAX)
            break;
        folded = SLICE_NONE;
    }
    size_t size = SUMMARY_FIXED_SIZE + folded.size + packer.numbers.size + packer.texts.size;
    ASSERT(size <= SUMMARY_SIZE_MAX);
    buf_u8(out, SUMMARY_FORMAT);
    buf_u32(out, parts);
    buf_u32(out, (uint32_t)packer.texts.size);
    buf_u16(out, folded.data == NULL ? 0 : (uint16_t)(folded.size + 1));
    buf_add_slice(out, folded);
    buf_add_slice(out, buf_slice(&packer.numbers));
    buf_add_slice(out, buf_slice(&packer.texts));
    buf_finish(&packer.numbers);
    buf_finish(&packer.texts);
}
