/*
 * The reader as a process, in its sandbox, between a master, a worker and a control that are played
 * here: what it answers is what the parser says in this process, whatever the character set; memory
 * that is not sealed or not of that size is refused; nothing is left open in its sandbox.
 *
 * usage: test_reader PATH-OF-RESTANTE-READER
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fd.h"
#include "ipc/play.h"
#include "message/match.h"
#include "message/needle.h"
#include "message/parse.h"

static const char *program;
static struct play play;
static struct ipc_channel *worker, *control;
static int answers; /* of any kind */
static uint64_t answered;
static struct buf answer;

/* ---- the peers ----------------------------------------------------------------------------- */

static void on_summary(void *context, struct ipc_channel *channel, struct ipc_summary *message)
{
    answers++;
    answered = message->request;
    buf_clear(&answer);
    buf_add_slice(&answer, message->packed);
}

static uint32_t found_result;

static void on_found(void *context, struct ipc_channel *channel, struct ipc_found *message)
{
    answers++;
    answered = message->request;
    found_result = message->result;
    buf_clear(&answer);
    buf_add_slice(&answer, message->bits);
}

static void on_admin_reply(void *context, struct ipc_channel *channel,
                           struct ipc_admin_reply *message)
{
    answers++;
    assert_true(message->ok && !message->more);
    buf_clear(&answer);
    buf_add_slice(&answer, message->json);
}

static const struct ipc_handlers handlers = {
    .summary = on_summary,
    .found = on_found,
    .admin_reply = on_admin_reply,
};

static void wait_for_answer(void)
{
    answers = 0;
    play_until(&play, play_is_positive, &answers, "an answer");
}

static int setup(void **state)
{
    play_start(&play, program, IPC_READER, "log_level=error\n", &handlers);
    play_peer(&play, IPC_WORKER, 0, &worker);
    play_peer(&play, IPC_CONTROL, 0, &control);
    play_run(&play);
    return 0;
}

static int teardown(void **state)
{
    play_end(&play);
    buf_finish(&answer);
    return 0;
}

/* ---- tests --------------------------------------------------------------------------------- */

static int memory(struct slice bytes)
{
    int fd = fd_memory_create("test");
    assert_true(fd >= 0 && fd_memory_write(fd, bytes.data, bytes.size));
    return fd;
}

static void ask(int fd, uint64_t size, uint64_t request)
{
    ipc_send_summarize(worker,
                       &(struct ipc_summarize){.request = request, .size = size, .message = fd});
    wait_for_answer();
    assert_int_equal(answered, request);
}

static void expect_as_here(struct slice message)
{
    struct arena arena = {0};
    struct summary summary;
    struct buf packed = {0}, folded = {0};
    struct fold *fold = fold_create();
    int fd = memory(message);
    assert_true(fd_memory_seal(fd));
    ask(fd, message.size, 77 + message.size);
    close(fd);
    parse_message(message, &arena, &summary);
    assert_true(match_fold(fold, &summary, &folded));
    summary.folded = folded.size > 0 ? buf_slice(&folded) : SLICE_LITERAL("");
    summary_encode(&summary, &packed);
    assert_true(packed.size > 0);
    assert_true(slice_equal(buf_slice(&packed), buf_slice(&answer)));
    if (message.size <= IPC_SHORT) {
        ipc_send_summarize_short(worker,
                                 &(struct ipc_summarize_short){.request = 78, .message = message});
        wait_for_answer();
        assert_int_equal(answered, 78);
        assert_true(slice_equal(buf_slice(&packed), buf_slice(&answer)));
    }
    buf_finish(&packed);
    buf_finish(&folded);
    fold_destroy(&fold);
    arena_finish(&arena);
}

static void summarizes(void **state)
{
    static const char *const charsets[] = {
        "utf-8",       "koi8-r",      "shift_jis",  "euc-jp",       "iso-2022-jp", "iso-2022-kr",
        "euc-kr",      "big5",        "gb2312",     "gb18030",      "hz-gb-2312",  "utf-7",
        "utf-16",      "tis-620",     "iso-8859-8", "windows-1256", "macintosh",   "ibm850",
        "iso-8859-15", "iso-2022-cn", "viscii",     "koi8-u",       "nobody-knows"};
    expect_as_here(SLICE_LITERAL(""));
    expect_as_here(SLICE_LITERAL("Subject: a\r\n\r\nb\r\n"));
    for (size_t i = 0; i < sizeof(charsets) / sizeof(*charsets); i++) {
        struct buf message = {0};
        buf_printf(&message,
                   "From: a@b\r\nContent-Type: text/plain; charset=%s\r\n\r\n"
                   "\xa4\xb3\xa4\xf3 \x1b$B$3\x1b(B ~{VPND~} +AOQ- text\r\n",
                   charsets[i]);
        expect_as_here(buf_slice(&message));
        buf_finish(&message);
    }
    struct buf large = {0};
    buf_add_str(&large, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for (int i = 0; i < 20000; i++)
        buf_add_str(&large, "--b\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n");
    expect_as_here(buf_slice(&large));
    buf_finish(&large);
}

/* Each is answered with an empty summary, and the next one is served. */
static void refuses(void **state)
{
    static const struct slice message = {(const uint8_t *)"Subject: x\r\n\r\n", 14};
    int pipes[2];
    int open_memory = memory(message);
    int sealed = memory(message);
    assert_true(fd_memory_seal(sealed));
    assert_int_equal(pipe(pipes), 0);
    ask(open_memory, 14, 1);
    assert_int_equal(answer.size, 0);
    static const uint64_t sizes[] = {13, 15, 1u << 30, UINT64_MAX, UINT64_MAX / 2};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        ask(sealed, sizes[i], 10 + i);
        assert_int_equal(answer.size, 0);
    }
    ask(pipes[0], 14, 2);
    assert_int_equal(answer.size, 0);
    ask(sealed, 14, 3);
    assert_true(answer.size > 0);
    close(open_memory);
    close(sealed);
    close(pipes[0]);
    close(pipes[1]);
    expect_as_here(message);
}

static void search(int fd, uint64_t size, uint32_t records, const char *charset,
                   struct slice needles)
{
    static uint64_t request = 1000;
    request++;
    ipc_send_search(worker, &(struct ipc_search){.request = request,
                                                 .records = records,
                                                 .size = size,
                                                 .charset = slice_str(charset),
                                                 .needles = needles,
                                                 .messages = fd});
    wait_for_answer();
    assert_int_equal(answered, request);
}

/* Messages of several charsets in one batch; then batches and needles that are not what they are
 * said to be: refused, and the next one is served. */
static void searches(void **state)
{
    static const struct slice messages[] = {
        {(const uint8_t *)"\r\nK\xc3\x84SE\r\n", 9},
        {(const uint8_t *)"Content-Type: text/plain; charset=koi8-r\r\n\r\n\xeb\xe1\r\n", 48},
        {(const uint8_t *)"Subject: =?gb2312?B?xOO6wwo=?=\r\n\r\nk\xe4se", 38},
    };
    struct buf needles = {0}, batch = {0};
    uint8_t head[NEEDLE_RECORD_SIZE];
    needle_pack(&(struct needle){.where = NEEDLE_BODY, .text = SLICE_LITERAL("k\xe4se")}, &needles);
    needle_pack(&(struct needle){.where = NEEDLE_SUBJECT, .text = SLICE_LITERAL("")}, &needles);
    for (size_t i = 0; i < 3; i++) {
        needle_record_head(NEEDLE_MESSAGE, 0, messages[i].size, head);
        buf_add(&batch, head, sizeof(head));
        buf_add_slice(&batch, messages[i]);
    }
    int fd = memory(buf_slice(&batch)), open_memory = memory(buf_slice(&batch));
    assert_true(fd_memory_seal(fd));
    struct slice packed = buf_slice(&needles);
    search(fd, batch.size, 2, "latin1", packed);
    assert_int_equal(found_result, IPC_SEARCH_FAILED);
    search(fd, batch.size - 1, 3, "latin1", packed);
    assert_int_equal(found_result, IPC_SEARCH_FAILED);
    search(open_memory, batch.size, 3, "latin1", packed);
    assert_int_equal(found_result, IPC_SEARCH_FAILED);
    search(fd, batch.size, UINT32_MAX, "latin1", packed);
    assert_int_equal(found_result, IPC_SEARCH_FAILED);
    search(fd, batch.size, 3, "latin1", slice_sub(packed, 0, packed.size - 1));
    assert_int_equal(found_result, IPC_SEARCH_FAILED);
    search(fd, batch.size, 3, "x-nobody", packed);
    assert_int_equal(found_result, IPC_SEARCH_BAD_CHARSET);
    assert_int_equal(answer.size, 0);
    search(fd, batch.size, 3, "latin1", packed);
    assert_int_equal(found_result, IPC_SEARCH_OK);
    assert_int_equal(answer.size, 3);
    assert_memory_equal(answer.data, "\1\0\3", 3);
    close(fd);
    close(open_memory);
    buf_finish(&needles);
    buf_finish(&batch);
}

static void verb(const char *name)
{
    ipc_send_admin_request(control, &(struct ipc_admin_request){.request = 5,
                                                                .verb = slice_str(name),
                                                                .json = SLICE_LITERAL("{}")});
    wait_for_answer();
}

static void gave_up_everything(void **state)
{
    expect_as_here(SLICE_LITERAL("Subject: a\r\n\r\nb\r\n"));
    verb("status");
    assert_non_null(memmem(answer.data, answer.size, "\"messages\":2,", 13));
    bool fenced = memmem(answer.data, answer.size, "\"sandbox_missing\":\"\"", 20) != NULL;
    verb("sandbox-probe");
#ifdef RESTANTE_SANITIZED /* its profile is wider: sandbox/seccomp.c */
    fenced = false;
#endif
    if (!fenced)
        skip();
    assert_true(slice_equal_str(buf_slice(&answer), "{\"open\":\"\"}"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(summarizes, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(searches, setup, teardown),
        cmocka_unit_test_setup_teardown(gave_up_everything, setup, teardown),
    };
    program = argv[1];
    return argc == 2 ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
