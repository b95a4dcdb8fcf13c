/*
 * Snapshot files: what goes in comes out; any flipped bit, any cut and any byte too many is seen;
 * a failing disk leaves no named file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "store/local/snapshot.h"

static char volume[] = "test_snapshot.XXXXXX";
static const struct snapshot_head head = {
    .volume = {{1, 2, 3}}, .lsn = 0x1234, .epoch = 7, .created = 99};

static bool make(uint64_t lsn, unsigned records, struct error *error)
{
    struct snapshot_head mine = head;
    mine.lsn = lsn;
    struct snapshot_writer *writer = snapshot_create(volume, &mine, error);
    if (writer == NULL)
        return false;
    static uint8_t value[5000];
    for (unsigned i = 0; i < records; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%08u", i);
        memset(value, (int)i, sizeof(value));
        if (!snapshot_add(writer, (uint8_t)(1 + i / 1000), slice_str(key),
                          slice_make(value, i % sizeof(value)), error)) {
            snapshot_abandon(&writer);
            return false;
        }
    }
    return snapshot_finish(&writer, error);
}

static bool count_records(void *arg, uint8_t table, struct slice key, struct slice value,
                          struct error *error)
{
    unsigned *count = arg;
    char wanted[16];
    snprintf(wanted, sizeof(wanted), "%08u", *count);
    assert_int_equal(table, 1 + *count / 1000);
    assert_true(slice_equal_str(key, wanted));
    assert_int_equal(value.size, *count % 5000);
    for (size_t i = 0; i < value.size; i++)
        assert_int_equal(value.data[i], *count & 0xff);
    ++*count;
    return true;
}

static bool read_back(const char *path, struct error *error)
{
    struct snapshot_head found;
    return snapshot_read(path, head.volume, &found, NULL, NULL, error);
}

static void round_trip(void **state)
{
    struct error error = {""};
    static const unsigned sizes[] = {0, 1, 1500};
    for (size_t i = 0; i < 3; i++) {
        assert_true(make(head.lsn, sizes[i], &error));
        unsigned count = 0;
        struct snapshot_head found;
        assert_true(snapshot_read(snapshot_path(volume, head.lsn).text, head.volume, &found,
                                  count_records, &count, &error));
        assert_int_equal(count, sizes[i]);
        assert_int_equal(found.lsn, head.lsn);
        assert_int_equal(found.epoch, 7);
        assert_int_equal(found.created, 99);
    }
}

static void another_volume(void **state)
{
    struct error error = {""};
    struct snapshot_head found;
    struct id other = {{9}};
    assert_true(make(head.lsn, 1, &error));
    assert_false(
        snapshot_read(snapshot_path(volume, head.lsn).text, other, &found, NULL, NULL, &error));
    assert_non_null(strstr(error.text, "another volume"));
}

static size_t load(const char *path, uint8_t *bytes, size_t room)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, room, file);
    fclose(file);
    return size;
}

static void save(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void every_damage_is_seen(void **state)
{
    struct error error = {""};
    uint8_t bytes[4096];
    assert_true(make(head.lsn, 12, &error));
    struct files_path named = snapshot_path(volume, head.lsn);
    struct files_path path = files_path(volume, "damaged");
    size_t size = load(named.text, bytes, sizeof(bytes) - 1);
    for (size_t i = 0; i < size; i++) {
        uint8_t flip = (uint8_t)(1u << (i % 8));
        bytes[i] ^= flip;
        save(path.text, bytes, size);
        assert_false(read_back(path.text, NULL));
        bytes[i] ^= flip;
        save(path.text, bytes, i);
        assert_false(read_back(path.text, NULL));
    }
    save(path.text, bytes, size + 1);
    assert_false(read_back(path.text, NULL));
    save(path.text, bytes, size);
    assert_true(read_back(path.text, NULL));
    unlink(path.text);
}

static void pruned(void **state)
{
    uint64_t *lsns;
    size_t count;
    assert_true(snapshot_prune(volume, 0));
    for (uint64_t lsn = 5; lsn > 0; lsn--)
        assert_true(make(lsn, 1, NULL));
    assert_true(snapshot_prune(volume, 2));
    assert_true(snapshot_list(volume, &lsns, &count));
    assert_int_equal(count, 2);
    assert_int_equal(lsns[0], 4);
    assert_int_equal(lsns[1], 5);
    free(lsns);
}

static void failing_disk(void **state)
{
#ifdef RESTANTE_FAULTS
    static const char *const steps[] = {"store.snapshot.write@1=ENOSPC",
                                        "store.snapshot.write@2=ENOSPC", "store.snapshot.sync=EIO",
                                        "store.snapshot.rename=EIO"};
    uint64_t *lsns;
    size_t count;
    assert_true(snapshot_prune(volume, 0));
    for (size_t i = 0; i < 4; i++) {
        fault_set(steps[i]);
        assert_false(make(head.lsn, 3, NULL));
        assert_true(snapshot_list(volume, &lsns, &count));
        assert_int_equal(count, 0);
        free(lsns);
    }
    fault_set(NULL);
    assert_true(make(head.lsn, 3, NULL));
#else
    skip();
#endif
}

int main(void)
{
    if (mkdtemp(volume) == NULL)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),           cmocka_unit_test(another_volume),
        cmocka_unit_test(every_damage_is_seen), cmocka_unit_test(pruned),
        cmocka_unit_test(failing_disk),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snapshot_prune(volume, 0);
    rmdir(files_path(volume, "snapshots").text);
    rmdir(volume);
    return failed;
}
