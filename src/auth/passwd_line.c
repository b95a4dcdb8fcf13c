/*
 * One line of a passwd-file as Dovecot reads it (passdb/userdb passwd-file):
 *   name:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields
 * Name and hash are taken, and a quota from the extra fields (quota_rule=*:bytes= or :storage=,
 * quota_storage_size=, with or without userdb_); uid, home and the rest mean nothing here. A hash
 * may hold colons only inside an IPv6-like scheme nobody uses: the second colon ends it.
 */
#include "auth/admin_priv.h"

bool admin_size(struct slice text, uint64_t *bytes)
{
    static const char units[] = "BKMGT";
    unsigned shift = 0;
    text = slice_trim(text);
    if (text.size > 1 && (text.data[text.size - 1] | 0x20) == 'b' &&
        !ascii_is_digit(text.data[text.size - 2]))
        text.size--; /* GB */
    if (text.size > 1 && !ascii_is_digit(text.data[text.size - 1])) {
        char unit = (char)(text.data[text.size - 1] & ~0x20);
        const char *at = strchr(units, unit);
        if (unit == '\0' || at == NULL)
            return false;
        shift = 10 * (unsigned)(at - units);
        text.size--;
    }
    if (!slice_u64(text, bytes) || *bytes > (UINT64_MAX >> 1) >> shift)
        return false;
    *bytes <<= shift;
    return true;
}

/* *:bytes=1G, *:storage=1048576 (in KiB when it has no unit) */
static bool rule_read(struct slice rule, uint64_t *quota)
{
    struct slice root = slice_split(&rule, ':');
    struct slice kind = slice_split(&rule, '=');
    if (!slice_equal_str(root, "*") || !admin_size(rule, quota))
        return false;
    if (slice_equal_str(kind, "bytes"))
        return true;
    if (!slice_equal_str(kind, "storage"))
        return false;
    if (ascii_is_digit(rule.data[rule.size - 1]))
        *quota = *quota > UINT64_MAX >> 11 ? UINT64_MAX >> 1 : *quota << 10;
    return true;
}

static void extra_read(struct slice extra, uint64_t *quota)
{
    while (extra.size > 0) {
        struct slice value = slice_split(&extra, ' ');
        struct slice name = slice_split(&value, '=');
        if (slice_starts(name, SLICE_LITERAL("userdb_")))
            name = slice_sub(name, 7, name.size);
        uint64_t found = 0;
        if ((slice_equal_str(name, "quota_rule") && rule_read(value, &found)) ||
            (slice_equal_str(name, "quota_storage_size") && admin_size(value, &found)))
            *quota = found;
    }
}

enum passwd_line_result passwd_line_read(struct slice text, struct passwd_line *line,
                                         struct error *error)
{
    memset(line, 0, sizeof(*line));
    if (text.size > 0 && text.data[text.size - 1] == '\r')
        text.size--;
    if (slice_trim(text).size == 0 || text.data[0] == '#')
        return PASSWD_NOTHING;
    if (slice_find(text, ':') == text.size) {
        error_set(error, "no colon: a line is name:{SCHEME}hash:...");
        return PASSWD_BAD;
    }
    line->name = slice_split(&text, ':');
    line->hash = slice_split(&text, ':');
    for (int skip = 0; skip < 5; skip++)
        slice_split(&text, ':'); /* uid, gid, gecos, home, shell */
    extra_read(text, &line->quota);
    if (line->hash.size == 0) {
        error_set(error, "no password: give it one with restante account passwd");
        return PASSWD_BAD;
    }
    return PASSWD_LINE;
}
