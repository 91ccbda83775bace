#include "mongo/bson_read.h"

#include "testing/cmocka.h"

#include <math.h>

static bson_t *json(const char *text)
{
    bson_error_t e;
    bson_t *d = bson_new_from_json((const uint8_t *)text, -1, &e);
    if (!d)
        fail_msg("%s", e.message);
    return d;
}

static void paths_reach_into_documents_and_arrays(void **state)
{
    (void)state;
    bson_t *d = json("{\"a\":{\"b\":[{\"c\":\"x\"},{\"c\":\"y\"}]}}");
    gw_str text = GW_STR("before");

    assert_true(gw_bson_str(d, "a.b.1.c", &text));
    assert_true(gw_str_eq(text, GW_STR("y")));
    assert_false(gw_bson_str(d, "a.b.2.c", &text));
    assert_false(gw_bson_str(d, "a.x.c", &text));
    assert_true(gw_str_eq(text, GW_STR("y")));
    bson_destroy(d);
}

static void each_number_type_reads_as_an_integer_when_it_is_one(void **state)
{
    static const struct {
        const char *name;
        const char *json;
        bool ok;
        int64_t expected;
    } cases[] = {
        {"int32", "{\"n\":7}", true, 7},
        {"int64", "{\"n\":{\"$numberLong\":\"9007199254740993\"}}", true, 9007199254740993},
        {"double without fraction", "{\"n\":{\"$numberDouble\":\"12.0\"}}", true, 12},
        {"double with fraction", "{\"n\":1.5}", false, 0},
        {"too large", "{\"n\":{\"$numberDouble\":\"9.3e18\"}}", false, 0},
        {"infinite", "{\"n\":{\"$numberDouble\":\"Infinity\"}}", false, 0},
        {"nan", "{\"n\":{\"$numberDouble\":\"NaN\"}}", false, 0},
        {"text", "{\"n\":\"7\"}", false, 0},
        {"bool", "{\"n\":true}", false, 0},
        {"null", "{\"n\":null}", false, 0},
        {"absent", "{}", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        bson_t *d = json(cases[i].json);
        int64_t n = -1;
        bool ok = gw_bson_int64(d, "n", &n);
        if (ok != cases[i].ok || n != (ok ? cases[i].expected : -1))
            fail_msg("%s: %d %lld", cases[i].name, ok, (long long)n);
        bson_destroy(d);
    }
}

static void doubles_come_from_any_finite_number(void **state)
{
    (void)state;
    bson_t *d = json("{\"i\":3,\"l\":{\"$numberLong\":\"4\"},\"d\":2.5,"
                     "\"nan\":{\"$numberDouble\":\"NaN\"},\"s\":\"1\"}");
    double v = -1;

    assert_true(gw_bson_double(d, "i", &v) && v == 3);
    assert_true(gw_bson_double(d, "l", &v) && v == 4);
    assert_true(gw_bson_double(d, "d", &v) && v == 2.5);
    assert_false(gw_bson_double(d, "nan", &v));
    assert_false(gw_bson_double(d, "s", &v));
    assert_true(v == 2.5);
    bson_destroy(d);
}

static void another_type_is_absent(void **state)
{
    (void)state;
    bson_t *d = json("{\"s\":\"text\",\"n\":null,\"b\":true,\"doc\":{\"x\":1},\"list\":[1]}");
    gw_str text = GW_STR_NULL;
    bool flag = false;
    int64_t ms = 0;
    gw_object_id id;
    bson_t view;

    assert_false(gw_bson_str(d, "n", &text));
    assert_false(gw_bson_str(d, "b", &text));
    assert_false(gw_bson_bool(d, "s", &flag));
    assert_true(gw_bson_bool(d, "b", &flag) && flag);
    assert_false(gw_bson_date_ms(d, "s", &ms));
    assert_false(gw_bson_oid(d, "s", &id));
    assert_false(gw_bson_binary(d, "s", &text));
    assert_false(gw_bson_doc(d, "list", &view));
    assert_false(gw_bson_array(d, "doc", &view));
    assert_true(gw_bson_doc(d, "doc", &view) && bson_count_keys(&view) == 1);
    assert_true(gw_bson_array(d, "list", &view) && bson_count_keys(&view) == 1);
    assert_true(gw_bson_has(d, "doc.x"));
    assert_false(gw_bson_has(d, "n"));
    assert_false(gw_bson_has(d, "doc.y"));
    bson_destroy(d);
}

static void text_that_is_no_c_string_of_utf8_is_absent(void **state)
{
    (void)state;
    bson_t d = BSON_INITIALIZER;
    gw_str text = GW_STR_NULL;

    bson_append_utf8(&d, "bad", -1, "\xc3(", 2);
    bson_append_utf8(&d, "nul", -1, "a\0b", 3);
    assert_false(gw_bson_str(&d, "bad", &text));
    assert_false(gw_bson_str(&d, "nul", &text));
    bson_destroy(&d);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    bson_t d = BSON_INITIALIZER;
    bson_t list;
    gw_object_id id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
    gw_object_id back;
    gw_str items[] = {GW_STR("a"), GW_STR(""), GW_STR("c")};
    gw_str text = GW_STR_NULL;
    int64_t ms = 0;

    gw_bson_append_str(&d, "empty", GW_STR_NULL);
    gw_bson_append_oid(&d, "id", &id);
    gw_bson_append_str_array(&d, "list", items, 3);
    gw_bson_append_str_array(&d, "none", NULL, 0);
    BSON_APPEND_DATE_TIME(&d, "at", 1700000000123);
    bson_append_binary(&d, "bytes", -1, BSON_SUBTYPE_BINARY, (const uint8_t *)"\0\1", 2);

    assert_true(gw_bson_str(&d, "empty", &text) && text.len == 0);
    assert_true(gw_bson_oid(&d, "id", &back));
    assert_memory_equal(id.bytes, back.bytes, 12);
    assert_true(gw_bson_str(&d, "list.2", &text) && gw_str_eq(text, GW_STR("c")));
    assert_true(gw_bson_array(&d, "none", &list) && bson_empty(&list));
    assert_true(gw_bson_date_ms(&d, "at", &ms) && ms == 1700000000123);
    assert_true(gw_bson_binary(&d, "bytes", &text) && text.len == 2);
    bson_destroy(&d);
}

static void map_keys_survive_escaping(void **state)
{
    static const struct {
        gw_str name;
        const char *key;
    } cases[] = {
        {GW_STR("gpt-4.1"), "gpt-4%2E1"}, {GW_STR("$model"), "%24model"},
        {GW_STR("100%"), "100%25"},       {GW_STR("%2E"), "%252E"},
        {GW_STR("plain"), "plain"},       {GW_STR(""), "%"},
        {GW_STR("a\0b"), "a%00b"},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf key = {0};
        gw_auto_buf name = {0};
        gw_bson_key_escape(&key, cases[i].name);
        assert_string_equal(key.data, cases[i].key);
        assert_int_equal(gw_bson_key_bytes(cases[i].name), key.len);
        gw_bson_key_unescape(&name, gw_buf_str(&key));
        assert_true(gw_str_eq(gw_buf_str(&name), cases[i].name));
    }
}

static void foreign_map_keys_are_left_as_they_are(void **state)
{
    gw_auto_buf name = {0};
    (void)state;
    gw_bson_key_unescape(&name, GW_STR("a%41%2e%2"));
    assert_string_equal(name.data, "a%41.%2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_reach_into_documents_and_arrays),
        cmocka_unit_test(each_number_type_reads_as_an_integer_when_it_is_one),
        cmocka_unit_test(doubles_come_from_any_finite_number),
        cmocka_unit_test(another_type_is_absent),
        cmocka_unit_test(text_that_is_no_c_string_of_utf8_is_absent),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(map_keys_survive_escaping),
        cmocka_unit_test(foreign_map_keys_are_left_as_they_are),
    };
    return cmocka_run_group_tests_name("bson_read", tests, NULL, NULL);
}
