/*
 * See match.h. A text is folded into a window and looked through whenever that is full, so a part
 * of any size needs memory for its decoded bytes only. What the window keeps at its end is enough
 * for a needle that lies across two windows.
 */
#include "message/match.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "message/content.h"
#include "message/decode.h"
#include "message/fields.h"
#include "message/html.h"
#include "message/parse.h"

enum {
    WINDOW = 64 * 1024,
    FIRST_BYTES = 1024, /* of a part, encoded */
};

enum scope { SCOPE_BODY = 1 << NEEDLE_BODY, SCOPE_TEXT = 1 << NEEDLE_TEXT };

struct match {
    struct fold *fold;
    struct arena own, scratch;
    struct needle *needles; /* folded */
    size_t count, longest;
    uint32_t wheres; /* 1 << where of each needle */
    uint8_t *bits;   /* of the message being looked at */
    struct buf window, text;
    struct fold_state state;
    uint32_t scope;
};

/* ---- the needles --------------------------------------------------------------------------- */

static bool fold_needle(struct match *match, struct slice charset, struct needle *needle)
{
    struct buf text = {0}, folded = {0};
    struct fold_state state = {0};
    bool known = charset.size == 0 || decode_charset(charset, needle->text, &text);
    if (charset.size == 0)
        decode_unlabelled(needle->text, &text);
    fold_text(match->fold, &state, buf_slice(&text), &folded);
    needle->text = arena_copy(&match->own, buf_slice(&folded));
    buf_finish(&text);
    buf_finish(&folded);
    return known;
}

static bool charset_known(struct slice charset)
{
    struct buf out = {0};
    bool known = charset.size == 0 || decode_charset(charset, SLICE_LITERAL("a"), &out);
    buf_finish(&out);
    return known;
}

struct match *match_create(struct fold *fold, struct slice charset, struct slice packed,
                           enum match_problem *problem)
{
    struct match *match = MEM_NEW(struct match);
    match->fold = fold;
    *problem = MATCH_PROBLEM_NONE;
    if (!needle_unpack(packed, &match->own, &match->needles, &match->count))
        *problem = MATCH_PROBLEM_MALFORMED;
    else if (!charset_known(charset))
        *problem = MATCH_PROBLEM_CHARSET;
    for (size_t i = 0; i < match->count && *problem == MATCH_PROBLEM_NONE; i++) {
        struct needle *needle = &match->needles[i];
        if (!fold_needle(match, charset, needle))
            *problem = MATCH_PROBLEM_CHARSET;
        match->wheres |= 1u << needle->where;
        if (needle->text.size > match->longest)
            match->longest = needle->text.size;
    }
    if (*problem != MATCH_PROBLEM_NONE)
        match_destroy(&match);
    return match;
}

void match_destroy(struct match **match)
{
    if (*match == NULL)
        return;
    buf_finish(&(*match)->window);
    buf_finish(&(*match)->text);
    arena_finish(&(*match)->own);
    arena_finish(&(*match)->scratch);
    free(*match);
    *match = NULL;
}

size_t match_count(const struct match *match)
{
    return match->count;
}

static void set_bit(struct match *match, size_t needle)
{
    match->bits[needle / 8] |= (uint8_t)(1u << needle % 8);
}

/* ---- the window ---------------------------------------------------------------------------- */

/* A needle of that scope is still wanted. */
static bool wants(const struct match *match, uint32_t scope)
{
    for (size_t i = 0; i < match->count; i++)
        if ((scope & 1u << match->needles[i].where) != 0 && !needle_bit(match->bits, i))
            return true;
    return false;
}

static void look(struct match *match)
{
    for (size_t i = 0; i < match->count; i++) {
        const struct needle *needle = &match->needles[i];
        if ((match->scope & 1u << needle->where) != 0 && !needle_bit(match->bits, i) &&
            needle_is_in(needle->text, buf_slice(&match->window)))
            set_bit(match, i);
    }
}

static void begin_text(struct match *match, uint32_t scope)
{
    buf_clear(&match->window);
    match->state = (struct fold_state){0};
    match->scope = scope;
}

static void look_when_full(struct match *match)
{
    struct buf *window = &match->window;
    if (window->size < WINDOW + match->longest)
        return;
    look(match);
    size_t kept = match->longest; /* one more than a needle can need */
    memmove(window->data, window->data + window->size - kept, kept);
    window->size = kept;
}

static void add_text(struct match *match, struct slice text)
{
    while (text.size > 0) {
        size_t size = text.size < WINDOW ? text.size : WINDOW;
        while (size < text.size && size > WINDOW - 4 && (text.data[size] & 0xc0) == 0x80)
            size--;
        fold_text(match->fold, &match->state, slice_sub(text, 0, size), &match->window);
        look_when_full(match);
        text = slice_sub(text, size, text.size);
    }
}

static void add_html(struct match *match, struct slice text)
{
    struct html html = html_make(text);
    uint32_t c;
    do {
        add_text(match, html_run(&html));
        if (!html_next(&html, &c))
            return;
        fold_character(match->fold, &match->state, c, &match->window);
        look_when_full(match);
    } while (true);
}

/* ---- fields -------------------------------------------------------------------------------- */

/* match->text, to every needle of that place (and field) that is still wanted. */
static void match_field(struct match *match, enum needle_where where, struct slice name)
{
    struct fold_state state = {0};
    buf_clear(&match->window);
    fold_text(match->fold, &state, buf_slice(&match->text), &match->window);
    for (size_t i = 0; i < match->count; i++) {
        const struct needle *needle = &match->needles[i];
        if (needle->where == where &&
            (where != NEEDLE_FIELD || slice_equal_nocase(needle->field, name)) &&
            needle_is_in(needle->text, buf_slice(&match->window)))
            set_bit(match, i);
    }
}

static void match_text(struct match *match, enum needle_where where, struct slice text)
{
    if (text.data == NULL || (match->wheres & 1u << where) == 0)
        return;
    buf_clear(&match->text);
    decode_header(text, &match->text);
    match_field(match, where, SLICE_NONE);
}

static void put_address(const struct summary_address *address, struct buf *text)
{
    buf_clear(text);
    decode_header(address->name, text);
    buf_add_str(text, " <");
    decode_header(address->mailbox, text);
    buf_add_str(text, address->host.data == NULL ? "" : "@");
    decode_unlabelled(address->host, text);
    buf_add_str(text, ">");
}

static void match_addresses(struct match *match, enum needle_where where,
                            const struct summary_addresses *addresses)
{
    for (uint32_t i = 0; i < addresses->count && (match->wheres & 1u << where) != 0; i++) {
        put_address(&addresses->list[i], &match->text);
        match_field(match, where, SLICE_NONE);
    }
}

static void match_envelope(struct match *match, const struct summary_envelope *envelope)
{
    if (envelope == NULL)
        return;
    match_text(match, NEEDLE_SUBJECT, envelope->subject);
    match_addresses(match, NEEDLE_FROM, &envelope->from);
    match_addresses(match, NEEDLE_TO, &envelope->to);
    match_addresses(match, NEEDLE_CC, &envelope->cc);
    match_addresses(match, NEEDLE_BCC, &envelope->bcc);
    match_addresses(match, NEEDLE_SENDER, &envelope->sender);
    match_addresses(match, NEEDLE_REPLY_TO, &envelope->reply_to);
    match_text(match, NEEDLE_DATE, envelope->date);
    match_text(match, NEEDLE_IN_REPLY_TO, envelope->in_reply_to);
    match_text(match, NEEDLE_MESSAGE_ID, envelope->message_id);
}

static void match_fields(struct match *match, struct slice header)
{
    struct fields fields = fields_make(header);
    struct field field;
    while (fields_next(&fields, &field) && wants(match, 1u << NEEDLE_FIELD)) {
        bool wanted = false;
        for (size_t i = 0; i < match->count; i++)
            wanted |= match->needles[i].where == NEEDLE_FIELD &&
                      slice_equal_nocase(match->needles[i].field, field.name);
        if (!wanted)
            continue;
        buf_clear(&match->text);
        decode_header(slice_trim(field.value), &match->text);
        match_field(match, NEEDLE_FIELD, field.name);
    }
}

/* ---- texts --------------------------------------------------------------------------------- */

static void look_at_header(struct match *match, struct slice header,
                           const struct summary_part *part, uint32_t scope)
{
    struct fields fields = fields_make(header);
    struct field field;
    begin_text(match, scope);
    while (fields_next(&fields, &field)) {
        buf_clear(&match->text);
        decode_unlabelled(field.name, &match->text);
        buf_add_str(&match->text, ": ");
        decode_header(slice_trim(field.value), &match->text);
        buf_add_str(&match->text, "\n");
        add_text(match, buf_slice(&match->text));
    }
    const struct summary_parameter *lists[] = {part->parameters, part->disposition_parameters};
    const uint32_t counts[] = {part->parameter_count, part->disposition_parameter_count};
    for (size_t l = 0; l < 2; l++)
        for (uint32_t i = 0; i < counts[l]; i++) {
            buf_clear(&match->text);
            decode_parameter(lists[l][i].name, lists[l][i].value, &match->text);
            buf_add_str(&match->text, "\n");
            add_text(match, buf_slice(&match->text));
        }
    look(match);
}

static bool is_type(const struct summary_part *part, const char *type)
{
    return slice_equal_nocase_str(part->type, type);
}

static bool is_html(const struct summary_part *part)
{
    return is_type(part, "text") && (slice_equal_nocase_str(part->subtype, "html") ||
                                     slice_equal_nocase_str(part->subtype, "xhtml"));
}

static bool is_picture(const struct summary_part *part)
{
    return is_type(part, "image") || is_type(part, "audio") || is_type(part, "video") ||
           is_type(part, "font");
}

/* What stands in no text part may still be text; what is not whole UTF-8 is none. */
static bool is_text(struct slice decoded)
{
    return memchr(decoded.data, 0, decoded.size) == NULL && utf8_valid(decoded);
}

/* False when a part of another kind shows already with its first bytes that it is no text: most do,
 * and the rest of them needs not be decoded. */
static bool may_be_text(struct slice body, const struct summary_part *part)
{
    struct buf decoded = {0};
    struct slice first = slice_sub(body, 0, FIRST_BYTES);
    bool may = false;
    if (decode_transfer(part->encoding, first, &decoded))
        first = buf_slice(&decoded);
    /* A character, or what stands for a byte, may be cut off at the end. */
    for (size_t cut = 0; cut <= 5 && cut < first.size && !may; cut++)
        may = is_text(slice_sub(first, 0, first.size - cut));
    may = may || first.size <= 5;
    buf_finish(&decoded);
    return may;
}

static void look_at_leaf(struct match *match, struct slice body, const struct summary_part *part)
{
    struct buf transfer = {0}, room = {0};
    struct slice bytes = body;
    struct slice charset = content_parameter(part->parameters, part->parameter_count, "charset");
    bool labelled = is_type(part, "text") || is_type(part, "message");
    if (body.size == 0 || is_picture(part) || (!labelled && !may_be_text(body, part)))
        return;
    if (decode_transfer(part->encoding, body, &transfer))
        bytes = buf_slice(&transfer);
    if (bytes.size > 0 && (labelled || is_text(bytes))) {
        struct slice text = decode_text(charset, bytes, &room);
        begin_text(match, SCOPE_BODY | SCOPE_TEXT);
        if (is_html(part))
            add_html(match, text);
        else
            add_text(match, text);
        look(match);
    }
    buf_finish(&transfer);
    buf_finish(&room);
}

static void look_at_part(struct match *match, struct slice bytes, const struct summary *summary,
                         uint32_t i)
{
    const struct summary_part *part = &summary->parts[i];
    bool inner = i > 0 && summary->parts[part->parent].kind == SUMMARY_MESSAGE;
    uint32_t scope = inner ? SCOPE_BODY | SCOPE_TEXT : SCOPE_TEXT;
    struct slice header = slice_sub(bytes, (size_t)part->header_offset, (size_t)part->header_size);
    if (wants(match, scope))
        look_at_header(match, header, part, scope);
    if (part->kind == SUMMARY_LEAF)
        look_at_leaf(match,
                     slice_sub(bytes, (size_t)(part->header_offset + part->header_size),
                               (size_t)part->body_size),
                     part);
}

/* ---- messages ------------------------------------------------------------------------------ */

void match_summary(struct match *match, const struct summary *summary, uint8_t *bits)
{
    match->bits = bits;
    match_envelope(match, summary->parts[0].envelope);
}

void match_message(struct match *match, struct slice bytes, uint8_t *bits)
{
    struct summary summary;
    match->bits = bits;
    arena_reset(&match->scratch);
    parse_message(bytes, &match->scratch, &summary);
    match_envelope(match, summary.parts[0].envelope);
    if (wants(match, 1u << NEEDLE_FIELD))
        match_fields(match, slice_sub(bytes, 0, (size_t)summary.parts[0].header_size));
    for (size_t i = 0; i < match->count; i++)
        if (match->needles[i].where >= NEEDLE_BODY && match->needles[i].text.size == 0)
            set_bit(match, i);
    for (uint32_t i = 0; i < summary.part_count && wants(match, SCOPE_BODY | SCOPE_TEXT); i++)
        look_at_part(match, bytes, &summary, i);
}

static bool match_record(struct match *match, const struct needle_record *record, uint8_t *bits)
{
    struct summary summary;
    if (record->kind == NEEDLE_MESSAGE) {
        match_message(match, record->bytes, bits);
        return true;
    }
    arena_reset(&match->scratch);
    if (!summary_decode(record->bytes, record->blob_size, &match->scratch, &summary))
        return false;
    match_summary(match, &summary, bits);
    return true;
}

/* ---- what summaries have ------------------------------------------------------------------- */

static void put_needles(const struct match *match, struct buf *packed)
{
    for (size_t i = 0; i < match->count; i++)
        needle_pack(&match->needles[i], packed);
    if (packed->size > NEEDLES_FOLDED_MAX)
        buf_clear(packed);
}

/* False: it is too much. */
static bool fold_one(struct fold *fold, enum needle_where where, const struct buf *text,
                     struct buf *room, struct buf *folded)
{
    struct fold_state state = {0};
    buf_clear(room);
    fold_text(fold, &state, buf_slice(text), room);
    if (room->size > NEEDLE_FOLDED_MAX || folded->size > NEEDLE_FOLDED_MAX)
        return false;
    needle_folded_add(where, buf_slice(room), folded);
    return true;
}

bool match_fold(struct fold *fold, const struct summary *summary, struct buf *folded)
{
    const struct summary_envelope *envelope = summary->parts[0].envelope;
    const struct summary_addresses *lists[] = {&envelope->from, &envelope->to, &envelope->cc,
                                               &envelope->bcc};
    const enum needle_where wheres[] = {NEEDLE_FROM, NEEDLE_TO, NEEDLE_CC, NEEDLE_BCC};
    struct buf text = {0}, room = {0};
    bool fits = true;
    if (envelope->subject.data != NULL) {
        decode_header(envelope->subject, &text);
        fits = fold_one(fold, NEEDLE_SUBJECT, &text, &room, folded);
    }
    for (size_t l = 0; l < sizeof(lists) / sizeof(*lists); l++)
        for (uint32_t i = 0; i < lists[l]->count && fits; i++) {
            put_address(&lists[l]->list[i], &text);
            fits = fold_one(fold, wheres[l], &text, &room, folded);
        }
    buf_finish(&text);
    buf_finish(&room);
    return fits;
}

bool match_batch(struct match *match, struct slice batch, uint32_t records, struct buf *bits)
{
    struct needle_record record;
    uint8_t found[NEEDLES_MAX / 8];
    bool malformed;
    uint32_t count = 0;
    if (records == 0)
        put_needles(match, bits);
    while (needle_record_next(&batch, &record, &malformed)) {
        memset(found, 0, sizeof(found));
        if (++count > records || !match_record(match, &record, found))
            return false;
        buf_add(bits, found, needle_bits_size(match->count));
    }
    return !malformed && count == records;
}
