/*
 * Invariants of our own code. ASSERT is always on: a broken invariant in a mail store must end the
 * process (its parent restarts it, what was acknowledged is on disk) rather than go on and write.
 * Never use it for anything that comes from outside: strangers' bytes, files, peers, a full disk.
 */
#pragma once

#define ASSERT(condition)                                                                          \
    ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__, __func__))

/* Logs event=assert with the place, then abort(). */
_Noreturn void assert_failed(const char *condition, const char *file, int line,
                             const char *function);
