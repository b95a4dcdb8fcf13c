/*
 * The administrator's verbs on accounts, as JSON in and out. The same code answers in restante-auth
 * (through control) and in the command line when no server runs; what else must happen there (end
 * sessions, wipe mail) is the host's.
 *
 * Verbs and their members (a "name" is an account's; "quota" is text such as "1G"; more than these
 * may be added, unknown members are ignored):
 *   account-add      name, password or hash, [quota], [aliases: [...]]   -> {name, id, volume}
 *   account-passwd   name, password or hash                              -> {}
 *   account-enable, account-disable, account-delete   name              -> {}
 *   account-quota    name, quota                                         -> {}
 *   account-alias    name, alias ("x@example.org" or "@example.org"), [remove: true]  -> {}
 *   account-list     [name] or [after], [most]        -> {accounts: [...], more: true|false}
 *   account-import   line (number of the first), lines: [...]
 *                          -> {added, updated, unchanged, problems: [{line, text}]}
 * A failure is {"error": "one line that says what to do"}.
 */
#pragma once
#include "auth/accounts.h"
#include "auth/hasher.h"

struct admin_host {
    struct auth_accounts *accounts;
    struct hasher *hasher;
    /* Its secret changed, it was disabled or deleted: forget and end what it has. */
    void (*revoked)(void *arg, struct id account, uint32_t volume, const char *reason);
    /* It is marked as deleted: wipe its mail, then AUTH_EDIT_FORGET. */
    void (*deleted)(void *arg, struct id account, uint32_t volume);
    void (*changed)(void *arg); /* something did */
    void *arg;
};

/* json is valid during the call. Once, possibly before admin_request() returns. */
typedef void admin_answer(void *arg, bool ok, struct slice json);
/* False: no such verb, nothing will be answered. host by reference, request is copied. */
bool admin_request(const struct admin_host *host, struct slice verb, struct slice request,
                   admin_answer *answer, void *arg);
