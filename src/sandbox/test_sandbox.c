/*
 * Every profile that the server uses, entered in a child process and probed from inside; as root
 * (then dropped to another user) and as an ordinary one, with Landlock capped at 0, 1, 2 and at
 * what the kernel has. The probe itself is tried first without a fence: doors must then be open, or
 * it could not fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "sandbox/sandbox.h"

enum { NOBODY = 65534 };

struct plan {
    struct sandbox_profile profile;
    struct sandbox_options options;
    bool start_as_nobody;
    int open_file; /* 5 bytes */
};

struct report {
    bool entered, threads, files_below, memory, pair, core, size_of_open;
    unsigned uid;
    char open[640], missing[64], error[256];
};

static void *thread_main(void *arg)
{
    return arg;
}

static void look_around(const struct plan *plan, struct report *report)
{
    int pair[2];
    pthread_t thread;
    struct rlimit core;
    char path[200];
    struct stat about;
    report->size_of_open = fstat(plan->open_file, &about) == 0 && about.st_size == 5;
    report->threads =
        pthread_create(&thread, NULL, thread_main, NULL) == 0 && pthread_join(thread, NULL) == 0;
    report->memory = memfd_create("x", MFD_CLOEXEC) >= 0;
    report->pair = socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0;
    report->core = getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0;
    report->uid = geteuid();
    if (plan->options.directories != NULL) {
        snprintf(path, sizeof(path), "%s/new", plan->options.directories[0]);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        report->files_below = fd >= 0 && write(fd, "x", 1) == 1 && fdatasync(fd) == 0 &&
                              ftruncate(fd, 0) == 0 && unlink(path) == 0;
    }
    snprintf(report->open, sizeof(report->open), "%s", sandbox_probe());
    snprintf(report->missing, sizeof(report->missing), "%s", sandbox_missing());
}

/* Runs the plan in a process of its own; the report comes back in shared memory. */
static struct report *carry_out(const struct plan *plan)
{
    static struct report *report;
    if (report == NULL)
        report =
            mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(report, 0, sizeof(*report));
    struct plan mine = *plan;
    mine.open_file = memfd_create("five", MFD_CLOEXEC);
    assert_int_equal(write(mine.open_file, "12345", 5), 5);
    pid_t pid = fork();
    if (pid == 0) {
        struct error error = {""};
        if (plan->start_as_nobody &&
            (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
            _exit(9);
        log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
        report->entered = sandbox_enter(&plan->profile, &plan->options, &error);
        snprintf(report->error, sizeof(report->error), "%s", error.text);
        if (report->entered)
            look_around(&mine, report);
        _exit(0);
    }
    int status = 0;
    close(mine.open_file);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return report;
}

static bool has_word(const char *words, const char *word)
{
    const char *at = strstr(words, word);
    return at != NULL && (at == words || at[-1] == ' ') &&
           (at[strlen(word)] == ' ' || at[strlen(word)] == '\0');
}

static bool as_root(void)
{
    return geteuid() == 0;
}

/* Without fences the harmless doors must be found open. */
static void probe_can_fail(void **state)
{
    struct plan plan = {.profile = {"none", 0}, .options = {.mode = SANDBOX_OFF}};
    struct report *report = carry_out(&plan);
    assert_true(report->entered);
    assert_string_equal(report->missing, "off");
    static const char *const words[] = {"open",
                                        "write",
                                        "socket",
                                        "unix",
                                        "connect",
                                        "bind",
                                        "fork",
                                        "exec",
                                        "kill",
                                        "code",
                                        "signal_owner",
                                        "fast_open",
                                        "fast_open_message",
                                        "datagrams",
                                        "send_to",
                                        "socket_filter",
                                        "terminal",
                                        "dumpable",
                                        "exec_descriptor",
                                        "write_memory",
                                        "symlink",
                                        "hard_link",
                                        "change_mode"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (!has_word(report->open, words[i]))
            fail_msg("%s should be open without a sandbox (%s)", words[i], report->open);
}

static void check_profile(const char *name, unsigned allow, int abi, bool nobody, const char *dir)
{
    const char *const directories[] = {dir, NULL};
    struct plan plan = {
        .profile = {name, allow},
        .options = {.mode = SANDBOX_AUTO,
                    .landlock_abi_max = abi,
                    .directories = (allow & SANDBOX_FILES) != 0 ? directories : NULL},
        .start_as_nobody = nobody && as_root(),
    };
    if (as_root() && !nobody) {
        plan.options.uid = NOBODY;
        plan.options.gid = NOBODY;
    }
    struct report *report = carry_out(&plan);
    if (!report->entered)
        fail_msg("%s: %s", name, report->error);
    assert_true(report->core);
    assert_true(report->size_of_open);
    if (as_root())
        assert_int_equal(report->uid, NOBODY);
    assert_true(has_word(report->missing, "landlock") || abi != 0);
#ifdef RESTANTE_SANITIZED
    return; /* the wider profile keeps more doors open, by design */
#endif
    bool unfenced_files = (allow & SANDBOX_FILES) != 0 && has_word(report->missing, "landlock");
    if (strcmp(report->open, unfenced_files ? "open write" : "") != 0)
        fail_msg("%s, Landlock %d: still open: %s", name, abi, report->open);
    assert_int_equal(report->threads, (allow & SANDBOX_THREADS) != 0);
    assert_int_equal(report->memory, (allow & SANDBOX_MEMFD) != 0);
    assert_int_equal(report->pair, (allow & SANDBOX_SOCKETPAIR) != 0);
    assert_int_equal(report->files_below, (allow & SANDBOX_FILES) != 0);
}

static void every_profile(void **state)
{
    static const struct sandbox_profile profiles[] = {
        {"reader", 0},
        {"tls", SANDBOX_SOCKETPAIR | SANDBOX_SOCKET_OPTIONS},
        {"door", SANDBOX_ACCEPT | SANDBOX_MEMFD | SANDBOX_SOCKET_OPTIONS},
        {"control", SANDBOX_ACCEPT | SANDBOX_SOCKET_OPTIONS},
        {"auth", SANDBOX_FILES | SANDBOX_THREADS},
        {"worker", SANDBOX_FILES | SANDBOX_THREADS | SANDBOX_MEMFD | SANDBOX_SOCKET_OPTIONS},
    };
    static const int abis[] = {-1, 0, 1, 2};
    char dir[] = "/tmp/restante-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chmod(dir, 0777), 0);
    for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++)
        for (size_t a = 0; a < sizeof(abis) / sizeof(*abis); a++)
            for (int nobody = 0; nobody < 2; nobody++)
                check_profile(profiles[i].process, profiles[i].allow, abis[a], nobody, dir);
    assert_int_equal(rmdir(dir), 0);
}

static void required(void **state)
{
    struct plan plan = {.profile = {"reader", 0},
                        .options = {.mode = SANDBOX_REQUIRED, .landlock_abi_max = 0}};
    struct report *report = carry_out(&plan);
    assert_false(report->entered);
    assert_non_null(strstr(report->error, "landlock"));
}

static void missing_directory(void **state)
{
    static const char *const directories[] = {"/nonexistent/restante", NULL};
    struct plan plan = {
        .profile = {"worker", SANDBOX_FILES},
        .options = {.mode = SANDBOX_AUTO, .landlock_abi_max = -1, .directories = directories}};
    struct report *report = carry_out(&plan);
    assert_true(report->entered ? has_word(report->missing, "landlock")
                                : strstr(report->error, "/nonexistent/restante") != NULL);
}

static int listen_here(struct sockaddr_in *address)
{
    socklen_t size = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_return_code(bind(fd, (struct sockaddr *)address, size), errno);
    assert_return_code(listen(fd, 5), errno);
    assert_return_code(getsockname(fd, (struct sockaddr *)address, &size), errno);
    return fd;
}

/* A connection out, from a listening socket alone: is it there? */
static bool connects_out(enum sandbox_mode mode)
{
    struct sockaddr_in mine, target;
    int listener = listen_here(&mine);
    int other = listen_here(&target);
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        const struct sandbox_profile door = {"door", SANDBOX_ACCEPT | SANDBOX_SOCKET_OPTIONS};
        const struct sandbox_options options = {.mode = mode, .landlock_abi_max = -1};
        struct error error = {""};
        log_init("test", LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
        if (!sandbox_enter(&door, &options, &error) || shutdown(listener, SHUT_RDWR) != 0)
            _exit(1);
        (void)!sendto(listener, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&target,
                      sizeof(target));
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    struct pollfd arrived = {.fd = other, .events = POLLIN};
    bool connected = poll(&arrived, 1, mode == SANDBOX_OFF ? 5000 : 0) == 1;
    close(listener);
    close(other);
    return connected;
}

static void listener_stays_one(void **state)
{
    if (!connects_out(SANDBOX_OFF))
        skip(); /* a kernel without TCP Fast Open */
    assert_false(connects_out(SANDBOX_AUTO));
}

/* Root that stays root (no user to become) has no capability left. */
static void root_without_user(void **state)
{
    if (!as_root())
        skip();
    struct plan plan = {.profile = {"reader", 0},
                        .options = {.mode = SANDBOX_AUTO, .landlock_abi_max = -1}};
    struct report *report = carry_out(&plan);
    assert_true(report->entered);
#ifndef RESTANTE_SANITIZED
    assert_string_equal(report->open, "");
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probe_can_fail),    cmocka_unit_test(every_profile),
        cmocka_unit_test(required),          cmocka_unit_test(missing_directory),
        cmocka_unit_test(root_without_user), cmocka_unit_test(listener_stays_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
