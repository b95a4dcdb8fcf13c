/*
 * Every setting there is, in one table: name, type, default, bounds, whether a reload may change
 * it, and why it has that default. From it come struct settings, the parser's checks, `restante
 * config --defaults`, and doc/settings.md.
 *
 * Types: num (integer; units: k M G for sizes, s m h d for times where the text says so),
 * text, choice (one of the words in `words`).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/* N(name, default, min, max, reload, text) T(name, default, reload, text)
 * C(name, default, words, reload, text). A name's first "_" is the "." of the file: tls_cert is
 * "cert" in section "tls". clang-format off */
#define SETTINGS(N, T, C) \
T(tls_cert, "", 1, "PEM file with the certificate chain. Empty: a self-signed one is made.") \
T(tls_key, "", 1, "PEM file with its key.") \
C(auth_scram, "auto", "auto on off", 1, \
  "Announce SCRAM-SHA-256: auto while every enabled account has keys for it.") \
C(auth_plain_clear, "no", "yes no", 1, \
  "Clear-text login without TLS from other machines (from loopback it is always allowed).") \
N(auth_cache, 300, 0, 86400, 1, \
  "Seconds a verified secret is remembered (as a keyed hash), so that polling clients are cheap.") \
N(auth_penalty_max, 15, 0, 60, 1, "Seconds that a failed login waits at most for its answer.") \
N(auth_threads, 2, 1, 64, 0, "Threads that compute password hashes.") \
T(auth_subaddress, "+", 1, "Character that separates a user from the detail: alice+list@...") \
N(process_workers, 0, 0, 64, 0, "Worker processes; 0: one per core.") \
N(process_doors, 0, 0, 64, 0, "Door and tls processes; 0: a tls per core, a door per two.") \
N(process_readers, 0, 0, 64, 0, "Reader processes; 0: one per core.") \
C(process_sandbox, "auto", "auto required off", 0, \
  "auto: a fence the kernel lacks is a warning; required: it is a refusal to start.") \
N(store_volumes, 0, 0, 256, 0, \
  "Volumes a new store is made with; 0: one per core, at most 8. May grow later, never shrink.") \
N(store_segment_size, 67108864, 65536, 1073741824, 0, "Bytes of a segment file.") \
N(store_checkpoint_operations, 8000, 1, 1000000, 0, \
  "Changes kept in memory beside the index before it is brought up to date.") \
N(store_checkpoint_ms, 10000, 10, 3600000, 0, "The same in milliseconds.") \
N(store_snapshot_operations, 1000000, 1, 1000000000, 0, "Changes between two snapshots.") \
N(store_journal_keep, 604800, 0, 31536000, 0, \
  "Seconds of journal kept for point-in-time restore beyond what a rebuild needs.") \
N(store_grace, 1209600, 0, 31536000, 0, "Seconds an expunged message can still be restored.") \
N(store_scrub, 1209600, 0, 31536000, 0, \
  "Seconds in which all that is stored is read once and its checksums compared; 0: never.") \
N(message_size, 104857600, 1024, 1073741824, 1, "Largest message taken, in bytes.") \
N(quota_default, 0, 0, 1099511627776000, 1, "Bytes of mail for accounts without own quota; 0: none.") \
N(limit_connections, 20000, 1, 1000000, 0, "Connections at the same time, all protocols.") \
N(limit_connections_address, 2000, 1, 1000000, 1, "The same from one address; loopback is exempt.") \
N(limit_line, 65536, 1000, 1048576, 1, "Bytes of one command line (RFC 7162 4 asks for 8,192).") \
N(limit_literal, 1048576, 1024, 1073741824, 1, "Bytes of a literal that is not a message.") \
N(limit_nesting, 100, 10, 1000, 1, "Parentheses within each other in one command.") \
N(limit_bad_commands, 50, 3, 1000, 1, "Bad commands in a row before the connection is closed.") \
N(limit_recipients, 1000, 100, 100000, 1, "Recipients of one LMTP transaction (RFC 5321 4.5.3.1.8).") \
N(limit_mailboxes, 10000, 10, 1000000, 1, "Mailboxes of one account.") \
N(limit_output, 1048576, 65536, 67108864, 1, \
  "Bytes that wait for a slow client before its command pauses.") \
N(timeout_login, 60, 5, 3600, 1, "Seconds from connecting until logged in.") \
N(timeout_imap, 1800, 1800, 86400, 1, "Seconds without a word from an IMAP client (RFC 9051 5.4).") \
N(timeout_pop3, 600, 600, 86400, 1, "The same for POP3 (RFC 1939 3).") \
N(timeout_lmtp, 300, 60, 86400, 1, "The same for LMTP (RFC 5321 4.5.3.2.7).") \
N(timeout_stall, 300, 10, 86400, 1, "Seconds a client may take none of what it asked for.") \
N(timeout_start, 60, 1, 3600, 1, \
  "Seconds a process has to start; one with mail or accounts to recover is only named in the log.") \
N(timeout_drain, 10, 0, 600, 1, "Seconds that processes have to end in order.") \
C(log_target, "stderr", "stderr syslog", 0, "Where log lines go.") \
C(log_level, "info", "error warn info debug", 1, "The least important lines to log.")
/* clang-format on */

enum { SETTING_TEXT_MAX = 512 };

struct settings {
#define N(name, value, least, most, reload, text) uint64_t name;
#define T(name, value, reload, text) char name[SETTING_TEXT_MAX];
#define C(name, value, words, reload, text) uint32_t name; /* index into words */
    SETTINGS(N, T, C)
#undef N
#undef T
#undef C
};

void settings_defaults(struct settings *settings);
/* One "name=value" as it stands in messages between processes; false with a remedy. */
bool settings_set(struct settings *settings, struct slice name, struct slice value,
                  struct error *error);
/* All lines of ipc's setup and settings messages. */
bool settings_read(struct settings *settings, struct slice lines, struct error *error);
struct buf;
void settings_write(const struct settings *settings, struct buf *lines);
/* The word that a choice stands at: settings_word("log_level", settings.log_level). */
const char *settings_word(const char *name, uint32_t choice);
/* Takes over from now what a reload may change. Returns the name of another setting that differs
 * and needs a restart, or NULL. */
const char *settings_reload(struct settings *settings, const struct settings *now);
