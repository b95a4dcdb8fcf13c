/*
 * From fields to a part of a summary. One table names the fields that matter; everything else in a
 * header is passed over. PARSE_HEADER_MAX and PARSE_FIELDS_MAX bound what is looked at.
 */
#include "message/header.h"

#include "message/address.h"
#include "message/content.h"
#include "message/date.h"
#include "message/fields.h"
#include "message/lexer.h"
#include "message/parse.h"

enum field_id {
    FIELD_BCC,
    FIELD_CC,
    FIELD_CONTENT_DESCRIPTION,
    FIELD_CONTENT_DISPOSITION,
    FIELD_CONTENT_ENCODING,
    FIELD_CONTENT_ID,
    FIELD_CONTENT_LANGUAGE,
    FIELD_CONTENT_LOCATION,
    FIELD_CONTENT_MD5,
    FIELD_CONTENT_TYPE,
    FIELD_DATE,
    FIELD_FROM,
    FIELD_IN_REPLY_TO,
    FIELD_MESSAGE_ID,
    FIELD_REFERENCES,
    FIELD_REPLY_TO,
    FIELD_SENDER,
    FIELD_SUBJECT,
    FIELD_TO,
    FIELD_OTHER,
};

/* envelope: of interest only in the header of a message. repeats: every one of them counts. */
static const struct known_field {
    struct slice name;
    bool envelope, repeats;
} known[FIELD_OTHER] = {
#define NAMED(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
    [FIELD_BCC] = {NAMED("Bcc"), true, true},
    [FIELD_CC] = {NAMED("Cc"), true, true},
    [FIELD_CONTENT_DESCRIPTION] = {NAMED("Content-Description"), false, false},
    [FIELD_CONTENT_DISPOSITION] = {NAMED("Content-Disposition"), false, false},
    [FIELD_CONTENT_ENCODING] = {NAMED("Content-Transfer-Encoding"), false, false},
    [FIELD_CONTENT_ID] = {NAMED("Content-ID"), false, false},
    [FIELD_CONTENT_LANGUAGE] = {NAMED("Content-Language"), false, false},
    [FIELD_CONTENT_LOCATION] = {NAMED("Content-Location"), false, false},
    [FIELD_CONTENT_MD5] = {NAMED("Content-MD5"), false, false},
    [FIELD_CONTENT_TYPE] = {NAMED("Content-Type"), false, false},
    [FIELD_DATE] = {NAMED("Date"), true, false},
    [FIELD_FROM] = {NAMED("From"), true, true},
    [FIELD_IN_REPLY_TO] = {NAMED("In-Reply-To"), true, false},
    [FIELD_MESSAGE_ID] = {NAMED("Message-ID"), true, false},
    [FIELD_REFERENCES] = {NAMED("References"), true, true},
    [FIELD_REPLY_TO] = {NAMED("Reply-To"), true, true},
    [FIELD_SENDER] = {NAMED("Sender"), true, true},
    [FIELD_SUBJECT] = {NAMED("Subject"), true, false},
    [FIELD_TO] = {NAMED("To"), true, true},
#undef NAMED
};

static enum field_id field_id(struct slice name)
{
    enum field_id id = 0;
    while (id < FIELD_OTHER &&
           (known[id].name.size != name.size || !slice_equal_nocase(known[id].name, name)))
        id++;
    return id;
}

/* Room for as many as the value can hold. */
static void grow_references(struct slice value, struct arena *arena, struct header_message *message)
{
    size_t count = message->reference_count;
    while (value.size > 0) {
        slice_split(&value, '<');
        count++;
    }
    if (count > PARSE_REFERENCES_MAX)
        count = PARSE_REFERENCES_MAX;
    struct slice *list = arena_array(arena, count, sizeof(*list));
    if (message->reference_count > 0)
        memcpy(list, message->references, message->reference_count * sizeof(*list));
    message->references = list;
}

/* "<a@b>" anywhere in the value (RFC 5322 3.6.4), without spaces; at most `most` in all. */
static void add_references(struct slice value, uint32_t most, struct arena *arena,
                           struct header_message *message)
{
    if (message->reference_count >= most)
        return;
    grow_references(value, arena, message);
    while (message->reference_count < most) {
        slice_split(&value, '<');
        size_t end = slice_find(value, '>');
        if (end == value.size)
            return;
        struct slice id = slice_sub(value, 0, end);
        size_t again = id.size; /* "<<a@b>": the last opening counts */
        while (again > 0 && id.data[again - 1] != '<')
            again--;
        id = lexer_text(slice_sub(id, again, id.size), arena);
        if (id.size > 0 && slice_find(id, ' ') == id.size && slice_find(id, '\t') == id.size)
            message->references[message->reference_count++] = id;
        value = slice_sub(value, end + 1, value.size);
    }
}

static void read_message_field(enum field_id id, struct slice value, struct arena *arena,
                               struct header_message *message)
{
    if (id == FIELD_REFERENCES)
        add_references(value, PARSE_REFERENCES_MAX, arena, message);
    else if (id == FIELD_DATE && !date_parse(value, &message->date_s))
        message->date_s = INT64_MIN;
}

static void read_envelope_field(enum field_id id, struct slice value, struct arena *arena,
                                struct summary_envelope *envelope)
{
    switch (id) {
    case FIELD_BCC:
        address_parse(value, arena, &envelope->bcc);
        break;
    case FIELD_CC:
        address_parse(value, arena, &envelope->cc);
        break;
    case FIELD_DATE:
        envelope->date = lexer_text(value, arena);
        break;
    case FIELD_FROM:
        address_parse(value, arena, &envelope->from);
        break;
    case FIELD_IN_REPLY_TO:
        envelope->in_reply_to = lexer_text(value, arena);
        break;
    case FIELD_MESSAGE_ID:
        envelope->message_id = lexer_text(value, arena);
        break;
    case FIELD_REPLY_TO:
        address_parse(value, arena, &envelope->reply_to);
        break;
    case FIELD_SENDER:
        address_parse(value, arena, &envelope->sender);
        break;
    case FIELD_SUBJECT:
        envelope->subject = lexer_text(value, arena);
        break;
    case FIELD_TO:
        address_parse(value, arena, &envelope->to);
        break;
    default:
        break;
    }
}

static void read_content_field(enum field_id id, struct slice value, struct arena *arena,
                               struct summary_part *part)
{
    switch (id) {
    case FIELD_CONTENT_DESCRIPTION:
        part->description = lexer_text(value, arena);
        break;
    case FIELD_CONTENT_DISPOSITION:
        content_disposition_parse(value, arena, part);
        break;
    case FIELD_CONTENT_ENCODING:
        content_encoding_parse(value, arena, part);
        break;
    case FIELD_CONTENT_ID:
        part->id = lexer_text(value, arena);
        break;
    case FIELD_CONTENT_LANGUAGE:
        content_language_parse(value, arena, part);
        break;
    case FIELD_CONTENT_LOCATION:
        part->location = lexer_text(value, arena);
        break;
    case FIELD_CONTENT_MD5:
        part->md5 = lexer_text(value, arena);
        break;
    default:
        break;
    }
}

/* RFC 2045 5.2: text/plain; charset=us-ascii. RFC 2046 5.1.5: message/rfc822 in a digest. */
static void set_default_type(bool in_digest, struct arena *arena, struct summary_part *part)
{
    part->type = in_digest ? SLICE_LITERAL("message") : SLICE_LITERAL("text");
    part->subtype = in_digest ? SLICE_LITERAL("rfc822") : SLICE_LITERAL("plain");
    if (in_digest)
        return;
    part->parameters = ARENA_NEW(arena, struct summary_parameter);
    part->parameters[0].name = SLICE_LITERAL("charset");
    part->parameters[0].value = SLICE_LITERAL("us-ascii");
    part->parameter_count = 1;
}

void header_parse(struct slice header, bool in_digest, struct arena *arena,
                  struct summary_part *part, struct summary_envelope *envelope,
                  struct header_message *message)
{
    struct slice mark = SLICE_LITERAL("\xef\xbb\xbf"); /* some editors begin a file with it */
    struct slice start = slice_sub(header, slice_starts(header, mark) ? mark.size : 0, header.size);
    struct fields fields = fields_make(slice_sub(start, 0, PARSE_HEADER_MAX));
    struct field field;
    uint32_t seen = 0;
    bool typed = false;
    part->encoding = SLICE_LITERAL("7BIT");
    for (uint32_t count = 0; count < PARSE_FIELDS_MAX && fields_next(&fields, &field); count++) {
        enum field_id id = field_id(field.name);
        if (id == FIELD_OTHER || (known[id].envelope && envelope == NULL) ||
            (!known[id].repeats && (seen & 1u << id)))
            continue;
        seen |= 1u << id;
        if (id == FIELD_CONTENT_TYPE)
            typed = content_type_parse(field.value, arena, part);
        else if (!known[id].envelope)
            read_content_field(id, field.value, arena, part);
        else
            read_envelope_field(id, field.value, arena, envelope);
        if (message != NULL && known[id].envelope)
            read_message_field(id, field.value, arena, message);
    }
    if (!typed)
        set_default_type(in_digest && !(seen & 1u << FIELD_CONTENT_TYPE), arena, part);
    if (message != NULL && message->reference_count == 0 && envelope->in_reply_to.data != NULL)
        add_references(envelope->in_reply_to, 1, arena, message);
}
