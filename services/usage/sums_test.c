#include "sums.h"

#include "testing/cmocka.h"

#include <stdlib.h>

static void expect_json(const bson_t *d, const char *expected)
{
    char *json = bson_as_relaxed_extended_json(d, NULL);
    assert_string_equal(json, expected);
    bson_free(json);
}

static void a_path_sums_what_is_added_to_it(void **state)
{
    (void)state;
    gw_auto(sums) s = sums_new();
    sums_add(s, GW_STR("a.b"), 2);
    sums_add(s, GW_STR("a.b"), 3);
    assert_int_equal(sums_get(s, GW_STR("a.b")), 5);
    assert_int_equal(sums_get(s, GW_STR("a")), 0);
}

static void a_sum_holds_at_the_end_of_its_range(void **state)
{
    (void)state;
    gw_auto(sums) s = sums_new();
    sums_add(s, GW_STR("a"), INT64_MAX);
    sums_add(s, GW_STR("a"), 1);
    assert_true(sums_get(s, GW_STR("a")) == INT64_MAX);
    sums_add(s, GW_STR("b"), INT64_MIN);
    sums_add(s, GW_STR("b"), -1);
    assert_true(sums_get(s, GW_STR("b")) == INT64_MIN);
}

static void flat_and_nested_say_the_same(void **state)
{
    bson_t flat = BSON_INITIALIZER;
    bson_t nested = BSON_INITIALIZER;
    (void)state;
    gw_auto(sums) s = sums_new();
    sums_add(s, GW_STR("m.a-b.x"), 1); /* '-' stands before '.' in the order of bytes */
    sums_add(s, GW_STR("m.a.x"), 2);
    sums_add(s, GW_STR("m.a.y"), 0);
    sums_add(s, GW_STR("m.a%2Eb.x"), 3);
    sums_add(s, GW_STR("n"), 4);
    sums_set_double(s, GW_STR("m.a.z"), 0.5);
    sums_append_flat(s, &flat);
    sums_append_nested(s, &nested);
    expect_json(&flat, "{ \"m.a%2Eb.x\" : 3, \"m.a-b.x\" : 1, \"m.a.x\" : 2, \"m.a.y\" : 0, "
                       "\"m.a.z\" : 0.5, \"n\" : 4 }");
    expect_json(&nested, "{ \"m\" : { \"a%2Eb\" : { \"x\" : 3 }, \"a-b\" : { \"x\" : 1 }, "
                         "\"a\" : { \"x\" : 2, \"y\" : 0, \"z\" : 0.5 } }, \"n\" : 4 }");
    assert_false(sums_failed(s));
    bson_destroy(&flat);
    bson_destroy(&nested);
}

static void a_map_without_entries_is_an_empty_document(void **state)
{
    bson_t nested = BSON_INITIALIZER;
    (void)state;
    gw_auto(sums) s = sums_new();
    sums_add(s, GW_STR("m.errors-x"), 1);
    sums_add(s, GW_STR("m.models.a.x"), 2);
    sums_ensure_map(s, GW_STR("m.models"));
    sums_ensure_map(s, GW_STR("m.errors"));
    sums_append_nested(s, &nested);
    expect_json(&nested, "{ \"m\" : { \"errors\" : {  }, \"errors-x\" : 1, "
                         "\"models\" : { \"a\" : { \"x\" : 2 } } } }");
    bson_destroy(&nested);
}

static void a_document_adds_its_integers_and_nothing_else(void **state)
{
    (void)state;
    gw_auto(sums) s = sums_new();
    bson_t *d = BCON_NEW("total", BCON_INT64(7), "small", BCON_INT32(2), "cost", BCON_DOUBLE(0.5),
                         "name", BCON_UTF8("x"), "in", "{", "n", BCON_INT64(1), "}");
    sums_add_document(s, GW_STR("p"), d);
    sums_add_document(s, GW_STR("p"), d);
    assert_int_equal(sums_get(s, GW_STR("p.total")), 14);
    assert_int_equal(sums_get(s, GW_STR("p.small")), 4);
    assert_int_equal(sums_get(s, GW_STR("p.in.n")), 2);
    bson_t nested = BSON_INITIALIZER;
    sums_append_nested(s, &nested);
    expect_json(&nested, "{ \"p\" : { \"in\" : { \"n\" : 2 }, \"small\" : 4, \"total\" : 14 } }");
    bson_destroy(&nested);
    bson_destroy(d);
}

static void a_document_too_deep_ends_there(void **state)
{
    bson_t *d = BCON_NEW("n", BCON_INT64(1));
    (void)state;
    for (int i = 0; i < 100; i++) {
        bson_t *outer = bson_new();
        (void)BSON_APPEND_DOCUMENT(outer, "d", d);
        bson_destroy(d);
        d = outer;
    }
    gw_auto(sums) s = sums_new();
    sums_add_document(s, GW_STR("p"), d);
    bson_t flat = BSON_INITIALIZER;
    sums_append_flat(s, &flat);
    assert_true(bson_empty(&flat));
    bson_destroy(&flat);
    bson_destroy(d);
}

static void count_each(void *arg, gw_str name, int64_t value)
{
    int64_t *total = (int64_t *)arg;
    int64_t index = 0;
    assert_true(gw_str_to_int64(name, &index));
    *total += index * value;
}

static void each_sees_what_stands_directly_under_a_prefix(void **state)
{
    int64_t total = 0;
    (void)state;
    gw_auto(sums) s = sums_new();
    sums_add(s, GW_STR("hist.dur.3"), 10);
    sums_add(s, GW_STR("hist.dur.4"), 100);
    sums_add(s, GW_STR("hist.dur.4.deeper"), 1);
    sums_add(s, GW_STR("hist.durable.9"), 1);
    sums_add(s, GW_STR("hist.dur"), 1);
    sums_each(s, GW_STR("hist.dur"), count_each, &total);
    assert_int_equal(total, 430);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_sums_what_is_added_to_it),
        cmocka_unit_test(a_sum_holds_at_the_end_of_its_range),
        cmocka_unit_test(flat_and_nested_say_the_same),
        cmocka_unit_test(a_map_without_entries_is_an_empty_document),
        cmocka_unit_test(a_document_adds_its_integers_and_nothing_else),
        cmocka_unit_test(a_document_too_deep_ends_there),
        cmocka_unit_test(each_sees_what_stands_directly_under_a_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
