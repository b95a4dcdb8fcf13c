/* See test_lab.h. */
#include "mailbox/test_lab.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

enum { TURNS_MAX = 2000000 };

static struct store *lab_volume(void *arg, uint32_t volume)
{
    struct lab *lab = arg;
    return volume == 0 ? lab->store : NULL;
}

struct summary_call {
    mailbox_summarized *summarized;
    void *arg;
};

static void summary_later(evutil_socket_t fd, short what, void *arg)
{
    struct summary_call *call = arg;
    call->summarized(call->arg, SLICE_LITERAL("summary"));
    free(call);
}

static void lab_summarize(void *arg, int fd, struct slice bytes, mailbox_summarized *summarized,
                          void *done_arg)
{
    struct lab *lab = arg;
    struct timeval now = {0, 0};
    struct summary_call *call = MEM_NEW(struct summary_call);
    *call = (struct summary_call){summarized, done_arg};
    event_base_once(lab->base, -1, EV_TIMEOUT, summary_later, call, &now);
}

struct store_local_options lab_local = {.create = true};

/* RESTANTE_TEST_ENGINE=local: the same on the engine that keeps mail. */
static struct store *open_local(struct lab *lab)
{
    struct error error = {0};
    struct store *store = NULL;
    if (!store_local_open(lab->base, lab->directory, &lab_local, &store, &error))
        fail_msg("%s", error.text);
    return store;
}

static void lab_open(struct lab *lab)
{
    if (lab->directory[0] != 0) {
        lab->store = open_local(lab);
    } else if (lab->image != NULL) {
        lab->store = store_mem_reopen(lab->base, &lab->image);
    } else {
        lab->store = store_mem_open(lab->base);
    }
    lab->env = mailbox_env_create(&lab->options);
}

static void lab_start(struct lab *lab)
{
    lab->base = event_base_new();
    lab->options = (struct mailbox_options){.base = lab->base,
                                            .volume = lab_volume,
                                            .summarize = lab_summarize,
                                            .arg = lab,
                                            .grace_s = 1000,
                                            .mailboxes_max = 2000,
                                            .keywords_max = 100};
    lab->ref = (struct mailbox_account_ref){.id = id_random()};
    lab_open(lab);
}

void lab_init(struct lab *lab)
{
    const char *engine = getenv("RESTANTE_TEST_ENGINE");
    *lab = (struct lab){0};
    if (engine != NULL && strcmp(engine, "local") == 0) {
        const char *parent = getenv("TMPDIR");
        snprintf(lab->directory, sizeof(lab->directory), "%s/restante-mailbox-XXXXXX",
                 parent == NULL ? "/tmp" : parent);
        assert_non_null(mkdtemp(lab->directory));
    }
    lab_start(lab);
}

void lab_init_at(struct lab *lab, const char *directory, struct id account)
{
    *lab = (struct lab){0};
    snprintf(lab->directory, sizeof(lab->directory), "%s", directory);
    lab_start(lab);
    lab->ref.id = account;
}

void lab_turn(struct lab *lab)
{
    event_base_loop(lab->base, EVLOOP_ONCE);
}

void lab_settle(struct lab *lab)
{
    for (int i = 0; i < 60; i++)
        event_base_loop(lab->base, EVLOOP_NONBLOCK);
}

void lab_finish(struct lab *lab)
{
    mailbox_account_release(&lab->account);
    mailbox_env_destroy(&lab->env);
    store_close(&lab->store);
    store_mem_image_destroy(&lab->image);
    lab_settle(lab);
    event_base_free(lab->base);
    if (lab->directory[0] != 0) {
        char command[256];
        snprintf(command, sizeof(command), "rm -rf '%s'", lab->directory);
        assert_int_equal(system(command), 0);
    }
}

void lab_restart(struct lab *lab, bool crash)
{
    mailbox_account_release(&lab->account);
    if (lab->directory[0] != 0) {
        mailbox_env_destroy(&lab->env);
        store_close(&lab->store);
    } else if (crash) {
        /* What was on its way never answers: the memory of it goes with the "process". */
        lab->image = store_mem_crash(&lab->store);
        mailbox_env_destroy(&lab->env);
    } else {
        lab_settle(lab);
        mailbox_env_destroy(&lab->env);
        lab->image = store_mem_close_keep(&lab->store);
    }
    lab_open(lab);
}

void lab_wait(struct lab *lab, struct answer *answer)
{
    for (int i = 0; !answer->done; i++) {
        assert_true(i < TURNS_MAX);
        lab_turn(lab);
    }
    assert_int_equal(answer->times, 1);
}

void answer_finish(struct answer *answer)
{
    uidset_finish(&answer->uids);
    uidset_finish(&answer->target);
    buf_finish(&answer->bytes);
    *answer = (struct answer){0};
}

static void answered(struct answer *answer, enum mailbox_result result)
{
    answer->done = true;
    answer->times++;
    answer->result = result;
}

void on_done(void *arg, enum mailbox_result result)
{
    answered(arg, result);
}

void on_append(void *arg, enum mailbox_result result, const struct mailbox_appended *appended)
{
    struct answer *answer = arg;
    answered(answer, result);
    uidset_add_set(&answer->uids, &appended->uids);
    answer->uidvalidity = appended->uidvalidity;
}

void on_store(void *arg, enum mailbox_result result, const struct uidset *modified)
{
    struct answer *answer = arg;
    answered(answer, result);
    uidset_add_set(&answer->uids, modified);
}

void on_copy(void *arg, enum mailbox_result result, const struct mailbox_copied *copied)
{
    struct answer *answer = arg;
    answered(answer, result);
    uidset_add_set(&answer->uids, &copied->source);
    uidset_add_set(&answer->target, &copied->target);
    answer->uidvalidity = copied->uidvalidity;
}

void on_read(void *arg, enum mailbox_result result, struct evbuffer *bytes)
{
    struct answer *answer = arg;
    size_t size = evbuffer_get_length(bytes);
    answered(answer, result);
    if (size > 0)
        evbuffer_remove(bytes, buf_extend(&answer->bytes, size), size);
}

void on_view(void *arg, enum mailbox_result result, struct mailbox_view *view)
{
    struct answer *answer = arg;
    answered(answer, result);
    answer->view = view;
}

void on_delivered(void *arg, size_t recipient, enum mailbox_result result, bool duplicate)
{
    struct answer *answer = (struct answer *)arg + recipient;
    answered(answer, result);
    answer->duplicate = duplicate;
}

static void on_account(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    answered(arg, result);
}

enum mailbox_result lab_account(struct lab *lab)
{
    struct answer answer = {0};
    mailbox_account_release(&lab->account);
    lab->account = mailbox_account_open(lab->env, &lab->ref, on_account, &answer);
    assert_false(answer.done);
    lab_wait(lab, &answer);
    return answer.result;
}

struct mailbox_view *lab_view(struct lab *lab, const char *name)
{
    struct answer answer = {0};
    struct mailbox_view *view =
        mailbox_view_open(lab->account, slice_str(name), false, on_view, &answer);
    assert_false(answer.done);
    lab_wait(lab, &answer);
    assert_int_equal(answer.result, MAILBOX_OK);
    assert_ptr_equal(view, answer.view);
    return view;
}

int lab_memfd(const char *text)
{
    int fd = memfd_create("message", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

void lab_append_start(struct lab *lab, const char *name, unsigned count, struct answer *answer)
{
    static const char text[] = "Subject: x\r\n\r\nbody\r\n";
    struct mailbox_source *sources = mem_array(count, sizeof(*sources));
    int fd = lab_memfd(text);
    for (unsigned i = 0; i < count; i++)
        sources[i] = (struct mailbox_source){.bytes = {fd, NULL, sizeof(text) - 1}};
    mailbox_append(lab->account, slice_str(name), sources, count, on_append, answer);
    close(fd); /* the mapping lives on its own */
    free(sources);
}

enum mailbox_result lab_append(struct lab *lab, const char *name, unsigned count)
{
    struct answer answer = {0};
    lab_append_start(lab, name, count, &answer);
    assert_false(answer.done);
    lab_wait(lab, &answer);
    if (answer.result == MAILBOX_OK)
        assert_int_equal(uidset_count(&answer.uids), count);
    enum mailbox_result result = answer.result;
    answer_finish(&answer);
    return result;
}

enum mailbox_result lab_deliver(struct lab *lab, const char *text, bool *duplicate)
{
    struct answer answer = {0};
    struct mailbox_recipient recipient = {.account = lab->ref,
                                          .prefix = SLICE_LITERAL("Return-Path: <a@b>\r\n")};
    int fd = lab_memfd(text);
    mailbox_deliver(lab->env, &(struct mailbox_bytes){fd, NULL, strlen(text)}, &recipient, 1,
                    on_delivered, &answer);
    assert_false(answer.done);
    lab_wait(lab, &answer);
    close(fd);
    if (duplicate != NULL)
        *duplicate = answer.duplicate;
    return answer.result;
}

enum mailbox_result lab_store(struct lab *lab, struct mailbox_view *view, uint32_t first,
                              uint32_t last, enum mailbox_store_mode mode, uint32_t flags)
{
    struct answer answer = {0};
    struct mailbox_store change = {.mode = mode, .flags = {.system = flags}};
    struct uidset uids = {0};
    uidset_add(&uids, first, last);
    mailbox_store(view, &uids, &change, on_store, &answer);
    uidset_finish(&uids);
    lab_wait(lab, &answer);
    enum mailbox_result result = answer.result;
    answer_finish(&answer);
    return result;
}

enum mailbox_result lab_expunge(struct lab *lab, struct mailbox_view *view, uint32_t first,
                                uint32_t last)
{
    struct answer answer = {0};
    struct uidset uids = {0};
    uidset_add(&uids, first, last);
    mailbox_remove(view, &uids, on_done, &answer);
    uidset_finish(&uids);
    lab_wait(lab, &answer);
    return answer.result;
}

enum mailbox_result lab_copy(struct lab *lab, struct mailbox_view *view, uint32_t first,
                             uint32_t last, const char *target, bool move)
{
    struct answer answer = {0};
    struct uidset uids = {0};
    uidset_add(&uids, first, last);
    mailbox_copy(view, &uids, slice_str(target), move, on_copy, &answer);
    uidset_finish(&uids);
    lab_wait(lab, &answer);
    if (answer.result == MAILBOX_OK)
        assert_true(uidset_count(&answer.uids) == uidset_count(&answer.target));
    enum mailbox_result result = answer.result;
    answer_finish(&answer);
    return result;
}

struct mailbox_info lab_info(struct lab *lab, const char *name)
{
    struct mailbox_info info = {0};
    mailbox_find(lab->account, slice_str(name), &info);
    return info;
}

void lab_read(struct lab *lab, struct mailbox_view *view, uint32_t uid, struct buf *out)
{
    struct answer answer = {0};
    mailbox_read(view, uid, 0, UINT64_MAX, on_read, &answer);
    lab_wait(lab, &answer);
    assert_int_equal(answer.result, MAILBOX_OK);
    buf_add_slice(out, buf_slice(&answer.bytes));
    answer_finish(&answer);
}

/* ---- a session ------------------------------------------------------------------------------ */

static void session_ask(struct session *session)
{
    for (uint32_t i = 0; i < session->count; i++) {
        if (session->uids[i] != 0)
            continue;
        const struct mailbox_entry *entry = mailbox_view_at(session->view, i + 1);
        assert_non_null(entry);
        session->uids[i] = entry->uid;
        session->flags[i] = entry->flags;
    }
}

static void told_expunge(void *arg, uint32_t sequence, uint32_t uid)
{
    struct session *session = arg;
    assert_in_range(sequence, 1, session->count);
    assert_int_equal(session->uids[sequence - 1], uid);
    session->count--;
    memmove(session->uids + sequence - 1, session->uids + sequence,
            (session->count - sequence + 1) * sizeof(*session->uids));
    memmove(session->flags + sequence - 1, session->flags + sequence,
            (session->count - sequence + 1) * sizeof(*session->flags));
}

static void told_flags(void *arg, uint32_t sequence, const struct mailbox_entry *entry)
{
    struct session *session = arg;
    assert_in_range(sequence, 1, session->count);
    assert_int_equal(session->uids[sequence - 1], entry->uid);
    session->flags[sequence - 1] = entry->flags;
}

static void told_exists(void *arg, uint32_t count)
{
    struct session *session = arg;
    assert_true(count > session->count);
    session->uids = mem_grow(session->uids, count, sizeof(*session->uids));
    session->flags = mem_grow(session->flags, count, sizeof(*session->flags));
    for (uint32_t i = session->count; i < count; i++)
        session->uids[i] = 0;
    session->count = count;
}

static void session_changed(void *arg)
{
    struct session *session = arg;
    session->notified++;
}

void session_begin(struct session *session, struct mailbox_view *view)
{
    *session = (struct session){.view = view};
    mailbox_view_notify(view, session_changed, session);
    if (mailbox_view_count(view) > 0)
        told_exists(session, mailbox_view_count(view));
    session_ask(session);
}

void session_poll(struct session *session, bool expunges)
{
    static const struct mailbox_teller teller = {told_expunge, told_flags, told_exists};
    mailbox_view_poll(session->view, expunges, &teller, session);
    session_ask(session);
    session->notified = 0;
    if (expunges)
        assert_false(mailbox_view_pending(session->view));
}

void session_check(struct session *session)
{
    uint32_t count = mailbox_view_count(session->view);
    assert_int_equal(count, session->count);
    for (uint32_t i = 0; i < count; i++) {
        const struct mailbox_entry *entry = mailbox_view_at(session->view, i + 1);
        assert_non_null(entry);
        assert_int_equal(entry->uid, session->uids[i]);
        assert_int_equal(mailbox_view_sequence(session->view, entry->uid), i + 1);
        assert_int_equal(mailbox_view_sequence_from(session->view, entry->uid), i + 1);
        if (i > 0)
            assert_true(session->uids[i - 1] < entry->uid);
        assert_int_equal(mailbox_view_sequence_from(session->view, entry->uid + 1), i + 2);
    }
    assert_null(mailbox_view_at(session->view, count + 1));
    assert_null(mailbox_view_at(session->view, 0));
}

void session_finish(struct session *session)
{
    mailbox_view_close(&session->view);
    free(session->uids);
    free(session->flags);
    *session = (struct session){0};
}

/* ---- recounting ----------------------------------------------------------------------------- */

struct names {
    struct mailbox_info infos[64];
    char names[64][64];
    size_t count;
};

static void collect_name(void *arg, const struct mailbox_info *info)
{
    struct names *names = arg;
    if (!info->selectable)
        return;
    assert_true(names->count < 64);
    names->infos[names->count] = *info;
    snprintf(names->names[names->count++], 64, "%.*s", SLICE_PRINT(info->name));
}

static void recount_box(struct lab *lab, const char *name, const struct mailbox_info *info)
{
    struct mailbox_view *view = lab_view(lab, name);
    uint32_t unseen = 0, deleted = 0, count = mailbox_view_count(view);
    uint64_t size = 0;

    for (uint32_t i = 1; i <= count; i++) {
        const struct mailbox_entry *entry = mailbox_view_at(view, i);
        unseen += (entry->flags & MAILBOX_SEEN) == 0;
        deleted += (entry->flags & MAILBOX_DELETED) != 0;
        size += entry->size;
        assert_true(entry->uid < info->uidnext);
        assert_true(entry->modseq <= info->modseq);
    }
    assert_int_equal(count, info->messages);
    assert_int_equal(unseen, info->unseen);
    assert_int_equal(deleted, info->deleted);
    assert_int_equal(size, info->size);
    if (count > 0) { /* every message can be read, whole */
        struct buf bytes = {0};
        const struct mailbox_entry *entry = mailbox_view_at(view, count);
        uint32_t expected = entry->size;
        lab_read(lab, view, entry->uid, &bytes);
        assert_int_equal(bytes.size, expected);
        buf_finish(&bytes);
    }
    mailbox_view_close(&view);
}

void lab_recount(struct lab *lab)
{
    struct names *names = MEM_NEW(struct names);
    struct mailbox_usage usage;
    uint64_t messages = 0, size = 0;

    mailbox_list(lab->account, collect_name, names);
    for (size_t i = 0; i < names->count; i++) {
        recount_box(lab, names->names[i], &names->infos[i]);
        messages += names->infos[i].messages;
        size += names->infos[i].size;
    }
    mailbox_account_usage(lab->account, &usage);
    assert_int_equal(usage.messages, messages);
    assert_int_equal(usage.bytes, size);
    free(names);
}
