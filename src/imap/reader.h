/*
 * From bytes to commands: the framing of RFC 3501 2.2 and 4.3. A command is one line, or several
 * that are joined by literals. The reader takes bytes in pieces of any size and gives the same
 * events wherever they were cut. It knows no command; parser.h takes its text apart.
 *
 * The text of a command is what the client sent, without the last line end; a literal stands in it
 * as "{5}\r\nhello", a spooled one as "{5}\r\n" alone.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum imap_reader_event {
    IMAP_READER_MORE,     /* all input is consumed, no event yet */
    IMAP_READER_COMMAND,  /* text is a whole command; clear before the next feed */
    IMAP_READER_LITERAL,  /* the text ends with "{n}\r\n": answer with accept, spool or refuse */
    IMAP_READER_TOO_LONG, /* a line was too long and has been skipped; text has its beginning */
    IMAP_READER_ENDLESS, /* one that is far too long goes on; there is no event but this from now on
                          */
    IMAP_READER_BARE,    /* a line ended with LF alone; text is what was read */
};

/* Takes bytes of a spooled literal; false: the literal cannot be kept, the rest is dropped. */
typedef bool imap_reader_sink(void *arg, struct slice bytes);

struct imap_spooled { /* a literal that is not in the text */
    size_t at;        /* where its bytes would stand in the text */
    uint64_t size;    /* as announced */
};

enum {
    IMAP_SPOOLED_MAX = 64,
    IMAP_ENDLESS_LINES = 16, /* times line_max: a line beyond it is endless */
};

struct imap_reader {
    struct buf text;
    size_t line; /* where in the text the line being read begins */
    uint64_t line_max;
    uint64_t literal_size; /* as announced; valid with IMAP_READER_LITERAL */
    bool literal_sync;     /* the client waits for "+" (RFC 7888: "{n+}" does not) */
    uint64_t literal_left;
    bool skipping; /* of a line that is too long */
    uint64_t skipped;
    bool lines; /* every line is an event of its own: IDLE, AUTHENTICATE */
    imap_reader_sink *sink;
    void *sink_arg;
    bool dropping; /* the sink took no more */
    struct imap_spooled *spooled;
    size_t spooled_count;
};

/* line_max: bytes of a line without its line end. */
void imap_reader_init(struct imap_reader *reader, uint64_t line_max);
void imap_reader_finish(struct imap_reader *reader);
/* Forgets the command and its memory. Required after every event but MORE and LITERAL. */
void imap_reader_clear(struct imap_reader *reader);
/* Nothing of a command has been read yet. */
bool imap_reader_empty(const struct imap_reader *reader);

/* Consumes up to the next event; *in is what is left. */
enum imap_reader_event imap_reader_feed(struct imap_reader *reader, struct slice *in);

/* After IMAP_READER_LITERAL, exactly one of: */
void imap_reader_accept(struct imap_reader *reader); /* its bytes become part of the text */
/* Its bytes go to the sink. At most IMAP_SPOOLED_MAX a command (asserted). */
void imap_reader_spool(struct imap_reader *reader, imap_reader_sink *sink, void *arg);
/* The command is forgotten; only for a synchronising literal, whose client then sends none. */
void imap_reader_refuse(struct imap_reader *reader);
