/*
 * One story of an account - mail comes in, is flagged, copied, moved, expunged, mailboxes are
 * renamed and deleted, space is taken back - stopped after every step of the store as by kill -9,
 * and with every submit failing in every way. What was acknowledged must be there; what must be
 * whole is there or not at all; counters equal a recount; no UID names two messages.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mailbox/test_lab.h"

const char *__asan_default_options(void); /* a "process" that was killed gives nothing back */
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

enum { FIRST = 90, SECOND = 400 };

struct story {
    struct lab *lab;
    unsigned steps;        /* how many there are */
    unsigned acknowledged; /* steps that answered OK */
    bool stopped, broken;
    int report; /* where each acknowledged step is written; 0: nowhere */
};

static bool story_wait(struct story *story, struct answer *answer)
{
    struct lab *lab = story->lab;
    for (int i = 0; !answer->done; i++) {
        assert_true(i < 100000);
        if (lab->directory[0] == 0 && store_mem_stopped(lab->store)) {
            for (int j = 0; j < 50 && !answer->done; j++)
                event_base_loop(lab->base, EVLOOP_NONBLOCK);
            if (!answer->done) {
                story->stopped = true;
                return false;
            }
            break;
        }
        lab_turn(lab);
    }
    if (answer->result == MAILBOX_BROKEN)
        story->broken = true;
    return answer->result == MAILBOX_OK;
}

static void story_account(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    on_done(arg, result);
}

static bool story_open(struct story *story)
{
    struct answer *answer = MEM_NEW(struct answer);
    story->lab->account =
        mailbox_account_open(story->lab->env, &story->lab->ref, story_account, answer);
    return story_wait(story, answer);
}

static struct mailbox_view *story_view(struct story *story, const char *name)
{
    struct answer *answer = MEM_NEW(struct answer);
    struct mailbox_view *view =
        mailbox_view_open(story->lab->account, slice_str(name), false, on_view, answer);
    if (story_wait(story, answer))
        return view;
    if (!story->stopped)
        mailbox_view_close(&view);
    return NULL;
}

typedef void story_call(struct story *story, struct mailbox_view *view, struct answer *answer);

static bool story_step(struct story *story, const char *box, story_call *call)
{
    struct answer *answer = MEM_NEW(struct answer); /* stays when the "process" is gone */
    struct mailbox_view *view = NULL;
    if (box != NULL && (view = story_view(story, box)) == NULL)
        return false;
    call(story, view, answer);
    bool good = story_wait(story, answer);
    if (!story->stopped)
        mailbox_view_close(&view);
    story->acknowledged += good;
    if (good && story->report > 0)
        assert_int_equal(write(story->report, "+", 1), 1);
    return good;
}

static void step_append(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    lab_append_start(story->lab, "INBOX", FIRST, answer);
}

static void step_append_more(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    lab_append_start(story->lab, "INBOX", SECOND, answer);
}

static void step_copy(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    struct uidset uids = {0};
    uidset_add(&uids, 1, UINT32_MAX);
    mailbox_copy(view, &uids, SLICE_LITERAL("Archive"), false, on_copy, answer);
    uidset_finish(&uids);
}

static void step_move(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    struct uidset uids = {0};
    uidset_add(&uids, 11, UINT32_MAX);
    mailbox_copy(view, &uids, SLICE_LITERAL("Trash"), true, on_copy, answer);
    uidset_finish(&uids);
}

static void step_flags(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    struct uidset uids = {0};
    struct slice keyword = SLICE_LITERAL("Todo");
    struct mailbox_store change = {.mode = MAILBOX_STORE_ADD,
                                   .flags = {.system = MAILBOX_SEEN | MAILBOX_DELETED,
                                             .keywords = &keyword,
                                             .keyword_count = 1}};
    uidset_add(&uids, 1, 40);
    mailbox_store(view, &uids, &change, on_store, answer);
    uidset_finish(&uids);
}

static void step_expunge(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    mailbox_expunge(view, NULL, on_done, answer);
}

static void step_rename(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    mailbox_rename(story->lab->account, SLICE_LITERAL("Archive"), SLICE_LITERAL("Old/Deep/Archive"),
                   on_done, answer);
}

static void step_delete(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    mailbox_delete(story->lab->account, SLICE_LITERAL("Trash"), on_done, answer);
}

static void step_delete_archive(struct story *story, struct mailbox_view *view,
                                struct answer *answer)
{
    mailbox_delete(story->lab->account, SLICE_LITERAL("Old/Deep/Archive"), on_done, answer);
}

static void step_housekeeping_done(void *arg)
{
    on_done(arg, MAILBOX_OK);
}

static void step_housekeeping(struct story *story, struct mailbox_view *view, struct answer *answer)
{
    housekeeping_start(story->lab->account->account, step_housekeeping_done, answer);
}

static const struct {
    const char *box;
    story_call *call;
} steps[] = {
    {NULL, step_append},      {NULL, step_append_more},    {"INBOX", step_copy},
    {"INBOX", step_flags},    {"INBOX", step_expunge},     {"INBOX", step_move},
    {NULL, step_rename},      {NULL, step_delete},         {NULL, step_housekeeping},
    {NULL, step_append},      {NULL, step_delete_archive}, {NULL, step_housekeeping},
    {NULL, step_append_more}, {NULL, step_append_more},
};
enum { STEPS = sizeof(steps) / sizeof(*steps), SHORT = 10 /* in memory: enough */ };

static void story_run(struct story *story)
{
    if (!story_open(story))
        return;
    for (unsigned i = 0; i < story->steps; i++) {
        if (!story_step(story, steps[i].box, steps[i].call))
            return;
    }
}

/* What may be seen when that many steps were acknowledged and the next may have happened or not. */
static void story_check(struct lab *lab, unsigned acknowledged, bool next_possible)
{
    uint32_t inbox = lab_info(lab, "INBOX").messages, trash = lab_info(lab, "Trash").messages;
    struct mailbox_info archive;
    bool renamed = mailbox_find(lab->account, SLICE_LITERAL("Old/Deep/Archive"), &archive);
    if (!renamed)
        archive = lab_info(lab, "Archive");
    unsigned last = acknowledged + next_possible;
    bool possible = false;

    for (unsigned done = acknowledged; done <= last && !possible; done++) {
        uint32_t all = FIRST + SECOND, left = all - 40;
        switch (done) {
        case 0:
            possible = inbox == 0 && archive.messages == 0;
            break;
        case 1:
            possible = inbox == FIRST && archive.messages == 0;
            break;
        case 2:
            possible = inbox == all && archive.messages == 0;
            break;
        case 3:
        case 4:
            possible = inbox == all && archive.messages == all;
            break;
        case 5: /* MOVE may have gone a part of the way */
            possible = archive.messages == all && inbox + trash == left &&
                       (inbox == left || next_possible);
            break;
        case 6:
            possible = inbox == 0 && trash == left && archive.messages == all;
            break;
        case 7:
            possible = inbox == 0 && trash == left && archive.messages == all && renamed;
            break;
        case 8:
        case 9:
            possible = inbox == 0 && trash == 0 && archive.messages == all && renamed;
            break;
        case 10:
            possible = inbox == FIRST && trash == 0 && archive.messages == all && renamed;
            break;
        default:
            possible = inbox == FIRST + (done > 12 ? (done - 12) * SECOND : 0) && trash == 0 &&
                       archive.messages == 0 && !renamed;
        }
    }
    if (!possible)
        fail_msg("acknowledged %u: INBOX %u, Trash %u, Archive %u", acknowledged, inbox, trash,
                 archive.messages);
}

static void story_after(struct lab *lab, unsigned acknowledged, bool next_possible)
{
    assert_int_equal(lab_account(lab), MAILBOX_OK);
    story_check(lab, acknowledged, next_possible);
    lab_recount(lab);
    /* It goes on: UIDs of what is new are above all that were there. */
    uint32_t uidnext = lab_info(lab, "INBOX").uidnext;
    assert_int_equal(lab_append(lab, "INBOX", 3), MAILBOX_OK);
    assert_int_equal(lab_info(lab, "INBOX").uidnext, uidnext + 3);
    struct answer answer = {0};
    housekeeping_start(lab->account->account, step_housekeeping_done, &answer);
    lab_wait(lab, &answer);
    lab_recount(lab);
}

static void lab_grace_none(struct lab *lab)
{
    mailbox_env_destroy(&lab->env);
    lab->options.grace_s = 0;
    lab->env = mailbox_env_create(&lab->options);
}

static void test_stop_at_every_step(void **state)
{
    unsigned complete = 0;
    uint64_t most = 100000;
    for (uint64_t at = 1; at <= most; at++) {
        struct lab lab;
        struct story story = {.lab = &lab, .steps = SHORT};
        lab_init(&lab);
        lab_grace_none(&lab);
        store_mem_stop_at(lab.store, at);
        story_run(&story);
        if (!story.stopped) {
            assert_int_equal(story.acknowledged, SHORT);
            complete++;
            most = at;
        }
        lab.account = NULL; /* it died with the process */
        lab.image = store_mem_crash(&lab.store);
        lab.base = event_base_new();
        lab.options.base = lab.base;
        lab.store = store_mem_reopen(lab.base, &lab.image);
        lab.env = mailbox_env_create(&lab.options);
        story_after(&lab, story.acknowledged, story.stopped);
        lab_finish(&lab);
    }
    assert_int_equal(complete, 1);
}

static void story_fail(unsigned nth, enum store_result result, bool applied, bool *met)
{
    struct lab lab;
    struct story story = {.lab = &lab, .steps = SHORT};
    struct store_stats stats;

    lab_init(&lab);
    lab_grace_none(&lab);
    store_mem_fail(lab.store, nth, result, applied);
    story_run(&story);
    store_stats(lab.store, &stats);
    *met = story.acknowledged < SHORT || stats.batches >= nth;
    bool unsure = story.acknowledged < SHORT;
    if (result == STORE_FENCED)
        store_resume(lab.store, lab.ref.id);
    lab_restart(&lab, false); /* a fault that was not met is forgotten */
    if (result == STORE_CONFLICT)
        assert_int_equal(story.acknowledged, SHORT); /* looked again, and did it */
    story_after(&lab, story.acknowledged, unsure);
    lab_finish(&lab);
}

static void test_every_submit_fails(void **state)
{
    static const struct {
        enum store_result result;
        bool applied;
    } ways[] = {{STORE_CONFLICT, false}, {STORE_NOSPACE, false}, {STORE_UNAVAILABLE, false},
                {STORE_FENCED, false},   {STORE_UNKNOWN, false}, {STORE_UNKNOWN, true}};
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        bool met = true;
        for (unsigned nth = 1; met && nth < 45; nth++)
            story_fail(nth, ways[i].result, ways[i].applied, &met);
    }
}

#ifdef RESTANTE_FAULTS
enum { KILLS = 30 }; /* RESTANTE_STEPS: how many; 0: every step */

struct ended { /* what a story tells at its end */
    unsigned long steps;
    uint64_t compactions, snapshots, checkpoints;
};

static void story_child(const char *directory, struct id account, unsigned long nth, int report)
{
    struct lab lab;
    struct story story = {.lab = &lab, .steps = STEPS, .report = report};
    struct store_stats stats;
    struct ended ended = {0};
    char fault[40];
    snprintf(fault, sizeof(fault), "*@%lu=kill", nth);
    fault_set(nth > 0 ? fault : NULL);
    lab_init_at(&lab, directory, account);
    lab_grace_none(&lab);
    story_run(&story);
    store_stats(lab.store, &stats);
    ended = (struct ended){0, stats.compactions, stats.snapshots, stats.checkpoints};
    if (story.acknowledged == STEPS)
        store_close(&lab.store);
    ended.steps = fault_steps();
    _exit(story.acknowledged == STEPS &&
                  write(report, &ended, sizeof(ended)) == (ssize_t)sizeof(ended)
              ? 0
              : 1);
}

/* A process of its own runs the story and dies at the nth step of any layer. */
static unsigned story_killed(const char *directory, struct id account, unsigned long nth,
                             struct ended *ended)
{
    int out[2], status;
    unsigned acknowledged = 0;
    char byte;
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        story_child(directory, account, nth, out[1]);
    close(out[1]);
    while (acknowledged < STEPS && read(out[0], &byte, 1) == 1)
        acknowledged++;
    *ended = (struct ended){0};
    if (acknowledged == STEPS && read(out[0], ended, sizeof(*ended)) < 0)
        *ended = (struct ended){0};
    close(out[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                (nth > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    return acknowledged;
}

static void story_killed_at(unsigned long nth, struct ended *ended)
{
    const char *parent = getenv("TMPDIR");
    char directory[120];
    struct lab lab;
    struct id account = id_random();
    snprintf(directory, sizeof(directory), "%s/restante-mailbox-XXXXXX",
             parent == NULL ? "/tmp" : parent);
    assert_non_null(mkdtemp(directory));
    unsigned acknowledged = story_killed(directory, account, nth, ended);
    lab_init_at(&lab, directory, account);
    lab_grace_none(&lab);
    story_after(&lab, acknowledged, acknowledged < STEPS);
    lab_finish(&lab);
}

static void test_killed_on_the_local_engine(void **state)
{
    const char *wanted = getenv("RESTANTE_STEPS");
    unsigned long kills = wanted == NULL ? KILLS : strtoul(wanted, NULL, 10);
    unsigned long stopped = 0;
    struct ended whole, ended;

    lab_local = (struct store_local_options){.segment_size = 64 << 10,
                                             .checkpoint_operations = 100,
                                             .checkpoint_ms = 5,
                                             .snapshot_operations = 20,
                                             .journal_keep_s = 1,
                                             .compact_percent = 75,
                                             .create = true};
    story_killed_at(0, &whole);
    assert_true(whole.steps > 200);
    assert_true(whole.compactions > 0 && whole.snapshots > 0 && whole.checkpoints > 0);
    if (kills == 0 || kills > whole.steps)
        kills = whole.steps;
    for (unsigned long i = 0; i < kills; i++) {
        story_killed_at(1 + i * whole.steps / kills, &ended);
        stopped += ended.steps == 0;
    }
    print_message("%lu steps in the story, stopped at %lu of %lu\n", whole.steps, stopped, kills);
    assert_true(stopped > kills / 2); /* threads take turns as they like: a few more, a few less */
    lab_local = (struct store_local_options){.create = true};
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_at_every_step),
        cmocka_unit_test(test_every_submit_fails),
#ifdef RESTANTE_FAULTS
        cmocka_unit_test(test_killed_on_the_local_engine),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
