/*
 * `restante status`: what all processes say of themselves, as a page for people or as it came.
 * Nothing here knows what a process counts: plain members become "name value", lists of objects one
 * line each.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

static void value_print(const char *name, const json_t *value)
{
    if (json_is_string(value)) {
        if (json_string_length(value) > 0)
            printf("  %s \"%s\"", name, json_string_value(value));
    } else if (json_is_integer(value)) {
        printf("  %s %lld", name, (long long)json_integer_value(value));
    } else if (json_is_boolean(value)) {
        printf("  %s %s", name, json_is_true(value) ? "yes" : "no");
    }
}

static void members_print(const json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)object, name, value)
        if (strcmp(name, "process") != 0 && strcmp(name, "index") != 0)
            value_print(name, value);
    putchar('\n');
}

static void lists_print(const json_t *object)
{
    const char *name;
    json_t *list, *item;
    size_t i;
    json_object_foreach ((json_t *)(uintptr_t)object, name, list)
        json_array_foreach (list, i, item)
            if (json_is_object(item)) {
                printf("    %s", name);
                members_print(item);
            }
}

static void page_print(const json_t *status)
{
    const json_t *process;
    size_t i;
    json_array_foreach (json_object_get(status, "processes"), i, process) {
        printf("%s%lld", json_string_value(json_object_get(process, "process")),
               (long long)json_integer_value(json_object_get(process, "index")));
        members_print(process);
        lists_print(process);
    }
    json_int_t missing = json_integer_value(json_object_get(status, "missing"));
    if (missing > 0)
        printf("%lld processes did not answer; see the log\n", (long long)missing);
}

struct shown {
    bool json, answered, failed;
};

static void on_line(void *arg, json_t *value)
{
    struct shown *shown = arg;
    const char *failure = json_string_value(json_object_get(value, "error"));
    shown->answered = true;
    if (failure != NULL) {
        ctl_fail("%s", failure);
        shown->failed = true;
    } else if (shown->json) {
        json_dumpf(value, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        page_print(value);
    }
}

int ctl_status(const struct ctl_command *self, int argc, char **argv)
{
    struct ctl_data data;
    struct error error = {""};
    struct shown shown = {false};
    const char *given = NULL;
    const struct ctl_option options[] = {{.name = "data", .kind = CTL_TEXT, .text = &given},
                                         {.name = "json", .kind = CTL_FLAG, .flag = &shown.json},
                                         {.name = NULL}};
    int result = ctl_options(self, options, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    if (argc != 1)
        return ctl_misuse(self, "status takes no words");
    if (!ctl_data_find(given, &data))
        return CTL_FAILED;
    json_t *request = json_pack("{s:s}", "verb", "status");
    enum ctl_asked asked = ctl_ask_server(&data, request, on_line, &shown, &error);
    json_decref(request);
    if (asked == CTL_NO_SERVER)
        return ctl_fail("no server runs in %s: start it with restante serve", data.path);
    if (asked == CTL_UNREACHABLE)
        return ctl_fail("%s", error.text);
    if (!shown.answered)
        return ctl_fail("the server did not answer: only root and the user who runs it may ask");
    return shown.failed ? CTL_FAILED : CTL_OK;
}
