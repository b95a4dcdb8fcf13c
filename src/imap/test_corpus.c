/*
 * Every message of the corpus (RESTANTE_CORPUS) goes in and comes out of IMAP: the whole is what
 * was stored, byte by byte, its size is the one announced, header and text together are the whole,
 * and ENVELOPE and BODYSTRUCTURE are well-formed answers. Without the corpus it skips.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <ftw.h>

#include "base/log.h"
#include "base/mem.h"
#include "test_world.h"

enum { SKIPPED = 77, LARGEST = 4 << 20 };

static struct world world;
static struct connection *client;
static int seen, failed;

static void to_crlf(struct slice in, struct buf *out)
{
    for (size_t i = 0; i < in.size; i++) {
        if (in.data[i] == '\n' && (i == 0 || in.data[i - 1] != '\r'))
            buf_u8(out, '\r');
        buf_u8(out, in.data[i]);
    }
}

/* Everything up to the tagged line, which must be OK. */
static bool answer(const char *tag, struct buf *out)
{
    char end[40];
    snprintf(end, sizeof(end), "\r\n%s OK ", tag);
    for (int turn = 0; turn < 5000 && !client->eof; turn++) {
        connection_take(client);
        size_t size = client->input.size;
        size_t from = size > 200 ? size - 200 : 0; /* the tagged line is the last one */
        uint8_t *at = memmem(client->input.data + from, size - from, end, strlen(end));
        if (size > 0 && at != NULL && client->input.data[size - 1] == '\n') {
            buf_add(out, client->input.data, (size_t)(at - client->input.data) + 2);
            buf_clear(&client->input);
            return true;
        }
        world_turn(&world);
    }
    return false;
}

/* The literal behind the label, or nothing. */
static struct slice literal(struct slice text, const char *label)
{
    char begin[60];
    snprintf(begin, sizeof(begin), "%s {", label);
    const uint8_t *at = memmem(text.data, text.size, begin, strlen(begin));
    if (at == NULL)
        return SLICE_NONE;
    struct slice rest = slice_sub(text, (size_t)(at - text.data) + strlen(begin), text.size);
    size_t size = (size_t)strtoull((const char *)rest.data, NULL, 10);
    size_t behind = slice_find(rest, '\n') + 1;
    return slice_sub(rest, behind, size);
}

/* Strings closed, parentheses paired, literals as long as they say. */
static bool well_formed(struct slice text)
{
    long depth = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c == '"') {
            for (i++; i < text.size && text.data[i] != '"'; i++) {
                if (text.data[i] >= 0x80 || text.data[i] == '\r' || text.data[i] == '\n')
                    return false;
                i += text.data[i] == '\\';
            }
        } else if (c == '{') {
            size_t size = (size_t)strtoull((const char *)text.data + i + 1, NULL, 10);
            i += slice_find(slice_sub(text, i, text.size), '\n') + size;
        } else if (c >= 0x80) {
            return false;
        }
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (depth < 0)
            return false;
    }
    return depth == 0;
}

static const char *check_message(struct slice stored)
{
    struct buf text = {0}, joined = {0}, command = {0};
    const char *problem = NULL;
    static int number;
    world_deliver(&world, SLICE_LITERAL("INBOX"), stored);
    number++;
    buf_printf(
        &command,
        "a NOOP\r\nb FETCH %d (RFC822.SIZE BODY.PEEK[])\r\n"
        "c FETCH %d (BODY.PEEK[HEADER] BODY.PEEK[TEXT])\r\nd FETCH %d (ENVELOPE BODYSTRUCTURE "
        "BODY)\r\n",
        number, number, number);
    char size[40];
    snprintf(size, sizeof(size), "RFC822.SIZE %zu ", stored.size);
    connection_send(client, buf_slice(&command));
    if (!answer("d", &text))
        problem = "no answer";
    struct slice all = buf_slice(&text);
    if (problem == NULL && memmem(all.data, all.size, size, strlen(size)) == NULL)
        problem = "RFC822.SIZE";
    if (problem == NULL && !slice_equal(literal(all, "BODY[]"), stored))
        problem = "BODY[]";
    const uint8_t *c =
        problem != NULL ? NULL : memmem(all.data, all.size, "FETCH (BODY[HEADER] ", 20);
    if (c != NULL) {
        struct slice rest = slice_sub(all, (size_t)(c - all.data), all.size);
        struct slice header = literal(rest, "BODY[HEADER]");
        buf_add_slice(&joined, header);
        rest = slice_sub(rest, header.size, rest.size);
        buf_add_slice(&joined, literal(rest, "BODY[TEXT]"));
        if (!slice_equal(buf_slice(&joined), stored))
            problem = "BODY[HEADER] and BODY[TEXT]";
    }
    const uint8_t *d = problem != NULL ? NULL : memmem(all.data, all.size, "\r\nc OK", 6);
    if (d != NULL && !well_formed(slice_sub(all, (size_t)(d - all.data) + 2, all.size)))
        problem = "ENVELOPE or BODYSTRUCTURE";
    buf_finish(&text);
    buf_finish(&joined);
    buf_finish(&command);
    return problem;
}

static int visit(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    if (type != FTW_F || status->st_size == 0 || status->st_size > LARGEST)
        return 0;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    uint8_t *bytes = mem_alloc((size_t)status->st_size);
    size_t size = fread(bytes, 1, (size_t)status->st_size, file);
    fclose(file);
    struct buf stored = {0};
    to_crlf(slice_make(bytes, size), &stored);
    const char *problem = check_message(buf_slice(&stored));
    seen++;
    if (problem != NULL && failed++ < 20)
        fprintf(stderr, "%s: %s\n", path + ftw->base, problem);
    buf_finish(&stored);
    free(bytes);
    return failed > 100;
}

/* Unpacks CORPUS/part/part.tar.zst below a new directory; false: there is none, or no zstd. */
static bool unpack(const char *corpus, const char *part, const char *directory)
{
    struct buf command = {0};
    buf_printf(&command, "zstd -dcq '%s/%s/%s.tar.zst' 2>/dev/null | tar xf - -C '%s' 2>/dev/null",
               corpus, part, part, directory);
    buf_u8(&command, 0);
    bool good = system((char *)command.data) == 0;
    buf_finish(&command);
    return good;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    return remove(path);
}

static void test_corpus(void **state)
{
    char directory[] = "corpus-XXXXXX";
    const char *corpus = getenv("RESTANTE_CORPUS");
    assert_non_null(mkdtemp(directory));
    if (corpus != NULL && unpack(corpus, "real", directory) && unpack(corpus, "odd", directory))
        nftw(directory, visit, 16, FTW_PHYS);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    print_message("%d messages, %d wrong\n", seen, failed);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};
    signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
    world_open(&world);
    client = world_connect(&world, false);
    connection_send(client, SLICE_LITERAL("s EXAMINE INBOX\r\n"));
    struct buf selected = {0};
    if (!answer("s", &selected))
        return 1;
    buf_finish(&selected);
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    world_close(&world);
    return seen == 0 ? SKIPPED : result;
}
