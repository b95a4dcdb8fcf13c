#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "config/config.h"
#include "config/data.h"

static const char *manual;
static char dir[] = "/tmp/restante-test-XXXXXX";

static bool set(struct settings *s, const char *name, const char *value, struct error *error)
{
    return settings_set(s, slice_str(name), slice_str(value), error);
}

static void bounds_and_units(void **state)
{
    struct settings s;
    struct error e;
    settings_defaults(&s);
    assert_int_equal(s.message_size, 100 * 1024 * 1024);
    assert_string_equal(settings_word("process_sandbox", s.process_sandbox), "auto");
    assert_string_equal(s.auth_subaddress, "+");
    assert_true(set(&s, "message_size", "50M", &e));
    assert_int_equal(s.message_size, 50 * 1024 * 1024);
    assert_true(set(&s, "timeout_imap", "2h", &e));
    assert_int_equal(s.timeout_imap, 7200);
    assert_true(set(&s, "process_sandbox", "required", &e));
    assert_string_equal(settings_word("process_sandbox", s.process_sandbox), "required");
    assert_false(set(&s, "message_size", "1", &e));
    assert_false(set(&s, "message_size", "", &e));
    assert_false(set(&s, "message_size", "M", &e));
    assert_false(set(&s, "message_size", "99999999999999999999", &e));
    assert_false(set(&s, "message_size", "18446744073709551615G", &e));
    assert_false(set(&s, "process_sandbox", "req", &e));
    assert_non_null(strstr(e.text, "auto required off"));
    assert_false(set(&s, "nonsense", "1", &e));
    assert_false(set(&s, "tls_cert", "a\nb", &e));
    assert_int_equal(s.message_size, 50 * 1024 * 1024); /* refused values change nothing */
}

static void wire(void **state)
{
    struct settings a, b;
    struct error e;
    struct buf lines = {0};
    settings_defaults(&a);
    settings_defaults(&b);
    assert_true(set(&a, "tls_cert", "/a=b.pem", &e));
    assert_true(set(&a, "log_level", "debug", &e));
    assert_true(set(&a, "quota_default", "10G", &e));
    settings_write(&a, &lines);
    assert_true(settings_read(&b, buf_slice(&lines), &e));
    assert_memory_equal(&a, &b, sizeof(a));
    buf_finish(&lines);
}

static void reload(void **state)
{
    struct settings a, b;
    struct error e;
    settings_defaults(&a);
    settings_defaults(&b);
    assert_true(set(&b, "message_size", "1M", &e));
    assert_null(settings_reload(&a, &b));
    assert_int_equal(a.message_size, 1024 * 1024);
    assert_true(set(&b, "process_workers", "3", &e));
    assert_string_equal(settings_reload(&a, &b), "process_workers");
    assert_int_equal(a.process_workers, 0);
}

static bool read_text(struct config *config, const char *text, struct error *error)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/conf", dir);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    config_defaults(config);
    return config_read(config, path, error);
}

static void file_good(void **state)
{
    struct config c;
    struct error e;
    if (!read_text(&c,
                   "# comment\n"
                   "listen = { \"imap=127.0.0.1:1143\", \"lmtp=unix:/run/lmtp,mode=0660\" }\n"
                   "message { size = 50M }\n"
                   "tls {\n  cert = \"/etc/ssl/a.pem\"\n  key = '/etc/ssl/a.key'\n}\n",
                   &e))
        fail_msg("%s", e.text);
    assert_int_equal(c.listen_count, 2);
    assert_string_equal(c.listen[1].path, "/run/lmtp");
    assert_int_equal(c.settings.message_size, 50 * 1024 * 1024);
    assert_string_equal(c.settings.tls_cert, "/etc/ssl/a.pem");
    assert_int_equal(c.settings.timeout_pop3, 600);
    assert_true(read_text(&c, "", &e));
}

static void file_bad(void **state)
{
    static const struct {
        const char *text, *line, *remedy;
    } cases[] = {
        {"message { size = 12 }\n", ":1:", "1024"},
        {"\n\nmessage {\n size = lots\n}\n", ":4:", "number"},
        {"tls { certificate = x }\n", ":1:", "config --defaults"},
        {"listen = { \"imap=nowhere\" }\n", ":1:", "port"},
        {"listen = { \"smtp=*:25\" }\n", ":1:", "lmtp"},
        {"log {\n level = \"loud\" }\n", ":2:", "warn"},
        {"nosuch = 5\n", ":1:", "config --defaults"},
        {"message {\n size = 50M\n", ":", "is a } missing"},
        {"log { level = debug }\ntls {", ":", "is a } missing"},
        {"message { size =", ":", "before a value"},
        {"message { size = 50M }\n/* and so on", ":", "*/"},
        {"log { level = \"info\n", ":", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct config c;
        struct error e;
        if (read_text(&c, cases[i].text, &e))
            fail_msg("case %zu is accepted", i);
        if (strstr(e.text, cases[i].line) == NULL || strstr(e.text, cases[i].remedy) == NULL ||
            strstr(e.text, dir) == NULL)
            fail_msg("case %zu: %s", i, e.text);
    }
    struct config c;
    struct error e;
    config_defaults(&c);
    assert_false(config_read(&c, "/nonexistent/restante.conf", &e));
    assert_non_null(strstr(e.text, "No such file"));
}

/* What --defaults prints, uncommented, is a file that gives the defaults. */
static void defaults_are_valid(void **state)
{
    struct config c;
    struct error e;
    struct settings defaults;
    struct buf text = {0}, plain = {0};
    config_write_defaults(&text);
    struct slice rest = buf_slice(&text);
    while (rest.size > 0) {
        struct slice line = slice_split(&rest, '\n');
        struct slice trimmed = slice_trim(line);
        if (trimmed.size > 1 && trimmed.data[0] == '#' && trimmed.data[1] != ' ')
            line = slice_sub(trimmed, 1, trimmed.size);
        buf_add_slice(&plain, line);
        buf_add_str(&plain, "\n");
    }
    buf_u8(&plain, 0);
    if (!read_text(&c, (char *)plain.data, &e))
        fail_msg("%s", e.text);
    settings_defaults(&defaults);
    assert_memory_equal(&c.settings, &defaults, sizeof(defaults));
    assert_int_equal(c.listen_count, 2);
    buf_finish(&text);
    buf_finish(&plain);
}

static void data_directory(void **state)
{
    struct data a, b;
    struct error e;
    char path[100], file[200];
    snprintf(path, sizeof(path), "%s/x/y", dir);
    assert_true(data_open(&a, path, 2, &e));
    assert_int_equal(a.volumes, 2);
    assert_false(data_open(&b, path, 2, &e));
    assert_non_null(strstr(e.text, "in use"));
    data_close(&a);
    assert_true(data_open(&b, path, 1, &e)); /* never fewer */
    assert_int_equal(b.volumes, 2);
    assert_true(id_equal(a.id, b.id));
    data_close(&b);
    assert_true(data_open(&b, path, 3, &e)); /* more */
    assert_int_equal(b.volumes, 3);
    data_close(&b);
    snprintf(file, sizeof(file), "%s/restante.id", path);
    FILE *id = fopen(file, "w");
    fprintf(id, "restante 2\n%s\n", id_text(a.id).text);
    fclose(id);
    assert_false(data_open(&b, path, 1, &e));
    assert_non_null(strstr(e.text, "newer"));
    id = fopen(file, "w");
    fclose(id);
    assert_false(data_open(&b, path, 1, &e));
}

/* doc/settings.md is what the table says: settings-manual > doc/settings.md */
static void manual_is_current(void **state)
{
    struct buf wanted = {0}, found = {0};
    int c;
    if (manual == NULL)
        skip();
    FILE *file = fopen(manual, "r");
    assert_non_null(file);
    while ((c = getc(file)) != EOF)
        buf_u8(&found, (uint8_t)c);
    fclose(file);
    config_write_manual(&wanted);
    assert_true(slice_equal(buf_slice(&found), buf_slice(&wanted)));
    buf_finish(&found);
    buf_finish(&wanted);
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *ftw)
{
    return remove(path);
}

int main(int count, char **values)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_and_units), cmocka_unit_test(wire),
        cmocka_unit_test(reload),           cmocka_unit_test(file_good),
        cmocka_unit_test(file_bad),         cmocka_unit_test(defaults_are_valid),
        cmocka_unit_test(data_directory),   cmocka_unit_test(manual_is_current),
    };
    manual = count > 1 ? values[1] : NULL;
    if (mkdtemp(dir) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(dir, remove_one, 16, FTW_PHYS | FTW_DEPTH);
    return failed;
}
