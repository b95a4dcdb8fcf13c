/* The fuzz target without a fuzzer: the files named, else seeds mixed and changed by a generator
 * with a fixed start. */
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const pieces[] = {
    "\003tex",
    "\002\xc3\xa4",
    "\001a",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: text/html; charset=utf-8\r\n",
    "Content-Type: text/plain; charset=iso-2022-jp\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Subject: =?utf-8?B?w6Q=?= =?iso-2022-jp?Q?=1B$B?= text\r\n",
    "\r\n",
    "--b\r\n",
    "--b--\r\n",
    "\n",
    "w6R0ZXh0",
    "<p title=x>&auml;&#228;&",
    "<!--",
    "<style>",
    "a\xcc\x88 text",
    "\xff",
    "\xef\xb7\xba",
    "body text\r\n",
};

static uint32_t random_state = 1;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)random_state * below >> 32);
}

static void replay_file(const char *name)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        perror(name);
        exit(1);
    }
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, size);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay_file(argv[i]);
    for (int round = 0; argc == 1 && round < 20000; round++) {
        char input[4096];
        size_t size = 0;
        for (uint32_t count = next_random(40); count > 0; count--) {
            const char *piece = pieces[next_random(sizeof(pieces) / sizeof(*pieces))];
            memcpy(input + size, piece, strlen(piece));
            size += strlen(piece);
        }
        for (uint32_t changes = next_random(4); changes > 0 && size > 0; changes--)
            input[next_random((uint32_t)size)] = (char)next_random(256);
        LLVMFuzzerTestOneInput((const uint8_t *)input, size);
    }
    puts("replayed");
    return 0;
}
