/* What a person sees when the server is up: where it listens, what to type next. Not printed when
 * systemd started us; the log has it all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/master.h"

static const struct {
    const char *name, *what;
} names[] = {
    {"imap", "IMAP (STARTTLS)"},     {"imaps", "IMAP (TLS)"},
    {"pop3", "POP3 (STARTTLS)"},     {"pop3s", "POP3 (TLS)"},
    {"lmtp", "LMTP, mail comes in"}, {"auth", "passwords for Postfix"},
    {"http", "/healthz, /metrics"},
};

static const char *what_is(const char *name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(name, names[i].name) == 0)
            return names[i].what;
    return "";
}

static void listener_print(const struct listener *listener)
{
    const struct address *address = &listener->address;
    printf("  %-6s %-28s %s", address->name, address_text(address).text, what_is(address->name));
    if (listener->busy_port != 0)
        printf("; port %u is in use by another program", listener->busy_port);
    putchar('\n');
}

void screen_print(const struct master *master)
{
    const char *data = master->options.data != NULL ? master->options.data : master->data.path;
    const char *self = master->options.self;
    if (getenv("NOTIFY_SOCKET") != NULL)
        return;
    printf("\nRestante is running. Mail is kept in %s\n\n", master->data.path);
    for (size_t i = 0; i < master->listener_count; i++)
        if (!master->listeners[i].internal)
            listener_print(&master->listeners[i]);
    printf("\n  Certificate: %s%s%s\n    SHA-256 %s\n",
           master->chain[0] == '/' ? "" : master->data.path, master->chain[0] == '/' ? "" : "/",
           master->chain, master->fingerprint);
    printf("\n  Add an account:  %s account add NAME --data %s\n", self, data);
    printf("  Deliver a mail:  %s deliver NAME --data %s < message\n", self, data);
    printf("  See how it is:   %s status --data %s\n", self, data);
    printf("  In a mail program: user name NAME, the addresses above, password as you set it.\n");
    printf("\nCtrl-C stops it.\n\n");
    fflush(stdout);
}
