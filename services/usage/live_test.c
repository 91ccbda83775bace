#include "live.h"

#include "testing/cmocka.h"
#include "testing/fake_clock.h"

#define NOW_S 1000000

typedef Apirelay__Usage__V1__LiveCounter counter;
typedef Apirelay__Usage__V1__HistogramBucket bucket;

static void add(live *l, int64_t second, uint8_t key, const char *model, int64_t requests)
{
    uint8_t id[12] = {key};
    Apirelay__Usage__V1__Live frame = APIRELAY__USAGE__V1__LIVE__INIT;
    counter c = APIRELAY__USAGE__V1__LIVE_COUNTER__INIT;
    bucket b = APIRELAY__USAGE__V1__HISTOGRAM_BUCKET__INIT;
    bucket *buckets[] = {&b};
    counter *counters[] = {&c};
    b.index = 57; /* 100 ms */
    b.count = requests;
    c.api_key_id = (ProtobufCBinaryData){key ? sizeof(id) : 0, id};
    c.model = (char *)(uintptr_t)model;
    c.requests = requests;
    c.errors = 1;
    c.prompt_tokens = 10;
    c.completion_tokens = 5;
    c.cost_nano_usd = 1000;
    c.n_duration = 1;
    c.duration = buckets;
    frame.second = second;
    frame.open_streams = 2;
    frame.in_flight = 3;
    frame.n_counters = 1;
    frame.counters = counters;
    live_add(l, &frame);
}

static void the_window_holds_its_seconds_only(void **state)
{
    gw_fake_clock fake;
    gw_clock clock = gw_fake_clock_init(&fake, NOW_S * 1000LL + 500);
    (void)state;
    gw_auto(live) l = live_new(&clock);
    gw_auto(gw_arena) a = gw_arena_new();
    add(l, NOW_S - 2, 1, "gpt", 4);
    add(l, NOW_S - 2, 1, "gpt", 4); /* another relay */
    add(l, NOW_S - 30, 2, "claude", 1);
    add(l, NOW_S - 61, 2, "claude", 100); /* too old */
    add(l, NOW_S + 60, 2, "claude", 100); /* not yet */
    Apirelay__Usage__V1__GetMetricsResponse *m = live_metrics(l, a, 60, NULL);
    assert_int_equal(m->totals->requests, 9);
    assert_int_equal(m->totals->errors, 3);
    assert_int_equal(m->totals->total_tokens, 45);
    assert_true(m->totals->requests_per_second == 9.0 / 60);
    assert_true(m->totals->performance->p95_response_time > 96 &&
                m->totals->performance->p95_response_time < 104);
    assert_int_equal(m->in_flight, 6);
    assert_int_equal(m->open_streams, 4);
    assert_int_equal(m->n_series, 60);
    assert_int_equal(m->series[58]->requests, 8);
    assert_int_equal(m->series[30]->requests, 1);
    assert_int_equal(m->n_models, 2);
    assert_string_equal(m->models[0]->group, "gpt");
    assert_string_equal(m->keys[0]->group, "010000000000000000000000");
    m = live_metrics(l, a, 10, NULL);
    assert_int_equal(m->totals->requests, 8);
    assert_int_equal(m->n_series, 10);
    gw_fake_clock_advance_ms(&fake, 120000);
    assert_int_equal(live_metrics(l, a, 60, NULL)->totals->requests, 0);
}

static void one_key_has_its_own_figures(void **state)
{
    gw_fake_clock fake;
    gw_clock clock = gw_fake_clock_init(&fake, NOW_S * 1000LL);
    gw_object_id key = {{2}};
    (void)state;
    gw_auto(live) l = live_new(&clock);
    gw_auto(gw_arena) a = gw_arena_new();
    add(l, NOW_S - 1, 1, "gpt", 4);
    add(l, NOW_S - 1, 2, "gpt", 3);
    Apirelay__Usage__V1__GetMetricsResponse *m = live_metrics(l, a, 60, &key);
    assert_int_equal(m->totals->requests, 3);
    assert_int_equal(m->n_keys, 1);
    assert_int_equal(m->models[0]->totals->requests, 3);
}

static void the_groups_are_bounded(void **state)
{
    gw_fake_clock fake;
    gw_clock clock = gw_fake_clock_init(&fake, NOW_S * 1000LL);
    (void)state;
    gw_auto(live) l = live_new(&clock);
    gw_auto(gw_arena) a = gw_arena_new();
    for (int i = 1; i <= 200; i++)
        add(l, NOW_S - 1, (uint8_t)i, "m", i);
    add(l, NOW_S - 1, 0, "", 7); /* the rest of a relay */
    Apirelay__Usage__V1__GetMetricsResponse *m = live_metrics(l, a, 60, NULL);
    int64_t sum = 0;
    for (size_t i = 0; i < m->n_keys; i++)
        sum += m->keys[i]->totals->requests;
    assert_int_equal(m->n_keys, LIVE_GROUPS_MAX);
    assert_string_equal(m->keys[LIVE_GROUPS_MAX - 1]->group, "");
    assert_int_equal(sum, m->totals->requests);
    assert_int_equal(sum, 200 * 201 / 2 + 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_window_holds_its_seconds_only),
        cmocka_unit_test(one_key_has_its_own_figures),
        cmocka_unit_test(the_groups_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
