/* For admin.c, admin_import.c and passwd_line.c only. */
#pragma once
#include <jansson.h>

#include "auth/admin.h"
#include "base/buf.h"

/* One request on its way. */
struct admin_call {
    const struct admin_host *host;
    const char *verb;
    admin_answer *answer;
    void *arg;
    json_t *request; /* edit's slices point into it */
    struct auth_edit edit;
    struct slice *aliases;
    struct sasl_scram_keys keys;
    struct buf verifier;
    struct admin_import *import;
};

/* Each ends the call. reply is taken. */
void admin_reply(struct admin_call *call, json_t *reply);
void admin_fail(struct admin_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void admin_call_destroy(struct admin_call *call);

/* A member that is a string; data NULL when there is none. */
struct slice admin_text(const json_t *object, const char *member);
/* "500M", "1G", "1024": bytes. */
bool admin_size(struct slice text, uint64_t *bytes);

void admin_import_start(struct admin_call *call);
void admin_import_destroy(struct admin_import *import);

/* A line of a passwd-file as Dovecot reads it: name:{SCHEME}hash:uid:gid:gecos:home:shell:extra */
struct passwd_line {
    struct slice name, hash;
    uint64_t quota; /* 0: none given */
};
enum passwd_line_result { PASSWD_LINE, PASSWD_NOTHING, PASSWD_BAD };
enum passwd_line_result passwd_line_read(struct slice text, struct passwd_line *line,
                                         struct error *error);
