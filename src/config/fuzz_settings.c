/*
 * The settings as lines between processes and the configuration file, by strangers' hands.
 * Properties: settings that were taken are within their bounds, so that writing and reading them
 * again changes nothing; a file that is refused says where and why in one line.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "config/config.h"
#include "io/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void survives(const struct settings *settings)
{
    struct buf lines = {0}, again = {0};
    struct settings back;
    struct error error = {""};
    settings_defaults(&back);
    settings_write(settings, &lines);
    ASSERT(settings_read(&back, buf_slice(&lines), &error));
    settings_write(&back, &again);
    ASSERT(slice_equal(buf_slice(&lines), buf_slice(&again)));
    buf_finish(&lines);
    buf_finish(&again);
}

static void try_lines(struct slice lines)
{
    struct settings settings;
    struct error error = {""};
    settings_defaults(&settings);
    if (settings_read(&settings, lines, &error))
        survives(&settings);
    else
        ASSERT(error.text[0] != '\0');
}

static void try_file(struct slice bytes)
{
    static struct config config;
    struct error error = {""};
    char path[64];
    int fd = fd_memory_create("config");
    ASSERT(fd >= 0 && fd_memory_write(fd, bytes.data, bytes.size));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    config_defaults(&config);
    if (config_read(&config, path, &error))
        survives(&config.settings);
    else
        ASSERT(error.text[0] != '\0');
    ASSERT(config.listen_count <= CONFIG_LISTEN_MAX);
    fd_close(&fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice rest = slice_make(data + 1, size - 1);
    if (data[0] == 'l')
        try_lines(rest);
    else
        try_file(rest);
    return 0;
}
