/*
 * A pump between a TLS client and a session, all in one thread and one loop: every byte both ways
 * with sides that read slowly, last bytes at each kind of end, clients that are not clients, and
 * the exporter that both sides must agree on.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/fd.h"
#include "tls/tls.h"

enum { MUCH = 3 * 1024 * 1024 + 17 };

static struct event_base *base;
static SSL_CTX *server, *client_context;
static int established, failed, ended;
static int session; /* the clear end */
static uint8_t exporter[32];
static char version[17], sni[100], reason[200];
static SSL *client;
static char host[] = "mail.example.org";
static int client_fd;

static void on_established(struct pump *pump, void *arg, const struct tls_facts *facts, int clear)
{
    established++;
    session = clear;
    assert_true(facts->has_exporter);
    memcpy(exporter, facts->exporter, sizeof(exporter));
    snprintf(version, sizeof(version), "%.*s", SLICE_PRINT(facts->version));
    snprintf(sni, sizeof(sni), "%.*s", SLICE_PRINT(facts->sni));
}

static void on_failed(struct pump *pump, void *arg, const char *text)
{
    failed++;
    snprintf(reason, sizeof(reason), "%s", text);
}

static void on_ended(struct pump *pump, void *arg)
{
    ended++;
}

static struct pump_owner owner = {
    .established = on_established, .failed = on_failed, .ended = on_ended};

static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static int setup(void **state)
{
    int pair[2];
    established = failed = ended = 0;
    session = -1;
    owner.base = base;
    owner.draining = true; /* linger one second only */
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    client_fd = pair[1];
    client = SSL_new(client_context);
    SSL_set_fd(client, client_fd);
    SSL_set_tlsext_host_name(client, host);
    assert_non_null(pump_create(&owner, NULL, server, pair[0], 30));
    return 0;
}

static int teardown(void **state)
{
    SSL_free(client);
    fd_close(&client_fd);
    fd_close(&session);
    while (established + failed > ended + failed)
        event_base_loop(base, EVLOOP_ONCE);
    return 0;
}

static void shake_hands(void)
{
    while (SSL_connect(client) != 1)
        turn();
    while (established == 0)
        turn();
}

static void facts(void **state)
{
    uint8_t mine[32];
    shake_hands();
    assert_string_equal(version, "TLSv1.3");
    assert_string_equal(sni, "mail.example.org");
    assert_int_equal(
        SSL_export_keying_material(client, mine, 32, "EXPORTER-Channel-Binding", 24, NULL, 0, 0),
        1); /* in TLS 1.3 no context and an empty one are the same (RFC 8446 7.5) */
    assert_memory_equal(mine, exporter, 32);
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + at / 977);
}

/* Both directions at once; each side takes only now and then. */
static void much_both_ways(void **state)
{
    static uint8_t bytes[50000];
    size_t up = 0, down = 0, up_got = 0, down_got = 0, size;
    shake_hands();
    while (up_got < MUCH || down_got < MUCH) {
        size_t n = MUCH - up < sizeof(bytes) ? MUCH - up : sizeof(bytes);
        for (size_t i = 0; i < n; i++)
            bytes[i] = pattern(up + i);
        if (n > 0 && SSL_write_ex(client, bytes, n, &size) == 1)
            up += size;
        n = MUCH - down < 9000 ? MUCH - down : 9000;
        for (size_t i = 0; i < n; i++)
            bytes[i] = pattern(down + i + 5);
        ssize_t sent = n > 0 ? send(session, bytes, n, MSG_DONTWAIT) : 0;
        down += sent > 0 ? (size_t)sent : 0;
        turn();
        ssize_t got = recv(session, bytes, 7001, MSG_DONTWAIT);
        for (ssize_t i = 0; i < got; i++)
            assert_int_equal(bytes[i], pattern(up_got++));
        if (SSL_read_ex(client, bytes, 5003, &size) == 1)
            for (size_t i = 0; i < size; i++)
                assert_int_equal(bytes[i], pattern(5 + down_got++));
    }
    assert_int_equal(ended, 0);
}

/* Reads all until the end and says how much came; -1: the end was an error. */
static long client_reads_all(void)
{
    static uint8_t bytes[16384];
    long total = 0;
    for (;;) {
        size_t size = 0;
        turn();
        if (SSL_read_ex(client, bytes, sizeof(bytes), &size) == 1) {
            total += (long)size;
            continue;
        }
        switch (SSL_get_error(client, 0)) {
        case SSL_ERROR_WANT_READ:
            break;
        case SSL_ERROR_ZERO_RETURN:
            return total;
        default:
            return -1;
        }
    }
}

/* The session says its last word and closes: it arrives, with close_notify behind, although the
 * client had sent something that nobody read. */
static void last_word_of_session(void **state)
{
    static uint8_t bytes[100000];
    size_t size;
    shake_hands();
    assert_int_equal(SSL_write_ex(client, "unread", 6, &size), 1);
    turn();
    ssize_t sent = send(session, bytes, sizeof(bytes), MSG_DONTWAIT);
    assert_true(sent > 0);
    fd_close(&session);
    assert_int_equal(SSL_write_ex(client, "more", 4, &size), 1);
    assert_int_equal(client_reads_all(), sent);
}

/* The client says its last word and half-closes: the session hears it all, then the end, and can
 * still answer. */
static void last_word_of_client(void **state)
{
    static uint8_t bytes[8192];
    size_t size, total = 0;
    shake_hands();
    for (int i = 0; i < 4; i++)
        assert_int_equal(SSL_write_ex(client, bytes, sizeof(bytes), &size), 1);
    SSL_shutdown(client);
    for (;;) {
        turn();
        ssize_t got = recv(session, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got == 0)
            break;
        total += got > 0 ? (size_t)got : 0;
    }
    assert_int_equal(total, 4 * sizeof(bytes));
    assert_int_equal(send(session, "answer", 6, 0), 6);
    fd_close(&session);
    assert_int_equal(client_reads_all(), 6);
    while (ended == 0)
        event_base_loop(base, EVLOOP_ONCE);
}

/* The client vanishes without a word: the session hears the end. */
static void client_vanishes(void **state)
{
    uint8_t byte;
    shake_hands();
    fd_close(&client_fd);
    while (recv(session, &byte, 1, MSG_DONTWAIT) != 0)
        turn();
    fd_close(&session);
    while (ended == 0)
        event_base_loop(base, EVLOOP_ONCE);
}

/* A broken record in the middle: that connection ends, nothing else does. */
static void broken_record(void **state)
{
    uint8_t byte;
    shake_hands();
    assert_true(write(client_fd, "\x17\x03\x03\x00\x10garbagegarbage!!", 21) == 21);
    while (recv(session, &byte, 1, MSG_DONTWAIT) != 0)
        turn();
    fd_close(&session);
    while (ended == 0)
        event_base_loop(base, EVLOOP_ONCE);
}

static void not_tls(void **state)
{
    assert_true(write(client_fd, "a LOGIN alice secret\r\n", 22) == 22);
    while (failed == 0)
        turn();
    assert_int_equal(established, 0);
    assert_true(reason[0] != '\0');
}

static void gone_before(void **state)
{
    fd_close(&client_fd);
    while (failed == 0)
        turn();
    assert_string_equal(reason, "disconnect");
}

static void too_old(void **state)
{
    SSL_set_max_proto_version(client, TLS1_1_VERSION);
    SSL_set_min_proto_version(client, TLS1_VERSION);
    SSL_set_cipher_list(client, "ALL:@SECLEVEL=0");
    for (int i = 0; i < 1000 && failed == 0; i++) {
        assert_int_not_equal(SSL_connect(client), 1);
        turn();
    }
    assert_int_equal(failed, 1);
}

static void cancelled(void **state)
{
    int pair[2];
    uint8_t byte;
    teardown(NULL);
    while (failed == 0) /* the pump of setup */
        turn();
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    struct pump *pump = pump_create(&owner, NULL, server, pair[0], 30);
    pump_cancel(&pump);
    assert_null(pump);
    assert_int_equal(read(pair[1], &byte, 1), 0);
    fd_close(&pair[1]);
    client = NULL;
    assert_int_equal(failed, 1); /* a cancelled one says nothing */
}

/* `restante-tls make` in a process of its own, as master runs it. */
static bool make_pair(int chain, int key)
{
    pid_t pid = fork();
    if (pid == 0) {
        dup2(chain, 103);
        dup2(key, 104);
        dup2(103, 3);
        dup2(104, 4);
        _exit(tls_certificate_make());
    }
    int status = 1;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static void wrong_pairs(void **state)
{
    struct error error = {""};
    int chain = fd_memory_create("chain"), key = fd_memory_create("key");
    int other_chain = fd_memory_create("chain"), other_key = fd_memory_create("key");
    int empty = fd_memory_create("empty");
    assert_true(make_pair(chain, key) && make_pair(other_chain, other_key));
    assert_null(tls_context_create(chain, other_key, &error));
    assert_null(tls_context_create(empty, key, &error));
    assert_null(tls_context_create(chain, empty, &error));
    assert_null(tls_context_create(key, chain, &error));
    assert_true(error.text[0] != '\0');
    SSL_CTX *good = tls_context_create(other_chain, other_key, &error);
    assert_non_null(good);
    SSL_CTX_free(good);
    const int all[] = {chain, key, other_chain, other_key, empty};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        close(all[i]);
}

static void make_contexts(void)
{
    struct error error = {""};
    int chain = fd_memory_create("chain"), key = fd_memory_create("key");
    assert_true(make_pair(chain, key));
    server = tls_context_create(chain, key, &error);
    assert_non_null(server);
    client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(client_context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    fd_close(&chain);
    fd_close(&key);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(facts),
        TEST(much_both_ways),
        TEST(last_word_of_session),
        TEST(client_vanishes),
        TEST(broken_record),
        TEST(last_word_of_client),
        TEST(not_tls),
        TEST(gone_before),
        TEST(too_old),
        TEST(cancelled),
        cmocka_unit_test(wrong_pairs),
    };
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    make_contexts();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    SSL_CTX_free(server);
    SSL_CTX_free(client_context);
    event_base_free(base);
    return result;
}
