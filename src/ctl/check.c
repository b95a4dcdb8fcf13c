/*
 * `restante check`: every volume is read and every checksum compared; what is wrong is named. With
 * a server the processes that hold the volumes look; without one this does, under the lock, as the
 * user who owns the files. After a repair it looks a second time: that alone says what is left.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config/data.h"
#include "ctl/ctl.h"
#include "store/store.h"

enum { CLEAN = 0, DAMAGE = 1, COULD_NOT = 2 };

struct check {
    bool json;
    const char *place; /* "volumes/0", "auth" */
    uint64_t notes, repaired, damaged;
    bool again; /* looks at what a repair has left */
    bool failed;
};

static void finding_say(struct check *check, int severity, const char *file, uint64_t offset,
                        const char *account, const char *text)
{
    const char *const words[] = {"note", "repaired", check->again ? "STILL DAMAGED" : "DAMAGE"};
    uint64_t *const counts[] = {&check->notes, &check->repaired, &check->damaged};
    severity = severity < 0 || severity > 2 ? 2 : severity;
    if (check->again && severity < 2)
        return;
    ++*counts[severity];
    if (check->json) {
        json_t *line = json_pack("{s:s,s:i,s:s,s:I,s:s,s:s,s:b}", "volume", check->place,
                                 "severity", severity, "file", file, "offset", (json_int_t)offset,
                                 "account", account, "text", text, "after_repair", check->again);
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(line);
        return;
    }
    printf("%s: %s", words[severity], check->place);
    if (file[0] != '\0')
        printf("/%s at %" PRIu64, file, offset);
    if (account[0] != '\0')
        printf(", account %s", account);
    printf(": %s\n", text);
}

/* ---- with a server ------------------------------------------------------------------------------
 */

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text == NULL ? "" : text;
}

static void on_line(void *arg, json_t *value)
{
    struct check *check = arg;
    char place[40] = "auth";
    const json_t *volume = json_object_get(value, "volume"), *finding;
    size_t i;
    if (json_object_get(value, "error") != NULL) {
        ctl_fail("%s", text_of(value, "error"));
        check->failed = true;
    }
    if (json_is_integer(volume))
        snprintf(place, sizeof(place), "volumes/%lld", (long long)json_integer_value(volume));
    check->place = place;
    json_array_foreach (json_object_get(value, "findings"), i, finding)
        finding_say(check, (int)json_integer_value(json_object_get(finding, "severity")),
                    text_of(finding, "file"),
                    (uint64_t)json_integer_value(json_object_get(finding, "offset")),
                    text_of(finding, "account"), text_of(finding, "text"));
}

static enum ctl_asked check_asked(struct check *check, const struct ctl_data *data,
                                  struct error *error)
{
    static const char *const to[] = {"worker", "auth"};
    enum ctl_asked asked = CTL_ANSWERED;
    for (int i = 0; i < 2 && asked == CTL_ANSWERED; i++) {
        json_t *request = json_pack("{s:s,s:s}", "verb", "check", "to", to[i]);
        asked = ctl_ask_server(data, request, on_line, check, error);
        json_decref(request);
    }
    return asked;
}

/* ---- without one --------------------------------------------------------------------------------
 */

static void on_finding(void *arg, const struct store_finding *finding)
{
    finding_say(arg, finding->severity, finding->file, finding->offset,
                id_is_zero(finding->partition) ? "" : id_text(finding->partition).text,
                finding->text);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct check *check = arg;
    if (total > 0)
        ctl_progress(check->place, done, total);
}

static bool place_check(struct check *check, const struct data *data, const char *place,
                        bool repair, struct error *error)
{
    char path[4100];
    struct stat about;
    struct store_check_options options = {
        .repair = repair, .report = on_finding, .progress = on_progress, .arg = check};
    check->place = place;
    snprintf(path, sizeof(path), "%s/%s", data->path, place);
    if (stat(path, &about) != 0)
        return error_errno(error, "%s", path);
    bool other = geteuid() == 0 && about.st_uid != 0;
    if (other && (setegid(about.st_gid) != 0 || seteuid(about.st_uid) != 0))
        return error_errno(error, "cannot work as the owner of %s", path);
    const uint64_t damaged = check->damaged;
    bool good = store_local_check(path, &options, error);
    if (good && repair) {
        check->damaged = damaged;
        options.repair = false;
        check->again = true;
        good = store_local_check(path, &options, error);
        check->again = false;
    }
    ctl_progress("", 0, 0);
    if (other && (seteuid(0) != 0 || setegid(0) != 0))
        return error_errno(error, "cannot become root again");
    return good || error_prefix(error, "%s", place);
}

static bool check_offline(struct check *check, const struct ctl_data *at, bool repair,
                          struct error *error)
{
    struct data data = {.lock = -1};
    char place[40], id[4100];
    snprintf(id, sizeof(id), "%s/restante.id", at->path);
    if (access(id, F_OK) != 0)
        return error_set(error, "there is no store in %s: say where it is with --data DIR",
                         at->path);
    if (!data_open(&data, at->path, 0, error))
        return false;
    bool good = true;
    for (uint32_t i = 0; good && i < data.volumes; i++) {
        snprintf(place, sizeof(place), "volumes/%u", i);
        good = place_check(check, &data, place, repair, error);
    }
    good = good && place_check(check, &data, "auth", repair, error);
    data_close(&data);
    return good;
}

int ctl_check(const struct ctl_command *self, int argc, char **argv)
{
    struct check check = {.json = false};
    struct ctl_data data;
    struct error error = {""};
    const char *given = NULL;
    bool repair = false;
    const struct ctl_option options[] = {{.name = "data", .kind = CTL_TEXT, .text = &given},
                                         {.name = "json", .kind = CTL_FLAG, .flag = &check.json},
                                         {.name = "repair", .kind = CTL_FLAG, .flag = &repair},
                                         {.name = NULL}};
    int result = ctl_options(self, options, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    if (argc != 1)
        return ctl_misuse(self, "check takes no words");
    if (!ctl_data_find(given, &data))
        return COULD_NOT;
    enum ctl_asked asked = CTL_NO_SERVER;
    int fd = ctl_connect(&data, "control.sock");
    if (fd >= 0 && repair) {
        close(fd);
        ctl_fail("a repair needs the server stopped; check without --repair works while it runs");
        return COULD_NOT;
    }
    if (fd >= 0) {
        close(fd);
        asked = check_asked(&check, &data, &error);
    }
    if (asked == CTL_UNREACHABLE ||
        (asked == CTL_NO_SERVER && !check_offline(&check, &data, repair, &error))) {
        ctl_fail("%s", error.text);
        return COULD_NOT;
    }
    if (!check.json)
        printf("%s: %" PRIu64 " damaged, %" PRIu64 " repaired, %" PRIu64 " notes\n",
               check.damaged > 0 ? "damage" : "clean", check.damaged, check.repaired, check.notes);
    return check.failed ? COULD_NOT : check.damaged > 0 ? DAMAGE : CLEAN;
}
