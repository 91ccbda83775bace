#include "config_snapshot.h"

#include "testing/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/config_snapshot_test_XXXXXX";
static char file[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    return snprintf(file, sizeof(file), "%s/config.snapshot", dir) > 0 ? 0 : -1;
}

static int drop_dir(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(dir);
}

static void write_version(int64_t version)
{
    config_snapshot s = APIRELAY__RELAY__V1__RELAY_CONFIG_SNAPSHOT__INIT;
    gw_error err;
    s.version = version;
    if (config_snapshot_write(dir, &s, &err) != GW_OK)
        fail_msg("%s", err.message);
}

static gw_status read_version(int64_t *version)
{
    config_snapshot *s = NULL;
    gw_error err;
    gw_status rc = config_snapshot_read(dir, &s, &err);
    if (rc != GW_OK)
        return rc;
    *version = s->version;
    apirelay__relay__v1__relay_config_snapshot__free_unpacked(s, NULL);
    return GW_OK;
}

static void what_was_written_last_is_read(void **state)
{
    (void)state;
    int64_t version = 0;
    assert_int_equal(read_version(&version), GW_ERR_NOT_FOUND);
    write_version(7);
    write_version(8);
    assert_int_equal(read_version(&version), GW_OK);
    assert_int_equal(version, 8);
}

static void damage_anywhere_is_noticed(void **state)
{
    (void)state;
    int64_t version = 0;
    write_version(1234567);
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    off_t len = lseek(fd, 0, SEEK_END);
    for (off_t i = 0; i < len; i++) {
        char byte;
        assert_int_equal(pread(fd, &byte, 1, i), 1);
        byte = (char)(byte ^ 1);
        assert_int_equal(pwrite(fd, &byte, 1, i), 1);
        assert_int_equal(read_version(&version), GW_ERR_DATA_LOSS);
        byte = (char)(byte ^ 1);
        assert_int_equal(pwrite(fd, &byte, 1, i), 1);
    }
    for (off_t cut = len - 1; cut >= 0; cut--) {
        assert_int_equal(ftruncate(fd, cut), 0);
        assert_int_equal(read_version(&version), GW_ERR_DATA_LOSS);
    }
    close(fd);
}

/* Found by fuzzing: a digest that fits says nothing of the message behind it. */
static void texts_of_bad_bytes_are_damage(void **state)
{
    (void)state;
    config_snapshot s = APIRELAY__RELAY__V1__RELAY_CONFIG_SNAPSHOT__INIT;
    Apirelay__Relay__V1__Provider p = APIRELAY__RELAY__V1__PROVIDER__INIT, *providers[] = {&p};
    char name[] = "\xff";
    int64_t version;
    gw_error err;
    p.name = name;
    s.providers = providers;
    s.n_providers = 1;
    assert_int_equal(config_snapshot_write(dir, &s, &err), GW_OK);
    assert_int_equal(read_version(&version), GW_ERR_DATA_LOSS);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    config_snapshot s = APIRELAY__RELAY__V1__RELAY_CONFIG_SNAPSHOT__INIT;
    gw_error err;
    assert_int_equal(config_snapshot_write("/nonexistent", &s, &err), GW_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_last_is_read),
        cmocka_unit_test(damage_anywhere_is_noticed),
        cmocka_unit_test(texts_of_bad_bytes_are_damage),
        cmocka_unit_test(a_folder_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
