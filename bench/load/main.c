/* The load generator's command line. One measure per call; results are `name value unit` lines. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "measure.h"

static void list(const struct measure *measure)
{
    for (; measure->name != NULL; measure++)
        printf("  %-16s %s\n", measure->name, measure->what);
}

static void usage(void)
{
    printf(
        "usage: load [options] MEASURE\n"
        "Speaks IMAP, POP3 and LMTP to a server on loopback and prints `name value unit` lines.\n"
        "Accounts are bench0, bench1 ... and exist already.\n\n"
        "  --imap PORT --imaps PORT --pop3 PORT --lmtp PORT\n"
        "  --pid PID          the server's first process: its CPU and its children's is counted\n"
        "  --accounts N       (1)   --first N (0): the number of the first account\n"
        "  --password WORD    (bench)\n"
        "  --connections N    (1)   --operations N (1000)   --seconds S (10) at most\n"
        "  --size BYTES       of messages (0: median 12 KB, mean 35 KB, some of 1-5 MB)\n"
        "  --seed N           (1)\n"
        "  --messages N       (1000) in the mailbox, where one or the newest are picked\n\n"
        "measures:\n");
    list(measures_mail);
    list(measures_imap);
    list(measures_idle);
    list(measures_raw);
}

static const struct measure *find(const struct measure *measure, const char *name)
{
    for (; measure->name != NULL; measure++)
        if (strcmp(measure->name, name) == 0)
            return measure;
    return NULL;
}

static const struct option options[] = {{"imap", required_argument, NULL, 'i'},
                                        {"imaps", required_argument, NULL, 'I'},
                                        {"pop3", required_argument, NULL, 'p'},
                                        {"lmtp", required_argument, NULL, 'l'},
                                        {"pid", required_argument, NULL, 'P'},
                                        {"accounts", required_argument, NULL, 'a'},
                                        {"first", required_argument, NULL, 'f'},
                                        {"password", required_argument, NULL, 'w'},
                                        {"connections", required_argument, NULL, 'c'},
                                        {"operations", required_argument, NULL, 'n'},
                                        {"seconds", required_argument, NULL, 't'},
                                        {"size", required_argument, NULL, 's'},
                                        {"seed", required_argument, NULL, 'S'},
                                        {"messages", required_argument, NULL, 'm'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

static void set(struct target *target, int letter, const char *value)
{
    unsigned long number = strtoul(value, NULL, 10);
    switch (letter) {
    case 'i':
        target->imap = (uint16_t)number;
        break;
    case 'I':
        target->imaps = (uint16_t)number;
        break;
    case 'p':
        target->pop3 = (uint16_t)number;
        break;
    case 'l':
        target->lmtp = (uint16_t)number;
        break;
    case 'P':
        target->pid = (int)number;
        break;
    case 'a':
        target->accounts = (unsigned)number;
        break;
    case 'f':
        target->first = (unsigned)number;
        break;
    case 'w':
        target->password = value;
        break;
    case 'c':
        target->connections = (unsigned)number;
        break;
    case 'n':
        target->operations = number;
        break;
    case 't':
        target->seconds = strtod(value, NULL);
        break;
    case 's':
        target->size = number;
        break;
    case 'm':
        target->messages = (unsigned)number;
        break;
    default:
        target->seed = number;
        break;
    }
}

int main(int count, char **words)
{
    struct target target = {.accounts = 1,
                            .password = "bench",
                            .connections = 1,
                            .operations = 1000,
                            .messages = 1000,
                            .seconds = 10,
                            .seed = 1};
    int letter;
    while ((letter = getopt_long(count, words, "h", options, NULL)) != -1) {
        if (letter == 'h' || letter == '?') {
            usage();
            return letter == 'h' ? 0 : 2;
        }
        set(&target, letter, optarg);
    }
    const struct measure *measure = NULL;
    if (optind == count - 1) {
        measure = find(measures_mail, words[optind]);
        if (measure == NULL)
            measure = find(measures_imap, words[optind]);
        if (measure == NULL)
            measure = find(measures_idle, words[optind]);
        if (measure == NULL)
            measure = find(measures_raw, words[optind]);
    }
    if (measure == NULL || target.accounts == 0 || target.connections == 0 ||
        target.connections > 60000 || target.messages == 0) {
        usage();
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    target.tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(target.tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(target.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    measure->function(&target);
    SSL_CTX_free(target.tls);
    return 0;
}
