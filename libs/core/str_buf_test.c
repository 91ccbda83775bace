#include "core/str.h"

#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

#include <stdlib.h>

static void appends_of_all_kinds_add_up(void **state)
{
    (void)state;
    gw_auto_buf b = {0};
    gw_buf_append_c(&b, "a");
    gw_buf_append_c(&b, NULL);
    gw_buf_append_char(&b, 'b');
    gw_buf_append_str(&b, GW_STR("cd"));
    gw_buf_append_str(&b, GW_STR_NULL);
    gw_buf_appendf(&b, "%d-%s", 7, "x");
    assert_string_equal(b.data, "abcd7-x");
    assert_int_equal(b.len, 7);
    assert_true(gw_str_eq_c(gw_buf_str(&b), "abcd7-x"));
    gw_buf_clear(&b);
    assert_string_equal(b.data, "");
    assert_int_equal(b.len, 0);
}

static void formatting_grows_over_every_boundary(void **state)
{
    (void)state;
    for (size_t before = 0; before < 140; before++) {
        gw_auto_buf b = {0};
        for (size_t i = 0; i < before; i++)
            gw_buf_append_char(&b, 'x');
        gw_buf_appendf(&b, "%0100d", 5);
        assert_int_equal(b.len, before + 100);
        assert_int_equal(strlen(b.data), before + 100);
        assert_int_equal(b.data[b.len - 1], '5');
    }
}

static void the_front_can_be_dropped(void **state)
{
    (void)state;
    gw_auto_buf b = {0};
    gw_buf_drop_front(&b, 3);
    gw_buf_append_c(&b, "abcdef");
    gw_buf_drop_front(&b, 2);
    assert_string_equal(b.data, "cdef");
    gw_buf_drop_front(&b, 0);
    assert_string_equal(b.data, "cdef");
    gw_buf_drop_front(&b, 99);
    assert_string_equal(b.data, "");
    assert_int_equal(b.len, 0);
}

static void stolen_bytes_are_terminated_even_when_empty(void **state)
{
    (void)state;
    gw_buf b = {0};
    gw_auto_free char *empty = gw_buf_steal(&b);
    assert_string_equal(empty, "");
    gw_buf_append_c(&b, "text");
    gw_auto_free char *text = gw_buf_steal(&b);
    assert_string_equal(text, "text");
    assert_null(b.data);
    assert_int_equal(b.len, 0);
}

static void json_strings_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *json;
    } cases[] = {
        {NULL, 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"\"\\/", 3, "\"\\\"\\\\/\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\0\x1f\x7f", 3, "\"\\u0000\\u001f\x7f\""},
        {"\xc3\xa4\xf0\x9f\x98\x80", 6, "\"\xc3\xa4\xf0\x9f\x98\x80\""},
        {"a\xff"
         "b",
         3,
         "\"a\xef\xbf\xbd"
         "b\""},
        {"\xf0\x9f\x98", 3, "\"\xef\xbf\xbd\""}, /* one maximal subpart, one replacement */
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xc3\"", 2, "\"\xef\xbf\xbd\\\"\""},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf b = {0};
        gw_buf_append_json(&b, gw_str_n(cases[i].text, cases[i].len));
        assert_string_equal(b.data, cases[i].json);
    }
}

static void running_out_of_memory_sticks(void **state)
{
    (void)state;
    for (size_t n = 1; n < 8; n++) {
        gw_auto_buf b = {0};
        gw_failing_alloc_arm(n);
        for (int i = 0; i < 100; i++)
            gw_buf_append_c(&b, "0123456789");
        gw_buf_appendf(&b, "%d", 7);
        gw_buf_append_json(&b, GW_STR("x"));
        bool failed = gw_failing_alloc_disarm();
        assert_int_equal(gw_buf_failed(&b), failed);
        if (failed) {
            size_t len = b.len;
            gw_buf_append_c(&b, "more");
            assert_int_equal(b.len, len);
            assert_true(b.data == NULL || strlen(b.data) == len);
            assert_null(gw_buf_steal(&b));
            assert_null(b.data);
        } else {
            assert_int_equal(b.len, 1004);
        }
    }
}

static void impossible_sizes_fail_without_allocating(void **state)
{
    (void)state;
    gw_auto_buf b = {0};
    gw_buf_append_char(&b, 'x');
    assert_false(gw_buf_reserve(&b, SIZE_MAX));
    assert_true(gw_buf_failed(&b));
    gw_buf_clear(&b);
    assert_false(gw_buf_failed(&b));
    assert_false(gw_buf_reserve(&b, SIZE_MAX - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_of_all_kinds_add_up),
        cmocka_unit_test(formatting_grows_over_every_boundary),
        cmocka_unit_test(the_front_can_be_dropped),
        cmocka_unit_test(stolen_bytes_are_terminated_even_when_empty),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(running_out_of_memory_sticks),
        cmocka_unit_test(impossible_sizes_fail_without_allocating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
