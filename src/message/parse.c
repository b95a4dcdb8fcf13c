/*
 * The tree of parts. The parser stands at one offset and keeps a stack of the parts that are open
 * there; it goes from one line that begins with "--" to the next (scan.h), asks whether it is the
 * boundary of an open multipart, closes what that ends and begins what that begins. Bodies are not
 * looked at otherwise.
 *
 * What is dangerous: every size comes from here. A part ends where the line end before the boundary
 * line begins (RFC 2046 5.1.1), but never before its own body; all parts that one boundary ends
 * have the same end (close_parts). Costs are bounded by the bytes: a candidate line is compared
 * with at most SUMMARY_DEPTH_MAX boundaries, eight bytes at first.
 */
#include "message/parse.h"

#include "base/assert.h"
#include "message/content.h"
#include "message/header.h"
#include "message/preview.h"
#include "message/scan.h"

enum {
    FAST = 8, /* bytes of a boundary that are compared at once */
};

struct open_part {
    uint32_t index;
    uint64_t lines;        /* line feeds before its body */
    struct slice boundary; /* size 0: none, or it was closed */
    uint64_t head, mask;   /* its first FAST bytes; which of them count */
};

struct parser {
    struct slice bytes;
    struct arena *arena;
    size_t at;
    uint64_t lines; /* line feeds before at */
    struct summary_part *parts;
    uint32_t part_count, part_room;
    size_t memory_max; /* of the arena */
    bool full;         /* a limit is reached: boundaries mean nothing any more */
    struct open_part open[SUMMARY_DEPTH_MAX + 1];
    uint32_t depth; /* of the innermost open part */
};

/* The first FAST bytes of s, 0 behind its end. */
static uint64_t head_of(struct slice s)
{
    uint64_t head = 0;
    memcpy(&head, s.data, s.size < FAST ? s.size : FAST);
    return head;
}

static size_t line_end(const struct parser *parser, size_t at)
{
    return at + slice_find(slice_sub(parser->bytes, at, parser->bytes.size), '\n');
}

/* ---- boundaries ---------------------------------------------------------------------------- */

/*
 * Which open multipart the line at `at`, which begins with "--", is a boundary of; -1: none. The
 * boundary need only be the beginning of the line (RFC 2046 5.1.1), so the longest one wins, and
 * among equals the innermost.
 */
static int match_boundary(const struct parser *parser, size_t at, bool *close)
{
    struct slice line = slice_sub(parser->bytes, at + 2, parser->bytes.size);
    if (line.size == 0)
        return -1;
    uint64_t head = head_of(line);
    int found = -1;
    for (uint32_t depth = 0; depth <= parser->depth; depth++) {
        const struct open_part *open = &parser->open[depth];
        if (open->boundary.size == 0 || (head & open->mask) != open->head ||
            (found >= 0 && open->boundary.size < parser->open[found].boundary.size) ||
            line.size < open->boundary.size ||
            memcmp(line.data, open->boundary.data, open->boundary.size) != 0)
            continue;
        found = (int)depth;
    }
    if (found >= 0) {
        size_t size = parser->open[found].boundary.size;
        *close = line.size >= size + 2 && line.data[size] == '-' && line.data[size + 1] == '-';
    }
    return found;
}

/* Goes to the next boundary line, from the start of a line on. */
static int next_boundary(struct parser *parser, bool *close)
{
    const uint8_t *base = parser->bytes.data;
    const uint8_t *end = base + parser->bytes.size;
    while (parser->at < parser->bytes.size) {
        const uint8_t *here = base + parser->at;
        if (end - here >= 2 && here[0] == '-' && here[1] == '-' && !parser->full) {
            int found = match_boundary(parser, parser->at, close);
            if (found >= 0)
                return found;
        }
        parser->at = (size_t)(scan_dashes(here, end, &parser->lines) - base);
    }
    return -1;
}

/* ---- opening and closing ------------------------------------------------------------------- */

static struct summary_part *current(struct parser *parser)
{
    return &parser->parts[parser->open[parser->depth].index];
}

static void make_opaque(struct summary_part *part)
{
    part->kind = SUMMARY_LEAF;
    part->type = SLICE_LITERAL("application");
    part->subtype = SLICE_LITERAL("octet-stream");
    part->parameters = NULL;
    part->parameter_count = 0;
}

static void set_body(struct parser *parser, size_t end, uint64_t lines)
{
    struct open_part *open = &parser->open[parser->depth];
    struct summary_part *part = current(parser);
    part->body_size = end - part->header_offset - part->header_size;
    part->body_lines = (uint32_t)(lines - open->lines);
    part->next = parser->part_count;
    if (part->children > 0 || part->kind == SUMMARY_LEAF)
        return;
    /* A multipart without a part in it is shown as the text it is. */
    if (part->kind == SUMMARY_MESSAGE) {
        make_opaque(part);
    } else {
        part->kind = SUMMARY_LEAF;
        part->type = SLICE_LITERAL("text");
        part->subtype = SLICE_LITERAL("plain");
        part->parameter_count = 0;
    }
}

/* Ends all parts deeper than `depth` before the boundary line at `at`. The line end before it
 * belongs to it, unless that is the one of the empty line behind a header. */
static void close_parts(struct parser *parser, uint32_t depth)
{
    const struct summary_part *innermost = current(parser);
    size_t end = parser->at;
    uint64_t lines = parser->lines;
    if (end > innermost->header_offset + innermost->header_size) {
        end--;
        lines--;
        if (end > innermost->header_offset + innermost->header_size &&
            parser->bytes.data[end - 1] == '\r')
            end--;
    }
    for (; parser->depth > depth; parser->depth--)
        set_body(parser, end, lines);
}

/* Is the next part the last one, which is for the rest? */
static bool is_full(const struct parser *parser)
{
    return parser->part_count + 1 >= SUMMARY_PARTS_MAX || parser->arena->used > parser->memory_max;
}

static void add_part(struct parser *parser)
{
    if (parser->part_count == parser->part_room) {
        uint32_t room = parser->part_room == 0 ? 4 : parser->part_room * 4;
        struct summary_part *parts = arena_array(parser->arena, room, sizeof(*parts));
        if (parser->part_count > 0)
            memcpy(parts, parser->parts, parser->part_count * sizeof(*parts));
        parser->parts = parts;
        parser->part_room = room;
    }
    parser->parts[parser->part_count++] = (struct summary_part){.header_offset = parser->at};
}

/* Opens a child of the innermost part here; its header comes next. */
static void open_child(struct parser *parser)
{
    uint32_t parent = parser->open[parser->depth].index;
    ASSERT(parser->depth < SUMMARY_DEPTH_MAX);
    parser->parts[parent].children++;
    add_part(parser);
    parser->depth++;
    parser->open[parser->depth] = (struct open_part){.index = parser->part_count - 1};
    current(parser)->depth = parser->depth;
    current(parser)->parent = parent;
}

static void set_boundary(struct open_part *open, struct slice boundary)
{
    static const uint8_t ones[FAST] = {255, 255, 255, 255, 255, 255, 255, 255};
    /* RFC 2046 5.1.1: it cannot end with a space. */
    while (boundary.size > 0 && boundary.data[boundary.size - 1] == ' ')
        boundary.size--;
    open->boundary = boundary;
    if (boundary.size > 0) {
        open->head = head_of(boundary);
        open->mask = head_of(slice_make(ones, boundary.size < FAST ? boundary.size : FAST));
    }
}

/* ---- headers ------------------------------------------------------------------------------- */

static bool is_field_line(struct slice line)
{
    size_t i = 0;
    while (i < line.size && line.data[i] > ' ' && line.data[i] < 0x7f && line.data[i] != ':')
        i++;
    size_t name = i;
    while (i < line.size && (line.data[i] == ' ' || line.data[i] == '\t'))
        i++;
    return name > 0 && i < line.size && line.data[i] == ':';
}

/* A body that begins without a header: its first line is neither field nor mbox line nor
 * continuation, and no field follows. rest: from that line on. */
static bool header_is_missing(struct slice rest)
{
    struct slice first = slice_split(&rest, '\n');
    struct slice second = slice_split(&rest, '\n');
    return !(first.size == 0 || first.data[0] == ' ' || first.data[0] == '\t' ||
             slice_starts(first, SLICE_LITERAL("From ")) ||
             slice_starts(first, SLICE_LITERAL(">From ")) || is_field_line(first) ||
             is_field_line(second));
}

/*
 * Goes over the header here, up to its empty line or a boundary line that ends it early (with its
 * line end, *found as from match_boundary()). Returns its size without that line end.
 */
static size_t skip_header(struct parser *parser, int *found, bool *close)
{
    size_t from = parser->at;
    size_t size = parser->bytes.size;
    const uint8_t *data = parser->bytes.data;
    *found = -1;
    while (parser->at < size) {
        size_t at = parser->at;
        bool empty =
            data[at] == '\n' || (data[at] == '\r' && at + 1 < size && data[at + 1] == '\n');
        if (!empty && size - at >= 2 && data[at] == '-' && data[at + 1] == '-' && !parser->full &&
            (*found = match_boundary(parser, at, close)) >= 0) {
            if (at > from)
                at -= at - 1 > from && data[at - 2] == '\r' ? 2 : 1;
            return at - from;
        }
        if (at == from && !empty && header_is_missing(slice_sub(parser->bytes, at, size - at)))
            return 0;
        size_t end = line_end(parser, at);
        parser->lines += end < size;
        parser->at = end < size ? end + 1 : size;
        if (empty)
            break;
    }
    return parser->at - from;
}

static bool type_is(const struct summary_part *part, const char *type, const char *subtype)
{
    return slice_equal_nocase_str(part->type, type) &&
           (subtype == NULL || slice_equal_nocase_str(part->subtype, subtype));
}

/* Makes of the part what its type says. */
static void set_kind(struct parser *parser)
{
    struct open_part *open = &parser->open[parser->depth];
    struct summary_part *part = current(parser);
    bool multipart = type_is(part, "multipart", NULL);
    bool message = type_is(part, "message", "rfc822") || type_is(part, "message", "global");
    if (parser->full || ((multipart || message) && parser->depth == SUMMARY_DEPTH_MAX)) {
        make_opaque(part);
    } else if (message) {
        part->kind = SUMMARY_MESSAGE;
    } else if (multipart) {
        part->kind = SUMMARY_MULTIPART;
        set_boundary(open, content_parameter(part->parameters, part->parameter_count, "boundary"));
    }
}

/* Reads the header here and what follows from it. Returns a boundary that ended it, or -1. */
static int read_header(struct parser *parser, struct header_message *message, bool *close)
{
    uint32_t index = parser->part_count - 1;
    size_t from = parser->at;
    int found;
    size_t size = skip_header(parser, &found, close);
    struct summary_part *part = &parser->parts[index];
    const struct summary_part *parent = &parser->parts[part->parent];
    bool enveloped = index == 0 || parent->kind == SUMMARY_MESSAGE;
    bool in_digest = index > 0 && type_is(parent, "multipart", "digest");
    part->header_size = size;
    if (enveloped)
        part->envelope = ARENA_NEW(parser->arena, struct summary_envelope);
    header_parse(slice_sub(parser->bytes, from, size), in_digest, parser->arena, part,
                 part->envelope, index == 0 ? message : NULL);
    set_kind(parser);
    /* A header that a boundary ended has no body: its line end is the boundary's. */
    parser->open[parser->depth].lines = parser->lines - (found >= 0 && parser->at > from + size);
    return found;
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* The part begun here and, as long as they are messages, those inside. */
static int read_headers(struct parser *parser, struct header_message *message, bool *close)
{
    int found = read_header(parser, message, close);
    while (found < 0 && current(parser)->kind == SUMMARY_MESSAGE) {
        if (is_full(parser))
            break;
        open_child(parser);
        found = read_header(parser, message, close);
    }
    return found;
}

static void skip_line(struct parser *parser)
{
    size_t end = line_end(parser, parser->at);
    parser->lines += end < parser->bytes.size;
    parser->at = end < parser->bytes.size ? end + 1 : end;
}

static void read_parts(struct parser *parser, struct header_message *message)
{
    bool close = false;
    add_part(parser);
    int found = read_headers(parser, message, &close);
    for (;;) {
        if (found < 0)
            found = next_boundary(parser, &close);
        if (found < 0)
            break;
        close_parts(parser, (uint32_t)found);
        skip_line(parser);
        if (close) {
            parser->open[found].boundary = SLICE_NONE; /* what follows is its epilogue */
            found = -1;
            continue;
        }
        parser->full = is_full(parser);
        open_child(parser);
        found = read_headers(parser, message, &close);
    }
    for (;; parser->depth--) {
        set_body(parser, parser->bytes.size, parser->lines);
        if (parser->depth == 0)
            break;
    }
}

void parse_message(struct slice bytes, struct arena *arena, struct summary *summary)
{
    struct parser parser;
    struct header_message message = {.date_s = INT64_MIN};
    parser.bytes = bytes.data == NULL ? SLICE_LITERAL("") : bytes;
    parser.arena = arena;
    parser.at = 0;
    parser.lines = 0;
    parser.parts = NULL;
    parser.part_count = parser.part_room = 0;
    parser.memory_max = arena->used + PARSE_MEMORY_MAX;
    parser.full = false;
    parser.depth = 0;
    parser.open[0] = (struct open_part){0};
    read_parts(&parser, &message);
    *summary = (struct summary){
        .size = bytes.size,
        .parts = parser.parts,
        .part_count = parser.part_count,
        .date_s = message.date_s,
        .references = message.references,
        .reference_count = message.reference_count,
    };
    summary->preview = preview_make(parser.bytes, summary, arena);
}
