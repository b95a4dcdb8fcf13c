#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, BLOCK = 256 * 1024 };

struct loop {
    int epoll;
    char *block; /* shared read buffer: nothing stays in it between events */
};

uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void *need(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

struct loop *loop_create(void)
{
    struct loop *loop = need(calloc(1, sizeof(*loop)));
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->block = need(malloc(BLOCK));
    return loop;
}

void loop_destroy(struct loop *loop)
{
    close(loop->epoll);
    free(loop->block);
    free(loop);
}

static void watch(struct conn *conn, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    epoll_ctl(conn->loop->epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

static void finish_answer(struct conn *conn, enum outcome outcome)
{
    conn_answered *answered = conn->answered;
    conn->answered = NULL;
    if (answered != NULL)
        answered(conn, outcome, conn->line);
}

static void lost(struct conn *conn)
{
    conn->gone = true;
    conn->line[0] = '\0';
    finish_answer(conn, OUTCOME_GONE);
}

/* 1: a complete answer was seen and its callback run; the connection may be gone after it. */
static bool line_done(struct conn *conn)
{
    char *line = conn->line;
    size_t size = conn->line_size;
    while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
        size--;
    line[size] = '\0';
    conn->line_size = 0;
    switch (conn->want) {
    case ANSWER_LINE:
        finish_answer(conn, line[0] == '-' || line[0] == '5' ? OUTCOME_NO : OUTCOME_OK);
        return true;
    case ANSWER_TAG:
        if (size > 2 && line[0] == 'x' && line[1] == ' ') {
            finish_answer(conn, strncmp(line + 2, "OK", 2) == 0 ? OUTCOME_OK : OUTCOME_NO);
            return true;
        }
        if (size > 1 && line[size - 1] == '}') {
            char *open = strrchr(line, '{');
            if (open != NULL)
                conn->literal = strtoull(open + 1, NULL, 10);
        }
        return false;
    case ANSWER_DOT:
        if (!conn->dotted) {
            conn->dotted = line[0] == '+';
            if (!conn->dotted)
                finish_answer(conn, OUTCOME_NO);
            return !conn->dotted;
        }
        if (size == 1 && line[0] == '.' && !conn->line_long) {
            conn->dotted = false;
            finish_answer(conn, OUTCOME_OK);
            return true;
        }
        return false;
    case ANSWER_REPLY:
        if (size > 3 && line[3] == '-')
            return false;
        if (line[0] != '2' && line[0] != '3') {
            finish_answer(conn, OUTCOME_NO);
            return true;
        }
        if (--conn->count > 0)
            return false;
        finish_answer(conn, OUTCOME_OK);
        return true;
    case ANSWER_MATCH:
        if (strstr(line, conn->match) == NULL)
            return false;
        finish_answer(conn, OUTCOME_OK);
        return true;
    }
    return false;
}

static void take(struct conn *conn, const char *bytes, size_t size)
{
    conn->received += size;
    while (size > 0 && conn->answered != NULL) {
        if (conn->literal > 0) {
            size_t skip = conn->literal < size ? (size_t)conn->literal : size;
            conn->literal -= skip;
            bytes += skip;
            size -= skip;
            continue;
        }
        const char *end = memchr(bytes, '\n', size);
        size_t part = end == NULL ? size : (size_t)(end - bytes) + 1;
        size_t room = sizeof(conn->line) - 1 - conn->line_size;
        if (conn->line_size == 0)
            conn->line_long = false;
        if (part <= room) {
            memcpy(conn->line + conn->line_size, bytes, part);
            conn->line_size += part;
        } else {
            /* Keep the end: that is where a literal is announced. */
            size_t tail = part < 64 ? part : 64;
            memcpy(conn->line + sizeof(conn->line) - 1 - tail, bytes + part - tail, tail);
            conn->line_size = sizeof(conn->line) - 1;
            conn->line_long = true;
        }
        bytes += part;
        size -= part;
        if (end != NULL && line_done(conn) && conn->gone)
            return;
    }
}

static bool again(struct conn *conn, ssize_t result)
{
    if (conn->ssl == NULL)
        return errno == EAGAIN || errno == EINTR;
    int error = SSL_get_error(conn->ssl, (int)result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static void flush(struct conn *conn)
{
    while (conn->out_at < 3) {
        const char **out = &conn->out[conn->out_at];
        size_t *size = &conn->out_size[conn->out_at];
        if (*size == 0) {
            conn->out_at++;
            continue;
        }
        ssize_t sent;
        if (conn->ssl != NULL) {
            sent = SSL_write(conn->ssl, *out, (int)*size);
        } else {
            struct iovec parts[3];
            int count = 0;
            for (int i = conn->out_at; i < 3; i++)
                parts[count++] = (struct iovec){(void *)(uintptr_t)conn->out[i], conn->out_size[i]};
            sent = writev(conn->fd, parts, count);
        }
        if (sent <= 0) {
            if (again(conn, sent))
                watch(conn, EPOLLIN | EPOLLOUT);
            else
                lost(conn);
            return;
        }
        for (int i = conn->out_at; i < 3 && sent > 0; i++) {
            size_t part = (size_t)sent < conn->out_size[i] ? (size_t)sent : conn->out_size[i];
            conn->out[i] += part;
            conn->out_size[i] -= part;
            sent -= (ssize_t)part;
        }
    }
    watch(conn, EPOLLIN);
}

static void readable(struct conn *conn)
{
    while (!conn->gone) {
        ssize_t got = conn->ssl != NULL ? SSL_read(conn->ssl, conn->loop->block, BLOCK)
                                        : read(conn->fd, conn->loop->block, BLOCK);
        if (got > 0) {
            take(conn, conn->loop->block, (size_t)got);
            if (conn->ssl == NULL && got < BLOCK)
                return;
        } else {
            if (got == 0 || !again(conn, got))
                lost(conn);
            return;
        }
    }
}

static void event(struct conn *conn, uint32_t events)
{
    if (conn->connecting) {
        conn->connecting = false;
        conn->handshaking = conn->ssl != NULL;
    }
    if (conn->handshaking) {
        int done = SSL_connect(conn->ssl);
        if (done != 1) {
            if (!again(conn, done))
                lost(conn);
            else
                watch(conn, SSL_want_write(conn->ssl) ? EPOLLIN | EPOLLOUT : EPOLLIN);
            return;
        }
        conn->handshaking = false;
        watch(conn, EPOLLIN);
    }
    if (events & EPOLLOUT)
        flush(conn);
    if (!conn->gone && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        readable(conn);
}

bool loop_run(struct loop *loop, const bool *done, uint64_t deadline)
{
    struct epoll_event events[EVENTS];
    while (!*done) {
        uint64_t now = now_us();
        if (now >= deadline)
            return false;
        uint64_t left = (deadline - now) / 1000 + 1;
        int count = epoll_wait(loop->epoll, events, EVENTS, left > 1000 ? 1000 : (int)left);
        for (int i = 0; i < count; i++) {
            struct conn *conn = events[i].data.ptr;
            if (!conn->gone)
                event(conn, events[i].events);
            if (conn->gone) {
                if (conn->ssl != NULL)
                    SSL_free(conn->ssl);
                close(conn->fd);
                free(conn);
            }
        }
    }
    return true;
}

struct conn *conn_open(struct loop *loop, uint16_t port, SSL_CTX *tls, void *user,
                       conn_answered *greeted)
{
    struct conn *conn = need(calloc(1, sizeof(*conn)));
    struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    conn->loop = loop;
    conn->user = user;
    conn->out_at = 3;
    conn->want = ANSWER_LINE;
    conn->answered = greeted;
    conn->connecting = true;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (conn->fd < 0 || (connect(conn->fd, (struct sockaddr *)&there, sizeof(there)) != 0 &&
                         errno != EINPROGRESS)) {
        perror("connect");
        exit(2);
    }
    if (tls != NULL) {
        conn->ssl = need(SSL_new(tls));
        SSL_set_fd(conn->ssl, conn->fd);
        SSL_set_connect_state(conn->ssl);
    }
    struct epoll_event event = {.events = tls != NULL ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = conn};
    epoll_ctl(loop->epoll, EPOLL_CTL_ADD, conn->fd, &event);
    return conn;
}

void conn_ask(struct conn *conn, const char *a, size_t a_size, const char *b, size_t b_size,
              const char *c, size_t c_size, enum answer want, conn_answered *answered)
{
    conn->out[0] = a;
    conn->out[1] = b;
    conn->out[2] = c;
    conn->out_size[0] = a_size;
    conn->out_size[1] = b_size;
    conn->out_size[2] = c_size;
    conn->out_at = 0;
    conn->want = want;
    conn->answered = answered;
    flush(conn);
}

void conn_ask_text(struct conn *conn, const char *text, enum answer want, conn_answered *answered)
{
    conn_ask(conn, text, strlen(text), NULL, 0, NULL, 0, want, answered);
}

void conn_close(struct conn *conn)
{
    /* A reset keeps this machine's port table free of connections in TIME_WAIT. The loop frees it
     * at its next event, which the shutdown brings. */
    struct linger hard = {.l_onoff = 1};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    shutdown(conn->fd, SHUT_RDWR);
    conn->gone = true;
    conn->answered = NULL;
}
