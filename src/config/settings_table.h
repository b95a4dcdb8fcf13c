/* The rows of settings.h at run time: for settings.c, file.c, and what prints them. */
#pragma once
#include "config/settings.h"

enum setting_type { SETTING_NUMBER, SETTING_TEXT, SETTING_CHOICE };

struct setting {
    const char *name; /* as in struct settings: its first "_" is the "." of the file */
    enum setting_type type;
    size_t offset; /* in struct settings */
    uint64_t number, least, most;
    const char *word; /* TEXT: the default; CHOICE: "default|all words" */
    bool reload;
    const char *text; /* why it is there */
};

extern const struct setting setting_rows[];
extern const size_t setting_count;

/* Of a CHOICE: all words, separated by spaces; and the default one. */
struct slice setting_words(const struct setting *row);
struct slice setting_default_word(const struct setting *row);
