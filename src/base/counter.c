/* The values of counter.h's rows in this process, and their words. */
#include "base/counter.h"

#include <inttypes.h>

#include "base/buf.h"

_Atomic int64_t counter_values[COUNTER_COUNT];

#define TOTAL "counter"
#define GAUGE "gauge"
#define C(name, kind, help) {#name, kind, help},
static const struct {
    const char *name, *kind, *help;
} rows[] = {COUNTERS(C)};
#undef C

void counter_write(struct buf *json)
{
    for (size_t i = 0; i < COUNTER_COUNT; i++)
        buf_printf(json, "%c\"%s\":%" PRId64, i == 0 ? '{' : ',', rows[i].name,
                   atomic_load_explicit(&counter_values[i], memory_order_relaxed));
    buf_add_str(json, "}");
}

const char *counter_name(enum counter counter)
{
    return rows[counter].name;
}

const char *counter_kind(enum counter counter)
{
    return rows[counter].kind;
}

const char *counter_help(enum counter counter)
{
    return rows[counter].help;
}
