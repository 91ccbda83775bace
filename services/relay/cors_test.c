#include "cors.h"

#include "testing/cmocka.h"

static const gw_str origin = {"https://app.example", 19};

static gw_str value_of(const gw_header *headers, size_t count, const char *name)
{
    return gw_headers_get((gw_headers){.items = headers, .count = count}, name);
}

static void nobody_reads_without_an_origin_or_where_no_origin_is_known(void **state)
{
    (void)state;
    assert_false(cors_may_read(NULL, NULL, GW_STR_NULL));
    assert_false(cors_may_read(NULL, NULL, origin));
}

static void an_answer_varies_by_origin_whether_it_may_be_read_or_not(void **state)
{
    gw_header out[CORS_READ_HEADERS];

    (void)state;
    assert_int_equal(cors_read_headers(GW_STR_NULL, true, DIALECT_OPENAI, out), 0);
    assert_int_equal(cors_read_headers(origin, false, DIALECT_OPENAI, out), 1);
    assert_true(gw_str_eq_c(value_of(out, 1, "vary"), "Origin"));
    assert_int_equal(cors_read_headers(origin, true, DIALECT_OPENAI, out), CORS_READ_HEADERS);
    assert_true(gw_str_eq(value_of(out, CORS_READ_HEADERS, "access-control-allow-origin"), origin));
}

static void each_dialects_headers_are_shown_to_pages(void **state)
{
    gw_header out[CORS_READ_HEADERS];
    const char *name = "access-control-expose-headers";

    (void)state;
    size_t count = cors_read_headers(origin, true, DIALECT_OPENAI, out);
    assert_true(gw_str_ends_with(value_of(out, count, name), GW_STR("x-ratelimit-reset-tokens")));
    count = cors_read_headers(origin, true, DIALECT_ANTHROPIC, out);
    assert_true(
        gw_str_ends_with(value_of(out, count, name), GW_STR("anthropic-ratelimit-tokens-reset")));
}

static void a_preflight_grants_the_methods_of_its_path_and_of_none_each(void **state)
{
    gw_header out[CORS_PREFLIGHT_HEADERS];
    const char *name = "access-control-allow-methods";

    (void)state;
    size_t count = cors_preflight_headers(origin, "POST, OPTIONS", GW_STR("authorization"), out);
    assert_int_equal(count, CORS_PREFLIGHT_HEADERS);
    assert_true(gw_str_eq_c(value_of(out, count, name), "POST, OPTIONS"));
    assert_true(gw_str_eq_c(value_of(out, count, "access-control-allow-headers"), "authorization"));
    count = cors_preflight_headers(origin, "", GW_STR(""), out);
    assert_int_equal(count, CORS_PREFLIGHT_HEADERS - 1);
    assert_true(gw_str_starts_with(value_of(out, count, name), GW_STR("GET, HEAD, POST, PUT")));
    assert_null(value_of(out, count, "access-control-allow-headers").ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_reads_without_an_origin_or_where_no_origin_is_known),
        cmocka_unit_test(an_answer_varies_by_origin_whether_it_may_be_read_or_not),
        cmocka_unit_test(each_dialects_headers_are_shown_to_pages),
        cmocka_unit_test(a_preflight_grants_the_methods_of_its_path_and_of_none_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
