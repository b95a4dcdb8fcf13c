/*
 * Certificates are parsed by restante-tls, which runs for a moment with the two files as its
 * descriptors 3 and 4: `check` says the fingerprint or what is wrong, `make` writes a self-signed
 * pair. So the process that stays root for the life of the server contains no certificate parser.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "io/fd.h"
#include "master/master.h"

extern char **environ;

/* The answer on standard output, one line, without its end. False: it is what went wrong. */
static bool run_tls(const char *verb, int chain, int key, char *answer, size_t size)
{
    char program[PATH_MAX];
    char name[] = "restante-tls", word[16];
    char *arguments[] = {name, word, NULL};
    int out[2], status = -1;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    snprintf(answer, size, "restante-tls cannot be started");
    snprintf(word, sizeof(word), "%s", verb);
    if (!child_program_path("restante-tls", program, sizeof(program)) || pipe2(out, O_CLOEXEC) != 0)
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    /* Through high numbers first: either may already be 3 or 4. */
    posix_spawn_file_actions_adddup2(&actions, chain, 103);
    posix_spawn_file_actions_adddup2(&actions, key, 104);
    posix_spawn_file_actions_adddup2(&actions, 103, 3);
    posix_spawn_file_actions_adddup2(&actions, 104, 4);
    posix_spawn_file_actions_addclose(&actions, 103);
    posix_spawn_file_actions_addclose(&actions, 104);
    bool good = posix_spawn(&pid, program, &actions, NULL, arguments, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    fd_close(&out[1]);
    size_t used = 0;
    while (good && used < size - 1) {
        ssize_t got = read(out[0], answer + used, size - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    fd_close(&out[0]);
    if (!good)
        return false;
    answer[used] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool check(struct master *master, const char *chain, const char *key, struct error *error)
{
    char answer[sizeof(master->fingerprint)];
    int chain_fd = open(chain, O_RDONLY | O_CLOEXEC);
    if (chain_fd < 0)
        return error_errno(error, "%s", chain);
    int key_fd = open(key, O_RDONLY | O_CLOEXEC);
    if (key_fd < 0) {
        fd_close(&chain_fd);
        return error_errno(error, "%s", key);
    }
    bool good = run_tls("check", chain_fd, key_fd, answer, sizeof(answer));
    fd_close(&chain_fd);
    fd_close(&key_fd);
    if (!good)
        return error_set(error, "%.80s: %s", chain, answer);
    snprintf(master->chain, sizeof(master->chain), "%s", chain);
    snprintf(master->key, sizeof(master->key), "%s", key);
    memcpy(master->fingerprint, answer, sizeof(answer));
    return true;
}

/* Relative to the data directory. Written aside and renamed, key first, so that what is found is
 * always a pair. */
static bool make_self_signed(struct error *error)
{
    char answer[200];
    int chain = open("tls/cert.pem.new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int key = open("tls/key.pem.new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = chain >= 0 && key >= 0;
    if (!good) {
        error_errno(error, "tls/cert.pem");
    } else if (!run_tls("make", chain, key, answer, sizeof(answer))) {
        good = error_set(error, "cannot make a certificate: %s", answer);
    } else {
        good = fsync(key) == 0 && fsync(chain) == 0 &&
               rename("tls/key.pem.new", "tls/key.pem") == 0 &&
               rename("tls/cert.pem.new", "tls/cert.pem") == 0;
        if (!good)
            error_errno(error, "tls/cert.pem");
    }
    fd_close(&chain);
    fd_close(&key);
    return good;
}

bool certificate_load(struct master *master, struct error *error)
{
    const struct settings *settings = &master->config.settings;
    if (settings->tls_cert[0] != '\0' || settings->tls_key[0] != '\0') {
        if (settings->tls_cert[0] == '\0' || settings->tls_key[0] == '\0')
            return error_set(error, "tls.cert and tls.key must be given together");
        return check(master, settings->tls_cert, settings->tls_key, error);
    }
    if ((access("tls/cert.pem", F_OK) != 0 || access("tls/key.pem", F_OK) != 0) &&
        !make_self_signed(error))
        return false;
    return check(master, "tls/cert.pem", "tls/key.pem", error);
}
