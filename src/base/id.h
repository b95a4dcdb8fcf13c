/* 128-bit random identities: of accounts, volumes, snapshots. Never derived from a name. */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

struct id {
    uint8_t bytes[16];
};

struct id_text {
    char text[33];
};

struct id id_random(void);
bool id_equal(struct id a, struct id b);
int id_compare(struct id a, struct id b);
bool id_is_zero(struct id id);
struct id_text id_text(struct id id); /* 32 lower-case hex digits: id_text(id).text */
bool id_parse(struct slice text, struct id *id);

/* size bytes from the kernel's generator; ends the process when there are none to be had. */
void id_random_bytes(void *bytes, size_t size);
