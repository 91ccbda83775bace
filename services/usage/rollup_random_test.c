/* Rollups of 100,000 random events over the end of a month, against sums made the plain way. */
#include "rollup.h"

#include "event_testing.h"
#include "histogram.h"

#include "core/clock.h"

#include <stdio.h>

#define EVENTS   100000
#define KEYS     5 /* and one more for all of them */
#define HOURS    6
#define MODELS   3
#define FIRST_MS 1764540000000LL /* 2025-11-30T22:00:00Z */

typedef struct plain {
    int64_t requests, failed, prompt, completion, total, cost, duration, by_model[MODELS];
    int64_t buckets[HISTOGRAM_BUCKETS];
} plain;

static const char *const model_names[MODELS] = {"gpt-4.1", "a$b.c", "o%3"};
static const char *const model_keys[MODELS] = {"gpt-4%2E1", "a%24b%2Ec", "o%253"};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void add_plain(plain *p, const usage_event *e, size_t model)
{
    p->requests++;
    p->failed += e->status_code >= 400;
    p->prompt += e->prompt_tokens;
    p->completion += e->completion_tokens;
    p->total += e->total_tokens;
    p->cost += e->cost_nano_usd;
    p->duration += e->duration_ms;
    p->by_model[model]++;
    p->buckets[histogram_bucket(e->duration_ms)]++;
}

static void compare(sums *s, const plain *p)
{
    char path[64];
    assert_int_equal(sums_get(s, GW_STR("metrics.requests.total")), p->requests);
    assert_int_equal(sums_get(s, GW_STR("metrics.requests.failed")), p->failed);
    assert_int_equal(sums_get(s, GW_STR("metrics.tokens.prompt")), p->prompt);
    assert_int_equal(sums_get(s, GW_STR("metrics.tokens.completion")), p->completion);
    assert_int_equal(sums_get(s, GW_STR("metrics.tokens.total")), p->total);
    assert_int_equal(sums_get(s, GW_STR("metrics.cost.billedNanoUsd")), p->cost);
    assert_int_equal(sums_get(s, GW_STR("metrics.performance.sumDuration")), p->duration);
    for (size_t m = 0; m < MODELS; m++) {
        (void)snprintf(path, sizeof(path), "metrics.models.%s.requests", model_keys[m]);
        assert_int_equal(sums_get(s, gw_str_of(path)), p->by_model[m]);
    }
    for (int b = 0; b < HISTOGRAM_BUCKETS; b++) {
        (void)snprintf(path, sizeof(path), "hist.dur.%d", b);
        assert_int_equal(sums_get(s, gw_str_of(path)), p->buckets[b]);
    }
}

static void rollups_of_random_events_are_the_plain_sums_at_the_end_of_a_month(void **state)
{
    static plain expected[KEYS + 1][HOURS];
    uint64_t random = 20251130;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    for (int i = 0; i < EVENTS; i++) {
        test_event t;
        bson_t row;
        test_event_init(&t);
        size_t key = next_random(&random) % KEYS, model = next_random(&random) % MODELS;
        int64_t offset_ms = (int64_t)(next_random(&random) % (HOURS * GW_MS_PER_HOUR));
        if (i % 100 == 0) /* the edges themselves */
            offset_ms =
                offset_ms / GW_MS_PER_HOUR * GW_MS_PER_HOUR + (i % 200 ? GW_MS_PER_HOUR - 1 : 0);
        t.key[11] = (uint8_t)key;
        t.e.timestamp_ms = FIRST_MS + offset_ms;
        t.e.model = TEXT(model_names[model]);
        t.e.status_code = next_random(&random) % 10 ? 200 : 502;
        t.e.duration_ms = (int64_t)(next_random(&random) % 100000);
        t.e.prompt_tokens = (int64_t)(next_random(&random) % 10000);
        t.e.completion_tokens = (int64_t)(next_random(&random) % 10000);
        t.e.total_tokens = t.e.prompt_tokens + t.e.completion_tokens;
        t.e.cost_nano_usd = (int64_t)(next_random(&random) % 1000000000);
        test_event_row(&t, &row);
        assert_int_equal(rollup_add_row(r, &row, NULL), GW_OK);
        bson_destroy(&row);
        add_plain(&expected[key][offset_ms / GW_MS_PER_HOUR], &t.e, model);
        add_plain(&expected[KEYS][offset_ms / GW_MS_PER_HOUR], &t.e, model);
    }
    size_t owners = 0;
    for (size_t i = 0; i < rollup_count(r); i++) {
        hour_delta *h = rollup_at(r, i);
        owners += h->kind == ROLLUP_OWNERS;
        if (h->kind == ROLLUP_OWNERS)
            continue;
        size_t key = h->kind == ROLLUP_ALL_KEYS ? KEYS : h->api_key_id.bytes[11];
        compare(h->sums, &expected[key][(h->hour_ms - FIRST_MS) / GW_MS_PER_HOUR]);
        assert_non_null(strstr(
            h->id, h->hour_ms < FIRST_MS + 2 * GW_MS_PER_HOUR ? "|2025-11-30T2" : "|2025-12-01T0"));
    }
    assert_int_equal(rollup_count(r) - owners, (KEYS + 1) * HOURS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rollups_of_random_events_are_the_plain_sums_at_the_end_of_a_month),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
