/* Injected faults: the list in the environment, counting, and the end of a process. Needs a build
 * with -Dfaults=true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fault.h"

#ifdef RESTANTE_FAULTS
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void none(void **state)
{
    (void)state;
    fault_set(NULL);
    for (int i = 0; i < 10; i++)
        assert_int_equal(fault_hit("a"), 0);
    assert_int_equal(fault_steps(), 10);
    fault_set("");
    assert_int_equal(fault_steps(), 0);
}

static void every_time_and_once(void **state)
{
    (void)state;
    fault_set("a=EIO,b@2=ENOSPC");
    assert_int_equal(fault_hit("a"), EIO);
    assert_int_equal(fault_hit("a"), EIO);
    assert_int_equal(fault_hit("b"), 0);
    assert_int_equal(fault_hit("ab"), 0);
    assert_int_equal(fault_hit("b"), ENOSPC);
    assert_int_equal(fault_hit("b"), 0);
    fault_set("*@3=EMFILE");
    assert_int_equal(fault_hit("x"), 0);
    assert_int_equal(fault_hit("y"), 0);
    assert_int_equal(fault_hit("z"), EMFILE);
    assert_int_equal(fault_hit("z"), 0);
    fault_set("*=EIO,m@2=ENOMEM");
    assert_int_equal(fault_fails("m"), 0);
    assert_int_equal(fault_fails("m"), ENOMEM);
    assert_int_equal(fault_steps(), 0);
    fault_set(NULL);
}

/* In a process of its own; returns how it ended. */
static int in_child(void (*run)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        run();
        exit(7);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void die_at_third(void)
{
    fault_set("*@3=kill");
    fault_hit("a");
    fault_hit("b");
    fault_hit("c");
}

static void survive(void)
{
    fault_set("*@3=kill");
    fault_hit("a");
    fault_hit("b");
}

static void kills(void **state)
{
    (void)state;
    int status = in_child(die_at_third);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = in_child(survive);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none),
        cmocka_unit_test(every_time_and_once),
        cmocka_unit_test(kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
static void needs_faults(void **state)
{
    (void)state;
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(needs_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
