/*
 * `restante`, the command line: a table of commands, one file each, and what they share. It links
 * the account database and the store for work without a server; with one it only asks.
 *
 * Exit status: 0 done, 1 it could not (one line on standard error says what to do), 2 wrong use;
 * `check`: 0 clean, 1 damage, 2 could not look; `deliver`: as sysexits.h, for mail programs.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"

struct buf;

struct ctl_command {
    const char *name;
    const char *summary; /* one line */
    const char *help;    /* usage, options, examples */
    int (*run)(const struct ctl_command *self, int argc, char **argv); /* argv[0]: its name */
    const struct ctl_command *parts; /* sub-commands, ended by a NULL name; run is NULL then */
};

/* ---- main.c -----------------------------------------------------------------------------------
 */

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* "restante: text" on standard error. */
int ctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with "see restante X --help" behind; CTL_USAGE. */
int ctl_misuse(const struct ctl_command *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void ctl_help(const struct ctl_command *self);
/* Finds and runs; argv[0] is what is looked for in parts. */
int ctl_run(const char *path, const struct ctl_command *parts, int argc, char **argv);

/* ---- options.c --------------------------------------------------------------------------------
 */

enum ctl_option_kind { CTL_FLAG, CTL_TEXT, CTL_LIST };

struct ctl_option {
    const char *name; /* without "--" */
    enum ctl_option_kind kind;
    bool *flag;
    const char **text;
    const char **list; /* room for CTL_LIST_MAX */
    size_t *count;
};
enum { CTL_LIST_MAX = 250 };

/* Takes options (ended by a NULL name) out of argv, "--name value" or "--name=value", in any place;
 * "--" ends them. What remains is argv[0..*argc). CTL_OK, or what the command returns: --help was
 * printed (-1), or misuse was said (CTL_USAGE). */
int ctl_options(const struct ctl_command *self, const struct ctl_option *options, int *argc,
                char **argv);
/* What a command returns when ctl_options() was not CTL_OK. */
int ctl_options_status(int result);

/* ---- ask.c: the server, or the account database itself ------------------------------------------
 */

struct ctl_data {
    char path[4000];
};
/* --data or the default. False: said. */
bool ctl_data_find(const char *given, struct ctl_data *data);

enum ctl_asked {
    CTL_ANSWERED,    /* every line was given to line() */
    CTL_NO_SERVER,   /* nobody listens in that directory */
    CTL_UNREACHABLE, /* error says why */
};
/* A whole JSON value of the server's answer. */
typedef void ctl_line(void *arg, json_t *value);
enum ctl_asked ctl_ask_server(const struct ctl_data *data, json_t *request, ctl_line *line,
                              void *arg, struct error *error);
/* A connected Unix socket DATA/run/NAME; -1 with errno. */
int ctl_connect(const struct ctl_data *data, const char *name);

/* An account verb: by the server, or without one by opening the database under the lock, which
 * then stays open until ctl_offline_close(). The answer, to be json_decref'ed; NULL: error says
 * what to do. */
json_t *ctl_account_ask(const struct ctl_data *data, json_t *request, struct error *error);
void ctl_offline_close(void);
bool ctl_offline_is_open(void);
/* Verb and request are passed by offline.c; for ask.c only. */
json_t *ctl_offline_ask(const struct ctl_data *data, json_t *request, struct error *error);

/* ---- prompt.c ---------------------------------------------------------------------------------
 */

/* A password from standard input (one line) or twice from the terminal, without echo. room bytes;
 * to be wiped by the caller. False: said. */
bool ctl_password(bool from_stdin, const char *name, char *secret, size_t room);
/* On a terminal: asks for the name to be typed. */
bool ctl_confirm(const char *question, const char *expected);
/* A bar on standard error when that is a terminal; total 0: ends the line. */
void ctl_progress(const char *what, uint64_t done, uint64_t total);

/* ---- the commands ------------------------------------------------------------------------------
 */

extern const struct ctl_command ctl_account_parts[];
int ctl_import(const struct ctl_command *self, int argc, char **argv);
int ctl_import_mail(const struct ctl_command *self, int argc, char **argv);
int ctl_export_mail(const struct ctl_command *self, int argc, char **argv);
int ctl_serve(const struct ctl_command *self, int argc, char **argv);
int ctl_deliver(const struct ctl_command *self, int argc, char **argv);
int ctl_status(const struct ctl_command *self, int argc, char **argv);
int ctl_check(const struct ctl_command *self, int argc, char **argv);
int ctl_config(const struct ctl_command *self, int argc, char **argv);

/* deliver.c: a message from a pipe into SMTP's form: CRLF ends, dots doubled, CRLF "." CRLF. */
void deliver_dot_encode(struct slice message, struct buf *out);
/* import.c: cuts the account's name off a line; SLICE_NONE for comments and empty lines. */
struct slice import_name(struct slice line);
