#include "crypto/crypto.h"
#include "testing/cmocka.h"

static void numbers_take_their_fixed_width(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        size_t width;
        const char *text;
    } cases[] = {
        {0, 1, "0"},
        {61, 1, "z"},
        {62, 2, "10"},
        {35, 3, "00Z"},
        {36, 3, "00a"},
        {62 * 62 - 1, 2, "zz"},
        {UINT64_MAX, 11, "LygHa16AHYF"},
        {(1ull << 35) - 1, 6, "bVJxYV"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char text[16] = {0};
        uint64_t value = 0;
        assert_true(gw_base62_encode(cases[i].value, text, cases[i].width));
        assert_true(gw_base62_decode(gw_str_n(text, cases[i].width), &value));
        assert_int_equal(value, cases[i].value);
        assert_string_equal(text, cases[i].text);
    }
}

static void a_number_too_wide_is_refused_and_nothing_written(void **state)
{
    (void)state;
    char text[] = "??";
    assert_false(gw_base62_encode(3844, text, 2));
    assert_false(gw_base62_encode(1, text, 0));
    assert_false(gw_base62_encode(UINT64_MAX, text, 2));
    assert_string_equal(text, "??");
}

static void malformed_and_overflowing_text_is_refused(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "", "-1", "a b", "a+", "LygHa16AHYG", "zzzzzzzzzzz", "100000000000000", "\x80"};
    for (size_t i = 0; i < GW_ARRAY_LEN(refused); i++) {
        uint64_t value = 77;
        if (gw_base62_decode(gw_str_of(refused[i]), &value) || value != 77)
            fail_msg("accepted \"%s\"", refused[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_take_their_fixed_width),
        cmocka_unit_test(a_number_too_wide_is_refused_and_nothing_written),
        cmocka_unit_test(malformed_and_overflowing_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
