#include "json/yaml.h"

#include "testing/cmocka.h"

#include <stdlib.h>

static char *json_of(const char *yaml, gw_error *err)
{
    yyjson_mut_doc *doc = NULL;
    if (gw_yaml_read(gw_str_of(yaml), &doc, err) != GW_OK)
        return NULL;
    char *json = yyjson_mut_write(doc, 0, NULL);
    yyjson_mut_doc_free(doc);
    return json;
}

static void yaml_reads_as_the_json_it_means(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"", "{}"},
        {"# only a comment\n", "{}"},
        {"a: 1\nb: -2.5\nc: 0\n", "{\"a\":1,\"b\":-2.5,\"c\":0}"},
        {"a: true\nb: False\nc: ~\nd:\n", "{\"a\":true,\"b\":false,\"c\":null,\"d\":null}"},
        {"a: \"1\"\nb: 'true'\n", "{\"a\":\"1\",\"b\":\"true\"}"},
        {"a: gpt-4o\nb: 10.0.0.0/8\nc: 1m\n",
         "{\"a\":\"gpt-4o\",\"b\":\"10.0.0.0/8\",\"c\":\"1m\"}"},
        {"list: [x, 2, {k: v}]\n", "{\"list\":[\"x\",2,{\"k\":\"v\"}]}"},
        {"p:\n  - name: a\n    t: 1\n  - name: b\n",
         "{\"p\":[{\"name\":\"a\",\"t\":1},{\"name\":\"b\"}]}"},
        {"\"quoted key\": |\n  two\n  lines\n", "{\"quoted key\":\"two\\nlines\\n\"}"},
        {"big: 9223372036854775807\n", "{\"big\":9223372036854775807}"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_error err = {0};
        char *json = json_of(cases[i].yaml, &err);
        assert_non_null(json);
        assert_string_equal(json, cases[i].json);
        free(json);
    }
}

static void what_settings_do_not_need_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *says;
    } cases[] = {
        {"a: &x 1\nb: *x\n", "line 1"},
        {"b: *x\n", "aliases"},
        {"a: !!str 1\n", "tags"},
        {"? [1]\n: 2\n", "key"},
        {"a: 1\na: 2\n", "line 2, column 1: this key stands twice"},
        {"a: [1\n", "line"},
        {"a: 1\n---\nb: 2\n", "second document"},
        {"\tx: 1\n", "line 1"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_error err = {0};
        print_message("%s\n", cases[i].yaml);
        assert_null(json_of(cases[i].yaml, &err));
        assert_int_equal(err.code, GW_ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, cases[i].says));
    }
}

static void depth_is_bounded(void **state)
{
    (void)state;
    gw_auto_buf text = {0};
    for (int i = 0; i < GW_YAML_DEPTH_MAX + 1; i++)
        gw_buf_append_char(&text, '[');
    for (int i = 0; i < GW_YAML_DEPTH_MAX + 1; i++)
        gw_buf_append_char(&text, ']');
    gw_error err = {0};
    assert_null(json_of(text.data, &err));
    assert_non_null(strstr(err.message, "deeply"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_reads_as_the_json_it_means),
        cmocka_unit_test(what_settings_do_not_need_is_refused_with_its_place),
        cmocka_unit_test(depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
