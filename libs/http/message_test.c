#include "http/message.h"

#include "testing/cmocka.h"

static const gw_header items[] = {
    {{"Host", 4}, {"a", 1}},
    {{"X-Two", 5}, {"first", 5}},
    {{"x-two", 5}, {"second", 6}},
    {{"Empty", 5}, {NULL, 0}},
};
static const gw_headers headers = {.items = items, .count = GW_ARRAY_LEN(items)};

static void headers_are_found_in_any_case_the_first_one_first(void **state)
{
    (void)state;
    assert_true(gw_str_eq(gw_headers_get(headers, "HOST"), GW_STR("a")));
    assert_true(gw_str_eq(gw_headers_get(headers, "X-TWO"), GW_STR("first")));
    assert_int_equal(gw_headers_count_of(headers, "X-Two"), 2);
    assert_int_equal(gw_headers_count_of(headers, "none"), 0);
}

static void an_empty_value_is_not_an_absent_one(void **state)
{
    (void)state;
    assert_non_null(gw_headers_get(headers, "empty").ptr);
    assert_int_equal(gw_headers_get(headers, "empty").len, 0);
    assert_null(gw_headers_get(headers, "none").ptr);
    assert_null(gw_headers_get((gw_headers){.items = NULL, .count = 0}, "host").ptr);
}

static void names_are_tokens(void **state)
{
    (void)state;
    static const char good[] = "!#$%&'*+-.^_`|~09azAZ";
    for (int c = 0; c < 256; c++) {
        char name[] = {'x', (char)c};
        bool expected = c != 0 && strchr(good, c) != NULL;
        expected =
            expected || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        assert_int_equal(gw_header_name_is_valid(gw_str_n(name, 2)), expected);
    }
    assert_false(gw_header_name_is_valid(GW_STR("")));
}

static void values_hold_no_control_character_but_the_tab(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char value[] = {'x', (char)c, 'y'};
        assert_int_equal(gw_header_value_is_valid(gw_str_n(value, 3)),
                         c == '\t' || (c >= 0x20 && c != 0x7f));
    }
    assert_true(gw_header_value_is_valid(GW_STR("")));
}

static void media_types_are_compared_without_parameters_and_case(void **state)
{
    (void)state;
    assert_true(gw_content_type_is(GW_STR("application/json"), "application/json"));
    assert_true(gw_content_type_is(GW_STR("Application/JSON; charset=utf-8"), "application/json"));
    assert_true(gw_content_type_is(GW_STR(" application/json ;x"), "application/json"));
    assert_false(gw_content_type_is(GW_STR("application/json5"), "application/json"));
    assert_false(gw_content_type_is(GW_STR("text/plain; application/json"), "application/json"));
    assert_false(gw_content_type_is(GW_STR_NULL, "application/json"));
}

static void every_status_of_the_error_table_has_a_reason(void **state)
{
    (void)state;
    for (int code = 0; code < GW_STATUS_COUNT; code++)
        assert_string_not_equal(gw_http_reason(gw_status_describe((gw_status)code)->http_status),
                                "");
    assert_string_equal(gw_http_reason(404), "Not Found");
    assert_string_equal(gw_http_reason(799), "");
}

/* With the names noted or without, what is found is the same. */
static void names_that_were_noted_change_no_answer(void **state)
{
    static const char *const asked[] = {"host",         "HOST", "accept", "x-none",
                                        "Content-Type", "h",    ""};
    gw_headers noted = headers;

    (void)state;
    for (size_t i = 0; i < headers.count; i++)
        noted.names |= gw_header_name_bit(headers.items[i].name);
    for (size_t i = 0; i < GW_ARRAY_LEN(asked); i++) {
        assert_ptr_equal(gw_headers_get(noted, asked[i]).ptr,
                         gw_headers_get(headers, asked[i]).ptr);
        assert_int_equal(gw_headers_count_of(noted, asked[i]),
                         gw_headers_count_of(headers, asked[i]));
    }
    for (size_t i = 0; i < headers.count; i++) {
        char name[64] = "";
        memcpy(name, headers.items[i].name.ptr, headers.items[i].name.len);
        assert_non_null(gw_headers_get(noted, name).ptr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_were_noted_change_no_answer),
        cmocka_unit_test(headers_are_found_in_any_case_the_first_one_first),
        cmocka_unit_test(an_empty_value_is_not_an_absent_one),
        cmocka_unit_test(names_are_tokens),
        cmocka_unit_test(values_hold_no_control_character_but_the_tab),
        cmocka_unit_test(media_types_are_compared_without_parameters_and_case),
        cmocka_unit_test(every_status_of_the_error_table_has_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
