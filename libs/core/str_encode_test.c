#include "core/str.h"

#include "core/id.h"
#include "testing/cmocka.h"

static void hex_goes_both_ways(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x00, 0x0f, 0xf0, 0xff};
    char hex[9];
    gw_hex_encode(bytes, sizeof(bytes), hex);
    assert_string_equal(hex, "000ff0ff");
    gw_hex_encode(bytes, 0, hex);
    assert_string_equal(hex, "");
    uint8_t back[4];
    assert_true(gw_hex_decode(GW_STR("000FF0fF"), back, 4));
    assert_memory_equal(back, bytes, 4);
    assert_true(gw_hex_decode(GW_STR_NULL, back, 0));
}

static void bad_hex_leaves_the_output_alone(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",    "000",  "00000", "000g",
                                      "0x00", "00 0", "00:0",  "00\xff\xff"};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        uint8_t out[2] = {7, 7};
        assert_false(gw_hex_decode(gw_str_of(bad[i]), out, 2));
        assert_int_equal(out[0], 7);
    }
}

static void base64_matches_the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *padded, *url;
    } cases[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+", "-__-"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char text[16];
        char back[16];
        size_t len = strlen(cases[i].plain);
        assert_int_equal(gw_base64_encode(cases[i].plain, len, text), strlen(cases[i].padded));
        assert_string_equal(text, cases[i].padded);
        assert_int_equal(gw_base64_decode(gw_str_of(text), back, sizeof(back)), len);
        assert_memory_equal(back, cases[i].plain, len);
        assert_int_equal(gw_base64url_encode(cases[i].plain, len, text), strlen(cases[i].url));
        assert_string_equal(text, cases[i].url);
        assert_int_equal(gw_base64_decode(gw_str_of(text), back, len), len);
        assert_memory_equal(back, cases[i].plain, len);
    }
}

static void malformed_base64_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",        "Zg=",   "Zg===",  "Zm8==", "=",   "==",      "====",  "Zm9v=", "Zm9v==",
        "Zg==Zg==", "Z g==", "Zg==\n", "Zh",    "Zm9", "Zm\xffv", "Zm9v!", "A=AA",  "Zh==",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        char out[16];
        if (gw_base64_decode(gw_str_of(bad[i]), out, sizeof(out)) != -1)
            fail_msg("accepted %s", bad[i]);
    }
    char out[2];
    assert_int_equal(gw_base64_decode(GW_STR("Zm9v"), out, 2), -1);
    assert_int_equal(gw_base64_decode(GW_STR("Zm8"), out, 2), 2);
}

static void random_bytes_survive_base64(void **state)
{
    (void)state;
    for (size_t len = 0; len < 100; len++) {
        uint8_t bytes[100];
        uint8_t back[100];
        char text[140];
        gw_random_bytes(bytes, len);
        gw_base64_encode(bytes, len, text);
        assert_int_equal(gw_base64_decode(gw_str_of(text), back, sizeof(back)), len);
        assert_memory_equal(bytes, back, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(bad_hex_leaves_the_output_alone),
        cmocka_unit_test(base64_matches_the_vectors_of_rfc_4648),
        cmocka_unit_test(malformed_base64_is_refused),
        cmocka_unit_test(random_bytes_survive_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
