/*
 * What a process counts, one row each: name (in Prometheus restante_NAME), kind, help. Values are
 * per process; control adds the labels process and index. Kinds: TOTAL only grows, GAUGE moves.
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

/* clang-format off */
#define COUNTERS(C) \
C(sandbox_missing,       GAUGE, "Fences of the sandbox that this kernel lacks") \
C(ipc_broken,            TOTAL, "Channels closed because the other process broke the rules") \
C(sessions,              GAUGE, "Sessions and connections in work") \
C(connections,           TOTAL, "Connections accepted") \
C(connections_refused,   TOTAL, "Connections closed at once because of a limit") \
C(auth_ok,               TOTAL, "Logins that succeeded") \
C(auth_failed,           TOTAL, "Logins that failed") \
C(auth_cached,           TOTAL, "Logins answered from the memory of verified secrets") \
C(tickets_missing,       TOTAL, "Connections handed over without a ticket") \
C(delivered,             TOTAL, "Messages delivered, per recipient") \
C(delivered_again,       TOTAL, "Deliveries repeated by the sender and answered from memory") \
C(delivery_failed,       TOTAL, "Deliveries that failed, per recipient") \
C(commands,              TOTAL, "Protocol commands carried out") \
C(tls_handshakes,        TOTAL, "TLS handshakes that succeeded") \
C(tls_failed,            TOTAL, "TLS handshakes that failed") \
C(tls_connections,       GAUGE, "TLS connections being pumped") \
C(summaries,             TOTAL, "Messages read into summaries") \
C(summaries_failed,      TOTAL, "Messages stored without a summary") \
C(store_commits,         TOTAL, "Synced appends to segments") \
C(store_bytes,           TOTAL, "Bytes appended to segments") \
C(scrub_bytes,           TOTAL, "Bytes of segments whose checksums the scrub compared") \
C(scrub_rounds,          TOTAL, "Rounds of the scrub through a whole volume") \
C(scrub_damages,         TOTAL, "Damages that the scrub found; the log names each")
/* clang-format on */

enum counter {
#define C(name, kind, help) COUNTER_##name,
    COUNTERS(C)
#undef C
        COUNTER_COUNT
};

extern _Atomic int64_t counter_values[COUNTER_COUNT];

/* counter_add(COUNTER_delivered, 1); from any thread. */
static inline void counter_add(enum counter counter, int64_t amount)
{
    atomic_fetch_add_explicit(&counter_values[counter], amount, memory_order_relaxed);
}

struct buf;
/* {"name":value,...}: what admin verb "metrics" answers. */
void counter_write(struct buf *json);
/* For control: kind is "counter" or "gauge"; the names of all, by number. */
const char *counter_name(enum counter counter);
const char *counter_kind(enum counter counter);
const char *counter_help(enum counter counter);
