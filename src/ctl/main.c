/*
 * The table of commands and how help is shown. A command is a row; its file does the work.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ctl/ctl.h"

static const struct ctl_command commands[] = {
    {.name = "serve", .summary = "run the mail server in the foreground", .run = ctl_serve},
    {.name = "account",
     .summary = "who has mail here: add, list, passwd, disable, delete, import, ...",
     .parts = ctl_account_parts},
    {.name = "deliver",
     .summary = "put a message into an account",
     .help =
         "usage: restante deliver ACCOUNT [--from ADDRESS] [--data DIR] < MESSAGE\n"
         "\n"
         "Gives the message to the running server; when this ends with status 0 it is on disk.\n"
         "The same message again within a day is not stored twice.\n"
         "  --from ADDRESS  the envelope sender; default: none (<>)\n"
         "\n"
         "    restante deliver alice < message.eml\n"
         "    restante deliver alice+lists@example.org --from bob@example.com < message.eml\n",
     .run = ctl_deliver},
    {.name = "import",
     .summary = "take over a Maildir or mbox, with UIDs and UIDLs",
     .help = "usage: restante import ACCOUNT maildir|mbox PATH [--merge] [--data DIR]\n"
             "\n"
             "Reads the mail of another server into an account; the server must run. Messages,\n"
             "flags, keywords, dates, folders and subscriptions are taken, and what Dovecot or\n"
             "Courier wrote beside them: UIDVALIDITY, UIDs, UIDLs. So IMAP and POP3 programs\n"
             "fetch nothing again. May be interrupted and run again: nothing comes twice.\n"
             "Import before new mail is sent here.\n"
             "  --merge         into folders that have mail of their own: with new UIDs\n"
             "For mbox, PATH is a file (INBOX) or a directory of files (folders).\n"
             "\n"
             "    restante import alice maildir /home/alice/Maildir\n"
             "    restante import alice mbox /var/mail/alice --merge\n",
     .run = ctl_import_mail},
    {.name = "export",
     .summary = "write an account as a Maildir or mboxes",
     .help = "usage: restante export ACCOUNT maildir|mbox PATH [--data DIR]\n"
             "\n"
             "Writes all mail of an account below PATH; the server must run. A Maildir has what\n"
             "Dovecot needs to serve it with the same UIDs and UIDLs, and may be written again:\n"
             "only what changed is. An mbox cannot hold all of that exactly.\n"
             "\n"
             "    restante export alice maildir /srv/out/alice\n"
             "    restante export alice mbox alice-mboxes\n",
     .run = ctl_export_mail},
    {.name = "status",
     .summary = "processes, sessions, health of a running server",
     .help = "usage: restante status [--json] [--data DIR]\n"
             "\n"
             "  --json          as one JSON object, for programs\n"
             "\n"
             "    restante status\n"
             "    restante status --json | jq '.processes[] | select(.trouble != \"\")'\n",
     .run = ctl_status},
    {.name = "check",
     .summary = "verify every byte of the store; repair the index",
     .help =
         "usage: restante check [--repair] [--json] [--data DIR]\n"
         "\n"
         "Reads the whole store and names what is damaged; the server may run meanwhile.\n"
         "  --repair        rebuild what can be rebuilt, with the same UIDs; the server must be\n"
         "                  stopped\n"
         "  --json          one JSON object per finding\n"
         "Exit status: 0 clean (or repaired), 1 damage, 2 it could not be checked.\n"
         "\n"
         "    restante check\n"
         "    restante check --repair --data /var/lib/restante\n",
     .run = ctl_check},
    {.name = "config",
     .summary = "show every setting; check a configuration file",
     .help = "usage: restante config --defaults\n"
             "       restante config --check FILE\n"
             "\n"
             "  --defaults      a file with every setting, its default and its reason\n"
             "  --check FILE    read it as the server would; the first error with its line\n"
             "  --manual        the settings as doc/settings.md has them\n"
             "\n"
             "    restante config --defaults > restante.conf\n"
             "    restante config --check restante.conf && kill -HUP $(pidof restante-master)\n",
     .run = ctl_config},
    {.name = NULL},
};

static void parts_help(const char *path, const struct ctl_command *parts)
{
    printf("usage: %s COMMAND [...]\n\n", path);
    for (const struct ctl_command *part = parts; part->name != NULL; part++)
        printf("  %-9s %s\n", part->name, part->summary);
    printf("\n%s COMMAND --help explains a command, with examples.\n", path);
    if (parts != commands)
        return;
    fputs("\nFrom nothing to mail in four lines:\n"
          "    restante serve --data ./mail &\n"
          "    restante account add alice --data ./mail\n"
          "    restante deliver alice --data ./mail < message.eml\n"
          "    curl -u alice 'imap://127.0.0.1:1143/INBOX;UID=1'\n",
          stdout);
}

int ctl_run(const char *path, const struct ctl_command *parts, int argc, char **argv)
{
    const char *word = argc > 0 ? argv[0] : "--help";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        parts_help(path, parts);
        return argc > 0 ? CTL_OK : CTL_USAGE;
    }
    for (const struct ctl_command *part = parts; part->name != NULL; part++) {
        char below[100];
        if (strcmp(part->name, word) != 0)
            continue;
        if (part->parts == NULL)
            return part->run(part, argc, argv);
        snprintf(below, sizeof(below), "%s %s", path, part->name);
        return ctl_run(below, part->parts, argc - 1, argv + 1);
    }
    ctl_fail("there is no command \"%s\"; %s --help lists them", word, path);
    return CTL_USAGE;
}

int main(int argc, char **argv)
{
    log_init("restante", LOG_LEVEL_WARN, LOG_TARGET_STDERR);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("restante " RESTANTE_VERSION);
        return CTL_OK;
    }
    int status = ctl_run("restante", commands, argc - 1, argv + 1);
    if (fflush(stdout) != 0)
        return ctl_fail("the output could not be written");
    return status;
}
