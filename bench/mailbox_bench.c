/*
 * What a large mailbox costs: opening 100,000 messages, sequence numbers, one flag, all flags, on
 * the store in memory, so that only this layer is measured (the loop's turns are in it).
 * Usage: bench-mailbox [messages]
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "mailbox/mailbox_priv.h"

static struct event_base *base;
static struct store *store;
static bool done;

static struct store *volume(void *arg, uint32_t number)
{
    return store;
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void wait_done(void)
{
    while (!done)
        event_base_loop(base, EVLOOP_ONCE);
    done = false;
}

static void on_account(void *arg, enum mailbox_result result, struct mailbox_account *account)
{
    ASSERT(result == MAILBOX_OK);
    done = true;
}

static void on_append(void *arg, enum mailbox_result result,
                      const struct mailbox_appended *appended)
{
    ASSERT(result == MAILBOX_OK);
    done = true;
}

static void on_view(void *arg, enum mailbox_result result, struct mailbox_view *view)
{
    ASSERT(result == MAILBOX_OK);
    done = true;
}

static void on_copy(void *arg, enum mailbox_result result, const struct mailbox_copied *copied)
{
    ASSERT(result == MAILBOX_OK);
    done = true;
}

static void on_store(void *arg, enum mailbox_result result, const struct uidset *modified)
{
    ASSERT(result == MAILBOX_OK);
    done = true;
}

static void store_flag(struct mailbox_view *view, uint32_t first, uint32_t last, uint32_t flag)
{
    struct uidset uids = {0};
    struct mailbox_store change = {.mode = MAILBOX_STORE_ADD, .flags = {.system = flag}};
    uidset_add(&uids, first, last);
    mailbox_store(view, &uids, &change, on_store, NULL);
    uidset_finish(&uids);
    wait_done();
}

static void fill(struct mailbox_account *account, uint32_t messages)
{
    struct mailbox_source source = {.bytes = {-1, "a\r\n\r\n", 4}};
    struct uidset one = {0};
    mailbox_append(account, SLICE_LITERAL("INBOX"), &source, 1, on_append, NULL);
    wait_done();
    uidset_add(&one, 1, UINT32_MAX);
    for (uint32_t count = 1; count < messages;) { /* doubles each time */
        struct mailbox_view *view =
            mailbox_view_open(account, SLICE_LITERAL("INBOX"), false, on_view, NULL);
        wait_done();
        uint32_t last =
            mailbox_view_at(view, messages - count < count ? messages - count : count)->uid;
        struct uidset uids = {0};
        uidset_add(&uids, 1, last);
        mailbox_copy(view, &uids, SLICE_LITERAL("INBOX"), false, on_copy, NULL);
        wait_done();
        count += messages - count < count ? messages - count : count;
        uidset_finish(&uids);
        mailbox_view_close(&view);
    }
    uidset_finish(&one);
}

int main(int argc, char **argv)
{
    uint32_t messages = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    struct mailbox_account_ref ref = {.id = id_random()};

    base = event_base_new();
    store = store_mem_open(base);
    struct mailbox_options options = {
        .base = base, .volume = volume, .mailboxes_max = 100, .keywords_max = 100};
    struct mailbox_env *env = mailbox_env_create(&options);
    struct mailbox_account *account = mailbox_account_open(env, &ref, on_account, NULL);
    wait_done();
    double start = now_us();
    fill(account, messages);
    printf("fill by COPY: %.2f us a message\n", (now_us() - start) / messages);
    env->options.memory_budget = 1;
    env_shrink(env); /* so that it is loaded again */

    start = now_us();
    struct mailbox_view *view =
        mailbox_view_open(account, SLICE_LITERAL("INBOX"), false, on_view, NULL);
    wait_done();
    printf("open %u messages: %.2f ms, %.1f bytes a message\n", mailbox_view_count(view),
           (now_us() - start) / 1000, (double)view->contents->bytes / messages);

    uint32_t sum = 0, state = 1;
    enum { LOOKUPS = 1000000 };
    start = now_us();
    for (int i = 0; i < LOOKUPS; i++) {
        state = state * 1664525 + 1013904223;
        sum += mailbox_view_at(view, 1 + (state >> 8) % messages)->uid;
    }
    printf("sequence to entry: %.3f us\n", (now_us() - start) / LOOKUPS);
    start = now_us();
    for (int i = 0; i < LOOKUPS; i++) {
        state = state * 1664525 + 1013904223;
        sum += mailbox_view_sequence(view, 1 + (state >> 8) % messages);
    }
    printf("UID to sequence: %.3f us\n", (now_us() - start) / LOOKUPS);
    start = now_us();
    for (uint32_t i = 1; i <= 1000; i++)
        store_flag(view, i, i, MAILBOX_SEEN);
    printf("STORE of one, answered one by one: %.1f us\n", (now_us() - start) / 1000);
    start = now_us();
    store_flag(view, 1, UINT32_MAX, MAILBOX_FLAGGED);
    printf("STORE of all: %.2f us a message\n", (now_us() - start) / messages);
    printf("a view: %zu bytes\n", sizeof(struct mailbox_view));
    mailbox_view_close(&view);
    mailbox_account_release(&account);
    mailbox_env_destroy(&env);
    store_close(&store);
    event_base_free(base);
    return sum == 0;
}
