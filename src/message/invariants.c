/*
 * Invariants of summaries. Everything is counted again from the bytes, part by part, without any of
 * the parser's shortcuts; slow on purpose.
 */
#include "message/invariants.h"

#include "base/utf8.h"
#include "message/parse.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return #condition;                                                                     \
    } while (0)
#define REQUIRE_NULL(call)                                                                         \
    do {                                                                                           \
        const char *wrong_ = (call);                                                               \
        if (wrong_ != NULL)                                                                        \
            return wrong_;                                                                         \
    } while (0)

/* ---- the tree ------------------------------------------------------------------------------ */

static uint32_t count_feeds(struct slice s)
{
    uint32_t count = 0;
    for (size_t i = 0; i < s.size; i++)
        count += s.data[i] == '\n';
    return count;
}

static bool is_named(const struct summary_part *part, const char *type)
{
    return slice_equal_nocase_str(part->type, type);
}

static const char *check_kind(const struct summary *summary, uint32_t index)
{
    const struct summary_part *part = &summary->parts[index];
    bool message = is_named(part, "message") && (slice_equal_nocase_str(part->subtype, "rfc822") ||
                                                 slice_equal_nocase_str(part->subtype, "global"));
    uint32_t children = 0;
    for (uint32_t i = index + 1; i < part->next; i++)
        children += summary->parts[i].parent == index;
    REQUIRE(part->children == children);
    REQUIRE((part->kind == SUMMARY_LEAF) == (children == 0));
    REQUIRE((part->kind == SUMMARY_MULTIPART) == is_named(part, "multipart"));
    REQUIRE((part->kind == SUMMARY_MESSAGE) == message);
    REQUIRE(part->kind != SUMMARY_MESSAGE || children == 1);
    bool enveloped = index == 0 || summary->parts[part->parent].kind == SUMMARY_MESSAGE;
    REQUIRE((part->envelope != NULL) == enveloped);
    return NULL;
}

static const char *check_place(struct slice bytes, const struct summary *summary, uint32_t index)
{
    const struct summary_part *part = &summary->parts[index];
    uint64_t body = part->header_offset + part->header_size;
    REQUIRE(body + part->body_size <= summary->size);
    struct slice content = slice_sub(bytes, (size_t)body, (size_t)part->body_size);
    REQUIRE(part->body_lines == count_feeds(content));
    REQUIRE(part->next > index && part->next <= summary->part_count);
    if (index == 0) {
        REQUIRE(part->depth == 0 && part->header_offset == 0);
        REQUIRE(body + part->body_size == summary->size);
        REQUIRE(part->next == summary->part_count);
        return NULL;
    }
    REQUIRE(part->parent < index);
    const struct summary_part *parent = &summary->parts[part->parent];
    REQUIRE(part->depth == parent->depth + 1 && part->depth <= SUMMARY_DEPTH_MAX);
    REQUIRE(part->next <= parent->next);
    uint64_t from = parent->header_offset + parent->header_size;
    REQUIRE(part->header_offset >= from);
    REQUIRE(body + part->body_size <= from + parent->body_size);
    if (parent->kind == SUMMARY_MESSAGE) {
        REQUIRE(part->header_offset == from);
        REQUIRE(body + part->body_size == from + parent->body_size);
    } else {
        /* The line before it is a boundary line, or it is the end of the message. */
        uint64_t at = part->header_offset;
        REQUIRE(at > 0 && (bytes.data[at - 1] == '\n' || at == bytes.size));
        for (at--; at > 0 && bytes.data[at - 1] != '\n';)
            at--;
        REQUIRE(bytes.data[at] == '-' && bytes.data[at + 1] == '-');
    }
    for (uint32_t i = part->parent + 1; i < index; i++)
        if (summary->parts[i].next == index && summary->parts[i].parent == part->parent)
            REQUIRE(summary->parts[i].header_offset + summary->parts[i].header_size +
                        summary->parts[i].body_size <
                    part->header_offset);
    return NULL;
}

/* ---- texts --------------------------------------------------------------------------------- */

typedef const char *text_visitor(struct slice text, void *arg);

static const char *visit_list(const struct summary_addresses *list, text_visitor *visit, void *arg)
{
    for (uint32_t i = 0; i < list->count; i++) {
        REQUIRE_NULL(visit(list->list[i].name, arg));
        REQUIRE_NULL(visit(list->list[i].route, arg));
        REQUIRE_NULL(visit(list->list[i].mailbox, arg));
        REQUIRE_NULL(visit(list->list[i].host, arg));
    }
    return visit(SLICE_LITERAL("end of list"), arg);
}

static const char *visit_envelope(const struct summary_envelope *envelope, text_visitor *visit,
                                  void *arg)
{
    REQUIRE_NULL(visit(envelope->date, arg));
    REQUIRE_NULL(visit(envelope->subject, arg));
    REQUIRE_NULL(visit(envelope->in_reply_to, arg));
    REQUIRE_NULL(visit(envelope->message_id, arg));
    REQUIRE_NULL(visit_list(&envelope->from, visit, arg));
    REQUIRE_NULL(visit_list(&envelope->sender, visit, arg));
    REQUIRE_NULL(visit_list(&envelope->reply_to, visit, arg));
    REQUIRE_NULL(visit_list(&envelope->to, visit, arg));
    REQUIRE_NULL(visit_list(&envelope->cc, visit, arg));
    return visit_list(&envelope->bcc, visit, arg);
}

static const char *visit_parameters(const struct summary_parameter *list, uint32_t count,
                                    text_visitor *visit, void *arg)
{
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE(list[i].name.data != NULL && list[i].value.data != NULL);
        REQUIRE_NULL(visit(list[i].name, arg));
        REQUIRE_NULL(visit(list[i].value, arg));
    }
    return visit(SLICE_LITERAL("end of parameters"), arg);
}

/* Every text of a summary, in one order, with marks between lists. */
static const char *visit_texts(const struct summary *summary, text_visitor *visit, void *arg)
{
    REQUIRE_NULL(visit(summary->preview, arg));
    for (uint32_t i = 0; i < summary->reference_count; i++)
        REQUIRE_NULL(visit(summary->references[i], arg));
    for (uint32_t i = 0; i < summary->part_count; i++) {
        const struct summary_part *part = &summary->parts[i];
        const struct slice texts[] = {part->type,     part->subtype,    part->encoding,
                                      part->id,       part->md5,        part->description,
                                      part->location, part->disposition};
        for (size_t k = 0; k < sizeof(texts) / sizeof(*texts); k++)
            REQUIRE_NULL(visit(texts[k], arg));
        REQUIRE_NULL(visit_parameters(part->parameters, part->parameter_count, visit, arg));
        REQUIRE_NULL(visit_parameters(part->disposition_parameters,
                                      part->disposition_parameter_count, visit, arg));
        for (uint32_t k = 0; k < part->language_count; k++)
            REQUIRE_NULL(visit(part->languages[k], arg));
        if (part->envelope != NULL)
            REQUIRE_NULL(visit_envelope(part->envelope, visit, arg));
    }
    return NULL;
}

static const char *check_text(struct slice text, void *arg)
{
    size_t *sum = arg;
    *sum += text.size + 2;
    REQUIRE(text.data != NULL || text.size == 0);
    for (size_t i = 0; i < text.size; i++)
        REQUIRE(text.data[i] != '\r' && text.data[i] != '\n' && text.data[i] != '\0');
    return NULL;
}

static const char *check_groups(const struct summary_addresses *list)
{
    bool in_group = false;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct summary_address *address = &list->list[i];
        if (address->host.data != NULL) {
            REQUIRE(address->mailbox.data != NULL);
            continue;
        }
        REQUIRE(in_group == (address->mailbox.data == NULL));
        in_group = !in_group;
    }
    REQUIRE(!in_group);
    return NULL;
}

static size_t characters(struct slice utf8)
{
    size_t count = 0;
    for (size_t i = 0; i < utf8.size; i++)
        count += (utf8.data[i] & 0xc0) != 0x80;
    return count;
}

const char *invariants_of_summary(struct slice bytes, const struct summary *summary)
{
    size_t sum = 0;
    REQUIRE(summary->size == bytes.size);
    REQUIRE(summary->part_count >= 1 && summary->part_count <= SUMMARY_PARTS_MAX);
    for (uint32_t i = 0; i < summary->part_count; i++) {
        /* The checks look at all parts for each part; of thousands, some are enough. */
        if (i > 300 && i + 300 < summary->part_count && i % 97 != 0)
            continue;
        REQUIRE_NULL(check_place(bytes, summary, i));
        REQUIRE_NULL(check_kind(summary, i));
        const struct summary_part *part = &summary->parts[i];
        REQUIRE(part->type.size > 0 && part->subtype.size > 0 && part->encoding.size > 0);
        if (part->envelope != NULL) {
            REQUIRE_NULL(check_groups(&part->envelope->from));
            REQUIRE_NULL(check_groups(&part->envelope->to));
            REQUIRE_NULL(check_groups(&part->envelope->cc));
        }
    }
    REQUIRE(utf8_valid(summary->preview) && characters(summary->preview) <= 200);
    return visit_texts(summary, check_text, &sum);
}

/* ---- packing ------------------------------------------------------------------------------- */

/* All texts of one summary, to be met again in the same order in the other. */
struct texts {
    struct arena arena;
    struct slice *list;
    size_t count, room, next;
};

static const char *keep_text(struct slice text, void *arg)
{
    struct texts *texts = arg;
    if (texts->count == texts->room) {
        size_t room = texts->room == 0 ? 256 : texts->room * 2;
        struct slice *list = arena_array(&texts->arena, room, sizeof(*list));
        if (texts->count > 0)
            memcpy(list, texts->list, texts->count * sizeof(*list));
        texts->list = list;
        texts->room = room;
    }
    texts->list[texts->count++] = text;
    return NULL;
}

static const char *meet_text(struct slice text, void *arg)
{
    struct texts *texts = arg;
    REQUIRE(texts->next < texts->count);
    struct slice other = texts->list[texts->next++];
    REQUIRE(slice_equal(text, other));
    REQUIRE((text.data == NULL) == (other.data == NULL));
    return NULL;
}

static const char *compare(const struct summary *a, const struct summary *b)
{
    REQUIRE(a->size == b->size && a->part_count == b->part_count && a->date_s == b->date_s);
    REQUIRE(a->reference_count == b->reference_count);
    for (uint32_t i = 0; i < a->part_count; i++) {
        const struct summary_part *x = &a->parts[i];
        const struct summary_part *y = &b->parts[i];
        REQUIRE(x->kind == y->kind && x->depth == y->depth && x->parent == y->parent);
        REQUIRE(x->children == y->children && x->next == y->next);
        REQUIRE(x->header_offset == y->header_offset && x->header_size == y->header_size);
        REQUIRE(x->body_size == y->body_size && x->body_lines == y->body_lines);
        REQUIRE(x->parameter_count == y->parameter_count);
        REQUIRE(x->disposition_parameter_count == y->disposition_parameter_count);
        REQUIRE(x->language_count == y->language_count);
        REQUIRE((x->envelope == NULL) == (y->envelope == NULL));
    }
    struct texts texts = {0};
    const char *wrong = visit_texts(a, keep_text, &texts);
    if (wrong == NULL)
        wrong = visit_texts(b, meet_text, &texts);
    if (wrong == NULL && texts.next != texts.count)
        wrong = "fewer texts";
    arena_finish(&texts.arena);
    return wrong;
}

static const char *check_packing(const struct summary *summary, struct buf *packed,
                                 struct buf *again, struct arena *arena)
{
    struct summary unpacked;
    size_t sum = 0;
    summary_encode(summary, packed);
    REQUIRE(packed->size <= SUMMARY_SIZE_MAX);
    REQUIRE(summary_decode(buf_slice(packed), summary->size, arena, &unpacked));
    REQUIRE(!summary_decode(buf_slice(packed), summary->size + 1, arena, &(struct summary){0}));
    REQUIRE_NULL(visit_texts(summary, check_text, &sum));
    if (sum + 40 * (size_t)summary->part_count + 40 < SUMMARY_SIZE_MAX)
        REQUIRE_NULL(compare(summary, &unpacked));
    summary_encode(&unpacked, again);
    REQUIRE(slice_equal(buf_slice(packed), buf_slice(again)));
    return NULL;
}

const char *invariants_of_packing(const struct summary *summary)
{
    struct buf packed = {0};
    struct buf again = {0};
    struct arena arena = {0};
    const char *wrong = check_packing(summary, &packed, &again, &arena);
    buf_finish(&packed);
    buf_finish(&again);
    arena_finish(&arena);
    return wrong;
}

const char *invariants_of_message(struct slice bytes)
{
    struct arena arena = {0};
    struct summary summary;
    parse_message(bytes, &arena, &summary);
    const char *wrong = invariants_of_summary(bytes, &summary);
    if (wrong == NULL)
        wrong = invariants_of_packing(&summary);
    arena_finish(&arena);
    return wrong;
}
