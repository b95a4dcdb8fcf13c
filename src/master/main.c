/*
 * The command line, the order of a start, reload and end. `restante serve` executes this program
 * with the arguments it was given.
 *
 * Start: command line, configuration, data directory and its lock, working directory there,
 * listening sockets, certificate, then children. Ready when all are. SIGHUP reloads; SIGTERM and
 * SIGINT drain, another one a second later kills.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "master/master.h"

enum {
    SPARE_DESCRIPTORS = 2000,
    /* A second signal sooner than that is the same one twice: to us and to our group. */
    IMPATIENT_US = 1000000,
};

static const char usage[] =
    "usage: restante serve [--config FILE] [--data DIR] [--listen NAME=ADDRESS:PORT]...\n"
    "                      [--tls-cert FILE --tls-key FILE] [--allow-plain]\n"
    "\n"
    "Runs in the foreground until SIGINT or SIGTERM; SIGHUP reads configuration and certificates\n"
    "again. Without options: high ports on loopback, a certificate of its own, and mail in\n"
    "/var/lib/restante (root, where it exists) or ~/.local/share/restante.\n"
    "  --config FILE   default /etc/restante/restante.conf where it exists; what may stand in it:\n"
    "                  restante config --defaults\n"
    "  --data DIR      where the store is; made if it is not there\n"
    "  --listen ...    NAME: imap imaps pop3 pop3s lmtp auth http; ADDRESS: IPv4, [IPv6], * for all;\n"
    "                  or NAME=unix:PATH,mode=0660,group=NAME. Replaces the default set\n"
    "  --tls-cert FILE, --tls-key FILE   PEM; the chain, and its key\n"
    "  --allow-plain   passwords without TLS from anywhere, not from loopback alone\n"
    "\n"
    "    restante serve --data ./mail\n"
    "    restante serve --listen imaps=*:993 --listen lmtp=unix:/run/lmtp,mode=0660,group=postfix "
    "\\\n"
    "                   --tls-cert /etc/ssl/mail.pem --tls-key /etc/ssl/mail.key\n";

/* ---- command line and configuration ------------------------------------------------------------
 */

static const char *absolute(const char *path)
{
    char real[PATH_MAX];
    return mem_strdup(realpath(path, real) != NULL ? real : path);
}

static bool read_arguments(int count, char **values, struct options *options, struct error *error)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},  {"data", required_argument, NULL, 'd'},
        {"listen", required_argument, NULL, 'l'},  {"tls-cert", required_argument, NULL, 'C'},
        {"tls-key", required_argument, NULL, 'K'}, {"allow-plain", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    int option;
    opterr = 0; /* one line, and ours */
    while ((option = getopt_long(count, values, "", known, NULL)) >= 0) {
        switch (option) {
        case 'c':
            options->config = absolute(optarg);
            break;
        case 'd':
            options->data = optarg;
            break;
        case 'l':
            if (!config_listen(&options->listen, slice_str(optarg), error))
                return error_prefix(error, "--listen");
            break;
        case 'C':
            options->cert = absolute(optarg);
            break;
        case 'K':
            options->key = absolute(optarg);
            break;
        case 'p':
            options->allow_plain = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            return error_set(error,
                             "%s is no option, or its value is missing or too much; see "
                             "restante serve --help",
                             values[optind - 1]);
        }
    }
    if (optind < count)
        return error_set(error, "\"%s\" is not understood; see restante serve --help",
                         values[optind]);
    if ((options->cert == NULL) != (options->key == NULL))
        return error_set(error, "--tls-cert and --tls-key must be given together");
    return true;
}

/* The file, then what the command line says over it. */
static bool read_config(const struct options *options, struct config *config, struct error *error)
{
    static const char usual[] = "/etc/restante/restante.conf";
    struct settings *settings = &config->settings;
    config_defaults(config);
    const char *path = options->config;
    if (path == NULL && access(usual, R_OK) == 0)
        path = usual;
    if (path != NULL && !config_read(config, path, error))
        return false;
    if (options->cert != NULL &&
        (!settings_set(settings, slice_str("tls_cert"), slice_str(options->cert), error) ||
         !settings_set(settings, slice_str("tls_key"), slice_str(options->key), error)))
        return false;
    return !options->allow_plain ||
           settings_set(settings, slice_str("auth_plain_clear"), slice_str("yes"), error);
}

static void init_log(const struct config *config)
{
    log_init("master", (enum log_level)config->settings.log_level,
             (enum log_target)config->settings.log_target);
}

/* Each connection costs a descriptor in a door or worker, and two in tls. Where there are not enough
 * of them fewer connections are let in, so that those who come are told, and no process meets the
 * end of its descriptors. */
static void fit_descriptors(struct settings *settings)
{
    struct rlimit limit;
    rlim_t wanted = 2 * settings->limit_connections + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    struct rlimit more = {wanted, limit.rlim_max > wanted ? limit.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        return;
    more = (struct rlimit){limit.rlim_max, limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &more);
    rlim_t spare = limit.rlim_max / 2 < SPARE_DESCRIPTORS ? limit.rlim_max / 2 : SPARE_DESCRIPTORS;
    settings->limit_connections = (limit.rlim_max - spare) / 2 + 1;
    log_warn("descriptors_few", "limit=%llu wanted=%llu connections=%llu",
             (unsigned long long)limit.rlim_max, (unsigned long long)wanted,
             (unsigned long long)settings->limit_connections);
}

/* ---- life ---------------------------------------------------------------------------------- */

static bool prepare(struct master *master, int count, char **values, struct error *error)
{
    char path[sizeof(master->data.path)];
    if (!read_arguments(count, values, &master->options, error) ||
        !read_config(&master->options, &master->config, error))
        return false;
    struct settings *settings = &master->config.settings;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t volumes = (uint32_t)settings->store_volumes;
    if (volumes == 0)
        volumes = cores < 1 ? 1 : cores > 8 ? 8 : (uint32_t)cores;
    init_log(&master->config);
    fit_descriptors(settings);
    if (!data_path(master->options.data, path, sizeof(path), error))
        return false;
    if (settings->store_volumes == 0 && access(path, F_OK) == 0) {
        char first[PATH_MAX];
        snprintf(first, sizeof(first), "%s/volumes/0", path);
        if (access(first, F_OK) == 0)
            volumes = 1; /* a store that is there keeps the number it was made with */
    }
    if (!data_open(&master->data, path, volumes, error))
        return false;
    if (chdir(master->data.path) != 0)
        return error_errno(error, "%s", master->data.path);
    return users_give_data(master, error) && certificate_load(master, error) &&
           listeners_bind(master, error);
}

void master_all_ready(struct master *master)
{
    if (master->state != MASTER_STARTING)
        return;
    master->state = MASTER_RUNNING;
    log_info("ready", "data=%s volumes=%u", log_value(slice_str(master->data.path)).text,
             master->data.volumes);
    screen_print(master);
    notify("READY=1\nSTATUS=Serving mail");
}

void master_reload(struct master *master)
{
    struct error error = {""};
    struct config config;
    char state[80];
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)clock_monotonic_us());
    notify(state);
    struct settings old = master->config.settings;
    if (!read_config(&master->options, &config, &error)) {
        log_error("reload_refused", "reason=%s", log_value(slice_str(error.text)).text);
    } else {
        fit_descriptors(&config.settings);
        const char *fixed = settings_reload(&master->config.settings, &config.settings);
        if (fixed != NULL)
            log_warn("restart_needed", "setting=%s", fixed);
        if (!certificate_load(master, &error)) {
            log_error("certificate_refused", "reason=%s", log_value(slice_str(error.text)).text);
            memcpy(master->config.settings.tls_cert, old.tls_cert, sizeof(old.tls_cert));
            memcpy(master->config.settings.tls_key, old.tls_key, sizeof(old.tls_key));
        } else {
            children_send_certificate(master);
        }
        children_send_settings(master);
        init_log(&master->config);
        log_info("reloaded", "fingerprint=%s", master->fingerprint);
    }
    notify("READY=1");
}

void master_finish(struct master *master)
{
    master->finished = true;
    event_base_loopbreak(master->base);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    children_kill(arg);
}

static void drain(struct master *master)
{
    struct timeval limit = {.tv_sec = (time_t)master->config.settings.timeout_drain};
    uint64_t now = clock_monotonic_us();
    if (master->state == MASTER_DRAINING) {
        if (now - master->draining_since_us > IMPATIENT_US)
            children_kill(master);
        return;
    }
    master->draining_since_us = now;
    master->state = MASTER_DRAINING;
    log_info("stopping", "seconds=%ld", (long)limit.tv_sec);
    notify("STOPPING=1");
    event_add(master->drain_deadline, &limit);
    children_drain(master);
}

void master_failed(struct master *master, const char *reason)
{
    if (master->state == MASTER_DRAINING)
        return;
    log_error("start_failed", "reason=\"%s\"", reason);
    master->status = 1;
    drain(master);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    switch (number) {
    case SIGCHLD:
        children_reaped(arg);
        break;
    case SIGHUP:
        master_reload(arg);
        break;
    default:
        drain(arg);
    }
}

static void run(struct master *master)
{
    static const int signals[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT};
    struct event *events[sizeof(signals) / sizeof(*signals)];
    master->base = event_base_new();
    ASSERT(master->base != NULL);
    master->drain_deadline = evtimer_new(master->base, on_deadline, master);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        events[i] = evsignal_new(master->base, signals[i], on_signal, master);
        ASSERT(events[i] != NULL && event_add(events[i], NULL) == 0);
    }
    children_create(master);
    children_start(master);
    if (!master->finished)
        event_base_dispatch(master->base);
    unlink("run/control.sock");
    unlink("run/lmtp.sock");
    for (size_t i = 0; i < master->listener_count; i++)
        if (!master->listeners[i].internal && master->listeners[i].address.path[0] != '\0')
            unlink(master->listeners[i].address.path);
    log_info("stopped", "status=%d", master->status);
}

int main(int count, char **values)
{
    static struct master master = {.data = {.lock = -1}};
    struct error error = {""};
    TAILQ_INIT(&master.processes);
    config_defaults(&master.options.listen);
    log_init("master", LOG_LEVEL_INFO, LOG_TARGET_STDERR);
    signal(SIGPIPE, SIG_IGN);
    umask(0022);
    master.options.self = strstr(values[0], "-master") == NULL ? values[0] : "restante";
    if (!prepare(&master, count, values, &error)) {
        fprintf(stderr, "restante serve: %s\n", error.text);
        return 1;
    }
    run(&master);
    data_close(&master.data);
    return master.status;
}
