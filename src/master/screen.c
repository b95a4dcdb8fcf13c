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
    {"imap", "IMAP (STARTTLS)"}, {"imaps", "IMAP (TLS)"},         {"pop3", "POP3 (STARTTLS)"},
    {"pop3s", "POP3 (TLS)"},     {"lmtp", "LMTP, mail comes in"}, {"http", "/healthz, /metrics"},
};

static const char *what_is(const char *name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(name, names[i].name) == 0)
            return names[i].what;
    return "";
}

void screen_print(const struct master *master)
{
    const char *data = master->data.path;
    if (getenv("NOTIFY_SOCKET") != NULL)
        return;
    printf("\nRestante is running. Mail is kept in %s\n\n", data);
    for (size_t i = 0; i < master->listener_count; i++) {
        const struct listener *listener = &master->listeners[i];
        if (!listener->internal)
            printf("  %-6s %-28s %s\n", listener->address.name,
                   address_text(&listener->address).text, what_is(listener->address.name));
    }
    printf("\n  Certificate: %s%s%s\n    SHA-256 %s\n", master->chain[0] == '/' ? "" : data,
           master->chain[0] == '/' ? "" : "/", master->chain, master->fingerprint);
    printf("\n  Add an account:  restante account add NAME --data %s\n", data);
    printf("  Deliver a mail:  restante deliver NAME --data %s < message\n", data);
    printf("  See how it is:   restante status --data %s\n", data);
    printf("  In a mail program: user name NAME, the addresses above, password as you set it.\n");
    printf("\nCtrl-C stops it.\n\n");
    fflush(stdout);
}
