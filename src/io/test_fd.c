#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/fd.h"

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void sealed_memory(void **state)
{
    char back[5];
    int fd = fd_memory_create("test");
    assert_true(fd_memory_write(fd, "hello", 5));
    assert_false(fd_memory_verify(fd, 5)); /* not sealed */
    assert_true(fd_memory_seal(fd));
    assert_true(fd_memory_verify(fd, 5));
    assert_false(fd_memory_verify(fd, 4));
    assert_false(fd_memory_write(fd, "x", 1));
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_true(fd_pread_all(fd, back, 5, 0));
    assert_memory_equal(back, "hello", 5);
    assert_false(fd_pread_all(fd, back, 5, 1));
    assert_int_equal(errno, 0);
    fd_close(&fd);
    assert_int_equal(fd, -1);
}

/* Each seal that is missing must be noticed. */
static void weak_seals(void **state)
{
    const int seals[] = {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};
    for (size_t missing = 0; missing < 4; missing++) {
        int fd = fd_memory_create("test");
        assert_true(fd_memory_write(fd, "hello", 5));
        for (size_t i = 4; i-- > 0;)
            if (i != missing)
                assert_int_equal(fcntl(fd, F_ADD_SEALS, seals[i]), 0);
        assert_false(fd_memory_verify(fd, 5));
        fd_close(&fd);
    }
    int pair[2];
    assert_true(fd_socketpair(SOCK_STREAM, pair));
    assert_false(fd_memory_verify(pair[0], 0));
    fd_close(&pair[0]);
    fd_close(&pair[1]);
}

static void passing(void **state)
{
    int before = open_descriptors();
    int pair[2], got[FD_PASS_MAX], count;
    char bytes[16];
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    for (int n = 0; n <= FD_PASS_MAX; n++) {
        int fds[FD_PASS_MAX];
        for (int i = 0; i < n; i++)
            fds[i] = fd_memory_create("test");
        assert_int_equal(fd_send(pair[0], "abc", 3, fds, n), 3);
        assert_int_equal(fd_receive(pair[1], bytes, sizeof(bytes), got, &count), 3);
        assert_int_equal(count, n);
        for (int i = 0; i < n; i++) {
            assert_true((fcntl(got[i], F_GETFD) & FD_CLOEXEC) != 0);
            fd_close(&got[i]);
            fd_close(&fds[i]);
        }
    }
    assert_int_equal(fd_receive(pair[1], bytes, sizeof(bytes), got, &count), -1);
    assert_int_equal(errno, EAGAIN);
    /* A packet that does not fit brings no descriptor either. */
    assert_int_equal(fd_send(pair[0], "0123456789abcdefXX", 18, &pair[0], 1), 18);
    assert_int_equal(fd_receive(pair[1], bytes, sizeof(bytes), got, &count), -1);
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(count, 0);
    fd_close(&pair[0]);
    assert_int_equal(fd_receive(pair[1], bytes, sizeof(bytes), got, &count), 0);
    assert_int_equal(fd_send(pair[1], "x", 1, NULL, 0), -1);
    assert_int_equal(errno, EPIPE);
    fd_close(&pair[1]);
    assert_int_equal(open_descriptors(), before);
}

/* More descriptors than we take: the packet is refused and nothing stays open. */
static void too_many(void **state)
{
    int before = open_descriptors();
    int pair[2], got[FD_PASS_MAX], count, fds[FD_PASS_MAX + 3];
    char bytes[16];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(fds))];
    } control = {0};
    struct iovec iov = {.iov_base = bytes, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    assert_true(fd_socketpair(SOCK_SEQPACKET, pair));
    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
        fds[i] = pair[0];
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fds))};
    memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
    assert_int_equal(sendmsg(pair[0], &message, 0), 1);
    assert_int_equal(fd_receive(pair[1], bytes, sizeof(bytes), got, &count), -1);
    assert_int_equal(errno, EMSGSIZE);
    fd_close(&pair[0]);
    fd_close(&pair[1]);
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_memory),
        cmocka_unit_test(weak_seals),
        cmocka_unit_test(passing),
        cmocka_unit_test(too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
