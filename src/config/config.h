/*
 * The configuration file, for master and `restante config`: sections as in settings.h (name
 * tls_cert is "cert" in section "tls"), and the list `listen`. Links libconfuse; other processes
 * get their settings from master.
 *
 *   listen = { "imap=*:143", "imaps=*:993" }
 *   tls { cert = "/etc/ssl/mail.pem"  key = "/etc/ssl/mail.key" }
 *   message { size = 50M }
 */
#pragma once
#include "config/settings.h"
#include "io/address.h"

enum { CONFIG_LISTEN_MAX = 64 };

struct config {
    struct settings settings;
    struct address listen[CONFIG_LISTEN_MAX];
    size_t listen_count; /* 0: the default set */
};

void config_defaults(struct config *config);
/* Over what is in config. False: "FILE:LINE: what is wrong and what would be right". */
bool config_read(struct config *config, const char *path, struct error *error);
/* One --listen or an entry of the list: checks its name too. */
bool config_listen(struct config *config, struct slice text, struct error *error);

/* `restante config --defaults`: a file with every setting, commented out, explained. */
void config_write_defaults(struct buf *out);
/* doc/settings.md */
void config_write_manual(struct buf *out);
