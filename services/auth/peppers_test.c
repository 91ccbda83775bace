#include "test_kit.h"

static void the_first_line_is_current(void **state)
{
    (void)state;
    gw_auto(peppers) p = test_peppers(TEST_PEPPERS);
    size_t n;
    assert_int_equal(peppers_current(p), 'a');
    assert_true(peppers_has(p, 'b'));
    assert_false(peppers_has(p, 'c'));
    (void)peppers_tag_keys(p, &n);
    assert_int_equal(n, 2);
}

static void the_verifier_is_the_fixed_vector(void **state)
{
    (void)state;
    gw_auto(peppers) p = test_peppers(TEST_PEPPERS);
    uint8_t mac[GW_SHA256_SIZE];
    char hex[65];
    assert_true(peppers_verifier(p, 'a', GW_STR(TEST_KEY), mac));
    gw_hex_encode(mac, sizeof(mac), hex);
    assert_string_equal(hex, TEST_KEY_MAC);
    assert_false(peppers_verifier(p, 'z', GW_STR(TEST_KEY), mac));
}

static void derived_keys_differ_by_purpose_and_pepper(void **state)
{
    (void)state;
    gw_auto(peppers) p = test_peppers(TEST_PEPPERS);
    gw_auto(peppers) other = test_peppers(TEST_ONLY_B);
    assert_memory_not_equal(peppers_cursor_key(p), peppers_audit_head_key(p, 0), 32);
    assert_memory_not_equal(peppers_audit_head_key(p, 0), peppers_audit_head_key(p, 1), 32);
    assert_null(peppers_audit_head_key(p, 2));
    assert_memory_not_equal(peppers_cursor_key(p), peppers_cursor_key(other), 32);
}

static void bad_files_are_refused_by_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "peppers: the file has none"},
        {"# nothing\n\n", "peppers: the file has none"},
        {"a short\n", "peppers: line 1 is not base64 of 32 bytes"},
        {"\nab AAAA\n", "peppers: line 2 is not `<character> <base64>`"},
        {TEST_ONLY_B TEST_ONLY_B, "peppers: line 2 has the character of a line before"},
        {"- AAAA\na secret\n",
         "peppers: line 1 is not `<character> <base64>`, line 2 is not base64 "
         "of 32 bytes"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        peppers *p = NULL;
        gw_error err = {0};
        assert_int_equal(peppers_parse(gw_str_of(cases[i].text), &p, &err),
                         GW_ERR_INVALID_ARGUMENT);
        assert_string_equal(err.message, cases[i].message);
        assert_null(p);
    }
}

static void a_missing_file_is_an_error(void **state)
{
    (void)state;
    peppers *p = NULL;
    gw_error err = {0};
    assert_int_equal(peppers_load("/nonexistent/peppers", &p, &err), GW_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_is_current),
        cmocka_unit_test(the_verifier_is_the_fixed_vector),
        cmocka_unit_test(derived_keys_differ_by_purpose_and_pepper),
        cmocka_unit_test(bad_files_are_refused_by_line),
        cmocka_unit_test(a_missing_file_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
