#include "access/signing_secret.h"

#include "testing/cmocka.h"

#include <stdlib.h>
#include <unistd.h>

static gw_master_keys *keys;

static int set_up(void **state)
{
    char path[] = "/tmp/gw_key_secret_XXXXXX";
    const gw_str text = GW_STR("k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    gw_error err;
    int fd = mkstemp(path);

    (void)state;
    bool ok = fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len &&
              gw_master_keys_load(path, &keys, &err) == GW_OK;
    close(fd);
    unlink(path);
    return ok ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gw_master_keys_free(keys);
    return 0;
}

static void each_secret_is_another(void **state)
{
    char one[GW_SIGNING_SECRET_LEN + 1], two[GW_SIGNING_SECRET_LEN + 1];

    (void)state;
    gw_signing_secret_mint(one);
    gw_signing_secret_mint(two);
    assert_int_equal(strlen(one), GW_SIGNING_SECRET_LEN);
    assert_true(gw_str_starts_with(gw_str_of(one), GW_STR("lcsig_")));
    assert_string_not_equal(one, two);
}

/* `out` is emptied first. */
static gw_status open_as(gw_str id, const char *field, const gw_buf *sealed, gw_buf *out)
{
    gw_buf_clear(out);
    return gw_key_secret_open(keys, id, field, gw_buf_str(sealed), out, NULL);
}

static void a_sealed_secret_opens_in_its_own_place_alone(void **state)
{
    const gw_str id = GW_STR("65f000000000000000000001"),
                 other = GW_STR("65f000000000000000000002");
    gw_auto_buf sealed = {0}, open = {0};
    char secret[GW_SIGNING_SECRET_LEN + 1];

    (void)state;
    gw_signing_secret_mint(secret);
    assert_int_equal(
        gw_key_secret_seal(keys, id, GW_KEY_SECRET_SIGNING, gw_str_of(secret), &sealed, NULL),
        GW_OK);
    assert_false(gw_str_contains(gw_buf_str(&sealed), GW_STR("lcsig_")));
    assert_int_equal(open_as(other, GW_KEY_SECRET_SIGNING, &sealed, &open), GW_ERR_DATA_LOSS);
    assert_int_equal(open_as(id, GW_KEY_SECRET_LIBRECHAT, &sealed, &open), GW_ERR_DATA_LOSS);
    assert_int_equal(open_as(id, GW_KEY_SECRET_SIGNING, &sealed, &open), GW_OK);
    assert_true(gw_str_eq_c(gw_buf_str(&open), secret));
}

/* What stands in databases was sealed for these names. */
static void the_places_are_those_of_the_contract(void **state)
{
    const gw_str id = GW_STR("65f000000000000000000001");
    static const struct {
        const char *field, *place;
    } cases[] = {{GW_KEY_SECRET_SIGNING, "api_keys/65f000000000000000000001/signing.secret"},
                 {GW_KEY_SECRET_LIBRECHAT, "api_keys/65f000000000000000000001/librechat.secret"}};

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf sealed = {0}, open = {0};
        assert_int_equal(gw_seal(keys, GW_STR("secret"), gw_str_of(cases[i].place), &sealed, NULL),
                         GW_OK);
        assert_int_equal(open_as(id, cases[i].field, &sealed, &open), GW_OK);
        assert_true(gw_str_eq_c(gw_buf_str(&open), "secret"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_secret_is_another),
        cmocka_unit_test(a_sealed_secret_opens_in_its_own_place_alone),
        cmocka_unit_test(the_places_are_those_of_the_contract),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
