/*
 * Steps and faults for tests. Code that changes mail names its steps; a test build
 * (meson -Dfaults=true) can end the process at the Nth step or make a step fail. In a release
 * build every call is an inline 0 and leaves nothing in the binary.
 *
 * RESTANTE_FAULT is a comma-separated list read once, at the first step:
 *   NAME=ERRNO        every time, e.g. store.sync=EIO
 *   NAME@N=ERRNO      the Nth time that NAME is met (from 1), e.g. store.write@3=ENOSPC
 *   NAME@N=kill       SIGKILL to ourselves at the Nth time
 *   *@N=kill          at the Nth step of any name: "stop at every step"
 * RESTANTE_FAULT_COUNT=FILE: the number of steps met is written there when the process exits.
 * RESTANTE_FAULT_IN=PROGRAM: both only in the process of that name, e.g. restante-worker.
 */
#pragma once

#ifdef RESTANTE_FAULTS
/* Counts a step; returns 0, or the errno value that the step is to fail with. */
int fault_hit(const char *name);
/* The same for what is no step in a change of mail, such as an allocation: it is not counted, and
 * "*" does not mean it. */
int fault_fails(const char *name);
/* Sets the list as RESTANTE_FAULT would, from a test in this process; NULL: none. Counts restart.
 */
void fault_set(const char *list);
/* Steps met since the start or the last fault_set. */
unsigned long fault_steps(void);
/* Writes RESTANTE_FAULT_COUNT now: for a process that ends by _exit(). */
void fault_finish(void);
#else
static inline int fault_hit(const char *name)
{
    (void)name;
    return 0;
}
static inline int fault_fails(const char *name)
{
    (void)name;
    return 0;
}
static inline void fault_finish(void)
{
}
#endif
