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

static bool nested_is_too_deep(size_t depth, const char *beside)
{
    gw_auto_buf text = {0};

    gw_buf_appendf(&text, "[%s", beside);
    for (size_t i = 1; i < depth; i++)
        gw_buf_append_c(&text, i % 2 ? "{\"a\":" : "[");
    gw_buf_append_c(&text, "1");
    for (size_t i = depth; i-- > 1;)
        gw_buf_append_c(&text, i % 2 ? "}" : "]");
    gw_buf_append_c(&text, "]");
    yyjson_doc *doc = yyjson_read(text.data, text.len, YYJSON_READ_NOFLAG);
    assert_non_null(doc);
    bool too_deep = json_is_too_deep(yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return too_deep;
}

static void depth_is_counted_not_containers(void **state)
{
    (void)state;
    assert_false(nested_is_too_deep(1, ""));
    assert_false(nested_is_too_deep(JSON_DEPTH_MAX, ""));
    assert_true(nested_is_too_deep(JSON_DEPTH_MAX + 1, ""));
    assert_true(nested_is_too_deep(100000, ""));
    /* What has ended before does not count. */
    assert_false(nested_is_too_deep(JSON_DEPTH_MAX, "[[[]]],{\"b\":{}},"));
    assert_true(nested_is_too_deep(JSON_DEPTH_MAX + 1, "[[[]]],{\"b\":{}},"));
    assert_false(json_is_too_deep(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found_where_they_stand),
        cmocka_unit_test(an_empty_object_has_no_members),
        cmocka_unit_test(cut_texts_end_quietly),
        cmocka_unit_test(depth_is_counted_not_containers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
