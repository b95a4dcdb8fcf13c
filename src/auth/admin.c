/*
 * The verbs on accounts but import: a table, arguments checked, then one edit of the database (and
 * before it, for a password, one job of the hashing threads), then an answer.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/admin_priv.h"
#include "base/log.h"
#include "base/mem.h"

enum { LIST_MOST = 1000 };

/* ---- answers --------------------------------------------------------------------------------- */

static void secret_wipe(json_t *request, const char *member)
{
    struct slice text = admin_text(request, member);
    if (text.data != NULL)
        mem_wipe((void *)(uintptr_t)text.data, text.size);
}

void admin_call_destroy(struct admin_call *call)
{
    secret_wipe(call->request, "password");
    json_decref(call->request);
    admin_import_destroy(call->import);
    buf_finish(&call->verifier);
    free(call->aliases);
    mem_wipe(call, sizeof(*call));
    free(call);
}

void admin_reply(struct admin_call *call, json_t *reply)
{
    char *text = json_dumps(reply, JSON_COMPACT);
    call->answer(call->arg, true, slice_str(text));
    free(text);
    json_decref(reply);
    admin_call_destroy(call);
}

void admin_fail(struct admin_call *call, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_t *reply = json_pack("{s:s}", "error", text);
    if (reply == NULL) /* text is no UTF-8: a stranger's word was cut */
        reply = json_pack("{s:s}", "error", "the request cannot be carried out");
    char *line = json_dumps(reply, JSON_COMPACT);
    call->answer(call->arg, false, slice_str(line));
    free(line);
    json_decref(reply);
    admin_call_destroy(call);
}

/* ---- arguments ------------------------------------------------------------------------------- */

struct slice admin_text(const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    if (!json_is_string(value))
        return SLICE_NONE;
    return slice_make(json_string_value(value), json_string_length(value));
}

/* False: the call has ended. */
static bool quota_get(struct admin_call *call, bool needed)
{
    struct slice text = admin_text(call->request, "quota");
    if (text.data == NULL && !needed)
        return true;
    if (text.data != NULL && admin_size(text, &call->edit.quota))
        return true;
    admin_fail(call, "a quota is a number of bytes such as 500M or 1G, or 0 for the default");
    return false;
}

static bool aliases_get(struct admin_call *call)
{
    const json_t *list = json_object_get(call->request, "aliases");
    size_t count = json_array_size(list);
    if (count == 0)
        return true;
    if (count > AUTH_NAMES_MAX / 2) {
        admin_fail(call, "%s", auth_outcome_text(AUTH_TOO_MANY));
        return false;
    }
    call->aliases = mem_array(count, sizeof(*call->aliases));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (json_is_string(item))
            call->aliases[i] = slice_make(json_string_value(item), json_string_length(item));
    }
    call->edit.aliases = call->aliases;
    call->edit.alias_count = count;
    return true;
}

/* ---- one edit -------------------------------------------------------------------------------- */

static void edit_tell(struct admin_call *call)
{
    const struct admin_host *host = call->host;
    const struct auth_edit *edit = &call->edit;
    bool off = edit->kind == AUTH_EDIT_STATE && edit->state == AUTH_DISABLED;
    if (host->revoked != NULL &&
        (off || edit->kind == AUTH_EDIT_PASSWORD || edit->kind == AUTH_EDIT_DELETE))
        host->revoked(host->arg, edit->id, edit->volume,
                      edit->kind == AUTH_EDIT_PASSWORD ? "password changed"
                      : off                            ? "account disabled"
                                                       : "account deleted");
    if (host->deleted != NULL && edit->kind == AUTH_EDIT_DELETE)
        host->deleted(host->arg, edit->id, edit->volume);
    if (host->changed != NULL)
        host->changed(host->arg);
}

static void edit_done(void *arg)
{
    struct admin_call *call = arg;
    const struct auth_edit *edit = &call->edit;
    if (edit->outcome > AUTH_UNCHANGED) {
        admin_fail(call, "%s", auth_outcome_text(edit->outcome));
        return;
    }
    log_info("account_changed", "verb=%s account=%s result=%s", call->verb,
             log_value(edit->name).text, edit->outcome == AUTH_UNCHANGED ? "unchanged" : "done");
    if (edit->outcome != AUTH_UNCHANGED)
        edit_tell(call);
    json_t *reply = json_object();
    if (edit->kind == AUTH_EDIT_ADD) {
        json_object_set_new(reply, "name",
                            json_stringn((const char *)edit->name.data, edit->name.size));
        json_object_set_new(reply, "id", json_string(id_text(edit->id).text));
        json_object_set_new(reply, "volume", json_integer(edit->volume));
    }
    if (edit->outcome == AUTH_UNCHANGED)
        json_object_set_new(reply, "unchanged", json_true());
    admin_reply(call, reply);
}

static void edit_submit(struct admin_call *call)
{
    auth_accounts_change(call->host->accounts, &call->edit, 1, edit_done, call);
}

static void hash_made(void *arg, const struct hash_result *result)
{
    struct admin_call *call = arg;
    if (result->failed) {
        admin_fail(call, "there is no memory to hash the password; try again");
        return;
    }
    buf_clear(&call->verifier);
    buf_add_str(&call->verifier, result->verifier);
    call->edit.verifier = buf_slice(&call->verifier);
    if (result->has_keys) {
        call->keys = result->keys;
        call->edit.keys = &call->keys;
    }
    edit_submit(call);
}

/* Goes on with the verifier that "password" or "hash" gives. */
static void secret_then_edit(struct admin_call *call)
{
    struct slice secret = admin_text(call->request, "password");
    struct slice hash = admin_text(call->request, "hash");
    struct error error = {""};
    bool clear = false;
    if (hash.data != NULL) {
        if (!password_take(hash, &call->verifier, &clear, &error)) {
            admin_fail(call, "%s", error.text);
            return;
        }
        secret = buf_slice(&call->verifier);
        if (!clear) {
            call->edit.verifier = secret;
            if (password_verifier_keys(secret, &call->keys))
                call->edit.keys = &call->keys;
            edit_submit(call);
            return;
        }
    }
    if (secret.size == 0 || secret.size > SASL_SECRET_MAX || slice_find(secret, 0) != secret.size) {
        admin_fail(call, "a password has 1 to %d bytes", SASL_SECRET_MAX);
        return;
    }
    struct hash_ask ask = {.kind = HASH_MAKE, .owner = SLICE_LITERAL("admin"), .secret = secret};
    if (hasher_submit(call->host->hasher, &ask, hash_made, call) == NULL)
        admin_fail(call, "too many passwords wait to be hashed; try again");
}

/* ---- the verbs ------------------------------------------------------------------------------- */

static void verb_add(struct admin_call *call)
{
    struct auth_account account;
    call->edit.kind = AUTH_EDIT_ADD;
    if (!quota_get(call, false) || !aliases_get(call))
        return;
    /* Told before the hashing, which takes its time; the edit looks again. */
    switch (auth_accounts_find(call->host->accounts, call->edit.name, &account)) {
    case AUTH_BAD_NAME:
        admin_fail(call, "%s", auth_outcome_text(AUTH_BAD));
        return;
    case AUTH_FOUND:
        admin_fail(call, "%s", auth_outcome_text(AUTH_EXISTS));
        return;
    default:
        secret_then_edit(call);
    }
}

static void verb_passwd(struct admin_call *call)
{
    struct auth_account account;
    call->edit.kind = AUTH_EDIT_PASSWORD;
    if (auth_accounts_find(call->host->accounts, call->edit.name, &account) != AUTH_FOUND)
        admin_fail(call, "%s", auth_outcome_text(AUTH_UNKNOWN));
    else
        secret_then_edit(call);
}

static void verb_enable(struct admin_call *call)
{
    call->edit.kind = AUTH_EDIT_STATE;
    call->edit.state = AUTH_ENABLED;
    edit_submit(call);
}

static void verb_disable(struct admin_call *call)
{
    call->edit.kind = AUTH_EDIT_STATE;
    call->edit.state = AUTH_DISABLED;
    edit_submit(call);
}

static void verb_delete(struct admin_call *call)
{
    call->edit.kind = AUTH_EDIT_DELETE;
    edit_submit(call);
}

static void verb_quota(struct admin_call *call)
{
    call->edit.kind = AUTH_EDIT_QUOTA;
    if (quota_get(call, true))
        edit_submit(call);
}

static void verb_alias(struct admin_call *call)
{
    bool remove = json_is_true(json_object_get(call->request, "remove"));
    call->edit.kind = remove ? AUTH_EDIT_UNALIAS : AUTH_EDIT_ALIAS;
    call->edit.alias = admin_text(call->request, "alias");
    edit_submit(call);
}

static json_t *account_json(const struct auth_account *account)
{
    static const char *const states[] = {"enabled", "disabled", "deleted"};
    return json_pack("{s:s%,s:s,s:s,s:i,s:I,s:I,s:b}", "name", account->name.data,
                     account->name.size, "id", id_text(account->id).text, "state",
                     states[account->state], "volume", (int)account->volume, "quota",
                     (json_int_t)account->quota, "created", (json_int_t)account->created, "scram",
                     (int)account->has_keys);
}

static void alias_json(void *arg, struct slice text)
{
    json_array_append_new(arg, json_stringn((const char *)text.data, text.size));
}

static void verb_list(struct admin_call *call)
{
    struct auth_accounts *accounts = call->host->accounts;
    struct auth_account account;
    json_t *list = json_array();
    bool more = false;
    if (call->edit.name.data != NULL) {
        if (auth_accounts_find(accounts, call->edit.name, &account) != AUTH_FOUND) {
            json_decref(list);
            admin_fail(call, "%s", auth_outcome_text(AUTH_UNKNOWN));
            return;
        }
        json_t *item = account_json(&account), *aliases = json_array();
        auth_accounts_names(accounts, account.id, alias_json, aliases);
        json_object_set_new(item, "aliases", aliases);
        json_array_append_new(list, item);
    } else {
        struct slice after = admin_text(call->request, "after");
        json_int_t most = json_integer_value(json_object_get(call->request, "most"));
        if (most <= 0 || most > LIST_MOST)
            most = LIST_MOST;
        while (auth_accounts_next(accounts, after, &account)) {
            if (json_array_size(list) == (size_t)most) {
                more = true;
                break;
            }
            json_array_append_new(list, account_json(&account));
            after = account.name;
        }
    }
    admin_reply(call, json_pack("{s:o,s:b}", "accounts", list, "more", (int)more));
}

static const struct verb {
    const char *name;
    bool needs_name;
    void (*run)(struct admin_call *call);
} verbs[] = {
    {"account-add", true, verb_add},
    {"account-passwd", true, verb_passwd},
    {"account-enable", true, verb_enable},
    {"account-disable", true, verb_disable},
    {"account-delete", true, verb_delete},
    {"account-quota", true, verb_quota},
    {"account-alias", true, verb_alias},
    {"account-list", false, verb_list},
    {"account-import", false, admin_import_start},
};

bool admin_request(const struct admin_host *host, struct slice verb, struct slice request,
                   admin_answer *answer, void *arg)
{
    const struct verb *row = NULL;
    json_error_t error;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (slice_equal_str(verb, verbs[i].name))
            row = &verbs[i];
    if (row == NULL)
        return false;
    struct admin_call *call = MEM_NEW(struct admin_call);
    call->host = host;
    call->verb = row->name;
    call->answer = answer;
    call->arg = arg;
    call->request = json_loadb((const char *)request.data, request.size, 0, &error);
    call->edit.name = admin_text(call->request, "name");
    if (!json_is_object(call->request))
        admin_fail(call, "the request is no JSON object: %s", error.text);
    else if (row->needs_name && call->edit.name.data == NULL)
        admin_fail(call, "the request needs the name of an account");
    else
        row->run(call);
    return true;
}
