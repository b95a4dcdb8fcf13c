/* `restante config`: the settings as a file, and a file as the server would read it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/config.h"
#include "ctl/ctl.h"

static int text_print(void (*write)(struct buf *out))
{
    struct buf out = {0};
    write(&out);
    fwrite(out.data, 1, out.size, stdout);
    buf_finish(&out);
    return CTL_OK;
}

static int file_check(const char *path)
{
    struct config *config = MEM_NEW(struct config);
    struct error error = {""};
    config_defaults(config);
    bool good = config_read(config, path, &error);
    free(config);
    if (!good)
        return ctl_fail("%s", error.text);
    printf("%s is fine\n", path);
    return CTL_OK;
}

int ctl_config(const struct ctl_command *self, int argc, char **argv)
{
    bool defaults = false, manual = false;
    const char *path = NULL;
    const struct ctl_option options[] = {{.name = "defaults", .kind = CTL_FLAG, .flag = &defaults},
                                         {.name = "manual", .kind = CTL_FLAG, .flag = &manual},
                                         {.name = "check", .kind = CTL_TEXT, .text = &path},
                                         {.name = NULL}};
    int result = ctl_options(self, options, &argc, argv);
    if (result != CTL_OK)
        return ctl_options_status(result);
    if (argc != 1 || defaults + manual + (path != NULL) != 1)
        return ctl_misuse(self, "one of --defaults, --check FILE, --manual");
    if (path != NULL)
        return file_check(path);
    return text_print(defaults ? config_write_defaults : config_write_manual);
}
