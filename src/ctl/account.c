/*
 * `restante account ...`: each part makes one request (auth/admin.h), shows the answer. Whether a
 * server answers or the database itself is ask.c's affair.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "ctl/ctl.h"

enum { SECRET_ROOM = 1025 };

/* Options that all parts have. */
struct common {
    const char *data;
    bool json;
};

/* Asks, shows {"..."} with --json or the text, ends. request is taken. */
static int ask_and_say(const struct common *common, json_t *request, const char *format,
                       const char *name)
{
    struct ctl_data data;
    struct error error = {""};
    json_t *answer = NULL;
    if (ctl_data_find(common->data, &data))
        answer = ctl_account_ask(&data, request, &error);
    const char *secret = json_string_value(json_object_get(request, "password"));
    if (secret != NULL)
        mem_wipe((void *)(uintptr_t)secret, strlen(secret));
    json_decref(request);
    ctl_offline_close();
    if (answer == NULL)
        return error.text[0] == '\0' ? CTL_FAILED : ctl_fail("%s", error.text);
    if (common->json)
        json_dumpf(answer, stdout, JSON_COMPACT);
    else
        printf("%s %s%s", name, format,
               json_is_true(json_object_get(answer, "unchanged")) ? " already" : "");
    putchar('\n');
    json_decref(answer);
    return CTL_OK;
}

/* Takes the common options and `more`; wants exactly `words` arguments behind the command. */
static int arguments(const struct ctl_command *self, struct common *common,
                     const struct ctl_option *more, int words, int *argc, char **argv)
{
    struct ctl_option options[12] = {
        {.name = "data", .kind = CTL_TEXT, .text = &common->data},
        {.name = "json", .kind = CTL_FLAG, .flag = &common->json},
    };
    for (size_t i = 2; more != NULL && more->name != NULL; i++)
        options[i] = *more++;
    int result = ctl_options(self, options, argc, argv);
    if (result != CTL_OK)
        return result;
    if (*argc != words + 1)
        return ctl_misuse(self, words == 1 ? "one name is needed" : "%d words are needed", words);
    return CTL_OK;
}

static json_t *request_make(const char *verb, const char *name)
{
    json_t *request = json_pack("{s:s,s:s}", "verb", verb, "name", name);
    if (request == NULL)
        ctl_fail("names are UTF-8; this one is not");
    return request;
}

/* ---- add, passwd --------------------------------------------------------------------------------
 */

/* NULL: said. */
static json_t *request_with_password(const char *verb, const char *name, bool from_stdin)
{
    char secret[SECRET_ROOM];
    json_t *request = request_make(verb, name);
    if (request == NULL || !ctl_password(from_stdin, name, secret, sizeof(secret))) {
        json_decref(request);
        return NULL;
    }
    json_t *text = json_string(secret);
    mem_wipe(secret, sizeof(secret));
    if (text == NULL) {
        ctl_fail("the password is not UTF-8");
        json_decref(request);
        return NULL;
    }
    json_object_set_new(request, "password", text);
    return request;
}

static int account_add(const struct ctl_command *self, int argc, char **argv)
{
    struct common common = {0};
    const char *quota = NULL, *aliases[CTL_LIST_MAX], *domains[CTL_LIST_MAX];
    size_t alias_count = 0, domain_count = 0;
    bool from_stdin = false;
    const struct ctl_option more[] = {
        {.name = "password-stdin", .kind = CTL_FLAG, .flag = &from_stdin},
        {.name = "quota", .kind = CTL_TEXT, .text = &quota},
        {.name = "alias", .kind = CTL_LIST, .list = aliases, .count = &alias_count},
        {.name = "catch-all", .kind = CTL_LIST, .list = domains, .count = &domain_count},
        {.name = NULL}};
    int result = arguments(self, &common, more, 1, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    json_t *request = request_with_password("account-add", argv[1], from_stdin);
    if (request == NULL)
        return CTL_FAILED;
    json_t *list = json_array();
    for (size_t i = 0; i < alias_count; i++)
        json_array_append_new(list, json_string(aliases[i]));
    for (size_t i = 0; i < domain_count; i++)
        json_array_append_new(list, json_sprintf("@%s", domains[i] + (domains[i][0] == '@')));
    json_object_set_new(request, "aliases", list);
    if (quota != NULL)
        json_object_set_new(request, "quota", json_string(quota));
    return ask_and_say(&common, request, "added", argv[1]);
}

static int account_passwd(const struct ctl_command *self, int argc, char **argv)
{
    struct common common = {0};
    bool from_stdin = false;
    const struct ctl_option more[] = {
        {.name = "password-stdin", .kind = CTL_FLAG, .flag = &from_stdin}, {.name = NULL}};
    int result = arguments(self, &common, more, 1, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    json_t *request = request_with_password("account-passwd", argv[1], from_stdin);
    if (request == NULL)
        return CTL_FAILED;
    return ask_and_say(&common, request, "has a new password", argv[1]);
}

/* ---- the simple ones ----------------------------------------------------------------------------
 */

static int account_plain(const struct ctl_command *self, int argc, char **argv)
{
    static const char *const done[][2] = {{"enable", "enabled"}, {"disable", "disabled"}};
    struct common common = {0};
    char verb[40];
    int result = arguments(self, &common, NULL, 1, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    snprintf(verb, sizeof(verb), "account-%s", self->name);
    json_t *request = request_make(verb, argv[1]);
    if (request == NULL)
        return CTL_FAILED;
    return ask_and_say(&common, request, done[strcmp(self->name, done[0][0]) != 0][1], argv[1]);
}

static int account_delete(const struct ctl_command *self, int argc, char **argv)
{
    struct common common = {0};
    char question[400];
    bool yes = false;
    const struct ctl_option more[] = {{.name = "yes", .kind = CTL_FLAG, .flag = &yes},
                                      {.name = NULL}};
    int result = arguments(self, &common, more, 1, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    snprintf(question, sizeof(question),
             "This deletes %s and all its mail. Type the name to go on: ", argv[1]);
    if (!yes && !ctl_confirm(question, argv[1]))
        return ctl_fail("nothing was deleted (without a terminal, say --yes)");
    json_t *request = request_make("account-delete", argv[1]);
    if (request == NULL)
        return CTL_FAILED;
    return ask_and_say(&common, request, "deleted", argv[1]);
}

static int account_quota(const struct ctl_command *self, int argc, char **argv)
{
    struct common common = {0};
    int result = arguments(self, &common, NULL, 2, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    json_t *request = request_make("account-quota", argv[1]);
    if (request == NULL)
        return CTL_FAILED;
    json_object_set_new(request, "quota", json_string(argv[2]));
    return ask_and_say(&common, request, "has a new quota", argv[1]);
}

static int account_alias(const struct ctl_command *self, int argc, char **argv)
{
    struct common common = {0};
    bool remove = false;
    const struct ctl_option more[] = {{.name = "remove", .kind = CTL_FLAG, .flag = &remove},
                                      {.name = NULL}};
    int result = arguments(self, &common, more, 2, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    json_t *request = request_make("account-alias", argv[1]);
    if (request == NULL)
        return CTL_FAILED;
    json_object_set_new(request, "alias", json_string(argv[2]));
    json_object_set_new(request, "remove", json_boolean(remove));
    return ask_and_say(&common, request, remove ? "has lost that alias" : "has that alias",
                       argv[1]);
}

/* ---- list ---------------------------------------------------------------------------------------
 */

static void account_print(const json_t *account)
{
    char quota[32] = "-", created[32] = "";
    json_int_t bytes = json_integer_value(json_object_get(account, "quota"));
    time_t at = (time_t)json_integer_value(json_object_get(account, "created"));
    const json_t *alias;
    size_t i;
    if (bytes > 0)
        snprintf(quota, sizeof(quota), "%lldM", (long long)(bytes >> 20));
    struct tm when;
    if (gmtime_r(&at, &when) != NULL)
        strftime(created, sizeof(created), "%Y-%m-%d", &when);
    printf("%-40s %-8s %6lld %8s %s\n", json_string_value(json_object_get(account, "name")),
           json_string_value(json_object_get(account, "state")),
           (long long)json_integer_value(json_object_get(account, "volume")), quota, created);
    json_array_foreach (json_object_get(account, "aliases"), i, alias)
        printf("  %s %s\n", json_string_value(alias)[0] == '@' ? "catch-all" : "alias    ",
               json_string_value(alias));
}

/* Prints one page; the name to go on from, or NULL. */
static const char *page_print(const json_t *answer, bool json)
{
    const json_t *list = json_object_get(answer, "accounts"), *account;
    const char *last = NULL;
    size_t i;
    json_array_foreach (list, i, account) {
        if (json) {
            json_dumpf(account, stdout, JSON_COMPACT);
            putchar('\n');
        } else {
            account_print(account);
        }
        last = json_string_value(json_object_get(account, "name"));
    }
    return json_is_true(json_object_get(answer, "more")) ? last : NULL;
}

static int account_list(const struct ctl_command *self, int argc, char **argv)
{
    struct common common = {0};
    struct ctl_data data;
    struct error error = {""};
    const struct ctl_option options[] = {{.name = "data", .kind = CTL_TEXT, .text = &common.data},
                                         {.name = "json", .kind = CTL_FLAG, .flag = &common.json},
                                         {.name = NULL}};
    int result = ctl_options(self, options, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    if (argc > 2)
        return ctl_misuse(self, "one name, or none for all");
    if (!ctl_data_find(common.data, &data))
        return CTL_FAILED;
    json_t *request = json_pack("{s:s,s:s*}", "verb", "account-list", "name", argv[1]), *answer;
    if (request == NULL)
        return ctl_fail("names are UTF-8; this one is not");
    if (!common.json)
        printf("%-40s %-8s %6s %8s %s\n", "NAME", "STATE", "VOLUME", "QUOTA", "CREATED");
    const char *after = NULL;
    do {
        answer = ctl_account_ask(&data, request, &error);
        after = answer == NULL ? NULL : page_print(answer, common.json);
        if (after != NULL)
            json_object_set_new(request, "after", json_string(after));
        bool failed = answer == NULL;
        json_decref(answer);
        if (failed) {
            json_decref(request);
            ctl_offline_close();
            return ctl_fail("%s", error.text);
        }
    } while (json_object_get(request, "after") != NULL && after != NULL);
    json_decref(request);
    ctl_offline_close();
    return CTL_OK;
}

/* ---- the table ----------------------------------------------------------------------------------
 */

const struct ctl_command ctl_account_parts[] = {
    {.name = "add",
     .summary = "make an account",
     .help =
         "usage: restante account add NAME [--password-stdin] [--quota SIZE] [--alias ADDRESS]...\n"
         "                            [--catch-all DOMAIN]... [--json] [--data DIR]\n"
         "\n"
         "NAME is what mail is addressed to and what a mail program logs in with: with a domain\n"
         "(alice@example.org), or without one (alice) for mail to this host alone. The password\n"
         "is asked for, twice. Works while the server runs and when it does not.\n"
         "  --password-stdin    read it from standard input, one line\n"
         "  --quota SIZE        most mail it may hold: 500M, 10G; 0: the server's default\n"
         "  --alias ADDRESS     another address of it; several times\n"
         "  --catch-all DOMAIN  all mail to that domain that is nobody else's\n"
         "\n"
         "    restante account add alice\n"
         "    restante account add alice@example.org --quota 10G --alias info@example.org\n"
         "    pwgen -s 20 1 | tee secret | restante account add bob --password-stdin\n",
     .run = account_add},
    {.name = "list",
     .summary = "all accounts, or one with its aliases",
     .help = "usage: restante account list [NAME] [--json] [--data DIR]\n"
             "\n"
             "  --json          one JSON object per line\n"
             "\n"
             "    restante account list\n"
             "    restante account list alice@example.org\n"
             "    restante account list --json | jq -r 'select(.scram == false) | .name'\n",
     .run = account_list},
    {.name = "passwd",
     .summary = "give an account a new password; ends its sessions",
     .help = "usage: restante account passwd NAME [--password-stdin] [--data DIR]\n"
             "\n"
             "    restante account passwd alice\n",
     .run = account_passwd},
    {.name = "disable",
     .summary = "no login and no new mail; what it has stays",
     .help = "usage: restante account disable NAME [--data DIR]\n"
             "\n"
             "Ends its sessions. Nothing is deleted; see restante account enable.\n"
             "\n"
             "    restante account disable alice\n",
     .run = account_plain},
    {.name = "enable",
     .summary = "undo disable",
     .help = "usage: restante account enable NAME [--data DIR]\n"
             "\n"
             "    restante account enable alice\n",
     .run = account_plain},
    {.name = "delete",
     .summary = "delete an account and all its mail",
     .help = "usage: restante account delete NAME [--yes] [--data DIR]\n"
             "\n"
             "Its names are free at once; its mail is wiped by the running server, or by the next\n"
             "one. There is no way back.\n"
             "  --yes           do not ask\n"
             "\n"
             "    restante account delete alice\n",
     .run = account_delete},
    {.name = "alias",
     .summary = "another address of an account, or a domain's catch-all",
     .help =
         "usage: restante account alias NAME ADDRESS [--remove] [--data DIR]\n"
         "\n"
         "ADDRESS is a whole address, a bare name, or @DOMAIN for all of a domain's mail that is\n"
         "nobody else's. Mail to name+detail goes to name without an alias.\n"
         "\n"
         "    restante account alias alice@example.org info@example.org\n"
         "    restante account alias alice@example.org @example.org\n"
         "    restante account alias alice@example.org info@example.org --remove\n",
     .run = account_alias},
    {.name = "quota",
     .summary = "the most mail an account may hold",
     .help = "usage: restante account quota NAME SIZE [--data DIR]\n"
             "\n"
             "SIZE: 500M, 10G; 0 for the server's default.\n"
             "\n"
             "    restante account quota alice 10G\n",
     .run = account_quota},
    {.name = "import",
     .summary = "take accounts over from Dovecot's passwd-file",
     .help =
         "usage: restante account import FILE [--json] [--data DIR]\n"
         "\n"
         "Lines are name:{SCHEME}hash:uid:gid:gecos:home:shell:extra, as Dovecot's passwd-file\n"
         "has them; every hash of crypt(3), ARGON2, SSHA..., PBKDF2, SCRAM-SHA-256, {PLAIN}.\n"
         "Harmless to repeat: what is the same stays, also when the user has changed his\n"
         "password since; a changed hash is taken. FILE - is standard input.\n"
         "\n"
         "    restante account import /etc/dovecot/users\n"
         "    getent shadow | grep ':\\$' | restante account import -\n",
     .run = ctl_import},
    {.name = NULL},
};
