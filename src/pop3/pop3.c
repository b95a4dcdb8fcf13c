/* Commands of POP3 as bytes (RFC 1939 3): pure, for both the door and the worker. */
#include "pop3/pop3.h"

bool pop3_parse(struct slice line, struct slice *verb, struct slice *argument)
{
    *argument = SLICE_NONE;
    *verb = SLICE_NONE;
    if (slice_find(line, '\0') < line.size || slice_find(line, '\r') < line.size) {
        return false;
    }
    size_t space = slice_find(line, ' ');
    *verb = slice_sub(line, 0, space);
    if (space < line.size) {
        *argument = slice_sub(line, space + 1, line.size);
    }
    return verb->size > 0;
}

bool pop3_parse_number(struct slice argument, uint32_t *number)
{
    return argument.size <= 10 && slice_u32(slice_trim(argument), number);
}

bool pop3_parse_numbers(struct slice argument, uint32_t *first, uint32_t *second)
{
    struct slice rest = slice_trim(argument);
    struct slice head = slice_split(&rest, ' ');
    return pop3_parse_number(head, first) && pop3_parse_number(rest, second);
}
