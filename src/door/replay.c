/*
 * The fuzz targets of smtp/ and pop3/ without a fuzzer: seeds, cut everywhere and changed by a
 * generator that is the same every time.
 */
#include <stdio.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const seeds[] = {
    "\x10\x01"
    "DATA\r\nSubject: x\r\n\r\n..a\r\nb\n.\r\nc\r\n.\nd\r.\r\n.\r\nQUIT\r\n",
    "\x07\x02"
    "BDAT 6\r\nQUIT\r\nBDAT 3\r\n.\r\nBDAT 4 LAST\r\nab\r\nMAIL FROM:<>\r\nRSET\r\n",
    "\x05\x03"
    "RCPT TO:<bob@x>\r\nRCPT TO:<late@x>\r\nDATA\r\n.\r\r\n.\r\nNOOP\nNOOP\r\n",
    "\x20\x00"
    "a\r\n.\r\n..\r\n.b\r.\n.c\r\n\r\n.",
    "<@a.org,@b.org:\"a \\\"b\"@[IPv6:::1]> SIZE=12 BODY=8BITMIME X-Y",
    "<jos\xc3\xa9+list@ex\xc3\xa4mple.org> SMTPUTF8",
};

int main(void)
{
    static const uint8_t bytes[] = {'\r', '\n', '.', ' ', '<', '>', '"', '\\', '@', 0, 0xc3, '1'};
    uint32_t random = 2463534242u; /* xorshift (Marsaglia 2003) */
    for (size_t s = 0; s < sizeof(seeds) / sizeof(seeds[0]); s++) {
        size_t size = strlen(seeds[s] + 2) + 2;
        for (int round = 0; round < 3000; round++) {
            uint8_t input[300];
            memcpy(input, seeds[s], size);
            for (int changes = 0; changes < round % 5; changes++) {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                input[random % size] = bytes[(random >> 16) % sizeof(bytes)];
            }
            LLVMFuzzerTestOneInput(input, round % 3 == 0 ? (size_t)round % (size + 1) : size);
        }
    }
    puts("replayed");
    return 0;
}
