/* Prints doc/settings.md; test_config checks that the file in the tree is this. */
#include <stdio.h>

#include "base/buf.h"
#include "config/config.h"

int main(void)
{
    struct buf text = {0};
    config_write_manual(&text);
    fwrite(text.data, 1, text.size, stdout);
    buf_finish(&text);
    return 0;
}
