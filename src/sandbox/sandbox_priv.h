/* The fences one by one; sandbox.c puts them up in order. */
#pragma once
#include "sandbox/sandbox.h"

enum sandbox_fence { SANDBOX_FENCE_UP, SANDBOX_FENCE_MISSING, SANDBOX_FENCE_FAILED };

/* abi_max as in struct sandbox_options; directories may be NULL. */
enum sandbox_fence sandbox_landlock(const char *const *directories, int abi_max,
                                    struct error *error);
enum sandbox_fence sandbox_seccomp(unsigned allow, struct error *error);
