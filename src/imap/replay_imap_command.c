/* The fuzz target without a fuzzer: commands of every kind, each cut, each byte changed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const seeds[] = {
    "a1 NOOP\r\nb LOGOUT\r\n",
    "a SELECT {5}\r\nINBOX\r\nb EXAMINE \"a\\\"b\"\r\n",
    "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a% b*) RETURN (CHILDREN STATUS (MESSAGES))\r\n",
    "a CREATE &ZeVnLIqe-/x (USE (\\Drafts))\r\nb RENAME x {1+}\r\ny\r\n",
    "a APPEND x (\\Seen $a) \"17-Jul-1996 02:44:25 -0700\" {3}\r\nabc {6+}\r\n123456\r\n",
    "a FETCH 1:*,3 (FLAGS BODY.PEEK[1.HEADER.FIELDS (A \"b\" {1}\r\nc)]<0.9> ENVELOPE)\r\n",
    "a STORE 1 +FLAGS.SILENT (\\Deleted x)\r\nb COPY 1:2 y\r\nc MOVE * z\r\n",
    "a SEARCH RETURN (MIN) OR (NOT SEEN) (SUBJECT {2}\r\nab) ON 1-Feb-1994 UID 1:9\r\n",
    "a STATUS x (MESSAGES SIZE)\r\nb ID (\"a\" NIL)\r\nc ENABLE X Y\r\nd IDLE\r\nDONE\r\n",
};

int main(void)
{
    static const uint8_t bytes[] = {0, '\r', '\n', '"', '(', '{', '}', ' ', '9', 0xff};
    for (size_t s = 0; s < sizeof(seeds) / sizeof(seeds[0]); s++) {
        uint8_t input[400];
        size_t size = strlen(seeds[s]);
        for (size_t cut = 0; cut <= size; cut++) {
            memcpy(input, seeds[s], size);
            LLVMFuzzerTestOneInput(input, cut);
            for (size_t b = 0; cut < size && b < sizeof(bytes); b++) {
                input[cut] = bytes[b];
                LLVMFuzzerTestOneInput(input, size);
            }
        }
    }
    puts("replayed");
    return 0;
}
