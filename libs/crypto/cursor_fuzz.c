/*
 * Cursors and sealed secrets come back from outside: only what we made is taken. The input is a
 * cursor, a position and a sealed value in turn.
 */
#include "crypto/crypto.h"
#include "crypto/cursor.h"
#include "testing/fuzz.h"

static const uint8_t key[GW_CURSOR_KEY_SIZE] = "a key that no input is made with";
#define FILTERS GW_STR("keys?status=active")

static void check_foreign_cursor(gw_str text)
{
    gw_auto_buf position = {0};
    gw_error err = {0};

    /* 16 bytes of HMAC: an input that fits by chance will not be met. */
    fuzz_require(gw_cursor_read(key, FILTERS, text, &position, &err) == GW_ERR_INVALID_ARGUMENT);
    fuzz_require(position.len == 0 && strcmp(err.field, "cursor") == 0);
}

static void check_own_cursor(gw_str position)
{
    gw_auto_buf text = {0};
    gw_auto_buf read = {0};
    gw_error err = {0};

    gw_cursor_write(key, FILTERS, position, &text);
    if (position.len > GW_CURSOR_POSITION_MAX) {
        fuzz_require(gw_buf_failed(&text));
        return;
    }
    fuzz_require(gw_cursor_read(key, FILTERS, gw_buf_str(&text), &read, &err) == GW_OK);
    fuzz_require(gw_str_eq(gw_buf_str(&read), position));
    gw_buf_clear(&read);
    fuzz_require(gw_cursor_read(key, GW_STR("other"), gw_buf_str(&text), &read, &err) != GW_OK);
}

/* The master keys' loader reads files. */
static gw_status load(gw_str text, gw_master_keys **ret, gw_error *err)
{
    char path[FUZZ_PATH_SIZE];
    int fd = fuzz_file(text, path);

    gw_status rc = gw_master_keys_load(path, ret, err);
    close(fd);
    return rc;
}

static void check_sealed(gw_str sealed)
{
    static gw_master_keys *keys;
    gw_auto_buf plain = {0};
    gw_auto_buf back = {0};
    gw_error err = {0};

    if (!keys)
        fuzz_require(load(GW_STR("k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), &keys,
                          &err) == GW_OK);
    gw_status rc = gw_unseal(keys, sealed, GW_STR("place"), &plain, &err);
    fuzz_require(rc == GW_ERR_DATA_LOSS || rc == GW_ERR_FAILED_PRECONDITION);
    fuzz_require(plain.len == 0 && err.message[0]);
    fuzz_require(gw_seal(keys, sealed, GW_STR("place"), &plain, &err) == GW_OK);
    fuzz_require(gw_unseal(keys, gw_buf_str(&plain), GW_STR("place"), &back, &err) == GW_OK);
    fuzz_require(gw_str_eq(gw_buf_str(&back), sealed));
}

static void check_keys_file(gw_str text)
{
    gw_auto(gw_master_keys) keys = NULL;
    gw_error err = {0};
    gw_auto_buf sealed = {0};

    if (load(text, &keys, &err) == GW_OK)
        fuzz_require(gw_seal(keys, GW_STR("x"), GW_STR("y"), &sealed, &err) == GW_OK);
    else
        fuzz_require(keys == NULL && err.message[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str text = gw_str_n(data, size);

    check_foreign_cursor(text);
    check_own_cursor(text);
    check_sealed(text);
    check_keys_file(text);
    return 0;
}
