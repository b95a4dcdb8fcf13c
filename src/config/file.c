/*
 * libconfuse gets its options from the table of settings, all as strings, so that units and bounds
 * are judged by settings_set() alone; a validator per option runs while the parser still knows file
 * and line. libconfuse takes the end of a file for the end of every open section; so an option of
 * our own stands behind the text, which is at the top level only if every section was closed.
 * libconfuse hands no pointer to its callbacks, hence the statics: a file is read by one
 * thread at a time.
 */
#include <confuse.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "config/config.h"
#include "config/settings_table.h"

enum { SECTIONS_MAX = 32, FILE_MAX = 1024 * 1024 };

#define END "end-of-file"

struct section {
    char name[32];
    cfg_opt_t *options; /* ends with CFG_END */
    size_t count;
};

static struct config *reading;
static struct error *reading_error;
static const char *reading_path; /* a section's cfg does not know it */

static void refuse(cfg_t *cfg, const char *text)
{
    if (strstr(text, END) != NULL)
        text = "the file ends inside of a section or before a value: is a } missing?";
    if (reading_error->text[0] == '\0')
        error_set(reading_error, "%s:%d: %s", reading_path, cfg->line, text);
}

__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *format,
                                                           va_list args)
{
    char text[160], line[230];
    vsnprintf(text, sizeof(text), format, args);
    snprintf(line, sizeof(line), "%s%s", text,
             strstr(text, "no such option") != NULL ? "; see restante config --defaults" : "");
    refuse(cfg, line);
}

static int on_value(cfg_t *cfg, cfg_opt_t *option)
{
    struct error error = {""};
    char name[64];
    const char *value = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    snprintf(name, sizeof(name), "%s_%s", cfg_name(cfg), cfg_opt_name(option));
    if (settings_set(&reading->settings, slice_str(name), slice_str(value), &error))
        return 0;
    refuse(cfg, error.text);
    return -1;
}

static int on_listen(cfg_t *cfg, cfg_opt_t *option)
{
    struct error error = {""};
    const char *value = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    reading->listen_count = cfg_opt_size(option) - 1; /* called once more behind the last */
    if (config_listen(reading, slice_str(value), &error))
        return 0;
    refuse(cfg, error.text);
    return -1;
}

static struct section *section_of(struct section *sections, const char *name)
{
    size_t length = strcspn(name, "_");
    struct section *section = sections;
    while (section->name[0] != '\0' &&
           (strlen(section->name) != length || memcmp(section->name, name, length) != 0))
        section++;
    ASSERT(section < sections + SECTIONS_MAX - 1 && length < sizeof(section->name));
    memcpy(section->name, name, length);
    return section;
}

static void add_option(struct section *section, cfg_opt_t option)
{
    section->options = mem_grow(section->options, section->count + 2, sizeof(cfg_opt_t));
    section->options[section->count++] = option;
    section->options[section->count] = (cfg_opt_t)CFG_END();
}

static void make_sections(struct section *sections)
{
    for (size_t i = 0; i < setting_count; i++) {
        struct section *section = section_of(sections, setting_rows[i].name);
        const char *name = strchr(setting_rows[i].name, '_') + 1;
        add_option(section, (cfg_opt_t)CFG_STR(name, NULL, CFGF_NODEFAULT));
    }
}

static cfg_t *make_parser(struct section *sections)
{
    cfg_opt_t top[SECTIONS_MAX + 3];
    size_t count = 0;
    top[count++] = (cfg_opt_t)CFG_STR_LIST("listen", NULL, CFGF_NODEFAULT);
    top[count++] = (cfg_opt_t)CFG_STR(END, NULL, CFGF_NODEFAULT);
    for (struct section *section = sections; section->name[0] != '\0'; section++)
        top[count++] = (cfg_opt_t)CFG_SEC(section->name, section->options, CFGF_NONE);
    top[count] = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(top, CFGF_NONE);
    ASSERT(cfg != NULL);
    cfg_set_error_function(cfg, on_error);
    cfg_set_validate_func(cfg, "listen", on_listen);
    for (size_t i = 0; i < setting_count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s", setting_rows[i].name);
        *strchr(name, '_') = '|';
        cfg_set_validate_func(cfg, name, on_value);
    }
    return cfg;
}

/* The whole file with END behind it, or NULL. */
static char *file_text(const char *path, struct error *error)
{
    static const char end[] = "\n" END " = yes\n";
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        error_errno(error, "%s", path);
        return NULL;
    }
    char *text = mem_alloc(FILE_MAX + sizeof(end));
    size_t size = fread(text, 1, FILE_MAX, file);
    bool good = !ferror(file) || error_errno(error, "%s", path);
    if (good && size == FILE_MAX)
        good = error_set(error, "%s: too large for a configuration file", path);
    if (good && memchr(text, '\0', size) != NULL)
        good = error_set(error, "%s: a NUL is in it: this is no text file", path);
    fclose(file);
    memcpy(text + size, end, sizeof(end));
    if (!good)
        free(text);
    return good ? text : NULL;
}

bool config_read(struct config *config, const char *path, struct error *error)
{
    struct section sections[SECTIONS_MAX] = {{{0}, NULL, 0}};
    char *text = file_text(path, error);
    if (text == NULL)
        return false;
    make_sections(sections);
    cfg_t *cfg = make_parser(sections);
    error->text[0] = '\0';
    reading = config;
    reading_error = error;
    reading_path = path;
    config->listen_count = 0;
    bool good = cfg_parse_buf(cfg, text) == CFG_SUCCESS;
    if (good && cfg_size(cfg, END) == 0)
        good = error_set(error,
                         "%s: the file ends inside of a comment or a text: is a \" or */ "
                         "missing?",
                         path);
    else if (!good && error->text[0] == '\0')
        error_set(error, "%s: cannot be read as a configuration file", path);
    cfg_free(cfg);
    free(text);
    for (struct section *section = sections; section->name[0] != '\0'; section++)
        free(section->options);
    return good;
}

void config_defaults(struct config *config)
{
    memset(config, 0, sizeof(*config));
    settings_defaults(&config->settings);
}

bool config_listen(struct config *config, struct slice text, struct error *error)
{
    static const char *const names[] = {"imap", "imaps", "pop3", "pop3s", "lmtp", "auth", "http"};
    struct address address;
    if (config->listen_count == CONFIG_LISTEN_MAX)
        return error_set(error, "at most %d addresses to listen on", CONFIG_LISTEN_MAX);
    if (!address_parse(text, &address, error))
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(address.name, names[i]) != 0)
            continue;
        config->listen[config->listen_count++] = address;
        return true;
    }
    return error_set(error, "\"%s\" must be one of: imap imaps pop3 pop3s lmtp auth http",
                     address.name);
}
