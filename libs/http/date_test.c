#include "http/date.h"

#include "testing/cmocka.h"

static void the_three_forms_of_http_are_read(void **state)
{
    static const char *const forms[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(forms); i++) {
        int64_t at = 0;
        assert_true(gw_http_date_parse(gw_str_of(forms[i]), &at));
        assert_int_equal(at, 784111777);
    }
}

static void other_texts_are_no_dates(void **state)
{
    static const char *const texts[] = {
        "",
        "120",
        "-1",
        "08:49:37",
        "19941106",
        "soon",
        "Sun",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT and a text that is longer than any date"};

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(texts); i++) {
        int64_t at = -7;
        assert_false(gw_http_date_parse(gw_str_of(texts[i]), &at));
        assert_int_equal(at, -7);
    }
    assert_false(gw_http_date_parse(gw_str_n("Sun\0x", 5), &(int64_t){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_forms_of_http_are_read),
        cmocka_unit_test(other_texts_are_no_dates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
