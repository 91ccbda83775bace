#include "crypto/crypto.h"
#include "testing/cmocka.h"

static void assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    char text[256];
    assert_true(2 * len < sizeof(text));
    gw_hex_encode(bytes, len, text);
    assert_string_equal(text, hex);
}

static void sha256_agrees_with_fips_180_4(void **state)
{
    (void)state;
    uint8_t out[GW_SHA256_SIZE];
    gw_sha256("abc", 3, out);
    assert_hex(out, sizeof(out),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    gw_sha256(NULL, 0, out);
    assert_hex(out, sizeof(out),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void hmac_agrees_with_rfc_4231(void **state)
{
    (void)state;
    uint8_t key[131];
    uint8_t out[GW_SHA256_SIZE];
    memset(key, 0x0b, 20);
    gw_hmac_sha256(key, 20, "Hi There", 8, out);
    assert_hex(out, sizeof(out),
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    gw_str text = GW_STR("what do ya want for nothing?");
    gw_hmac_sha256("Jefe", 4, text.ptr, text.len, out);
    assert_hex(out, sizeof(out),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    text = GW_STR("Test Using Larger Than Block-Size Key - Hash Key First");
    gw_hmac_sha256(key, sizeof(key), text.ptr, text.len, out);
    assert_hex(out, sizeof(out),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hmac_takes_an_empty_key_and_an_empty_message(void **state)
{
    (void)state;
    uint8_t out[GW_SHA256_SIZE];
    gw_hmac_sha256(NULL, 0, NULL, 0, out);
    assert_hex(out, sizeof(out),
               "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void hkdf_agrees_with_rfc_5869_case_3(void **state)
{
    (void)state;
    uint8_t key[22];
    uint8_t out[42];
    memset(key, 0x0b, sizeof(key));
    assert_int_equal(gw_hkdf_sha256(key, sizeof(key), GW_STR_NULL, out, sizeof(out), NULL), GW_OK);
    assert_hex(
        out, sizeof(out),
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

static void hkdf_separates_keys_by_info_and_gives_prefixes(void **state)
{
    (void)state;
    uint8_t a[64];
    uint8_t b[64];
    uint8_t prefix[33];
    assert_int_equal(gw_hkdf_sha256("pepper", 6, GW_STR("tag"), a, sizeof(a), NULL), GW_OK);
    assert_int_equal(gw_hkdf_sha256("pepper", 6, GW_STR("seal"), b, sizeof(b), NULL), GW_OK);
    assert_int_equal(gw_hkdf_sha256("pepper", 6, GW_STR("tag"), prefix, sizeof(prefix), NULL),
                     GW_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_equal(a, prefix, sizeof(prefix));
}

static void hkdf_gives_8160_bytes_and_no_more(void **state)
{
    (void)state;
    static uint8_t out[255 * GW_SHA256_SIZE + 1];
    assert_int_equal(gw_hkdf_sha256("k", 1, GW_STR("x"), out, sizeof(out) - 1, NULL), GW_OK);
    gw_error err = {0};
    assert_int_equal(gw_hkdf_sha256("k", 1, GW_STR("x"), out, sizeof(out), &err),
                     GW_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "8161"));
}

static void secrets_are_equal_only_byte_for_byte(void **state)
{
    (void)state;
    assert_true(gw_secret_eq("abc", 3, "abc", 3));
    assert_true(gw_secret_eq(NULL, 0, "", 0));
    assert_false(gw_secret_eq("abc", 3, "abd", 3));
    assert_false(gw_secret_eq("abc", 3, "abcd", 4));
    assert_false(gw_secret_eq("", 0, "a", 1));
}

static void a_wiped_secret_is_gone(void **state)
{
    (void)state;
    char secret[] = "secret";
    gw_secret_wipe(secret, sizeof(secret));
    assert_memory_equal(secret, "\0\0\0\0\0\0", sizeof(secret));
    gw_secret_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_agrees_with_fips_180_4),
        cmocka_unit_test(hmac_agrees_with_rfc_4231),
        cmocka_unit_test(hmac_takes_an_empty_key_and_an_empty_message),
        cmocka_unit_test(hkdf_agrees_with_rfc_5869_case_3),
        cmocka_unit_test(hkdf_separates_keys_by_info_and_gives_prefixes),
        cmocka_unit_test(hkdf_gives_8160_bytes_and_no_more),
        cmocka_unit_test(secrets_are_equal_only_byte_for_byte),
        cmocka_unit_test(a_wiped_secret_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
