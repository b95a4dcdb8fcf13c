/*
 * `restante account import`: reads the file, sends it in groups of lines, adds up what was
 * answered. A name that stands twice is named here, where the whole file is seen; the first counts.
 */
#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "ctl/ctl.h"

enum { GROUP = 100 }; /* lines in one request: auth takes 200 */

struct name {
    RB_ENTRY(name) link;
    char *text; /* lower case */
    uint64_t line;
};

static int name_compare(const struct name *a, const struct name *b)
{
    return strcmp(a->text, b->text);
}

RB_HEAD(names, name);
RB_PROTOTYPE(names, name, link, name_compare)
RB_GENERATE(names, name, link, name_compare)

struct import {
    struct ctl_data data;
    bool json;
    struct names names;
    json_t *lines; /* the group that is filled */
    uint64_t first, line;
    json_int_t added, updated, unchanged, problems;
    json_t *all_problems; /* with --json */
};

static void problem_say(struct import *import, uint64_t line, const char *text)
{
    import->problems++;
    if (import->json)
        json_array_append_new(import->all_problems,
                              json_pack("{s:I,s:s}", "line", (json_int_t)line, "text", text));
    else
        fprintf(stderr, "line %llu: %s\n", (unsigned long long)line, text);
}

struct slice import_name(struct slice line)
{
    if (slice_trim(line).size == 0 || line.data[0] == '#')
        return SLICE_NONE;
    return slice_split(&line, ':');
}

/* The line where this name stands already, or 0. */
static uint64_t name_seen(struct import *import, struct slice name)
{
    struct name *entry = MEM_NEW(struct name);
    entry->text = slice_strdup(name);
    for (char *c = entry->text; *c != '\0'; c++)
        *c = (char)ascii_lower((uint8_t)*c);
    entry->line = import->line;
    const struct name *before = RB_INSERT(names, &import->names, entry);
    if (before == NULL)
        return 0;
    free(entry->text);
    free(entry);
    return before->line;
}

static json_int_t count_of(const json_t *answer, const char *member)
{
    return json_integer_value(json_object_get(answer, member));
}

static bool group_send(struct import *import, struct error *error)
{
    if (json_array_size(import->lines) == 0)
        return true;
    json_t *request = json_pack("{s:s,s:I,s:O}", "verb", "account-import", "line",
                                (json_int_t)import->first, "lines", import->lines);
    json_t *answer = ctl_account_ask(&import->data, request, error), *problem;
    size_t i;
    json_decref(request);
    json_array_clear(import->lines);
    if (answer == NULL)
        return false;
    import->added += count_of(answer, "added");
    import->updated += count_of(answer, "updated");
    import->unchanged += count_of(answer, "unchanged");
    json_array_foreach (json_object_get(answer, "problems"), i, problem)
        problem_say(import, (uint64_t)count_of(problem, "line"),
                    json_string_value(json_object_get(problem, "text")));
    json_decref(answer);
    return true;
}

/* Lines are sent as they stand, in order, so that their numbers are those of the file. */
static bool line_take(struct import *import, struct slice line, struct error *error)
{
    char text[100];
    import->line++;
    if (json_array_size(import->lines) == 0)
        import->first = import->line;
    struct slice name = import_name(line);
    uint64_t before = name.size > 0 && utf8_valid(line) ? name_seen(import, name) : 0;
    if (before > 0) {
        snprintf(text, sizeof(text), "this name stands in line %llu already; that one counts",
                 (unsigned long long)before);
        problem_say(import, import->line, text);
        line = SLICE_LITERAL("");
    } else if (!utf8_valid(line) || slice_find(line, 0) != line.size) {
        problem_say(import, import->line, "not UTF-8");
        line = SLICE_LITERAL("");
    }
    json_array_append_new(import->lines, json_stringn((const char *)line.data, line.size));
    return json_array_size(import->lines) < GROUP || group_send(import, error);
}

static bool file_read(struct import *import, FILE *file, struct error *error)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    uint64_t done = 0;
    struct stat about;
    bool good = true;
    bool known = fstat(fileno(file), &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0;
    while (good && (size = getline(&line, &room, file)) >= 0) {
        done += (uint64_t)size;
        struct slice text = slice_make(line, (size_t)size);
        if (text.size > 0 && text.data[text.size - 1] == '\n')
            text.size--;
        good = line_take(import, text, error);
        if (known)
            ctl_progress("import", done, (uint64_t)about.st_size);
    }
    if (known)
        ctl_progress("import", 0, 0);
    good = good && group_send(import, error);
    if (good && ferror(file))
        good = error_errno(error, "the file cannot be read");
    if (line != NULL)
        mem_wipe(line, room);
    free(line);
    return good;
}

static void result_say(const struct import *import)
{
    if (import->json) {
        json_dumpf(import->all_problems, stderr, JSON_COMPACT);
        printf("{\"added\":%lld,\"updated\":%lld,\"unchanged\":%lld,\"problems\":%lld}\n",
               (long long)import->added, (long long)import->updated, (long long)import->unchanged,
               (long long)import->problems);
    } else {
        printf("%lld added, %lld updated, %lld unchanged, %lld lines with problems\n",
               (long long)import->added, (long long)import->updated, (long long)import->unchanged,
               (long long)import->problems);
    }
}

static void import_finish(struct import *import)
{
    struct name *name;
    while ((name = RB_ROOT(&import->names)) != NULL) {
        RB_REMOVE(names, &import->names, name);
        free(name->text);
        free(name);
    }
    json_decref(import->lines);
    json_decref(import->all_problems);
    ctl_offline_close();
}

int ctl_import(const struct ctl_command *self, int argc, char **argv)
{
    struct import import = {.json = false};
    struct error error = {""};
    const char *given = NULL;
    const struct ctl_option options[] = {{.name = "data", .kind = CTL_TEXT, .text = &given},
                                         {.name = "json", .kind = CTL_FLAG, .flag = &import.json},
                                         {.name = NULL}};
    int result = ctl_options(self, options, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    if (argc != 2)
        return ctl_misuse(self, "one file is needed; - is standard input");
    if (!ctl_data_find(given, &import.data))
        return CTL_FAILED;
    FILE *file = strcmp(argv[1], "-") == 0 ? stdin : fopen(argv[1], "re");
    if (file == NULL)
        return ctl_fail("%s: %s", argv[1], strerror(errno));
    RB_INIT(&import.names);
    import.lines = json_array();
    import.all_problems = json_array();
    bool good = file_read(&import, file, &error);
    if (file != stdin)
        fclose(file);
    if (good)
        result_say(&import);
    bool clean = import.problems == 0;
    import_finish(&import);
    if (!good)
        return ctl_fail("%s (up to line %llu it is done; import again)", error.text,
                        (unsigned long long)import.first);
    return clean ? CTL_OK : CTL_FAILED;
}
