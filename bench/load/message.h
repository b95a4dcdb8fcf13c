/*
 * Messages for measuring: realistic in size and kind, the same from the same seed on every machine.
 * Sizes: median 12 KB, mean 35 KB, a few of 1 to 5 MB; or a fixed size. Kinds: plain text, HTML,
 * multipart with base64, a dozen charsets.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct message {
    char *bytes; /* wire form, without the final dot; free() it */
    size_t size;
};

/* size 0: as in real life. Each number gives another message with a Message-ID of its own. */
struct message message_make(uint64_t seed, uint64_t number, size_t size);
