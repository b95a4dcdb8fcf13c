/*
 * `restante status`: what all processes say of themselves, as a page for people or as it came. The
 * page knows master's list of processes, volumes and sessions; what else a process counts is shown
 * as "name value" without being known here, zeros left out.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

enum { NAME_ROOM = 40 };

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text == NULL ? "" : text;
}

static long long number_of(const json_t *object, const char *member)
{
    return (long long)json_integer_value(json_object_get(object, member));
}

static void name_of(const json_t *process, char name[NAME_ROOM])
{
    snprintf(name, NAME_ROOM, "%s%lld", text_of(process, "process"), number_of(process, "index"));
}

/* What a process says of itself, by its place; NULL when it did not answer. */
static const json_t *answer_of(const json_t *status, const char *name)
{
    const json_t *process;
    size_t i;
    json_array_foreach (json_object_get(status, "processes"), i, process) {
        char other[NAME_ROOM];
        name_of(process, other);
        if (strcmp(name, other) == 0)
            return process;
    }
    return NULL;
}

/* ---- one line each ---------------------------------------------------------------------------
 */

static bool said_elsewhere(const char *name)
{
    static const char *const names[] = {"process", "index", "pid", NULL};
    for (size_t i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void counts_print(const json_t *answer)
{
    const char *name, *comma = "  ";
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)answer, name, value) {
        if (said_elsewhere(name))
            continue;
        if (json_is_string(value) && json_string_length(value) > 0)
            printf("%s%s \"%s\"", comma, name, json_string_value(value));
        else if (json_is_integer(value) && json_integer_value(value) != 0)
            printf("%s%s %lld", comma, name, (long long)json_integer_value(value));
        else if (json_is_true(value))
            printf("%s%s", comma, name);
        else
            continue;
        comma = ", ";
    }
}

static void process_print(const json_t *status, const json_t *process)
{
    char name[NAME_ROOM];
    name_of(process, name);
    const json_t *answer = answer_of(status, name);
    printf("  %-10s %7lld  %-9s %8lld", name, number_of(process, "pid"), text_of(process, "state"),
           number_of(process, "restarts"));
    if (answer == NULL)
        fputs("  DOES NOT ANSWER", stdout);
    else
        counts_print(answer);
    putchar('\n');
}

static void volume_print(const json_t *volume)
{
    const double giga = 1e9;
    const char *trouble = text_of(volume, "trouble");
    bool open = json_is_true(json_object_get(volume, "open"));
    printf("  volume %-3lld %-9s %.2f GB in %lld segments, %.2f GB of it live; %.1f GB free",
           number_of(volume, "volume"),
           !open                                                ? "CLOSED"
           : json_is_true(json_object_get(volume, "read_only")) ? "READ-ONLY"
                                                                : "open",
           (double)number_of(volume, "bytes") / giga, number_of(volume, "segments"),
           (double)number_of(volume, "live_bytes") / giga,
           (double)number_of(volume, "free_bytes") / giga);
    if (number_of(volume, "checksum_failures") > 0)
        printf("; DAMAGE MET %lld TIMES: restante check names it",
               number_of(volume, "checksum_failures"));
    if (number_of(volume, "frozen") > 0)
        printf("; %lld accounts frozen", number_of(volume, "frozen"));
    printf("%s%s\n", trouble[0] == '\0' ? "" : "; TROUBLE: ", trouble);
}

static void session_print(const json_t *session)
{
    printf("  %-30s %-5s %-20s %-5s %8lld  %s\n", text_of(session, "account"),
           text_of(session, "protocol"), text_of(session, "client"),
           json_is_true(json_object_get(session, "secure")) ? "TLS" : "clear",
           number_of(session, "seconds"), text_of(session, "state"));
}

/* ---- the page --------------------------------------------------------------------------------
 */

/* Every object of the lists of that name, whichever process has them; how many. */
static size_t lists_print(const json_t *status, const char *member, const char *title,
                          void (*print)(const json_t *item))
{
    const json_t *process, *item;
    size_t i, k, count = 0;
    json_array_foreach (json_object_get(status, "processes"), i, process)
        json_array_foreach (json_object_get(process, member), k, item) {
            if (!json_is_object(item))
                continue;
            if (count++ == 0)
                printf("\n%s\n", title);
            print(item);
        }
    return count;
}

static void listener_print(const json_t *listener)
{
    printf("  %-6s %s\n", text_of(listener, "name"), text_of(listener, "address"));
}

static void page_print(const json_t *status)
{
    const json_t *master = answer_of(status, "master0"), *process;
    size_t i;
    printf("Restante %s, mail in %s\nCertificate SHA-256 %s\n", text_of(master, "version"),
           text_of(master, "data"), text_of(master, "certificate"));
    lists_print(status, "listeners", "Listening", listener_print);
    printf("\n  %-10s %7s  %-9s %8s\n", "Process", "pid", "state", "restarts");
    json_array_foreach (json_object_get(master, "processes"), i, process)
        process_print(status, process);
    lists_print(status, "volumes", "Mail", volume_print);
    long long sessions = 0;
    json_array_foreach (json_object_get(status, "processes"), i, process)
        sessions += number_of(process, "sessions");
    printf("\n%lld sessions\n", sessions);
    lists_print(status, "clients",
                "  Account                        proto from                 how    seconds  doing",
                session_print);
    long long missing = number_of(status, "missing");
    if (missing > 0)
        printf("\n%lld processes did not answer; see the log\n", missing);
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
