/* Password schemes that are a digest with or without salt, and Dovecot's PBKDF2; for password.c. */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

/* name: the scheme's, as stored. */
bool digest_valid(const char *name, struct slice data);
bool digest_verify(const char *name, struct slice data, struct slice secret);
bool digest_pbkdf2_valid(const char *name, struct slice data);
bool digest_pbkdf2_verify(const char *name, struct slice data, struct slice secret);
void digest_warm_up(void);
