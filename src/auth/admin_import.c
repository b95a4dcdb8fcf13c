/*
 * Verb account-import: some lines of a passwd-file, in one edit of the database. Clear-text
 * passwords are hashed first. Harmless to repeat: an account remembers a fingerprint of what an
 * import brought last, so the same file changes nothing, even when the user has chosen another
 * password since; a changed line updates. A line that cannot be taken is named, the others are.
 */
#include <stdlib.h>

#include "auth/admin_priv.h"
#include "base/log.h"
#include "base/mem.h"

struct admin_row {
    struct admin_call *call;
    uint64_t line;
    struct buf verifier;
    struct sasl_scram_keys keys;
    struct auth_edit edit;
    bool usable;
};

struct admin_import {
    struct admin_row *rows;
    size_t count;
    size_t hashing; /* rows at the hashing threads, and one while rows are read */
    struct auth_edit *edits;
    struct admin_row **edited; /* beside edits */
    size_t edit_count;
    json_t *problems;
};

static void problem(struct admin_call *call, uint64_t line, const char *text)
{
    json_array_append_new(call->import->problems,
                          json_pack("{s:I,s:s}", "line", (json_int_t)line, "text", text));
}

static void import_answer(struct admin_call *call)
{
    struct admin_import *import = call->import;
    json_int_t counts[3] = {0};
    for (size_t i = 0; i < import->edit_count; i++) {
        const struct auth_edit *edit = &import->edits[i];
        if (edit->outcome <= AUTH_UNCHANGED)
            counts[edit->outcome]++;
        else if (edit->outcome == AUTH_TOO_MANY)
            problem(call, import->edited[i]->line, "this name stands twice in the file");
        else
            problem(call, import->edited[i]->line, auth_outcome_text(edit->outcome));
        if (edit->secret_changed && call->host->revoked != NULL)
            call->host->revoked(call->host->arg, edit->id, edit->volume, "password changed");
    }
    if (counts[AUTH_DONE] + counts[AUTH_UPDATED] > 0 && call->host->changed != NULL)
        call->host->changed(call->host->arg);
    log_info("account_import", "added=%lld updated=%lld unchanged=%lld problems=%zu",
             (long long)counts[AUTH_DONE], (long long)counts[AUTH_UPDATED],
             (long long)counts[AUTH_UNCHANGED], json_array_size(import->problems));
    admin_reply(call, json_pack("{s:I,s:I,s:I,s:O}", "added", counts[AUTH_DONE], "updated",
                                counts[AUTH_UPDATED], "unchanged", counts[AUTH_UNCHANGED],
                                "problems", import->problems));
}

static void import_changed(void *arg)
{
    import_answer(arg);
}

/* All rows are hashed. */
static void import_edit(struct admin_call *call)
{
    struct admin_import *import = call->import;
    import->edits = mem_array(import->count + 1, sizeof(*import->edits));
    import->edited = mem_array(import->count + 1, sizeof(*import->edited));
    for (size_t i = 0; i < import->count; i++) {
        if (!import->rows[i].usable)
            continue;
        import->edits[import->edit_count] = import->rows[i].edit;
        import->edited[import->edit_count++] = &import->rows[i];
    }
    if (import->edit_count == 0)
        import_answer(call);
    else
        auth_accounts_change(call->host->accounts, import->edits, import->edit_count,
                             import_changed, call);
}

static void hashing_less(struct admin_call *call)
{
    if (--call->import->hashing == 0)
        import_edit(call);
}

static void row_hashed(void *arg, const struct hash_result *result)
{
    struct admin_row *row = arg;
    if (row->verifier.size > 0)
        mem_wipe(row->verifier.data, row->verifier.size);
    buf_clear(&row->verifier);
    buf_add_str(&row->verifier, result->verifier);
    row->edit.verifier = buf_slice(&row->verifier);
    memcpy(row->edit.imported, result->fingerprint, sizeof(row->edit.imported));
    if (result->has_keys) {
        row->keys = result->keys;
        row->edit.keys = &row->keys;
    }
    row->usable = !result->failed;
    if (result->failed)
        problem(row->call, row->line, "there was no memory to hash this password; import again");
    hashing_less(row->call);
}

static void row_hash(struct admin_row *row)
{
    struct admin_call *call = row->call;
    struct auth_account account;
    struct hash_ask ask = {
        .kind = HASH_IMPORT, .owner = SLICE_LITERAL("import"), .secret = buf_slice(&row->verifier)};
    uint8_t hash[32];
    char folded[AUTH_NAME_MAX];
    for (size_t i = 0; i < row->edit.name.size; i++)
        folded[i] = (char)ascii_lower(row->edit.name.data[i]);
    auth_accounts_hash(call->host->accounts, "import salt", slice_make(folded, row->edit.name.size),
                       hash);
    memcpy(ask.salt, hash, sizeof(ask.salt));
    if (auth_accounts_find(call->host->accounts, row->edit.name, &account) == AUTH_FOUND)
        memcpy(ask.imported, account.imported, sizeof(ask.imported));
    call->import->hashing++;
    if (hasher_submit(call->host->hasher, &ask, row_hashed, row) == NULL) {
        problem(call, row->line, "too many passwords wait to be hashed; import again");
        call->import->hashing--;
    }
}

static void row_read(struct admin_row *row, struct slice text)
{
    struct admin_call *call = row->call;
    struct passwd_line line;
    struct error error = {""};
    uint8_t hash[32];
    bool clear;
    enum passwd_line_result result = passwd_line_read(text, &line, &error);
    if (result == PASSWD_NOTHING)
        return;
    if (result == PASSWD_BAD || !password_take(line.hash, &row->verifier, &clear, &error)) {
        problem(call, row->line, error.text);
        return;
    }
    row->edit = (struct auth_edit){.kind = AUTH_EDIT_IMPORT,
                                   .name = line.name,
                                   .quota = line.quota,
                                   .verifier = buf_slice(&row->verifier)};
    struct auth_account account;
    if (auth_accounts_find(call->host->accounts, line.name, &account) == AUTH_BAD_NAME) {
        problem(call, row->line, auth_outcome_text(AUTH_BAD));
        return;
    }
    if (clear) {
        row_hash(row);
        return;
    }
    auth_accounts_hash(call->host->accounts, "import", row->edit.verifier, hash);
    memcpy(row->edit.imported, hash, sizeof(row->edit.imported));
    if (password_verifier_keys(row->edit.verifier, &row->keys))
        row->edit.keys = &row->keys;
    row->usable = true;
}

void admin_import_start(struct admin_call *call)
{
    const json_t *lines = json_object_get(call->request, "lines");
    uint64_t first = (uint64_t)json_integer_value(json_object_get(call->request, "line"));
    struct admin_import *import = MEM_NEW(struct admin_import);
    call->import = import;
    import->problems = json_array();
    import->count = json_array_size(lines);
    if (import->count > AUTH_EDITS_MAX) {
        admin_fail(call, "at most %d lines in one request", AUTH_EDITS_MAX);
        return;
    }
    import->rows = mem_array(import->count + 1, sizeof(*import->rows));
    import->hashing = 1;
    for (size_t i = 0; i < import->count; i++) {
        const json_t *text = json_array_get(lines, i);
        import->rows[i].call = call;
        import->rows[i].line = first + i;
        row_read(&import->rows[i], slice_make(json_string_value(text), json_string_length(text)));
    }
    hashing_less(call);
}

void admin_import_destroy(struct admin_import *import)
{
    if (import == NULL)
        return;
    for (size_t i = 0; import->rows != NULL && i < import->count; i++) {
        struct admin_row *row = &import->rows[i];
        if (row->verifier.size > 0)
            mem_wipe(row->verifier.data, row->verifier.size);
        buf_finish(&row->verifier);
    }
    json_decref(import->problems);
    free(import->rows);
    free(import->edits);
    free(import->edited);
    free(import);
}
