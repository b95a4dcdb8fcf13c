/*
 * What a person reads of the settings: the file of `restante config --defaults` and
 * doc/settings.md, both made from the table alone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "config/config.h"
#include "config/settings_table.h"

static void write_section(struct buf *out, const char *name, const char *before, const char *after)
{
    buf_printf(out, "%s%.*s%s", before, (int)strcspn(name, "_"), name, after);
}

static bool same_section(const struct setting *a, const struct setting *b)
{
    size_t length = strcspn(a->name, "_") + 1;
    return strncmp(a->name, b->name, length) == 0;
}

/* The first row of each section; sections need not be contiguous in the table. */
static bool first_of_section(size_t row)
{
    for (size_t i = 0; i < row; i++)
        if (same_section(&setting_rows[i], &setting_rows[row]))
            return false;
    return true;
}

static struct slice default_text(const struct setting *row, char *room, size_t size)
{
    if (row->type == SETTING_NUMBER) {
        snprintf(room, size, "%" PRIu64, row->number);
        return slice_str(room);
    }
    return setting_default_word(row);
}

static void write_bounds(struct buf *out, const struct setting *row)
{
    if (row->type == SETTING_NUMBER)
        buf_printf(out, "%" PRIu64 " to %" PRIu64, row->least, row->most);
    else if (row->type == SETTING_CHOICE)
        buf_printf(out, "%.*s", SLICE_PRINT(setting_words(row)));
    else
        buf_add_str(out, "text");
}

static void write_default(struct buf *out, const struct setting *row)
{
    char room[32];
    struct slice value = default_text(row, room, sizeof(room));
    const char *quote = row->type == SETTING_NUMBER ? "" : "\"";
    buf_printf(out, "    # %s\n    # (", row->text);
    write_bounds(out, row);
    buf_printf(out, "%s)\n    #%s = %s%.*s%s\n", row->reload ? "" : "; needs a restart",
               strchr(row->name, '_') + 1, quote, SLICE_PRINT(value), quote);
}

void config_write_defaults(struct buf *out)
{
    buf_add_str(
        out, "# Restante needs no configuration. Every setting is here with its default,\n"
             "# commented out. k, M, G may stand behind sizes; s, m, h, d behind times.\n"
             "# `systemctl reload restante` (SIGHUP) reads it again.\n\n"
             "# Where to listen: NAME=ADDRESS:PORT with NAME imap, imaps, pop3, pop3s, lmtp,\n"
             "# auth or http; ADDRESS is IPv4, [IPv6], or * for all; or NAME=unix:PATH,mode=0660,"
             "group=NAME.\n"
             "# Needs a restart.\n"
             "#listen = { \"imap=*:143\", \"imaps=*:993\" }\n");
    for (size_t i = 0; i < setting_count; i++) {
        if (!first_of_section(i))
            continue;
        write_section(out, setting_rows[i].name, "\n", " {\n");
        for (size_t k = i; k < setting_count; k++)
            if (same_section(&setting_rows[i], &setting_rows[k]))
                write_default(out, &setting_rows[k]);
        buf_add_str(out, "}\n");
    }
}

void config_write_manual(struct buf *out)
{
    buf_add_str(out, "# Settings\n\n"
                     "Made from the table in `src/config/settings.h`; change it there. `restante "
                     "config --defaults` prints the same as a\nconfiguration file. Numbers take k, "
                     "M, G (bytes) or s, m, h, d (times). *Reload*: SIGHUP is enough.\n\n"
                     "| setting | default | may be | reload | what for |\n"
                     "|---|---|---|---|---|\n");
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *row = &setting_rows[i];
        char room[32], name[64];
        struct slice value = default_text(row, room, sizeof(room));
        snprintf(name, sizeof(name), "%s", row->name);
        *strchr(name, '_') = '.';
        buf_printf(out, "| `%s` | %.*s | ", name, SLICE_PRINT(value));
        write_bounds(out, row);
        buf_printf(out, " | %s | %s |\n", row->reload ? "yes" : "no", row->text);
    }
}
