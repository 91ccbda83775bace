#include "rollup.h"

#include "event_testing.h"

static void add_event(rollup *r, const test_event *t)
{
    bson_t row;
    gw_error err;
    test_event_row(t, &row);
    assert_int_equal(rollup_add_row(r, &row, &err), GW_OK);
    bson_destroy(&row);
}

static sums *sums_of(const rollup *r, const char *id)
{
    for (size_t i = 0; i < rollup_count(r); i++)
        if (strcmp(rollup_at(r, i)->id, id) == 0)
            return rollup_at(r, i)->sums;
    fail_msg("no sums of %s", id);
    return NULL;
}

#define KEY_HOUR    "a00200000000000000000000|2025-11-23T01"
#define ALL_HOUR    "*|2025-11-23T01"
#define CLIENT_HOUR "*28|2025-11-23T01" /* of app.one */
#define USER_HOUR   "*61|2025-11-23T01"
#define USER        "b00300000000000000000000"

typedef struct expected {
    const char *path;
    int64_t value;
} expected;

static void expect(sums *s, const expected *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t got = sums_get(s, gw_str_of(all[i].path));
        if (got != all[i].value)
            fail_msg("%s is %lld", all[i].path, (long long)got);
    }
}

static void a_request_counts_in_its_hour_and_in_that_of_all_keys(void **state)
{
    static const expected figures[] = {
        {"metrics.requests.total", 1},
        {"metrics.requests.successful", 1},
        {"metrics.requests.failed", 0},
        {"metrics.tokens.prompt", 10},
        {"metrics.tokens.completion", 5},
        {"metrics.tokens.total", 15},
        {"metrics.tokens.cached", 4},
        {"metrics.tokens.reasoning", 2},
        {"metrics.cost.estimatedNanoUsd", 2500000000},
        {"metrics.cost.billedNanoUsd", 2500000000},
        {"metrics.performance.sumDuration", 1234},
        {"metrics.performance.sumTtft", 100},
        {"metrics.performance.ttftCount", 1},
        {"metrics.status.200", 1},
        {"metrics.models.gpt-4%2E1.requests", 1},
        {"metrics.models.gpt-4%2E1.tokens", 15},
        {"metrics.models.gpt-4%2E1.prompt", 10},
        {"metrics.models.gpt-4%2E1.completion", 5},
        {"metrics.models.gpt-4%2E1.costNanoUsd", 2500000000},
        {"metrics.providers.openai.requests", 1},
        {"hist.dur.115", 1},
        {"hist.ttft.57", 1},
    };
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    add_event(r, &t);
    assert_int_equal(rollup_count(r), 4);
    expect(sums_of(r, KEY_HOUR), figures, GW_ARRAY_LEN(figures));
    assert_int_equal(
        sums_get(sums_of(r, KEY_HOUR), GW_STR("metrics.owners." USER "~app%2Eone.requests")), 1);
    expect(sums_of(r, ALL_HOUR), figures, GW_ARRAY_LEN(figures));
    assert_int_equal(sums_get(sums_of(r, ALL_HOUR), GW_STR("minutes.25.requests")), 1);
    assert_int_equal(sums_get(sums_of(r, KEY_HOUR), GW_STR("minutes.25.requests")), 0);
    assert_int_equal(rollup_at(r, 0)->hour_ms, TEST_NOW_MS / 3600000 * 3600000);
}

static void clients_and_owners_have_documents_apart(void **state)
{
    static const expected of_client[] = {
        {"metrics.clients.app%2Eone.requests", 2},
        {"metrics.clients.app%2Eone.failed", 0},
        {"metrics.clients.app%2Eone.tokens", 30},
        {"metrics.clients.app%2Eone.prompt", 20},
        {"metrics.clients.app%2Eone.reasoning", 4},
        {"metrics.clients.app%2Eone.costNanoUsd", 5000000000},
        {"ledger.c.app%2Eone.requests", 2},
        {"metrics.requests.total", 0},
    };
    static const expected of_user[] = {{"metrics.users." USER ".requests", 1},
                                       {"ledger.o." USER ".tokens", 15}};
    static const expected of_all[] = {{"metrics.users.%.requests", 2},
                                      {"metrics.clients.%.requests", 1},
                                      {"metrics.clients.%.tokens", 15}};
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    add_event(r, &t);
    t.e.user_id.len = 0; /* a client's without an owner, then neither */
    add_event(r, &t);
    t.e.client_id = TEXT("");
    add_event(r, &t);
    expect(sums_of(r, CLIENT_HOUR), of_client, GW_ARRAY_LEN(of_client));
    expect(sums_of(r, USER_HOUR), of_user, GW_ARRAY_LEN(of_user));
    expect(sums_of(r, ALL_HOUR), of_all, GW_ARRAY_LEN(of_all));
    assert_int_equal(sums_get(sums_of(r, ALL_HOUR), GW_STR("metrics.requests.total")), 3);
}

/* Their rows do not say a format. */
static void rows_of_the_first_format_are_summed_up_as_they_were(void **state)
{
    static const expected figures[] = {{"metrics.requests.total", 1},
                                       {"metrics.owners." USER "~app%2Eone.requests", 1},
                                       {"ledger.c.app%2Eone.requests", 1},
                                       {"ledger.o." USER ".costNanoUsd", 2500000000}};
    test_event t;
    bson_t row = BSON_INITIALIZER;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    event_append_row(&t.e, SUMS_FORMAT_FIRST, &row);
    assert_false(bson_has_field(&row, SUMS_FORMAT_FIELD));
    assert_int_equal(rollup_add_row(r, &row, NULL), GW_OK);
    assert_int_equal(rollup_count(r), 2);
    expect(sums_of(r, ALL_HOUR), figures, GW_ARRAY_LEN(figures));
    bson_destroy(&row);
}

static void a_refusal_counts_under_its_route_and_its_error(void **state)
{
    static const expected figures[] = {
        {"metrics.requests.total", 25},
        {"metrics.requests.failed", 25},
        {"metrics.requests.errors.rate_limited", 25},
        {"metrics.status.429", 25},
        {"metrics.models.gpt-*.requests", 25},
        {"metrics.models.gpt-*.failed", 25},
        {"metrics.models.gpt-4%2E1.requests", 0},
        {"metrics.performance.sumDuration", INT64_C(25) * 1234},
        {"hist.dur.115", 25},
    };
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    t.e.upstream_accepted = false;
    t.e.outcome = TEXT("refused");
    t.e.error = TEXT("rate_limited");
    t.e.status_code = 429;
    t.e.repeat_count = 25;
    add_event(r, &t);
    expect(sums_of(r, KEY_HOUR), figures, GW_ARRAY_LEN(figures));
}

static void success_has_one_definition(void **state)
{
    static const struct {
        const char *outcome;
        int status;
        bool successful;
    } cases[] = {{"complete", 200, true},     {"cached", 200, true},  {"partial", 200, true},
                 {"interrupted", 200, false}, {"failed", 200, false}, {"refused", 200, false},
                 {"complete", 404, false},    {"partial", 499, false}};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        row_facts f = {.outcome = gw_str_of(cases[i].outcome), .status_code = cases[i].status};
        assert_int_equal(row_is_successful(&f), cases[i].successful);
    }
}

static void a_failure_without_a_type_counts_under_its_outcome(void **state)
{
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    t.e.outcome = TEXT("interrupted");
    add_event(r, &t);
    assert_int_equal(sums_get(sums_of(r, KEY_HOUR), GW_STR("metrics.requests.errors.interrupted")),
                     1);
}

static void a_request_for_no_model_counts_under_none(void **state)
{
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    t.e.upstream_accepted = false;
    t.e.route = TEXT("");
    add_event(r, &t);
    assert_int_equal(sums_get(sums_of(r, KEY_HOUR), GW_STR("metrics.models.%.requests")), 0);
    assert_int_equal(sums_get(sums_of(r, KEY_HOUR), GW_STR("metrics.requests.total")), 1);
}

static void hours_and_keys_are_kept_apart(void **state)
{
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    add_event(r, &t);
    add_event(r, &t);
    t.e.timestamp_ms += 3600000;
    add_event(r, &t);
    t.key[0] = 0xcc;
    add_event(r, &t);
    assert_int_equal(rollup_count(r), 2 + 4 + 3); /* two of clients and two of owners */
    assert_int_equal(sums_get(sums_of(r, KEY_HOUR), GW_STR("metrics.requests.total")), 2);
    assert_int_equal(sums_get(sums_of(r, "*|2025-11-23T02"), GW_STR("metrics.requests.total")), 2);
}

static void an_error_that_is_no_name_of_ours_counts_as_other(void **state)
{
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    t.e.outcome = TEXT("failed");
    t.e.error = TEXT("connect to 10.0.0.1: refused");
    add_event(r, &t);
    assert_int_equal(sums_get(sums_of(r, KEY_HOUR), GW_STR("metrics.requests.errors.other")), 1);
}

static const ledger_load *load_of(const rollup *r, const char *id, const char *path)
{
    for (size_t i = 0; i < rollup_count(r); i++) {
        const hour_delta *h = rollup_at(r, i);
        for (size_t j = 0; strcmp(h->id, id) == 0 && j < h->load_count; j++)
            if (gw_str_eq_c(gw_buf_str(&h->loads[j].path), path))
                return &h->loads[j];
    }
    return NULL;
}

static void a_ledgers_sums_are_kept_apart_by_the_newest_load_id(void **state)
{
    static const int64_t ids[] = {5, 9, 5, 9, 8, 0};
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    for (size_t i = 0; i < GW_ARRAY_LEN(ids); i++) {
        t.e.key_load_id = t.e.client_load_id = t.e.owner_load_id = ids[i];
        add_event(r, &t);
    }
    static const struct {
        const char *hour, *path;
    } subjects[] = {
        {KEY_HOUR, "ledger.k"}, {CLIENT_HOUR, "ledger.c.app%2Eone"}, {USER_HOUR, "ledger.o." USER}};
    for (size_t i = 0; i < GW_ARRAY_LEN(subjects); i++) {
        const ledger_load *l = load_of(r, subjects[i].hour, subjects[i].path);
        gw_auto_buf path = {0};
        assert_non_null(l);
        assert_int_equal(l->id, 9);
        assert_int_equal(l->requests, 2);
        assert_int_equal(l->tokens, 30);
        assert_int_equal(l->cost_nano_usd, 5000000000);
        gw_buf_appendf(&path, "%s.requests", subjects[i].path);
        assert_int_equal(sums_get(sums_of(r, subjects[i].hour), gw_buf_str(&path)), 6);
    }
    assert_null(load_of(r, ALL_HOUR, "ledger.k"));
}

static void refusals_are_not_in_the_ledgers_sums(void **state)
{
    test_event t;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    test_event_init(&t);
    t.e.outcome = TEXT("refused");
    t.e.repeat_count = 40;
    t.e.key_load_id = 5;
    add_event(r, &t);
    assert_int_equal(sums_get(sums_of(r, KEY_HOUR), GW_STR("ledger.k.requests")), 0);
    assert_int_equal(sums_get(sums_of(r, KEY_HOUR), GW_STR("metrics.requests.total")), 40);
    assert_null(load_of(r, KEY_HOUR, "ledger.k"));
}

static void a_row_that_lacks_its_key_is_an_error(void **state)
{
    bson_t empty = BSON_INITIALIZER;
    gw_error err;
    (void)state;
    gw_auto(rollup) r = rollup_new();
    assert_int_equal(rollup_add_row(r, &empty, &err), GW_ERR_DATA_LOSS);
    bson_destroy(&empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_counts_in_its_hour_and_in_that_of_all_keys),
        cmocka_unit_test(clients_and_owners_have_documents_apart),
        cmocka_unit_test(rows_of_the_first_format_are_summed_up_as_they_were),
        cmocka_unit_test(a_refusal_counts_under_its_route_and_its_error),
        cmocka_unit_test(success_has_one_definition),
        cmocka_unit_test(a_failure_without_a_type_counts_under_its_outcome),
        cmocka_unit_test(a_request_for_no_model_counts_under_none),
        cmocka_unit_test(hours_and_keys_are_kept_apart),
        cmocka_unit_test(an_error_that_is_no_name_of_ours_counts_as_other),
        cmocka_unit_test(a_ledgers_sums_are_kept_apart_by_the_newest_load_id),
        cmocka_unit_test(refusals_are_not_in_the_ledgers_sums),
        cmocka_unit_test(a_row_that_lacks_its_key_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
