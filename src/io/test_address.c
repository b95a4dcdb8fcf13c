#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/address.h"
#include "io/fd.h"

static bool parse(const char *text, struct address *address)
{
    struct error error = {""};
    bool good = address_parse(slice_str(text), address, &error);
    assert_true(good || error.text[0] != '\0');
    return good;
}

static void good_ones(void **state)
{
    static const struct {
        const char *in, *name, *out;
        bool loopback;
    } cases[] = {
        {"imap=127.0.0.1:1143", "imap", "127.0.0.1:1143", true},
        {"imaps=[::1]:993", "imaps", "[::1]:993", true},
        {"pop3=*:110", "pop3", "*:110", false},
        {"lmtp=192.0.2.1:0", "lmtp", "192.0.2.1:0", false},
        {"http=localhost:8080", "http", "127.0.0.1:8080", true},
        {"lmtp=unix:/run/x/lmtp,mode=0660,group=mail", "lmtp", "unix:/run/x/lmtp", true},
    };
    struct address a;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_true(parse(cases[i].in, &a));
        assert_string_equal(a.name, cases[i].name);
        assert_string_equal(address_text(&a).text, cases[i].out);
        assert_int_equal(address_is_loopback(&a), cases[i].loopback);
    }
    assert_int_equal(a.mode, 0660);
    assert_string_equal(a.group, "mail");
}

static void bad_ones(void **state)
{
    static const char *const cases[] = {
        "",
        "imap",
        "imap=",
        "=127.0.0.1:1",
        "imap=127.0.0.1",
        "imap=:143",
        "imap=::1:143",
        "imap=1.2.3:4",
        "imap=*:65536",
        "imap=*:-1",
        "imap=*:",
        "imap=[::1:143",
        "imap=unix:",
        "imap=unix:rel",
        "imap=unix:/a,mode=9",
        "imap=a.b:1",
        "imap=[*]:1",
        "l=unix:/a,mode",
        "l=unix:/a,x=y",
        "l=unix:/a,mode=01777",
        "x=unix:/"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct address a;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_false(parse(cases[i], &a));
}

static void tcp(void **state)
{
    struct address a, b;
    struct error error;
    int fd, second;
    assert_true(parse("imap=127.0.0.1:0", &a));
    assert_int_equal(address_listen(&a, &fd, &error), ADDRESS_OK);
    assert_int_not_equal(a.port, 0);
    b = a;
    assert_int_equal(address_listen(&b, &second, &error), ADDRESS_BUSY);
    assert_int_equal(second, -1);
    fd_close(&fd);
}

static void unix_socket(void **state)
{
    char dir[] = "/tmp/restante-test-XXXXXX";
    char text[200];
    struct address a;
    struct error error;
    struct stat about;
    int fd, second;
    assert_non_null(mkdtemp(dir));
    snprintf(text, sizeof(text), "lmtp=unix:%s/s,mode=0640", dir);
    assert_true(parse(text, &a));
    assert_int_equal(address_listen(&a, &fd, &error), ADDRESS_OK);
    assert_int_equal(stat(a.path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
    assert_int_equal(address_listen(&a, &second, &error), ADDRESS_BUSY);
    fd_close(&fd);
    assert_int_equal(address_listen(&a, &fd, &error), ADDRESS_OK); /* left over by a crash */
    fd_close(&fd);
    unlink(a.path);
    rmdir(dir);
}

static void clients(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    inet_pton(AF_INET, "192.0.2.7", &v4.sin_addr);
    assert_string_equal(address_client((struct sockaddr *)&v4).text, "192.0.2.7");
    inet_pton(AF_INET6, "::ffff:192.0.2.8", &v6.sin6_addr);
    assert_string_equal(address_client((struct sockaddr *)&v6).text, "192.0.2.8");
    inet_pton(AF_INET6, "2001:db8::1", &v6.sin6_addr);
    assert_string_equal(address_client((struct sockaddr *)&v6).text, "2001:db8::1");
    assert_string_equal(address_client((struct sockaddr *)&un).text, "unix");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones),   cmocka_unit_test(bad_ones), cmocka_unit_test(tcp),
        cmocka_unit_test(unix_socket), cmocka_unit_test(clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
