/*
 * The framing of commands. Three states: in a line, in a literal, skipping the rest of a line that
 * is too long. What a line means is none of its business but for one thing: whether it ends with
 * the announcement of a literal, outside of a quoted string.
 *
 * A line ends with CRLF. LF alone is told as an event of its own, so that the command is refused
 * and not taken for two; a CR within a line stays in the text, where no grammar has a place for it.
 */
#include "imap/reader.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

void imap_reader_init(struct imap_reader *reader, uint64_t line_max)
{
    *reader = (struct imap_reader){.line_max = line_max};
}

void imap_reader_finish(struct imap_reader *reader)
{
    imap_reader_clear(reader);
}

void imap_reader_clear(struct imap_reader *reader)
{
    buf_finish(&reader->text);
    reader->line = 0;
    reader->literal_left = 0;
    reader->skipping = false;
    free(reader->spooled);
    reader->spooled = NULL;
    reader->spooled_count = 0;
}

bool imap_reader_empty(const struct imap_reader *reader)
{
    return reader->text.size == 0 && reader->literal_left == 0 && !reader->skipping;
}

/* The quoted strings of a line that has none left open at its end. */
static bool outside_quotes(struct slice line)
{
    bool quoted = false;
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] == '"')
            quoted = !quoted;
        else if (quoted && line.data[i] == '\\')
            i++;
    }
    return !quoted;
}

/* "...{123}" or "...{123+}". A number too large for 64 bits counts as the largest. */
static bool announces_literal(struct slice line, uint64_t *size, bool *sync)
{
    if (line.size < 3 || line.data[line.size - 1] != '}')
        return false;
    size_t end = line.size - 1;
    *sync = line.data[end - 1] != '+';
    end -= *sync ? 0 : 1;
    size_t begin = end;
    while (begin > 0 && ascii_is_digit(line.data[begin - 1]))
        begin--;
    if (begin == end || begin == 0 || line.data[begin - 1] != '{')
        return false;
    if (!slice_u64(slice_sub(line, begin, end - begin), size))
        *size = UINT64_MAX;
    return outside_quotes(slice_sub(line, 0, begin));
}

static enum imap_reader_event line_ended(struct imap_reader *reader)
{
    struct buf *text = &reader->text;
    if (reader->skipping) {
        reader->skipping = false;
        reader->skipped = 0;
        return IMAP_READER_TOO_LONG;
    }
    text->size--;
    if (text->size == reader->line || text->data[text->size - 1] != '\r')
        return IMAP_READER_BARE;
    struct slice line = slice_make(text->data + reader->line, text->size - 1 - reader->line);
    if (!reader->lines && announces_literal(line, &reader->literal_size, &reader->literal_sync)) {
        text->size++; /* the LF stands there still */
        reader->line = text->size;
        return IMAP_READER_LITERAL;
    }
    text->size--;
    return IMAP_READER_COMMAND;
}

static bool is_endless(const struct imap_reader *reader)
{
    return reader->skipped > IMAP_ENDLESS_LINES * reader->line_max;
}

/* Up to and with the next LF. */
static enum imap_reader_event feed_line(struct imap_reader *reader, struct slice *in)
{
    size_t end = slice_find(*in, '\n');
    bool ended = end < in->size;
    struct slice piece = slice_sub(*in, 0, ended ? end + 1 : end);
    *in = slice_sub(*in, piece.size, in->size);
    uint64_t room = reader->line_max + 2 - (reader->text.size - reader->line);
    if (piece.size > room) {
        reader->skipping = true;
        reader->skipped += piece.size - room;
        piece.size = (size_t)room;
    }
    buf_add_slice(&reader->text, piece);
    if (is_endless(reader))
        return IMAP_READER_ENDLESS;
    return ended ? line_ended(reader) : IMAP_READER_MORE;
}

static void feed_literal(struct imap_reader *reader, struct slice *in)
{
    struct slice piece = *in;
    if (piece.size > reader->literal_left)
        piece.size = (size_t)reader->literal_left;
    *in = slice_sub(*in, piece.size, in->size);
    reader->literal_left -= piece.size;
    if (reader->sink == NULL)
        buf_add_slice(&reader->text, piece);
    else if (!reader->dropping)
        reader->dropping = !reader->sink(reader->sink_arg, piece);
    reader->line = reader->text.size;
}

enum imap_reader_event imap_reader_feed(struct imap_reader *reader, struct slice *in)
{
    if (is_endless(reader)) {
        *in = SLICE_NONE;
        return IMAP_READER_ENDLESS;
    }
    while (in->size > 0) {
        if (reader->literal_left > 0) {
            feed_literal(reader, in);
            continue;
        }
        enum imap_reader_event event = feed_line(reader, in);
        if (event != IMAP_READER_MORE)
            return event;
    }
    return IMAP_READER_MORE;
}

void imap_reader_accept(struct imap_reader *reader)
{
    reader->literal_left = reader->literal_size;
    reader->sink = NULL;
}

void imap_reader_spool(struct imap_reader *reader, imap_reader_sink *sink, void *arg)
{
    ASSERT(reader->spooled_count < IMAP_SPOOLED_MAX);
    reader->spooled =
        mem_grow(reader->spooled, reader->spooled_count + 1, sizeof(*reader->spooled));
    reader->spooled[reader->spooled_count++] =
        (struct imap_spooled){.at = reader->text.size, .size = reader->literal_size};
    reader->literal_left = reader->literal_size;
    reader->sink = sink;
    reader->sink_arg = arg;
    reader->dropping = false;
}

void imap_reader_refuse(struct imap_reader *reader)
{
    imap_reader_clear(reader);
}
