#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool error_set(struct error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error != NULL)
        vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return false;
}

bool error_errno(struct error *error, const char *format, ...)
{
    int number = errno;
    char words[sizeof(error->text)];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    return error_set(error, "%s: %s", words, strerror(number));
}

bool error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return false;
    char words[sizeof(error->text)];
    struct error old = *error;
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    return error_set(error, "%s: %s", words, old.text);
}
