/* For test_ctl.c: the commands' files link without a server and without a database. */
#include <errno.h>

#include "ctl/ctl.h"

bool ctl_data_find(const char *given, struct ctl_data *data)
{
    return false;
}

int ctl_connect(const struct ctl_data *data, const char *name)
{
    errno = ENOENT;
    return -1;
}

json_t *ctl_account_ask(const struct ctl_data *data, json_t *request, struct error *error)
{
    return NULL;
}

void ctl_offline_close(void)
{
}
