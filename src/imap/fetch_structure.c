/*
 * ENVELOPE, BODY, BODYSTRUCTURE, INTERNALDATE as RFC 3501 7.4.2 writes them, from the summary that
 * was made at delivery: no message is opened for them. Depth is bounded by SUMMARY_DEPTH_MAX.
 */
#include "imap/fetch.h"

static inline void put(struct buf *out, const char *text)
{
    buf_add_str(out, text);
}

/* ---- ENVELOPE ------------------------------------------------------------------------------ */

static void put_addresses(struct buf *out, const struct summary_addresses *addresses)
{
    if (addresses->count == 0) {
        put(out, "NIL");
        return;
    }
    put(out, "(");
    for (uint32_t i = 0; i < addresses->count; i++) {
        const struct summary_address *address = &addresses->list[i];
        put(out, "(");
        imap_put_string(out, address->name);
        put(out, " ");
        imap_put_string(out, address->route);
        put(out, " ");
        imap_put_string(out, address->mailbox);
        put(out, " ");
        imap_put_string(out, address->host);
        put(out, ")");
    }
    put(out, ")");
}

void fetch_put_envelope(struct buf *out, const struct summary_envelope *envelope)
{
    static const struct summary_envelope none;
    const struct summary_envelope *e = envelope == NULL ? &none : envelope;
    /* Without a Sender or Reply-To they are From (RFC 3501 7.4.2). */
    const struct summary_addresses *lists[] = {
        &e->from,
        e->sender.count > 0 ? &e->sender : &e->from,
        e->reply_to.count > 0 ? &e->reply_to : &e->from,
        &e->to,
        &e->cc,
        &e->bcc,
    };
    put(out, "(");
    imap_put_string(out, e->date);
    put(out, " ");
    imap_put_string(out, e->subject);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        put(out, " ");
        put_addresses(out, lists[i]);
    }
    put(out, " ");
    imap_put_string(out, e->in_reply_to);
    put(out, " ");
    imap_put_string(out, e->message_id);
    put(out, ")");
}

/* ---- BODYSTRUCTURE ------------------------------------------------------------------------- */

static void put_parameters(struct buf *out, const struct summary_parameter *parameters,
                           uint32_t count)
{
    if (count == 0) {
        put(out, "NIL");
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        put(out, i == 0 ? "(" : " ");
        imap_put_string(out, parameters[i].name);
        put(out, " ");
        imap_put_string(out,
                        parameters[i].value.data == NULL ? SLICE_LITERAL("") : parameters[i].value);
    }
    put(out, ")");
}

/* body-fld-dsp, -lang, -loc: what both kinds of extension end with. */
static void put_extension(struct buf *out, const struct summary_part *part)
{
    if (part->disposition.data == NULL) {
        put(out, " NIL");
    } else {
        put(out, " (");
        imap_put_string(out, part->disposition);
        put(out, " ");
        put_parameters(out, part->disposition_parameters, part->disposition_parameter_count);
        put(out, ")");
    }
    put(out, part->language_count == 0 ? " NIL" : " (");
    for (uint32_t i = 0; i < part->language_count; i++) {
        put(out, i == 0 ? "" : " ");
        imap_put_string(out, part->languages[i]);
    }
    put(out, part->language_count == 0 ? " " : ") ");
    imap_put_string(out, part->location);
}

static void put_part(struct buf *out, const struct summary *summary, uint32_t index, bool extended);

static void put_multipart(struct buf *out, const struct summary *summary, uint32_t index,
                          bool extended)
{
    const struct summary_part *part = &summary->parts[index];
    uint32_t count = 0;
    for (uint32_t i = index + 1; i < part->next && i < summary->part_count;
         i = summary->parts[i].next, count++)
        put_part(out, summary, i, extended);
    if (count == 0) /* the grammar wants one (body-type-mpart = 1*body) */
        put(out, extended ? "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)"
                          : "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)");
    put(out, " ");
    imap_put_string(out, part->subtype);
    if (!extended)
        return;
    put(out, " ");
    put_parameters(out, part->parameters, part->parameter_count);
    put_extension(out, part);
}

static void put_leaf(struct buf *out, const struct summary *summary, uint32_t index, bool extended)
{
    const struct summary_part *part = &summary->parts[index];
    bool message = part->kind == SUMMARY_MESSAGE && index + 1 < part->next;
    /* A message that was not looked into has no envelope to show, so it is not called one. */
    bool opaque = !message && slice_equal_nocase_str(part->type, "message") &&
                  (slice_equal_nocase_str(part->subtype, "rfc822") ||
                   slice_equal_nocase_str(part->subtype, "global"));
    imap_put_string(out, opaque ? SLICE_LITERAL("application") : part->type);
    put(out, " ");
    imap_put_string(out, opaque ? SLICE_LITERAL("octet-stream") : part->subtype);
    put(out, " ");
    put_parameters(out, part->parameters, part->parameter_count);
    put(out, " ");
    imap_put_string(out, part->id);
    put(out, " ");
    imap_put_string(out, part->description);
    put(out, " ");
    imap_put_string(out, part->encoding);
    put(out, " ");
    buf_number(out, part->body_size);
    if (message) {
        put(out, " ");
        fetch_put_envelope(out, summary->parts[index + 1].envelope);
        put(out, " ");
        put_part(out, summary, index + 1, extended);
    }
    if (message || slice_equal_nocase_str(part->type, "text")) {
        put(out, " ");
        buf_number(out, part->body_lines);
    }
    if (!extended)
        return;
    put(out, " ");
    imap_put_string(out, part->md5);
    put_extension(out, part);
}

static void put_part(struct buf *out, const struct summary *summary, uint32_t index, bool extended)
{
    put(out, "(");
    if (summary->parts[index].kind == SUMMARY_MULTIPART)
        put_multipart(out, summary, index, extended);
    else
        put_leaf(out, summary, index, extended);
    put(out, ")");
}

void fetch_put_structure(struct buf *out, const struct summary *summary, bool extended)
{
    put_part(out, summary, 0, extended);
}

/* ---- INTERNALDATE -------------------------------------------------------------------------- */

static void put_two(char *at, uint32_t number)
{
    at[0] = (char)('0' + number / 10);
    at[1] = (char)('0' + number % 10);
}

void fetch_put_date(struct buf *out, uint64_t date_us, int32_t zone_minutes)
{
    int64_t local = (int64_t)(date_us / 1000000) + (int64_t)zone_minutes * 60;
    int64_t days = local >= 0 ? local / 86400 : (local - 86399) / 86400;
    uint32_t second = (uint32_t)(local - days * 86400);
    uint32_t zone = (uint32_t)(zone_minutes < 0 ? -zone_minutes : zone_minutes);
    int32_t year;
    uint32_t month, day;
    imap_date_of(days, &year, &month, &day);
    char text[] = "\"dd-mmm-yyyy hh:mm:ss +zzzz\"";
    put_two(text + 1, day);
    if (day < 10)
        text[1] = ' ';
    memcpy(text + 4, imap_months[month - 1], 3);
    put_two(text + 8, (uint32_t)year / 100 % 100);
    put_two(text + 10, (uint32_t)year % 100);
    put_two(text + 13, second / 3600);
    put_two(text + 16, second / 60 % 60);
    put_two(text + 19, second % 60);
    text[22] = zone_minutes < 0 ? '-' : '+';
    put_two(text + 23, zone / 60 % 100);
    put_two(text + 25, zone % 60);
    buf_add(out, text, sizeof(text) - 1);
}
