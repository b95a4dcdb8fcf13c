#include "base/assert.h"

#include <stdlib.h>

#include "base/log.h"

_Noreturn void assert_failed(const char *condition, const char *file, int line,
                             const char *function)
{
    log_error("assert", "condition=\"%s\" place=%s:%d function=%s", condition, file, line,
              function);
    abort();
}
