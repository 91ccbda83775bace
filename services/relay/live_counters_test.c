#include "recorder_test_kit.h"

#include "live_counters.h"

static void add(live_table *t, const usage_event *e)
{
    uint8_t bytes[EVENT_MAX_BYTES];
    event_figures f;
    assert_true(event_read_figures(gw_str_n(bytes, event_pack(e, bytes, sizeof(bytes))), &f));
    live_table_add(t, &f);
}

static void buckets_are_sixteen_a_doubling(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        uint32_t bucket;
    } cases[] = {{-5, 0},   {0, 0},      {15, 15},     {16, 16},       {31, 31},        {32, 32},
                 {100, 57}, {1234, 115}, {60000, 205}, {4194303, 303}, {INT64_MAX, 303}};
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        assert_int_equal(live_bucket(cases[i].ms), cases[i].bucket);
}

static void counts_are_by_key_and_model(void **state)
{
    (void)state;
    uint8_t id[12] = {0}, other[12] = "api-key-0002";
    char route[] = "gpt-*";
    live_table *t = live_table_new(1764000000);
    gw_arena *a = gw_arena_new();
    assert_non_null(t);
    usage_event e = kit_event(id, 10);
    e.prompt_tokens = 3;
    add(t, &e);
    e.ttft_ms_presence_case = APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE_TTFT_MS;
    e.ttft_ms = 100;
    add(t, &e);
    e.api_key_id = (ProtobufCBinaryData){.len = 12, .data = other};
    e.upstream_accepted = false; /* under the route, not the name the caller made up */
    e.route = route;
    e.status_code = 503;
    e.repeat_count = 7;
    add(t, &e);
    Apirelay__Usage__V1__Live *m = live_table_message(t, a);
    assert_non_null(m);
    assert_int_equal(m->second, 1764000000);
    assert_int_equal(m->n_counters, 2);
    const Apirelay__Usage__V1__LiveCounter *first = m->counters[0], *second = m->counters[1];
    assert_string_equal(first->model, "gpt-*");
    assert_memory_equal(first->api_key_id.data, other, 12);
    assert_int_equal(first->requests, 7);
    assert_int_equal(first->errors, 7);
    assert_string_equal(second->model, "gpt-4o");
    assert_int_equal(second->requests, 2);
    assert_int_equal(second->errors, 0);
    assert_int_equal(second->prompt_tokens, 6);
    assert_int_equal(second->cost_nano_usd, 84);
    assert_int_equal(second->n_duration, 1);
    assert_int_equal(second->duration[0]->index, 115);
    assert_int_equal(second->duration[0]->count, 2);
    assert_int_equal(second->n_ttft, 1);
    assert_int_equal(second->ttft[0]->index, 57);
    gw_arena_free(a);
    live_table_free(t);
}

static void the_rest_is_one_counter_without_key_and_model(void **state)
{
    (void)state;
    uint8_t id[12] = {0}, key[12] = {0};
    live_table *t = live_table_new(1);
    gw_arena *a = gw_arena_new();
    assert_non_null(t);
    usage_event e = kit_event(id, 10);
    e.api_key_id = (ProtobufCBinaryData){.len = 12, .data = key};
    for (int i = 0; i < 5000; i++) { /* more than a table has entries */
        memcpy(key, &i, sizeof(i));
        add(t, &e);
    }
    Apirelay__Usage__V1__Live *m = live_table_message(t, a);
    assert_non_null(m);
    assert_int_equal(m->n_counters, LIVE_COUNTERS_MAX);
    const Apirelay__Usage__V1__LiveCounter *rest = m->counters[LIVE_COUNTERS_MAX - 1];
    assert_int_equal(rest->api_key_id.len, 0);
    assert_string_equal(rest->model, "");
    assert_int_equal(rest->requests, 5000 - (LIVE_COUNTERS_MAX - 1));
    gw_arena_free(a);
    live_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_sixteen_a_doubling),
        cmocka_unit_test(counts_are_by_key_and_model),
        cmocka_unit_test(the_rest_is_one_counter_without_key_and_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
