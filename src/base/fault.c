#include "base/fault.h"

#ifdef RESTANTE_FAULTS
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RULES_MAX = 16,
    KILL = -1,
};

struct rule {
    char name[48];
    unsigned long at; /* 0: every time */
    int answer;       /* errno, or KILL */
    atomic_ulong met;
};

static struct rule rules[RULES_MAX];
static size_t rule_count;
static atomic_ulong steps;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct {
    const char *name;
    int number;
} answers[] = {
    {"kill", KILL},     {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT},
    {"ENOMEM", ENOMEM}, {"EMFILE", EMFILE}, {"EINTR", EINTR},   {"EAGAIN", EAGAIN},
};

static void add_rule(char *text)
{
    struct rule *rule = &rules[rule_count];
    char *answer = strchr(text, '=');
    if (answer == NULL || rule_count == RULES_MAX)
        abort();
    *answer++ = '\0';
    char *at = strchr(text, '@');
    rule->at = 0;
    if (at != NULL) {
        *at++ = '\0';
        rule->at = strtoul(at, NULL, 10);
    }
    snprintf(rule->name, sizeof(rule->name), "%s", text);
    rule->answer = 0;
    atomic_store(&rule->met, 0);
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
        if (strcmp(answer, answers[i].name) == 0)
            rule->answer = answers[i].number;
    if (rule->answer == 0)
        abort();
    rule_count++;
}

void fault_set(const char *list)
{
    char copy[1024];
    char *rest = NULL;
    rule_count = 0;
    atomic_store(&steps, 0);
    snprintf(copy, sizeof(copy), "%s", list == NULL ? "" : list);
    for (char *text = strtok_r(copy, ",", &rest); text != NULL; text = strtok_r(NULL, ",", &rest))
        add_rule(text);
}

static const char *count_path;

void fault_finish(void)
{
    FILE *file = count_path == NULL ? NULL : fopen(count_path, "w");
    if (file != NULL) {
        fprintf(file, "%lu\n", fault_steps());
        fclose(file);
    }
}

static void read_environment(void)
{
    const char *in = getenv("RESTANTE_FAULT_IN");
    if (in != NULL && strcmp(in, program_invocation_short_name) != 0)
        return;
    if (rule_count == 0)
        fault_set(getenv("RESTANTE_FAULT"));
    count_path = getenv("RESTANTE_FAULT_COUNT");
    if (count_path != NULL)
        atexit(fault_finish);
}

static int look_up(const char *name, bool step)
{
    for (size_t i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->name, name) != 0 && (!step || strcmp(rule->name, "*") != 0))
            continue;
        unsigned long met = atomic_fetch_add(&rule->met, 1) + 1;
        if (rule->at != 0 && rule->at != met)
            continue;
        if (rule->answer == KILL)
            kill(getpid(), SIGKILL);
        return rule->answer;
    }
    return 0;
}

int fault_hit(const char *name)
{
    pthread_once(&once, read_environment);
    atomic_fetch_add(&steps, 1);
    return look_up(name, true);
}

int fault_fails(const char *name)
{
    pthread_once(&once, read_environment);
    return look_up(name, false);
}

unsigned long fault_steps(void)
{
    return atomic_load(&steps);
}
#else
typedef int fault_translation_unit_is_empty;
#endif
