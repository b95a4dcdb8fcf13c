/*
 * Random sessions on one mailbox, all at the same time, each believing only what it is told; with a
 * store that is slow, fails, and dies. Each session changes one flag of its own, so that what is
 * expected of every message is known whatever order the changes became durable in.
 */
#include <stdlib.h>

#include "mailbox/test_lab.h"

const char *__asan_default_options(void); /* a "process" that was killed gives nothing back */
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

enum { SESSIONS = 5, UIDS = 4000, STEPS = 400 };

struct actor {
    struct session session;
    struct answer *answer; /* NULL: nothing asked */
    uint32_t first, last;
    bool set, expunging;
};

struct world {
    struct lab lab;
    uint32_t seed;
    struct actor actors[SESSIONS];
    struct answer *append;
    uint32_t emails[UIDS]; /* by UID, once anybody was told; never changes */
    uint8_t flags[UIDS];   /* acknowledged */
    bool alive[UIDS], unsure[UIDS];
    uint64_t modseq;
};

static uint32_t dice(struct world *world, uint32_t sides)
{
    world->seed = world->seed * 1664525 + 1013904223;
    return (world->seed >> 8) % sides;
}

/* Whatever a session was told of names the same message for ever. */
static void check_identity(struct world *world, struct mailbox_view *view)
{
    for (uint32_t i = 1; i <= mailbox_view_count(view); i++) {
        const struct mailbox_entry *entry = mailbox_view_at(view, i);
        assert_true(entry->uid < UIDS);
        if (world->emails[entry->uid] == 0)
            world->emails[entry->uid] = entry->email;
        assert_int_equal(world->emails[entry->uid], entry->email);
    }
    uint64_t modseq = lab_info(&world->lab, "INBOX").modseq;
    assert_true(modseq >= world->modseq);
    world->modseq = modseq;
}

static void actor_answered(struct world *world, struct actor *actor, uint8_t bit)
{
    struct answer *answer = actor->answer;
    for (uint32_t uid = actor->first; uid <= actor->last && uid < UIDS; uid++) {
        if (answer->result == MAILBOX_BROKEN || answer->result == MAILBOX_UNAVAILABLE) {
            world->unsure[uid] = true;
            continue;
        }
        if (answer->result != MAILBOX_OK)
            continue;
        if (actor->expunging)
            world->alive[uid] = false;
        else if (actor->set)
            world->flags[uid] |= bit;
        else
            world->flags[uid] &= (uint8_t)~bit;
    }
    answer_finish(answer);
    free(answer);
    actor->answer = NULL;
}

static void append_answered(struct world *world)
{
    struct answer *answer = world->append;
    uint32_t uid = 0;
    while (answer->result == MAILBOX_OK && uidset_next(&answer->uids, uid, &uid)) {
        assert_true(uid < UIDS);
        assert_false(world->alive[uid]); /* never given out before */
        assert_int_equal(world->flags[uid], 0);
        world->alive[uid] = true;
        uid++;
    }
    answer_finish(answer);
    free(answer);
    world->append = NULL;
}

static void collect_answers(struct world *world)
{
    if (world->append != NULL && world->append->done)
        append_answered(world);
    for (unsigned i = 0; i < SESSIONS; i++) {
        if (world->actors[i].answer != NULL && world->actors[i].answer->done)
            actor_answered(world, &world->actors[i], (uint8_t)(1u << i));
    }
}

static void actor_act(struct world *world, struct actor *actor, uint32_t bit)
{
    uint32_t count = actor->session.count;
    struct uidset uids = {0};
    struct mailbox_store change = {.flags = {.system = bit}, .silent = dice(world, 2) != 0};

    if (actor->answer != NULL || count == 0)
        return;
    uint32_t a = dice(world, count), b = a + dice(world, 10);
    if (b >= count)
        b = count - 1;
    actor->first = actor->session.uids[a];
    actor->last = actor->session.uids[b];
    actor->set = dice(world, 3) != 0;
    actor->expunging = dice(world, 5) == 0;
    change.mode = actor->set ? MAILBOX_STORE_ADD : MAILBOX_STORE_REMOVE;
    uidset_add(&uids, actor->first, actor->last);
    actor->answer = MEM_NEW(struct answer);
    if (actor->expunging) {
        /* Others may be changing flags of these: only whether they are there is sure. */
        mailbox_remove(actor->session.view, &uids, on_done, actor->answer);
    } else {
        mailbox_store(actor->session.view, &uids, &change, on_store, actor->answer);
    }
    uidset_finish(&uids);
}

static void world_append(struct world *world)
{
    if (world->append != NULL)
        return;
    world->append = MEM_NEW(struct answer);
    lab_append_start(&world->lab, "INBOX", 1 + dice(world, 4), world->append);
}

static void world_open(struct world *world)
{
    assert_int_equal(lab_account(&world->lab), MAILBOX_OK);
    for (unsigned i = 0; i < SESSIONS; i++)
        session_begin(&world->actors[i].session, lab_view(&world->lab, "INBOX"));
}

static void world_wait(struct world *world)
{
    for (int i = 0; i < 40; i++) {
        lab_settle(&world->lab);
        collect_answers(world);
    }
    assert_null(world->append);
    for (unsigned i = 0; i < SESSIONS; i++)
        assert_null(world->actors[i].answer);
}

/* After an answer that says nothing, what the store holds is what counts. */
static void world_resync(struct world *world, bool all)
{
    struct mailbox_view *view = world->actors[0].session.view;
    for (uint32_t uid = 1; uid < UIDS; uid++) {
        uint32_t sequence = mailbox_view_sequence(view, uid);
        if (!all && !world->unsure[uid])
            continue;
        world->alive[uid] = sequence > 0;
        world->flags[uid] =
            sequence > 0 ? (uint8_t)mailbox_view_at(view, sequence)->flags : world->flags[uid];
        world->unsure[uid] = false;
    }
}

static void world_close(struct world *world)
{
    for (unsigned i = 0; i < SESSIONS; i++)
        session_finish(&world->actors[i].session);
}

/* Everybody is told everything: all must know the same, and that must be what was acknowledged. */
static void world_check(struct world *world)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct session *session = &world->actors[i].session;
        session_poll(session, true);
        session_check(session);
        check_identity(world, session->view);
    }
    struct mailbox_view *fresh = lab_view(&world->lab, "INBOX");
    for (uint32_t uid = 1; uid < UIDS; uid++) {
        uint32_t sequence = mailbox_view_sequence(fresh, uid);
        if (world->unsure[uid])
            continue;
        assert_int_equal(sequence > 0, world->alive[uid]);
        if (sequence == 0)
            continue;
        count++;
        if (mailbox_view_at(fresh, sequence)->flags != world->flags[uid])
            fail_msg("uid %u flags %x, expected %x", uid, mailbox_view_at(fresh, sequence)->flags,
                     world->flags[uid]);
        for (unsigned i = 0; i < SESSIONS; i++) {
            struct session *session = &world->actors[i].session;
            assert_int_equal(mailbox_view_count(fresh), session->count);
            assert_int_equal(session->uids[sequence - 1], uid);
            /* What it said silently itself it was not told again; its own bit it knows. */
            assert_int_equal((session->flags[sequence - 1] ^ world->flags[uid]) & ~(1u << i), 0);
        }
    }
    mailbox_view_close(&fresh);
}

static void world_fault(struct world *world)
{
    static const enum store_result results[] = {STORE_CONFLICT, STORE_NOSPACE, STORE_UNAVAILABLE};
    store_mem_fail(world->lab.store, 1 + dice(world, 3), results[dice(world, 3)], false);
}

static void world_break(struct world *world)
{
    bool applied = dice(world, 2) != 0;
    store_mem_fail(world->lab.store, 1, STORE_UNKNOWN, applied);
    for (unsigned i = 0; i < SESSIONS; i++)
        actor_act(world, &world->actors[i], 1u << i);
    /* A fault that was left pending may come first. */
    for (int i = 0;
         i < 10 && mailbox_view_state(world->actors[0].session.view) != MAILBOX_VIEW_BROKEN; i++) {
        if (i > 0)
            store_mem_fail(world->lab.store, 1, STORE_UNKNOWN, applied);
        world_append(world);
        world_wait(world);
    }
    for (unsigned i = 0; i < SESSIONS; i++)
        assert_int_equal(mailbox_view_state(world->actors[i].session.view), MAILBOX_VIEW_BROKEN);
    world_close(world);
    world_open(world);
    world_resync(world, true);
    world_check(world);
}

static void world_die(struct world *world)
{
    struct lab *lab = &world->lab;
    collect_answers(world);
    lab->account = NULL;
    lab->image = store_mem_crash(&lab->store);
    lab->base = event_base_new();
    lab->options.base = lab->base;
    lab->store = store_mem_reopen(lab->base, &lab->image);
    lab->env = mailbox_env_create(&lab->options);
    world->append = NULL;
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct actor *actor = &world->actors[i];
        /* Asked, not answered: may have happened. */
        for (uint32_t uid = actor->first; actor->answer != NULL && uid <= actor->last; uid++)
            world->unsure[uid] = true;
        *actor = (struct actor){.answer = NULL};
    }
    world_open(world);
    /* Appended without an answer: new UIDs that nobody was told of. */
    struct mailbox_view *view = world->actors[0].session.view;
    for (uint32_t uid = 1; uid < UIDS; uid++) {
        if (mailbox_view_sequence(view, uid) > 0 && !world->alive[uid] && world->emails[uid] == 0)
            world->unsure[uid] = true;
    }
    world_resync(world, false);
    world_check(world);
    lab_recount(lab);
}

static void play(uint32_t seed, bool faults, bool deaths)
{
    struct world *world = MEM_NEW(struct world);
    world->seed = seed * 7919 + 1;
    lab_init(&world->lab);
    world_open(world);
    for (int step = 0; step < STEPS; step++) {
        unsigned who = dice(world, SESSIONS);
        uint32_t what = dice(world, 100);
        struct session *session = &world->actors[who].session;
        if (what < 12)
            world_append(world);
        else if (what < 50)
            actor_act(world, &world->actors[who], 1u << who);
        else if (what < 70) {
            session_poll(session, dice(world, 2) != 0);
            session_check(session);
            check_identity(world, session->view);
        } else if (what < 92)
            event_base_loop(world->lab.base, EVLOOP_NONBLOCK);
        else if (what < 94)
            store_mem_delay(world->lab.store, dice(world, 4));
        else if (what < 96) {
            world_wait(world);
            world_check(world);
        } else if (what < 98 && faults)
            world_fault(world);
        else if (what == 98 && deaths)
            world_die(world);
        else if (what == 99 && deaths && world->append == NULL)
            world_break(world);
        collect_answers(world);
    }
    world_wait(world);
    world_check(world);
    world_close(world);
    lab_restart(&world->lab, true);
    world_open(world);
    world_check(world);
    lab_recount(&world->lab);
    world_close(world);
    lab_finish(&world->lab);
    free(world);
}

static void test_quiet(void **state)
{
    for (uint32_t seed = 1; seed <= 15; seed++)
        play(seed, false, false);
}

static void test_faults(void **state)
{
    for (uint32_t seed = 100; seed < 115; seed++)
        play(seed, true, false);
}

static void test_deaths(void **state)
{
    for (uint32_t seed = 200; seed < 215; seed++)
        play(seed, true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_deaths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
