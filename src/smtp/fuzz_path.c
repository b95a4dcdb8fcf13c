/*
 * Property: what is taken for an address is printable, short, and is read back as itself when it is
 * put between <> again.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "smtp/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_make(data, size), key, value;
    struct smtp_path path, again;
    if (!smtp_path_parse(&rest, &path)) {
        return 0;
    }
    ASSERT(rest.size < size && strlen(path.address) <= SMTP_ADDRESS_MAX);
    for (const char *c = path.address; *c != '\0'; c++) {
        ASSERT((uint8_t)*c >= 32 && (uint8_t)*c != 127);
    }
    char text[SMTP_ADDRESS_MAX + 3];
    snprintf(text, sizeof(text), "<%s>", path.address);
    struct slice back = slice_str(text);
    ASSERT(smtp_path_parse(&back, &again) && back.size == 0);
    ASSERT(strcmp(path.address, again.address) == 0 && path.utf8 == again.utf8);
    while (smtp_parameter_next(&rest, &key, &value)) {
        ASSERT(key.size > 0);
    }
    return 0;
}
