#include "crypto/crypto.h"
#include "crypto/cursor.h"
#include "testing/exhaust.h"
#include "testing/fuzz.h"

static const uint8_t key[GW_CURSOR_KEY_SIZE] = "a key of thirty-two bytes or so";

static gw_status write_and_read_cursor(void *arg)
{
    (void)arg;
    gw_auto_buf text = {0};
    gw_auto_buf position = {0};
    gw_error err;
    gw_cursor_write(key, GW_STR("filters"), GW_STR("position"), &text);
    if (gw_buf_failed(&text))
        return GW_ERR_NO_MEMORY;
    return gw_cursor_read(key, GW_STR("filters"), gw_buf_str(&text), &position, &err);
}

static gw_status load_and_seal(void *arg)
{
    gw_auto(gw_master_keys) keys = NULL;
    gw_auto_buf sealed = {0};
    gw_auto_buf plain = {0};
    gw_error err;
    gw_status rc = gw_master_keys_load(arg, &keys, &err);
    if (rc == GW_OK)
        rc = gw_seal(keys, GW_STR("secret"), GW_STR("place"), &sealed, &err);
    if (rc == GW_OK)
        rc = gw_unseal(keys, gw_buf_str(&sealed), GW_STR("place"), &plain, &err);
    return rc;
}

static void cursors_without_memory_are_refused(void **state)
{
    (void)state;
    gw_exhaust(write_and_read_cursor, NULL);
}

static void keys_and_seals_without_memory_are_refused(void **state)
{
    (void)state;
    char path[FUZZ_PATH_SIZE];
    int fd = fuzz_file(GW_STR("k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), path);
    gw_exhaust(load_and_seal, path);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursors_without_memory_are_refused),
        cmocka_unit_test(keys_and_seals_without_memory_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
