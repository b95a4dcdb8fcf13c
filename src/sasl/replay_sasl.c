/* The fuzz target without a fuzzer: seeds of every mechanism, each cut and each byte changed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const seeds[] = {
    "\x08n,,n=user,r=abcdef\xfe"
    "c=biws,r=abcdefX,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    "\x0cp=tls-exporter,a=user,n=user,r=abcdef\xfe"
    "c=biws,r=abcdef,p=dHzb\xfe",
    "\x09y,,n=us=2Cer,r=abcdef\xfe"
    "c=biws,r=a,p=AAAA",
    "\x0aXnameXsecret",
    "\x03name\xfesecret",
};

int main(void)
{
    static const uint8_t bytes[] = {0, ',', '=', 0xfe, 0xff, 'n'};
    for (size_t s = 0; s < sizeof(seeds) / sizeof(seeds[0]); s++) {
        uint8_t input[200];
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
