#include "json_members.h"

#include "testing/cmocka.h"

static void values_are_found_where_they_stand(void **state)
{
    static const char text[] = " { \"a\" : 1 ,\n\"b\":\"x\\\"}\\\\\",\"c\":{\"d\":[\"]\",{}]} , "
                               "\"e\":[1,[2]],\"f\":null}\n";
    static const char *const expected[] = {"1", "\"x\\\"}\\\\\"", "{\"d\":[\"]\",{}]}", "[1,[2]]",
                                           "null"};
    gw_str json = gw_str_of(text);
    json_members m = json_members_of(json);
    json_span at;

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(expected); i++) {
        assert_true(json_members_next(&m, &at));
        gw_str value = gw_str_slice(json, at.from, at.to);
        assert_int_equal(value.len, strlen(expected[i]));
        assert_memory_equal(value.ptr, expected[i], value.len);
    }
    assert_false(json_members_next(&m, &at));
}

static void an_empty_object_has_no_members(void **state)
{
    json_span at;
    json_members m = json_members_of(GW_STR("  { }"));

    (void)state;
    assert_false(json_members_next(&m, &at));
    assert_int_equal(json_members_start(GW_STR("  { }")), 3);
}

/* The text is valid when it gets here; still nothing may be read past its end. */
static void cut_texts_end_quietly(void **state)
{
    gw_str whole = GW_STR("{\"a\":\"b\\\\\",\"c\":{\"d\":[1,2,\"x\"]},\"e\":12}");

    (void)state;
    for (size_t n = 0; n <= whole.len; n++) {
        gw_auto_free char *copy = gw_str_dup(gw_str_slice(whole, 0, n));
        json_members m = json_members_of((gw_str){copy, n});
        json_span at;
        while (json_members_next(&m, &at))
            assert_true(at.from <= at.to && at.to <= n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found_where_they_stand),
        cmocka_unit_test(an_empty_object_has_no_members),
        cmocka_unit_test(cut_texts_end_quietly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
