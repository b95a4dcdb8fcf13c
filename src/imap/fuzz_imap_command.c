/*
 * Bytes from a client. Property: the commands that come of them, and whether each is legal, do not
 * depend on how the bytes were cut into pieces. Every command's check() runs on what is whole.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "imap/cmd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "name ok" or the problem, for every form that has such a name. */
static void judge(struct slice text, const struct imap_reader *reader, struct buf *story)
{
    struct arena arena;
    struct slice tag, name;
    arena_init(&arena);
    for (size_t i = 0; imap_commands[i] != NULL; i++) {
        const struct imap_command *command = imap_commands[i];
        struct imap_parser parser;
        imap_parser_init(&parser, text, &arena, 50);
        parser.spooled = reader->spooled;
        parser.spooled_count = reader->spooled_count;
        if (!imap_parse_tag(&parser, &tag) || !imap_parse_space(&parser) ||
            !imap_parse_word(&parser, &name) || !slice_equal_nocase_str(name, command->name))
            continue;
        void *own = arena_alloc(&arena, command->size);
        bool good = (command->check == NULL || command->check(&parser, false, own)) &&
                    imap_parse_end(&parser);
        ASSERT(good == (parser.problem == NULL));
        ASSERT(parser.at <= text.size);
        buf_printf(story, "<%s %s>", command->name, good ? "ok" : parser.problem);
        if (command->finish != NULL)
            command->finish(own);
    }
    arena_finish(&arena);
}

static bool sink(void *arg, struct slice bytes)
{
    buf_add_slice(arg, bytes);
    return true;
}

static void feed(struct imap_reader *reader, struct slice in, struct buf *story)
{
    while (in.size > 0) {
        enum imap_reader_event event = imap_reader_feed(reader, &in);
        if (event == IMAP_READER_MORE)
            continue;
        if (event == IMAP_READER_ENDLESS)
            return; /* where a caller stops; every later feed says the same */
        buf_printf(story, "[%d:", (int)event);
        buf_add_slice(story, buf_slice(&reader->text));
        buf_add_str(story, "]");
        if (event == IMAP_READER_LITERAL) {
            if (reader->literal_size > 2000 || reader->text.size > 4000)
                imap_reader_refuse(reader);
            else if (reader->literal_size % 3 == 0 && reader->spooled_count < IMAP_SPOOLED_MAX)
                imap_reader_spool(reader, sink, story);
            else
                imap_reader_accept(reader);
            continue;
        }
        if (event == IMAP_READER_COMMAND)
            judge(buf_slice(&reader->text), reader, story);
        imap_reader_clear(reader);
    }
}

static void tell(const uint8_t *data, size_t size, size_t step, struct buf *story)
{
    struct imap_reader reader;
    imap_reader_init(&reader, 3000);
    for (size_t at = 0; at < size; at += step)
        feed(&reader, slice_sub(slice_make(data, size), at, step), story);
    imap_reader_finish(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 2, 3, 7, 64};
    struct buf whole = {0};
    if (size == 0 || size > 20000)
        return 0;
    tell(data, size, size, &whole);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct buf pieces = {0};
        tell(data, size, steps[i], &pieces);
        ASSERT(slice_equal(buf_slice(&whole), buf_slice(&pieces)));
        buf_finish(&pieces);
    }
    buf_finish(&whole);
    return 0;
}
