/*
 * Options of a command: taken out of argv wherever they stand, as people type them. No getopt: it
 * keeps its state in globals and says its errors in its own words.
 */
#include <string.h>

#include "ctl/ctl.h"

static const struct ctl_option *option_find(const struct ctl_option *options, const char *word,
                                            const char **value)
{
    size_t size = strcspn(word, "=");
    for (; options->name != NULL; options++)
        if (strlen(options->name) == size && strncmp(options->name, word, size) == 0) {
            *value = word[size] == '=' ? word + size + 1 : NULL;
            return options;
        }
    return NULL;
}

/* False: too many. */
static bool option_set(const struct ctl_option *option, const char *value)
{
    switch (option->kind) {
    case CTL_FLAG:
        *option->flag = true;
        return true;
    case CTL_TEXT:
        *option->text = value;
        return true;
    case CTL_LIST:
        if (*option->count == CTL_LIST_MAX)
            return false;
        option->list[(*option->count)++] = value;
        return true;
    }
    return false;
}

int ctl_options(const struct ctl_command *self, const struct ctl_option *options, int *argc,
                char **argv)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        const char *word = argv[i], *value = NULL;
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            ctl_help(self);
            return -1;
        }
        if (strcmp(word, "--") == 0) {
            while (++i < *argc)
                argv[kept++] = argv[i];
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            argv[kept++] = argv[i];
            continue;
        }
        const struct ctl_option *option =
            word[1] == '-' ? option_find(options, word + 2, &value) : NULL;
        if (option == NULL)
            return ctl_misuse(self, "there is no option %s here", word);
        if (option->kind == CTL_FLAG && value != NULL)
            return ctl_misuse(self, "--%s takes no value", option->name);
        if (option->kind != CTL_FLAG && value == NULL) {
            if (++i >= *argc)
                return ctl_misuse(self, "--%s needs a value", option->name);
            value = argv[i];
        }
        if (!option_set(option, value))
            return ctl_misuse(self, "--%s is given too often", option->name);
    }
    *argc = kept;
    argv[kept] = NULL;
    return CTL_OK;
}

int ctl_options_status(int result)
{
    return result < 0 ? CTL_OK : result;
}
